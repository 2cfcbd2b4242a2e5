#include "broker/state/offset_table.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define G MQ_STR("group")
#define T MQ_STR("topic")

static void the_last_commit_counts_also_a_smaller_one(void **state)
{
    struct offset_table table;

    (void)state;
    offset_table_init(&table);
    assert_int_equal(offset_table_get(&table, G, T, 0), -1);
    assert_int_equal(offset_table_put(&table, G, T, 0, 50), 0);
    assert_int_equal(offset_table_put(&table, G, T, 0, 20), 0);
    assert_int_equal(offset_table_get(&table, G, T, 0), 20);
    assert_int_equal(offset_table_get(&table, G, T, 1), -1);
    assert_int_equal(offset_table_get(&table, MQ_STR("grou"), MQ_STR("ptopic"), 0), -1);
    assert_int_equal(offset_table_get(&table, T, G, 0), -1);
    assert_int_equal(table.commits, 2);
    offset_table_fini(&table);
}

static void queue_ids_come_in_any_order_and_may_be_anything(void **state)
{
    static const int32_t ids[] = {5, 0, 3, -1, 1, INT32_MAX, 2, INT32_MIN, 4, 100, 65000, 7};
    struct offset_table table;

    (void)state;
    offset_table_init(&table);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
            assert_int_equal(offset_table_put(&table, G, T, ids[i], (int64_t)(i + round)), 0);
        }
    }
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        assert_int_equal(offset_table_get(&table, G, T, ids[i]), (int64_t)i + 1);
    }
    assert_int_equal(offset_table_get(&table, G, T, 6), -1);
    offset_table_fini(&table);
}

static void names_that_nobody_may_use_are_refused(void **state)
{
    struct offset_table table;
    char name[1100];

    (void)state;
    memset(name, 'n', sizeof(name));
    offset_table_init(&table);
    assert_int_equal(offset_table_put(&table, (struct mq_str){name, 1100}, T, 0, 1), MQ_ETOOBIG);
    assert_int_equal(offset_table_get(&table, (struct mq_str){name, 1100}, T, 0), -1);
    assert_int_equal(offset_table_put(&table, (struct mq_str){name, 511}, (struct mq_str){name, 511}, 0, 1), 0);
    assert_int_equal(offset_table_put(&table, (struct mq_str){name, 511}, (struct mq_str){name, 512}, 0, 1),
                     MQ_ETOOBIG);
    assert_int_equal(offset_table_get(&table, (struct mq_str){name, 511}, (struct mq_str){name, 511}, 0), 1);
    offset_table_fini(&table);
}

static void the_hash_sees_offsets_but_not_the_order_of_rows(void **state)
{
    struct offset_table one, two;

    (void)state;
    offset_table_init(&one);
    offset_table_init(&two);
    for (int32_t i = 0; i < 20; i++) {
        assert_int_equal(offset_table_put(&one, G, i % 2 == 0 ? T : G, i, i), 0);
        assert_int_equal(offset_table_put(&two, G, (19 - i) % 2 == 0 ? T : G, 19 - i, 19 - i), 0);
    }
    assert_int_equal(offset_table_hash(&one), offset_table_hash(&two));
    assert_int_equal(offset_table_put(&two, G, T, 4, 5), 0);
    assert_int_not_equal(offset_table_hash(&one), offset_table_hash(&two));
    offset_table_fini(&one);
    offset_table_fini(&two);
}

static void every_failing_allocation_changes_nothing(void **state)
{
    struct offset_table table;
    unsigned failures = 0;
    int rc = MQ_ENOMEM;

    (void)state;
    offset_table_init(&table);
    for (unsigned n = 1; rc != 0; n++) {
        mq_heap_fail_at(n);
        rc = offset_table_put(&table, G, T, 3, 9);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || (rc == MQ_ENOMEM && offset_table_get(&table, G, T, 3) == -1));
        failures += rc != 0;
    }
    assert_int_equal(failures, 13); /* two names, each with its table, and the row with its own */
    assert_int_equal(table.commits, 1);
    offset_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_commit_counts_also_a_smaller_one),
        cmocka_unit_test(queue_ids_come_in_any_order_and_may_be_anything),
        cmocka_unit_test(names_that_nobody_may_use_are_refused),
        cmocka_unit_test(the_hash_sees_offsets_but_not_the_order_of_rows),
        cmocka_unit_test(every_failing_allocation_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
