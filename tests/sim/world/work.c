/* libuv's pool: uv_queue_work and name look-ups, on up to four fibers of each process. */
#include "remoting/base/assert.h"
#include "tests/sim/world/threads.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define WORK_MIN_NS (5 * NS_PER_US) /* from uv_queue_work to its start on the pool */
#define WORK_MAX_NS (200 * NS_PER_US)

enum work_state { WORK_WAITING = 1, WORK_RUNNING, WORK_DONE, WORK_CANCELLED };

/* Over the fields of uv__work. */
struct work {
    struct node node; /* in pool_queue, then in work_done */
    struct sim_loop *loop;
    uv_req_t *req;
    void (*run)(uv_req_t *req);
    enum work_state state;
};

/* In the request, where libuv keeps what it needs itself: uv_req_t has six words for it. */
_Static_assert(sizeof(struct work) <= sizeof(((uv_req_t *)0)->reserved), "fits");

static struct work *work_of(uv_req_t *req)
{
    return (struct work *)req->reserved;
}

static void set_idle(struct process *process, bool idle)
{
    for (unsigned i = 0; i < ARRAY_SIZE(process->pool); i++) {
        if (process->pool[i] == fiber_current()) {
            process->pool_idle = idle ? process->pool_idle | 1u << i : process->pool_idle & ~(1u << i);
        }
    }
}

static void *pool_body(void *data)
{
    struct process *process = data;

    for (;;) {
        struct work *work;

        while (list_empty(&process->pool_queue)) {
            set_idle(process, true);
            fiber_block();
        }
        set_idle(process, false);
        work = (struct work *)process->pool_queue.next;
        list_remove(&work->node);
        work->state = WORK_RUNNING;
        process_sleep(rng_between(world_rng(), WORK_MIN_NS, WORK_MAX_NS));
        work->run(work->req);
        work->state = WORK_DONE;
        list_append(&work->loop->work_done, &work->node);
        loop_make_ready(work->loop, &work->loop->work_ready);
    }
    return NULL;
}

/* One worker takes what was put into the queue: one that has nothing to do, or a new one. */
static void wake_pool(struct process *process)
{
    for (unsigned i = 0; i < ARRAY_SIZE(process->pool); i++) {
        if (process->pool[i] == NULL) {
            process->pool[i] = thread_new(process, "pool", pool_body, process)->fiber;
            process->pool_idle |= 1u << i;
        }
        if ((process->pool_idle & 1u << i) != 0) {
            process->pool_idle &= ~(1u << i);
            fiber_wake_soon(process->pool[i]);
            return;
        }
    }
}

static void submit(uv_loop_t *uv, uv_req_t *req, void (*run)(uv_req_t *req))
{
    struct sim_loop *loop = loop_of(uv);
    struct process *process = loop->process;
    struct work *work = work_of(req);

    *work = (struct work){.loop = loop, .req = req, .run = run, .state = WORK_WAITING};
    list_append(&process->pool_queue, &work->node);
    uv->active_reqs.count++;
    wake_pool(process);
}

static void run_work(uv_req_t *req)
{
    uv_work_t *work = (uv_work_t *)req;

    work->work_cb(work);
}

int uv_queue_work(uv_loop_t *uv, uv_work_t *req, uv_work_cb work_cb, uv_after_work_cb after)
{
    if (work_cb == NULL) {
        return UV_EINVAL;
    }
    req->type = UV_WORK;
    req->loop = uv;
    req->work_cb = work_cb;
    req->after_work_cb = after;
    submit(uv, (uv_req_t *)req, run_work);
    return 0;
}

int uv_cancel(uv_req_t *req)
{
    struct work *work = work_of(req);

    if (req->type != UV_WORK && req->type != UV_GETADDRINFO) {
        return UV_EINVAL;
    }
    if (work->state != WORK_WAITING) {
        return UV_EBUSY;
    }
    list_remove(&work->node);
    work->state = WORK_CANCELLED;
    list_append(&work->loop->work_done, &work->node);
    loop_make_ready(work->loop, &work->loop->work_ready);
    return 0;
}

static void end_work(uv_req_t *req, int status)
{
    if (req->type == UV_WORK) {
        uv_work_t *work = (uv_work_t *)req;

        if (work->after_work_cb != NULL) {
            work->after_work_cb(work, status);
        }
    } else {
        uv_getaddrinfo_t *look = (uv_getaddrinfo_t *)req;
        struct addrinfo *found = look->addrinfo;

        free(look->hostname);
        look->cb(look, status != 0 ? UV_EAI_CANCELED : look->retcode, found);
    }
}

void work_run_done(struct ready *ready)
{
    struct sim_loop *loop = container_of(ready, struct sim_loop, work_ready);
    struct node now;

    list_move(&loop->work_done, &now);
    while (!list_empty(&now)) {
        struct work *work = (struct work *)now.next;
        int status = work->state == WORK_CANCELLED ? UV_ECANCELED : 0;

        list_remove(&work->node);
        loop->uv->active_reqs.count--;
        end_work(work->req, status);
    }
}

/* ---- names ---- */

static void run_look_up(uv_req_t *req)
{
    uv_getaddrinfo_t *look = (uv_getaddrinfo_t *)req;
    int rc = getaddrinfo(look->hostname, look->service, NULL, &look->addrinfo);

    look->retcode = rc == 0 ? 0 : UV_EAI_NONAME;
}

int uv_getaddrinfo(uv_loop_t *uv, uv_getaddrinfo_t *req, uv_getaddrinfo_cb cb, const char *host, const char *service,
                   const struct addrinfo *hints)
{
    size_t n = strlen(host) + 1, m = service != NULL ? strlen(service) + 1 : 0;
    char *names = malloc(n + m);

    (void)hints;
    if (names == NULL) {
        return UV_ENOMEM;
    }
    memcpy(names, host, n);
    if (m > 0) {
        memcpy(names + n, service, m);
    }
    req->type = UV_GETADDRINFO;
    req->loop = uv;
    req->cb = cb;
    req->hostname = names;
    req->service = m > 0 ? names + n : NULL;
    req->addrinfo = NULL;
    submit(uv, (uv_req_t *)req, run_look_up);
    return 0;
}

void uv_freeaddrinfo(struct addrinfo *list)
{
    if (list != NULL) {
        freeaddrinfo(list);
    }
}
