/* Pops in order on a one-member broker: one batch of a queue at a time, again in its order when its time is over. */
#include "tests/unit/broker/rig.h"

#include "broker/flow/flows.h"
#include "remoting/base/clock.h"
#include "remoting/protocol/record.h"

#include <inttypes.h>
#include <stdio.h>

#define LONG "60000"
#define NOTHING RESP_POLLING_TIMEOUT

static struct rig rig;
static struct peer peer;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "2"), RESP_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(state_hash(rig.ctx->state), state_recount(rig.ctx->state));
    answer_free(&answer);
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

static void put(const char *queue, const char *body)
{
    assert_int_equal(
        rig_send(&peer, "Orders", queue, body, body[0] == 'x' ? "TAGS\001other\002" : "TAGS\001t\002", NULL),
        RESP_SUCCESS);
}

struct asked {
    const char *queue, *most, *invisible, *poll, *attempt, *tags;
};

static void pop_start(struct peer *from, const struct asked *asked, struct answer *to)
{
    peer_start(from, REQ_POP_MESSAGE,
               FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", asked->queue},
                      {"maxMsgNums", asked->most}, {"invisibleTime", asked->invisible}, {"pollTime", asked->poll},
                      {"bornTime", "0"}, {"initMode", "0"}, {"order", "true"},
                      {"exp", asked->tags != NULL ? asked->tags : "*"}, {"expType", "TAG"},
                      {"attemptId", asked->attempt != NULL ? asked->attempt : ""}),
               MQ_STR(""), to);
}

static int32_t pop(const char *queue, const char *most, const char *invisible)
{
    pop_start(&peer, &(struct asked){queue, most, invisible, "0", NULL, NULL}, &answer);
    rig_wait_flag(&rig, &answer.done);
    return answer.code;
}

static int32_t pop_as(const char *attempt)
{
    pop_start(&peer, &(struct asked){"0", "8", LONG, "0", attempt, NULL}, &answer);
    rig_wait_flag(&rig, &answer.done);
    return answer.code;
}

/* The bodies of an answer, one letter each. */
static const char *letters(const struct answer *of)
{
    static char text[64];
    const uint8_t *at = of->body.base, *stop = at + of->body.len;
    size_t n = 0;

    for (; at < stop; at += mq_be32_load(at)) {
        struct proto_record rec;

        assert_int_equal(proto_record_decode(at, mq_be32_load(at), &rec), 0);
        text[n++] = rec.body.at[0];
    }
    text[n] = '\0';
    return text;
}

/* The handle that clients make of the last answer for message @qoff of queue @queue. */
static const char *handle(const char *queue, const char *qoff)
{
    static char text[256];

    assert_string_equal(answer_field(&answer, "reviveQid"), "999");
    snprintf(text, sizeof(text), "0 %s %s 999 0 golden-a %s %s", answer_field(&answer, "popTime"),
             answer_field(&answer, "invisibleTime"), queue, qoff);
    return text;
}

static int32_t ack_with(const char *queue, const char *qoff, const char *with)
{
    return peer_code(&peer, REQ_ACK_MESSAGE,
                     FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", queue}, {"extraInfo", with},
                            {"offset", qoff}),
                     MQ_STR(""));
}

static int32_t ack(const char *queue, const char *qoff)
{
    return ack_with(queue, qoff, handle(queue, qoff));
}

static int64_t offset(int32_t queue)
{
    return offset_table_get(&rig.ctx->state->offsets, MQ_STR("CG"), MQ_STR("Orders"), queue);
}

static void nothing_behind_a_batch_is_given_while_somebody_holds_it(void **state)
{
    (void)state;
    put("0", "a");
    put("0", "b");
    put("0", "c");
    put("1", "d");
    assert_int_equal(pop("0", "2", LONG), RESP_SUCCESS);
    assert_string_equal(letters(&answer), "ab");
    assert_string_equal(answer_field(&answer, "startOffsetInfo"), "0 0 0");
    assert_string_equal(answer_field(&answer, "msgOffsetInfo"), "0 0 0,1");
    assert_string_equal(answer_field(&answer, "orderCountInfo"), "0 0 0");
    assert_int_equal(answer_number(&answer, "restNum"), 1);
    {
        char first[256], second[256];

        snprintf(first, sizeof(first), "%s", handle("0", "0"));
        snprintf(second, sizeof(second), "%s", handle("0", "1"));
        assert_int_equal(pop("-1", "8", LONG), RESP_SUCCESS); /* the other queue is free */
        assert_string_equal(letters(&answer), "d");
        assert_int_equal(pop("-1", "8", LONG), NOTHING);
        assert_int_equal(answer_number(&answer, "restNum"), 0);
        assert_int_equal(offset(0), 0);
        assert_int_equal(ack_with("0", "1", second), RESP_SUCCESS);
        assert_int_equal(offset(0), 0);
        assert_int_equal(pop("0", "8", LONG), NOTHING);
        assert_int_equal(ack_with("0", "0", first), RESP_SUCCESS);
        assert_int_equal(ack_with("0", "0", first), RESP_SUCCESS);
    }
    assert_int_equal(offset(0), 2);
    assert_int_equal(pop("0", "8", LONG), RESP_SUCCESS);
    assert_string_equal(letters(&answer), "c");
    assert_int_equal(rig.ctx->state->pops.count, 0); /* there are no check points, and no retry topic */
}

static bool is_free(void *data)
{
    (void)data;
    return pop("0", "8", LONG) == RESP_SUCCESS;
}

static void what_is_not_acknowledged_comes_again_in_its_order(void **state)
{
    (void)state;
    put("0", "a");
    put("0", "b");
    put("0", "c");
    assert_int_equal(pop("0", "3", "30"), RESP_SUCCESS);
    assert_int_equal(ack("0", "1"), RESP_SUCCESS);
    put("0", "d");
    rig_wait(&rig, is_free, NULL);
    assert_string_equal(letters(&answer), "ac"); /* and nothing behind them */
    assert_string_equal(answer_field(&answer, "msgOffsetInfo"), "0 0 0,2");
    assert_string_equal(answer_field(&answer, "orderCountInfo"), "0 qo0%0 1;0 qo0%2 1;0 0 1");
    assert_int_equal(answer_number(&answer, "restNum"), 1);
    assert_int_equal(ack("0", "0"), RESP_SUCCESS);
    assert_int_equal(ack("0", "2"), RESP_SUCCESS);
    assert_int_equal(offset(0), 3);
    assert_int_equal(pop("0", "8", LONG), RESP_SUCCESS);
    assert_string_equal(letters(&answer), "d");
    assert_string_equal(answer_field(&answer, "orderCountInfo"), "0 0 0");
}

static void who_waits_is_woken_by_the_last_acknowledgement_and_by_the_end_of_a_time(void **state)
{
    struct answer waiting = {0};
    struct peer other;

    (void)state;
    peer_dial(&rig, &other, PROTO_JSON);
    put("0", "a");
    put("0", "b");
    assert_int_equal(pop("0", "1", LONG), RESP_SUCCESS);
    pop_start(&other, &(struct asked){"-1", "1", "40", LONG, NULL, NULL}, &waiting);
    peer_sync(&other);
    assert_false(waiting.done);
    assert_int_equal(ack("0", "0"), RESP_SUCCESS);
    rig_wait_flag(&rig, &waiting.done);
    assert_string_equal(letters(&waiting), "b");
    pop_start(&other, &(struct asked){"0", "1", LONG, LONG, NULL, NULL}, &waiting);
    rig_wait_flag(&rig, &waiting.done); /* after 40 ms */
    assert_int_equal(waiting.code, RESP_SUCCESS);
    assert_string_equal(letters(&waiting), "b");
    answer_free(&waiting);
    peer_hang_up(&other);
}

static void who_repeats_an_attempt_gets_the_same_messages(void **state)
{
    (void)state;
    put("0", "a");
    put("0", "b");
    assert_int_equal(pop_as("one"), RESP_SUCCESS);
    assert_int_equal(ack("0", "0"), RESP_SUCCESS);
    assert_int_equal(pop_as("two"), NOTHING);
    assert_int_equal(pop_as("one"), RESP_SUCCESS); /* its answer was lost on the way, say */
    assert_string_equal(letters(&answer), "b");
    assert_string_equal(answer_field(&answer, "orderCountInfo"), "0 0 0");
    assert_int_equal(pop_as("two"), NOTHING);
}

static int32_t change(const char *qoff, const char *with, const char *invisible, struct answer *to)
{
    return peer_ask(&peer, REQ_CHANGE_MESSAGE_INVISIBLETIME,
                    FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}, {"extraInfo", with},
                           {"offset", qoff}, {"invisibleTime", invisible}),
                    MQ_STR(""), to);
}

static void a_message_may_be_kept_longer_under_the_same_pop_time(void **state)
{
    struct answer changed = {0};
    int64_t pop_ms;

    (void)state;
    put("0", "a");
    assert_int_equal(pop("0", "1", LONG), RESP_SUCCESS);
    pop_ms = answer_number(&answer, "popTime");
    assert_int_equal(change("0", handle("0", "0"), "100000", &changed), RESP_SUCCESS);
    assert_int_equal(answer_number(&changed, "popTime"), pop_ms);
    assert_true(answer_number(&changed, "invisibleTime") >= 100000);
    assert_string_equal(answer_field(&changed, "reviveQid"), "999");
    assert_int_equal(change("0", handle("0", "0"), "1", &changed), RESP_SUCCESS); /* now, please */
    rig_wait(&rig, is_free, NULL);
    assert_int_equal(ack("0", "0"), RESP_SUCCESS);
    assert_int_equal(change("0", handle("0", "0"), "1", &changed), RESP_NO_MESSAGE);
    answer_free(&changed);
}

static void many_are_acknowledged_at_once(void **state)
{
    char body[512];

    (void)state;
    for (int i = 0; i < 12; i++) {
        put("0", "a");
    }
    assert_int_equal(pop("0", "32", LONG), RESP_SUCCESS);
    snprintf(body, sizeof(body),
             "{\"brokerName\":\"golden-a\",\"acks\":[{\"c\":\"CG\",\"t\":\"Orders\",\"r\":\"0\",\"so\":0,\"q\":0,"
             "\"rq\":999,\"pt\":%s,\"it\":60000,\"b\":\"/wc=\"}]}",
             answer_field(&answer, "popTime")); /* bits 0 to 10 */
    assert_int_equal(peer_code(&peer, REQ_BATCH_ACK_MESSAGE, NO_FIELDS, mq_str_of(body)), RESP_SUCCESS);
    assert_int_equal(offset(0), 11);
    assert_int_equal(ack("0", "11"), RESP_SUCCESS);
    assert_int_equal(offset(0), 12);
    assert_int_equal(row_table_count(&rig.ctx->state->orders.rows), 0);
}

static void what_the_filter_leaves_out_is_passed_over(void **state)
{
    (void)state;
    put("0", "x");
    put("0", "a");
    put("0", "x");
    put("0", "x");
    pop_start(&peer, &(struct asked){"0", "8", "20", "0", NULL, "t"}, &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_string_equal(letters(&answer), "a");
    rig_wait(&rig, is_free, NULL); /* by another filter: the batch is what it was */
    assert_string_equal(letters(&answer), "a");
    assert_int_equal(ack("0", "1"), RESP_SUCCESS);
    assert_int_equal(offset(0), 4);
    put("0", "x");
    pop_start(&peer, &(struct asked){"0", "8", LONG, "0", NULL, "t"}, &answer);
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, NOTHING);
    assert_int_equal(offset(0), 5);
}

static void handles_that_are_over_change_nothing(void **state)
{
    char old[256];

    (void)state;
    put("0", "a");
    put("0", "b");
    assert_int_equal(pop("0", "2", "20"), RESP_SUCCESS);
    snprintf(old, sizeof(old), "%s", handle("0", "0"));
    rig_wait(&rig, is_free, NULL);
    assert_int_equal(ack_with("0", "0", old), RESP_SUCCESS);
    assert_int_equal(offset(0), 0);
    assert_int_equal(change("0", old, LONG, &answer), RESP_NO_MESSAGE);
}

static void an_offset_outside_the_batch_is_refused(void **state)
{
    (void)state;
    put("0", "a");
    put("0", "b");
    assert_int_equal(pop("0", "1", LONG), RESP_SUCCESS);
    assert_int_equal(ack("0", "1"), RESP_MESSAGE_ILLEGAL);
    assert_int_equal(offset(0), 0);
}

/* Batches and their times are state. */
static void batches_outlive_a_restart(void **state)
{
    char with[256];

    (void)state;
    put("0", "a");
    put("0", "b");
    assert_int_equal(pop("0", "2", LONG), RESP_SUCCESS);
    snprintf(with, sizeof(with), "%s", handle("0", "0"));
    assert_int_equal(ack_with("0", "0", with), RESP_SUCCESS);
    peer_hang_up(&peer);
    rig_reopen(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(pop("0", "2", LONG), NOTHING);
    assert_int_equal(ack_with("0", "1", with), RESP_SUCCESS);
    assert_int_equal(offset(0), 2);
    put("0", "c");
    assert_int_equal(pop("0", "2", LONG), RESP_SUCCESS);
    assert_string_equal(letters(&answer), "c");
}

static void pops_at_the_same_time_share_nothing(void **state)
{
    struct answer first = {0}, second = {0};

    (void)state;
    put("0", "a");
    put("0", "b");
    pop_start(&peer, &(struct asked){"0", "1", LONG, "0", NULL, NULL}, &first);
    pop_start(&peer, &(struct asked){"0", "1", LONG, "0", NULL, NULL}, &second);
    rig_wait_flag(&rig, &first.done);
    rig_wait_flag(&rig, &second.done);
    assert_int_equal((first.code == RESP_SUCCESS) + (second.code == RESP_SUCCESS), 1);
    assert_string_equal(letters(first.code == RESP_SUCCESS ? &first : &second), "a");
    answer_free(&first);
    answer_free(&second);
}

/* The leader looked, and an acknowledgement was on its way: what it acknowledges is not handed out. */
static void an_acknowledgement_on_its_way_counts(void **state)
{
    struct answer acked = {0}, popped = {0};
    char with[256];

    (void)state;
    put("0", "a");
    put("0", "b");
    assert_int_equal(pop("0", "2", "1"), RESP_SUCCESS);
    snprintf(with, sizeof(with), "%s", handle("0", "0"));
    while (mq_clock_wall_ms() <= answer_number(&answer, "popTime") + 1) {
    }
    peer_start(
        &peer, REQ_ACK_MESSAGE,
        FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}, {"extraInfo", with}, {"offset", "0"}),
        MQ_STR(""), &acked);
    pop_start(&peer, &(struct asked){"0", "8", LONG, "0", NULL, NULL}, &popped);
    rig_wait_flag(&rig, &acked.done);
    rig_wait_flag(&rig, &popped.done);
    assert_int_equal(acked.code, RESP_SUCCESS);
    assert_int_equal(popped.code, RESP_SUCCESS);
    assert_string_equal(letters(&popped), "b");
    answer_free(&acked);
    answer_free(&popped);
}

/* The first two go with the log's beginning before anybody acknowledges them. */
static void what_is_acknowledged_does_not_come_again_when_what_is_before_it_is_gone(void **state)
{
    (void)state;
    put("0", "a");
    put("0", "b");
    put("0", "c");
    assert_int_equal(pop("0", "3", "100"), RESP_SUCCESS);
    assert_string_equal(letters(&answer), "abc");
    assert_int_equal(ack("0", "2"), RESP_SUCCESS);
    put("0", "d");
    topic_queues_find(queue_table_find(&rig.ctx->store->queues, MQ_STR("Orders")), 0)->cq.min = 2;
    rig_wait(&rig, is_free, NULL);
    assert_string_equal(letters(&answer), "d");
    assert_int_equal(ack("0", "3"), RESP_SUCCESS);
    assert_int_equal(offset(0), 4);
}

static void a_notification_in_order_looks_at_free_queues(void **state)
{
    static const struct {
        const char *order, *attempt, *want;
    } cases[] = {{"true", "", "false"}, {"true", "one", "true"}, {"false", "", "true"}};

    (void)state;
    put("0", "a");
    put("0", "b");
    assert_int_equal(pop_as("one"), RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(
            peer_ask(&peer, REQ_NOTIFICATION,
                     FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"}, {"pollTime", "0"},
                            {"bornTime", "0"}, {"order", cases[i].order}, {"attemptId", cases[i].attempt}),
                     MQ_STR(""), &answer),
            RESP_SUCCESS);
        assert_string_equal(answer_field(&answer, "hasMsg"), cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_behind_a_batch_is_given_while_somebody_holds_it, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_acknowledged_comes_again_in_its_order, setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_is_woken_by_the_last_acknowledgement_and_by_the_end_of_a_time,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_repeats_an_attempt_gets_the_same_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_may_be_kept_longer_under_the_same_pop_time, setup, teardown),
        cmocka_unit_test_setup_teardown(many_are_acknowledged_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_filter_leaves_out_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(handles_that_are_over_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(an_offset_outside_the_batch_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_outlive_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(pops_at_the_same_time_share_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(an_acknowledgement_on_its_way_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_acknowledged_does_not_come_again_when_what_is_before_it_is_gone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_notification_in_order_looks_at_free_queues, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
