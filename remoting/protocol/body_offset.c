#include "remoting/protocol/body_offset.h"

#include "remoting/base/err.h"
#include "remoting/protocol/body_json.h"

static void put_stat(struct proto_out *out, const struct proto_consume_stat *stat)
{
    proto_out_queue_ref(out, &stat->queue);
    PROTO_OUT(out, ":{\"brokerOffset\":");
    proto_out_i64(out, stat->broker_offset);
    PROTO_OUT(out, ",\"consumerOffset\":");
    proto_out_i64(out, stat->consumer_offset);
    PROTO_OUT(out, ",\"lastTimestamp\":");
    proto_out_i64(out, stat->last_ms);
    PROTO_OUT(out, ",\"pullOffset\":");
    proto_out_i64(out, stat->pull_offset);
    PROTO_OUT(out, "}");
}

int proto_consume_stats_encode(struct mq_buf *buf, const struct proto_consume_stats *stats, double consume_tps)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"consumeTps\":");
    proto_out_double(&out, consume_tps);
    PROTO_OUT(&out, ",\"offsetTable\":{");
    for (uint32_t i = 0; i < stats->count; i++) {
        proto_out_comma(&out, i);
        put_stat(&out, &stats->items[i]);
    }
    PROTO_OUT(&out, "}}");
    return proto_out_end(&out);
}

static int read_stat_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_consume_stat *stat = out;

    if (mq_str_eq(key, MQ_STR("brokerOffset"))) {
        return proto_json_i64(json, &stat->broker_offset);
    }
    if (mq_str_eq(key, MQ_STR("consumerOffset"))) {
        return proto_json_i64(json, &stat->consumer_offset);
    }
    if (mq_str_eq(key, MQ_STR("pullOffset"))) {
        return proto_json_i64(json, &stat->pull_offset);
    }
    if (mq_str_eq(key, MQ_STR("lastTimestamp"))) {
        return proto_json_i64(json, &stat->last_ms);
    }
    return mq_json_skip(json);
}

/* The key is the text of an object, which lies in the writable body. */
static int read_queue(struct mq_str key, struct proto_queue_ref *out)
{
    return proto_json_body((char *)key.at, key.len, proto_json_queue_ref_member, out);
}

static int read_stat(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_consume_stats *stats = out;
    struct proto_consume_stat *stat;
    int rc;

    if (stats->count == PROTO_OFFSET_ROWS_MAX) {
        return MQ_ETOOBIG;
    }
    stat = proto_consume_stats_add(stats);
    if (stat == NULL) {
        return MQ_ENOMEM;
    }
    rc = read_queue(key, &stat->queue);
    return rc == 0 ? proto_json_object(json, read_stat_member, stat) : rc;
}

static int read_stats(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("offsetTable")) ? proto_json_object(json, read_stat, out) : mq_json_skip(json);
}

int proto_consume_stats_decode(char *json, size_t n, struct proto_consume_stats *out)
{
    *out = (struct proto_consume_stats){0};
    return proto_json_body(json, n, read_stats, out);
}

static void put_offsets(struct proto_out *out, const struct proto_queue_offsets *offsets)
{
    PROTO_OUT(out, "{");
    for (uint32_t i = 0; i < offsets->count; i++) {
        proto_out_comma(out, i);
        proto_out_queue_ref(out, &offsets->items[i].queue);
        PROTO_OUT(out, ":");
        proto_out_i64(out, offsets->items[i].offset);
    }
    PROTO_OUT(out, "}");
}

int proto_queue_offsets_encode(struct mq_buf *buf, const struct proto_queue_offsets *offsets)
{
    struct proto_out out = proto_out_begin(buf);

    PROTO_OUT(&out, "{\"offsetTable\":");
    put_offsets(&out, offsets);
    PROTO_OUT(&out, "}");
    return proto_out_end(&out);
}

static int read_offset(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_queue_offsets *offsets = out;
    struct proto_queue_offset *offset;
    int rc;

    if (offsets->count == PROTO_OFFSET_ROWS_MAX) {
        return MQ_ETOOBIG;
    }
    offset = proto_queue_offsets_add(offsets);
    if (offset == NULL) {
        return MQ_ENOMEM;
    }
    rc = read_queue(key, &offset->queue);
    return rc == 0 ? proto_json_i64(json, &offset->offset) : rc;
}

static int read_offsets(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("offsetTable")) ? proto_json_object(json, read_offset, out) : mq_json_skip(json);
}

int proto_queue_offsets_decode(char *json, size_t n, struct proto_queue_offsets *out)
{
    *out = (struct proto_queue_offsets){0};
    return proto_json_body(json, n, read_offsets, out);
}

static int read_positions(struct mq_json *json, struct mq_str key, void *out)
{
    return mq_str_eq(key, MQ_STR("messageQueueTable")) ? proto_json_object(json, read_offset, out)
                                                       : mq_json_skip(json);
}

int proto_positions_decode(char *json, size_t n, struct proto_queue_offsets *out)
{
    *out = (struct proto_queue_offsets){0};
    return proto_json_body(json, n, read_positions, out);
}

int proto_positions_begin(struct mq_buf *buf)
{
    return mq_buf_put_str(buf, MQ_STR("{\"consumerTable\":{"));
}

int proto_positions_add(struct mq_buf *buf, bool first, struct mq_str client_id,
                        const struct proto_queue_offsets *offsets)
{
    struct proto_out out = proto_out_begin(buf);

    proto_out_comma(&out, first ? 0 : 1);
    proto_out_string(&out, client_id);
    PROTO_OUT(&out, ":");
    put_offsets(&out, offsets);
    return proto_out_end(&out);
}

int proto_positions_end(struct mq_buf *buf)
{
    return mq_buf_put_str(buf, MQ_STR("},\"messageQueueTable\":{}}"));
}

static int read_mode_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_request_mode *mode = out;

    if (mq_str_eq(key, MQ_STR("topic"))) {
        return proto_json_str(json, &mode->topic);
    }
    if (mq_str_eq(key, MQ_STR("consumerGroup"))) {
        return proto_json_str(json, &mode->group);
    }
    if (mq_str_eq(key, MQ_STR("mode"))) {
        return proto_json_str(json, &mode->mode);
    }
    if (mq_str_eq(key, MQ_STR("popShareQueueNum"))) {
        return proto_json_i32(json, &mode->pop_share_queues);
    }
    return mq_json_skip(json);
}

int proto_request_mode_decode(char *json, size_t n, struct proto_request_mode *out)
{
    *out = (struct proto_request_mode){0};
    return proto_json_body(json, n, read_mode_member, out);
}
