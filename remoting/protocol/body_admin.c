#include "remoting/protocol/body_admin.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_json.h"
#include "remoting/protocol/trim.h"

int proto_topic_list_encode(struct mq_buf *buf, const struct proto_str_list *topics, struct mq_str broker_addr)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{");
    if (broker_addr.at != NULL) {
        PROTO_OUT(&out, "\"brokerAddr\":");
        proto_out_string(&out, broker_addr);
        PROTO_OUT(&out, ",");
    }
    PROTO_OUT(&out, "\"topicList\":");
    proto_out_strings(&out, topics);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

struct topic_list {
    struct proto_str_list *topics;
    struct mq_str broker_addr;
};

static int read_topic_list_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct topic_list *list = out;

    if (mq_str_eq(key, MQ_STR("topicList"))) {
        return proto_json_strings(json, list->topics, PROTO_TOPICS_MAX);
    }
    if (mq_str_eq(key, MQ_STR("brokerAddr"))) {
        return proto_json_str(json, &list->broker_addr);
    }
    return mq_json_skip(json);
}

int proto_topic_list_decode(char *json, size_t n, struct proto_str_list *out, struct mq_str *broker_addr)
{
    struct topic_list list = {out, {0}};
    int rc;

    *out = (struct proto_str_list){0};
    rc = proto_json_body(json, n, read_topic_list_member, &list);
    *broker_addr = list.broker_addr;
    return rc;
}

static void put_queue_stats(struct proto_out *out, const struct proto_queue_stats *stats)
{
    proto_out_queue_ref(out, &stats->queue);
    PROTO_OUT(out, ":{\"lastUpdateTimestamp\":");
    proto_out_i64(out, stats->last_update_ms);
    PROTO_OUT(out, ",\"maxOffset\":");
    proto_out_i64(out, stats->max_offset);
    PROTO_OUT(out, ",\"minOffset\":");
    proto_out_i64(out, stats->min_offset);
    PROTO_OUT(out, "}");
}

int proto_topic_stats_encode(struct mq_buf *buf, const struct proto_topic_stats *stats, double put_tps)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"offsetTable\":{");
    for (uint32_t i = 0; i < stats->count; i++) {
        proto_out_comma(&out, i);
        put_queue_stats(&out, &stats->items[i]);
    }
    PROTO_OUT(&out, "},\"topicPutTps\":");
    proto_out_double(&out, put_tps);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

static int read_stats_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_queue_stats *stats = out;

    if (mq_str_eq(key, MQ_STR("minOffset"))) {
        return proto_json_i64(json, &stats->min_offset);
    }
    if (mq_str_eq(key, MQ_STR("maxOffset"))) {
        return proto_json_i64(json, &stats->max_offset);
    }
    if (mq_str_eq(key, MQ_STR("lastUpdateTimestamp"))) {
        return proto_json_i64(json, &stats->last_update_ms);
    }
    return mq_json_skip(json);
}

/* The key is the text of an object, which lies in the writable body. */
static int read_queue_stats(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_topic_stats *list = out;
    struct proto_queue_stats *stats;
    int rc;

    if (list->count == PROTO_STATS_QUEUES_MAX) {
        return MQ_ETOOBIG;
    }
    stats = proto_topic_stats_add(list);
    if (stats == NULL) {
        return MQ_ENOMEM;
    }
    rc = proto_json_body((char *)key.at, key.len, proto_json_queue_ref_member, &stats->queue);
    return rc == 0 ? proto_json_object(json, read_stats_member, stats) : rc;
}

static int read_stats_table(struct mq_json *json, struct mq_str key, void *out)
{
    if (mq_str_eq(key, MQ_STR("offsetTable"))) {
        return proto_json_object(json, read_queue_stats, out);
    }
    return mq_json_skip(json);
}

int proto_topic_stats_decode(char *json, size_t n, struct proto_topic_stats *out)
{
    *out = (struct proto_topic_stats){0};
    return proto_json_body(json, n, read_stats_table, out);
}

int proto_kv_table_encode(struct mq_buf *buf, const struct proto_kvs *kvs)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"table\":{");
    for (uint32_t i = 0; i < kvs->count; i++) {
        proto_out_comma(&out, i);
        proto_out_string(&out, kvs->items[i].key);
        PROTO_OUT(&out, ":");
        proto_out_string(&out, kvs->items[i].value);
    }
    PROTO_OUT(&out, "}}");
    return proto_out_end(&out);
}

static int read_kv(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_kvs *kvs = out;
    struct mq_str value = {0};
    struct proto_kv *kv;
    int rc = proto_json_str(json, &value);

    if (rc != 0 || value.at == NULL) {
        return rc;
    }
    if (kvs->count == PROTO_KVS_MAX) {
        return MQ_ETOOBIG;
    }
    kv = proto_kvs_add(kvs);
    if (kv == NULL) {
        return MQ_ENOMEM;
    }
    *kv = (struct proto_kv){key, value};
    return 0;
}

static int read_kv_table(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("table")) ? proto_json_object(json, read_kv, out) : mq_json_skip(json);
}

int proto_kv_table_decode(char *json, size_t n, struct proto_kvs *out)
{
    *out = (struct proto_kvs){0};
    return proto_json_body(json, n, read_kv_table, out);
}

/* What Properties.load takes as itself in the middle of a value. */
static char safe_byte(char c)
{
    return c >= ' ' && c <= '~' && c != '\\' ? c : '?';
}

static void put_safe(struct proto_out *out, struct mq_str s)
{
    size_t start = out->buf->len;

    proto_out_raw(out, s);
    if (out->rc == 0 && s.len != 0) {
        for (uint8_t *at = out->buf->base + start, *end = at + s.len; at < end; at++) {
            *at = (uint8_t)safe_byte((char)*at);
        }
    }
}

int proto_config_text_encode(struct mq_buf *buf, const struct proto_kvs *kvs)
{
    struct proto_out out = proto_out_begin(buf);

    for (uint32_t i = 0; i < kvs->count; i++) {
        put_safe(&out, kvs->items[i].key);
        PROTO_OUT(&out, "=");
        put_safe(&out, kvs->items[i].value);
        PROTO_OUT(&out, "\n");
    }
    return proto_out_end(&out);
}

bool proto_config_text_next(struct mq_str *rest, struct mq_str *key, struct mq_str *value)
{
    while (rest->len != 0) {
        const char *newline = memchr(rest->at, '\n', rest->len);
        struct mq_str line = {rest->at, newline != NULL ? (uint32_t)(newline - rest->at) : rest->len};
        uint32_t taken = line.len + (newline != NULL);
        const char *split;

        *rest = (struct mq_str){rest->at + taken, rest->len - taken};
        line = proto_trim(line);
        if (line.len == 0 || line.at[0] == '#' || line.at[0] == '!') {
            continue;
        }
        split = memchr(line.at, '=', line.len);
        if (split != NULL) {
            uint32_t key_len = (uint32_t)(split - line.at);

            *key = proto_trim((struct mq_str){line.at, key_len});
            *value = proto_trim((struct mq_str){split + 1, line.len - key_len - 1});
            return true;
        }
    }
    return false;
}
