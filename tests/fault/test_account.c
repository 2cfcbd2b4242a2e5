/* The accounting of the fault tests must be able to fail: each way of breaking the promise is shown to it once. */
#include "tests/fault/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define BYTES 40u

static uint32_t send_one(struct account *a, enum account_outcome outcome, int64_t qoff)
{
    uint32_t seq = account_begin(a, 1, 0, BYTES);

    account_end(a, 1, seq, outcome, qoff);
    return seq;
}

static void read_one(struct account *a, uint32_t seq, int64_t qoff)
{
    uint8_t body[BYTES];

    account_body(a, 1, seq, body, BYTES);
    account_read(a, 0, qoff, body, BYTES);
}

static void expect_only(struct account *a, enum account_fault fault)
{
    account_settle(a, true);
    print_message("%s: %s\n", account_fault_name(fault), a->first[fault]);
    assert_true(a->faults[fault] > 0);
    assert_int_equal(account_faults(a), a->faults[fault]);
    account_fini(a);
}

static struct account fresh(void)
{
    struct account a;

    assert_int_equal(account_init(&a, 7, 2), 0);
    return a;
}

static void a_clean_run_has_no_fault(void **state)
{
    struct account a = fresh();
    uint8_t body[BYTES];
    uint32_t seq;

    (void)state;
    seq = send_one(&a, ACCOUNT_ACKED, 0);
    read_one(&a, seq, 0);
    seq = send_one(&a, ACCOUNT_UNKNOWN, 0);
    read_one(&a, seq, 1);
    account_body(&a, 1, seq, body, BYTES);
    account_read_again(&a, 0, 1, body, BYTES);
    send_one(&a, ACCOUNT_UNKNOWN, 0); /* never stored: that is allowed */
    send_one(&a, ACCOUNT_REFUSED, 0);
    account_end_of_queue(&a, 0, 2);
    account_settle(&a, true);
    assert_int_equal(account_faults(&a), 0);
    assert_int_equal(a.unknown_seen, 1);
    assert_int_equal(account_open_sends(&a), 0);
    account_fini(&a);
}

static void an_acknowledged_message_that_nobody_reads_is_lost(void **state)
{
    struct account a = fresh();

    (void)state;
    send_one(&a, ACCOUNT_ACKED, 0);
    expect_only(&a, ACCOUNT_LOST);
}

static void a_message_read_elsewhere_than_acknowledged_has_moved(void **state)
{
    struct account a = fresh();
    uint32_t first, second;

    (void)state;
    first = send_one(&a, ACCOUNT_ACKED, 0);
    second = send_one(&a, ACCOUNT_UNKNOWN, 0);
    read_one(&a, second, 0);
    read_one(&a, first, 1);
    expect_only(&a, ACCOUNT_MOVED);
}

static void a_message_stored_twice_is_doubled(void **state)
{
    struct account a = fresh();
    uint32_t seq;

    (void)state;
    seq = send_one(&a, ACCOUNT_ACKED, 0);
    read_one(&a, seq, 0);
    read_one(&a, seq, 1);
    expect_only(&a, ACCOUNT_DOUBLED);
}

static void a_refused_message_that_is_read_was_raised(void **state)
{
    struct account a = fresh();

    (void)state;
    read_one(&a, send_one(&a, ACCOUNT_REFUSED, 0), 0);
    expect_only(&a, ACCOUNT_RAISED);
}

static void a_message_that_was_never_sent_is_a_phantom(void **state)
{
    struct account a = fresh();

    (void)state;
    read_one(&a, 12, 0);
    expect_only(&a, ACCOUNT_PHANTOM);
}

static void a_message_of_another_queue_is_a_phantom(void **state)
{
    struct account a = fresh();
    uint8_t body[BYTES];
    uint32_t seq;

    (void)state;
    seq = send_one(&a, ACCOUNT_UNKNOWN, 0);
    account_body(&a, 1, seq, body, BYTES);
    account_read(&a, 1, 0, body, BYTES);
    expect_only(&a, ACCOUNT_PHANTOM);
}

static void one_changed_byte_is_a_wrong_body(void **state)
{
    struct account a = fresh();
    uint8_t body[BYTES];
    uint32_t seq;

    (void)state;
    seq = send_one(&a, ACCOUNT_UNKNOWN, 0);
    account_body(&a, 1, seq, body, BYTES);
    body[BYTES - 1] ^= 1;
    account_read(&a, 0, 0, body, BYTES);
    expect_only(&a, ACCOUNT_BODY);
}

static void a_skipped_offset_is_a_gap(void **state)
{
    struct account a = fresh();

    (void)state;
    read_one(&a, send_one(&a, ACCOUNT_UNKNOWN, 0), 1);
    expect_only(&a, ACCOUNT_GAP);
}

static void another_message_at_an_offset_read_before_has_changed(void **state)
{
    struct account a = fresh();
    uint8_t body[BYTES];
    uint32_t second;

    (void)state;
    read_one(&a, send_one(&a, ACCOUNT_UNKNOWN, 0), 0);
    second = send_one(&a, ACCOUNT_UNKNOWN, 0);
    account_body(&a, 1, second, body, BYTES);
    account_read_again(&a, 0, 0, body, BYTES);
    expect_only(&a, ACCOUNT_CHANGED);
}

static void a_queue_that_ends_before_what_was_read_has_shrunk(void **state)
{
    struct account a = fresh();

    (void)state;
    read_one(&a, send_one(&a, ACCOUNT_UNKNOWN, 0), 0);
    account_end_of_queue(&a, 0, 0);
    expect_only(&a, ACCOUNT_SHRUNK);
}

static void what_was_acknowledged_and_read_is_lost_when_another_takes_its_place_or_the_queue_shrinks(void **state)
{
    (void)state;
    for (int shrinks = 0; shrinks < 2; shrinks++) {
        struct account a = fresh();
        uint8_t body[BYTES];
        uint32_t second;

        read_one(&a, send_one(&a, ACCOUNT_ACKED, 0), 0);
        second = send_one(&a, ACCOUNT_UNKNOWN, 0);
        if (shrinks) {
            account_end_of_queue(&a, 0, 0);
        } else {
            account_body(&a, 1, second, body, BYTES);
            account_read_again(&a, 0, 0, body, BYTES);
        }
        account_settle(&a, true);
        assert_int_equal(a.faults[shrinks ? ACCOUNT_SHRUNK : ACCOUNT_CHANGED], 1);
        assert_int_equal(a.faults[ACCOUNT_LOST], 1);
        account_fini(&a);
    }
}

static void a_send_stored_before_one_that_was_acknowledged_earlier_breaks_order(void **state)
{
    struct account a = fresh();
    uint32_t first, second;

    (void)state;
    first = send_one(&a, ACCOUNT_ACKED, 1);
    second = send_one(&a, ACCOUNT_ACKED, 0);
    read_one(&a, second, 0);
    read_one(&a, first, 1);
    expect_only(&a, ACCOUNT_ORDER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_run_has_no_fault),
        cmocka_unit_test(an_acknowledged_message_that_nobody_reads_is_lost),
        cmocka_unit_test(a_message_read_elsewhere_than_acknowledged_has_moved),
        cmocka_unit_test(a_message_stored_twice_is_doubled),
        cmocka_unit_test(a_refused_message_that_is_read_was_raised),
        cmocka_unit_test(a_message_that_was_never_sent_is_a_phantom),
        cmocka_unit_test(a_message_of_another_queue_is_a_phantom),
        cmocka_unit_test(one_changed_byte_is_a_wrong_body),
        cmocka_unit_test(a_skipped_offset_is_a_gap),
        cmocka_unit_test(another_message_at_an_offset_read_before_has_changed),
        cmocka_unit_test(a_queue_that_ends_before_what_was_read_has_shrunk),
        cmocka_unit_test(what_was_acknowledged_and_read_is_lost_when_another_takes_its_place_or_the_queue_shrinks),
        cmocka_unit_test(a_send_stored_before_one_that_was_acknowledged_earlier_breaks_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
