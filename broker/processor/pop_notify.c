/* NOTIFICATION (200054): is there anything for the group to pop? Asked by proxies that hold many clients' pops
 * themselves. Answered when there is, or when the time is over. POLLING_INFO (200055): how many pops are held.
 * Source: RocketMQ's NotificationProcessor, PollingInfoProcessor. */
#include "broker/flow/pop_hold.h"
#include "broker/processor/pop_check.h"
#include "broker/processor/pop_look.h"
#include "broker/processor/processors.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"

/* A request until its answer. */
struct notice {
    struct pop_parked parked;
    struct context *ctx;
    struct reply_to to;  /* with a reference to its channel */
    char *group, *topic; /* owned */
    int32_t queue_id;
    bool order; /* for a pop in order: not where somebody holds messages */
    uint64_t attempt;
    uint64_t deadline_ms; /* monotonic; 0: does not wait */
};

static void notice_run(struct notice *notice);

static void notice_free(struct notice *notice)
{
    reply_to_release(&notice->to);
    mq_free(notice->group);
    mq_free(notice->topic);
    mq_free(notice);
}

/* Ends it. */
static void answer(struct notice *notice, bool has_message, bool full)
{
    const struct proto_notification_response_header header = {.has_message = has_message, .full = full};
    struct proto_writer w;

    if (reply_begin(&notice->to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_notification_response_header_encode(&w, &header);
        reply_end(&notice->to, &w, NULL, 0);
    }
    notice_free(notice);
}

static bool is_held(const struct notice *notice, struct mq_str topic, int32_t queue_id)
{
    const struct state *state = notice->ctx->state;
    struct mq_str group = mq_str_of(notice->group);
    const struct order_batch *batch = order_table_find(&state->orders, group, topic, queue_id);

    return batch != NULL &&
           order_is_held(batch, order_open(batch, offset_table_get(&state->offsets, group, topic, queue_id)),
                         notice->attempt, mq_clock_wall_ms());
}

static bool has_in_topic(const struct notice *notice, struct mq_str name, int32_t only)
{
    struct topic *topic = topic_table_find(&notice->ctx->state->topics, name);
    int32_t queues = topic != NULL ? (int32_t)topic->read_queues : 0;

    for (int32_t i = 0; i < queues; i++) {
        if ((only < 0 || only == i) && !(notice->order && is_held(notice, name, i)) &&
            pop_left_in(notice->ctx, mq_str_of(notice->group), name, topic_queues_find(topic->queues, i)) != 0) {
            return true;
        }
    }
    return false;
}

static bool has_message(const struct notice *notice, struct mq_str retry)
{
    return has_in_topic(notice, mq_str_of(notice->topic), notice->queue_id) ||
           (retry.len != 0 && !notice->order && has_in_topic(notice, retry, -1));
}

static void on_wake(struct pop_parked *parked, bool timely)
{
    struct notice *notice = container_of(parked, struct notice, parked);

    if (!timely) {
        notice->deadline_ms = 0;
    }
    notice_run(notice);
}

static void park(struct notice *notice, struct topic_queues *queues, struct mq_str retry)
{
    struct context *ctx = notice->ctx;
    struct topic_queues *topics[2] = {queues, NULL};
    int rc;

    if (retry.len != 0) {
        topics[1] = queue_table_topic(&ctx->store->queues, retry);
    }
    notice->parked.wake = on_wake;
    notice->parked.notice = true;
    notice->parked.queue_id = notice->queue_id;
    notice->parked.deadline_ms = notice->deadline_ms;
    rc = pop_hold_park(ctx->pop_hold, &notice->parked, mq_str_of(notice->group), topics);
    if (rc == MQ_EBUSY) {
        answer(notice, false, true);
    } else if (rc != 0) {
        reply_failed(&notice->to, rc);
        notice_free(notice);
    }
}

static void notice_run(struct notice *notice)
{
    struct context *ctx = notice->ctx;
    struct topic *topic = topic_table_find(&ctx->state->topics, mq_str_of(notice->topic));
    char name[POP_RETRY_TOPIC_MAX + 1];
    struct mq_str retry = {name, pop_retry_topic(mq_str_of(notice->group), mq_str_of(notice->topic), name)};

    if (!context_writable(ctx)) { /* another one knows by now what there is */
        reply_failed(&notice->to, MQ_ENOTLEADER);
        notice_free(notice);
    } else if (has_message(notice, retry)) {
        answer(notice, true, false);
    } else if (topic == NULL || notice->to.ch->dead || ctx->pop_hold == NULL ||
               notice->deadline_ms <= mq_clock_mono_ms()) {
        answer(notice, false, false);
    } else {
        park(notice, topic->queues, retry);
    }
}

void notify_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_notification_header header;
    struct proto_problem why;
    struct pop_target target;
    struct notice *notice;
    struct pop_wait wait;

    if (proto_notification_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    wait = (struct pop_wait){header.born_ms, header.poll_ms};
    target = (struct pop_target){header.consumer_group, header.topic, header.queue_id};
    if (to.ch == NULL || !pop_check_target(ctx, &to, &target)) {
        return;
    }
    notice = mq_calloc(1, sizeof(*notice));
    if (notice == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    notice->ctx = ctx;
    notice->to = to;
    reply_to_keep(&to);
    notice->group = mq_strndup(header.consumer_group.at, header.consumer_group.len);
    notice->topic = mq_strndup(header.topic.at, header.topic.len);
    notice->queue_id = header.queue_id;
    notice->order = header.order;
    notice->attempt = order_attempt(header.attempt_id);
    notice->deadline_ms = pop_deadline(&wait, mq_clock_wall_ms());
    if (notice->group == NULL || notice->topic == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        notice_free(notice);
        return;
    }
    notice_run(notice);
}

void polling_info(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_polling_info_response_header answer_header = {0};
    struct proto_polling_info_header header;
    struct proto_problem why;
    struct pop_target target;
    struct topic *topic;
    struct proto_writer w;

    if (proto_polling_info_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    target = (struct pop_target){header.consumer_group, header.topic, header.queue_id};
    if (!pop_check_target(ctx, &to, &target)) {
        return;
    }
    topic = topic_table_find(&ctx->state->topics, header.topic);
    answer_header.polling =
        (int32_t)pop_hold_count(ctx->pop_hold, topic->queues, header.consumer_group, header.queue_id);
    if (reply_begin(&to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_polling_info_response_header_encode(&w, &answer_header);
        reply_end(&to, &w, NULL, 0);
    }
}
