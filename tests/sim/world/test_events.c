#include "remoting/base/assert.h"
#include "tests/sim/world/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define EVENTS 1000

struct probe {
    struct world_event event;
    uint64_t number, fired_ns;
};

static struct probe *fired[EVENTS];
static size_t n_fired;

static void on_fired(struct world_event *event)
{
    struct probe *probe = container_of(event, struct probe, event);

    probe->fired_ns = world_now();
    fired[n_fired++] = probe;
}

static int begin(void **state)
{
    (void)state;
    n_fired = 0;
    world_open(7);
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_close();
    return 0;
}

static void events_of_one_instant_fire_in_the_order_in_which_they_were_set(void **state)
{
    struct probe probes[8] = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
        world_at(&probes[i].event, 100, on_fired);
    }
    assert_true(world_run_until(100));
    assert_int_equal(n_fired, ARRAY_SIZE(probes));
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++) {
        assert_ptr_equal(fired[i], &probes[i]);
    }
}

static void events_fire_by_time_whatever_is_moved_and_cancelled(void **state)
{
    struct probe *probes = calloc(EVENTS, sizeof(*probes));
    size_t left = 0;

    (void)state;
    for (size_t i = 0; i < EVENTS; i++) {
        world_at(&probes[i].event, rng_below(world_rng(), 500), on_fired);
    }
    for (size_t i = 0; i < EVENTS; i++) {
        if (i % 3 == 0) {
            world_at(&probes[i].event, rng_below(world_rng(), 500), on_fired);
        } else if (i % 3 == 1) {
            world_cancel(&probes[i].event);
        }
        left += i % 3 != 1;
    }
    assert_true(world_run_until(1000));
    assert_int_equal(n_fired, left);
    for (size_t i = 1; i < n_fired; i++) {
        const struct world_event *a = &fired[i - 1]->event, *b = &fired[i]->event;

        assert_true(a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->serial < b->serial));
        assert_int_equal(fired[i]->fired_ns, b->at_ns);
    }
    assert_int_equal(world_now(), 1000);
    free(probes);
}

static void an_event_in_the_past_fires_now(void **state)
{
    struct probe probe = {0};

    (void)state;
    assert_true(world_run_until(50));
    world_at(&probe.event, 10, on_fired);
    assert_true(world_step());
    assert_int_equal(probe.fired_ns, 50);
    assert_false(world_step());
}

static void on_failing(struct world_event *event)
{
    (void)event;
    world_fail("the first reason");
    world_fail("the second");
}

static void a_failed_run_stops_and_keeps_the_first_reason(void **state)
{
    struct probe bad = {0}, later = {0};

    (void)state;
    world_at(&bad.event, 1, on_failing);
    world_at(&later.event, 2, on_fired);
    assert_false(world_run_until(10));
    assert_string_equal(world_failure(), "the first reason");
    assert_int_equal(n_fired, 0);
    assert_int_equal(world_now(), 1);
    world_cancel(&later.event);
}

static void numbers_depend_on_seed_and_stream_alone(void **state)
{
    struct rng a, b, other_stream, other_seed;
    bool differs_by_stream = false, differs_by_seed = false;

    (void)state;
    rng_seed(&a, 1, 2);
    rng_seed(&b, 1, 2);
    rng_seed(&other_stream, 1, 3);
    rng_seed(&other_seed, 2, 2);
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_next(&a);

        assert_true(x == rng_next(&b));
        differs_by_stream |= x != rng_next(&other_stream);
        differs_by_seed |= x != rng_next(&other_seed);
    }
    assert_true(differs_by_stream && differs_by_seed);
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_between(&a, 5, 9);

        assert_in_range(x, 5, 9);
    }
    assert_int_equal(rng_between(&a, 3, 3), 3);
    assert_false(rng_chance(&a, 0));
    assert_true(rng_chance(&a, PPM));
}

static void the_hash_tells_different_traces_apart(void **state)
{
    uint64_t hashes[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        world_close();
        world_open(7);
        world_trace("a thing", i == 1, i == 2);
        world_tracef("number %d", i == 3);
        hashes[i] = world_trace_hash();
    }
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < i; k++) {
            assert_true(hashes[i] != hashes[k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_of_one_instant_fire_in_the_order_in_which_they_were_set, begin, end),
        cmocka_unit_test_setup_teardown(events_fire_by_time_whatever_is_moved_and_cancelled, begin, end),
        cmocka_unit_test_setup_teardown(an_event_in_the_past_fires_now, begin, end),
        cmocka_unit_test_setup_teardown(a_failed_run_stops_and_keeps_the_first_reason, begin, end),
        cmocka_unit_test_setup_teardown(numbers_depend_on_seed_and_stream_alone, begin, end),
        cmocka_unit_test_setup_teardown(the_hash_tells_different_traces_apart, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
