#include "remoting/protocol/body_json.h"

#include "remoting/base/err.h"

int proto_json_members(struct mq_json *json, proto_json_member_cb member, void *out)
{
    enum mq_json_kind kind;

    while ((kind = mq_json_next(json)) == MQ_JSON_KEY) {
        int rc = member(json, json->text, out);

        if (rc != 0) {
            return rc;
        }
    }
    return kind == MQ_JSON_OBJECT_END ? 0 : MQ_EBADMSG;
}

int proto_json_object(struct mq_json *json, proto_json_member_cb member, void *out)
{
    switch (mq_json_next(json)) {
    case MQ_JSON_OBJECT_BEGIN:
        return proto_json_members(json, member, out);
    case MQ_JSON_NULL:
        return 0;
    default:
        return MQ_EBADMSG;
    }
}

int proto_json_array(struct mq_json *json)
{
    switch (mq_json_next(json)) {
    case MQ_JSON_ARRAY_BEGIN:
        return 1;
    case MQ_JSON_NULL:
        return 0;
    default:
        return MQ_EBADMSG;
    }
}

int proto_json_objects(struct mq_json *json, proto_json_element_cb element, void *out)
{
    enum mq_json_kind kind;
    int rc = proto_json_array(json);

    if (rc != 1) {
        return rc;
    }
    while ((kind = mq_json_next(json)) == MQ_JSON_OBJECT_BEGIN || kind == MQ_JSON_NULL) {
        rc = kind == MQ_JSON_OBJECT_BEGIN ? element(json, out) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    return kind == MQ_JSON_ARRAY_END ? 0 : MQ_EBADMSG;
}

int proto_json_element(struct mq_json *json, struct mq_str *out)
{
    switch (mq_json_next(json)) {
    case MQ_JSON_ARRAY_END:
        return 0;
    case MQ_JSON_STRING:
    case MQ_JSON_NUMBER:
    case MQ_JSON_TRUE:
    case MQ_JSON_FALSE:
        *out = json->text;
        return 1;
    case MQ_JSON_NULL:
        *out = (struct mq_str){0};
        return 1;
    default:
        return MQ_EBADMSG;
    }
}

int proto_json_str(struct mq_json *json, struct mq_str *out)
{
    struct mq_str text;
    int rc = mq_json_scalar(json, &text);

    if (rc == 0 && text.at != NULL) {
        *out = text;
    }
    return rc;
}

int proto_json_i64(struct mq_json *json, int64_t *out)
{
    struct mq_str text = {0};
    int rc = proto_json_str(json, &text);

    if (rc != 0 || text.at == NULL) {
        return rc;
    }
    return mq_str_to_i64(text, out) == 0 ? 0 : MQ_EBADMSG;
}

int proto_json_i32(struct mq_json *json, int32_t *out)
{
    struct mq_str text = {0};
    int rc = proto_json_str(json, &text);

    if (rc != 0 || text.at == NULL) {
        return rc;
    }
    return mq_str_to_i32(text, out) == 0 ? 0 : MQ_EBADMSG;
}

int proto_json_bool(struct mq_json *json, bool *out)
{
    struct mq_str text = {0};
    int rc = proto_json_str(json, &text);

    if (rc == 0 && text.at != NULL) {
        *out = mq_str_to_bool(text);
    }
    return rc;
}

int proto_json_strings(struct mq_json *json, struct proto_str_list *out, uint32_t max)
{
    struct mq_str text;
    int rc = proto_json_array(json);

    if (rc != 1) {
        return rc;
    }
    while ((rc = proto_json_element(json, &text)) == 1) {
        struct mq_str *item;

        if (text.at == NULL) {
            continue;
        }
        if (out->count == max) {
            return MQ_ETOOBIG;
        }
        item = proto_str_list_add(out);
        if (item == NULL) {
            return MQ_ENOMEM;
        }
        *item = text;
    }
    return rc;
}

int proto_json_queue_ref_member(struct mq_json *json, struct mq_str key, void *out)
{
    struct proto_queue_ref *queue = out;

    if (mq_str_eq(key, MQ_STR("topic"))) {
        return proto_json_str(json, &queue->topic);
    }
    if (mq_str_eq(key, MQ_STR("brokerName"))) {
        return proto_json_str(json, &queue->broker_name);
    }
    if (mq_str_eq(key, MQ_STR("queueId"))) {
        return proto_json_i32(json, &queue->queue_id);
    }
    return mq_json_skip(json);
}

int proto_json_finish(struct mq_json *json)
{
    return mq_json_next(json) == MQ_JSON_END ? 0 : MQ_EBADMSG;
}

int proto_json_body(char *bytes, size_t n, proto_json_member_cb member, void *out)
{
    struct mq_json json;
    int rc;

    mq_json_init(&json, bytes, n);
    rc = proto_json_object(&json, member, out);
    return rc == 0 ? proto_json_finish(&json) : rc;
}

struct proto_out proto_out_begin(struct mq_buf *buf)
{
    return (struct proto_out){buf, buf->len, 0};
}

int proto_out_end(struct proto_out *out)
{
    if (out->rc != 0) {
        out->buf->len = out->start;
    }
    return out->rc;
}

void proto_out_raw(struct proto_out *out, struct mq_str text)
{
    if (out->rc == 0) {
        out->rc = mq_buf_put_str(out->buf, text);
    }
}

void proto_out_string(struct proto_out *out, struct mq_str s)
{
    if (out->rc == 0) {
        out->rc = mq_json_put_string(out->buf, s);
    }
}

void proto_out_i64(struct proto_out *out, int64_t value)
{
    if (out->rc == 0) {
        out->rc = mq_buf_put_i64_text(out->buf, value);
    }
}

void proto_out_bool(struct proto_out *out, bool value)
{
    proto_out_raw(out, value ? MQ_STR("true") : MQ_STR("false"));
}

void proto_out_double(struct proto_out *out, double value)
{
    if (out->rc == 0) {
        out->rc = mq_json_put_double(out->buf, value);
    }
}

void proto_out_comma(struct proto_out *out, uint32_t i)
{
    if (i != 0) {
        PROTO_OUT(out, ",");
    }
}

void proto_out_strings(struct proto_out *out, const struct proto_str_list *list)
{
    PROTO_OUT(out, "[");
    for (uint32_t i = 0; i < list->count; i++) {
        proto_out_comma(out, i);
        proto_out_string(out, list->items[i]);
    }
    PROTO_OUT(out, "]");
}

void proto_out_queue_ref(struct proto_out *out, const struct proto_queue_ref *queue)
{
    PROTO_OUT(out, "{\"brokerName\":");
    proto_out_string(out, queue->broker_name);
    PROTO_OUT(out, ",\"queueId\":");
    proto_out_i64(out, queue->queue_id);
    PROTO_OUT(out, ",\"topic\":");
    proto_out_string(out, queue->topic);
    PROTO_OUT(out, "}");
}
