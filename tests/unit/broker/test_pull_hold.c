/* The hold with queues and channels of the test's own: arrival, time, limits, and ends in every order. */
#include "tests/unit/broker/channels.h"

#include "broker/flow/pull_hold.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

struct world {
    struct net_loop loop;
    struct store store;
    struct queue queue, other;
    struct pull_hold *hold;
    struct net_channel *a, *b;
    uint32_t woken;
    int32_t opaques; /* the sum of those woken */
    bool gone;
};

static void on_wake(void *data, struct pull_parked *parked)
{
    struct world *w = data;

    w->woken++;
    w->opaques += parked->opaque;
}

static void world_open(struct world *w)
{
    *w = (struct world){.a = channel_new(), .b = channel_new()};
    assert_int_equal(net_loop_init(&w->loop), 0);
    assert_int_equal(pull_hold_new(&w->loop, &w->store, on_wake, w, &w->hold), 0);
}

static void on_gone(void *data)
{
    *(bool *)data = true;
}

static void world_close(struct world *w)
{
    pull_hold_free(w->hold, on_gone, &w->gone);
    while (!w->gone) {
        uv_run(&w->loop.uv, UV_RUN_ONCE);
    }
    assert_null(w->queue.waiters);
    assert_null(w->other.waiters);
    net_loop_fini(&w->loop);
    channel_free(w->a);
    channel_free(w->b);
}

static int park(struct world *w, struct net_channel *ch, struct queue *queue, int32_t opaque, uint64_t wait_ms,
                struct message_filter *filter)
{
    struct pull_parked request = {.ch = ch,
                                  .opaque = opaque,
                                  .queue = queue,
                                  .qoff = queue->cq.max,
                                  .deadline_ms = mq_clock_mono_ms() + wait_ms,
                                  .filter = filter};

    return pull_hold_park(w->hold, &request);
}

/* A message with that tag code becomes visible, and the turn ends. */
static void arrive(struct world *w, struct queue *queue, int64_t tags_code)
{
    queue->cq.max++;
    w->store.arrived(w->store.arrived_data, queue, tags_code, NULL, 0);
}

static void end_turn(struct world *w)
{
    uv_run(&w->loop.uv, UV_RUN_NOWAIT);
}

static void a_message_wakes_those_who_want_it_at_the_end_of_the_turn(void **state)
{
    struct message_filter red = {.refs = 1, .tags = {.count = 1, .codes = {7}}};
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(park(&w, w.a, &w.queue, 1, 60000, NULL), 0);
    assert_int_equal(park(&w, w.b, &w.queue, 10, 60000, &red), 0);
    assert_int_equal(park(&w, w.b, &w.other, 100, 60000, NULL), 0);
    arrive(&w, &w.queue, 8);
    assert_int_equal(w.woken, 0); /* not while the entry is applied */
    end_turn(&w);
    assert_int_equal(w.opaques, 1);
    arrive(&w, &w.queue, 7);
    end_turn(&w);
    assert_int_equal(w.opaques, 11);
    assert_int_equal(pull_hold_count(w.hold), 1);
    world_close(&w);
}

/* A follower parks pulls beyond its end. */
static void a_pull_ahead_of_the_queue_waits_for_its_own_message(void **state)
{
    struct pull_parked ahead = {.opaque = 1, .qoff = 2, .deadline_ms = mq_clock_mono_ms() + 60000};
    struct world w;

    (void)state;
    world_open(&w);
    ahead.ch = w.a;
    ahead.queue = &w.queue;
    assert_int_equal(pull_hold_park(w.hold, &ahead), 0);
    for (uint32_t i = 1; i <= 3; i++) {
        arrive(&w, &w.queue, 0);
        end_turn(&w);
        assert_int_equal(w.woken, i == 3);
    }
    world_close(&w);
}

static void time_that_is_up_wakes_in_its_tick_and_not_before(void **state)
{
    static const uint64_t waits_ms[] = {0, 1, 99, 100, 101, 15000, 60000, 120000, 500000};
    struct world w;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(waits_ms); i++) {
        uint64_t wait_ms = waits_ms[i] < PULL_HOLD_MS_MAX ? waits_ms[i] : PULL_HOLD_MS_MAX;
        uint64_t before;

        world_open(&w);
        before = mq_clock_mono_ms();
        assert_int_equal(park(&w, w.a, &w.queue, 1, waits_ms[i], NULL), 0);
        if (wait_ms >= 100) {
            pull_hold_sweep(w.hold, before + wait_ms - 100);
            assert_int_equal(w.woken, 0);
        }
        pull_hold_sweep(w.hold, mq_clock_mono_ms() + wait_ms + 200);
        assert_int_equal(w.woken, 1);
        assert_int_equal(pull_hold_count(w.hold), 0);
        world_close(&w);
    }
}

static void a_long_pause_wakes_everybody_once(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (int32_t i = 0; i < 100; i++) {
        assert_int_equal(park(&w, w.a, &w.queue, 1, (uint64_t)i * 1000, NULL), 0);
    }
    pull_hold_sweep(w.hold, mq_clock_mono_ms() + 3600000);
    assert_int_equal(w.woken, 100);
    pull_hold_sweep(w.hold, mq_clock_mono_ms()); /* a clock that seems to go back changes nothing */
    assert_int_equal(park(&w, w.a, &w.queue, 1, 10, NULL), 0);
    pull_hold_sweep(w.hold, mq_clock_mono_ms() + 3601000);
    assert_int_equal(w.woken, 101);
    world_close(&w);
}

static void what_a_connection_parked_goes_with_it(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(park(&w, i % 2 == 0 ? w.a : w.b, i % 3 == 0 ? &w.queue : &w.other, 1, 60000, NULL), 0);
    }
    pull_hold_channel_closed(w.hold, w.a);
    assert_int_equal(w.a->refs, 1);
    assert_int_equal(pull_hold_count(w.hold), 5);
    pull_hold_channel_closed(w.hold, w.a);
    arrive(&w, &w.queue, 0);
    arrive(&w, &w.other, 0);
    end_turn(&w);
    assert_int_equal(w.woken, 5);
    world_close(&w);
}

static void a_dead_connection_is_not_handed_up(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(park(&w, w.a, &w.queue, 1, 60000, NULL), 0);
    arrive(&w, &w.queue, 0);
    w.a->dead = true; /* between arrival and the end of the turn */
    end_turn(&w);
    assert_int_equal(w.woken, 0);
    world_close(&w);
}

static void what_waits_when_the_hold_ends_is_dropped(void **state)
{
    struct message_filter red = {.refs = 1, .tags = {.count = 1, .codes = {7}}};
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(park(&w, w.a, &w.queue, 1, 60000, &red), 0);
    assert_int_equal(park(&w, w.b, &w.other, 1, 60000, NULL), 0);
    arrive(&w, &w.other, 0); /* woken, and not yet handed up */
    world_close(&w);
    assert_int_equal(w.woken, 0);
}

static void one_connection_does_not_take_all_the_room(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (uint32_t i = 0; i < PULL_HOLD_CHANNEL_MAX; i++) {
        assert_int_equal(park(&w, w.a, &w.queue, 1, 60000, NULL), 0);
    }
    assert_int_equal(park(&w, w.a, &w.queue, 1, 60000, NULL), MQ_EBUSY);
    assert_int_equal(park(&w, w.b, &w.queue, 1, 60000, NULL), 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_wakes_those_who_want_it_at_the_end_of_the_turn),
        cmocka_unit_test(a_pull_ahead_of_the_queue_waits_for_its_own_message),
        cmocka_unit_test(time_that_is_up_wakes_in_its_tick_and_not_before),
        cmocka_unit_test(a_long_pause_wakes_everybody_once),
        cmocka_unit_test(what_a_connection_parked_goes_with_it),
        cmocka_unit_test(a_dead_connection_is_not_handed_up),
        cmocka_unit_test(what_waits_when_the_hold_ends_is_dropped),
        cmocka_unit_test(one_connection_does_not_take_all_the_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
