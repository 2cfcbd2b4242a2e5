/* The JSON of the RocketMQ wire: standard JSON, and on reading also what fastjson writes: maps with unquoted
 * integer keys ({0:"a"}) and object keys ({{"queueId":0,"topic":"t"}:1}).
 *
 * Reading is by a pull reader over borrowed, writable bytes: strings are unescaped in place, nothing is allocated,
 * depth is bounded. Writing appends to a mq_buf. Source: RocketMQ's RemotingSerializable. */
#ifndef MQ_BASE_JSON_H
#define MQ_BASE_JSON_H

#include "remoting/base/buf.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define MQ_JSON_DEPTH_MAX 32

enum mq_json_kind {
    MQ_JSON_ERROR, /* ill-formed, too deep, or the end was reached early; sticky */
    MQ_JSON_END,   /* the one value was read whole and only white space follows */
    MQ_JSON_OBJECT_BEGIN,
    MQ_JSON_OBJECT_END,
    MQ_JSON_ARRAY_BEGIN,
    MQ_JSON_ARRAY_END,
    MQ_JSON_KEY, /* text: the key; an object key arrives as its raw source text {...} */
    MQ_JSON_STRING,
    MQ_JSON_NUMBER, /* text: the digits as written */
    MQ_JSON_TRUE,
    MQ_JSON_FALSE,
    MQ_JSON_NULL
};

struct mq_json {
    char *at, *end; /* borrowed, changed by unescaping */
    enum mq_json_kind kind;
    struct mq_str text; /* of KEY, STRING, NUMBER, and "true" "false" "null" */
    uint32_t depth;
    uint8_t stack[MQ_JSON_DEPTH_MAX]; /* reader's own */
    uint8_t state;                    /* reader's own */
};

/* @bytes are borrowed until the reader is done with and are changed in place. */
void mq_json_init(struct mq_json *json, char *bytes, size_t n);

/* Steps to the next token and returns its kind. */
enum mq_json_kind mq_json_next(struct mq_json *json);

/* After a KEY (or at the start): reads one scalar value as text; numbers, booleans and strings alike; null gives an
 * absent slice. Objects and arrays are skipped and give an absent slice too. Returns 0 or MQ_EBADMSG. */
int mq_json_scalar(struct mq_json *json, struct mq_str *out);

/* After a KEY, or with BEGIN as current token: skips the whole value. Returns 0 or MQ_EBADMSG. */
int mq_json_skip(struct mq_json *json);

/* Writers append; all return 0 or MQ_ENOMEM. The caller writes commas and braces with mq_buf_put_str. */
int mq_json_put_string(struct mq_buf *buf, struct mq_str s); /* quotes and escapes; UTF-8 passes as it is */
int mq_json_put_double(struct mq_buf *buf, double value);    /* always '.', NaN and infinities become 0.0 */

#endif
