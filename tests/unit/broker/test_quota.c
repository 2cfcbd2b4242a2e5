#include "tests/unit/broker/channels.h"

#include "broker/flow/quota.h"
#include "remoting/base/assert.h"
#include "remoting/base/heap.h"

#include <stdio.h>

#define T0 5000000u /* a monotonic time */

static struct quota *make(int64_t group_messages, int64_t group_bytes, int64_t conn_messages, int64_t conn_bytes)
{
    const struct quota_rules rules = {{group_messages, group_bytes}, {conn_messages, conn_bytes}};
    struct quota *quota;

    assert_int_equal(quota_new(&rules, &quota), 0);
    return quota;
}

/* How many requests of @messages and @bytes are taken one behind the other. */
static uint32_t taken(struct quota *quota, struct net_channel *ch, const char *group, uint32_t messages,
                      uint32_t bytes, uint64_t now_ms)
{
    struct quota_refusal why;
    uint32_t n = 0;

    while (n < 100000 && quota_take(quota, ch, mq_str_of(group), messages, bytes, now_ms, &why)) {
        n++;
    }
    return n;
}

static void without_limits_there_is_no_quota(void **state)
{
    struct quota_refusal why;
    struct quota *quota = make(0, 0, 0, 0);

    (void)state;
    assert_null(quota);
    assert_true(quota_take(quota, NULL, MQ_STR("g"), 1000, UINT32_MAX, T0, &why));
    quota_channel_closed(quota, NULL);
    quota_free(quota);
}

static void a_rate_is_kept_and_a_second_may_come_at_once(void **state)
{
    static const struct {
        const char *why;
        uint64_t after_ms;
        uint32_t want;
    } cases[] = {
        {"a full bucket", 0, 100},      {"nothing came", 0, 0},
        {"too little came", 9, 0},      {"one came", 1, 1},
        {"half a second's", 500, 50},   {"no more than a second's", 3600000, 100},
        {"a day later", 86400000, 100},
    };
    struct net_channel *ch = channel_new();
    struct quota *quota = make(100, 0, 0, 0);
    uint64_t now_ms = T0;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        now_ms += cases[i].after_ms;
        assert_int_equal(taken(quota, ch, "g", 1, 4000000, now_ms), cases[i].want);
    }
    quota_free(quota);
    channel_free(ch);
}

static void a_request_above_the_rate_is_taken_and_paid_for(void **state)
{
    struct net_channel *ch = channel_new();
    struct quota *quota = make(0, 1000, 0, 0);
    struct quota_refusal why;

    (void)state;
    assert_int_equal(taken(quota, ch, "g", 1, 4000000, T0), 1);
    assert_false(quota_take(quota, ch, MQ_STR("g"), 1, 1, T0 + 1000, &why));
    assert_string_equal(why.whose, "producerGroup");
    assert_string_equal(why.unit, "bytes");
    assert_int_equal(why.per_second, 1000);
    assert_int_equal(why.wait_ms, 3998001); /* 3999 of 4000 seconds, and something has to be in it */
    assert_false(quota_take(quota, ch, MQ_STR("g"), 1, 1, T0 + 1000 + why.wait_ms - 1, &why));
    assert_int_equal(why.wait_ms, 1);
    assert_true(quota_take(quota, ch, MQ_STR("g"), 1, 1, T0 + 1000 + 3998001, &why));
    quota_free(quota);
    channel_free(ch);
}

static void groups_and_connections_do_not_pay_for_each_other(void **state)
{
    struct net_channel *a = channel_new(), *b = channel_new();
    struct quota *quota = make(10, 0, 4, 0);
    struct quota_refusal why;

    (void)state;
    assert_int_equal(taken(quota, a, "g", 1, 1, T0), 4);
    assert_int_equal(taken(quota, b, "g", 1, 1, T0), 4);
    assert_false(quota_take(quota, b, MQ_STR("h"), 1, 1, T0, &why));
    assert_string_equal(why.whose, "connection");
    assert_string_equal(why.unit, "messages");
    quota_channel_closed(quota, b); /* another one may come to lie at its address */
    assert_int_equal(taken(quota, b, "g", 1, 1, T0), 2);
    assert_int_equal(taken(quota, b, "h", 1, 1, T0), 2); /* what the group refused did not count for the connection */
    quota_free(quota);
    channel_free(a);
    channel_free(b);
}

static void a_batch_counts_by_its_messages(void **state)
{
    struct net_channel *ch = channel_new();
    struct quota *quota = make(100, 0, 0, 0);

    (void)state;
    assert_int_equal(taken(quota, ch, "g", 30, 1, T0), 4); /* the last one goes over it by 20 */
    assert_int_equal(taken(quota, ch, "g", 1, 1, T0 + 209), 0);
    assert_int_equal(taken(quota, ch, "g", 1, 1, T0 + 210), 1);
    quota_free(quota);
    channel_free(ch);
}

static void names_without_end_take_no_memory_without_end(void **state)
{
    struct net_channel *ch = channel_new();
    struct quota *quota = make(2, 0, 0, 0);
    struct quota_refusal why;
    char name[32];

    (void)state;
    for (uint32_t i = 0; i < QUOTA_GROUPS_MAX; i++) {
        snprintf(name, sizeof(name), "g%u", i);
        assert_true(quota_take(quota, ch, mq_str_of(name), 1, 1, T0, &why));
    }
    assert_int_equal(taken(quota, ch, "x", 1, 1, T0) + taken(quota, ch, "y", 1, 1, T0), 2); /* share one */
    assert_int_equal(taken(quota, ch, "g0", 1, 1, T0), 1);
    /* A second later the first ones are full again, and forgotten. */
    assert_int_equal(taken(quota, ch, "x", 1, 1, T0 + 1000), 2);
    assert_int_equal(taken(quota, ch, "y", 1, 1, T0 + 1000), 2);
    quota_free(quota);
    channel_free(ch);
}

static void without_memory_nobody_is_limited(void **state)
{
    struct net_channel *ch = channel_new();
    struct quota *quota = make(1, 0, 1, 0);
    struct quota_refusal why;

    (void)state;
    for (unsigned nth = 1; nth < 8; nth++) {
        mq_heap_fail_at(nth);
        (void)quota_take(quota, ch, MQ_STR("g"), 1, 1, T0, &why);
        mq_heap_fail_at(0);
    }
    assert_int_equal(taken(quota, ch, "h", 1, 1, T0 + 100000), 1);
    quota_free(quota);
    channel_free(ch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_there_is_no_quota),
        cmocka_unit_test(a_rate_is_kept_and_a_second_may_come_at_once),
        cmocka_unit_test(a_request_above_the_rate_is_taken_and_paid_for),
        cmocka_unit_test(groups_and_connections_do_not_pay_for_each_other),
        cmocka_unit_test(a_batch_counts_by_its_messages),
        cmocka_unit_test(names_without_end_take_no_memory_without_end),
        cmocka_unit_test(without_memory_nobody_is_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
