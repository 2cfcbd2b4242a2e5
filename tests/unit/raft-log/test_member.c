#include "raft-log/core/member.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void fill(struct membership *m, const uint32_t *ids, size_t n)
{
    assert_int_equal(membership_init(m, "broker-a"), 0);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(membership_add(m, ids[i],
                                        ids[i] == 1   ? "n0:40911"
                                        : ids[i] == 2 ? "n1:40911"
                                                      : "n2:40911",
                                        0x1111111111111111u * ids[i]),
                         0);
    }
}

static void the_same_members_give_the_same_bytes_in_any_order(void **state)
{
    static const uint32_t up[] = {1, 2, 3}, mixed[] = {3, 1, 2};
    struct mq_buf a = {0}, b = {0};
    struct membership m, n;

    (void)state;
    fill(&m, up, 3);
    fill(&n, mixed, 3);
    assert_true(membership_equal(&m, &n));
    assert_int_equal(membership_encode(&m, &a), 0);
    assert_int_equal(membership_encode(&n, &b), 0);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.base, b.base, a.len);
    mq_buf_free(&a);
    mq_buf_free(&b);
}

/* Entry 1 of every group has these bytes: they may only change with the entry's format version. */
static void the_encoding_is_the_golden_one(void **state)
{
    static const uint8_t want[] = {0x0a, 8,    'b',  'r',  'o',  'k',  'e',  'r',  '-',  'a',  0x12,
                                   21,   0x08, 1,    0x12, 8,    'n',  '0',  ':',  '4',  '0',  '9',
                                   '1',  '1',  0x19, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11};
    static const uint32_t ids[] = {1};
    struct mq_buf got = {0};
    struct membership m;

    (void)state;
    fill(&m, ids, 1);
    assert_int_equal(membership_encode(&m, &got), 0);
    assert_int_equal(got.len, sizeof(want));
    assert_memory_equal(got.base, want, sizeof(want));
    mq_buf_free(&got);
}

static void what_was_encoded_comes_back(void **state)
{
    static const uint32_t ids[] = {2, 1, 3};
    struct mq_buf bytes = {0};
    struct membership m, got;

    (void)state;
    fill(&m, ids, 3);
    assert_int_equal(membership_encode(&m, &bytes), 0);
    assert_int_equal(membership_decode(bytes.base, bytes.len, &got), 0);
    assert_true(membership_equal(&m, &got));
    assert_int_equal(membership_find(&got, 2)->incarnation, 0x2222222222222222u);
    assert_null(membership_find(&got, 4));
    for (size_t n = 1; n < bytes.len; n++) { /* cut short: an error or fewer members, never a crash */
        (void)membership_decode(bytes.base, n, &got);
    }
    mq_buf_free(&bytes);
}

static void roles_come_back_and_only_voters_are_counted(void **state)
{
    struct member learner = {.id = 5, .incarnation = 7, .role = MEMBER_LEARNER, .added = true, .address = "h:1"};
    struct member joining = {.id = 4, .incarnation = 8, .role = MEMBER_JOINING, .address = "h:2"};
    static const uint32_t ids[] = {1, 2};
    struct mq_buf bytes = {0};
    struct membership m, got;

    (void)state;
    fill(&m, ids, 2);
    assert_int_equal(membership_put(&m, &learner), 0);
    assert_int_equal(membership_put(&m, &joining), 0);
    assert_int_equal(membership_put(&m, &joining), MQ_EEXIST);
    assert_int_equal(membership_voters(&m), 2);
    assert_int_equal(membership_encode(&m, &bytes), 0);
    assert_int_equal(membership_decode(bytes.base, bytes.len, &got), 0);
    assert_true(membership_equal(&m, &got));
    assert_true(membership_has(&got, 5, 7));
    assert_false(membership_has(&got, 5, 8)); /* another directory */
    assert_int_equal(membership_remove(&got, 5), 0);
    assert_int_equal(membership_remove(&got, 5), MQ_ENOTFOUND);
    assert_false(membership_equal(&m, &got));
    assert_int_equal(got.n, 3);
    mq_buf_free(&bytes);
}

static void decode_refuses_what_is_no_membership(void **state)
{
    static const struct {
        const char *why;
        uint8_t bytes[16];
        size_t n;
    } cases[] = {
        {"nothing", {0}, 0},
        {"a group without members", {0x0a, 1, 'g'}, 3},
        {"a member with id 0", {0x0a, 1, 'g', 0x12, 2, 0x08, 0}, 7},
        {"the same member twice", {0x0a, 1, 'g', 0x12, 2, 0x08, 1, 0x12, 2, 0x08, 1}, 11},
        {"nobody who votes", {0x0a, 1, 'g', 0x12, 4, 0x08, 1, 0x20, 1}, 9},
        {"a role that is none", {0x0a, 1, 'g', 0x12, 4, 0x08, 1, 0x20, 3}, 9},
        {"members out of order", {0x0a, 1, 'g', 0x12, 2, 0x08, 2, 0x12, 2, 0x08, 1}, 11},
        {"a length beyond the end", {0x0a, 100, 'g'}, 3},
    };
    struct membership untouched;

    (void)state;
    memset(&untouched, 0x5a, sizeof(untouched));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct membership m = untouched;

        print_message("%s\n", cases[i].why);
        assert_int_equal(membership_decode(cases[i].bytes, cases[i].n, &m), MQ_EBADMSG);
        assert_memory_equal(&m, &untouched, sizeof(m));
    }
}

static void add_keeps_its_limits(void **state)
{
    char text[MEMBER_TEXT_MAX + 2];
    struct membership m;

    (void)state;
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(membership_init(&m, text), MQ_ETOOBIG);
    assert_int_equal(membership_init(&m, "g"), 0);
    assert_int_equal(membership_add(&m, 0, "a", 1), MQ_EINVAL);
    assert_int_equal(membership_add(&m, (1u << 31) + 1, "a", 1), MQ_EINVAL);
    assert_int_equal(membership_add(&m, 1, text, 1), MQ_ETOOBIG);
    for (uint32_t i = 1; i <= RLOG_MEMBERS_MAX; i++) {
        assert_int_equal(membership_add(&m, i, "a", 1), 0);
        assert_int_equal(membership_add(&m, i, "b", 2), i < RLOG_MEMBERS_MAX ? MQ_EEXIST : MQ_ETOOBIG);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_members_give_the_same_bytes_in_any_order),
        cmocka_unit_test(the_encoding_is_the_golden_one),
        cmocka_unit_test(what_was_encoded_comes_back),
        cmocka_unit_test(roles_come_back_and_only_voters_are_counted),
        cmocka_unit_test(decode_refuses_what_is_no_membership),
        cmocka_unit_test(add_keeps_its_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
