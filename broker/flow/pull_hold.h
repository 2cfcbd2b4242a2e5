/* Pull requests that found nothing yet, waiting for a message in their queue or for their time to run out. Loop
 * thread. Source: RocketMQ's PullRequestHoldService. */
#ifndef BROKER_FLOW_PULL_HOLD_H
#define BROKER_FLOW_PULL_HOLD_H

#include "broker/store/queue_table.h"
#include "broker/store/store.h"
#include "remoting/net/channel.h"

#include <stdint.h>

#define PULL_HOLD_PARKED_MAX 100000
#define PULL_HOLD_CHANNEL_MAX 20000 /* of one connection, so that no client takes all the room */
#define PULL_HOLD_MS_MAX 120000     /* longer waits are cut to it */

struct pull_hold;
struct pull_waiter;

/* One parked request. Made by pull_hold_park from the pull processor's copy. */
struct pull_parked {
    struct net_channel *ch; /* counted */
    int32_t opaque;
    uint8_t encoding;
    struct queue *queue;
    uint64_t qoff;
    uint32_t count_max;
    int32_t topic_sys_flag, group_sys_flag;
    uint64_t deadline_ms;          /* monotonic */
    struct message_filter *filter; /* counted; NULL: everything */
    /* The hold's own: lists of the queue, of the slot of its deadline, and of the connection. */
    struct pull_waiter *waiter;
    struct pull_parked *next_in_queue, **prev_in_queue;
    struct pull_parked *next_in_slot, **prev_in_slot;
    struct pull_parked *next_of_conn, **prev_of_conn;
};

/* Called with a request that is no longer parked, because a message came or its time is up. The callee answers; the
 * hold frees. Never called inside pull_hold_park. */
typedef void (*pull_wake_cb)(void *data, struct pull_parked *parked);

/* Returns 0 and @out, or MQ_ENOMEM. Listens to @store, which outlives it. */
int pull_hold_new(struct net_loop *loop, struct store *store, pull_wake_cb cb, void *data, struct pull_hold **out);
/* Drops what is parked; nothing is answered. @closed comes later on the loop. */
void pull_hold_free(struct pull_hold *hold, void (*closed)(void *data), void *data);

/* Parks a copy of @request; the channel and the filter are acquired. Returns 0, MQ_EBUSY (one of the limits) or
 * MQ_ENOMEM. */
int pull_hold_park(struct pull_hold *hold, const struct pull_parked *request);

/* What is parked on @queue is run again at the end of the turn: its topic is gone, or a group was reset. */
void pull_hold_wake(struct pull_hold *hold, struct queue *queue);

/* The channel closed: what it has parked is dropped. */
void pull_hold_channel_closed(struct pull_hold *hold, struct net_channel *ch);

/* Wakes those whose time is up at @now_ms (monotonic). A timer calls it every 100 ms. */
void pull_hold_sweep(struct pull_hold *hold, uint64_t now_ms);

uint32_t pull_hold_count(const struct pull_hold *hold);

#endif
