#include "remoting/protocol/body_topic.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_json.h"

struct proto_topic_config proto_topic_config_defaults(void)
{
    return (struct proto_topic_config){
        .read_queues = 16, .write_queues = 16, .perm = PROTO_PERM_READ | PROTO_PERM_WRITE};
}

/* Takes the next item before a ',' from the front of @rest. */
static bool next_item(struct mq_str *rest, struct mq_str *item)
{
    const char *comma;

    if (rest->len == 0) {
        return false;
    }
    comma = memchr(rest->at, ',', rest->len);
    item->at = rest->at;
    item->len = comma != NULL ? (uint32_t)(comma - rest->at) : rest->len;
    rest->at += item->len + (comma != NULL);
    rest->len -= item->len + (comma != NULL);
    return true;
}

/* "a=b,c=d" as {"a":"b","c":"d"}. */
static void put_attributes(struct proto_out *out, struct mq_str attributes)
{
    struct mq_str item;
    uint32_t n = 0;

    PROTO_OUT(out, "{");
    while (next_item(&attributes, &item)) {
        const char *split = item.len != 0 ? memchr(item.at, '=', item.len) : NULL;

        if (split != NULL) {
            uint32_t key_len = (uint32_t)(split - item.at);

            proto_out_comma(out, n++);
            proto_out_string(out, (struct mq_str){item.at, key_len});
            PROTO_OUT(out, ":");
            proto_out_string(out, (struct mq_str){split + 1, item.len - key_len - 1});
        }
    }
    PROTO_OUT(out, "}");
}

static void put_topic(struct proto_out *out, const struct proto_topic_config *topic)
{
    PROTO_OUT(out, "{\"attributes\":");
    put_attributes(out, topic->attributes);
    PROTO_OUT(out, ",\"order\":");
    proto_out_bool(out, topic->order);
    PROTO_OUT(out, ",\"perm\":");
    proto_out_i64(out, topic->perm);
    PROTO_OUT(out, ",\"readQueueNums\":");
    proto_out_i64(out, topic->read_queues);
    PROTO_OUT(out, ",\"topicFilterType\":");
    proto_out_string(out, topic->multi_tag ? MQ_STR("MULTI_TAG") : MQ_STR("SINGLE_TAG"));
    PROTO_OUT(out, ",\"topicName\":");
    proto_out_string(out, topic->name);
    PROTO_OUT(out, ",\"topicSysFlag\":");
    proto_out_i64(out, topic->sys_flag);
    PROTO_OUT(out, ",\"writeQueueNums\":");
    proto_out_i64(out, topic->write_queues);
    PROTO_OUT(out, "}");
}

static void put_version(struct proto_out *out, const struct proto_data_version *version)
{
    PROTO_OUT(out, "{\"counter\":");
    proto_out_i64(out, version->counter);
    PROTO_OUT(out, ",\"stateVersion\":");
    proto_out_i64(out, version->state_version);
    PROTO_OUT(out, ",\"timestamp\":");
    proto_out_i64(out, version->timestamp_ms);
    PROTO_OUT(out, "}");
}

int proto_topic_config_encode(struct mq_buf *buf, const struct proto_topic_config *topic)
{
    struct proto_out out = proto_out_begin(buf);

    put_topic(&out, topic);
    return proto_out_end(&out);
}

int proto_data_version_encode(struct mq_buf *buf, const struct proto_data_version *version)
{
    struct proto_out out = proto_out_begin(buf);

    put_version(&out, version);
    return proto_out_end(&out);
}

int proto_topic_table_encode(struct mq_buf *buf, const struct proto_topic_table *table)
{
    struct proto_data_version no_mappings = {.timestamp_ms = table->version.timestamp_ms};
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"dataVersion\":");
    put_version(&out, &table->version);
    PROTO_OUT(&out, ",\"mappingDataVersion\":");
    put_version(&out, &no_mappings);
    PROTO_OUT(&out, ",\"topicConfigTable\":{");
    for (uint32_t i = 0; i < table->topics.count; i++) {
        proto_out_comma(&out, i);
        proto_out_string(&out, table->topics.items[i].name);
        PROTO_OUT(&out, ":");
        put_topic(&out, &table->topics.items[i]);
    }
    PROTO_OUT(&out, "},\"topicQueueMappingDetailMap\":{},\"topicQueueMappingInfoMap\":{}}");
    return proto_out_end(&out);
}

/* Moves @s down to @to. The slices point into the writable body. */
static char *move_down(char *to, struct mq_str s)
{
    if (s.len != 0) {
        memmove(to, s.at, s.len);
    }
    return to + s.len;
}

/* Attributes as they are gathered: "a=b,c=d", written over the bytes of the object they come from. Each pair is
 * shorter in this form, so that writing never reaches what is still to be read. */
struct gathered {
    char *start, *to; /* NULL: nothing yet */
};

static int read_attribute(struct mq_json *json, struct mq_str key, void *out)
{
    struct gathered *gathered = out;
    struct mq_str value;

    if (mq_json_scalar(json, &value) != 0) {
        return MQ_EBADMSG;
    }
    /* No attribute has a ',' or '=' of its own; pairs that do are passed over. */
    if (value.at == NULL || key.len == 0 || memchr(key.at, '=', key.len) != NULL ||
        memchr(key.at, ',', key.len) != NULL || memchr(value.at, ',', value.len) != NULL) {
        return 0;
    }
    if (gathered->start == NULL) {
        gathered->start = gathered->to = (char *)key.at;
    } else {
        *gathered->to++ = ',';
    }
    gathered->to = move_down(gathered->to, key);
    *gathered->to++ = '=';
    gathered->to = move_down(gathered->to, value);
    return 0;
}

static int read_attributes(struct mq_json *json, struct mq_str *out)
{
    struct gathered gathered = {0};
    int rc = proto_json_object(json, read_attribute, &gathered);

    *out = (struct mq_str){gathered.start, (uint32_t)(gathered.to - gathered.start)};
    return rc;
}

/* By name or by ordinal. */
static int read_filter_type(struct mq_json *json, bool *multi_tag)
{
    struct mq_str type = {0};
    int rc = proto_json_str(json, &type);

    *multi_tag = mq_str_eq_nocase(type, MQ_STR("MULTI_TAG")) || mq_str_eq(type, MQ_STR("1"));
    return rc;
}

static int read_topic_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_topic_config *topic = out;

    if (mq_str_eq(key, MQ_STR("topicName"))) {
        return proto_json_str(json, &topic->name);
    }
    if (mq_str_eq(key, MQ_STR("readQueueNums"))) {
        return proto_json_i32(json, &topic->read_queues);
    }
    if (mq_str_eq(key, MQ_STR("writeQueueNums"))) {
        return proto_json_i32(json, &topic->write_queues);
    }
    if (mq_str_eq(key, MQ_STR("perm"))) {
        return proto_json_i32(json, &topic->perm);
    }
    if (mq_str_eq(key, MQ_STR("topicSysFlag"))) {
        return proto_json_i32(json, &topic->sys_flag);
    }
    if (mq_str_eq(key, MQ_STR("order"))) {
        return proto_json_bool(json, &topic->order);
    }
    if (mq_str_eq(key, MQ_STR("attributes"))) {
        return read_attributes(json, &topic->attributes);
    }
    if (mq_str_eq(key, MQ_STR("topicFilterType"))) {
        return read_filter_type(json, &topic->multi_tag);
    }
    return mq_json_skip(json);
}

int proto_topic_config_read(struct mq_json *json, struct proto_topic_config *out)
{
    *out = proto_topic_config_defaults();
    return proto_json_object(json, read_topic_member, out);
}

static int read_version_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_data_version *version = out;

    if (mq_str_eq(key, MQ_STR("counter"))) {
        return proto_json_i64(json, &version->counter);
    }
    if (mq_str_eq(key, MQ_STR("stateVersion"))) {
        return proto_json_i64(json, &version->state_version);
    }
    if (mq_str_eq(key, MQ_STR("timestamp"))) {
        return proto_json_i64(json, &version->timestamp_ms);
    }
    return mq_json_skip(json);
}

int proto_data_version_read(struct mq_json *json, struct proto_data_version *out)
{
    *out = (struct proto_data_version){0};
    return proto_json_object(json, read_version_member, out);
}

/* One topic of {name:config}; a config without a name of its own takes the key. */
static int read_topic(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_topic_configs *topics = out;
    struct proto_topic_config *topic;
    int rc;

    if (topics->count == PROTO_TOPICS_MAX) {
        return MQ_ETOOBIG;
    }
    topic = proto_topic_configs_add(topics);
    if (topic == NULL) {
        return MQ_ENOMEM;
    }
    rc = proto_topic_config_read(json, topic);
    if (topic->name.at == NULL) {
        topic->name = key;
    }
    return rc;
}

int proto_topic_table_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_topic_table *table = out;

    if (mq_str_eq(key, MQ_STR("dataVersion"))) {
        return proto_data_version_read(json, &table->version);
    }
    if (mq_str_eq(key, MQ_STR("topicConfigTable"))) {
        return proto_json_object(json, read_topic, &table->topics);
    }
    return mq_json_skip(json);
}

int proto_topic_config_decode(char *json, size_t n, struct proto_topic_config *out)
{
    *out = proto_topic_config_defaults();
    return proto_json_body(json, n, read_topic_member, out);
}

int proto_data_version_decode(char *json, size_t n, struct proto_data_version *out)
{
    *out = (struct proto_data_version){0};
    return proto_json_body(json, n, read_version_member, out);
}

int proto_topic_table_decode(char *json, size_t n, struct proto_topic_table *out)
{
    *out = (struct proto_topic_table){0};
    return proto_json_body(json, n, proto_topic_table_member, out);
}

static int read_listed_topic(struct mq_json *json, void *out)
{
    struct proto_topic_configs *topics = out;
    struct proto_topic_config *topic;

    if (topics->count == PROTO_TOPICS_MAX) {
        return MQ_ETOOBIG;
    }
    topic = proto_topic_configs_add(topics);
    if (topic == NULL) {
        return MQ_ENOMEM;
    }
    *topic = proto_topic_config_defaults();
    return proto_json_members(json, read_topic_member, topic);
}

static int read_topic_list(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("topicConfigList")) ? proto_json_objects(json, read_listed_topic, out)
                                                     : mq_json_skip(json);
}

int proto_topic_config_list_decode(char *json, size_t n, struct proto_topic_configs *out)
{
    *out = (struct proto_topic_configs){0};
    return proto_json_body(json, n, read_topic_list, out);
}

void proto_topic_table_free(struct proto_topic_table *table)
{
    proto_topic_configs_free(&table->topics);
}

static int order_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

int proto_data_version_compare(const struct proto_data_version *a, const struct proto_data_version *b)
{
    int order = order_of(a->state_version, b->state_version);

    if (order == 0) {
        order = order_of(a->counter, b->counter);
    }
    return order != 0 ? order : order_of(a->timestamp_ms, b->timestamp_ms);
}
