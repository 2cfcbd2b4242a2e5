#include "broker/store/queue_table.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void queues_are_made_when_first_got_and_found_afterwards(void **state)
{
    struct queue_table table;
    struct topic_queues *topic;
    struct queue *queue, *again;

    (void)state;
    assert_int_equal(queue_table_init(&table, "/nowhere/consumequeue"), 0);
    topic = queue_table_topic(&table, MQ_STR("Orders"));
    assert_non_null(topic);
    assert_ptr_equal(queue_table_topic(&table, MQ_STR("Orders")), topic);
    assert_ptr_not_equal(queue_table_topic(&table, MQ_STR("Order")), topic);
    assert_null(topic_queues_find(topic, 0));
    assert_int_equal(topic_queues_get(&table, topic, 5, &queue), 0);
    assert_int_equal(topic_queues_get(&table, topic, 5, &again), 0);
    assert_ptr_equal(queue, again);
    assert_ptr_equal(topic_queues_find(topic, 5), queue);
    assert_null(topic_queues_find(topic, 4));
    assert_null(topic_queues_find(topic, 6));
    assert_null(topic_queues_find(topic, -1));
    assert_string_equal(queue->cq.dir, "/nowhere/consumequeue/Orders/5");
    assert_ptr_equal(queue->topic, topic);
    queue_table_fini(&table);
}

static void what_cannot_be_a_queue_or_a_directory_is_refused(void **state)
{
    static const struct {
        const char *topic;
        uint32_t bytes;
        int32_t id;
        int want;
    } cases[] = {{"Orders", 6, -1, MQ_EINVAL},   {"Orders", 6, QUEUE_ID_MAX + 1, MQ_EINVAL},
                 {"Orders", 6, QUEUE_ID_MAX, 0}, {"../Orders", 9, 0, MQ_EINVAL},
                 {"..", 2, 0, MQ_EINVAL},        {"a/b", 3, 0, MQ_EINVAL},
                 {"", 0, 0, MQ_EINVAL},          {"a\0b", 3, 0, MQ_EINVAL},
                 {"%RETRY%group", 12, 0, 0}};
    struct queue_table table;

    (void)state;
    assert_int_equal(queue_table_init(&table, "/nowhere"), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct topic_queues *topic = queue_table_topic(&table, (struct mq_str){cases[i].topic, cases[i].bytes});
        struct queue *queue;

        print_message("%s %d\n", cases[i].topic, (int)cases[i].id);
        assert_int_equal(topic_queues_get(&table, topic, cases[i].id, &queue), cases[i].want);
    }
    queue_table_fini(&table);
}

static void reset_next_goes_back_to_what_was_applied(void **state)
{
    struct queue_table table;
    struct queue *queue;

    (void)state;
    assert_int_equal(queue_table_init(&table, "/nowhere"), 0);
    assert_int_equal(topic_queues_get(&table, queue_table_topic(&table, MQ_STR("a")), 1, &queue), 0);
    queue->cq.max = 7;
    queue->next = 12;
    queue_table_reset_next(&table);
    assert_int_equal(queue->next, 7);
    queue_table_fini(&table);
}

static void every_failing_allocation_leaves_the_table_whole(void **state)
{
    struct queue_table table;
    struct topic_queues *topic = NULL;
    struct queue *queue = NULL;
    unsigned failures = 0;

    (void)state;
    assert_int_equal(queue_table_init(&table, "/nowhere"), 0);
    for (unsigned n = 1; topic == NULL; n++) {
        mq_heap_fail_at(n);
        topic = queue_table_topic(&table, MQ_STR("Orders"));
        failures += topic == NULL;
    }
    for (unsigned n = 1; queue == NULL; n++) {
        int rc;

        mq_heap_fail_at(n);
        rc = topic_queues_get(&table, topic, 2, &queue);
        assert_true(rc == 0 || rc == MQ_ENOMEM);
        failures += rc != 0;
    }
    mq_heap_fail_at(0);
    assert_true(failures >= 6);
    assert_ptr_equal(topic_queues_find(topic, 2), queue);
    queue_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queues_are_made_when_first_got_and_found_afterwards),
        cmocka_unit_test(what_cannot_be_a_queue_or_a_directory_is_refused),
        cmocka_unit_test(reset_next_goes_back_to_what_was_applied),
        cmocka_unit_test(every_failing_allocation_leaves_the_table_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
