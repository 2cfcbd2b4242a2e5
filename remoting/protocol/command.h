/* A command is what a frame carries: a request or a response with ext fields and a body. Decoding copies nothing: all
 * slices point into the frame, in which escaped text is unescaped in place. Encoding appends to a buffer. */
#ifndef MQ_PROTOCOL_COMMAND_H
#define MQ_PROTOCOL_COMMAND_H

#include "remoting/base/buf.h"
#include "remoting/protocol/fields.h"

#include <stdbool.h>
#include <stdint.h>

enum proto_encoding { PROTO_JSON = 0, PROTO_BINARY = 1 };

/* Bits of flag. */
#define PROTO_FLAG_RESPONSE 1
#define PROTO_FLAG_ONEWAY 2

#define PROTO_VERSION 479      /* what we send: 5.3.3, see RocketMQ's MQVersion */
#define PROTO_LANGUAGE_OTHER 7 /* what we send: OTHER */
#define PROTO_LANGUAGE_JAVA 0
#define PROTO_LANGUAGE_CPP 1

/* The name of a language code, as bodies have it; OTHER for one that nobody knows. */
struct mq_str proto_language_name(uint8_t language);

struct proto_command {
    int32_t code;
    uint8_t language; /* code of RocketMQ's LanguageCode; 7 (OTHER) when unknown or missing */
    int32_t version;
    int32_t opaque;
    int32_t flag;
    enum proto_encoding encoding;
    struct mq_str remark;
    struct proto_fields fields;
    const uint8_t *body; /* borrowed from the frame */
    uint32_t body_bytes;
};

/* Decodes one whole frame of @n bytes (as proto_frame_length told). @frame is changed in place and must outlive
 * @out. Returns 0, MQ_EBADMSG (does not parse, header beyond the frame, unknown encoding), or MQ_ETOOBIG (header over
 * PROTO_HEADER_MAX, more than PROTO_FIELDS_MAX fields). @out is undefined on error. */
int proto_command_decode(uint8_t *frame, size_t n, struct proto_command *out);

/* What starts a command that we send. */
struct proto_head {
    int32_t code;
    int32_t opaque;
    int32_t flag;
    enum proto_encoding encoding;
    struct mq_str remark; /* absent: none */
};

/* Writes one frame: begin, fields, end, then the body. A failed allocation is remembered and told by end, which
 * leaves the buffer as it was at begin. */
struct proto_writer {
    struct mq_buf *out;
    size_t frame_at; /* where this frame starts in out */
    size_t mark;     /* encoder's own */
    enum proto_encoding encoding;
    bool first; /* no field written yet */
    int rc;
};

void proto_begin(struct proto_writer *w, struct mq_buf *out, const struct proto_head *head);
void proto_put_str(struct proto_writer *w, struct mq_str key, struct mq_str value); /* absent value: left out */
void proto_put_i64(struct proto_writer *w, struct mq_str key, int64_t value);
void proto_put_bool(struct proto_writer *w, struct mq_str key, bool value);
/* Closes the header for a body of @body_bytes that follows it; the caller appends the body to the same buffer or
 * sends it right behind. An empty ext map is written as {} in JSON. Returns 0, MQ_ENOMEM, or MQ_ETOOBIG (frame over
 * PROTO_FRAME_MAX; binary key or code out of range). */
int proto_end(struct proto_writer *w, size_t body_bytes);

#endif
