#include "raft-log/log/flusher.h"

#include "raft-log/log/writer.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"

static void *flusher_body(void *data)
{
    struct handover *h = data;
    struct segment *segment;

    while (handover_take_dirty(h, &segment)) {
        uint64_t start_ns = mq_clock_mono_ns();
        int rc = RAFTMQ_DEFECT(LATE_NEVER_FLUSHED) ? 0 : segment_sync(segment);

        if (rc < 0) {
            rlog_disk_failed("fdatasync", segment->name, rc);
        }
        handover_flushed(h, mq_clock_mono_ns() - start_ns);
    }
    return NULL;
}

int flusher_start(struct handover *h, pthread_t *out)
{
    return log_thread_start(out, "log-flusher", flusher_body, h);
}
