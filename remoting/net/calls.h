/* Requests that wait for an answer: each has a deadline and ends exactly once, by its answer, by its deadline, or
 * with its channel. Both ends of a connection ask: a net_client keeps the calls of its one connection, a server those
 * to all the clients that are connected to it (the broker's context.calls).
 *
 * How a server asks a client:
 *
 *   net_calls_begin(calls, ch, &w, code, encoding, false) -> fields -> net_calls_send(..., &own->call, timeout_ms,
 * cb)
 *
 * and, for what nobody answers, net_calls_begin(..., true) -> fields -> net_calls_oneway. The call is embedded in
 * memory of the caller's, which lives until the callback. An answer counts only on the channel that was asked, so no
 * peer can answer for another; one that comes late, twice or from somewhere else is dropped and counted. Loop thread.
 */
#ifndef MQ_NET_CALLS_H
#define MQ_NET_CALLS_H

#include "remoting/net/channel.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct net_call;

/* @status 0: @answer is the response (any code), valid until the call returns. Else no answer came: MQ_ETIMEDOUT,
 * MQ_ECLOSED (connection lost; the request may have arrived), and @answer is NULL. */
typedef void (*net_call_cb)(struct net_call *call, int status, struct proto_command *answer);

/* A request under way. The caller's memory, from a successful start until its callback. */
struct net_call {
    void *data; /* caller's */
    net_call_cb cb;
    struct net_calls *calls;
    struct net_channel *ch; /* borrowed: the call ends before it does */
    int32_t opaque;
    uint64_t deadline_ms; /* monotonic */
    struct net_call *next, **prev;
    struct net_call *next_of_channel, **prev_of_channel;
};

struct net_calls {
    struct net_loop *loop;
    uint32_t open_max, channel_max; /* open calls, of all channels and of one */
    uint32_t open;
    int32_t next_opaque;
    struct net_call *by_time;      /* in the order of their deadlines (one time-out for all in the common case) */
    struct net_call **by_time_end; /* the next of the last one, or &by_time */
    struct net_call **by_opaque;   /* owned: the call with opaque o is at o & (table_size - 1) */
    uint32_t table_size;
    uv_timer_t timer;
    uint64_t timer_at_ms; /* what the timer is set to; 0: not running */
    bool closing;
    void (*closed_cb)(struct net_calls *calls);
};

void net_calls_init(struct net_calls *calls, struct net_loop *loop, uint32_t open_max, uint32_t channel_max);

/* Begins a request to @ch: the writer is set up on its output with a fresh opaque. Then write fields, then
 * net_calls_send or net_calls_oneway, which end the header; nothing else may be written between. Returns 0,
 * MQ_ECLOSED (the channel is closing), MQ_EBUSY (too many calls are open) or MQ_ENOMEM. */
int net_calls_begin(struct net_calls *calls, struct net_channel *ch, struct proto_writer *w, int32_t code,
                    enum proto_encoding encoding, bool oneway);

/* Sends what net_calls_begin began, with a body that is copied. Returns 0 or a negative code (nothing was sent, no
 * callback follows). The callback never runs inside. */
int net_calls_send(struct net_calls *calls, struct net_channel *ch, struct proto_writer *w, const void *body,
                   size_t body_bytes, struct net_call *call, uint32_t timeout_ms, net_call_cb cb);
int net_calls_oneway(struct net_calls *calls, struct net_channel *ch, struct proto_writer *w, const void *body,
                     size_t body_bytes);

/* A response arrived on @ch: ends its call, or is counted as a stray one. */
void net_calls_take(struct net_calls *calls, struct net_channel *ch, struct proto_command *answer);

/* The channel closed: its calls end with MQ_ECLOSED. */
void net_calls_channel_closed(struct net_calls *calls, struct net_channel *ch);

/* No call is open any more. @closed_cb comes when the memory is free to go. */
void net_calls_close(struct net_calls *calls, void (*closed_cb)(struct net_calls *calls));

#endif
