/* Consumer groups over a whole broker: 200, 201, 207, 225, 352, 353, 401. */
#include "tests/unit/broker/rig.h"

#include "remoting/protocol/body_group.h"

#include <stdio.h>
#include <stdlib.h>

static struct rig rig;
static struct peer peer;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, (const char *[]){"autoCreateSubscriptionGroup=false", NULL});
    peer_dial(&rig, &peer, PROTO_JSON);
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

static int32_t put(const char *json)
{
    return peer_ask(&peer, REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, NO_FIELDS, mq_str_of(json), &answer);
}

static int32_t get(const char *group)
{
    return peer_ask(&peer, REQ_GET_SUBSCRIPTIONGROUP_CONFIG, FIELDS({"group", group}), MQ_STR(""), &answer);
}

static int32_t delete_group(const char *group, const char *key, const char *value)
{
    return peer_ask(&peer, REQ_DELETE_SUBSCRIPTIONGROUP, FIELDS({"groupName", group}, {key, value}), MQ_STR(""),
                    &answer);
}

static int64_t offset_of(const char *group, const char *topic)
{
    return offset_table_get(&rig.ctx->state->offsets, mq_str_of(group), mq_str_of(topic), 0);
}

static void commit(const char *group, const char *topic, const char *offset)
{
    assert_int_equal(
        peer_code(&peer, REQ_UPDATE_CONSUMER_OFFSET,
                  FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", "0"}, {"commitOffset", offset}),
                  MQ_STR("")),
        RESP_SUCCESS);
}

static const char whole[] =
    "{\"attributes\":{},\"brokerId\":2,\"consumeBroadcastEnable\":false,\"consumeEnable\":true,"
    "\"consumeFromMinEnable\":false,\"consumeMessageOrderly\":true,\"consumeTimeoutMinute\":7,"
    "\"groupName\":\"Whole\",\"groupRetryPolicy\":{\"customizedRetryPolicy\":{\"next\":[10,20,"
    "30,40]},\"exponentialRetryPolicy\":{\"initial\":100,\"max\":5000,\"multiplier\":3},"
    "\"type\":\"EXPONENTIAL\"},\"groupSysFlag\":3,\"notifyConsumerIdsChangedEnable\":false,"
    "\"retryMaxTimes\":-1,\"retryQueueNums\":4,\"subscriptionDataSet\":[{\"expression\":\"a || "
    "b\",\"expressionType\":\"TAG\",\"topic\":\"T\",\"version\":9}],"
    "\"whichBrokerWhenConsumeSlowly\":5}";

static void the_whole_configuration_is_kept_and_given_back(void **state)
{
    (void)state;
    assert_int_equal(put(whole), RESP_SUCCESS);
    assert_int_equal(get("Whole"), RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), whole);
    peer_hang_up(&peer);
    rig_reopen(&rig, (const char *[]){"autoCreateSubscriptionGroup=false", NULL});
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(get("Whole"), RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), whole);
    assert_int_equal(put("{\"groupName\":\"Whole\"}"), RESP_SUCCESS); /* replaced as a whole */
    assert_int_equal(get("Whole"), RESP_SUCCESS);
    assert_string_equal(answer_body(&answer),
                        "{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":true,\"consumeEnable\":true,"
                        "\"consumeFromMinEnable\":true,\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,"
                        "\"groupName\":\"Whole\",\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"},\"groupSysFlag\":0,"
                        "\"notifyConsumerIdsChangedEnable\":true,\"retryMaxTimes\":16,\"retryQueueNums\":1,"
                        "\"whichBrokerWhenConsumeSlowly\":1}");
    assert_int_equal(get("Nobody"), RESP_SUBSCRIPTION_GROUP_NOT_EXIST);
}

static void retries_wait_as_the_policy_says(void **state)
{
    const struct group *group;

    (void)state;
    assert_int_equal(group_retry_ms(NULL, 0), 10000);
    assert_int_equal(group_retry_ms(NULL, 15), 7200000);
    assert_int_equal(group_retry_ms(NULL, INT32_MAX), 7200000);
    assert_int_equal(put("{\"groupName\":\"Policy\",\"groupRetryPolicy\":{\"type\":\"EXPONENTIAL\","
                         "\"exponentialRetryPolicy\":{\"initial\":5000,\"max\":7200000,\"multiplier\":2}}}"),
                     RESP_SUCCESS);
    group = group_table_find(&rig.ctx->state->groups, MQ_STR("Policy"));
    assert_int_equal(group_retry_ms(group, -1), 5000);
    assert_int_equal(group_retry_ms(group, 3), 40000);
    assert_int_equal(group_retry_ms(group, 40), 7200000);
    assert_int_equal(put("{\"groupName\":\"Policy\",\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\","
                         "\"customizedRetryPolicy\":{\"next\":[1,2,3,4]}}}"),
                     RESP_SUCCESS);
    assert_int_equal(group_retry_ms(group, 0), 3);
    assert_int_equal(group_retry_ms(group, 9), 4);
}

static void bad_groups_are_refused_by_field(void **state)
{
    static const struct {
        const char *why, *json;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"no body", "", RESP_SYSTEM_ERROR, "body of 0 bytes"},
        {"no JSON", "[", RESP_SYSTEM_ERROR, "body of 1 bytes"},
        {"no name", "{}", RESP_INVALID_PARAMETER, "blank"},
        {"an illegal name", "{\"groupName\":\"a/b\"}", RESP_INVALID_PARAMETER, "a/b"},
        {"an attribute", "{\"groupName\":\"Fine\",\"attributes\":{\"+x\":\"y\"}}", RESP_SYSTEM_ERROR, "+x"},
        {"too many queues", "{\"groupName\":\"Fine\",\"retryQueueNums\":65536}", RESP_INVALID_PARAMETER, "65536"},
        {"a number that is none", "{\"groupName\":\"Fine\",\"retryQueueNums\":\"x\"}", RESP_SYSTEM_ERROR, "body of"},
        {"a number too large", "{\"groupName\":\"Fine\",\"retryMaxTimes\":4294967296}", RESP_SYSTEM_ERROR, "body of"},
        {"negative delays",
         "{\"groupName\":\"Fine\",\"groupRetryPolicy\":{\"customizedRetryPolicy\":{\"next\":[-1]}}}",
         RESP_INVALID_PARAMETER, "next -1"},
        {"no growth", "{\"groupName\":\"Fine\",\"groupRetryPolicy\":{\"exponentialRetryPolicy\":{\"multiplier\":0}}}",
         RESP_INVALID_PARAMETER, "multiplier 0"},
        {"a subscription to no topic", "{\"groupName\":\"Fine\",\"subscriptionDataSet\":[{\"topic\":\"\"}]}",
         RESP_INVALID_PARAMETER, "blank"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(put(cases[i].json), cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_null(group_table_find(&rig.ctx->state->groups, MQ_STR("Fine")));
}

static int32_t put_list(const char *json)
{
    return peer_ask(&peer, REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, NO_FIELDS, mq_str_of(json), &answer);
}

static void a_list_of_groups_is_one_change(void **state)
{
    uint64_t before = rig.ctx->state->applied_index;

    (void)state;
    assert_int_equal(put_list("{\"groupConfigList\":[{\"groupName\":\"L1\",\"retryMaxTimes\":3},"
                              "{\"groupName\":\"L2\",\"consumeEnable\":false}]}"),
                     RESP_SUCCESS);
    assert_int_equal(rig.ctx->state->applied_index, before + 1);
    assert_int_equal(group_table_find(&rig.ctx->state->groups, MQ_STR("L1"))->retry_max_times, 3);
    assert_false(group_table_find(&rig.ctx->state->groups, MQ_STR("L2"))->consume_enable);
    assert_int_equal(put_list("{\"groupConfigList\":[{\"groupName\":\"L3\"},{\"groupName\":\" \"}]}"),
                     RESP_INVALID_PARAMETER);
    assert_null(group_table_find(&rig.ctx->state->groups, MQ_STR("L3")));
    assert_int_equal(put_list("{\"groupConfigList\":[]}"), RESP_INVALID_PARAMETER);
    assert_int_equal(put_list("{"), RESP_SYSTEM_ERROR);
}

static uint32_t page(const char *seq, const char *max, const char *version, struct proto_data_version *out)
{
    struct proto_group_table table;
    uint32_t n;

    assert_int_equal(peer_ask(&peer, REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
                              FIELDS({"groupSeq", seq}, {"maxGroupNum", max}, {"dataVersion", version}), MQ_STR(""),
                              &answer),
                     RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "totalGroupNum"), rig.ctx->state->groups.count);
    assert_int_equal(proto_group_table_decode((char *)answer.body.base, answer.body.len, &table), 0);
    n = table.groups.count;
    *out = table.version;
    proto_group_list_free(&table.groups);
    return n;
}

static void groups_come_in_pages_or_all_at_once(void **state)
{
    struct proto_data_version version;
    uint32_t total = rig.ctx->state->groups.count;
    char text[128], last[16];

    (void)state;
    assert_true(total > 8);
    assert_int_equal(page(NULL, NULL, NULL, &version), total);
    assert_int_equal(page("0", "5", "", &version), 5);
    snprintf(text, sizeof(text), "{\"counter\":%lld,\"stateVersion\":%lld,\"timestamp\":%lld}",
             (long long)version.counter, (long long)version.state_version, (long long)version.timestamp_ms);
    snprintf(last, sizeof(last), "%u", total - 2);
    assert_int_equal(page(last, "5", text, &version), 2);
    assert_int_equal(page("1000000", "5", text, &version), 0);
    assert_int_equal(put("{\"groupName\":\"OneMore\"}"), RESP_SUCCESS);
    assert_int_equal(page(last, "5", text, &version), 5); /* from the beginning again */
    assert_int_equal(peer_code(&peer, REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, FIELDS({"groupSeq", "x"}), MQ_STR("")),
                     RESP_SYSTEM_ERROR);
}

static void offsets_of_a_deleted_group_go_when_that_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    assert_int_equal(put("{\"groupName\":\"Keeps\"}"), RESP_SUCCESS);
    assert_int_equal(put("{\"groupName\":\"Cleans\"}"), RESP_SUCCESS);
    assert_int_equal(put("{\"groupName\":\"Cleans4\"}"), RESP_SUCCESS);
    commit("Keeps", "Orders", "4");
    commit("Cleans", "Orders", "5");
    commit("Cleans4", "Orders", "6");
    assert_int_equal(delete_group("Keeps", "cleanOffset", "false"), RESP_SUCCESS);
    assert_int_equal(delete_group("Cleans", "cleanOffset", "true"), RESP_SUCCESS);
    assert_int_equal(delete_group("Cleans4", "removeOffset", "true"), RESP_SUCCESS);
    assert_int_equal(get("Keeps"), RESP_SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_int_equal(offset_of("Keeps", "Orders"), 4);
    assert_int_equal(offset_of("Cleans", "Orders"), -1);
    assert_int_equal(offset_of("Cleans4", "Orders"), -1);
    assert_int_equal(delete_group("Keeps", "cleanOffset", "true"), RESP_SUCCESS); /* of a group that is gone, too */
    assert_int_equal(offset_of("Keeps", "Orders"), -1);
    assert_int_equal(delete_group("NeverThere", NULL, NULL), RESP_SUCCESS);
    assert_int_equal(delete_group("a/b", NULL, NULL), RESP_INVALID_PARAMETER);
    assert_int_equal(peer_code(&peer, REQ_DELETE_SUBSCRIPTIONGROUP, NO_FIELDS, MQ_STR("")), RESP_SYSTEM_ERROR);
}

static int32_t forbid(const char *group, const char *topic, const char *readable)
{
    return peer_ask(&peer, REQ_UPDATE_AND_GET_GROUP_FORBIDDEN,
                    FIELDS({"group", group}, {"topic", topic}, {"readable", readable}), MQ_STR(""), &answer);
}

static int32_t pull_as(const char *group)
{
    return peer_ask(&peer, REQ_PULL_MESSAGE,
                    FIELDS({"consumerGroup", group}, {"topic", "Orders"}, {"queueId", "0"}, {"queueOffset", "0"},
                           {"maxMsgNums", "1"}, {"sysFlag", "4"}, {"commitOffset", "0"},
                           {"suspendTimeoutMillis", "0"}, {"subVersion", "0"}, {"subscription", "*"}),
                    MQ_STR(""), &answer);
}

static void a_group_can_be_forbidden_to_read_a_topic(void **state)
{
    (void)state;
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    assert_int_equal(put("{\"groupName\":\"Readers\"}"), RESP_SUCCESS);
    assert_int_equal(forbid("Readers", "Orders", NULL), RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), "{\"group\":\"Readers\",\"readable\":true,\"topic\":\"Orders\"}");
    assert_int_equal(forbid("Readers", "Orders", "false"), RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), "{\"group\":\"Readers\",\"readable\":false,\"topic\":\"Orders\"}");
    assert_int_equal(pull_as("Readers"), RESP_NO_PERMISSION);
    assert_int_equal(answer_number(&answer, "forbiddenType"), 5);
    assert_int_equal(peer_ask(&peer, REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, NO_FIELDS, MQ_STR(""), &answer),
                     RESP_SUCCESS);
    assert_non_null(strstr(answer_body(&answer), "\"forbiddenTable\":{\"Readers\":{\"Orders\":4}},"));
    assert_int_equal(forbid("Readers", "Orders", "true"), RESP_SUCCESS);
    assert_int_equal(pull_as("Readers"), RESP_PULL_NOT_FOUND);
    assert_int_equal(forbid("Readers", "Orders", "false"), RESP_SUCCESS);
    assert_int_equal(delete_group("Readers", NULL, NULL), RESP_SUCCESS);
    assert_int_equal(put("{\"groupName\":\"Readers\"}"), RESP_SUCCESS);
    assert_int_equal(pull_as("Readers"), RESP_PULL_NOT_FOUND);
    assert_int_equal(forbid("a b", "Orders", "true"), RESP_INVALID_PARAMETER);
    assert_int_equal(forbid("Readers", "", "true"), RESP_INVALID_PARAMETER);
    assert_int_equal(forbid(NULL, "Orders", "true"), RESP_SYSTEM_ERROR);
}

static int32_t set_mode(const char *json)
{
    return peer_ask(&peer, REQ_SET_MESSAGE_REQUEST_MODE, NO_FIELDS, mq_str_of(json), &answer);
}

static void the_mode_of_asking_is_kept_for_group_and_topic(void **state)
{
    struct request_mode mode;

    (void)state;
    assert_int_equal(rig_topic(&peer, "Orders", "1"), RESP_SUCCESS);
    assert_int_equal(put("{\"groupName\":\"Modes\"}"), RESP_SUCCESS);
    assert_false(mode_table_get(&rig.ctx->state->modes, MQ_STR("Modes"), MQ_STR("Orders"), &mode));
    assert_int_equal(
        set_mode("{\"consumerGroup\":\"Modes\",\"mode\":\"POP\",\"popShareQueueNum\":3,\"topic\":\"Orders\"}"),
        RESP_SUCCESS);
    assert_true(mode_table_get(&rig.ctx->state->modes, MQ_STR("Modes"), MQ_STR("Orders"), &mode));
    assert_true(mode.pop);
    assert_int_equal(mode.pop_share_queues, 3);
    assert_int_equal(set_mode("{\"consumerGroup\":\"Modes\",\"mode\":\"PULL\",\"topic\":\"Orders\"}"), RESP_SUCCESS);
    assert_true(mode_table_get(&rig.ctx->state->modes, MQ_STR("Modes"), MQ_STR("Orders"), &mode));
    assert_false(mode.pop);
    assert_int_equal(set_mode("{\"consumerGroup\":\"Modes\",\"mode\":\"POP\",\"topic\":\"%RETRY%Modes\"}"),
                     RESP_NO_PERMISSION);
    assert_int_equal(set_mode("{\"consumerGroup\":\"Modes\",\"mode\":\"POP\",\"topic\":\"Nowhere\"}"),
                     RESP_TOPIC_NOT_EXIST);
    assert_int_equal(set_mode("{\"consumerGroup\":\"Nobody\",\"mode\":\"POP\",\"topic\":\"Orders\"}"),
                     RESP_SUBSCRIPTION_GROUP_NOT_EXIST);
    assert_int_equal(set_mode("{\"consumerGroup\":\"Modes\",\"mode\":\"PUSH\",\"topic\":\"Orders\"}"),
                     RESP_INVALID_PARAMETER);
    assert_int_equal(set_mode("{\"consumerGroup\":\"Modes\",\"topic\":\"Orders\"}"), RESP_INVALID_PARAMETER);
    assert_int_equal(set_mode("{}"), RESP_TOPIC_NOT_EXIST);
    assert_int_equal(set_mode(""), RESP_SYSTEM_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_configuration_is_kept_and_given_back),
        cmocka_unit_test(retries_wait_as_the_policy_says),
        cmocka_unit_test(bad_groups_are_refused_by_field),
        cmocka_unit_test(a_list_of_groups_is_one_change),
        cmocka_unit_test(groups_come_in_pages_or_all_at_once),
        cmocka_unit_test(offsets_of_a_deleted_group_go_when_that_is_asked_for),
        cmocka_unit_test(a_group_can_be_forbidden_to_read_a_topic),
        cmocka_unit_test(the_mode_of_asking_is_kept_for_group_and_topic),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
