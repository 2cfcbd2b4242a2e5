/* What a leader does by itself, put together: each flow works on replicated state and proposes what follows from it,
 * so that a new leader goes on where the old one ended. Loop thread.
 *
 * A flow's file has: init, lead (this node takes sends now), rest (it does no longer; nothing is proposed any more),
 * turn (once in every turn of the loop, on every member), release_below (retention), fini. It knows what struct
 * flow_env holds and nothing above; what it needs from there (a producer's connection, a parked request to wake)
 * comes as a callback set at assembly. */
#ifndef BROKER_FLOW_FLOWS_H
#define BROKER_FLOW_FLOWS_H

#include "broker/flow/flow_env.h"
#include "broker/flow/half.h"
#include "broker/flow/order_wake.h"
#include "broker/flow/pending.h"
#include "broker/flow/pop_revive.h"
#include "broker/flow/retention.h"

struct flow_rules {
    struct retention_rules retention;
    const char *dir; /* borrowed: on the disk that retention looks at */
    struct half_rules half;
};

struct flows {
    struct flow_env env;
    struct flow_alarm alarm;
    struct retention retention;
    struct half_flow half;
    struct pending pending;
    struct pop_revive pop_revive;
    struct order_wake order_wake;
    bool leading;
    uint64_t release_pos, release_at_ms; /* retention waits for this position; 0: for none; monotonic */
    void (*closed)(void *data);
    void *closed_data;
};

/* @state, @sequencer: borrowed until flows_close has called back. Returns 0 or a negative code. */
int flows_init(struct flows *flows, struct net_loop *loop, struct state *state, struct sequencer *sequencer,
               const struct flow_rules *rules);
/* Begins to lead (behind the barrier of the term), or ends; both may come twice. */
void flows_lead(struct flows *flows);
void flows_rest(struct flows *flows);
/* In every turn of the loop. */
void flows_turn(struct flows *flows);
/* The group's log begins at @pos now: news of the state, and once after a start. */
void flows_log_start_moved(struct flows *flows, uint64_t pos);
/* The leader, now and then (10 s): may the log begin later? */
void flows_look_at_retention(struct flows *flows);
/* Ends everything; @closed comes later on the loop. Once, after init returned 0. */
void flows_close(struct flows *flows, void (*closed)(void *data), void *data);

#endif
