/* The typed headers of requests and responses, made from headers.def, which is the page to read. For every noun
 * there:
 *
 *   struct proto_<noun>_header
 *   int proto_<noun>_header_decode(const struct proto_fields *fields, struct proto_<noun>_header *out,
 *                                  struct proto_problem *why);
 *   void proto_<noun>_header_encode(struct proto_writer *w, const struct proto_<noun>_header *header);
 *
 * Decoding: strings in @out are borrowed from @fields and an absent one has at == NULL. Unknown fields are ignored,
 * the last of two fields of one name counts, null counts as absent. Returns 0, or MQ_EBADMSG with @why (may be NULL)
 * naming the first field that is missing or not a number; @out is undefined on error. Encoding: see REQUIRED and
 * OPTIONAL in headers.def; errors are remembered in @w and told by proto_end. To write no optional field start from
 * proto_<noun>_header_defaults(), which also leaves all required ones zero or absent. */
#ifndef MQ_PROTOCOL_HEADERS_H
#define MQ_PROTOCOL_HEADERS_H

#include "remoting/protocol/command.h"
#include "remoting/protocol/fields.h"

#include <stdbool.h>
#include <stdint.h>

#define HEADER(noun) struct proto_##noun##_header {
#define STR(member, key, need) struct mq_str member;
#define I32(member, key, need, fallback) int32_t member;
#define I64(member, key, need, fallback) int64_t member;
#define BOOL(member, key, need, fallback) bool member;
#define END(noun)                                                                                                    \
    }                                                                                                                \
    ;
#include "remoting/protocol/headers.def"
#undef HEADER
#undef STR
#undef I32
#undef I64
#undef BOOL
#undef END

#define HEADER(noun)                                                                                                 \
    int proto_##noun##_header_decode(const struct proto_fields *fields, struct proto_##noun##_header *out,           \
                                     struct proto_problem *why);                                                     \
    void proto_##noun##_header_encode(struct proto_writer *w, const struct proto_##noun##_header *header);           \
    struct proto_##noun##_header proto_##noun##_header_defaults(void);
#define STR(member, key, need)
#define I32(member, key, need, fallback)
#define I64(member, key, need, fallback)
#define BOOL(member, key, need, fallback)
#define END(noun)
#include "remoting/protocol/headers.def"
#undef HEADER
#undef STR
#undef I32
#undef I64
#undef BOOL
#undef END

/* The same send header under the one-letter keys of 310 and 320. Source: RocketMQ's SendMessageRequestHeaderV2. */
int proto_send_header_v2_decode(const struct proto_fields *fields, struct proto_send_header *out,
                                struct proto_problem *why);
void proto_send_header_v2_encode(struct proto_writer *w, const struct proto_send_header *header);

/* Bits of sysFlag of a pull. Source: RocketMQ's PullSysFlag. */
enum proto_pull_flag {
    PROTO_PULL_COMMIT_OFFSET = 1,
    PROTO_PULL_SUSPEND = 2,
    PROTO_PULL_SUBSCRIPTION = 4,
    PROTO_PULL_CLASS_FILTER = 8,
    PROTO_PULL_LITE = 16
};

#endif
