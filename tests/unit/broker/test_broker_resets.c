/* Offsets of groups over a whole broker: reset (222), cloned (314), counted (208), found by time (29); commits that
 * change nothing. */
#include "tests/unit/broker/rig.h"

#include "remoting/base/clock.h"
#include "remoting/protocol/body_offset.h"

#include <stdio.h>
#include <stdlib.h>

#define QUEUES 3

static struct rig rig;
static struct peer peer, reader;
static struct answer answer, held;

static int64_t committed(const char *group, const char *topic, int32_t queue)
{
    return offset_table_get(&rig.ctx->state->offsets, mq_str_of(group), mq_str_of(topic), queue);
}

static int32_t pull_from(struct peer *from, const char *group, const char *queue, const char *qoff,
                         struct answer *out)
{
    return peer_ask(from, REQ_PULL_MESSAGE,
                    FIELDS({"consumerGroup", group}, {"topic", "Orders"}, {"queueId", queue}, {"queueOffset", qoff},
                           {"maxMsgNums", "1"}, {"sysFlag", "4"}, {"commitOffset", "0"},
                           {"suspendTimeoutMillis", "0"}, {"subVersion", "0"}, {"subscription", "*"}),
                    MQ_STR(""), out);
}

static int32_t commit(const char *group, const char *topic, const char *queue, const char *offset)
{
    return peer_code(&peer, REQ_UPDATE_CONSUMER_OFFSET,
                     FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", queue}, {"commitOffset", offset}),
                     MQ_STR(""));
}

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    peer_dial(&rig, &reader, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "3"), RESP_SUCCESS);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rig_send(&peer, "Orders", i < 8 ? "0" : "1", "body", "", NULL), RESP_SUCCESS);
    }
    assert_int_equal(pull_from(&peer, "Readers", "0", "0", &answer), RESP_SUCCESS);
    peer_sync(&peer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    answer_free(&held);
    peer_hang_up(&peer);
    peer_hang_up(&reader);
    rig_close(&rig);
    return 0;
}

static int32_t reset(const char *topic, const char *group, const char *timestamp, const char *queue,
                     const char *offset)
{
    return peer_ask(&peer, REQ_INVOKE_BROKER_TO_RESET_OFFSET,
                    FIELDS({"topic", topic}, {"group", group}, {"timestamp", timestamp}, {"isForce", "true"},
                           {"queueId", queue}, {"offset", offset}),
                    MQ_STR(""), &answer);
}

static void check_targets(int64_t first, int64_t second, int64_t third)
{
    const int64_t want[QUEUES] = {first, second, third};
    struct proto_queue_offsets offsets;

    assert_int_equal(proto_queue_offsets_decode((char *)answer.body.base, answer.body.len, &offsets), 0);
    assert_int_equal(offsets.count, QUEUES);
    for (uint32_t i = 0; i < offsets.count; i++) {
        assert_int_equal(offsets.items[i].queue.queue_id, i);
        assert_true(mq_str_eq(offsets.items[i].queue.topic, MQ_STR("Orders")));
        assert_int_equal(offsets.items[i].offset, want[i]);
        assert_int_equal(committed("Readers", "Orders", (int32_t)i), want[i]);
    }
    proto_queue_offsets_free(&offsets);
}

static void a_reset_is_told_to_the_next_pull_of_each_queue(void **state)
{
    (void)state;
    assert_int_equal(commit("Readers", "Orders", "0", "6"), RESP_SUCCESS);
    assert_int_equal(reset("Orders", "Readers", "0", NULL, NULL), RESP_SUCCESS);
    check_targets(0, 0, 0);
    assert_int_equal(reset("Orders", "Readers", "-1", NULL, NULL), RESP_SUCCESS);
    check_targets(8, 2, 0);

    /* Commits of a consumer that does not know of it count for nothing. */
    assert_int_equal(commit("Readers", "Orders", "0", "7"), RESP_SUCCESS);
    assert_int_equal(committed("Readers", "Orders", 0), 8);
    assert_int_equal(pull_from(&peer, "Readers", "0", "3", &answer), RESP_PULL_OFFSET_MOVED);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 8);
    assert_string_equal(answer_remark(&answer), "OFFSET_RESET");
    assert_int_equal(pull_from(&peer, "Other", "1", "0", &answer), RESP_SUCCESS); /* another group's business */
    assert_int_equal(commit("Readers", "Orders", "0", "5"), RESP_SUCCESS);
    assert_int_equal(committed("Readers", "Orders", 0), 5);
    assert_int_equal(pull_from(&peer, "Readers", "0", "5", &answer), RESP_SUCCESS);
    assert_int_equal(reset_table_get(&rig.ctx->state->resets, MQ_STR("Readers"), MQ_STR("Orders"), 1), 2);
    assert_int_equal(pull_from(&peer, "Readers", "1", "0", &answer), RESP_PULL_OFFSET_MOVED);
    assert_int_equal(pull_from(&peer, "Readers", "1", "2", &answer), RESP_PULL_NOT_FOUND);
}

static void a_reset_outlives_a_restart(void **state)
{
    (void)state;
    assert_int_equal(reset("Orders", "Readers", "0", "0", "3"), RESP_SUCCESS);
    peer_hang_up(&peer);
    peer_hang_up(&reader);
    rig_reopen(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    peer_dial(&rig, &reader, PROTO_JSON);
    assert_int_equal(committed("Readers", "Orders", 0), 3);
    assert_int_equal(pull_from(&peer, "Readers", "0", "8", &answer), RESP_PULL_OFFSET_MOVED);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 3);
    assert_int_equal(pull_from(&peer, "Readers", "0", "3", &answer), RESP_SUCCESS);
}

static void a_parked_pull_of_the_queue_is_sent_back_at_once(void **state)
{
    (void)state;
    peer_start(&reader, REQ_PULL_MESSAGE,
               FIELDS({"consumerGroup", "Readers"}, {"topic", "Orders"}, {"queueId", "0"}, {"queueOffset", "8"},
                      {"maxMsgNums", "1"}, {"sysFlag", "6"}, {"commitOffset", "0"}, {"suspendTimeoutMillis", "20000"},
                      {"subVersion", "0"}, {"subscription", "*"}),
               MQ_STR(""), &held);
    peer_sync(&reader);
    assert_false(held.done);
    assert_int_equal(reset("Orders", "Readers", "0", "0", "2"), RESP_SUCCESS);
    rig_wait_flag(&rig, &held.done);
    assert_int_equal(held.code, RESP_PULL_NOT_FOUND);
    assert_int_equal(pull_from(&reader, "Readers", "0", "8", &answer), RESP_PULL_OFFSET_MOVED);
    assert_int_equal(answer_number(&answer, "nextBeginOffset"), 2);
}

static void one_queue_can_be_reset_to_an_offset_or_a_time(void **state)
{
    char now[32];

    (void)state;
    assert_int_equal(reset("Orders", "Readers", "0", "1", "1"), RESP_SUCCESS);
    assert_int_equal(committed("Readers", "Orders", 1), 1);
    assert_int_equal(reset("Orders", "Readers", "0", "1", "3"), RESP_SUCCESS); /* one behind the end is allowed */
    assert_int_equal(reset("Orders", "Readers", "0", "1", "4"), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "holds 0 to 2"));
    assert_int_equal(reset("Orders", "Readers", "0", "1", "-2"), RESP_SYSTEM_ERROR);
    snprintf(now, sizeof(now), "%lld", (long long)mq_clock_wall_ms() + 60000);
    assert_int_equal(reset("Orders", "Readers", now, "1", "-1"), RESP_SUCCESS);
    assert_int_equal(committed("Readers", "Orders", 1), 2);
    assert_int_equal(reset("Orders", "Readers", "0", "1", NULL), RESP_SUCCESS);
    assert_int_equal(committed("Readers", "Orders", 1), 0);
    assert_int_equal(pull_from(&peer, "Readers", "1", "0", &answer), RESP_PULL_OFFSET_MOVED);
}

static void bad_resets_are_refused_by_field(void **state)
{
    static const struct {
        const char *why, *topic, *group, *timestamp, *queue, *offset;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"unknown topic", "Nowhere", "Readers", "0", NULL, NULL, RESP_TOPIC_NOT_EXIST, "Nowhere"},
        {"unknown group", "Orders", "Nobody", "0", NULL, NULL, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "Nobody"},
        {"no such queue", "Orders", "Readers", "0", "3", NULL, RESP_INVALID_PARAMETER, "queueId 3"},
        {"no topic", NULL, "Readers", "0", NULL, NULL, RESP_SYSTEM_ERROR, "topic is missing"},
        {"no group", "Orders", NULL, "0", NULL, NULL, RESP_SYSTEM_ERROR, "group is missing"},
        {"no time", "Orders", "Readers", NULL, NULL, NULL, RESP_SYSTEM_ERROR, "timestamp is missing"},
        {"a time that is none", "Orders", "Readers", "noon", NULL, NULL, RESP_SYSTEM_ERROR, "noon"},
        {"a queue that is none", "Orders", "Readers", "0", "4294967296", NULL, RESP_SYSTEM_ERROR, "queueId"},
        {"an offset that is none", "Orders", "Readers", "0", "0", "x", RESP_SYSTEM_ERROR, "offset"},
        {"an offset far away", "Orders", "Readers", "0", "0", "9223372036854775807", RESP_SYSTEM_ERROR, "0 to 8"},
    };
    uint64_t before;

    (void)state;
    assert_int_equal(commit("Other", "Orders", "1", "1"), RESP_SUCCESS); /* behind all that was proposed before */
    before = rig.ctx->state->items_applied;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(reset(cases[i].topic, cases[i].group, cases[i].timestamp, cases[i].queue, cases[i].offset),
                         cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_int_equal(rig.ctx->state->items_applied, before);
}

static void offsets_are_cloned_for_one_topic_or_for_all(void **state)
{
    static const struct {
        const char *source, *target, *topic;
        int32_t code;
    } bad[] = {
        {"a b", "T", "Orders", RESP_INVALID_PARAMETER},
        {"Readers", "", "Orders", RESP_INVALID_PARAMETER},
        {NULL, "T", "Orders", RESP_SYSTEM_ERROR},
        {"Readers", NULL, "Orders", RESP_SYSTEM_ERROR},
    };

    (void)state;
    assert_int_equal(rig_topic(&peer, "Second", "1"), RESP_SUCCESS);
    assert_int_equal(commit("Other", "Orders", "0", "4"), RESP_SUCCESS);
    assert_int_equal(commit("Other", "Orders", "1", "1"), RESP_SUCCESS);
    assert_int_equal(commit("Other", "Second", "0", "9"), RESP_SUCCESS);
    assert_int_equal(peer_code(&peer, REQ_CLONE_GROUP_OFFSET,
                               FIELDS({"srcGroup", "Other"}, {"destGroup", "CloneOne"}, {"topic", "Orders"}),
                               MQ_STR("")),
                     RESP_SUCCESS);
    assert_int_equal(committed("CloneOne", "Orders", 0), 4);
    assert_int_equal(committed("CloneOne", "Orders", 1), 1);
    assert_int_equal(committed("CloneOne", "Second", 0), -1);
    assert_int_equal(peer_code(&peer, REQ_CLONE_GROUP_OFFSET,
                               FIELDS({"srcGroup", "Other"}, {"destGroup", "CloneAll"}, {"offline", "true"}),
                               MQ_STR("")),
                     RESP_SUCCESS);
    assert_int_equal(committed("CloneAll", "Orders", 0), 4);
    assert_int_equal(committed("CloneAll", "Second", 0), 9);
    assert_int_equal(peer_code(&peer, REQ_CLONE_GROUP_OFFSET,
                               FIELDS({"srcGroup", "Nobody"}, {"destGroup", "CloneAll"}), MQ_STR("")),
                     RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(
            peer_code(&peer, REQ_CLONE_GROUP_OFFSET,
                      FIELDS({"srcGroup", bad[i].source}, {"destGroup", bad[i].target}, {"topic", bad[i].topic}),
                      MQ_STR("")),
            bad[i].code);
    }
}

static uint32_t stats_of(const char *group, const char *topic, const char *topics, struct proto_consume_stats *out)
{
    assert_int_equal(peer_ask(&peer, REQ_GET_CONSUME_STATS,
                              FIELDS({"consumerGroup", group}, {"topic", topic}, {"topicList", topics}), MQ_STR(""),
                              &answer),
                     RESP_SUCCESS);
    assert_int_equal(proto_consume_stats_decode((char *)answer.body.base, answer.body.len, out), 0);
    return out->count;
}

static void statistics_say_how_far_a_group_has_come(void **state)
{
    struct proto_consume_stats stats;

    (void)state;
    assert_int_equal(commit("Other", "Orders", "0", "4"), RESP_SUCCESS);
    assert_int_equal(stats_of("Other", "Orders", NULL, &stats), QUEUES);
    assert_int_equal(stats.items[0].broker_offset, 8);
    assert_int_equal(stats.items[0].consumer_offset, 4);
    assert_int_equal(stats.items[0].pull_offset, 4);
    assert_true(stats.items[0].last_ms > 0);
    assert_int_equal(stats.items[2].broker_offset, 0);
    assert_int_equal(stats.items[2].consumer_offset, 0);
    assert_int_equal(stats.items[2].last_ms, 0);
    proto_consume_stats_free(&stats);
    assert_int_equal(stats_of("Other", NULL, NULL, &stats), QUEUES + 1); /* Second, too */
    proto_consume_stats_free(&stats);
    assert_int_equal(stats_of("Other", NULL, "Orders;Nowhere;", &stats), QUEUES);
    proto_consume_stats_free(&stats);
    assert_int_equal(stats_of("Nobody", NULL, NULL, &stats), 0);
    proto_consume_stats_free(&stats);
    assert_int_equal(peer_code(&peer, REQ_GET_CONSUME_STATS, NO_FIELDS, MQ_STR("")), RESP_SYSTEM_ERROR);
}

static void a_commit_that_changes_nothing_goes_nowhere(void **state)
{
    uint64_t items;

    (void)state;
    assert_int_equal(commit("Other", "Orders", "0", "5"), RESP_SUCCESS);
    items = rig.ctx->state->items_applied;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(commit("Other", "Orders", "0", "5"), RESP_SUCCESS);
    }
    assert_int_equal(rig.ctx->state->items_applied, items);
    assert_int_equal(commit("Other", "Orders", "0", "4"), RESP_SUCCESS);
    assert_int_equal(rig.ctx->state->items_applied, items + 1);
}

/* What is on its way counts: the last word of a client wins although it says what was committed before. */
static void a_commit_behind_another_one_is_not_left_out(void **state)
{
    struct answer two[2] = {{0}};

    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(commit("Other", "Orders", "0", "5"), RESP_SUCCESS);
        for (int k = 0; k < 2; k++) {
            peer_start(&peer, REQ_UPDATE_CONSUMER_OFFSET,
                       FIELDS({"consumerGroup", "Other"}, {"topic", "Orders"}, {"queueId", "0"},
                              {"commitOffset", k == 0 ? "7" : "5"}),
                       MQ_STR(""), &two[k]);
        }
        for (int k = 0; k < 2; k++) {
            rig_wait_flag(&rig, &two[k].done);
            answer_free(&two[k]);
        }
        assert_int_equal(committed("Other", "Orders", 0), 5);
    }
}

static void search_by_time_answers_at_all_edges(void **state)
{
    static const struct {
        const char *why, *topic, *queue, *timestamp, *boundary;
        int64_t want;
    } cases[] = {
        {"before everything", "Orders", "0", "0", NULL, 0},
        {"before everything, upper", "Orders", "0", "0", "UPPER", 0},
        {"negative", "Orders", "0", "-9223372036854775808", "lower", 0},
        {"behind everything", "Orders", "0", "9223372036854775807", "LOWER", 8},
        {"behind everything, upper", "Orders", "0", "9223372036854775807", "upper", 7},
        {"an empty queue", "Orders", "2", "0", NULL, 0},
        {"a queue that is none", "Orders", "-1", "0", NULL, 0},
        {"a topic that is none", "Nowhere", "0", "0", NULL, 0},
        {"a boundary that is none counts as lower", "Orders", "0", "9223372036854775807", "x", 8},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(peer_ask(&peer, REQ_SEARCH_OFFSET_BY_TIMESTAMP,
                                  FIELDS({"topic", cases[i].topic}, {"queueId", cases[i].queue},
                                         {"timestamp", cases[i].timestamp}, {"boundaryType", cases[i].boundary}),
                                  MQ_STR(""), &answer),
                         RESP_SUCCESS);
        assert_int_equal(answer_number(&answer, "offset"), cases[i].want);
    }
}

/* As RocketMQ before 5.0: the group's members are told, and commit the offsets themselves. */
static void the_old_way_tells_the_members_of_the_group(void **state)
{
    (void)state;
    assert_int_equal(commit("Readers", "Orders", "0", "5"), RESP_SUCCESS);
    peer_hang_up(&peer);
    peer_hang_up(&reader);
    rig_reopen(&rig, (const char *[]){"useServerSideResetOffset=false", NULL});
    peer_dial(&rig, &peer, PROTO_JSON);
    peer_dial(&rig, &reader, PROTO_JSON);
    assert_int_equal(commit("Tellers", "Orders", "0", "5"), RESP_SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_int_equal(peer_code(&reader, REQ_HEART_BEAT, NO_FIELDS,
                               MQ_STR("{\"clientID\":\"c1\",\"consumerDataSet\":[{\"groupName\":\"Tellers\","
                                      "\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\","
                                      "\"subscriptionDataSet\":[]}]}")),
                     RESP_SUCCESS);
    peer_sync(&reader);
    assert_int_equal(commit("Tellers", "Orders", "0", "5"), RESP_SUCCESS);
    assert_int_equal(reset("Orders", "Tellers", "0", NULL, NULL), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "no offset for topic \"Orders\" queueId 1"));
    assert_int_equal(commit("Tellers", "Orders", "1", "1"), RESP_SUCCESS);
    assert_int_equal(commit("Tellers", "Orders", "2", "0"), RESP_SUCCESS);
    assert_int_equal(reset("Orders", "Tellers", "0", NULL, NULL), RESP_SUCCESS);
    assert_non_null(strstr(answer_body(&answer), "\"queueId\":0,\"topic\":\"Orders\"}:0"));
    peer_sync(&reader);
    assert_int_equal(reader.last_request, REQ_RESET_CONSUMER_CLIENT_OFFSET);
    assert_int_equal(committed("Tellers", "Orders", 0), 5); /* its own business */
    assert_int_equal(commit("Readers", "Orders", "0", "5"), RESP_SUCCESS);
    for (int i = 1; i < QUEUES; i++) {
        assert_int_equal(commit("Readers", "Orders", i == 1 ? "1" : "2", "0"), RESP_SUCCESS);
    }
    assert_int_equal(reset("Orders", "Readers", "0", NULL, NULL), RESP_CONSUMER_NOT_ONLINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_is_told_to_the_next_pull_of_each_queue),
        cmocka_unit_test(a_reset_outlives_a_restart),
        cmocka_unit_test(a_parked_pull_of_the_queue_is_sent_back_at_once),
        cmocka_unit_test(one_queue_can_be_reset_to_an_offset_or_a_time),
        cmocka_unit_test(bad_resets_are_refused_by_field),
        cmocka_unit_test(offsets_are_cloned_for_one_topic_or_for_all),
        cmocka_unit_test(statistics_say_how_far_a_group_has_come),
        cmocka_unit_test(a_commit_that_changes_nothing_goes_nowhere),
        cmocka_unit_test(a_commit_behind_another_one_is_not_left_out),
        cmocka_unit_test(search_by_time_answers_at_all_edges),
        cmocka_unit_test(the_old_way_tells_the_members_of_the_group),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
