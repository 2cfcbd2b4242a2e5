#include "broker/processor/pop_check.h"

#include "broker/flow/pop_revive.h"
#include "broker/processor/processors.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/body_client.h"

#include <inttypes.h>

#define LATE_MS 500  /* a request that was born longer ago than this and its poll time is not carried out */
#define ANSWER_MS 50 /* a held request is answered so long before its client gives up */
#define HELD_MS_MAX 120000
#define POLL_MS_MAX ((int64_t)24 * 3600 * 1000) /* what is more counts as so much */
#define INVISIBLE_MS_MAX ((int64_t)3 * 24 * 3600 * 1000)

static bool check_topic(struct context *ctx, const struct reply_to *to, const struct pop_target *target)
{
    struct topic *topic = topic_table_find(&ctx->state->topics, target->topic);

    if (topic == NULL) {
        reply_no_topic(to, target->topic);
        return false;
    }
    if ((topic->perm & TOPIC_PERM_READ) == 0) {
        reply_error(to, RESP_NO_PERMISSION, "topic \"" MQ_STR_FMT "\" has perm %u: it may not be read",
                    REMARK_ARG(target->topic), topic->perm);
        return false;
    }
    if (target->queue_id < -1 || (target->queue_id >= 0 && (uint32_t)target->queue_id >= topic->read_queues)) {
        reply_error(to, RESP_INVALID_PARAMETER,
                    "queueId %d: topic \"" MQ_STR_FMT "\" has %u read queues, counted from 0; -1 is any",
                    target->queue_id, REMARK_ARG(target->topic), topic->read_queues);
        return false;
    }
    return true;
}

static bool check_group(struct context *ctx, const struct reply_to *to, const struct pop_target *target)
{
    struct group *group;

    if (!group_usable(ctx, target->group)) {
        reply_error(to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "consumerGroup \"" MQ_STR_FMT "\" does not exist",
                    REMARK_ARG(target->group));
        return false;
    }
    group = group_table_find(&ctx->state->groups, target->group);
    if (group != NULL && !group->consume_enable) {
        reply_error(to, RESP_NO_PERMISSION, "consumerGroup \"" MQ_STR_FMT "\" may not consume",
                    REMARK_ARG(target->group));
        return false;
    }
    return true;
}

bool pop_check_target(struct context *ctx, const struct reply_to *to, const struct pop_target *target)
{
    if ((ctx->config->permission & TOPIC_PERM_READ) == 0) {
        reply_error(to, RESP_NO_PERMISSION, "brokerPermission is %lld: this broker is not read from",
                    (long long)ctx->config->permission);
        return false;
    }
    return check_topic(ctx, to, target) && check_group(ctx, to, target);
}

/* What is not acknowledged comes again in a topic of both names. */
bool pop_check_names(const struct reply_to *to, const struct pop_target *target)
{
    char retry[POP_RETRY_TOPIC_MAX + 1];

    if (pop_retry_topic(target->group, target->topic, retry) == 0) {
        reply_error(to, RESP_INVALID_PARAMETER,
                    "consumerGroup of %u and topic of %u bytes: with %%RETRY%% and _ they pass %u", target->group.len,
                    target->topic.len, POP_RETRY_TOPIC_MAX);
        return false;
    }
    return true;
}

bool pop_check_count(const struct reply_to *to, int32_t count)
{
    if (count < 1 || count > (int32_t)POP_MESSAGES_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER, "maxMsgNums %d: 1 to %u", count, POP_MESSAGES_MAX);
        return false;
    }
    return true;
}

bool pop_check_invisible(const struct reply_to *to, int64_t ms)
{
    if (ms < 1 || ms > INVISIBLE_MS_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER, "invisibleTime %" PRId64 ": 1 to %" PRId64 " ms", ms,
                    INVISIBLE_MS_MAX);
        return false;
    }
    return true;
}

bool pop_parse_filter(struct context *ctx, const struct reply_to *to, struct mq_str type, struct mq_str expression,
                      struct message_filter **out)
{
    struct mq_buf problem = {0};
    struct proto_filter tags;
    int rc = MQ_EINVAL;

    switch (proto_expression_of(type)) {
    case PROTO_EXPRESSION_TAG:
        rc = proto_filter_parse(expression, &tags);
        rc = rc == 0 ? message_filter_of_tags(&tags, out) : rc;
        break;
    case PROTO_EXPRESSION_SQL92:
        if (!ctx->config->property_filter) {
            reply_error(to, RESP_SYSTEM_ERROR, "enablePropertyFilter is false: only tags can be subscribed to");
            return false;
        }
        rc = message_filter_of_sql(expression, out, &problem);
        break;
    default:
        break;
    }
    if (rc == MQ_ENOMEM) {
        reply_failed(to, rc);
    } else if (rc != 0) {
        reply_error(to, RESP_SUBSCRIPTION_PARSE_FAILED, "exp \"" MQ_STR_FMT "\" of expType \"" MQ_STR_FMT "\": %.*s",
                    REMARK_ARG(expression), REMARK_ARG(type), problem.len != 0 ? (int)problem.len : 19,
                    problem.len != 0 ? (const char *)problem.base : "no tags or no SQL92");
    }
    mq_buf_free(&problem);
    return rc == 0;
}

/* Clients may send any number: none is subtracted from another before it is bounded. */
static int64_t bounded_poll_ms(const struct pop_wait *wait)
{
    return wait->poll_ms <= 0 ? 0 : wait->poll_ms < POLL_MS_MAX ? wait->poll_ms : POLL_MS_MAX;
}

bool pop_is_late(const struct pop_wait *wait, int64_t now_ms)
{
    return wait->born_ms != 0 && wait->born_ms < now_ms - bounded_poll_ms(wait) - LATE_MS;
}

uint64_t pop_deadline(const struct pop_wait *wait, int64_t now_ms)
{
    int64_t born_ms = wait->born_ms != 0 && wait->born_ms < now_ms ? wait->born_ms : now_ms;
    int64_t left_ms = pop_is_late(wait, now_ms) ? 0 : born_ms + bounded_poll_ms(wait) - ANSWER_MS - now_ms;

    if (left_ms <= 0) {
        return 0;
    }
    return mq_clock_mono_ms() + (uint64_t)(left_ms < HELD_MS_MAX ? left_ms : HELD_MS_MAX);
}
