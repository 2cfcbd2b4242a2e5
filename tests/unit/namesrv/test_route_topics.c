#include "namesrv/route_topics.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct route_group *const HOLDER_A = (struct route_group *)0x10; /* only compared, never looked into */
static struct route_group *const HOLDER_B = (struct route_group *)0x20;

static int put(struct route_topics *table, const char *name, struct route_group *holder, uint32_t mark)
{
    struct topic_share share = {.holder = holder, .read_queues = 4, .write_queues = 4, .perm = 6, .mark = mark};

    return route_topics_put(table, mq_str_of(name), &share);
}

static void a_topic_lives_while_somebody_holds_it(void **state)
{
    struct route_topics table;

    (void)state;
    route_topics_init(&table);
    assert_int_equal(put(&table, "orders", HOLDER_A, 0), 0);
    assert_int_equal(put(&table, "orders", HOLDER_B, 0), 0);
    assert_int_equal(route_topics_find(&table, MQ_STR("orders"))->share_count, 2);

    route_topics_drop(&table, MQ_STR("orders"), HOLDER_A);
    assert_null(topic_share_of(route_topics_find(&table, MQ_STR("orders")), HOLDER_A));
    assert_non_null(topic_share_of(route_topics_find(&table, MQ_STR("orders")), HOLDER_B));
    route_topics_drop(&table, MQ_STR("orders"), HOLDER_A);
    route_topics_drop(&table, MQ_STR("orders"), HOLDER_B);
    assert_null(route_topics_find(&table, MQ_STR("orders")));
    assert_int_equal(route_topics_count(&table), 0);
    route_topics_fini(&table);
}

static void a_second_put_of_one_holder_replaces_the_first(void **state)
{
    struct topic_share share = {.holder = HOLDER_A, .read_queues = 9, .write_queues = 8, .perm = 4};
    struct route_topics table;
    const struct topic *topic;

    (void)state;
    route_topics_init(&table);
    assert_int_equal(put(&table, "orders", HOLDER_A, 0), 0);
    assert_int_equal(route_topics_put(&table, MQ_STR("orders"), &share), 0);
    topic = route_topics_find(&table, MQ_STR("orders"));
    assert_int_equal(topic->share_count, 1);
    assert_int_equal(topic->shares[0].read_queues, 9);
    route_topics_fini(&table);
}

static void a_sweep_takes_what_was_not_put_since_the_mark(void **state)
{
    struct route_topics table;
    uint32_t mark;

    (void)state;
    route_topics_init(&table);
    put(&table, "old", HOLDER_A, 0);
    put(&table, "shared", HOLDER_A, 0);
    put(&table, "shared", HOLDER_B, 0);
    mark = route_topics_mark(&table);
    put(&table, "new", HOLDER_A, mark);
    route_topics_sweep(&table, HOLDER_A, mark);
    assert_null(route_topics_find(&table, MQ_STR("old")));
    assert_int_equal(route_topics_find(&table, MQ_STR("shared"))->share_count, 1);
    assert_int_equal(route_topics_held(&table, HOLDER_A), 1);
    assert_int_equal(route_topics_held(&table, HOLDER_B), 1);

    route_topics_drop_holder(&table, HOLDER_A);
    assert_int_equal(route_topics_held(&table, HOLDER_A), 0);
    assert_int_equal(route_topics_count(&table), 1);
    route_topics_fini(&table);
}

static void names_and_counts_have_limits(void **state)
{
    char name[ROUTE_TOPICS_NAME_MAX + 2];
    struct route_topics table;

    (void)state;
    route_topics_init(&table);
    memset(name, 'x', sizeof(name));
    name[ROUTE_TOPICS_NAME_MAX + 1] = '\0';
    assert_int_equal(put(&table, name, HOLDER_A, 0), MQ_ETOOBIG);
    name[ROUTE_TOPICS_NAME_MAX] = '\0';
    assert_int_equal(put(&table, name, HOLDER_A, 0), 0);
    assert_int_equal(put(&table, "", HOLDER_A, 0), MQ_EINVAL);

    for (uint32_t i = route_topics_count(&table); i < ROUTE_TOPICS_TOPICS_MAX; i++) {
        snprintf(name, sizeof(name), "topic-%u", i);
        assert_int_equal(put(&table, name, HOLDER_A, 0), 0);
    }
    assert_int_equal(put(&table, "one-more", HOLDER_A, 0), MQ_ETOOBIG);
    assert_int_equal(put(&table, "topic-7", HOLDER_B, 0), 0);
    route_topics_fini(&table);
}

static void a_failed_allocation_changes_nothing(void **state)
{
    (void)state;
    for (unsigned nth = 1;; nth++) {
        struct route_topics table;
        int rc;

        route_topics_init(&table);
        mq_heap_fail_at(nth);
        rc = put(&table, "orders", HOLDER_A, 0);
        if (rc == 0) {
            rc = put(&table, "orders", HOLDER_B, 0);
            assert_int_equal(route_topics_held(&table, HOLDER_A), 1);
        } else {
            assert_int_equal(route_topics_count(&table), 0);
        }
        mq_heap_fail_at(0);
        route_topics_fini(&table);
        if (rc == 0) {
            assert_true(nth > 4); /* topic, shares, table, buckets, second share */
            return;
        }
        assert_int_equal(rc, MQ_ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_lives_while_somebody_holds_it),
        cmocka_unit_test(a_second_put_of_one_holder_replaces_the_first),
        cmocka_unit_test(a_sweep_takes_what_was_not_put_since_the_mark),
        cmocka_unit_test(names_and_counts_have_limits),
        cmocka_unit_test(a_failed_allocation_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
