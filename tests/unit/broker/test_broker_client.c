/* Clients that come and go: heartbeats (34), unregistering (35), member lists (38), notices (40). */
#include "tests/unit/broker/rig.h"

#include "broker/session/consumer_table.h"
#include "broker/session/producer_table.h"
#include "remoting/base/clock.h"

#include <stdio.h>

static struct rig rig;
static struct peer peer;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
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

static int32_t beat(struct peer *from, const char *client, const char *group, const char *topic, const char *model)
{
    char body[1024];
    int n = snprintf(body, sizeof(body),
                     "{\"clientID\":\"%s\",\"producerDataSet\":[{\"groupName\":\"PG\"}],\"consumerDataSet\":["
                     "{\"groupName\":\"%s\",\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"%s\","
                     "\"subscriptionDataSet\":[{\"topic\":\"%s\",\"subString\":\"*\",\"subVersion\":1}]}]}",
                     client, group, model, topic);

    return peer_code(from, REQ_HEART_BEAT, NO_FIELDS, (struct mq_str){body, (uint32_t)n});
}

static int32_t list(const char *group)
{
    return peer_ask(&peer, REQ_GET_CONSUMER_LIST_BY_GROUP, FIELDS({"consumerGroup", group}), MQ_STR(""), &answer);
}

/* Waits until the broker has pushed so many requests to it. */
struct expectation {
    const struct peer *peer;
    uint32_t requests;
};

static bool has_requests(void *data)
{
    const struct expectation *e = data;

    return e->peer->requests >= e->requests;
}

static void wait_requests(const struct peer *of, uint32_t requests)
{
    struct expectation e = {of, requests};

    rig_wait(&rig, has_requests, &e);
    assert_int_equal(of->requests, requests);
}

static void a_heartbeat_makes_group_and_retry_topic(void **state)
{
    struct topic *topic;

    (void)state;
    assert_int_equal(list("First"), RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "First"));
    assert_int_equal(beat(&peer, "c1", "First", "Orders", "CLUSTERING"), RESP_SUCCESS);
    wait_requests(&peer, 1); /* the new one hears of itself */
    assert_int_equal(peer.last_request, REQ_NOTIFY_CONSUMER_IDS_CHANGED);
    assert_string_equal(peer.last_group, "First");
    assert_int_equal(list("First"), RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), "{\"consumerIdList\":[\"c1\"]}");
    peer_code(&peer, REQ_UPDATE_CONSUMER_OFFSET,
              FIELDS({"consumerGroup", "First"}, {"topic", "TBW102"}, {"queueId", "0"}, {"commitOffset", "0"}),
              MQ_STR("")); /* behind the items of the heartbeat in the log */
    assert_non_null(group_table_find(&rig.ctx->state->groups, MQ_STR("First")));
    topic = topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%First"));
    assert_non_null(topic);
    assert_int_equal(topic->read_queues, 1);
    assert_int_equal(topic->perm, 6);
    assert_int_equal(producer_table_count(rig.ctx->producers), 1);
}

static void members_hear_of_each_other(void **state)
{
    struct peer a, b;

    (void)state;
    peer_dial(&rig, &a, PROTO_JSON);
    peer_dial(&rig, &b, PROTO_BINARY);
    assert_int_equal(beat(&a, "a", "Pair", "Orders", "CLUSTERING"), RESP_SUCCESS);
    wait_requests(&a, 1);
    assert_int_equal(beat(&a, "a", "Pair", "Orders", "CLUSTERING"), RESP_SUCCESS); /* nothing new */
    assert_int_equal(beat(&b, "b", "Pair", "Orders", "CLUSTERING"), RESP_SUCCESS);
    wait_requests(&a, 2);
    wait_requests(&b, 1);
    assert_int_equal(beat(&b, "b", "Pair", "Other", "CLUSTERING"), RESP_SUCCESS); /* another topic */
    wait_requests(&a, 3);
    wait_requests(&b, 2);
    assert_int_equal(peer_code(&b, REQ_UNREGISTER_CLIENT,
                               FIELDS({"clientID", "b"}, {"consumerGroup", "Pair"}, {"producerGroup", ""}),
                               MQ_STR("")),
                     RESP_SUCCESS);
    wait_requests(&a, 4);
    assert_int_equal(beat(&b, "b", "Pair", "Other", "CLUSTERING"), RESP_SUCCESS);
    wait_requests(&a, 5);
    peer_hang_up(&b);
    wait_requests(&a, 6);
    assert_int_equal(list("Pair"), RESP_SUCCESS);
    assert_string_equal(answer_body(&answer), "{\"consumerIdList\":[\"a\"]}");
    peer_hang_up(&a);
}

static void many_changes_at_once_are_told_once(void **state)
{
    struct peer members[8];
    struct answer answers[8] = {{0}};
    uint32_t before;
    char body[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        peer_dial(&rig, &members[i], PROTO_JSON);
    }
    before = members[0].requests;
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        int n = snprintf(body, sizeof(body),
                         "{\"clientID\":\"m%zu\",\"consumerDataSet\":[{\"groupName\":\"Storm\"}]}", i);

        peer_start(&members[i], REQ_HEART_BEAT, NO_FIELDS, (struct mq_str){body, (uint32_t)n}, &answers[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        rig_wait_flag(&rig, &answers[i].done);
        answer_free(&answers[i]);
    }
    /* One behind another in a few turns at most, and each turn's changes are one notice. */
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        peer_hang_up(&members[i]);
        assert_true(members[i].requests - (i == 0 ? before : 0) <= 3 + i);
    }
}

static void broadcasting_groups_are_not_told(void **state)
{
    uint32_t before = peer.requests;

    (void)state;
    assert_int_equal(beat(&peer, "c1", "Broadcast", "Orders", "BROADCASTING"), RESP_SUCCESS);
    peer_sync(&peer);
    assert_int_equal(peer.requests, before);
    assert_int_equal(list("Broadcast"), RESP_SUCCESS);
}

static void a_heartbeat_without_its_sets_keeps_the_subscriptions(void **state)
{
    static const char brief[] = "{\"clientID\":\"c1\",\"heartbeatFingerprint\":7,\"withoutSub\":true,"
                                "\"consumerDataSet\":[{\"groupName\":\"Brief\"}]}";

    (void)state;
    assert_int_equal(beat(&peer, "c1", "Brief", "Orders", "CLUSTERING"), RESP_SUCCESS);
    assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS, mq_str_of(brief)), RESP_SUCCESS);
    assert_non_null(consumer_table_subscription(rig.ctx->consumers, MQ_STR("Brief"), MQ_STR("Orders")));
}

static void a_group_that_may_not_be_is_passed_over(void **state)
{
    uint32_t before = consumer_table_members(rig.ctx->consumers);

    (void)state;
    assert_int_equal(beat(&peer, "c1", "a b", "Orders", "CLUSTERING"), RESP_SUCCESS);
    assert_int_equal(consumer_table_members(rig.ctx->consumers), before);
    assert_null(group_table_find(&rig.ctx->state->groups, MQ_STR("a b")));
}

static void a_subscription_is_checked_before_a_consumer_starts(void **state)
{
    static const struct {
        const char *body;
        int code;
    } cases[] = {
        {"{\"clientId\":\"c\",\"group\":\"g\"}", RESP_SUCCESS},
        {"{\"subscriptionData\":{\"topic\":\"T\",\"subString\":\"*\",\"expressionType\":\"TAG\"}}", RESP_SUCCESS},
        {"{\"subscriptionData\":{\"topic\":\"T\",\"subString\":\"a > 5\",\"expressionType\":\"SQL92\"}}",
         RESP_SUCCESS},
        {"{\"subscriptionData\":{\"topic\":\"T\",\"subString\":\"a >\",\"expressionType\":\"SQL92\"}}",
         RESP_SUBSCRIPTION_PARSE_FAILED},
        {"{\"subscriptionData\":{\"topic\":\"T\",\"subString\":\"a\",\"expressionType\":\"LUA\"}}",
         RESP_SUBSCRIPTION_PARSE_FAILED},
        {"{\"subscriptionData\":", RESP_SYSTEM_ERROR},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(peer_code(&peer, REQ_CHECK_CLIENT_CONFIG, FIELDS({"k", "v"}), mq_str_of(cases[i].body)),
                         cases[i].code);
    }
}

static void bad_heartbeats_are_answered(void **state)
{
    static const char *const bodies[] = {
        "",
        "garbage",
        "{",
        "[]",
        "{\"clientID\":\"\"}",
        "{\"consumerDataSet\":[]}",
        "{\"clientID\":{}}",
        "{\"clientID\":\"c\",\"consumerDataSet\":[{\"groupName\":\"g\",\"subscriptionDataSet\":[{\"subVersion\":"
        "\"x\"}]}]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        print_message("%s\n", bodies[i]);
        assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS, mq_str_of(bodies[i])), RESP_SYSTEM_ERROR);
    }
    assert_int_equal(peer_code(&peer, REQ_UNREGISTER_CLIENT, NO_FIELDS, MQ_STR("")), RESP_SYSTEM_ERROR);
    assert_int_equal(peer_code(&peer, REQ_GET_CONSUMER_LIST_BY_GROUP, NO_FIELDS, MQ_STR("")), RESP_SYSTEM_ERROR);
}

static void an_end_of_the_connection_ends_all_its_memberships(void **state)
{
    uint32_t members = consumer_table_members(rig.ctx->consumers),
             producers = producer_table_count(rig.ctx->producers);
    struct peer other;
    char group[16];

    (void)state;
    peer_dial(&rig, &other, PROTO_JSON);
    for (int i = 0; i < 5; i++) {
        snprintf(group, sizeof(group), "End%d", i);
        assert_int_equal(beat(&other, "e", group, "Orders", "CLUSTERING"), RESP_SUCCESS);
    }
    assert_int_equal(consumer_table_members(rig.ctx->consumers), members + 5);
    assert_int_equal(producer_table_count(rig.ctx->producers), producers + 1);
    peer_hang_up(&other);
    peer_sync(&peer);
    assert_int_equal(consumer_table_members(rig.ctx->consumers), members);
    assert_int_equal(producer_table_count(rig.ctx->producers), producers);
}

static void unknown_requests_are_told_so(void **state)
{
    static const int32_t codes[] = {0, 39, 40, 103, 105, 9999, 2147483647, -1};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        assert_int_equal(peer_ask(&peer, codes[i], NO_FIELDS, MQ_STR("body"), &answer),
                         RESP_REQUEST_CODE_NOT_SUPPORTED);
        assert_non_null(strstr(answer_remark(&answer), "not supported"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_heartbeat_makes_group_and_retry_topic),
        cmocka_unit_test(members_hear_of_each_other),
        cmocka_unit_test(many_changes_at_once_are_told_once),
        cmocka_unit_test(broadcasting_groups_are_not_told),
        cmocka_unit_test(a_heartbeat_without_its_sets_keeps_the_subscriptions),
        cmocka_unit_test(a_subscription_is_checked_before_a_consumer_starts),
        cmocka_unit_test(a_group_that_may_not_be_is_passed_over),
        cmocka_unit_test(bad_heartbeats_are_answered),
        cmocka_unit_test(an_end_of_the_connection_ends_all_its_memberships),
        cmocka_unit_test(unknown_requests_are_told_so),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
