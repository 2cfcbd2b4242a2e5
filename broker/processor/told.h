/* Answers to who changed topics, kept back until the name servers know of it: who has heard that a topic was made
 * finds its route. RocketMQ's broker waits for its registrations there too, for registerBrokerTimeoutMills at most.
 *
 * Changes are numbered from 1; the registrar says up to which one they are known. Loop thread. */
#ifndef BROKER_PROCESSOR_TOLD_H
#define BROKER_PROCESSOR_TOLD_H

#include "broker/processor/reply.h"

#define TOLD_WAIT_MS 1000u /* for name servers that are connected and silent; under the time-out of every client */
#define TOLD_WAITING_MAX 4096u

struct told;

/* Returns 0 or MQ_ENOMEM. Free with told_free, after told_end. */
int told_new(struct told **out);
void told_free(struct told *told);

/* A topic has changed. */
void told_changed(struct told *told);
/* The number of the last change, 0: none. */
uint64_t told_last(const struct told *told);
/* All that can be told of changes know of those up to @change: who waited for them is answered. */
void told_known(struct told *told, uint64_t change);

/* Answers @to with SUCCESS: now if all changes are known, else when they are, after TOLD_WAIT_MS at the latest. Over
 * TOLD_WAITING_MAX, or without memory, now. */
void told_answer(struct told *told, const struct reply_to *to, uint64_t now_ms);
/* Answers those whose time is over. To be called often; @now_ms: monotonic, as above. */
void told_turn(struct told *told, uint64_t now_ms);
/* Answers all, and from here on at once. */
void told_end(struct told *told);

#endif
