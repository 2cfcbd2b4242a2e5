/* Frames of any bytes: what decodes lies within the frame, every typed header takes it or names a field, and what we
 * write from it reads back as the same, in both encodings. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/err.h"
#include "remoting/protocol/frame.h"
#include "remoting/protocol/headers.h"

static void check_inside(const struct proto_command *c, const char *frame, size_t n)
{
    MQ_ASSERT(c->body >= (const uint8_t *)frame && c->body + c->body_bytes == (const uint8_t *)frame + n);
    MQ_ASSERT(exact_inside(c->remark, frame, n));
    MQ_ASSERT(c->fields.count <= PROTO_FIELDS_MAX);
    MQ_ASSERT(c->language < 14);
    for (uint32_t i = 0; i < c->fields.count; i++) {
        MQ_ASSERT(c->fields.list[i].key.at != NULL);
        MQ_ASSERT(exact_inside(c->fields.list[i].key, frame, n));
        MQ_ASSERT(exact_inside(c->fields.list[i].value, frame, n));
    }
}

static void check_problem(int rc, const struct proto_problem *why)
{
    MQ_ASSERT(rc == 0 || (rc == MQ_EBADMSG && why->field != NULL && why->missing == (why->value.at == NULL)));
}

static void decode_headers(const struct proto_fields *fields)
{
    struct proto_send_header v2;
    struct proto_problem why;

    why = (struct proto_problem){0};
    check_problem(proto_send_header_v2_decode(fields, &v2, &why), &why);
#define HEADER(noun)                                                                                                 \
    {                                                                                                                \
        struct proto_##noun##_header header;                                                                         \
        why = (struct proto_problem){0};                                                                             \
        check_problem(proto_##noun##_header_decode(fields, &header, &why), &why);                                    \
    }
#define STR(member, key, need)
#define I32(member, key, need, fallback)
#define I64(member, key, need, fallback)
#define BOOL(member, key, need, fallback)
#define END(noun)
#include "remoting/protocol/headers.def"
}

/* Binary text without bytes reads as absent; JSON tells the two apart. */
static bool same_text(struct mq_str wrote, struct mq_str read, enum proto_encoding encoding)
{
    if (encoding == PROTO_BINARY && wrote.len == 0) {
        return read.at == NULL;
    }
    return mq_str_eq(wrote, read) && (wrote.at == NULL) == (read.at == NULL);
}

static void check_same(const struct proto_command *a, const struct proto_command *b)
{
    uint32_t n = 0;

    MQ_ASSERT(b->code == a->code && b->opaque == a->opaque && b->flag == a->flag);
    MQ_ASSERT(same_text(a->remark, b->remark, b->encoding));
    for (uint32_t i = 0; i < a->fields.count; i++) {
        const struct proto_field *wrote = &a->fields.list[i];

        if (wrote->value.at != NULL) {
            MQ_ASSERT(n < b->fields.count && mq_str_eq(b->fields.list[n].key, wrote->key));
            MQ_ASSERT(same_text(wrote->value, b->fields.list[n].value, b->encoding));
            n++;
        }
    }
    MQ_ASSERT(n == b->fields.count);
}

/* Keys are ours when we write, and plain. */
static bool has_plain_keys(const struct proto_fields *fields)
{
    for (uint32_t i = 0; i < fields->count; i++) {
        for (uint32_t k = 0; k < fields->list[i].key.len; k++) {
            char c = fields->list[i].key.at[k];

            if ((uint8_t)c < ' ' || c == '"' || c == '\\') {
                return false;
            }
        }
    }
    return true;
}

static void check_rewritten(const struct proto_command *c, enum proto_encoding encoding)
{
    struct proto_head head = {c->code, c->opaque, c->flag, encoding, c->remark};
    struct mq_buf frame = {0};
    struct proto_command again;
    struct proto_writer w;
    int rc;

    proto_begin(&w, &frame, &head);
    for (uint32_t i = 0; i < c->fields.count; i++) {
        proto_put_str(&w, c->fields.list[i].key, c->fields.list[i].value);
    }
    rc = proto_end(&w, 0);
    MQ_ASSERT(rc == 0 || rc == MQ_ETOOBIG);
    if (rc == 0 && frame.len - 8 <= PROTO_HEADER_MAX) {
        MQ_ASSERT(proto_command_decode(frame.base, frame.len, &again) == 0);
        check_same(c, &again);
    }
    mq_buf_free(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct proto_command command;
    char *frame = exact_copy(bytes, n);
    uint32_t length;
    int rc;

    (void)proto_frame_length(bytes, n, &length);
    if (n >= 4) {
        mq_be32_store((uint8_t *)frame, (uint32_t)n - 4); /* the rest of an input is worth a look whatever it says */
    }
    rc = proto_command_decode((uint8_t *)frame, n, &command);
    MQ_ASSERT(rc == 0 || rc == MQ_EBADMSG || rc == MQ_ETOOBIG);
    if (rc == 0) {
        check_inside(&command, frame, n);
        decode_headers(&command.fields);
        if (has_plain_keys(&command.fields)) {
            check_rewritten(&command, PROTO_JSON);
        }
        check_rewritten(&command, PROTO_BINARY);
    }
    mq_free(frame);
    return 0;
}
