/* libuv's loop, timers, hooks and asyncs, as 1.44 runs them:
 *
 *   timers -> pending -> idle -> prepare -> poll -> check -> closing
 *
 * poll lets the time of one turn pass even when it does not wait, so that a loop that is kept awake moves the clock.
 */
#include "remoting/base/assert.h"
#include "tests/sim/world/inside.h"

#include <stdlib.h>
#include <string.h>

struct sim_loop *loop_of(const uv_loop_t *uv)
{
    return uv->internal_fields;
}

/* Nodes in the fields that libuv keeps for itself. */
#define NODE(handle) ((struct node *)(handle)->queue)
#define TIMER_NODE(timer) ((struct node *)(timer)->heap_node)
#define OF_NODE(at, type, field) container_of(at, type, field)

void loop_make_ready(struct sim_loop *loop, struct ready *ready)
{
    if (list_empty(&ready->node)) {
        list_append(&loop->ready, &ready->node);
    }
    if (loop->waiting != NULL) {
        fiber_wake_soon(loop->waiting);
    }
}

/* ---- handles ---- */

void handle_init(uv_loop_t *uv, uv_handle_t *handle, uv_handle_type type)
{
    handle->loop = uv;
    handle->type = type;
    handle->flags = HANDLE_REF;
    handle->close_cb = NULL;
    handle->next_closing = NULL;
}

void handle_start(uv_handle_t *handle)
{
    if ((handle->flags & HANDLE_ACTIVE) == 0) {
        handle->flags |= HANDLE_ACTIVE;
        handle->loop->active_handles += (handle->flags & HANDLE_REF) != 0;
    }
}

void handle_stop(uv_handle_t *handle)
{
    if ((handle->flags & HANDLE_ACTIVE) != 0) {
        handle->flags &= ~HANDLE_ACTIVE;
        handle->loop->active_handles -= (handle->flags & HANDLE_REF) != 0;
    }
}

void uv_ref(uv_handle_t *handle)
{
    if ((handle->flags & HANDLE_REF) == 0) {
        handle->flags |= HANDLE_REF;
        handle->loop->active_handles += (handle->flags & HANDLE_ACTIVE) != 0;
    }
}

void uv_unref(uv_handle_t *handle)
{
    if ((handle->flags & HANDLE_REF) != 0) {
        handle->flags &= ~HANDLE_REF;
        handle->loop->active_handles -= (handle->flags & HANDLE_ACTIVE) != 0;
    }
}

int uv_has_ref(const uv_handle_t *handle)
{
    return (handle->flags & HANDLE_REF) != 0;
}

int uv_is_active(const uv_handle_t *handle)
{
    return (handle->flags & HANDLE_ACTIVE) != 0;
}

int uv_is_closing(const uv_handle_t *handle)
{
    return (handle->flags & (HANDLE_CLOSING | HANDLE_CLOSED)) != 0;
}

void uv_close(uv_handle_t *handle, uv_close_cb cb)
{
    struct sim_loop *loop = loop_of(handle->loop);

    MQ_ASSERT(!uv_is_closing(handle));
    handle->flags |= HANDLE_CLOSING;
    handle->close_cb = cb;
    switch (handle->type) {
    case UV_TIMER:
        uv_timer_stop((uv_timer_t *)handle);
        break;
    case UV_IDLE:
        uv_idle_stop((uv_idle_t *)handle);
        break;
    case UV_PREPARE:
        uv_prepare_stop((uv_prepare_t *)handle);
        break;
    case UV_CHECK:
        uv_check_stop((uv_check_t *)handle);
        break;
    case UV_ASYNC:
        list_remove(NODE((uv_async_t *)handle));
        handle_stop(handle);
        break;
    case UV_TCP:
        tcp_close((uv_tcp_t *)handle);
        break;
    default:
        MQ_ASSERT(!"a handle that is not simulated");
    }
    handle->next_closing = loop->closing;
    loop->closing = handle;
}

static void run_closing(struct sim_loop *loop)
{
    uv_handle_t *handle = loop->closing, *next;

    loop->closing = NULL;
    for (; handle != NULL; handle = next) {
        next = handle->next_closing;
        handle->flags |= HANDLE_CLOSED;
        if (handle->type == UV_TCP) {
            tcp_finish_close((uv_tcp_t *)handle);
        }
        if (handle->close_cb != NULL) {
            handle->close_cb(handle);
        }
    }
}

/* ---- idle, prepare, check ---- */

#define HOOK(name, TYPE, list)                                                                                       \
    int uv_##name##_init(uv_loop_t *uv, uv_##name##_t *handle)                                                       \
    {                                                                                                                \
        handle_init(uv, (uv_handle_t *)handle, TYPE);                                                                \
        list_init(NODE(handle));                                                                                     \
        handle->name##_cb = NULL;                                                                                    \
        return 0;                                                                                                    \
    }                                                                                                                \
                                                                                                                     \
    int uv_##name##_start(uv_##name##_t *handle, uv_##name##_cb cb)                                                  \
    {                                                                                                                \
        struct sim_loop *loop = loop_of(handle->loop);                                                               \
                                                                                                                     \
        if (uv_is_active((uv_handle_t *)handle)) {                                                                   \
            return 0;                                                                                                \
        }                                                                                                            \
        if (cb == NULL) {                                                                                            \
            return UV_EINVAL;                                                                                        \
        }                                                                                                            \
        /* libuv puts the newest first */                                                                            \
        list_append(loop->list.next, NODE(handle));                                                                  \
        handle->name##_cb = cb;                                                                                      \
        handle_start((uv_handle_t *)handle);                                                                         \
        return 0;                                                                                                    \
    }                                                                                                                \
                                                                                                                     \
    int uv_##name##_stop(uv_##name##_t *handle)                                                                      \
    {                                                                                                                \
        if (uv_is_active((uv_handle_t *)handle)) {                                                                   \
            list_remove(NODE(handle));                                                                               \
            handle_stop((uv_handle_t *)handle);                                                                      \
        }                                                                                                            \
        return 0;                                                                                                    \
    }                                                                                                                \
                                                                                                                     \
    static void run_##name(struct sim_loop *loop)                                                                    \
    {                                                                                                                \
        struct node now;                                                                                             \
                                                                                                                     \
        list_move(&loop->list, &now);                                                                                \
        while (!list_empty(&now)) {                                                                                  \
            uv_##name##_t *handle = OF_NODE(now.next, uv_##name##_t, queue);                                         \
                                                                                                                     \
            list_remove(NODE(handle));                                                                               \
            list_append(&loop->list, NODE(handle));                                                                  \
            handle->name##_cb(handle);                                                                               \
        }                                                                                                            \
    }

HOOK(idle, UV_IDLE, idle)
HOOK(prepare, UV_PREPARE, prepare)
HOOK(check, UV_CHECK, check)

/* ---- timers ---- */

int uv_timer_init(uv_loop_t *uv, uv_timer_t *timer)
{
    handle_init(uv, (uv_handle_t *)timer, UV_TIMER);
    list_init(TIMER_NODE(timer));
    timer->timer_cb = NULL;
    timer->timeout = 0;
    timer->repeat = 0;
    return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb cb, uint64_t timeout, uint64_t repeat)
{
    struct sim_loop *loop = loop_of(timer->loop);
    struct node *at;

    if (uv_is_closing((uv_handle_t *)timer) || cb == NULL) {
        return UV_EINVAL;
    }
    uv_timer_stop(timer);
    timer->timer_cb = cb;
    timer->timeout = loop->time_ms + timeout;
    if (timer->timeout < timeout) {
        timer->timeout = UINT64_MAX;
    }
    timer->repeat = repeat;
    timer->start_id = loop->timer_serial++;
    at = loop->timers.prev;
    while (at != &loop->timers && OF_NODE(at, uv_timer_t, heap_node)->timeout > timer->timeout) {
        at = at->prev;
    }
    list_append(at->next, TIMER_NODE(timer));
    handle_start((uv_handle_t *)timer);
    return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
    if (uv_is_active((uv_handle_t *)timer)) {
        list_remove(TIMER_NODE(timer));
        handle_stop((uv_handle_t *)timer);
    }
    return 0;
}

int uv_timer_again(uv_timer_t *timer)
{
    if (timer->timer_cb == NULL) {
        return UV_EINVAL;
    }
    if (timer->repeat != 0) {
        uv_timer_start(timer, timer->timer_cb, timer->repeat, timer->repeat);
    }
    return 0;
}

void uv_timer_set_repeat(uv_timer_t *timer, uint64_t repeat)
{
    timer->repeat = repeat;
}

uint64_t uv_timer_get_due_in(const uv_timer_t *timer)
{
    uint64_t now = loop_of(timer->loop)->time_ms;

    return timer->timeout > now ? timer->timeout - now : 0;
}

static void run_timers(struct sim_loop *loop)
{
    while (!list_empty(&loop->timers)) {
        uv_timer_t *timer = OF_NODE(loop->timers.next, uv_timer_t, heap_node);

        if (timer->timeout > loop->time_ms) {
            break;
        }
        uv_timer_stop(timer);
        uv_timer_again(timer);
        timer->timer_cb(timer);
    }
}

/* ---- async ---- */

static void run_async(struct ready *ready)
{
    struct sim_loop *loop = OF_NODE(ready, struct sim_loop, async_ready);
    struct node now;

    list_move(&loop->async, &now);
    while (!list_empty(&now)) {
        uv_async_t *async = OF_NODE(now.next, uv_async_t, queue);

        list_remove(NODE(async));
        list_append(&loop->async, NODE(async));
        if (async->pending != 0) {
            async->pending = 0;
            if (async->async_cb != NULL) {
                async->async_cb(async);
            }
        }
    }
}

int uv_async_init(uv_loop_t *uv, uv_async_t *async, uv_async_cb cb)
{
    handle_init(uv, (uv_handle_t *)async, UV_ASYNC);
    list_init(NODE(async));
    async->async_cb = cb;
    async->pending = 0;
    list_append(&loop_of(uv)->async, NODE(async));
    handle_start((uv_handle_t *)async);
    return 0;
}

int uv_async_send(uv_async_t *async)
{
    struct sim_loop *loop = loop_of(async->loop);

    if (async->pending == 0) {
        async->pending = 1;
        loop_make_ready(loop, &loop->async_ready);
    }
    return 0;
}

/* ---- calls from the world ---- */

struct call {
    struct node node; /* in process->calls */
    void (*cb)(void *data);
    void *data;
};

static void run_calls(struct ready *ready)
{
    struct sim_loop *loop = OF_NODE(ready, struct sim_loop, call_ready);
    struct process *process = loop->process;

    while (!list_empty(&process->calls)) {
        struct call *call = (struct call *)process->calls.next;
        struct call copy = *call;

        list_remove(&call->node);
        free(call);
        copy.cb(copy.data);
    }
}

bool process_call(struct process *process, void (*cb)(void *data), void *data)
{
    struct call *call;

    if (!process->alive || process->loop == NULL) {
        return false;
    }
    call = world_alloc(sizeof(*call));
    call->cb = cb;
    call->data = data;
    list_append(&process->calls, &call->node);
    loop_make_ready(process->loop, &process->loop->call_ready);
    return true;
}

/* ---- the loop ---- */

static void update_time(struct sim_loop *loop)
{
    loop->time_ms = machine_mono_ns(loop->process->machine) / NS_PER_MS;
}

static void run_pending(struct sim_loop *loop)
{
    struct node now;

    list_move(&loop->pending, &now);
    while (!list_empty(&now)) {
        struct pending *pending = (struct pending *)now.next;

        list_remove(&pending->node);
        pending->run(pending);
    }
}

int uv_loop_alive(const uv_loop_t *uv)
{
    return uv->active_handles > 0 || uv->active_reqs.count > 0 || loop_of(uv)->closing != NULL;
}

/* When poll must return: a time of the world, 0 for at once, UINT64_MAX for never. */
static uint64_t poll_until(const struct sim_loop *loop)
{
    const uv_timer_t *timer;
    uint64_t left_ms;

    if (loop->uv->stop_flag != 0 || (loop->uv->active_handles == 0 && loop->uv->active_reqs.count == 0) ||
        !list_empty(&loop->idle) || !list_empty(&loop->pending) || loop->closing != NULL) {
        return 0;
    }
    if (list_empty(&loop->timers)) {
        return UINT64_MAX;
    }
    timer = OF_NODE(loop->timers.next, uv_timer_t, heap_node);
    if (timer->timeout <= loop->time_ms) {
        return 0;
    }
    left_ms = timer->timeout - loop->time_ms;
    if (left_ms > UINT64_MAX / NS_PER_MS / 4) {
        return UINT64_MAX;
    }
    return machine_world_ns(loop->process->machine, machine_mono_ns(loop->process->machine) + left_ms * NS_PER_MS);
}

static void poll(struct sim_loop *loop, bool may_wait)
{
    uint64_t until = may_wait ? poll_until(loop) : 0;
    struct fiber *fiber = fiber_current();
    struct node now;

    if (until == 0 || !list_empty(&loop->ready)) {
        process_sleep(process_turn_ns(loop->process));
    } else {
        loop->waiting = fiber;
        fiber_set_alarm(fiber, until);
        fiber_block();
        loop->waiting = NULL;
        fiber_set_alarm(fiber, UINT64_MAX);
    }
    list_move(&loop->ready, &now);
    while (!list_empty(&now)) {
        struct ready *ready = (struct ready *)now.next;

        list_remove(&ready->node);
        ready->run(ready);
    }
}

int uv_run(uv_loop_t *uv, uv_run_mode mode)
{
    struct sim_loop *loop = loop_of(uv);
    int alive = uv_loop_alive(uv);

    MQ_ASSERT(fiber_current() != NULL);
    update_time(loop);
    while (alive && uv->stop_flag == 0) {
        bool ran_pending = !list_empty(&loop->pending);

        update_time(loop);
        run_timers(loop);
        run_pending(loop);
        run_idle(loop);
        run_prepare(loop);
        poll(loop, mode == UV_RUN_DEFAULT || (mode == UV_RUN_ONCE && !ran_pending));
        update_time(loop);
        run_check(loop);
        run_closing(loop);
        if (mode == UV_RUN_ONCE) {
            update_time(loop);
            run_timers(loop);
        }
        alive = uv_loop_alive(uv);
        if (mode != UV_RUN_DEFAULT) {
            break;
        }
    }
    uv->stop_flag = 0;
    return alive;
}

static void init_ready(struct ready *ready, void (*run)(struct ready *ready))
{
    list_init(&ready->node);
    ready->run = run;
}

int uv_loop_init(uv_loop_t *uv)
{
    struct process *process = process_current();
    struct sim_loop *loop;

    MQ_ASSERT(process != NULL);
    loop = calloc(1, sizeof(*loop)); /* goes with the process */
    if (loop == NULL) {
        return UV_ENOMEM;
    }
    memset(uv, 0, sizeof(*uv));
    uv->internal_fields = loop;
    loop->uv = uv;
    loop->process = process;
    list_init(&loop->ready);
    list_init(&loop->timers);
    list_init(&loop->idle);
    list_init(&loop->prepare);
    list_init(&loop->check);
    list_init(&loop->async);
    list_init(&loop->pending);
    list_init(&loop->work_done);
    init_ready(&loop->async_ready, run_async);
    init_ready(&loop->call_ready, run_calls);
    init_ready(&loop->work_ready, work_run_done);
    if (process->loop == NULL) {
        process->loop = loop;
    }
    update_time(loop);
    return 0;
}

int uv_loop_close(uv_loop_t *uv)
{
    struct sim_loop *loop = loop_of(uv);

    if (uv->active_reqs.count > 0 || uv->active_handles > 0 || loop->closing != NULL) {
        return UV_EBUSY;
    }
    if (loop->process->loop == loop) {
        loop->process->loop = NULL;
    }
    free(loop);
    return 0;
}

void uv_stop(uv_loop_t *uv)
{
    uv->stop_flag = 1;
}

uint64_t uv_now(const uv_loop_t *uv)
{
    return loop_of(uv)->time_ms;
}

void uv_update_time(uv_loop_t *uv)
{
    update_time(loop_of(uv));
}

uint64_t uv_hrtime(void)
{
    const struct process *process = process_current();

    return process != NULL ? machine_mono_ns(process->machine) : world_now();
}
