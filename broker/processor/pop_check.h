/* What is asked of every request that pops, peeks, or wants to know of messages to pop. Those that return a bool say
 * false after an answer. Source of the codes: RocketMQ's PopMessageProcessor, NotificationProcessor. */
#ifndef BROKER_PROCESSOR_POP_CHECK_H
#define BROKER_PROCESSOR_POP_CHECK_H

#include "broker/processor/context.h"
#include "broker/processor/reply.h"

struct message_filter;

/* Whom and what it is about. */
struct pop_target {
    struct mq_str group, topic;
    int32_t queue_id; /* -1: any */
};

/* The broker, the topic and the queue may be read, and the group is there and may read them. */
bool pop_check_target(struct context *ctx, const struct reply_to *to, const struct pop_target *target);
/* Its name and the topic's fit into the name of a retry topic. */
bool pop_check_names(const struct reply_to *to, const struct pop_target *target);
bool pop_check_count(const struct reply_to *to, int32_t count);
bool pop_check_invisible(const struct reply_to *to, int64_t ms);

/* One reference in @out, which is NULL where everything passes. */
bool pop_parse_filter(struct context *ctx, const struct reply_to *to, struct mq_str type, struct mq_str expression,
                      struct message_filter **out);

/* How long a client waits: for @poll_ms from @born_ms by its own clock (0: now). Late: it no longer does. */
struct pop_wait {
    int64_t born_ms, poll_ms;
};

bool pop_is_late(const struct pop_wait *wait, int64_t now_ms);
/* Until when it is held, monotonic. 0: not at all. */
uint64_t pop_deadline(const struct pop_wait *wait, int64_t now_ms);

#endif
