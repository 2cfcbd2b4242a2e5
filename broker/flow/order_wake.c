#include "broker/flow/order_wake.h"

#include "remoting/base/clock.h"

void order_wake_init(struct order_wake *wake, const struct flow_env *env)
{
    *wake = (struct order_wake){.env = env};
}

/* Whoever led before told others. */
void order_wake_lead(struct order_wake *wake)
{
    struct state *state = wake->env->state;
    int64_t pop_ms = order_table_last_pop_ms(&state->orders);

    if (pop_ms > state->pops.last_pop_ms) {
        state->pops.last_pop_ms = pop_ms; /* of a leader whose clock was ahead: a pop time is given once */
    }
    order_table_forget_told(&state->orders);
    wake->leading = true;
}

void order_wake_rest(struct order_wake *wake)
{
    wake->leading = false;
}

void order_wake_turn(struct order_wake *wake)
{
    struct order_table *orders = &wake->env->state->orders;
    struct order_batch *batch = wake->leading ? order_table_first_due(orders) : NULL;
    int64_t now_ms;

    if (batch == NULL || batch->due.at_ms == INT64_MAX) {
        return;
    }
    now_ms = mq_clock_wall_ms();
    for (; batch->due.at_ms <= now_ms; batch = order_table_first_due(orders)) {
        order_table_note_told(orders, batch);
        if (wake->freed != NULL) {
            wake->freed(wake->freed_data, order_group(batch), order_topic(batch), batch->queue_id);
        }
    }
    if (batch->due.at_ms != INT64_MAX) {
        flow_wake_at(wake->env, mq_clock_mono_ms() + (uint64_t)(batch->due.at_ms - now_ms));
    }
}
