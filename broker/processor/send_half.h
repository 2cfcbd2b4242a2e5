/* A send that is the first half of a transaction: consumers get it when its producer commits. */
#ifndef BROKER_PROCESSOR_SEND_HALF_H
#define BROKER_PROCESSOR_SEND_HALF_H

#include "broker/processor/send.h"

/* Whether the properties of a message say so. */
bool send_asks_for_transaction(struct mq_str properties);
/* What comes to a retry topic was committed before; clients below 4.6.1 leave the property in. */
bool send_is_half(const struct proto_send_header *header);
/* What a half message has to be. Returns false after an answer. */
bool send_half_check(struct context *ctx, const struct reply_to *to, const struct proto_send_header *header);
/* Proposes it, and answers. It lies in a topic of its own until it is committed; where it is to go, @queue, stands in
 * its properties. @source: as send_prepare filled it, changed here. */
void send_half_add(struct context *ctx, const struct reply_to *to, const struct queue *queue,
                   struct record_source *source);

#endif
