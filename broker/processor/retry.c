/* Source: RocketMQ's SendMessageProcessor.handleRetryAndDLQ, AbstractSendMessageProcessor.consumerSendMsgBack. */
#include "broker/processor/retry.h"

#include "broker/processor/processors.h"
#include "remoting/base/err.h"
#include "remoting/protocol/names.h"

#define VERSION_3_4_9 121 /* in RocketMQ's MQVersion: older clients fill the field with something else */

#define DEFAULT_QUEUES 1 /* group_defaults */
#define DEFAULT_TIMES 16

struct retry_limits retry_limits_of(struct context *ctx, struct mq_str group, int32_t version, int32_t asked_times)
{
    const struct group *known = group_table_find(&ctx->state->groups, group);
    struct retry_limits limits = {DEFAULT_QUEUES, DEFAULT_TIMES};

    if (known != NULL) {
        limits.queues = known->retry_queues;
        limits.max_times = known->retry_max_times;
    }
    if (asked_times != RETRY_TIMES_NOT_SENT && version >= VERSION_3_4_9) {
        limits.max_times = asked_times;
    }
    return limits;
}

int dead_letter_queue(struct context *ctx, struct mq_str group, struct queue **out)
{
    char name[PROTO_RETRY_TOPIC_MAX];
    struct topic *topic;
    int rc = topic_make(ctx, proto_group_topic(PROTO_DLQ_PREFIX, group, name), 1, TOPIC_PERM_READ | TOPIC_PERM_WRITE,
                        0, &topic);

    return rc != 0 ? rc : topic_queues_get(&ctx->store->queues, topic->queues, 0, out);
}

struct mq_str retry_group_of(struct mq_str retry_topic)
{
    uint32_t prefix = PROTO_RETRY_PREFIX.len;

    return (struct mq_str){retry_topic.at + prefix, retry_topic.len - prefix};
}

int retry_send_check(struct context *ctx, const struct proto_send_header *header, int32_t version, bool *dead)
{
    struct mq_str group = retry_group_of(header->topic);
    int32_t asked = header->max_reconsume_times == -1 ? RETRY_TIMES_NOT_SENT : header->max_reconsume_times;
    struct retry_limits limits;

    if (!group_usable(ctx, group)) {
        return MQ_ENOTFOUND;
    }
    limits = retry_limits_of(ctx, group, version, asked);
    *dead = header->reconsume_times > limits.max_times || lock_table_group_holds(&ctx->state->locks, group);
    return 0;
}
