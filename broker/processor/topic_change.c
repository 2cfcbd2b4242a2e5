/* Topics are made and changed: UPDATE_AND_CREATE_TOPIC (17), one, and UPDATE_AND_CREATE_TOPIC_LIST (18), many at
 * once, all of them or none. Fewer queues than before hide the others; their messages and offsets are there when
 * there are more again. Source: RocketMQ's AdminBrokerProcessor. */
#include "broker/processor/attributes.h"
#include "broker/processor/processors.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_topic.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

/* Everything about a topic's name and numbers that can be wrong. Returns false after an answer. */
static bool check_topic(struct context *ctx, const struct reply_to *to, const struct proto_topic_config *topic)
{
    enum proto_name_problem problem = proto_topic_check(topic->name);

    if (problem != PROTO_NAME_OK) {
        reply_bad_topic(to, topic->name, problem);
        return false;
    }
    if (topic_is_system(ctx, topic->name)) {
        reply_error(to, RESP_INVALID_PARAMETER, "topic \"" MQ_STR_FMT "\" is a system topic",
                    REMARK_ARG(topic->name));
        return false;
    }
    if (topic->read_queues < 0 || topic->read_queues > TOPIC_QUEUES_MAX || topic->write_queues < 0 ||
        topic->write_queues > TOPIC_QUEUES_MAX) {
        reply_error(to, RESP_INVALID_PARAMETER,
                    "topic \"" MQ_STR_FMT "\": readQueueNums %d, writeQueueNums %d: each must be 0 to %d",
                    REMARK_ARG(topic->name), topic->read_queues, topic->write_queues, TOPIC_QUEUES_MAX);
        return false;
    }
    if (topic->perm < 0 || topic->perm > 7) {
        reply_error(to, RESP_INVALID_PARAMETER, "topic \"" MQ_STR_FMT "\": perm %d: must be 0 to 7",
                    REMARK_ARG(topic->name), topic->perm);
        return false;
    }
    return true;
}

static bool is_new(const struct context *ctx, struct mq_str topic)
{
    return topic_table_find_for_send(&ctx->state->topics, topic) == NULL;
}

/* Whether @n more topics may be. Returns false after an answer. */
static bool check_room(const struct context *ctx, const struct reply_to *to, uint32_t n)
{
    uint32_t count = HASH_COUNT(ctx->state->topics.by_name); /* with the pending ones */

    if (count + n <= TOPICS_MAX || n == 0) {
        return true;
    }
    reply_error(to, RESP_SYSTEM_ERROR, "%u new topics: there are %u, at most %d are allowed", n, count, TOPICS_MAX);
    return false;
}

/* The attributes as they will be behind @change. Returns false after an answer. */
static bool change_attributes(struct context *ctx, const struct reply_to *to, struct mq_str topic,
                              struct mq_str change, struct attributes *out)
{
    char problem[256];
    int rc = attributes_change(topic_table_find(&ctx->state->topics, topic), change, out, problem, sizeof(problem));

    if (rc != 0) {
        reply_error(to, rc == MQ_EUNSUPPORTED ? RESP_INVALID_PARAMETER : RESP_SYSTEM_ERROR,
                    "topic \"" MQ_STR_FMT "\", attributes: %s", REMARK_ARG(topic),
                    rc == MQ_ENOMEM ? mq_strerror(rc) : problem);
    }
    return rc == 0;
}

/* @name, @attributes: borrowed by @out. */
static void describe_item(const struct proto_topic_config *topic, char *name, struct attributes *attributes,
                          Raftmq__TopicConfigItem *out)
{
    raftmq__topic_config_item__init(out);
    out->name = name;
    out->read_queues = (uint32_t)topic->read_queues;
    out->write_queues = (uint32_t)topic->write_queues;
    out->perm = (uint32_t)topic->perm;
    out->filter_type = (char *)(topic->multi_tag ? TOPIC_MULTI_TAG : TOPIC_SINGLE_TAG);
    out->sys_flag = (uint32_t)topic->sys_flag;
    out->order = topic->order;
    out->attributes = attributes->list;
    out->n_attributes = attributes->count;
}

/* --- one --- */

static bool is_filter_type(struct mq_str type)
{
    return mq_str_eq(type, MQ_STR(TOPIC_SINGLE_TAG)) || mq_str_eq(type, MQ_STR(TOPIC_MULTI_TAG));
}

void create_topic(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_create_topic_header header;
    struct proto_topic_config topic;
    Raftmq__TopicConfigItem item;
    struct proto_problem why;
    struct attributes attributes;
    char name[NAME_TEXT_MAX];
    int rc;

    if (proto_create_topic_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    topic = (struct proto_topic_config){header.topic,          header.read_queues,
                                        header.write_queues,   header.perm,
                                        header.topic_sys_flag, false,
                                        header.order,          {0}};
    topic.multi_tag = mq_str_eq(header.filter_type, MQ_STR(TOPIC_MULTI_TAG));
    if (!check_topic(ctx, &to, &topic)) {
        return;
    }
    if (!is_filter_type(header.filter_type)) {
        reply_error(&to, RESP_SYSTEM_ERROR,
                    "topicFilterType \"" MQ_STR_FMT "\": must be " TOPIC_SINGLE_TAG " or " TOPIC_MULTI_TAG,
                    REMARK_ARG(header.filter_type));
        return;
    }
    if (!check_room(ctx, &to, is_new(ctx, header.topic)) ||
        !change_attributes(ctx, &to, header.topic, header.attributes, &attributes)) {
        return;
    }
    rc = name_text(header.topic, name) ? 0 : MQ_EINVAL;
    describe_item(&topic, name, &attributes, &item);
    rc = rc == 0 ? topic_put(ctx, &item, &to) : rc;
    if (rc != 0) {
        reply_failed(&to, rc);
    }
    attributes_free(&attributes);
}

/* --- many --- */

/* The list on its way into one entry: items one behind the other, as each is checked. */
struct topic_list {
    struct context *ctx;
    const struct reply_to *to;
    struct proto_topic_configs topics;
    struct mq_buf items; /* owned */
    uint32_t n;
};

/* In JSON a deletion is {"-key":""}, which is read as "-key="; as text it is "-key". @text: owned copy, changed. */
static void drop_equals(char *text)
{
    char *to = text;

    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, ",");
        size_t kept = n != 0 && at[0] == '-' && at[n - 1] == '=' ? n - 1 : n;

        memmove(to, at, kept);
        to += kept;
        at += n;
        if (*at == ',') {
            *to++ = *at++;
        }
    }
    *to = '\0';
}

/* Appends the item. Returns false after an answer. */
static bool add_item(struct topic_list *list, const struct proto_topic_config *topic, struct attributes *attributes)
{
    Raftmq__TopicConfigItem config;
    Raftmq__TopicPut put = RAFTMQ__TOPIC_PUT__INIT;
    char name[NAME_TEXT_MAX];
    int rc = name_text(topic->name, name) ? 0 : MQ_EINVAL;

    describe_item(topic, name, attributes, &config);
    put.config = &config;
    rc = rc == 0 ? mq_buf_reserve(&list->items, command_bytes(&put.base)) : rc;
    if (rc != 0) {
        reply_failed(list->to, rc);
        return false;
    }
    command_encode(COMMAND_TOPIC_PUT, &put.base, list->items.base + list->items.len);
    list->items.len += command_bytes(&put.base);
    list->n++;
    return true;
}

static bool add_topic(struct topic_list *list, const struct proto_topic_config *topic)
{
    struct attributes attributes;
    char *change;
    bool ok;

    if (!check_topic(list->ctx, list->to, topic)) {
        return false;
    }
    change = mq_strndup(topic->attributes.len != 0 ? topic->attributes.at : "", topic->attributes.len);
    if (change == NULL) {
        reply_failed(list->to, MQ_ENOMEM);
        return false;
    }
    drop_equals(change);
    ok = change_attributes(list->ctx, list->to, topic->name, mq_str_of(change), &attributes);
    if (ok) {
        ok = add_item(list, topic, &attributes);
        attributes_free(&attributes);
    }
    mq_free(change);
    return ok;
}

/* Everything is checked before anything is proposed. Returns false after an answer. */
static bool gather(struct topic_list *list)
{
    uint32_t fresh = 0;

    if (list->topics.count == 0) {
        reply_error(list->to, RESP_INVALID_PARAMETER, "topicConfigList is missing or empty");
        return false;
    }
    for (uint32_t i = 0; i < list->topics.count; i++) {
        if (!add_topic(list, &list->topics.items[i])) {
            return false;
        }
        fresh += is_new(list->ctx, list->topics.items[i].name);
    }
    return check_room(list->ctx, list->to, fresh);
}

/* Sends may follow in the same entry. */
static void make_pending(struct topic_list *list)
{
    for (uint32_t i = 0; i < list->topics.count; i++) {
        const struct proto_topic_config *topic = &list->topics.items[i];
        struct attributes none = {.count = 0};
        Raftmq__TopicConfigItem config;
        char name[NAME_TEXT_MAX];

        if (name_text(topic->name, name)) {
            describe_item(topic, name, &none, &config);
            (void)topic_table_put_pending(&list->ctx->state->topics, &config);
        }
    }
}

static void propose_list(struct topic_list *list)
{
    struct sequencer_pending pending = pending_for_topics(list->to, list->ctx);
    struct sequencer *seq = list->ctx->sequencer;
    uint8_t *at;
    int rc =
        list->items.len <= RLOG_ENTRY_BYTES_MAX ? sequencer_reserve(seq, (uint32_t)list->items.len, &at) : MQ_ETOOBIG;

    if (rc != 0) {
        reply_failed(list->to, rc);
        return;
    }
    memcpy(at, list->items.base, list->items.len);
    sequencer_add(seq, (uint32_t)list->items.len, NULL, 0, list->n, &pending);
    make_pending(list);
}

void create_topics(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct topic_list list = {.ctx = ctx, .to = &to};
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes); /* decoding changes it */
    int rc = json != NULL ? proto_topic_config_list_decode(json, cmd->body_bytes, &list.topics) : MQ_ENOMEM;

    if (rc != 0) {
        reply_error(&to, RESP_SYSTEM_ERROR, "body of %u bytes: %s", cmd->body_bytes, mq_strerror(rc));
    } else if (gather(&list)) {
        propose_list(&list);
    }
    mq_buf_free(&list.items);
    proto_topic_configs_free(&list.topics);
    mq_free(json);
}
