/* Answers to requests, in the encoding of the request. */
#ifndef BROKER_PROCESSOR_REPLY_H
#define BROKER_PROCESSOR_REPLY_H

#include "remoting/net/channel.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/command.h"
#include "remoting/protocol/fields.h"
#include "remoting/protocol/names.h"

#include <stdarg.h>

struct rlog_bound;
struct rlog_space;

/* Where an answer goes. By value; who keeps one longer than a call holds a reference to the channel. */
struct reply_to {
    struct net_channel *ch; /* NULL: nobody waits (one-way) */
    int32_t opaque;
    enum proto_encoding encoding;
};

static inline struct reply_to reply_to_of(struct net_channel *ch, const struct proto_command *cmd)
{
    return (struct reply_to){(cmd->flag & PROTO_FLAG_ONEWAY) != 0 ? NULL : ch, cmd->opaque, cmd->encoding};
}

/* Whoever keeps one counts a reference to its channel, if there is one, until release. */
static inline void reply_to_keep(const struct reply_to *to)
{
    if (to->ch != NULL) {
        (void)net_channel_acquire(to->ch);
    }
}

static inline void reply_to_release(const struct reply_to *to)
{
    if (to->ch != NULL) {
        net_channel_release(to->ch);
    }
}

/* Text of a client's in a remark: so much of it (MQ_STR_FMT goes with it). */
#define REMARK_NAME_MAX 160
#define REMARK_ARG(s) (int)((s).len < REMARK_NAME_MAX ? (s).len : REMARK_NAME_MAX), (s).at != NULL ? (s).at : ""

/* Begins an answer. Returns false when nobody waits: then write nothing and do not call reply_end. */
bool reply_begin(const struct reply_to *to, struct proto_writer *w, int32_t code, struct mq_str remark);
/* The same with a remark that is printed, and cut at 511 bytes. */
bool reply_begin_printed(const struct reply_to *to, struct proto_writer *w, int32_t code, const char *fmt,
                         va_list args) __attribute__((format(printf, 4, 0)));

/* Ends it with a body that is copied behind it (may be NULL with 0). Without memory the connection is closed: half a
 * frame cannot be taken back, and no answer at all would let the client wait. */
void reply_end(const struct reply_to *to, struct proto_writer *w, const void *body, size_t body_bytes);

/* Ends it with a body of @n views, @bytes together, which goes out by reference where that is cheaper than a copy. */
struct reader_view;
void reply_end_views(const struct reply_to *to, struct proto_writer *w, const struct reader_view *views, uint32_t n,
                     uint64_t bytes);

/* A whole answer without fields. */
void reply_code(const struct reply_to *to, int32_t code);
void reply_body(const struct reply_to *to, const void *body, size_t body_bytes); /* SUCCESS */
/* A body that was built: SUCCESS with it when @rc is 0, else reply_failed. @body: given, also then. */
void reply_built(const struct reply_to *to, int rc, struct mq_buf *body);
void reply_error(const struct reply_to *to, int32_t code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* SUCCESS with the one field "offset": 14, 29, 30, 31. */
void reply_offset(const struct reply_to *to, int64_t offset);

/* TOPIC_NOT_EXIST, and INVALID_PARAMETER for a name that no topic may have. */
void reply_no_topic(const struct reply_to *to, struct mq_str topic);
void reply_bad_topic(const struct reply_to *to, struct mq_str topic, enum proto_name_problem problem);

/* SUBSCRIPTION_GROUP_NOT_EXIST. */
void reply_no_group(const struct reply_to *to, struct mq_str group);
/* Whether @group may be a group's name; INVALID_PARAMETER, naming @field, when not. */
bool reply_checked_group(const struct reply_to *to, const char *field, struct mq_str group);
/* A body that did not decode. */
void reply_bad_body(const struct reply_to *to, const struct proto_command *cmd, int rc);

/* A header that did not decode: SYSTEM_ERROR, as Java answers, naming the field and its value. */
void reply_problem(const struct reply_to *to, const struct proto_problem *why);

/* MQ_EFULL with what there is to say about it. RocketMQ's store refuses with the same code while its disk is over
 * diskSpaceWarningLevelRatio. */
void reply_full(const struct reply_to *to, const struct rlog_space *space);

/* Our code as the answer to a request that could not be carried out: MQ_ENOTLEADER, MQ_EFULL 14, MQ_EBUSY 2,
 * MQ_EUNSURE 1 [UNKNOWN], MQ_ETOOBIG 13, others 1. The only place where our codes become the wire's. */
void reply_failed(const struct reply_to *to, int rc);
/* What waits to be proposed when nothing more is taken: @bytes of at most @bytes_max, the oldest for @ms. */
struct reply_waiting {
    uint64_t bytes, bytes_max;
    int64_t ms;
};

/* SYSTEM_BUSY: what waits, and because of which @bound (what may be NULL). */
void reply_busy(const struct reply_to *to, const struct reply_waiting *waiting, const struct rlog_bound *bound);

#endif
