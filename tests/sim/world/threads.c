/* pthread_* as the linker's --wrap hands them over. Fibers give way only where they wait, so a mutex is a flag with a
 * queue and nothing here needs an atomic. Waiting fibers form lists through nodes on their own stacks; when a process
 * is killed, its mutexes, its lists and its stacks go together. */
#include "tests/sim/world/threads.h"

#include "remoting/base/assert.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*body)(void *), void *data);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_detach(pthread_t thread);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr);
int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __wrap_pthread_cond_init(pthread_cond_t *cond, const pthread_condattr_t *attr);
int __wrap_pthread_cond_destroy(pthread_cond_t *cond);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_pthread_cond_broadcast(pthread_cond_t *cond);

struct waiter {
    struct waiter *next;
    struct fiber *fiber;
    bool woken;
};

/* All zeros is what the static initialisers of the C library make, too. */
struct queue {
    struct waiter *first, *last;
};

struct sim_mutex {
    struct queue waiting;
    bool locked;
};

struct sim_cond {
    struct queue waiting;
    bool monotonic;
};

_Static_assert(sizeof(struct sim_mutex) <= sizeof(pthread_mutex_t), "fits");
_Static_assert(sizeof(struct sim_cond) <= sizeof(pthread_cond_t), "fits");

static void enqueue(struct queue *queue, struct waiter *waiter)
{
    waiter->next = NULL;
    if (queue->last != NULL) {
        queue->last->next = waiter;
    } else {
        queue->first = waiter;
    }
    queue->last = waiter;
}

static struct waiter *dequeue(struct queue *queue)
{
    struct waiter *waiter = queue->first;

    if (waiter != NULL) {
        queue->first = waiter->next;
        if (queue->first == NULL) {
            queue->last = NULL;
        }
    }
    return waiter;
}

static void drop(struct queue *queue, struct waiter *waiter)
{
    struct queue rest = {0};
    struct waiter *at;

    while ((at = dequeue(queue)) != NULL) {
        if (at != waiter) {
            enqueue(&rest, at);
        }
    }
    *queue = rest;
}

static bool wake_first(struct queue *queue)
{
    struct waiter *waiter = dequeue(queue);

    if (waiter == NULL) {
        return false;
    }
    waiter->woken = true;
    fiber_wake_soon(waiter->fiber);
    return true;
}

/* ---- threads ---- */

struct thread *thread_new(struct process *process, const char *name, void *(*body)(void *data), void *data)
{
    struct thread *thread = world_alloc(sizeof(*thread));

    thread->fiber = fiber_new(process, name, body, data);
    list_append(&process->fibers, &thread->node);
    return thread;
}

struct start {
    struct thread *thread;
    void *(*body)(void *data);
    void *data;
};

static void *thread_body(void *data)
{
    struct start start = *(struct start *)data;
    void *result;

    free(data);
    result = start.body(start.data);
    if (start.thread->joiner != NULL) {
        fiber_wake_soon(start.thread->joiner);
    }
    return result;
}

int __wrap_pthread_create(pthread_t *out, const pthread_attr_t *attr, void *(*body)(void *), void *data)
{
    struct process *process = process_current();
    struct start *start;

    (void)attr;
    MQ_ASSERT(process != NULL); /* the world itself has one thread */
    start = malloc(sizeof(*start));
    if (start == NULL) {
        return EAGAIN;
    }
    *start = (struct start){thread_new(process, "thread", thread_body, start), body, data};
    *out = (pthread_t)(uintptr_t)start->thread;
    fiber_wake_soon(start->thread->fiber);
    return 0;
}

int __wrap_pthread_join(pthread_t id, void **result)
{
    struct thread *thread = (struct thread *)(uintptr_t)id;

    while (!fiber_done(thread->fiber)) {
        thread->joiner = fiber_current();
        fiber_block();
    }
    if (result != NULL) {
        *result = fiber_result(thread->fiber);
    }
    list_remove(&thread->node);
    fiber_free(thread->fiber);
    free(thread);
    return 0;
}

int __wrap_pthread_detach(pthread_t id)
{
    ((struct thread *)(uintptr_t)id)->detached = true; /* it goes with the process */
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    (void)name;
    return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    (void)how;
    (void)set;
    if (old != NULL) {
        sigemptyset(old);
    }
    return 0;
}

/* ---- mutexes ---- */

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attr)
{
    (void)attr;
    *(struct sim_mutex *)mutex = (struct sim_mutex){0};
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    MQ_ASSERT(!((struct sim_mutex *)mutex)->locked);
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *at)
{
    struct sim_mutex *mutex = (struct sim_mutex *)at;

    while (mutex->locked) {
        struct waiter waiter = {.fiber = fiber_current()};

        MQ_ASSERT(waiter.fiber != NULL);
        enqueue(&mutex->waiting, &waiter);
        while (!waiter.woken) {
            fiber_block();
        }
    }
    mutex->locked = true;
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *at)
{
    struct sim_mutex *mutex = (struct sim_mutex *)at;

    if (mutex->locked) {
        return EBUSY;
    }
    mutex->locked = true;
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *at)
{
    struct sim_mutex *mutex = (struct sim_mutex *)at;

    MQ_ASSERT(mutex->locked);
    mutex->locked = false;
    wake_first(&mutex->waiting);
    return 0;
}

/* ---- condition variables ---- */

int __wrap_pthread_cond_init(pthread_cond_t *at, const pthread_condattr_t *attr)
{
    clockid_t clock = CLOCK_REALTIME;

    if (attr != NULL) {
        pthread_condattr_getclock(attr, &clock);
    }
    *(struct sim_cond *)at = (struct sim_cond){.monotonic = clock == CLOCK_MONOTONIC};
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *at)
{
    MQ_ASSERT(((struct sim_cond *)at)->waiting.first == NULL);
    return 0;
}

int __wrap_pthread_cond_wait(pthread_cond_t *at, pthread_mutex_t *mutex)
{
    struct sim_cond *cond = (struct sim_cond *)at;
    struct waiter waiter = {.fiber = fiber_current()};

    MQ_ASSERT(waiter.fiber != NULL);
    enqueue(&cond->waiting, &waiter);
    __wrap_pthread_mutex_unlock(mutex);
    while (!waiter.woken) {
        fiber_block();
    }
    return __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *at, pthread_mutex_t *mutex, const struct timespec *until)
{
    struct sim_cond *cond = (struct sim_cond *)at;
    struct waiter waiter = {.fiber = fiber_current()};
    const struct machine *machine = fiber_process(waiter.fiber)->machine;
    int64_t until_ns = (int64_t)until->tv_sec * (int64_t)NS_PER_S + until->tv_nsec;
    int64_t mono_ns = cond->monotonic ? until_ns : until_ns - machine->wall_offset_ns;
    uint64_t at_ns = machine_world_ns(machine, mono_ns > 0 ? (uint64_t)mono_ns : 0);

    enqueue(&cond->waiting, &waiter);
    __wrap_pthread_mutex_unlock(mutex);
    while (!waiter.woken && world_now() < at_ns) {
        fiber_wake(waiter.fiber, at_ns);
        fiber_block();
    }
    fiber_set_alarm(waiter.fiber, UINT64_MAX);
    if (!waiter.woken) {
        drop(&cond->waiting, &waiter);
    }
    __wrap_pthread_mutex_lock(mutex);
    return waiter.woken ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_signal(pthread_cond_t *at)
{
    wake_first(&((struct sim_cond *)at)->waiting);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *at)
{
    while (wake_first(&((struct sim_cond *)at)->waiting)) {
    }
    return 0;
}
