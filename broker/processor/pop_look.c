#include "broker/processor/pop_look.h"

#include "broker/processor/pop_handle.h"
#include "broker/processor/processors.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/properties.h"

#include <inttypes.h>
#include <stdio.h>

#define RETRY_FIRST 5u   /* every fifth pop looks at the retry topic first */
#define REVIVE_QUEUES 8u /* as many as the original has; here a mark in handles, and no queue */

int pop_look_init(struct pop_look *look, struct context *ctx, struct mq_str group, struct mq_str topic)
{
    *look = (struct pop_look){.ctx = ctx, .queue_id = -1};
    look->group = mq_strndup(group.at, group.len);
    look->topic = mq_strndup(topic.at, topic.len);
    look->retry_bytes = pop_retry_topic(group, topic, look->retry_topic);
    return look->group != NULL && look->topic != NULL ? 0 : MQ_ENOMEM;
}

void pop_look_shrink(struct pop_look *look)
{
    mq_free(look->parts);
    look->parts = NULL;
    mq_buf_free(&look->body);
}

void pop_look_fini(struct pop_look *look)
{
    MQ_ASSERT(look->n_parts == 0);
    message_filter_release(look->filter);
    pop_look_shrink(look);
    mq_free(look->group);
    mq_free(look->topic);
}

/* Of queue @part->queue the pop has nothing under way any more. What others took behind it stays theirs. */
static void unmark(struct pop_part *part, bool give_back)
{
    struct pop_queue *queue = part->queue;

    MQ_ASSERT(queue->taking != 0);
    queue->taking--;
    if (queue->taking == 0) {
        queue->taken = 0;
    } else if (give_back && queue->taken == part->next) {
        queue->taken = part->taken_before;
    }
}

void pop_look_end(struct pop_look *look, bool give_back)
{
    struct pop_table *pops = &look->ctx->state->pops;

    while (look->n_parts != 0) {
        struct pop_part *part = &look->parts[--look->n_parts];

        if (look->leads == pops->leads) {
            unmark(part, give_back);
        }
        pop_table_release(pops, part->queue);
    }
    look->found = 0;
    look->rest = 0;
    look->body.len = 0;
}

int pop_look_infos(const struct pop_look *look, struct mq_buf *starts, struct mq_buf *offsets)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < look->n_parts; i++) {
        const struct pop_part *part = &look->parts[i];
        const char *sep = starts->len != 0 ? ";" : "";

        if (part->n == 0) {
            continue;
        }
        rc = mq_buf_printf(starts, "%s%d %d %" PRIu64, sep, part->retry, part->queue->queue_id, part->start);
        for (uint32_t k = 0; rc == 0 && k < part->n; k++) {
            uint64_t qoff = part->start + part->offsets[k];

            rc = k == 0 ? mq_buf_printf(offsets, "%s%d %d %" PRIu64, sep, part->retry, part->queue->queue_id, qoff)
                        : mq_buf_printf(offsets, ",%" PRIu64, qoff);
        }
    }
    return rc;
}

void pop_look_drop(struct pop_look *look, struct pop_part *part)
{
    size_t behind = part->body_at + part->body_bytes;

    if (part->body_bytes != 0) {
        memmove(look->body.base + part->body_at, look->body.base + behind, look->body.len - behind);
        look->body.len -= part->body_bytes;
    }
    for (uint32_t i = 0; i < look->n_parts; i++) {
        look->parts[i].body_at -= look->parts[i].body_at >= behind ? part->body_bytes : 0;
    }
    look->found -= part->n;
    part->n = 0;
    part->body_bytes = 0;
}

/* --- where it begins --- */

/* A group without an offset. */
static uint64_t first_of(const struct pop_look *look, const struct queue *queue, bool retry)
{
    if (!rlog_is_whole(look->ctx->log)) {
        return 0; /* nobody knows here where the queue begins */
    }
    if (look->from_last && !retry && queue->cq.min != 0 && queue->cq.max != 0) {
        return queue->cq.max - 1; /* a young topic is read from its beginning, as by pull */
    }
    return queue->cq.min;
}

static uint64_t begin_of(const struct pop_look *look, const struct pop_queue *pq, const struct queue *queue,
                         bool retry)
{
    struct state *state = look->ctx->state;
    int64_t committed = offset_table_get(&state->offsets, pq->group, pq->topic, pq->queue_id);
    int64_t reset = reset_table_untold(&state->resets, pq->group, pq->topic, pq->queue_id);

    if (reset >= 0) { /* whatever others are just being given */
        if (!look->peeks) {
            reset_taken(look->ctx, pq->group, pq->topic, pq->queue_id, reset);
        }
        return (uint64_t)reset;
    }
    if (pq->taking != 0) {
        return pq->taken;
    }
    return committed >= 0 ? (uint64_t)committed : first_of(look, queue, retry);
}

uint64_t pop_left_in(struct context *ctx, struct mq_str group, struct mq_str topic, const struct queue *queue)
{
    const struct pop_queue *pq;
    int64_t next;

    if (queue == NULL) {
        return 0;
    }
    pq = pop_table_queue(&ctx->state->pops, group, topic, queue->id);
    next = reset_table_untold(&ctx->state->resets, group, topic, queue->id);
    if (next < 0) {
        next = pq != NULL && pq->taking != 0 ? (int64_t)pq->taken
                                             : offset_table_get(&ctx->state->offsets, group, topic, queue->id);
    }
    if (next < (int64_t)queue->cq.min) {
        return queue->cq.max - queue->cq.min;
    }
    return (uint64_t)next < queue->cq.max ? queue->cq.max - (uint64_t)next : 0;
}

/* --- reading --- */

/* A record of a retry topic goes out under the topic that was asked for, with its handle in it: the client cannot
 * know where it came from. */
static int put_retry_record(struct pop_look *look, const struct pop_part *part, const uint8_t *record, uint32_t bytes,
                            uint64_t qoff)
{
    char handle[512];
    struct record_property put = {.name = PROTO_PROP_POP_CK};
    struct record_copy copy = {.record = record,
                               .bytes = bytes,
                               .topic = mq_str_of(look->topic),
                               .queue_id = part->queue->queue_id,
                               .reconsume_times = -1,
                               .put = &put,
                               .n_put = 1};
    struct proto_record rec;
    int32_t written;
    int n = snprintf(handle, sizeof(handle), "%" PRIu64 " %" PRId64 " %" PRId64 " %" PRIu32 " 1 %s %d %" PRIu64,
                     part->start, look->pop_ms, look->invisible_ms, look->revive_queue,
                     look->ctx->config->broker_name, part->queue->queue_id, qoff);
    uint8_t *at;

    put.value = (struct mq_str){handle, (uint32_t)n};
    if (n <= 0 || (size_t)n >= sizeof(handle) || proto_record_decode(record, bytes, &rec) != 0) {
        return MQ_EBADMSG;
    }
    copy.store_ms = rec.store_ms;
    copy.prepared_pos = rec.prepared_pos;
    if (mq_buf_reserve(&look->body, record_copy_bound(&copy)) != 0) {
        return MQ_ENOMEM;
    }
    at = look->body.base + look->body.len;
    written = record_copy_write(&copy, at);
    if (written == MQ_ETOOBIG) { /* as it is: clients make the handle of what the answer's head says of its topic */
        return mq_buf_put(&look->body, record, bytes);
    }
    if (written < 0) {
        return written;
    }
    mq_be64_store(at + PROTO_RECORD_QOFF_AT, (uint64_t)rec.qoff);
    mq_be64_store(at + PROTO_RECORD_POS_AT, (uint64_t)rec.pos);
    look->body.len += (size_t)written;
    return 0;
}

/* The records of @found, one by one. */
static int put_records(struct pop_look *look, struct pop_part *part, const struct reader_result *found)
{
    int rc = 0;

    for (uint32_t v = 0; rc == 0 && v < found->n_views; v++) {
        const uint8_t *at = found->views[v].at, *end = at + found->views[v].bytes;

        while (rc == 0 && at != end) {
            uint32_t bytes = mq_be32_load(at + PROTO_RECORD_SIZE_AT);
            uint64_t qoff = mq_be64_load(at + PROTO_RECORD_QOFF_AT);

            part->offsets[part->n++] = (uint32_t)(qoff - part->start);
            rc = part->retry && !look->peeks ? put_retry_record(look, part, at, bytes, qoff)
                                             : mq_buf_put(&look->body, at, bytes);
            at += bytes;
        }
    }
    return rc;
}

static int take_records(struct pop_look *look, struct pop_part *part, const struct reader_result *found)
{
    uint32_t before = part->n;
    int rc = put_records(look, part, found);

    for (uint32_t i = 0; i < found->n_views; i++) {
        net_ref_release(found->views[i].ref);
    }
    look->found += part->n - before;
    part->body_bytes = look->body.len - part->body_at;
    return rc;
}

static int read_at(struct pop_look *look, struct queue *queue, struct pop_part *part, struct reader_result *found)
{
    const struct reader_request request = {
        .queue = queue,
        .qoff = part->start,
        .count_max = look->count_max - look->found,
        .bytes_max = (uint32_t)look->ctx->config->pull_bytes_max,
        .filter = look->filter,
    };
    int rc = store_read(look->ctx->store, &request, found);

    if (rc == MQ_EAGAIN) {
        look->cold = request;
    }
    return rc;
}

/* From where the group is, or from the next place where there is something. */
static int read_queue(struct pop_look *look, struct queue *queue, struct pop_part *part, struct reader_result *found)
{
    int rc;

    part->start = begin_of(look, part->queue, queue, part->retry);
    part->start = part->start < part->least ? part->least : part->start;
    rc = read_at(look, queue, part, found);
    if (rc == 0 && found->status == READER_TOO_SMALL && !rlog_is_whole(look->ctx->log)) {
        found->status = READER_EMPTY; /* this node lacks them, others do not: it is no reason to pass them over */
    }
    if (rc == 0 && (found->status == READER_TOO_SMALL || found->status == READER_BEYOND_END)) {
        part->start = found->next;
        rc = read_at(look, queue, part, found);
    }
    return rc;
}

/* What was read of it is this pop's until the look ends. */
static void mark_taken(struct pop_look *look, struct pop_part *part)
{
    part->taken_before = part->queue->taken;
    part->queue->taken = part->next;
    part->queue->taking++;
    look->n_parts++;
}

static bool is_full(const struct pop_look *look)
{
    return look->found >= look->count_max || look->body.len >= (size_t)look->ctx->config->pull_bytes_max;
}

/* From where the group is. Returns 1 with a part, 0 for nothing, or an error. */
static int look_at_next(struct pop_look *look, struct queue *queue, struct pop_part *part)
{
    struct reader_result found;
    int rc = read_queue(look, queue, part, &found);

    if (rc != 0 || (found.status != READER_FOUND && found.status != READER_NO_MATCH)) {
        return rc;
    }
    part->next = found.next;
    look->rest += found.max - found.next;
    rc = found.status == READER_FOUND ? take_records(look, part, &found) : 0;
    return rc != 0 ? rc : 1;
}

/* Message @qoff of the queue and no other. Returns 0, MQ_ENOTFOUND (the log does not hold it here), MQ_EAGAIN. */
static int take_one(struct pop_look *look, struct queue *queue, struct pop_part *part, uint64_t qoff)
{
    const struct reader_request request = {.queue = queue, .qoff = qoff, .count_max = 1};
    struct reader_result found;
    int rc = store_read(look->ctx->store, &request, &found);

    if (rc == MQ_EAGAIN) {
        look->cold = request;
    }
    if (rc != 0 || found.status != READER_FOUND) {
        return rc != 0 ? rc : MQ_ENOTFOUND;
    }
    if (mq_be64_load(found.views[0].at + PROTO_RECORD_QOFF_AT) != qoff) { /* it was passed over */
        net_ref_release(found.views[0].ref);
        return MQ_ENOTFOUND;
    }
    part->start = part->n == 0 ? qoff : part->start;
    return take_records(look, part, &found);
}

/* What is open of the batch that was handed out before, in its order, whatever the filter. Returns as look_at_next.
 */
static int look_at_batch(struct pop_look *look, struct queue *queue, struct pop_part *part,
                         const struct order_batch *batch)
{
    uint32_t open = order_open(batch, part->seen_offset);
    int rc = 0;

    while (open != 0 && !is_full(look)) {
        rc = take_one(look, queue, part, order_qoff(batch, (uint32_t)__builtin_ctz(open)));
        if (rc != 0 && (rc != MQ_ENOTFOUND || !rlog_is_whole(look->ctx->log))) {
            break; /* nothing behind it may be given here */
        }
        open &= open - 1;
    }
    if (part->n == 0) {
        return rc == MQ_ENOTFOUND ? 0 : rc;
    }
    if (rc != 0 && rc != MQ_ENOTFOUND && rc != MQ_EAGAIN) {
        return rc;
    }
    part->next = batch->next;
    look->rest += queue->cq.max - batch->next + (uint32_t)__builtin_popcount(open);
    return 1;
}

/* Nothing while somebody holds a message of the queue, or has it on the way. Returns as look_at_next. */
static int look_in_order(struct pop_look *look, struct queue *queue, struct pop_part *part)
{
    const struct state *state = look->ctx->state;
    const struct pop_queue *pq = part->queue;
    const struct order_batch *batch = order_table_find(&state->orders, pq->group, pq->topic, pq->queue_id);
    uint32_t open;
    int rc;

    part->seen_offset = offset_table_get(&state->offsets, pq->group, pq->topic, pq->queue_id);
    if (pq->taking != 0) {
        return 0;
    }
    if (batch == NULL) {
        return look_at_next(look, queue, part);
    }
    part->seen_pop_ms = batch->pop_ms;
    part->seen_steps = batch->steps;
    open = order_open(batch, part->seen_offset);
    if (order_is_held(batch, open, look->attempt, mq_clock_wall_ms())) {
        return 0;
    }
    if (open == 0 || part->seen_offset < (int64_t)batch->start) { /* the offset was moved from outside */
        return look_at_next(look, queue, part);
    }
    part->again = true;
    rc = look_at_batch(look, queue, part, batch);
    if (rc != 0 || !rlog_is_whole(look->ctx->log)) {
        return rc;
    }
    part->again = false; /* the log holds none of it any more, but maybe some that was acknowledged behind that */
    part->least = batch->next;
    return look_at_next(look, queue, part);
}

/* One queue of @topic. Returns 0, also when it has nothing; MQ_EAGAIN: it has to be read from the disk. */
static int look_at(struct pop_look *look, struct mq_str topic, struct queue *queue, bool retry)
{
    struct pop_table *pops = &look->ctx->state->pops;
    struct pop_part *part = &look->parts[look->n_parts];
    int rc;

    *part = (struct pop_part){.retry = retry, .body_at = look->body.len};
    part->queue = pop_table_hold(pops, mq_str_of(look->group), topic, queue->id);
    if (part->queue == NULL) {
        return MQ_ENOMEM;
    }
    rc = look->order ? look_in_order(look, queue, part) : look_at_next(look, queue, part);
    if (rc != 1 || look->peeks) {
        pop_table_release(pops, part->queue);
        return rc < 0 ? rc : 0;
    }
    mark_taken(look, part);
    return 0;
}

static int look_at_topic(struct pop_look *look, struct mq_str name, int32_t only, bool retry)
{
    /* Behind the deletion of a topic that is under way nothing may be handed out: it would be of the next one. */
    struct topic *topic = topic_table_find_staying(&look->ctx->state->topics, name);
    uint32_t queues = topic != NULL ? topic->read_queues : 0;
    uint32_t first = only >= 0 ? (uint32_t)only : look->ctx->pops;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < queues && look->n_parts < POP_PARTS_MAX; i++) {
        struct queue *queue = topic_queues_find(topic->queues, (int32_t)((first + i) % queues));

        if (is_full(look)) {
            look->rest += pop_left_in(look->ctx, mq_str_of(look->group), name, queue);
        } else if (queue != NULL) {
            rc = look_at(look, name, queue, retry);
        }
        if (only >= 0) {
            break;
        }
    }
    return rc;
}

int pop_look_run(struct pop_look *look)
{
    const struct mq_str topic = mq_str_of(look->topic), retry = {look->retry_topic, look->retry_bytes};
    bool retry_first = look->ctx->pops++ % RETRY_FIRST == 0;
    int64_t now_ms = mq_clock_wall_ms();
    int rc = 0;

    if (look->parts == NULL) {
        look->parts = mq_malloc(POP_PARTS_MAX * sizeof(*look->parts));
    }
    if (look->parts == NULL) {
        return MQ_ENOMEM;
    }
    look->leads = look->ctx->state->pops.leads;
    look->pop_ms = pop_table_next_ms(&look->ctx->state->pops, now_ms);
    look->until_ms = now_ms + look->invisible_ms;
    look->revive_queue = look->order ? POP_REVIVE_ORDERED : look->ctx->pops % REVIVE_QUEUES;
    if (retry_first && look->retry_bytes != 0) {
        rc = look_at_topic(look, retry, 0, true);
    }
    if (rc == 0) {
        rc = look_at_topic(look, topic, look->queue_id, false);
    }
    if (rc == 0 && !retry_first && look->retry_bytes != 0 && look->found < look->count_max) {
        rc = look_at_topic(look, retry, 0, true);
    }
    return rc;
}
