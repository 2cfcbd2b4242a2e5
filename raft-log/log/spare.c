#include "raft-log/log/spare.h"

#include "raft-log/log/writer.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>

static void make(struct handover *h, uint64_t first_pos)
{
    struct segment *segment = NULL;
    int rc = segment_make(h->disk, h->dir, first_pos, h->segment_bytes, &segment);

    if (rc != 0) {
        mq_log_warn("log", "segment %" PRIu64 " in %s cannot be made ahead: %s", first_pos, h->dir, mq_strerror(rc));
    } else {
        mq_log_info("log", "segment %s made ahead", segment->name);
    }
    handover_made(h, segment, rc);
}

static void zero(struct handover *h, const struct spare_task *task)
{
    int rc = segment_zero(task->segment, task->from, task->to);

    if (rc != 0) {
        rlog_disk_failed("zeroing", task->segment->name, rc);
    }
    handover_zero_written(h);
    rc = segment_sync(task->segment);
    if (rc < 0) {
        rlog_disk_failed("fdatasync", task->segment->name, rc);
    }
    handover_zero_synced(h, task->to);
}

static void *spare_body(void *data)
{
    struct handover *h = data;

    for (;;) {
        struct spare_task task;

        handover_next_task(h, &task);
        if (task.work == SPARE_STOP) {
            return NULL;
        }
        if (task.work == SPARE_MAKE) {
            make(h, task.from);
        } else {
            zero(h, &task);
        }
    }
}

int spare_start(struct handover *h, pthread_t *out)
{
    return log_thread_start(out, "log-spare", spare_body, h);
}
