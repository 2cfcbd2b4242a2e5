#include "client/tools/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BODY 40

static void read_message(struct account *a, uint32_t queue, int64_t qoff, uint64_t seq)
{
    uint8_t body[BODY];

    account_body(a, queue, seq, body, sizeof(body));
    account_consumed(a, queue, qoff, body, sizeof(body));
}

/* Starts @n messages of queue 0, each acknowledged at its own offset before the next one starts. */
static struct account *acknowledged(uint64_t n)
{
    struct account *a = account_new(2);

    for (uint64_t i = 0; i < n; i++) {
        assert_int_equal(account_start(a, 0), i);
        account_acknowledged(a, 0, i, (int64_t)i);
    }
    return a;
}

static struct account_verdict verdict_of(struct account *a)
{
    struct account_verdict v;

    account_verdict(a, &v);
    account_free(a);
    return v;
}

static void everything_read_in_order_passes(void **state)
{
    struct account *a = acknowledged(3);
    struct account_verdict v;

    (void)state;
    for (uint64_t i = 0; i < 3; i++) {
        read_message(a, 0, (int64_t)i, i);
    }
    assert_int_equal(account_next_qoff(a, 0), 3);
    v = verdict_of(a);
    assert_true(account_passes(&v));
    assert_int_equal(v.acknowledged, 3);
    assert_int_equal(v.consumed, 3);
}

static void nothing_acknowledged_is_no_success(void **state)
{
    struct account_verdict v = verdict_of(account_new(1));

    (void)state;
    assert_false(account_passes(&v));
}

static void an_acknowledged_message_that_is_not_read_is_lost(void **state)
{
    struct account *a = acknowledged(3);
    struct account_verdict v;

    (void)state;
    read_message(a, 0, 0, 0);
    read_message(a, 0, 1, 1);
    v = verdict_of(a);
    assert_int_equal(v.lost, 1);
    assert_false(account_passes(&v));
}

static void a_second_copy_is_counted_and_its_place_is_known(void **state)
{
    struct account *a = acknowledged(2);
    struct account_verdict v;

    (void)state;
    read_message(a, 0, 0, 0);
    read_message(a, 0, 1, 1);
    read_message(a, 0, 2, 0);
    v = verdict_of(a);
    assert_int_equal(v.duplicated, 1);
    assert_int_equal(v.moved, 0);
    assert_int_equal(v.reordered, 0);
    assert_int_equal(v.consumed, 2);
}

static void a_message_read_before_one_that_was_acknowledged_before_it_started_is_reordered(void **state)
{
    struct account *a = acknowledged(2);
    struct account_verdict v;

    (void)state;
    read_message(a, 0, 0, 1);
    read_message(a, 0, 1, 0);
    v = verdict_of(a);
    assert_int_equal(v.reordered, 1);
    assert_int_equal(v.moved, 2);
    assert_false(account_passes(&v));
}

static void sends_that_overlap_have_no_order(void **state)
{
    struct account *a = account_new(1);
    struct account_verdict v;

    (void)state;
    account_start(a, 0);
    account_start(a, 0);
    account_acknowledged(a, 0, 0, 1);
    account_acknowledged(a, 0, 1, 0);
    read_message(a, 0, 0, 1);
    read_message(a, 0, 1, 0);
    v = verdict_of(a);
    assert_int_equal(v.reordered, 0);
    assert_true(account_passes(&v));
}

static void a_message_may_be_read_before_its_acknowledgement_arrives(void **state)
{
    struct account *a = account_new(1);
    struct account_verdict v;

    (void)state;
    account_start(a, 0);
    read_message(a, 0, 0, 0);
    account_acknowledged(a, 0, 0, 0);
    v = verdict_of(a);
    assert_true(account_passes(&v));
}

static void a_message_at_another_offset_than_acknowledged_has_moved(void **state)
{
    struct account *a = account_new(1);
    struct account_verdict v;

    (void)state;
    account_start(a, 0);
    account_acknowledged(a, 0, 0, 5);
    read_message(a, 0, 0, 0);
    v = verdict_of(a);
    assert_int_equal(v.moved, 1);
    assert_false(account_passes(&v));
}

static void what_was_refused_never_sent_foreign_or_damaged_is_a_phantom(void **state)
{
    struct account *a = acknowledged(1), *other = account_new(2);
    struct account_verdict v;
    uint8_t body[BODY];

    (void)state;
    read_message(a, 0, 0, 0);
    account_start(a, 0);
    account_refused(a, 0, 1);
    read_message(a, 0, 1, 1); /* refused */
    read_message(a, 0, 2, 7); /* never sent */
    account_start(other, 0);
    account_body(other, 0, 0, body, sizeof(body));
    account_consumed(a, 0, 3, body, sizeof(body)); /* of another run */
    account_body(a, 0, 0, body, sizeof(body));
    body[BODY - 1] ^= 1;
    account_consumed(a, 0, 4, body, sizeof(body)); /* damaged */
    account_body(a, 1, 0, body, sizeof(body));
    account_consumed(a, 0, 5, body, sizeof(body)); /* of another queue */
    account_consumed(a, 0, 6, "short", 5);
    v = verdict_of(a);
    account_free(other);
    assert_int_equal(v.phantom, 6);
    assert_int_equal(v.gaps, 0);
    assert_false(account_passes(&v));
}

static void a_hole_in_the_offsets_is_a_gap(void **state)
{
    struct account *a = account_new(1);
    struct account_verdict v;

    (void)state;
    account_start(a, 0);
    account_acknowledged(a, 0, 0, 1);
    read_message(a, 0, 1, 0); /* offsets start at 0 */
    v = verdict_of(a);
    assert_int_equal(v.gaps, 1);
    assert_false(account_passes(&v));
}

static void unknown_messages_may_be_stored_or_not(void **state)
{
    struct account *a = acknowledged(1);
    struct account_verdict v;

    (void)state;
    account_start(a, 0);
    account_start(a, 0);
    account_unknown(a, 0, 1);
    account_unknown(a, 0, 2);
    read_message(a, 0, 0, 0);
    read_message(a, 0, 1, 2);
    v = verdict_of(a);
    assert_int_equal(v.unknown, 2);
    assert_int_equal(v.unknown_stored, 1);
    assert_true(account_passes(&v));
}

static void a_send_without_an_end_does_not_pass(void **state)
{
    struct account *a = acknowledged(1);
    struct account_verdict v;

    (void)state;
    read_message(a, 0, 0, 0);
    account_start(a, 1);
    v = verdict_of(a);
    assert_int_equal(v.open, 1);
    assert_false(account_passes(&v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_read_in_order_passes),
        cmocka_unit_test(nothing_acknowledged_is_no_success),
        cmocka_unit_test(an_acknowledged_message_that_is_not_read_is_lost),
        cmocka_unit_test(a_second_copy_is_counted_and_its_place_is_known),
        cmocka_unit_test(a_message_read_before_one_that_was_acknowledged_before_it_started_is_reordered),
        cmocka_unit_test(sends_that_overlap_have_no_order),
        cmocka_unit_test(a_message_may_be_read_before_its_acknowledgement_arrives),
        cmocka_unit_test(a_message_at_another_offset_than_acknowledged_has_moved),
        cmocka_unit_test(what_was_refused_never_sent_foreign_or_damaged_is_a_phantom),
        cmocka_unit_test(a_hole_in_the_offsets_is_a_gap),
        cmocka_unit_test(unknown_messages_may_be_stored_or_not),
        cmocka_unit_test(a_send_without_an_end_does_not_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
