/* Pulls from a one-member broker: what is found, what waits, and what is refused. */
#include "tests/unit/broker/rig.h"

#include "broker/flow/pull_hold.h"
#include "broker/processor/propose.h"
#include "remoting/base/clock.h"
#include "remoting/protocol/record.h"
#include "tests/unit/broker/lacking.h"

#include <stdio.h>

static struct rig rig;
static struct peer peer;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_BINARY);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(
            rig_send(&peer, "Orders", "0", "body", i % 2 == 0 ? "TAGS\001red\002" : "TAGS\001blue\002", NULL),
            RESP_SUCCESS);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

static uint32_t records_in(const struct answer *pulled)
{
    uint32_t n = 0;

    for (size_t at = 0; at < pulled->body.len; at += mq_be32_load(pulled->body.base + at)) {
        n++;
    }
    return n;
}

static void offsets_outside_the_queue_are_corrected(void **state)
{
    static const struct {
        const char *why, *queue, *qoff;
        int32_t code;
        int64_t next, max;
        const char *remark;
    } cases[] = {
        {"the beginning", "0", "0", RESP_SUCCESS, 32, 50, "FOUND"},
        {"near the end", "0", "45", RESP_SUCCESS, 50, 50, "FOUND"},
        {"the end", "0", "50", RESP_PULL_NOT_FOUND, 50, 50, "OFFSET_OVERFLOW_ONE"},
        {"beyond the end", "0", "51", RESP_PULL_OFFSET_MOVED, 50, 50, "OFFSET_OVERFLOW_BADLY"},
        {"the largest number", "0", "9223372036854775807", RESP_PULL_OFFSET_MOVED, 50, 50, "OFFSET_OVERFLOW_BADLY"},
        {"negative", "0", "-1", RESP_PULL_OFFSET_MOVED, 0, 50, "OFFSET_TOO_SMALL"},
        {"the smallest number", "0", "-9223372036854775808", RESP_PULL_OFFSET_MOVED, 0, 50, "OFFSET_TOO_SMALL"},
        {"an empty queue", "1", "0", RESP_PULL_NOT_FOUND, 0, 0, "NO_MESSAGE_IN_QUEUE"},
        {"an empty queue at 5", "1", "5", RESP_PULL_OFFSET_MOVED, 0, 0, "NO_MESSAGE_IN_QUEUE"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(rig_pull(&peer, "Orders", cases[i].queue, cases[i].qoff, NULL, &answer), cases[i].code);
        assert_int_equal(answer_number(&answer, "nextBeginOffset"), cases[i].next);
        assert_int_equal(answer_number(&answer, "minOffset"), 0);
        assert_int_equal(answer_number(&answer, "maxOffset"), cases[i].max);
        assert_int_equal(answer_number(&answer, "suggestWhichBrokerId"), 0);
        assert_string_equal(answer_remark(&answer), cases[i].remark);
    }
}

static void a_filter_lets_its_tags_through(void **state)
{
    (void)state;
    assert_int_equal(rig_pull(&peer, "Orders", "0", "0", "red", &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer), 25);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 50);
    assert_int_equal(rig_pull(&peer, "Orders", "0", "0", "red || blue", &answer), RESP_SUCCESS);
    assert_int_equal(records_in(&answer), 32);
    assert_int_equal(rig_pull(&peer, "Orders", "0", "0", "green", &answer), RESP_PULL_RETRY_IMMEDIATELY);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 50);
}

static void bad_pulls_get_the_code_of_the_original(void **state)
{
    static const struct {
        const char *why, *group, *topic, *queue, *sys_flag, *subscription, *type;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"no such topic", "CG", "Nowhere", "0", "4", "*", NULL, RESP_TOPIC_NOT_EXIST, "Nowhere"},
        {"an illegal topic", "CG", "../x", "0", "4", "*", NULL, RESP_TOPIC_NOT_EXIST, "../x"},
        {"an illegal group", "a b", "Orders", "0", "4", "*", NULL, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "a b"},
        {"a queue beyond", "CG", "Orders", "4", "4", "*", NULL, RESP_INVALID_PARAMETER, "queueId 4"},
        {"a negative queue", "CG", "Orders", "-1", "4", "*", NULL, RESP_INVALID_PARAMETER, "queueId -1"},
        {"a subscription without tags", "CG", "Orders", "0", "4", "||", NULL, RESP_SUBSCRIPTION_PARSE_FAILED, "||"},
        {"SQL92 that is none", "CG", "Orders", "0", "4", "a = ", "SQL92", RESP_SUBSCRIPTION_PARSE_FAILED,
         "position 5"},
        {"an unknown type", "CG", "Orders", "0", "4", "a", "LUA", RESP_SUBSCRIPTION_PARSE_FAILED, "LUA"},
        {"nobody of the group", "Nobody", "Orders", "0", "0", NULL, NULL, RESP_SUBSCRIPTION_NOT_EXIST, "Nobody"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(
            peer_ask(&peer, REQ_PULL_MESSAGE,
                     FIELDS({"consumerGroup", cases[i].group}, {"topic", cases[i].topic}, {"queueId", cases[i].queue},
                            {"queueOffset", "0"}, {"maxMsgNums", "1"}, {"sysFlag", cases[i].sys_flag},
                            {"commitOffset", "0"}, {"suspendTimeoutMillis", "0"}, {"subVersion", "0"},
                            {"subscription", cases[i].subscription}, {"expressionType", cases[i].type}),
                     MQ_STR(""), &answer),
            cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_int_equal(peer_code(&peer, REQ_PULL_MESSAGE, FIELDS({"topic", "Orders"}), MQ_STR("")), RESP_SYSTEM_ERROR);
}

static void what_may_not_be_read_is_refused_with_its_kind(void **state)
{
    (void)state;
    assert_int_equal(peer_code(&peer, REQ_UPDATE_AND_CREATE_TOPIC,
                               FIELDS({"topic", "WriteOnly"}, {"defaultTopic", "TBW102"}, {"readQueueNums", "1"},
                                      {"writeQueueNums", "1"}, {"perm", "2"}, {"topicFilterType", "SINGLE_TAG"},
                                      {"order", "false"}),
                               MQ_STR("")),
                     RESP_SUCCESS);
    assert_int_equal(rig_pull(&peer, "WriteOnly", "0", "0", NULL, &answer), RESP_NO_PERMISSION);
    assert_int_equal(answer_number(&answer, "forbiddenType"), 3);
}

static void at_most_so_many_messages_come_as_asked_and_as_configured(void **state)
{
    static const struct {
        const char *asked;
        uint32_t got;
    } cases[] = {{"1", 1}, {"0", 1}, {"-5", 1}, {"20", 20}, {"1000", 32}, {"2147483647", 32}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(peer_ask(&peer, REQ_LITE_PULL_MESSAGE,
                                  FIELDS({"consumerGroup", "CG"}, {"topic", "Orders"}, {"queueId", "0"},
                                         {"queueOffset", "0"}, {"maxMsgNums", cases[i].asked}, {"sysFlag", "20"},
                                         {"commitOffset", "0"}, {"suspendTimeoutMillis", "0"}, {"subVersion", "0"}),
                                  MQ_STR(""), &answer),
                         RESP_SUCCESS);
        assert_int_equal(records_in(&answer), cases[i].got);
    }
}

static void subscriptions_come_from_heartbeats_unless_the_request_brings_one(void **state)
{
    static const char beat[] =
        "{\"clientID\":\"c1\",\"producerDataSet\":[],\"consumerDataSet\":[{\"groupName\":\"Beaters\","
        "\"subscriptionDataSet\":[{\"topic\":\"Orders\",\"subString\":\"blue\",\"tagsSet\":[\"blue\"],"
        "\"subVersion\":7}]}]}";
    static const struct {
        const char *topic, *version;
        int32_t code;
    } cases[] = {
        {"Orders", "7", RESP_SUCCESS},
        {"Orders", "0", RESP_SUCCESS}, /* Go */
        {"Orders", "8", RESP_SUBSCRIPTION_NOT_LATEST},
        {"BenchmarkTest", "0", RESP_SUBSCRIPTION_NOT_EXIST},
    };

    (void)state;
    assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS, mq_str_of(beat)), RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(
            peer_ask(&peer, REQ_PULL_MESSAGE,
                     FIELDS({"consumerGroup", "Beaters"}, {"topic", cases[i].topic}, {"queueId", "0"},
                            {"queueOffset", "0"}, {"maxMsgNums", "32"}, {"sysFlag", "0"}, {"commitOffset", "0"},
                            {"suspendTimeoutMillis", "0"}, {"subVersion", cases[i].version}),
                     MQ_STR(""), &answer),
            cases[i].code);
        if (cases[i].code == RESP_SUCCESS) {
            assert_int_equal(records_in(&answer), 25);
        }
    }
}

/* Puts a group into the state, as an operator's request would. */
static void put_group(const char *name, bool broadcast)
{
    Raftmq__GroupPut put = RAFTMQ__GROUP_PUT__INIT;

    group_defaults(&put, (char *)name);
    put.consume_broadcast_enable = broadcast;
    assert_int_equal(propose_item(rig.ctx, COMMAND_GROUP_PUT, &put.base, NULL), 0);
    /* Behind it in the log. */
    assert_int_equal(rig_send(&peer, "BenchmarkTest", "0", "b", "", NULL), RESP_SUCCESS);
}

static int32_t pull_subscribed(const char *group, const char *topic)
{
    return peer_ask(&peer, REQ_PULL_MESSAGE,
                    FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", "0"}, {"queueOffset", "0"},
                           {"maxMsgNums", "32"}, {"sysFlag", "0"}, {"commitOffset", "0"},
                           {"suspendTimeoutMillis", "0"}, {"subVersion", "0"}),
                    MQ_STR(""), &answer);
}

static void a_group_that_may_not_broadcast_is_refused_with_its_kind(void **state)
{
    static const struct {
        const char *group, *model;
        bool may;
        int32_t code;
    } cases[] = {
        {"NoBroadcast", "BROADCASTING", false, RESP_NO_PERMISSION},
        {"NoBroadcast", "CLUSTERING", false, RESP_SUCCESS},
        {"Broadcast", "BROADCASTING", true, RESP_SUCCESS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char body[512];

        put_group(cases[i].group, cases[i].may);
        snprintf(body, sizeof(body),
                 "{\"clientID\":\"c1\",\"consumerDataSet\":[{\"groupName\":\"%s\",\"messageModel\":\"%s\","
                 "\"subscriptionDataSet\":[{\"topic\":\"Orders\",\"subString\":\"*\"}]}]}",
                 cases[i].group, cases[i].model);
        assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS, mq_str_of(body)), RESP_SUCCESS);
        assert_int_equal(pull_subscribed(cases[i].group, "Orders"), cases[i].code);
        if (cases[i].code == RESP_NO_PERMISSION) {
            assert_int_equal(answer_number(&answer, "forbiddenType"), 4);
        }
    }
}

static void names_of_a_namespace_are_names_like_others(void **state)
{
    static const char beat[] = "{\"clientID\":\"c1\",\"consumerDataSet\":[{\"groupName\":\"MQ_INST_1%CG\","
                               "\"subscriptionDataSet\":[{\"topic\":\"MQ_INST_1%Orders\",\"subString\":\"*\"},"
                               "{\"topic\":\"%RETRY%MQ_INST_1%CG\",\"subString\":\"*\"}]}]}";

    (void)state;
    assert_int_equal(rig_topic(&peer, "MQ_INST_1%Orders", "1"), RESP_SUCCESS);
    assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS, mq_str_of(beat)), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "MQ_INST_1%Orders", "0", "b", "", NULL), RESP_SUCCESS); /* behind the group */
    assert_int_equal(pull_subscribed("MQ_INST_1%CG", "MQ_INST_1%Orders"), RESP_SUCCESS);
    assert_int_equal(pull_subscribed("MQ_INST_1%CG", "%RETRY%MQ_INST_1%CG"), RESP_PULL_NOT_FOUND);
    assert_string_equal(answer_remark(&answer), "NO_MESSAGE_IN_QUEUE");
}

static uint32_t parked(void)
{
    return pull_hold_count(rig.ctx->pull_hold);
}

static bool is_parked(void *data)
{
    return parked() == *(const uint32_t *)data;
}

static void wait_parked(uint32_t n)
{
    rig_wait(&rig, is_parked, &n);
}

static void a_waiting_pull_wakes_for_a_message_that_it_wants(void **state)
{
    struct answer all = {0}, red = {0};

    (void)state;
    rig_pull_start(&peer, "Orders", "2", "0", NULL, "60000", &all);
    rig_pull_start(&peer, "Orders", "2", "0", "red", "60000", &red);
    wait_parked(2);
    assert_int_equal(rig_send(&peer, "Orders", "2", "b", "TAGS\001blue\002", NULL), RESP_SUCCESS);
    rig_wait_flag(&rig, &all.done);
    assert_int_equal(all.code, RESP_SUCCESS);
    assert_int_equal(answer_number(&all, "nextBeginOffset"), 1);
    assert_int_equal(parked(), 1);
    assert_false(red.done);
    assert_int_equal(rig_send(&peer, "Orders", "2", "r", "TAGS\001red\002", NULL), RESP_SUCCESS);
    rig_wait_flag(&rig, &red.done);
    assert_int_equal(red.code, RESP_SUCCESS);
    assert_int_equal(records_in(&red), 1);
    assert_int_equal(answer_number(&red, "nextBeginOffset"), 2);
    answer_free(&all);
    answer_free(&red);
}

static void a_waiting_pull_ends_when_its_time_is_up(void **state)
{
    struct answer late = {0}, moved = {0};

    (void)state;
    rig_pull_start(&peer, "Orders", "3", "0", NULL, "60000", &late);
    rig_pull_start(&peer, "Orders", "2", "2", "red", "60000", &moved);
    wait_parked(2);
    assert_int_equal(rig_send(&peer, "Orders", "2", "b", "TAGS\001blue\002", NULL), RESP_SUCCESS);
    pull_hold_sweep(rig.ctx->pull_hold, mq_clock_mono_ms() + 61000);
    rig_wait_flag(&rig, &late.done);
    rig_wait_flag(&rig, &moved.done);
    assert_int_equal(late.code, RESP_PULL_NOT_FOUND);
    assert_int_equal(answer_number(&late, "nextBeginOffset"), 0);
    /* What the filter refused meanwhile is passed over for good. */
    assert_int_equal(moved.code, RESP_PULL_RETRY_IMMEDIATELY);
    assert_int_equal(answer_number(&moved, "nextBeginOffset"), 3);
    answer_free(&late);
    answer_free(&moved);
}

static void a_waiting_pull_goes_with_its_connection(void **state)
{
    struct peer other;
    struct answer unanswered = {0};

    (void)state;
    peer_dial(&rig, &other, PROTO_JSON);
    rig_pull_start(&other, "Orders", "3", "0", NULL, "60000", &unanswered);
    wait_parked(1);
    peer_hang_up(&other);
    wait_parked(0);
    assert_int_equal(rig_send(&peer, "Orders", "3", "b", "", NULL), RESP_SUCCESS);
    assert_false(unanswered.done);
}

static void one_way_pulls_only_commit(void **state)
{
    (void)state;
    peer_start(&peer, REQ_PULL_MESSAGE,
               FIELDS({"consumerGroup", "OneWay"}, {"topic", "Orders"}, {"queueId", "1"}, {"queueOffset", "0"},
                      {"maxMsgNums", "1"}, {"sysFlag", "7"}, {"commitOffset", "12"},
                      {"suspendTimeoutMillis", "60000"}, {"subVersion", "0"}),
               MQ_STR(""), NULL);
    peer_sync(&peer);
    assert_int_equal(parked(), 0);
    assert_int_equal(rig_send(&peer, "Orders", "0", "behind the commit", "", NULL), RESP_SUCCESS);
    assert_int_equal(offset_table_get(&rig.ctx->state->offsets, MQ_STR("OneWay"), MQ_STR("Orders"), 1), 12);
}

/* Without a group of three the role is set by hand: what matters is what a node answers in it. */
static void a_follower_serves_what_it_has_and_never_moves_an_offset(void **state)
{
    struct rlog_role leads = rig.ctx->role;
    struct rlog_role follows = {.kind = RLOG_FOLLOWER, .term = leads.term, .leader = 2};
    struct answer beyond = {0};

    (void)state;
    rig.ctx->role = follows;
    assert_int_equal(rig_pull(&peer, "Orders", "0", "0", NULL, &answer), RESP_SUCCESS);
    assert_int_equal(rig_pull(&peer, "Orders", "0", "999", NULL, &answer), RESP_PULL_NOT_FOUND);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 999);
    assert_int_equal(rig_pull(&peer, "Orders", "0", "-1", NULL, &answer), RESP_PULL_NOT_FOUND);
    rig_pull_start(&peer, "Orders", "0", "999", NULL, "60000", &beyond);
    wait_parked(1);
    rig.ctx->role = leads;
    pull_hold_sweep(rig.ctx->pull_hold, mq_clock_mono_ms() + 130000);
    rig_wait_flag(&rig, &beyond.done);
    assert_int_equal(beyond.code, RESP_PULL_OFFSET_MOVED); /* it leads now and knows */
    answer_free(&beyond);
}

/* The majority does not need the leader's own disk, and readers may come from a follower. */
static void a_leader_that_has_not_applied_everything_moves_no_offset(void **state)
{
    struct answer beyond = {0};

    (void)state;
    lacking_set_behind(rig.ctx->log, true);
    assert_int_equal(rig_pull(&peer, "Orders", "0", "999", NULL, &answer), RESP_PULL_NOT_FOUND);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 999);
    rig_pull_start(&peer, "Orders", "0", "999", NULL, "60000", &beyond);
    wait_parked(1);
    lacking_set_behind(rig.ctx->log, false);
    pull_hold_sweep(rig.ctx->pull_hold, mq_clock_mono_ms() + 260000);
    rig_wait_flag(&rig, &beyond.done);
    assert_int_equal(beyond.code, RESP_PULL_OFFSET_MOVED);
    answer_free(&beyond);
}

/* Offset -1 is below everything: what a node that fetches its older messages lacks may be there. */
static void a_node_that_lacks_older_messages_sends_readers_to_the_leader(void **state)
{
    struct rlog_role leads = rig.ctx->role;
    struct rlog_role follows = {.kind = RLOG_FOLLOWER, .term = leads.term, .leader = 2};
    struct answer *at_once = &answer;

    (void)state;
    assert_int_equal(rig_pull(&peer, "Orders", "0", "-1", NULL, at_once), RESP_PULL_OFFSET_MOVED);
    lacking_set(rig.ctx->log, true);
    assert_int_equal(rig_pull(&peer, "Orders", "0", "-1", NULL, at_once), RESP_PULL_NOT_FOUND); /* leads, and lacks */
    assert_int_equal(answer_number(at_once, "nextBeginOffset"), 0);
    rig.ctx->role = follows;
    assert_int_equal(rig_pull(&peer, "Orders", "0", "-1", NULL, at_once), RESP_PULL_NOT_FOUND);
    assert_int_equal(answer_number(at_once, "suggestWhichBrokerId"), 0);
    assert_int_equal(parked(), 0);
    rig.ctx->role = leads;
    lacking_set(rig.ctx->log, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_outside_the_queue_are_corrected),
        cmocka_unit_test(a_filter_lets_its_tags_through),
        cmocka_unit_test(bad_pulls_get_the_code_of_the_original),
        cmocka_unit_test(what_may_not_be_read_is_refused_with_its_kind),
        cmocka_unit_test(at_most_so_many_messages_come_as_asked_and_as_configured),
        cmocka_unit_test(subscriptions_come_from_heartbeats_unless_the_request_brings_one),
        cmocka_unit_test(a_group_that_may_not_broadcast_is_refused_with_its_kind),
        cmocka_unit_test(names_of_a_namespace_are_names_like_others),
        cmocka_unit_test(a_waiting_pull_wakes_for_a_message_that_it_wants),
        cmocka_unit_test(a_waiting_pull_ends_when_its_time_is_up),
        cmocka_unit_test(a_waiting_pull_goes_with_its_connection),
        cmocka_unit_test(one_way_pulls_only_commit),
        cmocka_unit_test(a_follower_serves_what_it_has_and_never_moves_an_offset),
        cmocka_unit_test(a_leader_that_has_not_applied_everything_moves_no_offset),
        cmocka_unit_test(a_node_that_lacks_older_messages_sends_readers_to_the_leader),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
