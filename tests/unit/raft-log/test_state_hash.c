#include "raft-log/state_hash.h"

#include "remoting/base/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const uint32_t VOTERS[] = {1, 2, 3, 4, 5};

static struct state_hashes hashes(uint64_t index, uint64_t topics, uint64_t offsets)
{
    return (struct state_hashes){.index = index, .n = 2, .sections = {{1, 1, topics}, {3, 1, offsets}}};
}

static void open_watch(struct state_hash *watch, uint32_t voters)
{
    state_hash_init(watch, 1);
    state_hash_voters(watch, VOTERS, voters);
}

static bool own(struct state_hash *watch, uint64_t index, uint64_t topics, uint64_t offsets,
                struct state_difference *out)
{
    struct state_hashes h = hashes(index, topics, offsets);

    return state_hash_own(watch, &h, out);
}

static bool heard(struct state_hash *watch, uint32_t member, uint64_t index, uint64_t topics, uint64_t offsets,
                  struct state_difference *out)
{
    struct state_hashes h = hashes(index, topics, offsets);

    return state_hash_heard(watch, member, &h, out);
}

static void equal_states_are_no_news_in_whatever_order_they_come(void **state)
{
    struct state_hash watch;
    struct state_difference out;

    (void)state;
    open_watch(&watch, 3);
    assert_false(heard(&watch, 2, 4096, 10, 30, &out));
    assert_false(own(&watch, 4096, 10, 30, &out));
    assert_false(heard(&watch, 3, 4096, 10, 30, &out));
    assert_int_equal(watch.compared, 2);
    assert_int_equal(state_hash_newest(&watch)->index, 4096);
}

static void who_differs_from_a_majority_is_the_minority(void **state)
{
    struct state_hash watch;
    struct state_difference out;

    (void)state;
    open_watch(&watch, 3);
    assert_false(own(&watch, 4096, 10, 30, &out));
    assert_true(heard(&watch, 2, 4096, 10, 31, &out));
    assert_false(out.minority); /* one against one */
    assert_true(heard(&watch, 3, 4096, 10, 31, &out));
    assert_true(out.minority);
    assert_int_equal(out.index, 4096);
    assert_int_equal(out.section, 3);
    assert_int_equal(out.own, 30);
    assert_int_equal(out.theirs, 31);
    assert_int_equal(out.n_theirs, 2);

    /* The same when ours comes last. */
    assert_false(heard(&watch, 2, 8192, 11, 31, &out));
    assert_false(heard(&watch, 3, 8192, 11, 31, &out));
    assert_true(own(&watch, 8192, 10, 31, &out));
    assert_true(out.minority);
    assert_int_equal(out.section, 1);
}

static void without_a_majority_nobody_is_the_minority(void **state)
{
    struct state_hash watch;
    struct state_difference out;

    (void)state;
    open_watch(&watch, 3);
    assert_false(own(&watch, 4096, 10, 30, &out));
    assert_true(heard(&watch, 2, 4096, 10, 31, &out));
    assert_true(heard(&watch, 3, 4096, 10, 32, &out)); /* three opinions */
    assert_false(out.minority);
    open_watch(&watch, 2);
    assert_false(own(&watch, 4096, 10, 30, &out));
    assert_true(heard(&watch, 2, 4096, 10, 31, &out));
    assert_false(out.minority);
    open_watch(&watch, 5);
    assert_false(own(&watch, 4096, 10, 30, &out));
    assert_true(heard(&watch, 2, 4096, 10, 31, &out));
    assert_true(heard(&watch, 3, 4096, 10, 31, &out));
    assert_false(out.minority);
    assert_true(heard(&watch, 4, 4096, 10, 31, &out));
    assert_true(out.minority);
}

static void the_one_that_is_wrong_is_not_us(void **state)
{
    struct state_hash watch;
    struct state_difference out;

    (void)state;
    open_watch(&watch, 3);
    assert_false(own(&watch, 4096, 10, 30, &out));
    assert_false(heard(&watch, 2, 4096, 10, 30, &out));
    assert_true(heard(&watch, 3, 4096, 10, 99, &out));
    assert_false(out.minority);
    assert_int_equal(out.member, 3);
}

static void strangers_other_versions_and_forgotten_indexes_do_not_count(void **state)
{
    struct state_hash watch;
    struct state_difference out;
    struct state_hashes other = {.index = 4096, .n = 1, .sections = {{3, 2, 99}}};

    (void)state;
    open_watch(&watch, 3);
    assert_false(own(&watch, 4096, 10, 30, &out));
    assert_false(heard(&watch, 4, 4096, 10, 99, &out));
    assert_false(heard(&watch, 0, 4096, 10, 99, &out));
    assert_false(state_hash_heard(&watch, 2, &other, &out));
    for (uint64_t i = 2; i <= STATE_HASH_OWN + 1; i++) {
        assert_false(own(&watch, i * 4096, 10, 30, &out));
    }
    assert_false(heard(&watch, 2, 4096, 10, 99, &out)); /* ours of then is gone */
    assert_true(heard(&watch, 2, 8192, 10, 99, &out));
    for (uint64_t i = 100; i < 100 + STATE_HASH_HEARD; i++) {
        assert_false(heard(&watch, 3, i * 4096, 1, 1, &out));
    }
    assert_true(own(&watch, 100 * 4096, 10, 30, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_states_are_no_news_in_whatever_order_they_come),
        cmocka_unit_test(who_differs_from_a_majority_is_the_minority),
        cmocka_unit_test(without_a_majority_nobody_is_the_minority),
        cmocka_unit_test(the_one_that_is_wrong_is_not_us),
        cmocka_unit_test(strangers_other_versions_and_forgotten_indexes_do_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
