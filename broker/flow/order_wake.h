/* Who waits for a queue that is popped in order hears when nobody holds any of it any more, because the time of those
 * who did is over. Leader; loop thread. That all of it was acknowledged is news of the state (fsm.h, order_freed). */
#ifndef BROKER_FLOW_ORDER_WAKE_H
#define BROKER_FLOW_ORDER_WAKE_H

#include "broker/flow/flow_env.h"

struct order_wake {
    const struct flow_env *env; /* borrowed */
    bool leading;
    /* Set at assembly; NULL: nobody waits. */
    void (*freed)(void *data, struct mq_str group, struct mq_str topic, int32_t queue_id);
    void *freed_data;
};

void order_wake_init(struct order_wake *wake, const struct flow_env *env);
void order_wake_lead(struct order_wake *wake);
void order_wake_rest(struct order_wake *wake);
void order_wake_turn(struct order_wake *wake);

#endif
