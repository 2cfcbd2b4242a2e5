/* Requests to delete a topic that reached a node which does not lead: they wait until the deletion is applied here.
 * Loop thread. */
#ifndef BROKER_PROCESSOR_TOPIC_DELETE_H
#define BROKER_PROCESSOR_TOPIC_DELETE_H

#include "broker/processor/context.h"

struct topic_wait;

/* News of the state: the topic is gone. */
void topic_delete_applied(struct context *ctx, struct mq_str topic);
/* Now and then: those whose time is up are answered. */
void topic_delete_expire(struct context *ctx, uint64_t now_ms);
/* The broker closes: nobody is answered. */
void topic_delete_forget(struct context *ctx);

#endif
