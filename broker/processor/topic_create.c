/* Topics and groups that come into being on use: from a template (TBW102) by a send, %RETRY% topics and groups by a
 * heartbeat, system topics by a new leader. Each is an item in the log; a topic is usable by the sends behind it in
 * the same entry. Source: RocketMQ's TopicValidator, TopicConfigManager.createTopicInSendMessageMethod,
 * SubscriptionGroupConfig. */
#include "broker/processor/processors.h"
#include "broker/processor/told.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"
#include "remoting/protocol/names.h"

#include <stdio.h>

/* An item that names topics or groups has ended. One that did not reach the log must not be believed to be on its
 * way: records of a topic that no member knows could not be read. Of groups all are forgotten: the next use proposes
 * anew what is dropped too much. */
void names_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct context *ctx = p->data;

    if (outcome->status != 0 && p->queue_id != 0) {
        topic_table_forget(&ctx->state->topics, (uint32_t)p->queue_id);
    } else if (outcome->status != 0) {
        group_table_drop_proposed(&ctx->state->groups);
    }
    answer_done(p, outcome);
}

/* The same for topics: name servers know of the change before the client does. */
static void topics_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct context *ctx = p->data;
    struct reply_to to = reply_to_of_pending(p);

    if (outcome->status == 0) {
        told_answer(ctx->told, &to, ctx->loop->now_ms);
    } else {
        names_done(p, outcome);
    }
}

struct sequencer_pending pending_for_topics(const struct reply_to *to, struct context *ctx)
{
    struct sequencer_pending pending = pending_for(to, topics_done, ctx);

    pending.queue_id = (int32_t)topic_table_ticket(&ctx->state->topics);
    return pending;
}

static const struct reply_to nobody = {0};

int topic_put(struct context *ctx, Raftmq__TopicConfigItem *config, const struct reply_to *to)
{
    struct sequencer_pending pending = pending_for_topics(to, ctx);
    Raftmq__TopicPut put = RAFTMQ__TOPIC_PUT__INIT;
    int rc;

    put.config = config;
    rc = propose_item(ctx, COMMAND_TOPIC_PUT, &put.base, &pending);
    if (rc == 0) {
        /* Without memory for it, sends have to wait until the entry is applied. */
        (void)topic_table_put_pending(&ctx->state->topics, config);
    }
    return rc;
}

static bool is_reply_topic(const struct context *ctx, struct mq_str topic)
{
    struct mq_str cluster = mq_str_of(ctx->config->cluster), suffix = MQ_STR("_REPLY_TOPIC");

    return topic.len == cluster.len + suffix.len && mq_str_starts(topic, cluster) &&
           memcmp(topic.at + cluster.len, suffix.at, suffix.len) == 0;
}

bool topic_is_system(const struct context *ctx, struct mq_str topic)
{
    return proto_topic_is_system(topic) || mq_str_eq(topic, mq_str_of(ctx->config->cluster)) ||
           mq_str_eq(topic, mq_str_of(ctx->config->broker_name)) || is_reply_topic(ctx, topic);
}

bool topics_full(const struct context *ctx)
{
    return HASH_COUNT(ctx->state->topics.by_name) >= TOPICS_MAX; /* with the pending ones */
}

static int propose_topic(struct context *ctx, struct mq_str name, uint32_t queues, uint32_t perm, bool multi_tag,
                         uint32_t sys_flag)
{
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;
    char text[NAME_TEXT_MAX];

    if (!name_text(name, text)) {
        return MQ_EINVAL;
    }
    if (topics_full(ctx)) {
        return MQ_ENOMEM;
    }
    config.name = text;
    config.read_queues = queues;
    config.write_queues = queues;
    config.perm = perm;
    config.filter_type = (char *)(multi_tag ? TOPIC_MULTI_TAG : TOPIC_SINGLE_TAG);
    config.sys_flag = sys_flag;
    return topic_put(ctx, &config, &nobody);
}

int topic_propose(struct context *ctx, struct mq_str topic, uint32_t queues, uint32_t perm)
{
    if (topic_table_find_for_send(&ctx->state->topics, topic) != NULL) {
        return 0;
    }
    return propose_topic(ctx, topic, queues, perm, false, 0);
}

int topic_make(struct context *ctx, struct mq_str name, uint32_t queues, uint32_t perm, uint32_t sys_flag,
               struct topic **out)
{
    struct topic *found = topic_table_find_for_send(&ctx->state->topics, name);
    int rc;

    if (found == NULL) {
        rc = propose_topic(ctx, name, queues, perm, false, sys_flag);
        if (rc != 0) {
            return rc;
        }
        found = topic_table_find_for_send(&ctx->state->topics, name);
    }
    if (found == NULL) {
        return MQ_ENOMEM;
    }
    *out = found;
    return 0;
}

int topic_for_send(struct context *ctx, struct mq_str topic, struct mq_str default_topic, int32_t queues,
                   bool unit_mode, struct topic **out)
{
    bool retry = mq_str_starts(topic, PROTO_RETRY_PREFIX);
    uint32_t sys_flag = unit_mode ? (retry ? TOPIC_SYS_FLAG_UNIT_SUB : TOPIC_SYS_FLAG_UNIT) : 0;
    struct topic *found = topic_table_find_for_send(&ctx->state->topics, topic);
    const struct topic *model;
    uint32_t n;
    int rc;

    if (found != NULL) {
        *out = found;
        return 0;
    }
    model = topic_table_find(&ctx->state->topics, default_topic);
    if (model == NULL || (model->perm & TOPIC_PERM_INHERIT) == 0 ||
        (mq_str_eq(default_topic, PROTO_TOPIC_TBW102) && !ctx->config->auto_create_topic)) {
        return retry ? topic_make(ctx, topic, 1, TOPIC_PERM_READ | TOPIC_PERM_WRITE, sys_flag, out) : MQ_ENOTFOUND;
    }
    n = queues < 0 ? 0 : (uint32_t)queues;
    n = n > model->write_queues ? model->write_queues : n;
    rc = propose_topic(ctx, topic, n, model->perm & ~(uint32_t)TOPIC_PERM_INHERIT, model->multi_tag, sys_flag);
    if (rc != 0) {
        return rc;
    }
    *out = topic_table_find_for_send(&ctx->state->topics, topic);
    return *out != NULL ? 0 : MQ_ENOMEM;
}

static int propose_group(struct context *ctx, struct mq_str name)
{
    struct sequencer_pending pending = pending_for(&nobody, names_done, ctx);
    Raftmq__GroupPut put;
    char text[NAME_TEXT_MAX];
    int rc;

    if (!name_text(name, text)) {
        return MQ_EINVAL;
    }
    group_defaults(&put, text);
    rc = propose_item(ctx, COMMAND_GROUP_PUT, &put.base, &pending);
    if (rc == 0) {
        group_table_note_proposed(&ctx->state->groups, name);
    }
    return rc;
}

bool group_usable(struct context *ctx, struct mq_str group)
{
    struct group_table *groups = &ctx->state->groups;

    if (group_table_find(groups, group) != NULL || group_table_is_proposed(groups, group)) {
        return true;
    }
    if (!ctx->config->auto_create_group || proto_group_check(group) != PROTO_NAME_OK ||
        group_table_size(groups) >= GROUPS_MAX) {
        return false;
    }
    if (context_writable(ctx)) {
        (void)propose_group(ctx, group); /* if the log takes nothing now, the next use proposes it */
    }
    return true;
}

static void propose_named(struct context *ctx, const char *fmt, const char *name, uint32_t queues, uint32_t perm)
{
    char text[NAME_TEXT_MAX];
    int n = snprintf(text, sizeof(text), fmt, name);
    int rc = MQ_ETOOBIG;

    if (n > 0 && (size_t)n < sizeof(text)) {
        rc = topic_propose(ctx, (struct mq_str){text, (uint32_t)n}, queues, perm);
    }
    if (rc != 0) {
        mq_log_warn("topic", "system topic %s not proposed: %s", text, mq_strerror(rc));
    }
}

void propose_system_topics(struct context *ctx)
{
    static const char *const groups[] = {"TOOLS_CONSUMER",     "FILTERSRV_CONSUMER", "SELF_TEST_C_GROUP",
                                         "CID_ONS-HTTP-PROXY", "CID_ONSAPI_PULL",    "CID_ONSAPI_PERMISSION",
                                         "CID_ONSAPI_OWNER",   "CID_RMQ_SYS_TRANS"};
    const struct broker_config *config = ctx->config;
    const uint32_t rw = TOPIC_PERM_READ | TOPIC_PERM_WRITE;

    if (config->auto_create_topic) {
        propose_named(ctx, "%s", "TBW102", (uint32_t)config->topic_queues, rw | TOPIC_PERM_INHERIT);
    }
    propose_named(ctx, "%s", "SELF_TEST_TOPIC", 1, rw);
    propose_named(ctx, "%s", "BenchmarkTest", 1024, rw);
    propose_named(ctx, "%s", config->cluster, 16, TOPIC_PERM_INHERIT | (config->cluster_topic ? rw : 0));
    propose_named(ctx, "%s", config->broker_name, 1, TOPIC_PERM_INHERIT | (config->broker_topic ? rw : 0));
    propose_named(ctx, "%s", "OFFSET_MOVED_EVENT", 1, rw);
    propose_named(ctx, "%s", "SCHEDULE_TOPIC_XXXX", delayed_level_queues(&ctx->delayed), rw);
    propose_named(ctx, "%s", "rmq_sys_wheel_timer", 1, rw);
    propose_named(ctx, "%s", "RMQ_SYS_TRANS_HALF_TOPIC", 1, rw);
    propose_named(ctx, "%s", "RMQ_SYS_TRANS_OP_HALF_TOPIC", 1, rw);
    propose_named(ctx, "%s", "TRANS_CHECK_MAX_TIME_TOPIC", 1, rw);
    propose_named(ctx, "%s_REPLY_TOPIC", config->cluster, 1, rw);
    if (config->trace_topic) { /* else the first trace that a client sends makes it, as any other topic */
        propose_named(ctx, "%s", config->trace_topic_name, 1, rw);
    }
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if (group_table_find(&ctx->state->groups, mq_str_of(groups[i])) == NULL) {
            (void)propose_group(ctx, mq_str_of(groups[i]));
        }
    }
}
