/* Pops that wait for a message, and requests that only want to be told of one (notices). Each waits at two topics,
 * its own and the retry topic of its group; a message that arrives at one of them wakes the pop and the notice of
 * each group that have waited longest there. Woken ones are handed up at the end of the loop's turn, as those are
 * whose time is over. Loop thread. Bounds: POP_HOLD_MAX in all, POP_HOLD_QUEUE_MAX of either kind for a (topic,
 * group), as popPollingSize and maxPopPollingSize of RocketMQ. */
#ifndef BROKER_FLOW_POP_HOLD_H
#define BROKER_FLOW_POP_HOLD_H

#include "broker/flow/flow_env.h"
#include "broker/state/due_heap.h"
#include "remoting/net/channel.h"

#define POP_HOLD_MAX 100000u
#define POP_HOLD_QUEUE_MAX 1024u

struct pop_hold;
struct pop_group;

/* The caller's memory, from a successful park until it is handed up. */
struct pop_parked {
    /* Its time is not over (@timely): look again. Else answer. It is not parked any more. */
    void (*wake)(struct pop_parked *parked, bool timely);
    bool notice;                         /* takes nothing: others are woken by the same message */
    int32_t queue_id;                    /* -1: any */
    const struct message_filter *filter; /* borrowed; what it does not let pass wakes nobody, as far as units tell */
    uint64_t deadline_ms;                /* monotonic */

    /* Its own. */
    struct due due;
    struct pop_link {
        struct pop_parked *parked;
        struct pop_group *group; /* NULL: not waiting there */
        struct pop_link *next, **prev;
    } links[2];
    struct pop_parked *next_ready;
};

/* Returns 0 or MQ_ENOMEM. */
int pop_hold_new(struct store *store, struct pop_hold **out);
/* Parked ones are handed up as if their time were over. */
void pop_hold_free(struct pop_hold *hold);

/* Returns 0; MQ_EBUSY (a bound), MQ_ENOMEM. @topics: of the topic, and of the retry topic (may be NULL). */
int pop_hold_park(struct pop_hold *hold, struct pop_parked *parked, struct mq_str group,
                  struct topic_queues *const topics[2]);
/* Messages are left for the group at @topic: another one may have them. */
void pop_hold_more(struct pop_hold *hold, struct topic_queues *topic, struct mq_str group);
/* The topic is deleted: all pops of it are handed up, as if a message had come. */
void pop_hold_gone(struct pop_hold *hold, struct topic_queues *topic);
/* Queue @queue_id of @topic, popped in order, is free again: who has waited longest may have it. */
void pop_hold_freed(struct pop_hold *hold, struct topic_queues *topic, struct mq_str group, int32_t queue_id);
/* Pops of the group that wait for queue @queue_id of @topic; -1: for any. */
uint32_t pop_hold_count(const struct pop_hold *hold, const struct topic_queues *topic, struct mq_str group,
                        int32_t queue_id);
/* This node leads no longer: all are handed up, to be answered. */
void pop_hold_wake_all(struct pop_hold *hold);

/* In every turn: hands up who was woken and whose time is over; sets the alarm for the next. */
void pop_hold_turn(struct pop_hold *hold, const struct flow_env *env);

#endif
