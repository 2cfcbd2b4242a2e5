#include "tests/unit/broker/channels.h"

#include "broker/processor/told.h"
#include "remoting/base/assert.h"

#define T0 1000000u /* a monotonic time */

struct world {
    struct told *told;
    struct net_channel *ch;
};

static void world_open(struct world *w)
{
    w->ch = channel_new();
    w->ch->conn.closing = true; /* answers are dropped; who waits is seen by the references */
    assert_int_equal(told_new(&w->told), 0);
}

static void world_close(struct world *w)
{
    told_end(w->told);
    told_free(w->told);
    w->ch->conn.closing = false;
    channel_free(w->ch);
}

static uint32_t waiting(const struct world *w)
{
    return w->ch->refs - 1;
}

static void ask(struct world *w, uint64_t now_ms)
{
    told_answer(w->told, &(struct reply_to){.ch = w->ch}, now_ms);
}

static void an_answer_waits_for_the_changes_before_it(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    ask(&w, T0); /* nothing has changed */
    assert_int_equal(waiting(&w), 0);
    told_changed(w.told);
    ask(&w, T0);
    told_changed(w.told);
    ask(&w, T0);
    ask(&w, T0);
    assert_int_equal(waiting(&w), 3);
    assert_int_equal(told_last(w.told), 2);
    told_known(w.told, 1);
    assert_int_equal(waiting(&w), 2);
    told_known(w.told, 0); /* a name server that has just come; those who were told stay told */
    ask(&w, T0);
    assert_int_equal(waiting(&w), 3);
    told_known(w.told, 2);
    assert_int_equal(waiting(&w), 0);
    ask(&w, T0);
    assert_int_equal(waiting(&w), 0);
    world_close(&w);
}

static void nobody_waits_longer_than_the_limit(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    told_changed(w.told);
    ask(&w, T0);
    ask(&w, T0 + 10);
    told_turn(w.told, T0 + TOLD_WAIT_MS - 1);
    assert_int_equal(waiting(&w), 2);
    told_turn(w.told, T0 + TOLD_WAIT_MS);
    assert_int_equal(waiting(&w), 1);
    ask(&w, T0 + TOLD_WAIT_MS);
    told_turn(w.told, T0 + TOLD_WAIT_MS + 10);
    assert_int_equal(waiting(&w), 1);
    told_known(w.told, 1);
    assert_int_equal(waiting(&w), 0);
    world_close(&w);
}

static void so_many_wait_and_no_more(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    told_changed(w.told);
    for (uint32_t i = 0; i < TOLD_WAITING_MAX + 2; i++) {
        ask(&w, T0);
    }
    assert_int_equal(waiting(&w), TOLD_WAITING_MAX);
    world_close(&w);
}

static void the_end_answers_all_and_what_comes_later_at_once(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    told_changed(w.told);
    ask(&w, T0);
    told_end(w.told);
    assert_int_equal(waiting(&w), 0);
    told_changed(w.told);
    ask(&w, T0);
    assert_int_equal(waiting(&w), 0);
    told_answer(w.told, &(struct reply_to){.ch = NULL}, T0); /* one-way: nobody to answer */
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_waits_for_the_changes_before_it),
        cmocka_unit_test(nobody_waits_longer_than_the_limit),
        cmocka_unit_test(so_many_wait_and_no_more),
        cmocka_unit_test(the_end_answers_all_and_what_comes_later_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
