/* The ROCKETMQ header: code 2 | language 1 | version 2 | opaque 4 | flag 4 | remark length 4, remark | ext length 4,
 * then entries of key length 2, key, value length 4, value. Source: RocketMQ's RocketMQSerializable. */
#include "remoting/base/cursor.h"
#include "remoting/base/err.h"
#include "remoting/protocol/command_codec.h"

#define FIXED_BYTES 21 /* with both lengths, without remark and entries */

/* Java reads a text of no bytes as null. */
static inline struct mq_str none_if_empty(struct mq_str s)
{
    return s.len != 0 ? s : (struct mq_str){0};
}

static int decode_entries(struct mq_cursor *c, struct proto_fields *fields)
{
    uint32_t count = 0;

    while (c->left != 0) {
        struct proto_field *field = &fields->list[count];
        uint32_t key_bytes;

        if (count == PROTO_FIELDS_MAX) {
            return MQ_ETOOBIG;
        }
        key_bytes = mq_cursor_be16(c);
        if (key_bytes > INT16_MAX) {
            return MQ_EBADMSG;
        }
        field->key = mq_cursor_str(c, key_bytes);
        field->value = none_if_empty(mq_cursor_str(c, mq_cursor_be32(c)));
        if (c->bad) {
            return MQ_EBADMSG;
        }
        count++;
    }
    fields->count = count;
    return 0;
}

int proto_binary_decode(const uint8_t *header, size_t n, struct proto_command *out)
{
    struct mq_cursor c = mq_cursor_of(header, n);
    uint8_t language;

    out->code = (int16_t)mq_cursor_be16(&c);
    language = mq_cursor_u8(&c);
    out->language = language < PROTO_LANGUAGE_COUNT ? language : PROTO_LANGUAGE_OTHER;
    out->version = (int16_t)mq_cursor_be16(&c);
    out->opaque = (int32_t)mq_cursor_be32(&c);
    out->flag = (int32_t)mq_cursor_be32(&c);
    out->remark = none_if_empty(mq_cursor_str(&c, mq_cursor_be32(&c)));
    if (mq_cursor_be32(&c) != c.left || c.bad) {
        return MQ_EBADMSG;
    }
    return decode_entries(&c, &out->fields);
}

int proto_binary_begin(struct proto_writer *w, const struct proto_head *head)
{
    struct mq_buf *out = w->out;
    uint8_t *at;
    int rc;

    if (head->code < INT16_MIN || head->code > INT16_MAX) {
        return MQ_ETOOBIG;
    }
    rc = mq_buf_reserve(out, FIXED_BYTES + (size_t)head->remark.len);
    if (rc != 0) {
        return rc;
    }
    at = out->base + out->len;
    mq_be16_store(at, (uint16_t)head->code);
    at[2] = PROTO_LANGUAGE_OTHER;
    mq_be16_store(at + 3, PROTO_VERSION);
    mq_be32_store(at + 5, (uint32_t)head->opaque);
    mq_be32_store(at + 9, (uint32_t)head->flag);
    mq_be32_store(at + 13, head->remark.len);
    if (head->remark.len != 0) {
        memcpy(at + 17, head->remark.at, head->remark.len);
    }
    out->len += FIXED_BYTES + (size_t)head->remark.len;
    w->mark = out->len; /* entries start here; their length stands right before */
    return 0;
}

int proto_binary_put(struct proto_writer *w, struct mq_str key, struct mq_str value)
{
    struct mq_buf *out = w->out;
    uint8_t *at;
    int rc;

    if (key.len > INT16_MAX || value.len > INT32_MAX) {
        return MQ_ETOOBIG;
    }
    rc = mq_buf_reserve(out, 6 + (size_t)key.len + value.len);
    if (rc != 0) {
        return rc;
    }
    at = out->base + out->len;
    mq_be16_store(at, (uint16_t)key.len);
    memcpy(at + 2, key.at, key.len);
    at += 2 + key.len;
    mq_be32_store(at, value.len);
    if (value.len != 0) {
        memcpy(at + 4, value.at, value.len);
    }
    out->len += 6 + (size_t)key.len + value.len;
    return 0;
}

void proto_binary_end(struct proto_writer *w)
{
    mq_be32_store(w->out->base + w->mark - 4, (uint32_t)(w->out->len - w->mark));
}
