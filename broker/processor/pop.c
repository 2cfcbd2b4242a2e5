/* POP_MESSAGE (200050): messages of any queue of a topic for any consumer of a group, each for a time.
 *
 * Happy path: decode -> checks -> queues are read from where the group is, and the group's retry topic -> a check
 * point for each queue, all in one entry -> applied -> the records go out. Nothing there yet: the request is parked
 * (flow/pop_hold) and runs again. Cold pages: read on the pool, then it runs again.
 *
 * Between reading and applying, what was read belongs to this pop: the queue's @taken is where the next one begins.
 * Source: RocketMQ's PopMessageProcessor, ExtraInfoUtil. */
#include "broker/flow/flows.h"
#include "broker/flow/pop_hold.h"
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/state/bundle.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_client.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/properties.h"

#include <inttypes.h>
#include <stdio.h>

#define LATE_MS 500  /* a request that was born longer ago than this and its poll time is not carried out */
#define ANSWER_MS 50 /* a held request is answered so long before its client gives up */
#define HELD_MS_MAX 120000
#define POLL_MS_MAX ((int64_t)24 * 3600 * 1000) /* what is more counts as so much */
#define PARTS_MAX 60u                           /* queues of one answer */
#define RETRY_FIRST 5u                          /* every fifth pop looks at the retry topic first */
#define REVIVE_QUEUES 8u /* as many as the original has; here a mark in handles, and no queue */
#define INVISIBLE_MS_MAX ((int64_t)3 * 24 * 3600 * 1000)

/* What one queue gives. */
struct pop_part {
    struct pop_queue *queue; /* held */
    bool retry;
    uint64_t start, next, taken_before;
    uint32_t offsets[POP_MESSAGES_MAX];
    uint32_t n;
};

/* A request from its first look to its answer. */
struct pop {
    struct pop_parked parked;
    struct cold_read cold;
    struct context *ctx;
    struct reply_to to;  /* with a reference to its channel */
    char *group, *topic; /* owned */
    char retry_topic[POP_RETRY_TOPIC_MAX + 1];
    uint32_t retry_bytes;
    int32_t queue_id;
    uint32_t count_max;
    int64_t invisible_ms;
    bool from_last;
    struct message_filter *filter; /* counted */
    uint64_t deadline_ms;          /* monotonic; 0: does not wait */

    /* Of the running look. */
    struct pop_part *parts; /* owned */
    uint32_t n_parts, found;
    uint64_t rest;
    uint32_t leads; /* pop_table's: the marks in the queues are of that leadership */
    int64_t pop_ms, until_ms;
    uint32_t revive_queue;
    struct mq_buf body;
};

static void pop_run(struct pop *pop);

/* --- a request --- */

static void pop_free(struct pop *pop)
{
    if (pop->to.ch != NULL) {
        net_channel_release(pop->to.ch);
    }
    message_filter_release(pop->filter);
    mq_buf_free(&pop->body);
    mq_free(pop->parts);
    mq_free(pop->group);
    mq_free(pop->topic);
    mq_free(pop);
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

/* Ends the running look: its queues are free for others. @give_back: what was read is not this pop's after all. */
static void end_look(struct pop *pop, bool give_back)
{
    struct pop_table *pops = &pop->ctx->state->pops;

    while (pop->n_parts != 0) {
        struct pop_part *part = &pop->parts[--pop->n_parts];

        if (pop->leads == pops->leads) {
            unmark(part, give_back);
        }
        pop_table_release(pops, part->queue);
    }
    pop->found = 0;
    pop->rest = 0;
    pop->body.len = 0;
}

static void answer_code(struct pop *pop, int32_t code, const char *remark)
{
    struct proto_pop_response_header header = {.rest = (int64_t)pop->rest};
    struct proto_writer w;

    if (reply_begin(&pop->to, &w, code, mq_str_of(remark))) {
        proto_pop_response_header_encode(&w, &header);
        reply_end(&pop->to, &w, NULL, 0);
    }
}

static void answer_failed(struct pop *pop, int rc)
{
    reply_failed(&pop->to, rc);
    end_look(pop, true);
    pop_free(pop);
}

/* --- the answer --- */

static int put_infos(const struct pop *pop, struct mq_buf *starts, struct mq_buf *offsets)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < pop->n_parts; i++) {
        const struct pop_part *part = &pop->parts[i];
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

static void answer_found(struct pop *pop)
{
    struct proto_pop_response_header header = {.pop_ms = pop->pop_ms,
                                               .invisible_ms = pop->invisible_ms,
                                               .revive_queue = (int32_t)pop->revive_queue,
                                               .rest = (int64_t)pop->rest};
    struct mq_buf starts = {0}, offsets = {0};
    struct proto_writer w;

    if (put_infos(pop, &starts, &offsets) != 0) {
        reply_failed(&pop->to, MQ_ENOMEM);
    } else if (reply_begin(&pop->to, &w, RESP_SUCCESS, MQ_STR("FOUND"))) {
        header.starts = mq_buf_str(&starts);
        header.offsets = mq_buf_str(&offsets);
        proto_pop_response_header_encode(&w, &header);
        reply_end(&pop->to, &w, pop->body.base, pop->body.len);
        pop->ctx->stats.gets += pop->found;
        pop->ctx->stats.get_found++;
    }
    mq_buf_free(&starts);
    mq_buf_free(&offsets);
}

/* Others of the group may have what this pop left. */
static void wake_another(struct pop *pop)
{
    struct topic *topic = topic_table_find(&pop->ctx->state->topics, mq_str_of(pop->topic));

    if (topic != NULL && pop->ctx->pop_hold != NULL) {
        pop_hold_more(pop->ctx->pop_hold, topic->queues, mq_str_of(pop->group));
    }
}

static void on_taken(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct pop *pop = p->data;

    if (outcome->status != 0) {
        answer_failed(pop, outcome->status);
        return;
    }
    if (pop->found != 0) {
        answer_found(pop);
        if (pop->rest != 0) {
            wake_another(pop);
        }
        end_look(pop, false);
        pop_free(pop);
        return;
    }
    end_look(pop, false);
    pop_run(pop); /* the group's offset has moved over what the filter left out */
}

/* --- reading --- */

static uint64_t begin_of(const struct pop *pop, const struct pop_queue *pq, const struct queue *queue, bool retry)
{
    int64_t committed = offset_table_get(&pop->ctx->state->offsets, pq->group, pq->topic, pq->queue_id);
    int64_t reset = reset_table_untold(&pop->ctx->state->resets, pq->group, pq->topic, pq->queue_id);
    uint64_t first = queue->cq.min;

    if (reset >= 0) { /* whatever others are just being given */
        reset_taken(pop->ctx, pq->group, pq->topic, pq->queue_id, reset);
        return (uint64_t)reset;
    }
    if (committed >= 0) {
        first = (uint64_t)committed;
    } else if (!rlog_is_whole(pop->ctx->log)) {
        first = 0; /* nobody knows here where the queue begins */
    } else if (pop->from_last && !retry && queue->cq.min != 0 && queue->cq.max != 0) {
        first = queue->cq.max - 1; /* a young topic is read from its beginning, as by pull */
    }
    return pq->taking != 0 ? pq->taken : first;
}

/* A record of a retry topic goes out under the topic that was asked for, with its handle in it: the client cannot
 * know where it came from. */
static int put_retry_record(struct pop *pop, const struct pop_part *part, const uint8_t *record, uint32_t bytes,
                            uint64_t qoff)
{
    char handle[512];
    struct record_property put = {.name = PROTO_PROP_POP_CK};
    struct record_copy copy = {.record = record,
                               .bytes = bytes,
                               .topic = mq_str_of(pop->topic),
                               .queue_id = part->queue->queue_id,
                               .reconsume_times = -1,
                               .put = &put,
                               .n_put = 1};
    struct proto_record rec;
    int32_t written;
    int n = snprintf(handle, sizeof(handle), "%" PRIu64 " %" PRId64 " %" PRId64 " %" PRIu32 " 1 %s %d %" PRIu64,
                     part->start, pop->pop_ms, pop->invisible_ms, pop->revive_queue, pop->ctx->config->broker_name,
                     part->queue->queue_id, qoff);
    uint8_t *at;

    put.value = (struct mq_str){handle, (uint32_t)n};
    if (n <= 0 || (size_t)n >= sizeof(handle) || proto_record_decode(record, bytes, &rec) != 0) {
        return MQ_EBADMSG;
    }
    copy.store_ms = rec.store_ms;
    copy.prepared_pos = rec.prepared_pos;
    if (mq_buf_reserve(&pop->body, record_copy_bound(&copy)) != 0) {
        return MQ_ENOMEM;
    }
    at = pop->body.base + pop->body.len;
    written = record_copy_write(&copy, at);
    if (written == MQ_ETOOBIG) { /* as it is: clients make the handle of what the answer's head says of its topic */
        return mq_buf_put(&pop->body, record, bytes);
    }
    if (written < 0) {
        return written;
    }
    mq_be64_store(at + PROTO_RECORD_QOFF_AT, (uint64_t)rec.qoff);
    mq_be64_store(at + PROTO_RECORD_POS_AT, (uint64_t)rec.pos);
    pop->body.len += (size_t)written;
    return 0;
}

/* The records of @found, one by one. */
static int take_records(struct pop *pop, struct pop_part *part, const struct reader_result *found)
{
    int rc = 0;

    for (uint32_t v = 0; rc == 0 && v < found->n_views; v++) {
        const uint8_t *at = found->views[v].at, *end = at + found->views[v].bytes;

        while (rc == 0 && at != end) {
            uint32_t bytes = mq_be32_load(at + PROTO_RECORD_SIZE_AT);
            uint64_t qoff = mq_be64_load(at + PROTO_RECORD_QOFF_AT);

            part->offsets[part->n++] = (uint32_t)(qoff - part->start);
            rc = part->retry ? put_retry_record(pop, part, at, bytes, qoff) : mq_buf_put(&pop->body, at, bytes);
            at += bytes;
        }
    }
    return rc;
}

static int read_at(struct pop *pop, struct queue *queue, struct pop_part *part, struct reader_result *found)
{
    const struct reader_request request = {
        .queue = queue,
        .qoff = part->start,
        .count_max = pop->count_max - pop->found,
        .bytes_max = (uint32_t)pop->ctx->config->pull_bytes_max,
        .filter = pop->filter,
    };
    int rc = store_read(pop->ctx->store, &request, found);

    if (rc == MQ_EAGAIN) {
        pop->cold.request = request;
    }
    return rc;
}

/* One queue of @topic. Returns 0, also when it has nothing; MQ_EAGAIN: it has to be read from the disk. */
static int look_at(struct pop *pop, struct mq_str topic, struct queue *queue, bool retry)
{
    struct pop_table *pops = &pop->ctx->state->pops;
    struct pop_part *part = &pop->parts[pop->n_parts];
    struct reader_result found;
    int rc;

    *part = (struct pop_part){.retry = retry};
    part->queue = pop_table_hold(pops, mq_str_of(pop->group), topic, queue->id);
    if (part->queue == NULL) {
        return MQ_ENOMEM;
    }
    part->start = begin_of(pop, part->queue, queue, retry);
    rc = read_at(pop, queue, part, &found);
    if (rc == 0 && found.status == READER_TOO_SMALL && !rlog_is_whole(pop->ctx->log)) {
        found.status = READER_EMPTY; /* this node lacks them, others do not: it is no reason to pass them over */
    }
    if (rc == 0 && (found.status == READER_TOO_SMALL || found.status == READER_BEYOND_END)) {
        part->start = found.next;
        rc = read_at(pop, queue, part, &found);
    }
    if (rc != 0 || (found.status != READER_FOUND && found.status != READER_NO_MATCH)) {
        pop_table_release(pops, part->queue);
        return rc;
    }
    part->next = found.next;
    part->taken_before = part->queue->taken;
    part->queue->taken = found.next;
    part->queue->taking++;
    pop->n_parts++;
    if (found.status == READER_FOUND) {
        rc = take_records(pop, part, &found);
        for (uint32_t i = 0; i < found.n_views; i++) {
            net_ref_release(found.views[i].ref);
        }
    }
    pop->found += part->n;
    pop->rest += found.max - found.next;
    return rc;
}

/* Messages of a queue that is not looked at any more. */
static uint64_t left_in(const struct pop *pop, struct mq_str topic, const struct queue *queue)
{
    int64_t committed =
        queue == NULL ? 0 : offset_table_get(&pop->ctx->state->offsets, mq_str_of(pop->group), topic, queue->id);

    if (queue == NULL) {
        return 0;
    }
    if (committed < (int64_t)queue->cq.min) {
        return queue->cq.max - queue->cq.min;
    }
    return (uint64_t)committed < queue->cq.max ? queue->cq.max - (uint64_t)committed : 0;
}

static int look_at_topic(struct pop *pop, struct mq_str name, int32_t only, bool retry)
{
    struct topic_table *topics = &pop->ctx->state->topics;
    struct topic *topic = topic_table_find(topics, name);
    /* Behind the deletion of a topic that is under way nothing may be handed out: it would be of the next one. */
    bool stays = topic != NULL && topic_table_find_for_send(topics, name) == topic;
    uint32_t queues = stays ? topic->read_queues : 0;
    uint32_t first = only >= 0 ? (uint32_t)only : pop->ctx->pops;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < queues && pop->n_parts < PARTS_MAX; i++) {
        struct queue *queue = topic_queues_find(topic->queues, (int32_t)((first + i) % queues));

        if (pop->found >= pop->count_max || pop->body.len >= (size_t)pop->ctx->config->pull_bytes_max) {
            pop->rest += left_in(pop, name, queue);
        } else if (queue != NULL) {
            rc = look_at(pop, name, queue, retry);
        }
        if (only >= 0) {
            break;
        }
    }
    return rc;
}

static int look(struct pop *pop)
{
    const struct mq_str topic = mq_str_of(pop->topic), retry = {pop->retry_topic, pop->retry_bytes};
    bool retry_first = pop->ctx->pops++ % RETRY_FIRST == 0;
    int64_t now_ms = mq_clock_wall_ms();
    int rc = 0;

    pop->leads = pop->ctx->state->pops.leads;
    pop->pop_ms = pop_table_next_ms(&pop->ctx->state->pops, now_ms);
    pop->until_ms = now_ms + pop->invisible_ms;
    pop->revive_queue = pop->ctx->pops % REVIVE_QUEUES;
    if (retry_first && pop->retry_bytes != 0) {
        rc = look_at_topic(pop, retry, 0, true);
    }
    if (rc == 0) {
        rc = look_at_topic(pop, topic, pop->queue_id, false);
    }
    if (rc == 0 && !retry_first && pop->retry_bytes != 0 && pop->found < pop->count_max) {
        rc = look_at_topic(pop, retry, 0, true);
    }
    return rc;
}

/* --- what comes of it --- */

static void fill_take(const struct pop *pop, struct pop_part *part, Raftmq__PopTake *item)
{
    *item = (Raftmq__PopTake)RAFTMQ__POP_TAKE__INIT;
    item->group = (char *)part->queue->group.at;
    item->topic = (char *)part->queue->topic.at;
    item->queue_id = part->queue->queue_id;
    item->start = (int64_t)part->start;
    item->offsets = part->offsets;
    item->n_offsets = part->n;
    item->pop_ms = pop->pop_ms;
    item->until_ms = pop->until_ms;
    item->next = (int64_t)part->next;
}

static void fill_commit(const struct pop_part *part, Raftmq__OffsetCommit *item)
{
    *item = (Raftmq__OffsetCommit)RAFTMQ__OFFSET_COMMIT__INIT;
    item->group = (char *)part->queue->group.at;
    item->topic = (char *)part->queue->topic.at;
    item->queue_id = part->queue->queue_id;
    item->offset = (int64_t)part->next;
}

static int propose(struct pop *pop)
{
    const struct sequencer_pending pending = {.done = on_taken, .data = pop};
    struct bundle_part parts[PARTS_MAX];
    Raftmq__PopTake takes[PARTS_MAX];
    Raftmq__OffsetCommit commits[PARTS_MAX];

    for (uint32_t i = 0; i < pop->n_parts; i++) {
        parts[i].kind = BUNDLE_ITEM;
        if (pop->parts[i].n != 0) {
            fill_take(pop, &pop->parts[i], &takes[i]);
            parts[i].type = COMMAND_POP_TAKE;
            parts[i].item = &takes[i].base;
        } else {
            fill_commit(&pop->parts[i], &commits[i]);
            parts[i].type = COMMAND_OFFSET_COMMIT;
            parts[i].item = &commits[i].base;
        }
    }
    return bundle_add(pop->ctx->sequencer, pop->ctx->store, parts, pop->n_parts, &pending, 0);
}

static void answer_nothing(struct pop *pop)
{
    pop->ctx->stats.get_missed++;
    answer_code(pop, RESP_POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE");
    pop_free(pop);
}

static void park_or_answer(struct pop *pop)
{
    struct context *ctx = pop->ctx;
    struct topic *topic = topic_table_find(&ctx->state->topics, mq_str_of(pop->topic));
    struct topic_queues *topics[2] = {NULL, NULL};
    int rc;

    if (pop->deadline_ms <= mq_clock_mono_ms() || topic == NULL || ctx->pop_hold == NULL || pop->to.ch->dead) {
        answer_nothing(pop);
        return;
    }
    topics[0] = topic->queues;
    if (pop->retry_bytes != 0) {
        topics[1] = queue_table_topic(&ctx->store->queues, (struct mq_str){pop->retry_topic, pop->retry_bytes});
    }
    mq_free(pop->parts); /* while it waits it is to be small */
    pop->parts = NULL;
    mq_buf_free(&pop->body);
    pop->parked.ch = pop->to.ch;
    pop->parked.queue_id = pop->queue_id;
    pop->parked.filter = pop->filter;
    pop->parked.deadline_ms = pop->deadline_ms;
    rc = pop_hold_park(ctx->pop_hold, &pop->parked, mq_str_of(pop->group), topics);
    if (rc == MQ_EBUSY) {
        answer_code(pop, RESP_POLLING_FULL, "POLLING_FULL");
        pop_free(pop);
    } else if (rc != 0) {
        answer_failed(pop, rc);
    }
}

static void on_warm(struct cold_read *read, int status)
{
    struct pop *pop = container_of(read, struct pop, cold);

    if (status == 0) {
        pop_run(pop);
    } else {
        answer_failed(pop, status == MQ_ECLOSED ? MQ_ENOTLEADER : status); /* nobody hears it on a dead channel */
    }
}

static void read_from_disk(struct pop *pop)
{
    int rc;

    end_look(pop, true);
    pop->cold.ch = pop->to.ch;
    pop->cold.done = on_warm;
    rc = cold_reads_start(&pop->ctx->cold_reads, &pop->cold);
    if (rc != 0) {
        answer_failed(pop, rc);
    }
}

static void pop_run(struct pop *pop)
{
    int rc = 0;

    if (pop->to.ch->dead) { /* nobody would get what it takes: the message that woke it is another one's */
        wake_another(pop);
        pop_free(pop);
        return;
    }
    if (pop->parts == NULL) {
        pop->parts = mq_malloc(PARTS_MAX * sizeof(*pop->parts));
        rc = pop->parts != NULL ? 0 : MQ_ENOMEM;
    }
    if (rc == 0) {
        rc = context_writable(pop->ctx) ? look(pop) : MQ_ENOTLEADER;
    }
    if (rc == MQ_EAGAIN && pop->found == 0) {
        read_from_disk(pop);
        return;
    }
    if (rc == 0 || rc == MQ_EAGAIN) {
        if (pop->n_parts == 0) {
            park_or_answer(pop);
            return;
        }
        rc = propose(pop);
    }
    if (rc != 0) {
        answer_failed(pop, rc);
    }
}

void pop_wake(void *data, struct pop_parked *parked, bool timely)
{
    struct pop *pop = container_of(parked, struct pop, parked);

    (void)data;
    if (!timely) {
        pop->deadline_ms = 0; /* once more, and then an answer */
    }
    pop_run(pop);
}

/* --- checks --- */

static bool check_topic(struct context *ctx, const struct reply_to *to, const struct proto_pop_header *header)
{
    struct topic *topic = topic_table_find(&ctx->state->topics, header->topic);

    if (topic == NULL) {
        reply_no_topic(to, header->topic);
        return false;
    }
    if ((topic->perm & TOPIC_PERM_READ) == 0) {
        reply_error(to, RESP_NO_PERMISSION, "topic \"" MQ_STR_FMT "\" has perm %u: it may not be read",
                    REMARK_ARG(header->topic), topic->perm);
        return false;
    }
    if (header->queue_id < -1 || (header->queue_id >= 0 && (uint32_t)header->queue_id >= topic->read_queues)) {
        reply_error(to, RESP_INVALID_PARAMETER,
                    "queueId %d: topic \"" MQ_STR_FMT "\" has %u read queues, counted from 0; -1 is any",
                    header->queue_id, REMARK_ARG(header->topic), topic->read_queues);
        return false;
    }
    return true;
}

static bool check_group(struct context *ctx, const struct reply_to *to, const struct proto_pop_header *header)
{
    struct group *group;

    if (!group_usable(ctx, header->consumer_group)) {
        reply_error(to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "consumerGroup \"" MQ_STR_FMT "\" does not exist",
                    REMARK_ARG(header->consumer_group));
        return false;
    }
    group = group_table_find(&ctx->state->groups, header->consumer_group);
    if (group != NULL && !group->consume_enable) {
        reply_error(to, RESP_NO_PERMISSION, "consumerGroup \"" MQ_STR_FMT "\" may not consume",
                    REMARK_ARG(header->consumer_group));
        return false;
    }
    return true;
}

static bool check_numbers(struct context *ctx, const struct reply_to *to, const struct proto_pop_header *header)
{
    if ((ctx->config->permission & TOPIC_PERM_READ) == 0) {
        reply_error(to, RESP_NO_PERMISSION, "brokerPermission is %lld: this broker is not read from",
                    (long long)ctx->config->permission);
        return false;
    }
    if (header->max_msgs < 1 || header->max_msgs > (int32_t)POP_MESSAGES_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER, "maxMsgNums %d: 1 to %u", header->max_msgs, POP_MESSAGES_MAX);
        return false;
    }
    if (header->invisible_ms < 1 || header->invisible_ms > INVISIBLE_MS_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER, "invisibleTime %" PRId64 ": 1 to %" PRId64 " ms",
                    header->invisible_ms, INVISIBLE_MS_MAX);
        return false;
    }
    if (header->order) {
        reply_error(to, RESP_SYSTEM_ERROR, "order true: ordered pop is not supported yet");
        return false;
    }
    return true;
}

/* What is not acknowledged comes again in a topic of both names. */
static bool check_names(const struct reply_to *to, const struct proto_pop_header *header)
{
    char retry[POP_RETRY_TOPIC_MAX + 1];

    if (pop_retry_topic(header->consumer_group, header->topic, retry) == 0) {
        reply_error(to, RESP_INVALID_PARAMETER,
                    "consumerGroup of %u and topic of %u bytes: with %%RETRY%% and _ they pass %u",
                    header->consumer_group.len, header->topic.len, POP_RETRY_TOPIC_MAX);
        return false;
    }
    return true;
}

/* One reference in @out. Returns false after an answer. */
static bool parse_filter(struct context *ctx, const struct reply_to *to, const struct proto_pop_header *header,
                         struct message_filter **out)
{
    struct mq_buf problem = {0};
    struct proto_filter tags;
    int rc = MQ_EINVAL;

    switch (proto_expression_of(header->expression_type)) {
    case PROTO_EXPRESSION_TAG:
        rc = proto_filter_parse(header->expression, &tags);
        rc = rc == 0 ? message_filter_of_tags(&tags, out) : rc;
        break;
    case PROTO_EXPRESSION_SQL92:
        if (!ctx->config->property_filter) {
            reply_error(to, RESP_SYSTEM_ERROR, "enablePropertyFilter is false: only tags can be subscribed to");
            return false;
        }
        rc = message_filter_of_sql(header->expression, out, &problem);
        break;
    default:
        break;
    }
    if (rc == MQ_ENOMEM) {
        reply_failed(to, rc);
    } else if (rc != 0) {
        reply_error(to, RESP_SUBSCRIPTION_PARSE_FAILED, "exp \"" MQ_STR_FMT "\" of expType \"" MQ_STR_FMT "\": %.*s",
                    REMARK_ARG(header->expression), REMARK_ARG(header->expression_type),
                    problem.len != 0 ? (int)problem.len : 19,
                    problem.len != 0 ? (const char *)problem.base : "no tags or no SQL92");
    }
    mq_buf_free(&problem);
    return rc == 0;
}

/* Clients may send any number: none is subtracted from another before it is bounded. */
static int64_t poll_ms_of(const struct proto_pop_header *header)
{
    return header->poll_ms <= 0 ? 0 : header->poll_ms < POLL_MS_MAX ? header->poll_ms : POLL_MS_MAX;
}

/* Whether the client no longer waits, by its own clock. */
static bool is_late(const struct proto_pop_header *header, int64_t now_ms)
{
    return header->born_ms != 0 && header->born_ms < now_ms - poll_ms_of(header) - LATE_MS;
}

static uint64_t deadline_of(const struct proto_pop_header *header, int64_t now_ms)
{
    int64_t born_ms = header->born_ms != 0 && header->born_ms < now_ms ? header->born_ms : now_ms;
    int64_t left_ms = born_ms + poll_ms_of(header) - ANSWER_MS - now_ms;

    if (left_ms <= 0) {
        return 0;
    }
    return mq_clock_mono_ms() + (uint64_t)(left_ms < HELD_MS_MAX ? left_ms : HELD_MS_MAX);
}

/* Returns NULL without memory. */
static struct pop *pop_new(struct context *ctx, const struct reply_to *to, const struct proto_pop_header *header,
                           struct message_filter *filter)
{
    struct pop *pop = mq_calloc(1, sizeof(*pop));

    if (pop == NULL) {
        return NULL;
    }
    pop->ctx = ctx;
    pop->to = *to;
    (void)net_channel_acquire(pop->to.ch);
    pop->filter = message_filter_acquire(filter);
    pop->group = mq_strndup(header->consumer_group.at, header->consumer_group.len);
    pop->topic = mq_strndup(header->topic.at, header->topic.len);
    if (pop->group == NULL || pop->topic == NULL) {
        pop_free(pop);
        return NULL;
    }
    pop->retry_bytes = pop_retry_topic(header->consumer_group, header->topic, pop->retry_topic);
    pop->queue_id = header->queue_id;
    pop->count_max = (uint32_t)header->max_msgs;
    pop->invisible_ms = header->invisible_ms;
    pop->from_last = header->init_mode == 1;
    return pop;
}

void pop_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_pop_header header;
    struct message_filter *filter = NULL;
    int64_t now_ms = mq_clock_wall_ms();
    struct proto_problem why;
    struct pop *pop;

    if (proto_pop_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (to.ch == NULL) {
        return; /* a one-way pop would hide messages from everybody */
    }
    if (is_late(&header, now_ms)) {
        reply_error(&to, RESP_POLLING_TIMEOUT,
                    "bornTime %" PRId64 " and pollTime %" PRId64 " are over: it is %" PRId64 " now", header.born_ms,
                    header.poll_ms, now_ms);
        return;
    }
    if (!check_numbers(ctx, &to, &header) || !check_names(&to, &header) || !check_topic(ctx, &to, &header) ||
        !check_group(ctx, &to, &header) || !parse_filter(ctx, &to, &header, &filter)) {
        return;
    }
    pop = pop_new(ctx, &to, &header, filter);
    message_filter_release(filter);
    if (pop == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    pop->deadline_ms = deadline_of(&header, now_ms);
    pop_run(pop);
}
