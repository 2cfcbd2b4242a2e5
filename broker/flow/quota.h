/* How much producers may send: token buckets for each producer group and for each connection, in messages and in
 * bytes a second. A bucket holds one second's worth. A request is taken while there is a message or a byte in it,
 * however large the request is, and what it takes too much is waited for by the next one. Off where a limit is 0.
 * Loop thread.
 */
#ifndef BROKER_FLOW_QUOTA_H
#define BROKER_FLOW_QUOTA_H

#include "remoting/base/text.h"
#include "remoting/net/channel.h"

#include <stdbool.h>
#include <stdint.h>

#define QUOTA_GROUPS_MAX 10000 /* that are looked at one by one; beyond them groups share one bucket */

struct quota;

struct quota_limits {
    int64_t messages, bytes; /* a second; 0: any number */
};

struct quota_rules {
    struct quota_limits group, connection;
};

/* Why a request is not taken. */
struct quota_refusal {
    const char *whose; /* "producerGroup" or "connection" */
    const char *unit;  /* "messages" or "bytes" */
    int64_t per_second;
    uint64_t wait_ms; /* until one would be taken */
};

/* Returns 0 and @out, NULL when @rules limit nothing; or MQ_ENOMEM. */
int quota_new(const struct quota_rules *rules, struct quota **out);
void quota_free(struct quota *quota); /* takes NULL */

/* Whether a request may pass, and then it counts; else @why. @quota NULL: it may. Without memory for a bucket nothing
 * is limited. @now_ms: monotonic. */
bool quota_take(struct quota *quota, struct net_channel *ch, struct mq_str group, uint32_t messages, uint32_t bytes,
                uint64_t now_ms, struct quota_refusal *why);
/* Bytes of a request that has passed already, whose size was not known then. @ch NULL: of nobody's connection. */
void quota_charge(struct quota *quota, struct net_channel *ch, struct mq_str group, uint32_t bytes, uint64_t now_ms);
/* The channel closed. @quota may be NULL. */
void quota_channel_closed(struct quota *quota, struct net_channel *ch);

#endif
