#include "remoting/protocol/body_client.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/protocol/body_json.h"
#include "remoting/protocol/command.h"

/* Names of enums, by ordinal. */
static const char *const CONSUME_TYPES[] = {"CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"};
static const char *const MESSAGE_MODELS[] = {"BROADCASTING", "CLUSTERING"};
static const char *const FROM_WHERES[] = {
    "CONSUME_FROM_LAST_OFFSET",  "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
    "CONSUME_FROM_MIN_OFFSET",   "CONSUME_FROM_MAX_OFFSET",
    "CONSUME_FROM_FIRST_OFFSET", "CONSUME_FROM_TIMESTAMP"};
static const char *const EXPRESSIONS[] = {"TAG", "SQL92"};

enum proto_expression proto_expression_of(struct mq_str type)
{
    if (type.len == 0 || mq_str_eq(type, MQ_STR("TAG"))) {
        return PROTO_EXPRESSION_TAG;
    }
    return mq_str_eq(type, MQ_STR("SQL92")) ? PROTO_EXPRESSION_SQL92 : PROTO_EXPRESSION_UNKNOWN;
}

/* Reads a name or an ordinal of @names into @ordinal, which keeps its value when it is neither. */
static int read_enum(struct mq_json *json, const char *const *names, uint32_t count, int32_t *ordinal)
{
    struct mq_str text = {0};
    int32_t number;
    int rc = proto_json_str(json, &text);

    if (rc != 0 || text.len == 0) {
        return rc;
    }
    if (mq_str_to_i32(text, &number) == 0 && number >= 0 && number < (int32_t)count) {
        *ordinal = number;
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (mq_str_eq_nocase(text, mq_str_of(names[i]))) {
            *ordinal = (int32_t)i;
            break;
        }
    }
    return 0;
}

/* A subscription while its members arrive in any order. */
struct sub_reader {
    struct proto_subscription *sub;
    struct proto_filter codes; /* of codeSet; those of tagsSet go into the subscription */
};

static int read_tags(struct mq_json *json, struct proto_filter *filter)
{
    struct mq_str tag;
    int rc = proto_json_array(json);

    while (rc == 1 && (rc = proto_json_element(json, &tag)) == 1) {
        if (tag.len != 0) {
            proto_filter_add(filter, mq_java_hash(tag));
        }
    }
    return rc;
}

/* Numbers, or the strings that Go writes. */
static int read_codes(struct mq_json *json, struct proto_filter *filter)
{
    struct mq_str text;
    int32_t code;
    int rc = proto_json_array(json);

    while (rc == 1 && (rc = proto_json_element(json, &text)) == 1) {
        if (text.at == NULL) {
            continue;
        }
        if (mq_str_to_i32(text, &code) != 0) {
            return MQ_EBADMSG;
        }
        proto_filter_add(filter, code);
    }
    return rc;
}

static int read_sub_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct sub_reader *reader = out;
    struct proto_subscription *sub = reader->sub;

    if (mq_str_eq(key, MQ_STR("topic"))) {
        return proto_json_str(json, &sub->topic);
    }
    if (mq_str_eq(key, MQ_STR("subString"))) {
        return proto_json_str(json, &sub->expression);
    }
    if (mq_str_eq(key, MQ_STR("subVersion"))) {
        return proto_json_i64(json, &sub->version);
    }
    if (mq_str_eq(key, MQ_STR("tagsSet"))) {
        return read_tags(json, &sub->filter);
    }
    if (mq_str_eq(key, MQ_STR("codeSet"))) {
        return read_codes(json, &reader->codes);
    }
    if (mq_str_eq(key, MQ_STR("expressionType"))) {
        struct mq_str type = {0};
        int rc = proto_json_str(json, &type);

        sub->type = proto_expression_of(type);
        return rc;
    }
    return mq_json_skip(json);
}

static void choose_filter(struct sub_reader *reader)
{
    struct proto_subscription *sub = reader->sub;
    bool everything = sub->expression.len == 0 || mq_str_eq(sub->expression, MQ_STR("*"));

    if (sub->type != PROTO_EXPRESSION_TAG) {
        sub->filter = (struct proto_filter){0};
    } else if (sub->filter.count == 0 && reader->codes.count != 0 && !everything) {
        sub->filter = reader->codes;
    } else if (everything || sub->filter.count == 0) {
        /* "||" alone has no tags: it stays a filter that passes nothing. */
        (void)proto_filter_parse(sub->expression, &sub->filter);
    }
}

static int read_sub(struct mq_json *json, void *out)
{
    struct proto_heartbeat *heartbeat = out;
    struct sub_reader reader = {0};
    int rc;

    if (heartbeat->subs.count == PROTO_HEARTBEAT_SUBS_MAX) {
        return MQ_ETOOBIG;
    }
    reader.sub = proto_subscriptions_add(&heartbeat->subs);
    if (reader.sub == NULL) {
        return MQ_ENOMEM;
    }
    rc = proto_json_members(json, read_sub_member, &reader);
    choose_filter(&reader);
    return rc;
}

/* A consumer while it is read: its subscriptions go into the heartbeat's list. */
struct consumer_reader {
    struct proto_heartbeat *heartbeat;
    struct proto_consumer consumer;
    int32_t consume_type, model, from_where;
};

static int read_consumer_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct consumer_reader *reader = out;

    if (mq_str_eq(key, MQ_STR("groupName"))) {
        return proto_json_str(json, &reader->consumer.group);
    }
    if (mq_str_eq(key, MQ_STR("consumeType"))) {
        return read_enum(json, CONSUME_TYPES, ARRAY_SIZE(CONSUME_TYPES), &reader->consume_type);
    }
    if (mq_str_eq(key, MQ_STR("messageModel"))) {
        return read_enum(json, MESSAGE_MODELS, ARRAY_SIZE(MESSAGE_MODELS), &reader->model);
    }
    if (mq_str_eq(key, MQ_STR("consumeFromWhere"))) {
        return read_enum(json, FROM_WHERES, ARRAY_SIZE(FROM_WHERES), &reader->from_where);
    }
    if (mq_str_eq(key, MQ_STR("unitMode"))) {
        return proto_json_bool(json, &reader->consumer.unit_mode);
    }
    if (mq_str_eq(key, MQ_STR("subscriptionDataSet"))) {
        return proto_json_objects(json, read_sub, reader->heartbeat);
    }
    return mq_json_skip(json);
}

static int read_consumer(struct mq_json *json, void *out)
{
    struct proto_heartbeat *heartbeat = out;
    struct consumer_reader reader = {.heartbeat = heartbeat,
                                     .consume_type = PROTO_CONSUME_PASSIVELY,
                                     .model = PROTO_CLUSTERING,
                                     .from_where = PROTO_FROM_LAST_OFFSET};
    struct proto_consumer *consumer;
    int rc;

    if (heartbeat->consumers.count == PROTO_HEARTBEAT_GROUPS_MAX) {
        return MQ_ETOOBIG;
    }
    reader.consumer.sub_first = heartbeat->subs.count;
    rc = proto_json_members(json, read_consumer_member, &reader);
    if (rc != 0) {
        return rc;
    }
    consumer = proto_consumers_add(&heartbeat->consumers);
    if (consumer == NULL) {
        return MQ_ENOMEM;
    }
    *consumer = reader.consumer;
    consumer->sub_count = heartbeat->subs.count - consumer->sub_first;
    consumer->consume_type = (enum proto_consume_type)reader.consume_type;
    consumer->model = (enum proto_message_model)reader.model;
    consumer->from_where = (enum proto_from_where)reader.from_where;
    return 0;
}

static int read_producer_member(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("groupName")) ? proto_json_str(json, out) : mq_json_skip(json);
}

static int read_producer(struct mq_json *json, void *out)
{
    struct proto_str_list *producers = out;
    struct mq_str *group;

    if (producers->count == PROTO_HEARTBEAT_GROUPS_MAX) {
        return MQ_ETOOBIG;
    }
    group = proto_str_list_add(producers);
    return group != NULL ? proto_json_members(json, read_producer_member, group) : MQ_ENOMEM;
}

static int read_heartbeat_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_heartbeat *heartbeat = out;

    if (mq_str_eq(key, MQ_STR("clientID"))) {
        return proto_json_str(json, &heartbeat->client_id);
    }
    if (mq_str_eq(key, MQ_STR("producerDataSet"))) {
        return proto_json_objects(json, read_producer, &heartbeat->producers);
    }
    if (mq_str_eq(key, MQ_STR("consumerDataSet"))) {
        return proto_json_objects(json, read_consumer, heartbeat);
    }
    if (mq_str_eq(key, MQ_STR("heartbeatFingerprint"))) {
        return proto_json_i32(json, &heartbeat->fingerprint);
    }
    if (mq_str_eq(key, MQ_STR("withoutSub"))) {
        return proto_json_bool(json, &heartbeat->without_sub);
    }
    return mq_json_skip(json);
}

int proto_heartbeat_decode(char *json, size_t n, struct proto_heartbeat *out)
{
    *out = (struct proto_heartbeat){0};
    return proto_json_body(json, n, read_heartbeat_member, out);
}

void proto_heartbeat_free(struct proto_heartbeat *heartbeat)
{
    proto_str_list_free(&heartbeat->producers);
    proto_consumers_free(&heartbeat->consumers);
    proto_subscriptions_free(&heartbeat->subs);
}

static int read_check_member(struct mq_json *json, struct mq_str key, void *out)
{
    if (!mq_str_eq(key, MQ_STR("subscriptionData"))) {
        return mq_json_skip(json);
    }
    switch (mq_json_next(json)) {
    case MQ_JSON_OBJECT_BEGIN:
        return read_sub(json, out);
    case MQ_JSON_NULL:
        return 0;
    default:
        return MQ_EBADMSG;
    }
}

int proto_client_check_decode(char *json, size_t n, struct proto_heartbeat *out)
{
    *out = (struct proto_heartbeat){0};
    return proto_json_body(json, n, read_check_member, out);
}

/* The tags of @expression as an array of strings, or as one of their hashes. */
static void put_tags(struct proto_out *out, struct mq_str expression, bool hashes)
{
    struct mq_str tag;
    uint32_t n = 0;

    if (mq_str_eq(expression, MQ_STR("*"))) {
        expression = (struct mq_str){0};
    }
    PROTO_OUT(out, "[");
    while (proto_tags_next(&expression, &tag)) {
        proto_out_comma(out, n++);
        if (hashes) {
            proto_out_i64(out, mq_java_hash(tag));
        } else {
            proto_out_string(out, tag);
        }
    }
    PROTO_OUT(out, "]");
}

void proto_out_subscription(struct proto_out *out, const struct proto_subscription *sub)
{
    struct mq_str tags = sub->type == PROTO_EXPRESSION_TAG ? sub->expression : (struct mq_str){0};

    MQ_ASSERT(sub->type != PROTO_EXPRESSION_UNKNOWN);
    PROTO_OUT(out, "{\"classFilterMode\":false,\"codeSet\":");
    put_tags(out, tags, true);
    PROTO_OUT(out, ",\"expressionType\":");
    proto_out_string(out, mq_str_of(EXPRESSIONS[sub->type]));
    PROTO_OUT(out, ",\"subString\":");
    proto_out_string(out, sub->expression);
    PROTO_OUT(out, ",\"subVersion\":");
    proto_out_i64(out, sub->version);
    PROTO_OUT(out, ",\"tagsSet\":");
    put_tags(out, tags, false);
    PROTO_OUT(out, ",\"topic\":");
    proto_out_string(out, sub->topic);
    PROTO_OUT(out, "}");
}

static void put_consumer(struct proto_out *out, const struct proto_consumer *consumer,
                         const struct proto_subscriptions *subs)
{
    PROTO_OUT(out, "{\"consumeFromWhere\":");
    proto_out_string(out, mq_str_of(FROM_WHERES[consumer->from_where]));
    PROTO_OUT(out, ",\"consumeType\":");
    proto_out_string(out, mq_str_of(CONSUME_TYPES[consumer->consume_type]));
    PROTO_OUT(out, ",\"groupName\":");
    proto_out_string(out, consumer->group);
    PROTO_OUT(out, ",\"messageModel\":");
    proto_out_string(out, mq_str_of(MESSAGE_MODELS[consumer->model]));
    PROTO_OUT(out, ",\"subscriptionDataSet\":[");
    for (uint32_t i = 0; i < consumer->sub_count; i++) {
        proto_out_comma(out, i);
        proto_out_subscription(out, &subs->items[consumer->sub_first + i]);
    }
    PROTO_OUT(out, "],\"unitMode\":");
    proto_out_bool(out, consumer->unit_mode);
    PROTO_OUT(out, "}");
}

int proto_heartbeat_encode(struct mq_buf *buf, const struct proto_heartbeat *heartbeat)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"clientID\":");
    proto_out_string(&out, heartbeat->client_id);
    PROTO_OUT(&out, ",\"consumerDataSet\":[");
    for (uint32_t i = 0; i < heartbeat->consumers.count; i++) {
        proto_out_comma(&out, i);
        put_consumer(&out, &heartbeat->consumers.items[i], &heartbeat->subs);
    }
    PROTO_OUT(&out, "],\"heartbeatFingerprint\":");
    proto_out_i64(&out, heartbeat->fingerprint);
    PROTO_OUT(&out, ",\"producerDataSet\":[");
    for (uint32_t i = 0; i < heartbeat->producers.count; i++) {
        proto_out_comma(&out, i);
        PROTO_OUT(&out, "{\"groupName\":");
        proto_out_string(&out, heartbeat->producers.items[i]);
        PROTO_OUT(&out, "}");
    }
    PROTO_OUT(&out, "],\"withoutSub\":");
    proto_out_bool(&out, heartbeat->without_sub);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

int proto_consumer_ids_encode(struct mq_buf *buf, const struct proto_str_list *ids)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"consumerIdList\":");
    proto_out_strings(&out, ids);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

static void put_connections(struct proto_out *out, const struct proto_connections *connections)
{
    PROTO_OUT(out, "\"connectionSet\":[");
    for (uint32_t i = 0; i < connections->count; i++) {
        const struct proto_connection *connection = &connections->items[i];

        proto_out_comma(out, i);
        PROTO_OUT(out, "{\"clientAddr\":");
        proto_out_string(out, mq_str_of(connection->addr));
        PROTO_OUT(out, ",\"clientId\":");
        proto_out_string(out, connection->client_id);
        PROTO_OUT(out, ",\"language\":");
        proto_out_string(out, proto_language_name(connection->language));
        PROTO_OUT(out, ",\"version\":");
        proto_out_i64(out, connection->version > 0 ? connection->version : 0);
        PROTO_OUT(out, "}");
    }
    PROTO_OUT(out, "]");
}

int proto_connections_encode(struct mq_buf *buf, const struct proto_connections *connections)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{");
    put_connections(&out, connections);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

int proto_consumer_connections_encode(struct mq_buf *buf, const struct proto_connections *connections,
                                      const struct proto_consumer *consumer, const struct proto_subscriptions *subs)
{
    struct proto_out out = proto_out_begin(buf);
    uint32_t n = 0;

    PROTO_OUT(&out, "{");
    put_connections(&out, connections);
    PROTO_OUT(&out, ",\"consumeFromWhere\":");
    proto_out_string(&out, mq_str_of(FROM_WHERES[consumer->from_where]));
    PROTO_OUT(&out, ",\"consumeType\":");
    proto_out_string(&out, mq_str_of(CONSUME_TYPES[consumer->consume_type]));
    PROTO_OUT(&out, ",\"messageModel\":");
    proto_out_string(&out, mq_str_of(MESSAGE_MODELS[consumer->model]));
    PROTO_OUT(&out, ",\"subscriptionTable\":{");
    for (uint32_t i = 0; i < subs->count; i++) {
        if (subs->items[i].type == PROTO_EXPRESSION_UNKNOWN) {
            continue;
        }
        proto_out_comma(&out, n++);
        proto_out_string(&out, subs->items[i].topic);
        PROTO_OUT(&out, ":");
        proto_out_subscription(&out, &subs->items[i]);
    }
    PROTO_OUT(&out, "}}");
    return proto_out_end(&out);
}

static int read_ids(struct mq_json *json, struct mq_str key, void *out)
{
    if (mq_str_eq(key, MQ_STR("consumerIdList"))) {
        return proto_json_strings(json, out, PROTO_CONSUMER_IDS_MAX);
    }
    return mq_json_skip(json);
}

int proto_consumer_ids_decode(char *json, size_t n, struct proto_str_list *out)
{
    *out = (struct proto_str_list){0};
    return proto_json_body(json, n, read_ids, out);
}

static int read_queue_ref(struct mq_json *json, void *out)
{
    struct proto_queue_refs *queues = out;
    struct proto_queue_ref *queue;

    if (queues->count == PROTO_LOCK_QUEUES_MAX) {
        return MQ_ETOOBIG;
    }
    queue = proto_queue_refs_add(queues);
    return queue != NULL ? proto_json_members(json, proto_json_queue_ref_member, queue) : MQ_ENOMEM;
}

static int read_lock_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_lock_batch *batch = out;

    if (mq_str_eq(key, MQ_STR("consumerGroup"))) {
        return proto_json_str(json, &batch->group);
    }
    if (mq_str_eq(key, MQ_STR("clientId"))) {
        return proto_json_str(json, &batch->client_id);
    }
    if (mq_str_eq(key, MQ_STR("onlyThisBroker"))) {
        return proto_json_bool(json, &batch->only_this_broker);
    }
    if (mq_str_eq(key, MQ_STR("mqSet"))) {
        return proto_json_objects(json, read_queue_ref, &batch->queues);
    }
    return mq_json_skip(json);
}

int proto_lock_batch_decode(char *json, size_t n, struct proto_lock_batch *out)
{
    *out = (struct proto_lock_batch){0};
    return proto_json_body(json, n, read_lock_member, out);
}

void proto_lock_batch_free(struct proto_lock_batch *batch)
{
    proto_queue_refs_free(&batch->queues);
}

static void put_queue_refs(struct proto_out *out, const struct proto_queue_refs *queues)
{
    PROTO_OUT(out, "[");
    for (uint32_t i = 0; i < queues->count; i++) {
        proto_out_comma(out, i);
        proto_out_queue_ref(out, &queues->items[i]);
    }
    PROTO_OUT(out, "]");
}

int proto_lock_batch_encode(struct mq_buf *buf, const struct proto_lock_batch *batch)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"clientId\":");
    proto_out_string(&out, batch->client_id);
    PROTO_OUT(&out, ",\"consumerGroup\":");
    proto_out_string(&out, batch->group);
    PROTO_OUT(&out, ",\"mqSet\":");
    put_queue_refs(&out, &batch->queues);
    PROTO_OUT(&out, ",\"onlyThisBroker\":");
    proto_out_bool(&out, batch->only_this_broker);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

int proto_locked_encode(struct mq_buf *buf, const struct proto_queue_refs *queues)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"lockOKMQSet\":");
    put_queue_refs(&out, queues);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

static int read_locked_member(struct mq_json *json, struct mq_str key, void *out)
{
    if (mq_str_eq(key, MQ_STR("lockOKMQSet"))) {
        return proto_json_objects(json, read_queue_ref, out);
    }
    return mq_json_skip(json);
}

int proto_locked_decode(char *json, size_t n, struct proto_queue_refs *out)
{
    *out = (struct proto_queue_refs){0};
    return proto_json_body(json, n, read_locked_member, out);
}
