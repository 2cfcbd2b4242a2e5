#include "fixture.h"

#include "remoting/base/assert.h"

#include <signal.h>
#include <string.h>

/* Hooks that write their letter when they run. */
struct hook {
    struct net_turn turn;
    char letter;
    struct trace *trace;
    struct hook *removes; /* in its callback; NULL: none */
};

struct trace {
    char text[64];
    size_t len;
};

static void on_hook(struct net_turn *turn)
{
    struct hook *hook = container_of(turn, struct hook, turn);

    hook->trace->text[hook->trace->len++] = hook->letter;
    if (hook->removes != NULL) {
        net_turn_remove(&hook->removes->turn);
        hook->removes = NULL;
    }
}

/* One pass through the loop ends two turns: one before waiting for I/O and one after. */
static void run_one_pass(struct fixture *f)
{
    fixture_expect(f); /* a loop without an active handle makes no pass */
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

static void hooks_run_in_the_order_of_phase_and_adding(void **state)
{
    struct trace trace = {0};
    struct hook a = {.letter = 'a', .trace = &trace}, b = {.letter = 'b', .trace = &trace};
    struct hook x = {.letter = 'x', .trace = &trace}, y = {.letter = 'y', .trace = &trace};
    struct fixture f;

    (void)state;
    fixture_init(&f);
    net_turn_add(&f.loop, &x.turn, NET_PHASE_LAST, on_hook);
    net_turn_add(&f.loop, &a.turn, NET_PHASE_WORK, on_hook);
    net_turn_add(&f.loop, &b.turn, NET_PHASE_WORK, on_hook);
    net_turn_add(&f.loop, &y.turn, NET_PHASE_LAST, on_hook);
    run_one_pass(&f);
    assert_string_equal(trace.text, "abxyabxy");
    fixture_fini(&f);
}

static void a_hook_may_remove_itself_or_its_neighbour(void **state)
{
    static const struct {
        const char *why;
        int remover, removed;
        const char *want;
    } cases[] = {
        {"itself, the first", 0, 0, "abcbc"}, {"itself, the last", 2, 2, "abcab"}, {"the next one", 0, 1, "acac"},
        {"the one before", 1, 0, "abcbc"},    {"the last one", 1, 2, "abab"},
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct trace trace = {0};
        struct hook hooks[3] = {{.letter = 'a'}, {.letter = 'b'}, {.letter = 'c'}};

        print_message("%s\n", cases[i].why);
        fixture_init(&f);
        for (size_t h = 0; h < 3; h++) {
            hooks[h].trace = &trace;
            net_turn_add(&f.loop, &hooks[h].turn, NET_PHASE_WORK, on_hook);
        }
        hooks[cases[i].remover].removes = &hooks[cases[i].removed];
        run_one_pass(&f);
        assert_string_equal(trace.text, cases[i].want);
        fixture_fini(&f);
    }
}

static void a_loop_with_hooks_alone_ends_by_itself(void **state)
{
    struct trace trace = {0};
    struct hook a = {.letter = 'a', .trace = &trace};
    struct net_loop loop;

    (void)state;
    assert_int_equal(net_loop_init(&loop), 0);
    net_turn_add(&loop, &a.turn, NET_PHASE_WORK, on_hook);
    assert_int_equal(net_loop_run(&loop), 0);
    net_loop_fini(&loop);
}

/* A timer that writes its letter and stops the loop the second time. */
struct stopper {
    uv_timer_t timer;
    struct net_loop *loop;
    struct trace *trace;
    unsigned calls;
};

static void on_timer_stop(uv_timer_t *timer)
{
    struct stopper *stopper = container_of(timer, struct stopper, timer);

    stopper->trace->text[stopper->trace->len++] = 't';
    if (++stopper->calls == 2) {
        net_loop_stop(stopper->loop);
    }
}

static void stop_ends_a_running_loop_and_work_of_timers_is_seen_before_it_waits(void **state)
{
    struct trace trace = {0};
    struct hook a = {.letter = 'a', .trace = &trace};
    struct stopper stopper = {.trace = &trace};
    struct fixture f;

    (void)state;
    fixture_init(&f);
    net_turn_add(&f.loop, &a.turn, NET_PHASE_WORK, on_hook);
    stopper.loop = &f.loop;
    uv_timer_init(&f.loop.uv, &stopper.timer);
    uv_timer_start(&stopper.timer, on_timer_stop, 0, 1);
    net_loop_run(&f.loop);
    /* Up to libuv 1.44 a timer that stops the loop is followed by one more pass, since 1.45 by none. */
    assert_memory_equal(trace.text, "taat", 4);
    uv_close((uv_handle_t *)&stopper.timer, NULL);
    fixture_fini(&f);
}

static void a_broken_pipe_is_no_signal(void **state)
{
    struct sigaction action;
    struct fixture f;

    (void)state;
    signal(SIGPIPE, SIG_DFL);
    fixture_init(&f);
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_IGN);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hooks_run_in_the_order_of_phase_and_adding),
        cmocka_unit_test(a_hook_may_remove_itself_or_its_neighbour),
        cmocka_unit_test(a_loop_with_hooks_alone_ends_by_itself),
        cmocka_unit_test(stop_ends_a_running_loop_and_work_of_timers_is_seen_before_it_waits),
        cmocka_unit_test(a_broken_pipe_is_no_signal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
