/* Frames around headers of either encoding. */
#include "remoting/protocol/command.h"

#include "remoting/base/err.h"
#include "remoting/protocol/command_codec.h"
#include "remoting/protocol/frame.h"

#define PREFIX_BYTES 8 /* length, then encoding and header length */
#define HEADER_BYTES_MASK 0xFFFFFFu

int proto_command_decode(uint8_t *frame, size_t n, struct proto_command *out)
{
    uint32_t mark, header_bytes;
    int rc;

    if (n < PREFIX_BYTES || n > PROTO_FRAME_MAX || mq_be32_load(frame) != n - 4) {
        return MQ_EBADMSG;
    }
    mark = mq_be32_load(frame + 4);
    header_bytes = mark & HEADER_BYTES_MASK;
    if (header_bytes > n - PREFIX_BYTES) {
        return MQ_EBADMSG;
    }
    if (header_bytes > PROTO_HEADER_MAX) {
        return MQ_ETOOBIG;
    }
    switch (mark >> 24) {
    case PROTO_JSON:
        out->encoding = PROTO_JSON;
        rc = proto_json_decode((char *)frame + PREFIX_BYTES, header_bytes, out);
        break;
    case PROTO_BINARY:
        out->encoding = PROTO_BINARY;
        rc = proto_binary_decode(frame + PREFIX_BYTES, header_bytes, out);
        break;
    default:
        return MQ_EBADMSG;
    }
    out->body = frame + PREFIX_BYTES + header_bytes;
    out->body_bytes = (uint32_t)(n - PREFIX_BYTES - header_bytes);
    return rc;
}

void proto_begin(struct proto_writer *w, struct mq_buf *out, const struct proto_head *head)
{
    w->out = out;
    w->frame_at = out->len;
    w->mark = 0;
    w->encoding = head->encoding;
    w->first = true;
    w->rc = mq_buf_reserve(out, PREFIX_BYTES);
    if (w->rc == 0) {
        out->len += PREFIX_BYTES;
        w->rc = head->encoding == PROTO_JSON ? proto_json_begin(w, head) : proto_binary_begin(w, head);
    }
}

void proto_put_str(struct proto_writer *w, struct mq_str key, struct mq_str value)
{
    if (w->rc == 0 && value.at != NULL) {
        w->rc = w->encoding == PROTO_JSON ? proto_json_put_str(w, key, value) : proto_binary_put(w, key, value);
    }
}

static void put_plain(struct proto_writer *w, struct mq_str key, struct mq_str value)
{
    if (w->rc == 0) {
        w->rc = w->encoding == PROTO_JSON ? proto_json_put_plain(w, key, value) : proto_binary_put(w, key, value);
    }
}

void proto_put_i64(struct proto_writer *w, struct mq_str key, int64_t value)
{
    char text[MQ_I64_TEXT_MAX];

    put_plain(w, key, (struct mq_str){text, (uint32_t)mq_i64_to_text(value, text)});
}

void proto_put_bool(struct proto_writer *w, struct mq_str key, bool value)
{
    put_plain(w, key, value ? MQ_STR("true") : MQ_STR("false"));
}

/* Writes the two lengths of the frame, whose header ends where the buffer does. */
static int close_frame(struct proto_writer *w, size_t body_bytes)
{
    size_t header_bytes = w->out->len - w->frame_at - PREFIX_BYTES;
    uint8_t *at = w->out->base + w->frame_at;

    if (header_bytes > PROTO_FRAME_MAX - PREFIX_BYTES || body_bytes > PROTO_FRAME_MAX - PREFIX_BYTES - header_bytes) {
        return MQ_ETOOBIG;
    }
    mq_be32_store(at, (uint32_t)(4 + header_bytes + body_bytes));
    mq_be32_store(at + 4, (uint32_t)w->encoding << 24 | (uint32_t)header_bytes);
    return 0;
}

int proto_end(struct proto_writer *w, size_t body_bytes)
{
    if (w->rc == 0) {
        if (w->encoding == PROTO_JSON) {
            w->rc = proto_json_end(w);
        } else {
            proto_binary_end(w);
        }
    }
    if (w->rc == 0) {
        w->rc = close_frame(w, body_bytes);
    }
    if (w->rc != 0) {
        w->out->len = w->frame_at;
    }
    return w->rc;
}
