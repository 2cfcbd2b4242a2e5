/* The ext fields of a command: slices into the frame they came in. */
#ifndef MQ_PROTOCOL_FIELDS_H
#define MQ_PROTOCOL_FIELDS_H

#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define PROTO_FIELDS_MAX 64

struct proto_field {
    struct mq_str key;
    struct mq_str value; /* at == NULL: the peer sent null */
};

struct proto_fields {
    uint32_t count;
    struct proto_field list[PROTO_FIELDS_MAX];
};

/* The last field of that name; an absent slice when there is none or it is null. */
struct mq_str proto_fields_get(const struct proto_fields *fields, struct mq_str key);

/* What was wrong with a header, for the remark of the answer. Borrowed from the fields. */
struct proto_problem {
    const char *field; /* wire name */
    struct mq_str value;
    bool missing; /* a required field is absent; otherwise it does not parse */
};

#endif
