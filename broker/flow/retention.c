#include "broker/flow/retention.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#define SLICE_NS 500000u
#define SLICE_STEPS 64u /* between two looks at the clock */
#define TOLD_MAX 20u    /* lines about groups that lose messages, of one move */

/* --- deciding --- */

static const char *cause_text(enum retention_cause cause)
{
    static const char *const texts[] = {"nothing", "age", "size", "a full disk", "a disk that is too full to wait"};

    return texts[cause];
}

/* Why the segment whose last entry is of @store_ms may go; @start_pos: where it begins. */
static enum retention_cause why(const struct retention_rules *rules, const struct retention_view *view,
                                uint64_t start_pos, int64_t store_ms)
{
    bool old = view->now_ms - store_ms > rules->reserved_ms;

    if (rules->bytes_max != 0 && view->end_pos - start_pos > rules->bytes_max) {
        return RETENTION_SIZE;
    }
    if (old && (rules->hours >> view->hour & 1) != 0) {
        return RETENTION_AGE;
    }
    if (old && view->used_percent > rules->max_percent) {
        return RETENTION_DISK;
    }
    return rules->forced && view->used_percent > rules->forced_percent ? RETENTION_FORCED : RETENTION_NONE;
}

uint64_t retention_choose(const struct retention_rules *rules, const struct retention_view *view,
                          enum retention_cause *cause)
{
    uint64_t pos = view->start_pos, end_pos;
    int64_t store_ms;

    *cause = RETENTION_NONE;
    for (uint32_t n = 0; n < rules->segments_max && view->segment(view->data, pos, &end_pos, &store_ms) == 0; n++) {
        enum retention_cause found = why(rules, view, pos, store_ms);

        if (found == RETENTION_NONE) {
            break;
        }
        *cause = found;
        pos = end_pos;
        if (found == RETENTION_FORCED) {
            break; /* one, and then the disk is looked at again */
        }
    }
    return pos;
}

/* As df counts it: what this process could still get counts as free. */
static int used_percent(const char *dir)
{
    struct statvfs fs;

    if (statvfs(dir, &fs) != 0 || fs.f_blocks == 0) {
        return -1;
    }
    return (int)((fs.f_blocks - fs.f_bfree) * 100 / (fs.f_blocks - fs.f_bfree + fs.f_bavail));
}

static int segment_of_log(void *data, uint64_t pos, uint64_t *end_pos, int64_t *store_ms)
{
    return rlog_segment_end(data, pos, end_pos, store_ms);
}

static int propose(struct retention *retention, uint64_t pos)
{
    static const struct sequencer_pending nobody = {0};
    Raftmq__LogStart item = RAFTMQ__LOG_START__INIT;
    uint32_t bytes;
    uint8_t *at;
    int rc;

    item.pos = pos;
    bytes = command_bytes(&item.base);
    rc = sequencer_reserve(retention->sequencer, bytes, &at);
    if (rc == 0) {
        command_encode(COMMAND_LOG_START, &item.base, at);
        sequencer_add(retention->sequencer, bytes, NULL, 0, 1, &nobody);
    }
    return rc;
}

void retention_init(struct retention *retention, const struct retention_rules *rules, struct state *state,
                    const char *dir)
{
    *retention = (struct retention){.rules = *rules, .state = state, .dir = dir};
}

void retention_tick(struct retention *retention)
{
    struct rlog *log = retention->state->store->log;
    enum rlog_space_level room = rlog_space_level(log);
    struct retention_rules rules = retention->rules;
    struct rlog_status status;
    struct retention_view view = {.now_ms = mq_clock_wall_ms(),
                                  .used_percent = used_percent(retention->dir),
                                  .segment = segment_of_log,
                                  .data = log};
    time_t seconds = (time_t)(view.now_ms / 1000);
    enum retention_cause cause;
    struct tm local;
    uint64_t pos;

    rlog_status_get(log, &status);
    view.hour = localtime_r(&seconds, &local) != NULL ? (unsigned)local.tm_hour : 0;
    view.start_pos = retention->state->log_start_pos;
    view.end_pos = status.applied_pos;
    if (room != RLOG_SPACE_ENOUGH) {
        rules.segments_max = 1; /* what is moved out of it comes from the reserve, and goes back with it */
    }
    pos = retention_choose(&rules, &view, &cause);
    if ((cause == RETENTION_DISK || cause == RETENTION_FORCED || room != RLOG_SPACE_ENOUGH) &&
        status.start_pos < view.start_pos) {
        return; /* what was let go last still lies on the disk: it goes when two snapshots stand for it */
    }
    if (pos == view.start_pos) {
        return;
    }
    if (retention->release_below != NULL && retention->release_below(retention->release_data, pos) != 0) {
        if (room > RLOG_SPACE_LOW) {
            mq_log_limited(&retention->stuck_log, MQ_LOG_WARN, "retention",
                           "the log cannot be made shorter before the disk has more room: what waits in its oldest "
                           "segment has to be appended again first");
        }
        return; /* what is pending comes first, also now */
    }
    if (propose(retention, pos) == 0) {
        mq_log_info("retention", "the log is to begin at %" PRIu64 " instead of %" PRIu64 " because of %s, disk %d%%",
                    pos, view.start_pos, cause_text(cause), view.used_percent);
    }
}

/* --- what follows --- */

void retention_moved(struct retention *retention, uint64_t pos)
{
    retention->looking = false; /* its rows may be gone */
    retention->sweep_topic = NULL;
    if (pos == 0) {
        return;
    }
    retention->sweep_pos = pos;
    retention->sweep_topic = retention->state->store->queues.by_topic;
    retention->sweep_queue = 0;
    rlog_trim(retention->state->store->log, pos);
}

static void tell_loss(void *data, const struct offset_loss *loss)
{
    struct retention *retention = data;

    if (retention->told++ < TOLD_MAX) {
        mq_log_warn("retention", "group %s has not read %" PRIu64 " messages of %s that are gone now", loss->group,
                    loss->messages, loss->topic);
    }
}

/* Where a group that has read up to an offset of this queue will find the next message. */
static uint64_t first_of(void *data, const char *topic, int32_t queue_id)
{
    struct retention *retention = data;
    struct topic_queues *queues;
    struct queue *queue;

    HASH_FIND(hh, retention->state->store->queues.by_topic, topic, strlen(topic), queues);
    queue = queues != NULL ? topic_queues_find(queues, queue_id) : NULL;
    return queue != NULL ? queue->cq.min : 0;
}

/* One queue. Returns false when all are done. */
static bool sweep_one(struct retention *retention)
{
    struct topic_queues *topic = retention->sweep_topic;
    struct queue *queue = retention->sweep_queue < topic->n ? topic->queues[retention->sweep_queue] : NULL;

    if (queue != NULL && queue->cq.min < queue->cq.max) {
        store_trim_queue(retention->state->store, queue, retention->sweep_pos);
    }
    if (++retention->sweep_queue >= topic->n) {
        retention->sweep_queue = 0;
        retention->sweep_topic = topic->hh.next;
    }
    return retention->sweep_topic != NULL;
}

static bool step(struct retention *retention)
{
    if (retention->sweep_topic != NULL) {
        if (!sweep_one(retention)) {
            retention->swept_pos = retention->sweep_pos;
            retention->looking = retention->sequencer != NULL;
            retention->told = 0;
            offset_walk_begin(&retention->losses, &retention->state->offsets);
        }
        return true;
    }
    if (retention->looking) {
        retention->looking = offset_walk_step(&retention->losses, first_of, tell_loss, retention);
        if (!retention->looking && retention->told > TOLD_MAX) {
            mq_log_warn("retention", "and %" PRIu32 " more groups and topics like these", retention->told - TOLD_MAX);
        }
        return true;
    }
    return false;
}

void retention_turn(struct retention *retention)
{
    uint64_t start_ns;

    if (retention->sweep_topic == NULL && !retention->looking) {
        return;
    }
    start_ns = mq_clock_mono_ns();
    do {
        for (uint32_t i = 0; i < SLICE_STEPS; i++) {
            if (!step(retention)) {
                return;
            }
        }
    } while (mq_clock_mono_ns() - start_ns < SLICE_NS);
}
