/* What runs inside only notes what it saw; it is judged outside. */
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "tests/sim/world/machine.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

static struct machine *machine;
static struct {
    char seen[4096];
    size_t n;
    uint64_t at_ms[64];
    size_t n_at;
    enum process_end how;
    int code, ends;
} note;

static void see(const char *what)
{
    note.n += (size_t)snprintf(note.seen + note.n, sizeof(note.seen) - note.n, "%s%s", note.n > 0 ? " " : "", what);
}

static void see_time(void)
{
    note.at_ms[note.n_at++] = world_now() / NS_PER_MS;
}

static void on_end(void *data, struct process *process, enum process_end how, int code)
{
    (void)data;
    (void)process;
    note.how = how;
    note.code = code;
    note.ends++;
}

static int begin(void **state)
{
    (void)state;
    memset(&note, 0, sizeof(note));
    world_open(3);
    machine = machine_new("m", "10.0.0.1");
    machine_on_end(machine, on_end, NULL);
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_close();
    return 0;
}

/* ---- fibers and threads ---- */

static int sleeper(void *data)
{
    for (int i = 0; i < 3; i++) {
        process_sleep(10 * NS_PER_MS);
        see(data);
    }
    return 5;
}

static void processes_take_turns_where_they_wait(void **state)
{
    struct process *b;

    (void)state;
    process_start(machine, "a", sleeper, (void *)"a");
    assert_true(world_run_until(5 * NS_PER_MS));
    b = process_start(machine, "b", sleeper, (void *)"b");
    assert_true(world_run_until(NS_PER_S));
    assert_string_equal(note.seen, "a b a b a b");
    assert_false(process_alive(b));
    assert_int_equal(note.how, PROCESS_RETURNED);
    assert_int_equal(note.code, 5);
    assert_int_equal(note.ends, 2);
}

struct shared {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int tokens;
};

static void *taker(void *data)
{
    struct shared *s = data;

    pthread_mutex_lock(&s->lock);
    while (s->tokens == 0) {
        pthread_cond_wait(&s->cond, &s->lock);
    }
    s->tokens--;
    see("taken");
    pthread_mutex_unlock(&s->lock);
    return data;
}

static int giver(void *data)
{
    struct shared s = {.tokens = 0};
    pthread_t threads[3];
    void *result;

    (void)data;
    pthread_mutex_init(&s.lock, NULL);
    pthread_cond_init(&s.cond, NULL);
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, taker, &s);
    }
    process_sleep(NS_PER_MS);
    pthread_mutex_lock(&s.lock);
    s.tokens = 3;
    see("given");
    pthread_cond_signal(&s.cond);
    pthread_cond_broadcast(&s.cond);
    process_sleep(NS_PER_MS); /* the others wait for the mutex now */
    see("unlocked");
    pthread_mutex_unlock(&s.lock);
    process_sleep(NS_PER_MS);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], &result);
        see(result == &s ? "joined" : "lost");
    }
    pthread_cond_destroy(&s.cond);
    pthread_mutex_destroy(&s.lock);
    return 0;
}

static void threads_meet_at_mutexes_and_condition_variables(void **state)
{
    (void)state;
    process_start(machine, "p", giver, NULL);
    assert_true(world_run_until(NS_PER_S));
    assert_string_equal(note.seen, "given unlocked taken taken taken joined joined joined");
    assert_int_equal(note.ends, 1);
}

static int timed_waiter(void *data)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_condattr_t attr;
    pthread_cond_t cond;
    uint64_t until = mq_clock_mono_ns() + 30 * NS_PER_MS;
    struct timespec at = {(time_t)(until / NS_PER_S), (long)(until % NS_PER_S)};

    (void)data;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&cond, &attr);
    pthread_mutex_lock(&lock);
    see(pthread_cond_timedwait(&cond, &lock, &at) == ETIMEDOUT ? "late" : "woken");
    see_time();
    return 0;
}

static void a_timed_wait_ends_at_its_time(void **state)
{
    (void)state;
    process_start(machine, "p", timed_waiter, NULL);
    assert_true(world_run_until(NS_PER_S));
    assert_string_equal(note.seen, "late");
    assert_int_equal(note.at_ms[0], 30);
}

/* ---- ends ---- */

static void *kept; /* allocated outside of the process that made it */

static int hoarder(void *data)
{
    struct process *before;

    for (int i = 0; i < 100; i++) {
        void *at = malloc(1000);

        at = realloc(at, 2000);
        (void)at;
    }
    before = world_outside_begin();
    kept = malloc(10);
    world_outside_end(before);
    memcpy(kept, "survives", 9);
    see("allocated");
    for (;;) {
        process_sleep(NS_PER_MS);
        *(int *)data += 1;
    }
    return 0;
}

static void a_killed_process_is_gone_with_its_memory(void **state)
{
    struct process *process;
    int turns = 0, then;

    (void)state;
    process = process_start(machine, "p", hoarder, &turns);
    assert_true(world_run_until(10 * NS_PER_MS));
    assert_string_equal(note.seen, "allocated");
    assert_true(process_heap_bytes(process) >= 200000);
    then = turns;
    assert_true(then > 5);
    process_kill(process);
    assert_false(process_alive(process));
    assert_int_equal(process_heap_bytes(process), 0);
    assert_int_equal(note.how, PROCESS_KILLED);
    assert_true(world_run_until(NS_PER_S));
    assert_int_equal(turns, then);
    assert_string_equal(kept, "survives");
    free(kept);
}

static int exiting(void *data)
{
    (void)data;
    _exit(9);
}

static void exit_inside_ends_the_process_alone(void **state)
{
    (void)state;
    process_start(machine, "p", exiting, NULL);
    assert_true(world_run_until(NS_PER_S));
    assert_int_equal(note.how, PROCESS_EXITED);
    assert_int_equal(note.code, 9);
}

static int failing(void *data)
{
    MQ_ASSERT(data != NULL);
    see("went on");
    return 0;
}

static void a_failed_assertion_inside_fails_the_run(void **state)
{
    (void)state;
    process_start(machine, "p", failing, NULL);
    assert_false(world_run_until(NS_PER_S));
    assert_non_null(strstr(world_failure(), "data != NULL"));
    assert_int_equal(note.n, 0);
}

static void a_paused_process_goes_on_where_it_was(void **state)
{
    struct process *process = process_start(machine, "p", sleeper, (void *)"x");

    (void)state;
    assert_true(world_run_until(15 * NS_PER_MS));
    process_pause(process);
    assert_true(world_run_until(NS_PER_S));
    assert_string_equal(note.seen, "x");
    process_resume(process);
    assert_true(world_run_until(2 * NS_PER_S));
    assert_string_equal(note.seen, "x x x");
}

/* ---- clocks and loops ---- */

static void drift_bends_clocks_and_a_jump_moves_only_the_wall(void **state)
{
    uint64_t mono = machine_mono_ns(machine);
    int64_t wall = machine_wall_ns(machine);

    (void)state;
    machine_set_drift(machine, 100000); /* a tenth too fast */
    assert_true(world_run_until(10 * NS_PER_S));
    assert_int_equal(machine_mono_ns(machine) - mono, 11 * NS_PER_S);
    machine_jump_wall(machine, -(int64_t)NS_PER_S);
    assert_int_equal(machine_mono_ns(machine) - mono, 11 * NS_PER_S);
    assert_int_equal(machine_wall_ns(machine) - wall, 10 * NS_PER_S);
}

static void on_timer(uv_timer_t *timer)
{
    see(timer->data);
    see_time();
}

static int timers(void *data)
{
    uv_loop_t loop;
    uv_timer_t a, b, c;

    (void)data;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &a);
    uv_timer_init(&loop, &b);
    uv_timer_init(&loop, &c);
    a.data = (void *)"a";
    b.data = (void *)"b";
    c.data = (void *)"c";
    uv_timer_start(&c, on_timer, 30, 0);
    uv_timer_start(&a, on_timer, 90, 0);
    uv_timer_start(&b, on_timer, 20, 0);
    uv_timer_start(&a, on_timer, 10, 0); /* moved to the front */
    uv_timer_start(&c, on_timer, 20, 0); /* behind b, which was set before */
    see(uv_run(&loop, UV_RUN_DEFAULT) == 0 ? "done" : "alive");
    uv_close((uv_handle_t *)&a, NULL);
    uv_close((uv_handle_t *)&b, NULL);
    uv_close((uv_handle_t *)&c, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void timers_fire_by_time_and_then_by_order(void **state)
{
    (void)state;
    process_start(machine, "p", timers, NULL);
    assert_true(world_run_until(NS_PER_S));
    assert_string_equal(note.seen, "a b c done");
    assert_in_range(note.at_ms[0], 9, 11);
    assert_in_range(note.at_ms[2], 19, 21);
    assert_int_equal(note.how, PROCESS_RETURNED);
    assert_int_equal(note.code, 0);
}

static void work(uv_work_t *req)
{
    (void)req;
    process_sleep(100 * NS_PER_MS);
}

static void after(uv_work_t *req, int status)
{
    (void)req;
    see(status == 0 ? "done" : "cancelled");
    see_time();
}

static int worker(void *data)
{
    uv_loop_t loop;
    uv_work_t reqs[6];

    (void)data;
    uv_loop_init(&loop);
    for (size_t i = 0; i < ARRAY_SIZE(reqs); i++) {
        uv_queue_work(&loop, &reqs[i], work, after);
    }
    uv_cancel((uv_req_t *)&reqs[5]);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void four_pieces_of_work_run_at_a_time(void **state)
{
    (void)state;
    process_start(machine, "p", worker, NULL);
    assert_true(world_run_until(NS_PER_S));
    assert_string_equal(note.seen, "cancelled done done done done done");
    assert_in_range(note.at_ms[4], 100, 101);
    assert_in_range(note.at_ms[5], 200, 202);
    assert_int_equal(note.code, 0);
}

static int waiting_loop(void *data)
{
    uv_loop_t loop;
    uv_timer_t timer;

    (void)data;
    uv_loop_init(&loop);
    uv_timer_init(&loop, &timer);
    timer.data = (void *)"never";
    uv_timer_start(&timer, on_timer, 1000000, 0);
    return uv_run(&loop, UV_RUN_DEFAULT);
}

static void on_call(void *data)
{
    see(data);
    see(process_name(process_current()));
}

static void the_world_can_call_into_a_loop(void **state)
{
    struct process *process = process_start(machine, "p", waiting_loop, NULL);

    (void)state;
    assert_false(process_call(process, on_call, (void *)"early"));
    assert_true(world_run_until(NS_PER_MS));
    assert_true(process_call(process, on_call, (void *)"one"));
    assert_true(process_call(process, on_call, (void *)"two"));
    assert_int_equal(note.n, 0);
    assert_true(world_run_until(2 * NS_PER_MS));
    assert_string_equal(note.seen, "one p two p");
    process_kill(process);
    assert_false(process_call(process, on_call, (void *)"late"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(processes_take_turns_where_they_wait),  TEST(threads_meet_at_mutexes_and_condition_variables),
        TEST(a_timed_wait_ends_at_its_time),         TEST(a_killed_process_is_gone_with_its_memory),
        TEST(exit_inside_ends_the_process_alone),    TEST(a_failed_assertion_inside_fails_the_run),
        TEST(a_paused_process_goes_on_where_it_was), TEST(drift_bends_clocks_and_a_jump_moves_only_the_wall),
        TEST(timers_fire_by_time_and_then_by_order), TEST(four_pieces_of_work_run_at_a_time),
        TEST(the_world_can_call_into_a_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
