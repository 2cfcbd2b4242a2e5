/* What every flow works with. */
#ifndef BROKER_FLOW_FLOW_ENV_H
#define BROKER_FLOW_FLOW_ENV_H

#include "broker/state/fsm.h"
#include "broker/store/sequencer.h"
#include "remoting/net/loop.h"

/* One timer for all flows: it makes the loop turn when the earliest of them wants to work again. */
struct flow_alarm {
    uv_timer_t timer;
    struct net_loop *loop;
    uint64_t at_ms; /* monotonic; UINT64_MAX: not set */
};

/* All borrowed. */
struct flow_env {
    struct net_loop *loop;
    struct state *state;
    struct store *store;
    struct sequencer *sequencer;
    struct flow_alarm *alarm;
};

/* Whether the disk takes new records: while it does not, a flow leaves its rows to retention, which makes room. */
static inline bool flow_has_room(const struct flow_env *env)
{
    return rlog_space_level(env->store->log) == RLOG_SPACE_ENOUGH;
}

/* The loop turns at @at_ms (monotonic, mq_clock_mono_ms) at the latest. A flow that still waits then sets it anew. */
void flow_wake_at(const struct flow_env *env, uint64_t at_ms);

#endif
