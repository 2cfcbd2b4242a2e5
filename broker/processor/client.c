/* HEART_BEAT (34), UNREGISTER_CLIENT (35), GET_CONSUMER_LIST_BY_GROUP (38), CHECK_CLIENT_CONFIG (46). Source:
 * RocketMQ's ClientManageProcessor, ConsumerManager, DefaultConsumerIdsChangeListener.
 */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/session/consumer_table.h"
#include "broker/session/producer_table.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_client.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

/* Clients and tools find a group's brokers through the route of %RETRY%<group>, so it exists from the first
 * heartbeat. */
static void make_retry_topic(struct context *ctx, struct mq_str group)
{
    char name[PROTO_RETRY_TOPIC_MAX + 1];
    const struct group *known = group_table_find(&ctx->state->groups, group);
    struct mq_str prefix = PROTO_RETRY_PREFIX;

    memcpy(name, prefix.at, prefix.len);
    memcpy(name + prefix.len, group.at, group.len);
    (void)topic_propose(ctx, (struct mq_str){name, prefix.len + group.len},
                        known != NULL && known->retry_queues > 0 ? known->retry_queues : 1,
                        TOPIC_PERM_READ | TOPIC_PERM_WRITE);
}

static int beat_consumer(struct context *ctx, struct net_channel *ch, const struct proto_heartbeat *heartbeat,
                         const struct proto_consumer *consumer, uint64_t now_ms)
{
    struct consumer_beat beat = {.client_id = heartbeat->client_id, .consumer = consumer};
    const struct group *group;

    /* As the original: a group that may not be used is passed over in silence; its pulls are refused. */
    if (!group_usable(ctx, consumer->group)) {
        return 0;
    }
    if (context_writable(ctx)) {
        make_retry_topic(ctx, consumer->group);
    }
    group = group_table_find(&ctx->state->groups, consumer->group);
    beat.notify = ctx->config->notify_consumers && (group == NULL || group->notify_consumer_ids_changed);
    /* The short heartbeat of clients that another broker promised to understand it: the sets are left out, not empty.
     */
    beat.subs = heartbeat->without_sub ? NULL : &heartbeat->subs;
    return consumer_table_beat(ctx->consumers, ch, &beat, now_ms);
}

/* The first group of a heartbeat that was not taken, and why. */
struct beat_failure {
    int rc;
    struct mq_str group;
    uint32_t subs;
};

static void note_failure(struct beat_failure *failure, int rc, struct mq_str group, uint32_t subs)
{
    if (rc != 0 && failure->rc == 0) {
        *failure = (struct beat_failure){rc, group, subs};
    }
}

/* One group that asks for too much does not keep the others of its client away. */
static void take_heartbeat(struct context *ctx, struct net_channel *ch, const struct proto_command *cmd,
                           const struct proto_heartbeat *beat, struct beat_failure *failure)
{
    uint64_t now_ms = mq_clock_mono_ms();

    note_failure(failure, session_note(ch, cmd->language, cmd->version), (struct mq_str){0}, 0);
    for (uint32_t i = 0; i < beat->producers.count; i++) {
        struct mq_str group = beat->producers.items[i];

        if (proto_group_check(group) == PROTO_NAME_OK) {
            note_failure(failure, producer_table_beat(ctx->producers, ch, beat->client_id, group, now_ms), group, 0);
        }
    }
    for (uint32_t i = 0; i < beat->consumers.count; i++) {
        const struct proto_consumer *consumer = &beat->consumers.items[i];

        note_failure(failure, beat_consumer(ctx, ch, beat, consumer, now_ms), consumer->group, consumer->sub_count);
    }
}

static void answer_heartbeat(const struct reply_to *to, const struct beat_failure *failure)
{
    if (failure->rc == 0) {
        /* No IS_SUPPORT_HEART_BEAT_V2: without it clients send full heartbeats. */
        reply_code(to, RESP_SUCCESS);
    } else if (failure->rc == MQ_ETOOBIG) {
        reply_error(to, RESP_SYSTEM_ERROR,
                    "group \"" MQ_STR_FMT
                    "\" with %u subscriptions: at most %d a group, %d (%d by SQL92), %d consumers "
                    "and %d producers in all groups",
                    REMARK_ARG(failure->group), failure->subs, CONSUMER_GROUP_SUBS_MAX, CONSUMER_SUBS_MAX,
                    CONSUMER_SQL_MAX, CONSUMER_MEMBERS_MAX, PRODUCERS_MAX);
    } else {
        reply_error(to, RESP_SYSTEM_ERROR, "group \"" MQ_STR_FMT "\": %s", REMARK_ARG(failure->group),
                    mq_strerror(failure->rc));
    }
}

void client_heartbeat(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct beat_failure failure = {0};
    struct proto_heartbeat beat;
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes); /* decoding changes it */
    int rc;

    if (json == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    rc = proto_heartbeat_decode(json, cmd->body_bytes, &beat);
    if (rc == MQ_ETOOBIG) {
        reply_error(&to, RESP_SYSTEM_ERROR,
                    "heartbeat of %u bytes: a client has at most %d groups and %d subscriptions", cmd->body_bytes,
                    PROTO_HEARTBEAT_GROUPS_MAX, PROTO_HEARTBEAT_SUBS_MAX);
    } else if (rc != 0) {
        reply_error(&to, RESP_SYSTEM_ERROR, "heartbeat of %u bytes: %s", cmd->body_bytes, mq_strerror(rc));
    } else if (beat.client_id.len == 0 || beat.client_id.len > CLIENT_ID_MAX) {
        reply_error(&to, RESP_SYSTEM_ERROR, "clientID has %u bytes: must be 1 to %d", beat.client_id.len,
                    CLIENT_ID_MAX);
    } else {
        take_heartbeat(ctx, ch, cmd, &beat, &failure);
        answer_heartbeat(&to, &failure);
    }
    proto_heartbeat_free(&beat);
    mq_free(json);
}

/* A push consumer asks before it starts, for each subscription that is not by tags. */
static void check_subscription(const struct context *ctx, const struct reply_to *to,
                               const struct proto_subscription *sub)
{
    struct message_filter *filter = NULL;
    struct mq_buf problem = {0};
    int rc;

    if (sub->type == PROTO_EXPRESSION_TAG) {
        reply_code(to, RESP_SUCCESS);
        return;
    }
    if (!ctx->config->property_filter) {
        reply_error(to, RESP_SYSTEM_ERROR, "enablePropertyFilter is false: only tags can be subscribed to");
        return;
    }
    if (sub->type != PROTO_EXPRESSION_SQL92) {
        reply_error(to, RESP_SUBSCRIPTION_PARSE_FAILED,
                    "topic \"" MQ_STR_FMT "\": expressionType must be TAG or SQL92", REMARK_ARG(sub->topic));
        return;
    }
    rc = message_filter_of_sql(sub->expression, &filter, &problem);
    message_filter_release(filter);
    if (rc == 0) {
        reply_code(to, RESP_SUCCESS);
    } else if (rc == MQ_ENOMEM) {
        reply_failed(to, rc);
    } else {
        reply_error(to, RESP_SUBSCRIPTION_PARSE_FAILED,
                    "the subscription to topic \"" MQ_STR_FMT "\" is no SQL92: %.*s", REMARK_ARG(sub->topic),
                    (int)problem.len, (const char *)problem.base);
    }
    mq_buf_free(&problem);
}

void check_client(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_heartbeat said;
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes); /* decoding changes it */
    int rc;

    if (json == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    rc = proto_client_check_decode(json, cmd->body_bytes, &said);
    if (rc != 0) {
        reply_error(&to, RESP_SYSTEM_ERROR, "client configuration of %u bytes: %s", cmd->body_bytes, mq_strerror(rc));
    } else if (said.subs.count == 0) {
        reply_code(&to, RESP_SUCCESS);
    } else {
        check_subscription(ctx, &to, &said.subs.items[0]);
    }
    proto_heartbeat_free(&said);
    mq_free(json);
}

void client_unregister(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_unregister_client_header header;
    struct proto_problem why;

    if (proto_unregister_client_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (header.producer_group.len > 0) {
        producer_table_leave(ctx->producers, ch, header.producer_group);
    }
    if (header.consumer_group.len > 0) {
        consumer_table_leave(ctx->consumers, ch, header.consumer_group);
    }
    reply_code(&to, RESP_SUCCESS);
}

void consumer_list(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_header header;
    struct proto_problem why;
    struct proto_str_list ids = {0};
    struct mq_buf body = {0};
    int rc;

    if (proto_group_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!consumer_table_has_group(ctx->consumers, header.consumer_group)) {
        reply_error(&to, RESP_SYSTEM_ERROR, "consumerGroup \"" MQ_STR_FMT "\" has no member known here",
                    REMARK_ARG(header.consumer_group));
        return;
    }
    rc = consumer_table_ids(ctx->consumers, header.consumer_group, &ids);
    rc = rc == 0 ? proto_consumer_ids_encode(&body, &ids) : rc;
    reply_built(&to, rc, &body);
    proto_str_list_free(&ids);
}
