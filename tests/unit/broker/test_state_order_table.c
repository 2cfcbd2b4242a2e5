/* Batches that are popped in order, as committed items make them. */
#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define GROUP MQ_STR("G")
#define TOPIC MQ_STR("T")

static struct fixture f;
static uint32_t freed;

static void on_freed(void *data, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    (void)data;
    assert_true(mq_str_eq(group, GROUP) && mq_str_eq(topic, TOPIC) && queue_id == 1);
    freed++;
}

static void apply(enum command_type type, const ProtobufCMessage *message)
{
    uint8_t payload[1024];

    MQ_ASSERT(command_bytes(message) <= sizeof(payload));
    command_encode(type, message, payload);
    fake_log_append(f.log, payload, command_bytes(message), 0, 1, (int64_t)f.log->index + 1000);
    assert_int_equal(state_hash(&f.state), state_recount(&f.state));
}

static int setup(void **state)
{
    Raftmq__TopicPut put = RAFTMQ__TOPIC_PUT__INIT;
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;

    (void)state;
    fixture_open(&f, 1u << 20);
    freed = 0;
    f.state.news.order_freed = on_freed;
    config.name = (char *)"T";
    config.read_queues = config.write_queues = 2;
    config.filter_type = (char *)"SINGLE_TAG";
    put.config = &config;
    apply(COMMAND_TOPIC_PUT, &put.base);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static int64_t offset(void)
{
    return offset_table_get(&f.state.offsets, GROUP, TOPIC, 1);
}

static const struct order_batch *batch(void)
{
    return order_table_find(&f.state.orders, GROUP, TOPIC, 1);
}

/* @offsets: of the queue, ending with -1. The rest as the leader sees it. */
static Raftmq__OrderTake taking(int64_t pop_ms, const int *qoffs, uint32_t *offsets)
{
    Raftmq__OrderTake item = RAFTMQ__ORDER_TAKE__INIT;

    item.group = (char *)"G";
    item.topic = (char *)"T";
    item.queue_id = 1;
    item.pop_ms = pop_ms;
    item.until_ms = pop_ms + 100;
    item.start = qoffs[0];
    item.offsets = offsets;
    while (qoffs[item.n_offsets] >= 0) {
        offsets[item.n_offsets] = (uint32_t)(qoffs[item.n_offsets] - qoffs[0]);
        item.n_offsets++;
    }
    item.next = qoffs[item.n_offsets - 1] + 1;
    item.again = batch() != NULL;
    item.seen_offset = offset();
    item.seen_pop_ms = batch() != NULL ? batch()->pop_ms : 0;
    item.seen_steps = batch() != NULL ? batch()->steps : 0;
    return item;
}

static void take(int64_t pop_ms, const int *qoffs)
{
    uint32_t offsets[POP_MESSAGES_MAX];
    Raftmq__OrderTake item = taking(pop_ms, qoffs, offsets);

    if (item.again) {
        item.next = (int64_t)batch()->next;
    }
    apply(COMMAND_ORDER_TAKE, &item.base);
}

static void ack(int64_t pop_ms, uint64_t qoff)
{
    Raftmq__OrderAck item = RAFTMQ__ORDER_ACK__INIT;

    item.group = (char *)"G";
    item.topic = (char *)"T";
    item.queue_id = 1;
    item.pop_ms = pop_ms;
    item.offsets = &qoff;
    item.n_offsets = 1;
    apply(COMMAND_ORDER_ACK, &item.base);
}

static void change(int64_t pop_ms, uint64_t qoff, int64_t until_ms)
{
    Raftmq__OrderChange item = RAFTMQ__ORDER_CHANGE__INIT;

    item.group = (char *)"G";
    item.topic = (char *)"T";
    item.queue_id = 1;
    item.pop_ms = pop_ms;
    item.offset = qoff;
    item.until_ms = until_ms;
    apply(COMMAND_ORDER_CHANGE, &item.base);
}

#define QOFFS(...) ((const int[]){__VA_ARGS__, -1})

static void the_offset_is_that_of_the_first_message_that_is_open(void **state)
{
    (void)state;
    take(1000, QOFFS(5, 6, 9));
    assert_int_equal(offset(), 5);
    assert_true(order_is_held(batch(), order_open(batch(), offset()), 0, 1099));
    assert_false(order_is_held(batch(), order_open(batch(), offset()), 0, 1100));
    ack(1000, 6);
    assert_int_equal(offset(), 5);
    ack(1000, 5);
    assert_int_equal(offset(), 9); /* 7 and 8 the filter left out */
    ack(1000, 5);
    assert_int_equal(offset(), 9);
    assert_int_equal(freed, 0);
    ack(1000, 9);
    assert_int_equal(offset(), 10);
    assert_null(batch());
    assert_int_equal(freed, 1);
}

static void what_comes_again_is_what_is_open_and_is_counted(void **state)
{
    (void)state;
    take(1000, QOFFS(0, 1, 2, 3));
    ack(1000, 1);
    take(2000, QOFFS(0, 2)); /* two of the three */
    assert_int_equal(batch()->n, 4);
    assert_int_equal(order_open(batch(), offset()), 13);
    assert_int_equal(batch()->counts[0], 1);
    assert_int_equal(batch()->counts[2], 1);
    assert_int_equal(batch()->counts[3], 0);
    assert_true(batch()->until_ms[2] == 2100 && batch()->until_ms[3] == 0);
    ack(1000, 0); /* a handle that is over */
    assert_int_equal(order_open(batch(), offset()), 13);
    ack(2000, 0);
    ack(2000, 2);
    assert_int_equal(offset(), 3);
    assert_false(order_is_held(batch(), order_open(batch(), offset()), 0, 0));
    take(3000, QOFFS(3));
    ack(3000, 3);
    assert_int_equal(offset(), 4);
    assert_null(batch());
}

static void the_same_attempt_is_no_further_one(void **state)
{
    uint32_t offsets[POP_MESSAGES_MAX];
    Raftmq__OrderTake item = taking(1000, QOFFS(0, 1), offsets);
    uint32_t open;

    (void)state;
    item.attempt = order_attempt(MQ_STR("one"));
    apply(COMMAND_ORDER_TAKE, &item.base);
    open = order_open(batch(), offset());
    assert_false(order_is_held(batch(), open, order_attempt(MQ_STR("one")), 1000));
    assert_true(order_is_held(batch(), open, order_attempt(MQ_STR("two")), 1000));
    assert_true(order_is_held(batch(), open, order_attempt(MQ_STR("")), 1000));
    item = taking(1001, QOFFS(0, 1), offsets);
    item.attempt = order_attempt(MQ_STR("one"));
    apply(COMMAND_ORDER_TAKE, &item.base);
    assert_int_equal(batch()->pop_ms, 1001);
    assert_int_equal(batch()->counts[0], 0);
}

static void a_message_may_be_held_longer_or_given_up(void **state)
{
    (void)state;
    take(1000, QOFFS(0, 1));
    change(1000, 1, 5000);
    assert_true(order_is_held(batch(), order_open(batch(), offset()), 0, 4999));
    change(999, 1, 9000); /* a handle that is over */
    assert_false(order_is_held(batch(), order_open(batch(), offset()), 0, 5000));
    change(1000, 1, 1);
    assert_true(order_is_held(batch(), order_open(batch(), offset()), 0, 1099)); /* the other one is */
    ack(1000, 0);
    assert_false(order_is_held(batch(), order_open(batch(), offset()), 0, 1));
    assert_true(order_table_first_due(&f.state.orders) == batch() && batch()->due.at_ms == 1);
}

static void what_a_leader_saw_must_still_be_so(void **state)
{
    uint32_t offsets[POP_MESSAGES_MAX];
    Raftmq__OrderTake item;
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;

    (void)state;
    commit.group = (char *)"G";
    commit.topic = (char *)"T";
    commit.queue_id = 1;
    commit.offset = 3;
    item = taking(1000, QOFFS(0), offsets);
    apply(COMMAND_OFFSET_COMMIT, &commit.base);
    apply(COMMAND_ORDER_TAKE, &item.base);
    assert_null(batch());
    assert_int_equal(offset(), 3);
    take(1000, QOFFS(3, 4));
    item = taking(2000, QOFFS(3, 4), offsets);
    ack(1000, 4);
    apply(COMMAND_ORDER_TAKE, &item.base);
    assert_int_equal(batch()->pop_ms, 1000);
    item = taking(2000, QOFFS(3), offsets);
    change(1000, 3, 9000);
    apply(COMMAND_ORDER_TAKE, &item.base);
    assert_int_equal(batch()->pop_ms, 1000);
    item = taking(2000, QOFFS(3), offsets);
    ack(1000, 3);
    apply(COMMAND_ORDER_TAKE, &item.base);
    assert_null(batch());
    assert_int_equal(offset(), 5);
}

static void messages_that_the_log_dropped_are_passed_over(void **state)
{
    (void)state;
    take(1000, QOFFS(0, 1, 2));
    take(2000, QOFFS(2)); /* the leader found nothing before */
    assert_int_equal(offset(), 2);
    assert_int_equal(order_open(batch(), -1), 4);
    ack(2000, 2);
    assert_null(batch());
    assert_int_equal(offset(), 3);
}

static void offsets_that_others_move_are_followed(void **state)
{
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;
    Raftmq__OffsetsReset reset = RAFTMQ__OFFSETS_RESET__INIT;
    int32_t queue_id = 1;
    int64_t to = 7;

    (void)state;
    commit.group = reset.group = (char *)"G";
    commit.topic = reset.topic = (char *)"T";
    commit.queue_id = 1;
    commit.offset = 2;
    take(1000, QOFFS(0, 1, 2));
    apply(COMMAND_OFFSET_COMMIT, &commit.base);
    assert_int_equal(order_open(batch(), offset()), 4);
    ack(1000, 0);
    assert_int_equal(offset(), 2); /* never back */
    reset.queue_ids = &queue_id;
    reset.offsets = &to;
    reset.n_queue_ids = reset.n_offsets = 1;
    apply(COMMAND_OFFSETS_RESET, &reset.base);
    assert_null(batch());
    ack(1000, 1);
    assert_int_equal(offset(), 7);
    take(2000, QOFFS(7)); /* until a consumer was told of the reset nothing is handed out */
    assert_null(batch());
}

static void a_batch_goes_with_its_topic_and_group(void **state)
{
    Raftmq__TopicDelete delete_topic = RAFTMQ__TOPIC_DELETE__INIT;
    Raftmq__GroupDelete delete_group = RAFTMQ__GROUP_DELETE__INIT;

    (void)state;
    take(1000, QOFFS(0));
    delete_group.name = (char *)"G";
    apply(COMMAND_GROUP_DELETE, &delete_group.base);
    assert_non_null(batch());
    delete_group.clean_offsets = true;
    apply(COMMAND_GROUP_DELETE, &delete_group.base);
    assert_null(batch());
    take(1000, QOFFS(0));
    delete_topic.name = (char *)"T";
    apply(COMMAND_TOPIC_DELETE, &delete_topic.base);
    assert_null(batch());
    take(2000, QOFFS(0)); /* of a topic that is not there */
    assert_null(batch());
    assert_null(order_table_first_due(&f.state.orders));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_offset_is_that_of_the_first_message_that_is_open, setup, teardown),
        cmocka_unit_test_setup_teardown(what_comes_again_is_what_is_open_and_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_attempt_is_no_further_one, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_may_be_held_longer_or_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_leader_saw_must_still_be_so, setup, teardown),
        cmocka_unit_test_setup_teardown(messages_that_the_log_dropped_are_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(offsets_that_others_move_are_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_batch_goes_with_its_topic_and_group, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
