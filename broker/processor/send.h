/* What sends and replies have in common before they go their ways. */
#ifndef BROKER_PROCESSOR_SEND_H
#define BROKER_PROCESSOR_SEND_H

#include "broker/processor/context.h"
#include "broker/processor/reply.h"
#include "broker/store/record_build.h"
#include "remoting/protocol/headers.h"

struct send_plan {
    struct queue *queue;
    struct delayed_plan delayed; /* what the message waits for before it comes there */
    int32_t queue_id;            /* what the sender is told: of the topic that it named */
    struct record_source source; /* borrows from the header, the command and the configuration */
};

/* Checks topic, message and queue in RocketMQ's order, makes the topic when that is allowed, and fills @plan. Returns
 * false after an answer. */
bool send_prepare(struct context *ctx, const struct reply_to *to, const struct proto_send_header *header,
                  struct net_channel *ch, const struct proto_command *cmd, struct send_plan *plan);

/* Whether group and connection may send that much now; it counts then. Returns false after an answer. */
bool send_check_quota(struct context *ctx, const struct reply_to *to, struct net_channel *ch, struct mq_str group,
                      uint32_t messages, uint32_t bytes);

/* What a pending of a send stands for (sequencer_pending.kind): the answer depends on it. */
enum { SEND_SINGLE, SEND_BATCH, SEND_TIMER };

/* A done callback (@data: the context): answers a send whose entry has ended. */
void send_stored(struct sequencer_pending *p, const struct sequencer_outcome *outcome);
/* Answers a send that the log did not take, or that ended without it. */
void send_failed(struct context *ctx, const struct reply_to *to, int rc);
/* Answers a refused send; like every answer to a send it names the region. */
void send_refuse(struct context *ctx, const struct reply_to *to, int32_t code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The fields that every answer to a send has. */
void send_put_region(struct context *ctx, struct proto_writer *w);

void send_host_of(const struct sockaddr_storage *addr, struct proto_host *out);

#endif
