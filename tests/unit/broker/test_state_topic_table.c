#include "broker/state/topic_table.h"

#include "broker/state/command.pb-c.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct queue_table queues;

static void open_table(struct topic_table *table)
{
    assert_int_equal(queue_table_init(&queues, "/nowhere"), 0);
    topic_table_init(table, &queues);
}

static void close_table(struct topic_table *table)
{
    topic_table_fini(table);
    queue_table_fini(&queues);
}

static Raftmq__TopicConfigItem config_of(const char *name, uint32_t n)
{
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;

    config.name = (char *)name;
    config.read_queues = n;
    config.write_queues = n + 1;
    config.perm = 6;
    config.filter_type = (char *)"SINGLE_TAG";
    return config;
}

static void put_creates_and_then_replaces_everything_in_place(void **state)
{
    Raftmq__Attribute attribute = RAFTMQ__ATTRIBUTE__INIT;
    Raftmq__Attribute *attributes[] = {&attribute};
    Raftmq__TopicConfigItem config = config_of("Orders", 8);
    struct topic_table table;
    struct topic *topic;

    (void)state;
    attribute.key = (char *)"message.type";
    attribute.value = (char *)"FIFO";
    config.attributes = attributes;
    config.n_attributes = 1;
    open_table(&table);
    assert_null(topic_table_find(&table, MQ_STR("Orders")));
    assert_int_equal(topic_table_put(&table, &config, 1000), 0);
    topic = topic_table_find(&table, MQ_STR("Orders"));
    assert_non_null(topic);
    assert_int_equal(topic->read_queues, 8);
    assert_int_equal(topic->write_queues, 9);
    assert_int_equal(topic->perm, 6);
    assert_false(topic->multi_tag);
    assert_int_equal(topic->n_attributes, 1);
    assert_string_equal(topic->attributes[0].value, "FIFO");
    assert_ptr_equal(topic->queues, queue_table_topic(&queues, MQ_STR("Orders")));

    config = config_of("Orders", 4);
    config.filter_type = (char *)"MULTI_TAG";
    config.order = true;
    config.sys_flag = 3;
    assert_int_equal(topic_table_put(&table, &config, 2000), 0);
    assert_ptr_equal(topic_table_find(&table, MQ_STR("Orders")), topic);
    assert_int_equal(topic->read_queues, 4);
    assert_true(topic->multi_tag && topic->order);
    assert_int_equal(topic->sys_flag, 3);
    assert_int_equal(topic->n_attributes, 0);
    assert_int_equal(table.count, 1);
    assert_int_equal(table.counter, 2);
    assert_int_equal(table.changed_ms, 2000);
    close_table(&table);
}

static void a_pending_topic_is_for_sends_only(void **state)
{
    Raftmq__TopicConfigItem config = config_of("New", 4), other = config_of("New", 9);
    struct topic_table table;
    struct topic *topic;

    (void)state;
    open_table(&table);
    assert_int_equal(topic_table_put_pending(&table, &config), 0);
    assert_null(topic_table_find(&table, MQ_STR("New")));
    topic = topic_table_find_for_send(&table, MQ_STR("New"));
    assert_non_null(topic);
    assert_true(topic->pending);
    assert_int_equal(table.count, 0);
    assert_int_equal(table.counter, 0);
    assert_int_equal(topic_table_put_pending(&table, &other), 0);
    assert_int_equal(topic->read_queues, 4); /* a known topic is left alone */

    assert_int_equal(topic_table_put(&table, &config, 5), 0);
    assert_ptr_equal(topic_table_find(&table, MQ_STR("New")), topic);
    assert_int_equal(table.count, 1);
    assert_int_equal(topic_table_put_pending(&table, &other), 0);
    assert_int_equal(topic->read_queues, 4);
    close_table(&table);
}

static void dropping_pending_topics_leaves_the_applied_ones(void **state)
{
    Raftmq__TopicConfigItem kept = config_of("Kept", 1), gone = config_of("Gone", 1);
    struct topic_table table;

    (void)state;
    open_table(&table);
    assert_int_equal(topic_table_put(&table, &kept, 1), 0);
    assert_int_equal(topic_table_put_pending(&table, &gone), 0);
    topic_table_drop_pending(&table);
    assert_null(topic_table_find_for_send(&table, MQ_STR("Gone")));
    assert_non_null(topic_table_find_for_send(&table, MQ_STR("Kept")));
    assert_int_equal(table.count, 1);
    close_table(&table);
}

static void a_lost_proposal_is_forgotten_and_no_other_one(void **state)
{
    Raftmq__TopicConfigItem kept = config_of("Kept", 1), a = config_of("A", 1), b = config_of("B", 1);
    struct topic_table table;
    uint32_t first, second, deletion;

    (void)state;
    open_table(&table);
    assert_int_equal(topic_table_put(&table, &kept, 1), 0);
    first = topic_table_ticket(&table);
    assert_int_equal(topic_table_put_pending(&table, &a), 0);
    second = topic_table_ticket(&table);
    assert_int_equal(topic_table_put_pending(&table, &b), 0);
    assert_int_equal(topic_table_put_pending(&table, &a), 0); /* is on its way already */
    deletion = topic_table_ticket(&table);
    topic_table_note_deletion(&table, MQ_STR("Kept"));
    topic_table_forget(&table, second);
    assert_non_null(topic_table_find_for_send(&table, MQ_STR("A")));
    assert_null(topic_table_find_for_send(&table, MQ_STR("B")));
    assert_null(topic_table_find_for_send(&table, MQ_STR("Kept"))); /* its deletion is on its way */
    second = topic_table_ticket(&table);
    assert_int_equal(topic_table_put_pending(&table, &kept), 0);
    assert_non_null(topic_table_find_for_send(&table, MQ_STR("Kept")));
    topic_table_forget(&table, second);
    assert_null(topic_table_find_for_send(&table, MQ_STR("Kept")));
    assert_int_equal(topic_table_put(&table, &a, 2), 0);
    topic_table_forget(&table, first); /* is there by now */
    assert_non_null(topic_table_find(&table, MQ_STR("A")));
    topic_table_forget(&table, deletion);
    assert_ptr_equal(topic_table_find_for_send(&table, MQ_STR("Kept")), topic_table_find(&table, MQ_STR("Kept")));
    close_table(&table);
}

static void the_hash_sees_content_but_neither_order_nor_pending_topics(void **state)
{
    Raftmq__TopicConfigItem a = config_of("a", 1), b = config_of("b", 2), c = config_of("c", 3);
    struct topic_table one, two;
    uint64_t hash;

    (void)state;
    open_table(&one);
    topic_table_init(&two, &queues);
    assert_int_equal(topic_table_hash(&one), topic_table_hash(&two));
    assert_int_equal(topic_table_put(&one, &a, 1), 0);
    assert_int_equal(topic_table_put(&one, &b, 2), 0);
    assert_int_equal(topic_table_put(&two, &b, 1), 0);
    assert_int_equal(topic_table_put(&two, &a, 2), 0);
    assert_int_equal(topic_table_put_pending(&two, &c), 0);
    hash = topic_table_hash(&one);
    assert_int_equal(hash, topic_table_hash(&two));
    a.order = true;
    assert_int_equal(topic_table_put(&two, &a, 2), 0);
    two.counter--;
    assert_int_not_equal(hash, topic_table_hash(&two));
    topic_table_fini(&two);
    close_table(&one);
}

static void every_failing_allocation_leaves_what_was_there(void **state)
{
    Raftmq__Attribute attribute = RAFTMQ__ATTRIBUTE__INIT;
    Raftmq__Attribute *attributes[] = {&attribute};
    Raftmq__TopicConfigItem config = config_of("Orders", 8);
    struct topic_table table;
    unsigned failures = 0;
    int rc = MQ_ENOMEM;

    (void)state;
    attribute.key = (char *)"k";
    attribute.value = (char *)"v";
    config.attributes = attributes;
    config.n_attributes = 1;
    open_table(&table);
    for (unsigned n = 1; rc != 0; n++) {
        mq_heap_fail_at(n);
        rc = topic_table_put(&table, &config, 1);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || (rc == MQ_ENOMEM && topic_table_find_for_send(&table, MQ_STR("Orders")) == NULL));
        failures += rc != 0;
    }
    assert_true(failures >= 7);
    config.read_queues = 1;
    mq_heap_fail_at(1);
    assert_int_equal(topic_table_put(&table, &config, 1), MQ_ENOMEM);
    assert_int_equal(topic_table_find(&table, MQ_STR("Orders"))->read_queues, 8);
    close_table(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_creates_and_then_replaces_everything_in_place),
        cmocka_unit_test(a_pending_topic_is_for_sends_only),
        cmocka_unit_test(a_lost_proposal_is_forgotten_and_no_other_one),
        cmocka_unit_test(dropping_pending_topics_leaves_the_applied_ones),
        cmocka_unit_test(the_hash_sees_content_but_neither_order_nor_pending_topics),
        cmocka_unit_test(every_failing_allocation_leaves_what_was_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
