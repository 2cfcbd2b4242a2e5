/* What the driver needs of the world: libuv's clock and timers, peers to send to, those who are told. */
#include "raft-log/rlog.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"

#include <sys/random.h>

static uint64_t env_now_ms(struct rlog_env *env)
{
    (void)env;
    return mq_clock_mono_ms();
}

static int64_t env_wall_ms(struct rlog_env *env)
{
    (void)env;
    return mq_clock_wall_ms();
}

static void on_check(uv_check_t *check)
{
    struct rlog *log = container_of(check, struct rlog, check);
    bool timer_due = log->timer_due;
    bool soon_due = log->soon_due;

    uv_idle_stop(&log->idle);
    uv_check_stop(&log->check);
    log->timer_due = log->soon_due = false;
    if (timer_due) {
        driver_timeout(&log->driver);
    }
    if (soon_due) {
        driver_continue(&log->driver);
    }
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* being active is all it does: the loop does not wait for input */
}

void rlog_come_back(struct rlog *log, uv_check_cb cb)
{
    uv_idle_start(&log->idle, on_idle);
    uv_check_start(&log->check, cb);
}

static void on_timer(uv_timer_t *timer)
{
    struct rlog *log = container_of(timer, struct rlog, timer);

    log->timer_due = true;
    rlog_come_back(log, on_check);
}

static void env_wake_at(struct rlog_env *env, uint64_t at_ms)
{
    struct rlog *log = container_of(env, struct rlog, env);
    uint64_t now = mq_clock_mono_ms();

    if (!log->closing) {
        uv_timer_start(&log->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
    }
}

static void env_soon(struct rlog_env *env)
{
    struct rlog *log = container_of(env, struct rlog, env);

    if (!log->closing) {
        log->soon_due = true;
        rlog_come_back(log, on_check);
    }
}

static void env_send(struct rlog_env *env, const struct core_message *message)
{
    struct rlog *log = container_of(env, struct rlog, env);
    struct peer *peer = log->closing ? NULL : peers_find(log->peers, message->peer);

    if (peer != NULL) {
        peer_out_send(peer, message);
    }
}

static void env_members(struct rlog_env *env)
{
    struct rlog *log = container_of(env, struct rlog, env);

    members_changed(&log->changes);
    rlog_state_members(log);
}

static void env_need_snapshot(struct rlog_env *env, uint32_t leader, uint64_t term, uint64_t index)
{
    struct rlog *log = container_of(env, struct rlog, env);

    if (!log->closing) {
        catchup_need(&log->catchup, leader, term, index);
    }
}

static void env_damaged(struct rlog_env *env, uint64_t index)
{
    rlog_on_damaged(container_of(env, struct rlog, env), index);
}

void rlog_env_init(struct rlog *log)
{
    log->env = (struct rlog_env){
        .now_ms = env_now_ms,
        .wall_ms = env_wall_ms,
        .wake_at = env_wake_at,
        .soon = env_soon,
        .send = env_send,
        .members = env_members,
        .checkpoint = rlog_state_checkpoint,
        .need_snapshot = env_need_snapshot,
        .damaged = env_damaged,
    };
}

uint32_t rlog_random_seed(void)
{
    uint32_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        seed = (uint32_t)mq_clock_mono_ns();
    }
    return seed;
}
