#include "remoting/protocol/body_group.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_json.h"

#define READ_FORBIDDEN_BIT 4 /* 1 << the number of the permission to read */

struct proto_group_config proto_group_config_defaults(void)
{
    return (struct proto_group_config){
        .consume_enable = true,
        .consume_from_min = true,
        .consume_broadcast = true,
        .retry_queues = 1,
        .retry_max_times = 16,
        .which_when_slow = 1,
        .notify_changed = true,
        .consume_timeout_minutes = 15,
    };
}

void proto_group_config_free(struct proto_group_config *group)
{
    proto_static_subs_free(&group->subs);
}

void proto_group_list_free(struct proto_group_configs *groups)
{
    for (uint32_t i = 0; i < groups->count; i++) {
        proto_group_config_free(&groups->items[i]);
    }
    proto_group_configs_free(groups);
}

/* --- writing --- */

static void put_exponential(struct proto_out *out, const struct proto_retry_policy *policy)
{
    PROTO_OUT(out, "\"exponentialRetryPolicy\":{\"initial\":");
    proto_out_i64(out, policy->initial_ms);
    PROTO_OUT(out, ",\"max\":");
    proto_out_i64(out, policy->max_ms);
    PROTO_OUT(out, ",\"multiplier\":");
    proto_out_i64(out, policy->multiplier);
    PROTO_OUT(out, "},");
}

static void put_policy(struct proto_out *out, const struct proto_retry_policy *policy)
{
    PROTO_OUT(out, "{");
    if (policy->has_customized) {
        PROTO_OUT(out, "\"customizedRetryPolicy\":{\"next\":[");
        for (uint32_t i = 0; i < policy->n_next; i++) {
            proto_out_comma(out, i);
            proto_out_i64(out, policy->next_ms[i]);
        }
        PROTO_OUT(out, "]},");
    }
    if (policy->has_exponential) {
        put_exponential(out, policy);
    }
    PROTO_OUT(out, "\"type\":");
    proto_out_string(out, policy->exponential ? MQ_STR("EXPONENTIAL") : MQ_STR("CUSTOMIZED"));
    PROTO_OUT(out, "}");
}

static void put_subs(struct proto_out *out, const struct proto_static_subs *subs)
{
    PROTO_OUT(out, ",\"subscriptionDataSet\":[");
    for (uint32_t i = 0; i < subs->count; i++) {
        proto_out_comma(out, i);
        PROTO_OUT(out, "{\"expression\":");
        proto_out_string(out, subs->items[i].expression);
        PROTO_OUT(out, ",\"expressionType\":");
        proto_out_string(out, subs->items[i].expression_type);
        PROTO_OUT(out, ",\"topic\":");
        proto_out_string(out, subs->items[i].topic);
        PROTO_OUT(out, ",\"version\":");
        proto_out_i64(out, subs->items[i].version);
        PROTO_OUT(out, "}");
    }
    PROTO_OUT(out, "]");
}

static void put_bool(struct proto_out *out, struct mq_str key, bool value)
{
    proto_out_raw(out, key);
    proto_out_bool(out, value);
}

static void put_i64(struct proto_out *out, struct mq_str key, int64_t value)
{
    proto_out_raw(out, key);
    proto_out_i64(out, value);
}

static void put_group(struct proto_out *out, const struct proto_group_config *group)
{
    put_i64(out, MQ_STR("{\"attributes\":{},\"brokerId\":"), group->broker_id);
    put_bool(out, MQ_STR(",\"consumeBroadcastEnable\":"), group->consume_broadcast);
    put_bool(out, MQ_STR(",\"consumeEnable\":"), group->consume_enable);
    put_bool(out, MQ_STR(",\"consumeFromMinEnable\":"), group->consume_from_min);
    put_bool(out, MQ_STR(",\"consumeMessageOrderly\":"), group->consume_orderly);
    put_i64(out, MQ_STR(",\"consumeTimeoutMinute\":"), group->consume_timeout_minutes);
    PROTO_OUT(out, ",\"groupName\":");
    proto_out_string(out, group->name);
    PROTO_OUT(out, ",\"groupRetryPolicy\":");
    put_policy(out, &group->policy);
    put_i64(out, MQ_STR(",\"groupSysFlag\":"), group->sys_flag);
    put_bool(out, MQ_STR(",\"notifyConsumerIdsChangedEnable\":"), group->notify_changed);
    put_i64(out, MQ_STR(",\"retryMaxTimes\":"), group->retry_max_times);
    put_i64(out, MQ_STR(",\"retryQueueNums\":"), group->retry_queues);
    if (group->subs.count != 0) {
        put_subs(out, &group->subs);
    }
    put_i64(out, MQ_STR(",\"whichBrokerWhenConsumeSlowly\":"), group->which_when_slow);
    PROTO_OUT(out, "}");
}

int proto_group_config_encode(struct mq_buf *buf, const struct proto_group_config *group)
{
    struct proto_out out = proto_out_begin(buf);

    put_group(&out, group);
    return proto_out_end(&out);
}

static void put_forbidden_table(struct proto_out *out, const struct proto_forbiddens *forbidden)
{
    uint32_t n = 0;

    PROTO_OUT(out, "\"forbiddenTable\":{");
    for (uint32_t i = 0; i < forbidden->count; i++) {
        const struct proto_forbidden *row = &forbidden->items[i];
        bool is_first = i == 0 || !mq_str_eq(row->group, forbidden->items[i - 1].group);

        if (is_first) {
            proto_out_raw(out, n++ != 0 ? MQ_STR("},") : MQ_STR(""));
            proto_out_string(out, row->group);
            PROTO_OUT(out, ":{");
        }
        proto_out_comma(out, !is_first);
        proto_out_string(out, row->topic);
        PROTO_OUT(out, ":");
        proto_out_i64(out, READ_FORBIDDEN_BIT);
    }
    proto_out_raw(out, n != 0 ? MQ_STR("}}") : MQ_STR("}"));
}

int proto_group_table_encode(struct mq_buf *buf, const struct proto_data_version *version,
                             const struct proto_group_configs *groups, const struct proto_forbiddens *forbidden)
{
    struct proto_out out = proto_out_begin(buf);

    put_i64(&out, MQ_STR("{\"dataVersion\":{\"counter\":"), version->counter);
    put_i64(&out, MQ_STR(",\"stateVersion\":"), version->state_version);
    put_i64(&out, MQ_STR(",\"timestamp\":"), version->timestamp_ms);
    PROTO_OUT(&out, "},");
    put_forbidden_table(&out, forbidden);
    PROTO_OUT(&out, ",\"subscriptionGroupTable\":{");
    for (uint32_t i = 0; i < groups->count; i++) {
        proto_out_comma(&out, i);
        proto_out_string(&out, groups->items[i].name);
        PROTO_OUT(&out, ":");
        put_group(&out, &groups->items[i]);
    }
    PROTO_OUT(&out, "}}");
    return proto_out_end(&out);
}

int proto_forbidden_encode(struct mq_buf *buf, const struct proto_forbidden *forbidden)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"group\":");
    proto_out_string(&out, forbidden->group);
    put_bool(&out, MQ_STR(",\"readable\":"), forbidden->readable);
    PROTO_OUT(&out, ",\"topic\":");
    proto_out_string(&out, forbidden->topic);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

/* --- reading --- */

static int read_exponential(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_retry_policy *policy = out;

    if (mq_str_eq(key, MQ_STR("initial"))) {
        return proto_json_i64(json, &policy->initial_ms);
    }
    if (mq_str_eq(key, MQ_STR("max"))) {
        return proto_json_i64(json, &policy->max_ms);
    }
    if (mq_str_eq(key, MQ_STR("multiplier"))) {
        return proto_json_i64(json, &policy->multiplier);
    }
    return mq_json_skip(json);
}

static int read_delays(struct mq_json *json, struct proto_retry_policy *policy)
{
    struct mq_str text;
    int rc = proto_json_array(json);

    policy->has_customized = true;
    policy->n_next = 0;
    while (rc == 1 && (rc = proto_json_element(json, &text)) == 1) {
        if (policy->n_next == PROTO_RETRY_DELAYS_MAX) {
            return MQ_ETOOBIG;
        }
        if (mq_str_to_i64(text, &policy->next_ms[policy->n_next++]) != 0) {
            return MQ_EBADMSG;
        }
    }
    return rc;
}

static int read_customized(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("next")) ? read_delays(json, out) : mq_json_skip(json);
}

static int read_policy(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_retry_policy *policy = out;
    int rc;

    if (mq_str_eq(key, MQ_STR("type"))) {
        struct mq_str type = {0};

        rc = proto_json_str(json, &type);

        policy->exponential = mq_str_eq_nocase(type, MQ_STR("EXPONENTIAL"));
        return rc;
    }
    if (mq_str_eq(key, MQ_STR("exponentialRetryPolicy"))) {
        policy->initial_ms = 5000;
        policy->max_ms = 7200000;
        policy->multiplier = 2;
        rc = proto_json_object(json, read_exponential, policy);
        policy->has_exponential = json->kind == MQ_JSON_OBJECT_END; /* an empty one has its defaults; null is none */
        return rc;
    }
    if (mq_str_eq(key, MQ_STR("customizedRetryPolicy"))) {
        return proto_json_object(json, read_customized, policy);
    }
    return mq_json_skip(json);
}

static int read_sub_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_static_sub *sub = out;

    if (mq_str_eq(key, MQ_STR("topic"))) {
        return proto_json_str(json, &sub->topic);
    }
    if (mq_str_eq(key, MQ_STR("expressionType"))) {
        return proto_json_str(json, &sub->expression_type);
    }
    if (mq_str_eq(key, MQ_STR("expression"))) {
        return proto_json_str(json, &sub->expression);
    }
    if (mq_str_eq(key, MQ_STR("version"))) {
        return proto_json_i64(json, &sub->version);
    }
    return mq_json_skip(json);
}

static int read_sub(struct mq_json *json, void *out)
{
    struct proto_static_subs *subs = out;
    struct proto_static_sub *sub;

    if (subs->count == PROTO_STATIC_SUBS_MAX) {
        return MQ_ETOOBIG;
    }
    sub = proto_static_subs_add(subs);
    return sub != NULL ? proto_json_members(json, read_sub_member, sub) : MQ_ENOMEM;
}

static int read_attribute(struct mq_json *json, struct mq_str key, void *out)
{
    struct mq_str *first = out;

    if (first->at == NULL) {
        *first = key;
    }
    return mq_json_skip(json);
}

/* One member that is a single value; @known: whether it is one. */
static int read_scalar(struct mq_json *json, struct mq_str key, struct proto_group_config *group, bool *known)
{
    const struct {
        struct mq_str key;
        bool *flag;
        int32_t *i32;
        int64_t *i64;
    } members[] = {
        {MQ_STR("consumeEnable"), &group->consume_enable, NULL, NULL},
        {MQ_STR("consumeFromMinEnable"), &group->consume_from_min, NULL, NULL},
        {MQ_STR("consumeBroadcastEnable"), &group->consume_broadcast, NULL, NULL},
        {MQ_STR("consumeMessageOrderly"), &group->consume_orderly, NULL, NULL},
        {MQ_STR("notifyConsumerIdsChangedEnable"), &group->notify_changed, NULL, NULL},
        {MQ_STR("retryQueueNums"), NULL, &group->retry_queues, NULL},
        {MQ_STR("retryMaxTimes"), NULL, &group->retry_max_times, NULL},
        {MQ_STR("groupSysFlag"), NULL, &group->sys_flag, NULL},
        {MQ_STR("consumeTimeoutMinute"), NULL, &group->consume_timeout_minutes, NULL},
        {MQ_STR("brokerId"), NULL, NULL, &group->broker_id},
        {MQ_STR("whichBrokerWhenConsumeSlowly"), NULL, NULL, &group->which_when_slow},
    };

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (mq_str_eq(members[i].key, key)) {
            *known = true;
            return members[i].flag != NULL  ? proto_json_bool(json, members[i].flag)
                   : members[i].i32 != NULL ? proto_json_i32(json, members[i].i32)
                                            : proto_json_i64(json, members[i].i64);
        }
    }
    return 0;
}

static int read_group_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_group_config *group = out;
    bool known = false;
    int rc;

    if (mq_str_eq(key, MQ_STR("groupName"))) {
        return proto_json_str(json, &group->name);
    }
    if (mq_str_eq(key, MQ_STR("groupRetryPolicy"))) {
        return proto_json_object(json, read_policy, &group->policy);
    }
    if (mq_str_eq(key, MQ_STR("subscriptionDataSet"))) {
        return proto_json_objects(json, read_sub, &group->subs);
    }
    if (mq_str_eq(key, MQ_STR("attributes"))) {
        return proto_json_object(json, read_attribute, &group->attribute);
    }
    rc = read_scalar(json, key, group, &known);
    return known ? rc : mq_json_skip(json);
}

int proto_group_config_decode(char *json, size_t n, struct proto_group_config *out)
{
    *out = proto_group_config_defaults();
    return proto_json_body(json, n, read_group_member, out);
}

static struct proto_group_config *add_group(struct proto_group_configs *groups, int *rc)
{
    struct proto_group_config *group = NULL;

    if (groups->count == PROTO_GROUPS_MAX) {
        *rc = MQ_ETOOBIG;
        return NULL;
    }
    group = proto_group_configs_add(groups);
    if (group == NULL) {
        *rc = MQ_ENOMEM;
        return NULL;
    }
    *group = proto_group_config_defaults();
    return group;
}

static int read_listed_group(struct mq_json *json, void *out)
{
    int rc = 0;
    struct proto_group_config *group = add_group(out, &rc);

    return group != NULL ? proto_json_members(json, read_group_member, group) : rc;
}

static int read_list(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("groupConfigList")) ? proto_json_objects(json, read_listed_group, out)
                                                     : mq_json_skip(json);
}

int proto_group_list_decode(char *json, size_t n, struct proto_group_configs *out)
{
    *out = (struct proto_group_configs){0};
    return proto_json_body(json, n, read_list, out);
}

static int read_row(struct mq_json *json, struct mq_str key, void *out)
{
    int rc = 0;
    struct proto_group_config *group = add_group(out, &rc);

    (void)key;
    return group != NULL ? proto_json_object(json, read_group_member, group) : rc;
}

static int read_table(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_group_table *table = out;

    if (mq_str_eq(key, MQ_STR("dataVersion"))) {
        return proto_data_version_read(json, &table->version);
    }
    return mq_str_eq(key, MQ_STR("subscriptionGroupTable")) ? proto_json_object(json, read_row, &table->groups)
                                                            : mq_json_skip(json);
}

int proto_group_table_decode(char *json, size_t n, struct proto_group_table *out)
{
    *out = (struct proto_group_table){0};
    return proto_json_body(json, n, read_table, out);
}
