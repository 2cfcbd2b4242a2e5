#include "raft-log/log/spare.h"

#include "raft-log/log/writer.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>

/* A sync of zeros commits the file system's journal, which the writer's own syncs then wait for: so it is done for
 * many pieces at once. */
#define SYNC_BYTES (4u << 20)

static void make(struct handover *h, uint64_t first_pos, struct segment *old)
{
    struct segment *segment = NULL;
    int rc = handover_make(h, first_pos, old, &segment);

    if (rc != 0) {
        if (!h->space.stuck) { /* once, not with every try */
            mq_log_warn("log", "segment %" PRIu64 " in %s cannot be made ahead: %s", first_pos, h->dir,
                        mq_strerror(rc));
        }
    } else {
        mq_log_info("log", "segment %s made ahead", segment->name);
    }
    handover_made(h, segment, rc);
}

static void remove_old(struct handover *h, struct segment *old)
{
    uint64_t first_pos = old->first_pos;
    int rc = segment_remove(h->dir, old);

    if (rc != 0) { /* the next start tries again */
        mq_log_warn("log", "segment %" PRIu64 " in %s cannot be removed: %s", first_pos, h->dir, mq_strerror(rc));
    }
}

/* Zeros written and not yet synced, all in one segment. They are synced before a job is carried out: a segment that
 * the loop drops goes only after the job that drops it, so what is borrowed here is still there. */
struct unsynced {
    struct segment *segment;
    uint64_t bytes;
};

static void sync_zeros(struct unsynced *unsynced)
{
    int rc = segment_sync(unsynced->segment);

    if (rc < 0) {
        rlog_disk_failed("fdatasync", unsynced->segment->name, rc);
    }
    *unsynced = (struct unsynced){0};
}

static void zero(struct handover *h, const struct spare_task *task, struct unsynced *unsynced)
{
    int rc = segment_zero(task->segment, task->from, task->to);

    if (rc != 0) {
        rlog_disk_failed("zeroing", task->segment->name, rc);
    }
    handover_zero_written(h, task->to);
    if (unsynced->segment != NULL && unsynced->segment != task->segment) {
        sync_zeros(unsynced);
    }
    unsynced->segment = task->segment;
    unsynced->bytes += task->to - task->from;
    if (unsynced->bytes >= SYNC_BYTES) {
        sync_zeros(unsynced);
    }
}

static void *spare_body(void *data)
{
    struct handover *h = data;
    struct unsynced unsynced = {0};

    for (;;) {
        struct spare_task task;

        handover_next_task(h, unsynced.segment != NULL, &task);
        switch (task.work) {
        case SPARE_STOP:
            return NULL;
        case SPARE_MAKE:
            make(h, task.from, task.segment);
            break;
        case SPARE_ASK:
            space_ask(&h->space, h->disk, h->dir);
            handover_asked(h);
            break;
        case SPARE_REMOVE:
            remove_old(h, task.segment);
            break;
        case SPARE_JOB:
            if (unsynced.segment != NULL) {
                sync_zeros(&unsynced);
            }
            task.job->work(task.job);
            handover_job_done(h, task.job);
            break;
        case SPARE_ZERO:
            zero(h, &task, &unsynced);
            break;
        case SPARE_SYNC:
            sync_zeros(&unsynced);
            break;
        }
    }
}

int spare_start(struct handover *h, pthread_t *out)
{
    return log_thread_start(out, "log-spare", spare_body, h);
}
