/* Consumer groups are made and changed: UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200), one, and its list (225), many at
 * once, all of them or none. A group is replaced as a whole. Source: RocketMQ's AdminBrokerProcessor,
 * SubscriptionGroupManager.
 */
#include "broker/processor/processors.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_group.h"
#include "remoting/protocol/names.h"

#define RETRY_QUEUES_MAX 65535
#define EXPRESSION_MAX 65535

static bool check_policy(const struct reply_to *to, const struct proto_retry_policy *policy)
{
    if (policy->has_exponential && (policy->initial_ms < 0 || policy->max_ms < 0 || policy->multiplier < 1)) {
        reply_error(to, RESP_INVALID_PARAMETER,
                    "exponentialRetryPolicy initial %lld, max %lld, multiplier %lld: none may be negative, the "
                    "multiplier at least 1",
                    (long long)policy->initial_ms, (long long)policy->max_ms, (long long)policy->multiplier);
        return false;
    }
    for (uint32_t i = 0; policy->has_customized && i < policy->n_next; i++) {
        if (policy->next_ms[i] < 0) {
            reply_error(to, RESP_INVALID_PARAMETER, "customizedRetryPolicy next %lld: must not be negative",
                        (long long)policy->next_ms[i]);
            return false;
        }
    }
    return true;
}

static bool check_subs(const struct reply_to *to, const struct proto_static_subs *subs)
{
    for (uint32_t i = 0; i < subs->count; i++) {
        const struct proto_static_sub *sub = &subs->items[i];

        if (proto_topic_check(sub->topic) != PROTO_NAME_OK) {
            reply_bad_topic(to, sub->topic, proto_topic_check(sub->topic));
            return false;
        }
        if (sub->expression.len > EXPRESSION_MAX || sub->expression_type.len >= NAME_TEXT_MAX) {
            reply_error(to, RESP_INVALID_PARAMETER,
                        "subscriptionDataSet: expression of %u bytes, at most %d are allowed", sub->expression.len,
                        EXPRESSION_MAX);
            return false;
        }
    }
    return true;
}

/* Returns false after an answer. */
static bool check_group(const struct reply_to *to, const struct proto_group_config *group)
{
    if (!reply_checked_group(to, "groupName", group->name)) {
        return false;
    }
    if (group->attribute.at != NULL) {
        reply_error(to, RESP_SYSTEM_ERROR, "attributes: unknown key \"" MQ_STR_FMT "\"",
                    REMARK_ARG(group->attribute));
        return false;
    }
    if (group->retry_queues > RETRY_QUEUES_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER, "retryQueueNums %d: at most %d are allowed", group->retry_queues,
                    RETRY_QUEUES_MAX);
        return false;
    }
    return check_policy(to, &group->policy) && check_subs(to, &group->subs);
}

/* Memory for the parts of one item. */
struct group_item {
    char name[NAME_TEXT_MAX];
    Raftmq__GroupPut put;
    Raftmq__GroupDetails details;
    Raftmq__RetryPolicy policy;
    Raftmq__ExponentialRetry exponential;
    Raftmq__CustomizedRetry customized;
    struct mq_buf texts;                  /* owned: of subscriptions */
    Raftmq__GroupSubscription *subs;      /* owned */
    Raftmq__GroupSubscription **sub_list; /* owned */
};

static void item_free(struct group_item *item)
{
    mq_buf_free(&item->texts);
    mq_free(item->subs);
    mq_free(item->sub_list);
}

static void describe_policy(const struct proto_retry_policy *policy, struct group_item *item)
{
    raftmq__retry_policy__init(&item->policy);
    item->policy.exponential = policy->exponential;
    if (policy->has_exponential) {
        raftmq__exponential_retry__init(&item->exponential);
        item->exponential.initial_ms = policy->initial_ms;
        item->exponential.max_ms = policy->max_ms;
        item->exponential.multiplier = policy->multiplier;
        item->policy.exponential_retry = &item->exponential;
    }
    if (policy->has_customized) {
        raftmq__customized_retry__init(&item->customized);
        item->customized.next_ms = (int64_t *)policy->next_ms;
        item->customized.n_next_ms = policy->n_next;
        item->policy.customized_retry = &item->customized;
    }
    if (policy->exponential || policy->has_exponential || policy->has_customized) {
        item->details.retry_policy = &item->policy;
    }
}

/* As text with its NUL in @texts, which has the room. */
static char *put_text(struct mq_buf *texts, struct mq_str text)
{
    char *at = (char *)texts->base + texts->len;

    if (text.len != 0) {
        memcpy(at, text.at, text.len);
    }
    at[text.len] = '\0';
    texts->len += text.len + 1;
    return at;
}

static int describe_subs(const struct proto_static_subs *subs, struct group_item *item)
{
    size_t bytes = 1;

    for (uint32_t i = 0; i < subs->count; i++) {
        bytes +=
            (size_t)subs->items[i].topic.len + subs->items[i].expression_type.len + subs->items[i].expression.len + 3;
    }
    item->subs = mq_calloc(subs->count + 1, sizeof(item->subs[0]));
    item->sub_list = mq_calloc(subs->count + 1, sizeof(item->sub_list[0]));
    if (item->subs == NULL || item->sub_list == NULL || mq_buf_reserve(&item->texts, bytes) != 0) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < subs->count; i++) {
        raftmq__group_subscription__init(&item->subs[i]);
        item->subs[i].topic = put_text(&item->texts, subs->items[i].topic);
        item->subs[i].expression_type = put_text(&item->texts, subs->items[i].expression_type);
        item->subs[i].expression = put_text(&item->texts, subs->items[i].expression);
        item->subs[i].version = subs->items[i].version;
        item->sub_list[i] = &item->subs[i];
    }
    item->details.subscriptions = item->sub_list;
    item->details.n_subscriptions = subs->count;
    return 0;
}

/* A checked group as an item; item_free also after an error. Returns 0, MQ_EINVAL or MQ_ENOMEM. */
static int describe_item(const struct proto_group_config *group, struct group_item *item)
{
    memset(item, 0, sizeof(*item));
    if (!name_text(group->name, item->name)) {
        return MQ_EINVAL;
    }
    raftmq__group_put__init(&item->put);
    item->put.name = item->name;
    item->put.consume_enable = group->consume_enable;
    item->put.consume_from_min_enable = group->consume_from_min;
    item->put.consume_broadcast_enable = group->consume_broadcast;
    item->put.consume_message_orderly = group->consume_orderly;
    item->put.retry_queues = group->retry_queues > 0 ? (uint32_t)group->retry_queues : 0;
    item->put.retry_max_times = group->retry_max_times;
    item->put.broker_id = group->broker_id;
    item->put.which_broker_when_slow = group->which_when_slow;
    item->put.notify_consumer_ids_changed = group->notify_changed;
    item->put.sys_flag = (uint32_t)group->sys_flag;
    item->put.consume_timeout_minutes = (uint32_t)group->consume_timeout_minutes;
    raftmq__group_details__init(&item->details);
    describe_policy(&group->policy, item);
    if (item->details.retry_policy != NULL || group->subs.count != 0) {
        item->put.details = &item->details;
    }
    return group->subs.count != 0 ? describe_subs(&group->subs, item) : 0;
}

static int append_item(struct mq_buf *items, const struct proto_group_config *group)
{
    struct group_item item;
    int rc = describe_item(group, &item);
    uint32_t bytes = rc == 0 ? command_bytes(&item.put.base) : 0;

    rc = rc == 0 ? mq_buf_reserve(items, bytes) : rc;
    if (rc == 0) {
        command_encode(COMMAND_GROUP_PUT, &item.put.base, items->base + items->len);
        items->len += bytes;
    }
    item_free(&item);
    return rc;
}

/* All groups go into one entry. */
static void put_groups(struct context *ctx, const struct reply_to *to, const struct proto_group_config *groups,
                       uint32_t n)
{
    struct sequencer_pending pending = pending_for(to, names_done, ctx);
    struct mq_buf items = {0};
    uint8_t *at;
    int rc = 0;

    if (group_table_size(&ctx->state->groups) + n > GROUPS_MAX) {
        reply_error(to, RESP_SYSTEM_ERROR, "%u groups: there are %u, at most %d are allowed", n,
                    group_table_size(&ctx->state->groups), GROUPS_MAX);
        return;
    }
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        rc = append_item(&items, &groups[i]);
    }
    rc = rc == 0 && items.len > RLOG_ENTRY_BYTES_MAX ? MQ_ETOOBIG : rc;
    rc = rc == 0 ? sequencer_reserve(ctx->sequencer, (uint32_t)items.len, &at) : rc;
    if (rc == 0) {
        memcpy(at, items.base, items.len);
        sequencer_add(ctx->sequencer, (uint32_t)items.len, NULL, 0, n, &pending);
    } else {
        reply_failed(to, rc);
    }
    mq_buf_free(&items);
}

void put_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_config group = {0};
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes); /* decoding changes it */
    int rc = json != NULL ? proto_group_config_decode(json, cmd->body_bytes, &group) : MQ_ENOMEM;

    if (rc != 0) {
        reply_bad_body(&to, cmd, rc);
    } else if (check_group(&to, &group)) {
        put_groups(ctx, &to, &group, 1);
    }
    proto_group_config_free(&group);
    mq_free(json);
}

void put_group_list(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_configs groups = {0};
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes);
    int rc = json != NULL ? proto_group_list_decode(json, cmd->body_bytes, &groups) : MQ_ENOMEM;
    bool ok = rc == 0;

    if (rc != 0) {
        reply_bad_body(&to, cmd, rc);
    } else if (groups.count == 0) {
        reply_error(&to, RESP_INVALID_PARAMETER, "groupConfigList is missing or empty");
        ok = false;
    }
    for (uint32_t i = 0; ok && i < groups.count; i++) {
        ok = check_group(&to, &groups.items[i]);
    }
    if (ok) {
        put_groups(ctx, &to, groups.items, groups.count);
    }
    proto_group_list_free(&groups);
    mq_free(json);
}
