#include "broker/state/group_table.h"

#include "broker/state/command.pb-c.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void defaults_are_those_of_rocketmq(void **state)
{
    struct group_table table;
    Raftmq__GroupPut item;
    struct group *group;

    (void)state;
    group_table_init(&table);
    group_defaults(&item, (char *)"G");
    assert_int_equal(group_table_put(&table, &item, 7), 0);
    group = group_table_find(&table, MQ_STR("G"));
    assert_non_null(group);
    assert_true(group->consume_enable && group->consume_from_min_enable && group->consume_broadcast_enable);
    assert_false(group->consume_message_orderly);
    assert_int_equal(group->retry_queues, 1);
    assert_int_equal(group->retry_max_times, 16);
    assert_int_equal(group->broker_id, 0);
    assert_int_equal(group->which_broker_when_slow, 1);
    assert_true(group->notify_consumer_ids_changed);
    assert_int_equal(group->sys_flag, 0);
    assert_int_equal(group->consume_timeout_minutes, 15);
    assert_int_equal(table.count, 1);
    assert_int_equal(table.counter, 1);
    assert_int_equal(table.changed_ms, 7);
    group_table_fini(&table);
}

static void put_replaces_and_the_hash_notices(void **state)
{
    struct group_table one, two;
    Raftmq__GroupPut a, b;

    (void)state;
    group_table_init(&one);
    group_table_init(&two);
    group_defaults(&a, (char *)"a");
    group_defaults(&b, (char *)"b");
    assert_int_equal(group_table_put(&one, &a, 1), 0);
    assert_int_equal(group_table_put(&one, &b, 1), 0);
    assert_int_equal(group_table_put(&two, &b, 1), 0);
    assert_int_equal(group_table_put(&two, &a, 1), 0);
    assert_int_equal(group_table_hash(&one), group_table_hash(&two));
    a.retry_max_times = -1;
    assert_int_equal(group_table_put(&one, &a, 1), 0);
    assert_int_equal(group_table_find(&one, MQ_STR("a"))->retry_max_times, -1);
    assert_int_equal(one.count, 2);
    one.counter--;
    assert_int_not_equal(group_table_hash(&one), group_table_hash(&two));
    group_table_fini(&one);
    group_table_fini(&two);
}

static void a_proposed_group_is_remembered_until_it_is_applied_or_dropped(void **state)
{
    struct group_table table;
    Raftmq__GroupPut item;
    uint64_t hash;

    (void)state;
    group_table_init(&table);
    hash = group_table_hash(&table);
    group_table_note_proposed(&table, MQ_STR("G"));
    group_table_note_proposed(&table, MQ_STR("H"));
    assert_true(group_table_is_proposed(&table, MQ_STR("G")));
    assert_null(group_table_find(&table, MQ_STR("G")));
    assert_int_equal(group_table_hash(&table), hash);
    group_defaults(&item, (char *)"G");
    assert_int_equal(group_table_put(&table, &item, 1), 0);
    assert_false(group_table_is_proposed(&table, MQ_STR("G")));
    assert_true(group_table_is_proposed(&table, MQ_STR("H")));
    group_table_drop_proposed(&table);
    assert_false(group_table_is_proposed(&table, MQ_STR("H")));
    group_table_note_proposed(&table, MQ_STR("I"));
    group_table_fini(&table);
}

static void every_failing_allocation_leaves_the_table_whole(void **state)
{
    struct group_table table;
    Raftmq__GroupPut item;
    unsigned failures = 0;
    int rc = MQ_ENOMEM;

    (void)state;
    group_table_init(&table);
    group_defaults(&item, (char *)"G");
    for (unsigned n = 1; rc != 0; n++) {
        mq_heap_fail_at(n);
        rc = group_table_put(&table, &item, 1);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || (rc == MQ_ENOMEM && table.count == 0 && table.counter == 0));
        failures += rc != 0;
    }
    assert_int_equal(failures, 4);
    group_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_rocketmq),
        cmocka_unit_test(put_replaces_and_the_hash_notices),
        cmocka_unit_test(a_proposed_group_is_remembered_until_it_is_applied_or_dropped),
        cmocka_unit_test(every_failing_allocation_leaves_the_table_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
