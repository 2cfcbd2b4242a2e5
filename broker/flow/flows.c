#include "broker/flow/flows.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"

/* --- the alarm --- */

static void on_alarm(uv_timer_t *timer)
{
    struct flow_alarm *alarm = timer->data;

    alarm->at_ms = UINT64_MAX; /* the end of this turn is what it was for */
}

void flow_wake_at(const struct flow_env *env, uint64_t at_ms)
{
    struct flow_alarm *alarm = env->alarm;
    uint64_t now_ms = mq_clock_mono_ms();

    if (at_ms >= alarm->at_ms || uv_is_closing((uv_handle_t *)&alarm->timer)) {
        return;
    }
    alarm->at_ms = at_ms;
    uv_update_time(&alarm->loop->uv);
    uv_timer_start(&alarm->timer, on_alarm, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

/* --- all of them --- */

#define RELEASE_MS 10u   /* between two looks at what must be moved */
#define RELEASE_PART 20u /* looking takes at most such a part of the loop's time */

/* Each is asked, so that all begin at once. */
static int ask_to_release(struct flows *flows, uint64_t pos)
{
    int half = half_flow_release_below(&flows->half, pos);
    int pending = pending_release_below(&flows->pending, pos);
    int pops = pop_revive_release_below(&flows->pop_revive, pos);

    return half != 0 ? half : pending != 0 ? pending : pops;
}

/* A round moves only so many, and retention asks every 10 s: the rounds between are ours. */
static int release_below(void *data, uint64_t pos)
{
    struct flows *flows = data;
    uint64_t begin_ms = mq_clock_mono_ms(), end_ms, pause_ms;
    int rc = ask_to_release(flows, pos);

    flows->release_pos = rc != 0 ? pos : 0;
    if (rc != 0) {
        end_ms = mq_clock_mono_ms();
        pause_ms = (end_ms - begin_ms) * RELEASE_PART;
        flows->release_at_ms = end_ms + (pause_ms > RELEASE_MS ? pause_ms : RELEASE_MS);
        flow_wake_at(&flows->env, flows->release_at_ms);
    }
    return rc;
}

static void go_on_releasing(struct flows *flows)
{
    if (flows->release_pos == 0) {
        return;
    }
    if (mq_clock_mono_ms() >= flows->release_at_ms) {
        (void)release_below(flows, flows->release_pos);
    } else {
        flow_wake_at(&flows->env, flows->release_at_ms);
    }
}

int flows_init(struct flows *flows, struct net_loop *loop, struct state *state, struct sequencer *sequencer,
               const struct flow_rules *rules)
{
    *flows = (struct flows){.env = {.loop = loop, .state = state, .store = state->store, .sequencer = sequencer}};
    flows->env.alarm = &flows->alarm;
    flows->alarm.loop = loop;
    flows->alarm.at_ms = UINT64_MAX;
    uv_timer_init(&loop->uv, &flows->alarm.timer);
    flows->alarm.timer.data = &flows->alarm;
    retention_init(&flows->retention, &rules->retention, state, rules->dir);
    flows->retention.sequencer = sequencer;
    flows->retention.release_below = release_below;
    flows->retention.release_data = flows;
    half_flow_init(&flows->half, &flows->env, &rules->half);
    pending_init(&flows->pending, &flows->env);
    pop_revive_init(&flows->pop_revive, &flows->env);
    order_wake_init(&flows->order_wake, &flows->env);
    return 0;
}

void flows_lead(struct flows *flows)
{
    flows->leading = true;
    half_flow_lead(&flows->half);
    pending_lead(&flows->pending);
    pop_revive_lead(&flows->pop_revive);
    order_wake_lead(&flows->order_wake);
}

void flows_rest(struct flows *flows)
{
    flows->leading = false;
    flows->release_pos = 0;
    half_flow_rest(&flows->half);
    pending_rest(&flows->pending);
    pop_revive_rest(&flows->pop_revive);
    order_wake_rest(&flows->order_wake);
}

void flows_turn(struct flows *flows)
{
    retention_turn(&flows->retention);
    go_on_releasing(flows);
    half_flow_turn(&flows->half);
    pending_turn(&flows->pending);
    pop_revive_turn(&flows->pop_revive);
    order_wake_turn(&flows->order_wake);
}

void flows_log_start_moved(struct flows *flows, uint64_t pos)
{
    retention_moved(&flows->retention, pos);
}

void flows_look_at_retention(struct flows *flows)
{
    if (flows->leading) {
        retention_tick(&flows->retention);
    }
}

static void on_alarm_closed(uv_handle_t *handle)
{
    struct flows *flows = container_of((struct flow_alarm *)handle->data, struct flows, alarm);

    flows->closed(flows->closed_data);
}

void flows_close(struct flows *flows, void (*closed)(void *data), void *data)
{
    flows_rest(flows);
    flows->closed = closed;
    flows->closed_data = data;
    uv_close((uv_handle_t *)&flows->alarm.timer, on_alarm_closed);
}
