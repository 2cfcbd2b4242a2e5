#include "broker/state/lock_table.h"

#include "broker/state/command.pb-c.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define QUEUES_MAX 4

struct call {
    Raftmq__LockedQueue queues[QUEUES_MAX];
    Raftmq__LockedQueue *list[QUEUES_MAX];
    Raftmq__LockGrant grant;
    Raftmq__LockRelease release;
};

/* Queues @first to @first + @n - 1 of one topic for @client. */
static struct call *call_of(struct call *call, const char *client, int32_t first, uint32_t n)
{
    raftmq__lock_grant__init(&call->grant);
    raftmq__lock_release__init(&call->release);
    for (uint32_t i = 0; i < n; i++) {
        raftmq__locked_queue__init(&call->queues[i]);
        call->queues[i].topic = (char *)"topic";
        call->queues[i].broker_name = (char *)"broker-a";
        call->queues[i].queue_id = first + (int32_t)i;
        call->list[i] = &call->queues[i];
    }
    call->grant.group = call->release.group = (char *)"group";
    call->grant.client_id = call->release.client_id = (char *)client;
    call->grant.queues = call->release.queues = call->list;
    call->grant.n_queues = call->release.n_queues = n;
    return call;
}

static const char *holder(const struct lock_table *table, int32_t queue_id)
{
    struct lock_key key = {MQ_STR("group"), MQ_STR("topic"), MQ_STR("broker-a"), queue_id};
    struct lock *lock = lock_table_find(table, &key);

    return lock != NULL ? lock->client_id : "nobody";
}

static void a_grant_goes_to_free_queues_only(void **state)
{
    struct lock_table table;
    struct call call;

    (void)state;
    lock_table_init(&table);
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "one", 0, 2)->grant), 0);
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "two", 1, 2)->grant), 0);
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "one", 0, 1)->grant), 0);
    assert_string_equal(holder(&table, 0), "one");
    assert_string_equal(holder(&table, 1), "one");
    assert_string_equal(holder(&table, 2), "two");
    assert_string_equal(holder(&table, 3), "nobody");
    assert_int_equal(table.count, 3);
    lock_table_fini(&table);
}

static void only_the_holder_releases(void **state)
{
    struct lock_table table;
    struct call call;

    (void)state;
    lock_table_init(&table);
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "one", 0, 2)->grant), 0);
    lock_table_release(&table, &call_of(&call, "two", 0, 3)->release);
    assert_int_equal(table.count, 2);
    lock_table_release(&table, &call_of(&call, "one", 1, 3)->release);
    assert_string_equal(holder(&table, 0), "one");
    assert_string_equal(holder(&table, 1), "nobody");
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "two", 1, 1)->grant), 0);
    assert_string_equal(holder(&table, 1), "two");
    lock_table_fini(&table);
}

static void a_lock_knows_the_parts_of_its_key(void **state)
{
    struct lock_table table;
    struct call call;

    (void)state;
    lock_table_init(&table);
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "one", 7, 1)->grant), 0);
    assert_true(mq_str_eq(table.by_key->parts.group, MQ_STR("group")));
    assert_true(mq_str_eq(table.by_key->parts.topic, MQ_STR("topic")));
    assert_true(mq_str_eq(table.by_key->parts.broker_name, MQ_STR("broker-a")));
    assert_int_equal(table.by_key->parts.queue_id, 7);
    assert_int_equal(table.by_key->renewed_ms, 0);
    lock_table_restart_leases(&table, 1234);
    assert_int_equal(table.by_key->renewed_ms, 1234);
    lock_table_fini(&table);
}

static void queues_under_names_that_are_too_long_are_left_out(void **state)
{
    struct lock_table table;
    struct call call;
    char name[1200];

    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    lock_table_init(&table);
    call_of(&call, "one", 0, 2);
    call.queues[0].broker_name = name;
    assert_int_equal(lock_table_grant(&table, &call.grant), 0);
    lock_table_release(&table, &call_of(&call, "one", 5, 1)->release);
    assert_int_equal(table.count, 1);
    assert_string_equal(holder(&table, 1), "one");
    lock_table_fini(&table);
}

static void the_hash_sees_holders_but_neither_order_nor_leases(void **state)
{
    struct lock_table one, two;
    struct call call;

    (void)state;
    lock_table_init(&one);
    lock_table_init(&two);
    assert_int_equal(lock_table_grant(&one, &call_of(&call, "x", 0, 1)->grant), 0);
    assert_int_equal(lock_table_grant(&one, &call_of(&call, "y", 1, 1)->grant), 0);
    assert_int_equal(lock_table_grant(&two, &call_of(&call, "y", 1, 1)->grant), 0);
    assert_int_equal(lock_table_grant(&two, &call_of(&call, "x", 0, 1)->grant), 0);
    lock_table_restart_leases(&two, 5);
    assert_int_equal(lock_table_hash(&one), lock_table_hash(&two));
    lock_table_release(&two, &call_of(&call, "x", 0, 1)->release);
    assert_int_equal(lock_table_grant(&two, &call_of(&call, "y", 0, 1)->grant), 0);
    assert_int_not_equal(lock_table_hash(&one), lock_table_hash(&two));
    lock_table_fini(&one);
    lock_table_fini(&two);
}

static void a_group_holds_a_lock_until_its_last_one_is_released(void **state)
{
    struct lock_table table;
    struct call call;

    (void)state;
    lock_table_init(&table);
    assert_false(lock_table_group_holds(&table, MQ_STR("group")));
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "one", 0, 3)->grant), 0);
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "two", 1, 3)->grant), 0);
    assert_true(lock_table_group_holds(&table, MQ_STR("group")));
    assert_false(lock_table_group_holds(&table, MQ_STR("grou")));
    assert_false(lock_table_group_holds(&table, MQ_STR("")));
    lock_table_release(&table, &call_of(&call, "one", 0, 3)->release);
    assert_true(lock_table_group_holds(&table, MQ_STR("group")));
    lock_table_release(&table, &call_of(&call, "two", 3, 1)->release);
    assert_false(lock_table_group_holds(&table, MQ_STR("group")));
    assert_int_equal(lock_table_grant(&table, &call_of(&call, "one", 0, 1)->grant), 0);
    assert_true(lock_table_group_holds(&table, MQ_STR("group")));
    lock_table_clear(&table);
    assert_false(lock_table_group_holds(&table, MQ_STR("group")));
    lock_table_fini(&table);
}

static void every_failing_allocation_is_an_error(void **state)
{
    struct lock_table table;
    struct call call;
    unsigned failures = 0;
    int rc = MQ_ENOMEM;

    (void)state;
    lock_table_init(&table);
    call_of(&call, "one", 0, 1);
    for (unsigned n = 1; rc != 0; n++) {
        mq_heap_fail_at(n);
        rc = lock_table_grant(&table, &call.grant);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || (rc == MQ_ENOMEM && table.count == 0));
        failures += rc != 0;
    }
    assert_int_equal(failures, 9);
    assert_string_equal(holder(&table, 0), "one");
    lock_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grant_goes_to_free_queues_only),
        cmocka_unit_test(only_the_holder_releases),
        cmocka_unit_test(a_lock_knows_the_parts_of_its_key),
        cmocka_unit_test(queues_under_names_that_are_too_long_are_left_out),
        cmocka_unit_test(the_hash_sees_holders_but_neither_order_nor_leases),
        cmocka_unit_test(a_group_holds_a_lock_until_its_last_one_is_released),
        cmocka_unit_test(every_failing_allocation_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
