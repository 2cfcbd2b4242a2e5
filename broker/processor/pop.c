/* POP_MESSAGE (200050): messages of any queue of a topic for any consumer of a group, each for a time.
 *
 * Happy path: decode -> checks (pop_check) -> a look at the queues (pop_look) -> a check point for each queue, all in
 * one entry -> applied -> the records go out. Nothing there yet: the request is parked (flow/pop_hold) and looks
 * again. Cold pages: read on the pool, then it looks again. Source: RocketMQ's PopMessageProcessor, ExtraInfoUtil. */
#include "broker/flow/flows.h"
#include "broker/flow/pop_hold.h"
#include "broker/processor/pop_check.h"
#include "broker/processor/pop_order.h"
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/state/bundle.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"

#include <inttypes.h>

#define OVERTAKEN_MAX 8u /* then a pop in order waits as if there were nothing */
#define ATTEMPT_ID_MAX 1024u

/* A request from its first look to its answer. */
struct pop {
    struct pop_parked parked;
    struct cold_read cold;
    struct context *ctx;
    struct reply_to to; /* with a reference to its channel */
    struct pop_look look;
    uint64_t deadline_ms; /* monotonic; 0: does not wait */
    uint32_t overtaken;   /* looks in order that came to nothing, as the log had changed what they had seen */
};

static void pop_run(struct pop *pop);
static void park_or_answer(struct pop *pop);

/* --- a request --- */

static void pop_free(struct pop *pop)
{
    reply_to_release(&pop->to);
    pop_look_fini(&pop->look);
    mq_free(pop);
}

static void answer_code(struct pop *pop, int32_t code, const char *remark)
{
    struct proto_pop_response_header header = {.rest = (int64_t)pop->look.rest};
    struct proto_writer w;

    if (reply_begin(&pop->to, &w, code, mq_str_of(remark))) {
        proto_pop_response_header_encode(&w, &header);
        reply_end(&pop->to, &w, NULL, 0);
    }
}

static void answer_failed(struct pop *pop, int rc)
{
    reply_failed(&pop->to, rc);
    pop_look_end(&pop->look, true);
    pop_free(pop);
}

/* --- the answer --- */

static void answer_found(struct pop *pop)
{
    const struct pop_look *look = &pop->look;
    struct proto_pop_response_header header = {.pop_ms = look->pop_ms,
                                               .invisible_ms = look->invisible_ms,
                                               .revive_queue = (int32_t)look->revive_queue,
                                               .rest = (int64_t)look->rest};
    struct mq_buf starts = {0}, offsets = {0}, counts = {0};
    struct proto_writer w;

    if (pop_look_infos(look, &starts, &offsets) != 0 || (look->order && pop_order_counts(look, &counts) != 0)) {
        reply_failed(&pop->to, MQ_ENOMEM);
    } else if (reply_begin(&pop->to, &w, RESP_SUCCESS, MQ_STR("FOUND"))) {
        header.starts = mq_buf_str(&starts);
        header.offsets = mq_buf_str(&offsets);
        header.counts = mq_buf_str(&counts);
        proto_pop_response_header_encode(&w, &header);
        reply_end(&pop->to, &w, look->body.base, look->body.len);
        pop->ctx->stats.gets += look->found;
        pop->ctx->stats.get_found++;
    }
    mq_buf_free(&starts);
    mq_buf_free(&offsets);
    mq_buf_free(&counts);
}

/* Others of the group may have what this pop left. */
static void wake_another(struct pop *pop)
{
    struct topic *topic = topic_table_find(&pop->ctx->state->topics, mq_str_of(pop->look.topic));

    if (topic != NULL && pop->ctx->pop_hold != NULL) {
        pop_hold_more(pop->ctx->pop_hold, topic->queues, mq_str_of(pop->look.group));
    }
}

static void on_taken(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct pop *pop = p->data;

    if (outcome->status != 0) {
        answer_failed(pop, outcome->status);
        return;
    }
    if (pop->look.order && pop_order_settle(&pop->look)) {
        pop->overtaken++;
    }
    if (pop->look.found != 0) {
        answer_found(pop);
        if (pop->look.rest != 0) {
            wake_another(pop);
        }
        pop_look_end(&pop->look, false);
        pop_free(pop);
        return;
    }
    pop_look_end(&pop->look, false);
    if (pop->overtaken > OVERTAKEN_MAX) {
        park_or_answer(pop);
    } else {
        pop_run(pop); /* the group's offset has moved over what the filter left out, or by somebody else */
    }
}

/* --- what comes of a look --- */

static void fill_take(const struct pop_look *look, struct pop_part *part, Raftmq__PopTake *item)
{
    *item = (Raftmq__PopTake)RAFTMQ__POP_TAKE__INIT;
    item->group = (char *)part->queue->group.at;
    item->topic = (char *)part->queue->topic.at;
    item->queue_id = part->queue->queue_id;
    item->start = (int64_t)part->start;
    item->offsets = part->offsets;
    item->n_offsets = part->n;
    item->pop_ms = look->pop_ms;
    item->until_ms = look->until_ms;
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

static int propose_in_order(struct pop *pop, const struct sequencer_pending *pending)
{
    struct bundle_part parts[POP_PARTS_MAX];
    Raftmq__OrderTake items[POP_PARTS_MAX];

    pop_order_fill(&pop->look, parts, items);
    return bundle_add(pop->ctx->sequencer, pop->ctx->store, parts, pop->look.n_parts, pending, 0);
}

static int propose(struct pop *pop)
{
    const struct sequencer_pending pending = {.done = on_taken, .data = pop};
    struct pop_look *look = &pop->look;
    struct bundle_part parts[POP_PARTS_MAX];
    Raftmq__PopTake takes[POP_PARTS_MAX];
    Raftmq__OffsetCommit commits[POP_PARTS_MAX];

    if (look->order) {
        return propose_in_order(pop, &pending);
    }
    for (uint32_t i = 0; i < look->n_parts; i++) {
        parts[i].kind = BUNDLE_ITEM;
        if (look->parts[i].n != 0) {
            fill_take(look, &look->parts[i], &takes[i]);
            parts[i].type = COMMAND_POP_TAKE;
            parts[i].item = &takes[i].base;
        } else {
            fill_commit(&look->parts[i], &commits[i]);
            parts[i].type = COMMAND_OFFSET_COMMIT;
            parts[i].item = &commits[i].base;
        }
    }
    return bundle_add(pop->ctx->sequencer, pop->ctx->store, parts, look->n_parts, &pending, 0);
}

static void answer_nothing(struct pop *pop)
{
    pop->ctx->stats.get_missed++;
    answer_code(pop, RESP_POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE");
    pop_free(pop);
}

static void pop_wake(struct pop_parked *parked, bool timely)
{
    struct pop *pop = container_of(parked, struct pop, parked);

    if (!timely) {
        pop->deadline_ms = 0; /* once more, and then an answer */
    }
    pop_run(pop);
}

static void park_or_answer(struct pop *pop)
{
    struct context *ctx = pop->ctx;
    struct topic *topic = topic_table_find(&ctx->state->topics, mq_str_of(pop->look.topic));
    struct topic_queues *topics[2] = {NULL, NULL};
    int rc;

    if (topic == NULL) { /* deleted while it waited */
        reply_no_topic(&pop->to, mq_str_of(pop->look.topic));
        pop_free(pop);
        return;
    }
    if (pop->deadline_ms <= mq_clock_mono_ms() || ctx->pop_hold == NULL || pop->to.ch->dead) {
        answer_nothing(pop);
        return;
    }
    topics[0] = topic->queues;
    if (pop->look.retry_bytes != 0) {
        topics[1] =
            queue_table_topic(&ctx->store->queues, (struct mq_str){pop->look.retry_topic, pop->look.retry_bytes});
    }
    pop_look_shrink(&pop->look); /* while it waits it is to be small */
    pop->parked.wake = pop_wake;
    pop->parked.queue_id = pop->look.queue_id;
    pop->parked.filter = pop->look.filter;
    pop->parked.deadline_ms = pop->deadline_ms;
    rc = pop_hold_park(ctx->pop_hold, &pop->parked, mq_str_of(pop->look.group), topics);
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

    pop_look_end(&pop->look, true);
    pop->cold.ch = pop->to.ch;
    pop->cold.request = pop->look.cold;
    pop->cold.done = on_warm;
    rc = cold_reads_start(&pop->ctx->cold_reads, &pop->cold);
    if (rc != 0) {
        answer_failed(pop, rc);
    }
}

/* Nothing was taken, so nothing is proposed. */
static void answer_peeked(struct pop *pop)
{
    struct proto_pop_response_header header = {.rest = (int64_t)pop->look.rest};
    struct proto_writer w;

    if (pop->look.found == 0) {
        answer_code(pop, RESP_PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE");
    } else if (reply_begin(&pop->to, &w, RESP_SUCCESS, MQ_STR("FOUND"))) {
        proto_pop_response_header_encode(&w, &header);
        reply_end(&pop->to, &w, pop->look.body.base, pop->look.body.len);
    }
    pop_free(pop);
}

/* What this kind of pop leaves behind in memory until it is acknowledged: so many there are. */
static uint32_t open_of(const struct pop *pop)
{
    const struct state *state = pop->ctx->state;

    return pop->look.order ? row_table_count(&state->orders.rows) : state->pops.count;
}

/* Consumers come again a while after this code, as after one that says that too many wait. */
static void answer_over(struct pop *pop)
{
    char remark[160];

    snprintf(remark, sizeof(remark),
             "raftmqPopCheckPointsMax: %" PRIu32 " %s are open, at most %" PRId64
             " may be; acknowledge, or wait until they are over",
             open_of(pop), pop->look.order ? "batches in order" : "check points", pop->ctx->config->pop_checks_max);
    answer_code(pop, RESP_POLLING_FULL, remark);
    pop_free(pop);
}

static void pop_run(struct pop *pop)
{
    struct pop_look *look = &pop->look;
    int rc;

    if (pop->to.ch->dead) { /* nobody would get what it takes: the message that woke it is another one's */
        wake_another(pop);
        pop_free(pop);
        return;
    }
    if (!look->peeks && open_of(pop) >= pop->ctx->config->pop_checks_max) {
        answer_over(pop);
        return;
    }
    rc = context_writable(pop->ctx) ? pop_look_run(look) : MQ_ENOTLEADER;
    if (rc == MQ_EAGAIN && look->found == 0) {
        read_from_disk(pop);
        return;
    }
    if (rc != 0 && rc != MQ_EAGAIN) {
        answer_failed(pop, rc);
    } else if (look->peeks) {
        answer_peeked(pop);
    } else if (look->n_parts == 0) {
        park_or_answer(pop);
    } else if ((rc = propose(pop)) != 0) {
        answer_failed(pop, rc);
    }
}

/* --- requests --- */

/* Returns NULL after an answer. */
static struct pop *pop_new(struct context *ctx, const struct reply_to *to, const struct pop_target *target)
{
    struct pop *pop = mq_calloc(1, sizeof(*pop));

    if (pop == NULL) {
        reply_failed(to, MQ_ENOMEM);
        return NULL;
    }
    pop->ctx = ctx;
    pop->to = *to;
    reply_to_keep(&pop->to);
    if (pop_look_init(&pop->look, ctx, target->group, target->topic) != 0) {
        reply_failed(to, MQ_ENOMEM);
        pop_free(pop);
        return NULL;
    }
    pop->look.queue_id = target->queue_id;
    return pop;
}

static bool check_pop(struct context *ctx, const struct reply_to *to, const struct proto_pop_header *header,
                      const struct pop_target *target)
{
    if (!pop_check_count(to, header->max_msgs) || !pop_check_invisible(to, header->invisible_ms)) {
        return false;
    }
    if (header->attempt_id.len > ATTEMPT_ID_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER, "attemptId of %u bytes: at most %u", header->attempt_id.len,
                    ATTEMPT_ID_MAX);
        return false;
    }
    return (header->order || pop_check_names(to, target)) && pop_check_target(ctx, to, target);
}

void pop_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct message_filter *filter = NULL;
    int64_t now_ms = mq_clock_wall_ms();
    struct proto_pop_header header;
    struct proto_problem why;
    struct pop_target target;
    struct pop_wait wait;
    struct pop *pop;

    if (proto_pop_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (to.ch == NULL) {
        return; /* a one-way pop would hide messages from everybody */
    }
    wait = (struct pop_wait){header.born_ms, header.poll_ms};
    target = (struct pop_target){header.consumer_group, header.topic, header.queue_id};
    if (pop_is_late(&wait, now_ms)) {
        reply_error(&to, RESP_POLLING_TIMEOUT,
                    "bornTime %" PRId64 " and pollTime %" PRId64 " are over: it is %" PRId64 " now", header.born_ms,
                    header.poll_ms, now_ms);
        return;
    }
    if (!check_pop(ctx, &to, &header, &target) ||
        !pop_parse_filter(ctx, &to, header.expression_type, header.expression, &filter)) {
        return;
    }
    pop = pop_new(ctx, &to, &target);
    if (pop == NULL) {
        message_filter_release(filter);
        return;
    }
    pop->look.filter = filter;
    pop->look.count_max = (uint32_t)header.max_msgs;
    pop->look.invisible_ms = header.invisible_ms;
    pop->look.from_last = header.init_mode == 1;
    pop->look.order = header.order;
    if (header.order) {
        pop->look.attempt = order_attempt(header.attempt_id);
        pop->look.retry_bytes = 0; /* what comes again comes in its place */
    }
    pop->deadline_ms = pop_deadline(&wait, now_ms);
    pop_run(pop);
}

/* 200052: what a pop would give, all tags, and nothing is taken. */
void peek_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_peek_header header;
    struct proto_problem why;
    struct pop_target target;
    struct pop *pop;

    if (proto_peek_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    target = (struct pop_target){header.consumer_group, header.topic, header.queue_id};
    if (to.ch == NULL || !pop_check_count(&to, header.max_msgs) || !pop_check_target(ctx, &to, &target)) {
        return;
    }
    pop = pop_new(ctx, &to, &target);
    if (pop != NULL) {
        pop->look.count_max = (uint32_t)header.max_msgs;
        pop->look.peeks = true;
        pop_run(pop);
    }
}
