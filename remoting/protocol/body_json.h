/* What the JSON bodies share: reading objects member by member, and writing with one check at the end. Private to the
 * module. */
#ifndef MQ_PROTOCOL_BODY_JSON_H
#define MQ_PROTOCOL_BODY_JSON_H

#include "remoting/base/buf.h"
#include "remoting/base/json.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads the value of member @key, which is next, into @out. Returns 0 or an error, which ends the walk. */
typedef int (*proto_json_member_cb)(struct mq_json *json, struct mq_str key, void *out);

/* Walks the object that is the next value; null counts as one without members. Returns 0, MQ_EBADMSG, or what @member
 * returned. */
int proto_json_object(struct mq_json *json, proto_json_member_cb member, void *out);

/* Walks the rest of an object that was entered. */
int proto_json_members(struct mq_json *json, proto_json_member_cb member, void *out);

/* Reads one element of an array, an object that was entered, into @out. */
typedef int (*proto_json_element_cb)(struct mq_json *json, void *out);

/* Walks an array of objects; null counts as an empty one, and null elements are passed over. */
int proto_json_objects(struct mq_json *json, proto_json_element_cb element, void *out);

/* Walks an array of scalars: 1 with the next element as text (absent for null), 0 at the end, MQ_EBADMSG. */
int proto_json_array(struct mq_json *json); /* enters: 1, 0 for null, MQ_EBADMSG */
int proto_json_element(struct mq_json *json, struct mq_str *out);

/* Read the next value. A null, and an object or array in place of a scalar, leaves @out as it is. Numbers may be
 * strings. Return 0 or MQ_EBADMSG. */
int proto_json_str(struct mq_json *json, struct mq_str *out);
int proto_json_i64(struct mq_json *json, int64_t *out);
int proto_json_i32(struct mq_json *json, int32_t *out);
int proto_json_bool(struct mq_json *json, bool *out);

/* Appends the elements of an array of scalars, or of null, to @out; null elements are left out. Returns 0,
 * MQ_EBADMSG, MQ_ETOOBIG (more than @max in the list) or MQ_ENOMEM. */
int proto_json_strings(struct mq_json *json, struct proto_str_list *out, uint32_t max);

/* A member_cb: one of {"brokerName":...,"queueId":...,"topic":...} into a struct proto_queue_ref. */
int proto_json_queue_ref_member(struct mq_json *json, struct mq_str key, void *out);

/* After the outermost value: 0 when nothing but white space follows, or MQ_EBADMSG. */
int proto_json_finish(struct mq_json *json);

/* A whole body of @n bytes that is one object. */
int proto_json_body(char *bytes, size_t n, proto_json_member_cb member, void *out);

/* Writes a body: errors are remembered, and told once by proto_out_end, which then leaves the buffer as it was. */
struct proto_out {
    struct mq_buf *buf;
    size_t start;
    int rc;
};

struct proto_out proto_out_begin(struct mq_buf *buf);
int proto_out_end(struct proto_out *out); /* 0 or MQ_ENOMEM */

void proto_out_raw(struct proto_out *out, struct mq_str text); /* as it is: punctuation, keys with their ':' */
void proto_out_string(struct proto_out *out, struct mq_str s); /* quoted; an absent one as "" */
void proto_out_i64(struct proto_out *out, int64_t value);
void proto_out_bool(struct proto_out *out, bool value);
void proto_out_double(struct proto_out *out, double value);
void proto_out_comma(struct proto_out *out, uint32_t i); /* before element @i: nothing before the first */
void proto_out_strings(struct proto_out *out, const struct proto_str_list *list);
struct proto_subscription;
/* body_client.c; a type that is known */
void proto_out_subscription(struct proto_out *out, const struct proto_subscription *sub);
void proto_out_queue_ref(struct proto_out *out, const struct proto_queue_ref *queue);

#define PROTO_OUT(out, literal) proto_out_raw((out), MQ_STR(literal))

#endif
