/* What administrators and tools ask: 17, 21, 25, 26, 28, 202, 351 and group status. */
#include "tests/unit/broker/rig.h"

#include "remoting/protocol/body_admin.h"
#include "remoting/protocol/body_topic.h"

#include <stdio.h>
#include <stdlib.h>

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

static int32_t create(const char *topic, const char *queues, const char *perm, const char *type,
                      const char *attributes)
{
    return peer_ask(&peer, REQ_UPDATE_AND_CREATE_TOPIC,
                    FIELDS({"topic", topic}, {"defaultTopic", "TBW102"}, {"readQueueNums", queues},
                           {"writeQueueNums", queues}, {"perm", perm}, {"topicFilterType", type}, {"order", "false"},
                           {"attributes", attributes}),
                    MQ_STR(""), &answer);
}

static void a_topic_can_be_created_and_changed(void **state)
{
    struct proto_topic_config config;

    (void)state;
    assert_int_equal(create("Orders", "8", "6", "SINGLE_TAG", "+message.type=FIFO"), RESP_SUCCESS);
    assert_int_equal(create("Orders", "3", "4", "MULTI_TAG", NULL), RESP_SUCCESS);
    assert_int_equal(
        peer_ask(&peer, REQ_GET_TOPIC_CONFIG, FIELDS({"topic", "Orders"}, {"lo", "true"}), MQ_STR(""), &answer),
        RESP_SUCCESS);
    assert_int_equal(proto_topic_config_decode((char *)answer.body.base, answer.body.len, &config), 0);
    assert_int_equal(config.read_queues, 3);
    assert_int_equal(config.perm, 4);
    assert_true(config.multi_tag);
    assert_true(mq_str_eq(config.attributes, MQ_STR("message.type=FIFO")));
    assert_int_equal(peer_code(&peer, REQ_GET_TOPIC_CONFIG, FIELDS({"topic", "Nowhere"}), MQ_STR("")),
                     RESP_TOPIC_NOT_EXIST);
}

static void bad_topics_are_refused_by_field(void **state)
{
    static char long_topic[129];
    static const struct {
        const char *why, *topic, *queues, *perm, *type, *attributes;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"a path", "../x", "1", "6", "SINGLE_TAG", NULL, RESP_INVALID_PARAMETER, "../x"},
        {"too long", long_topic, "1", "6", "SINGLE_TAG", NULL, RESP_INVALID_PARAMETER, "127"},
        {"a system topic", "TBW102", "1", "6", "SINGLE_TAG", NULL, RESP_INVALID_PARAMETER, "TBW102"},
        {"the cluster's topic", "DefaultCluster", "1", "6", "SINGLE_TAG", NULL, RESP_INVALID_PARAMETER, "system"},
        {"negative queues", "T", "-1", "6", "SINGLE_TAG", NULL, RESP_INVALID_PARAMETER, "readQueueNums -1"},
        {"too many queues", "T", "65536", "6", "SINGLE_TAG", NULL, RESP_INVALID_PARAMETER, "65535"},
        {"a permission that is none", "T", "1", "8", "SINGLE_TAG", NULL, RESP_INVALID_PARAMETER, "perm 8"},
        {"a filter that is none", "T", "1", "6", "TAGS", NULL, RESP_SYSTEM_ERROR, "\"TAGS\""},
        {"an unknown attribute", "T", "1", "6", "SINGLE_TAG", "+colour=red", RESP_SYSTEM_ERROR, "colour"},
        {"mixed messages", "T", "1", "6", "SINGLE_TAG", "+message.type=MIXED", RESP_INVALID_PARAMETER, "MIXED"},
        {"a missing field", "T", NULL, "6", "SINGLE_TAG", NULL, RESP_SYSTEM_ERROR, "readQueueNums is missing"},
    };

    (void)state;
    memset(long_topic, 'a', 128);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(create(cases[i].topic, cases[i].queues, cases[i].perm, cases[i].type, cases[i].attributes),
                         cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_null(topic_table_find_for_send(&rig.ctx->state->topics, MQ_STR("T")));
}

static void all_topics_come_with_a_version_that_changes(void **state)
{
    struct proto_topic_table before, after;
    struct answer later = {0};

    (void)state;
    assert_int_equal(peer_ask(&peer, REQ_GET_ALL_TOPIC_CONFIG, NO_FIELDS, MQ_STR(""), &answer), RESP_SUCCESS);
    assert_int_equal(proto_topic_table_decode((char *)answer.body.base, answer.body.len, &before), 0);
    assert_int_equal(rig_topic(&peer, "OneMore", "1"), RESP_SUCCESS);
    assert_int_equal(peer_ask(&peer, REQ_GET_ALL_TOPIC_CONFIG, FIELDS({"topicSeq", "0"}), MQ_STR(""), &later),
                     RESP_SUCCESS);
    assert_int_equal(proto_topic_table_decode((char *)later.body.base, later.body.len, &after), 0);
    assert_int_equal(after.topics.count, before.topics.count + 1);
    assert_true(proto_data_version_compare(&after.version, &before.version) > 0);
    assert_int_equal(after.version.state_version, rig.ctx->role.term);
    proto_topic_table_free(&before);
    proto_topic_table_free(&after);
    answer_free(&later);
}

static void statistics_name_every_queue(void **state)
{
    struct proto_topic_stats stats;

    (void)state;
    assert_int_equal(rig_topic(&peer, "Counted", "3"), RESP_SUCCESS);
    assert_int_equal(rig_send(&peer, "Counted", "1", "x", "", NULL), RESP_SUCCESS);
    assert_int_equal(peer_ask(&peer, REQ_GET_TOPIC_STATS_INFO, FIELDS({"topic", "Counted"}), MQ_STR(""), &answer),
                     RESP_SUCCESS);
    assert_int_equal(proto_topic_stats_decode((char *)answer.body.base, answer.body.len, &stats), 0);
    assert_int_equal(stats.count, 3);
    for (uint32_t i = 0; i < stats.count; i++) {
        assert_int_equal(stats.items[i].max_offset, stats.items[i].queue.queue_id == 1);
        assert_true((stats.items[i].last_update_ms > 0) == (stats.items[i].queue.queue_id == 1));
        assert_true(mq_str_eq(stats.items[i].queue.broker_name, MQ_STR("golden-a")));
    }
    proto_topic_stats_free(&stats);
    assert_int_equal(peer_code(&peer, REQ_GET_TOPIC_STATS_INFO, FIELDS({"topic", "Nowhere"}), MQ_STR("")),
                     RESP_TOPIC_NOT_EXIST);
}

static struct mq_str value_of(const struct proto_kvs *kvs, const char *key)
{
    for (uint32_t i = 0; i < kvs->count; i++) {
        if (mq_str_eq(kvs->items[i].key, mq_str_of(key))) {
            return kvs->items[i].value;
        }
    }
    fail_msg("no key %s", key);
    return (struct mq_str){0};
}

/* The exporter drops a broker that lacks one of these, or whose value does not parse. */
static void the_runtime_table_has_what_tools_need(void **state)
{
    static const char *const rates[] = {"putTps",      "getFoundTps",       "getMissTps",
                                        "getTotalTps", "getTransferredTps", "getTransferedTps"};
    static const char *const numbers[] = {"bootTimestamp",
                                          "msgPutTotalTodayNow",
                                          "msgPutTotalTodayMorning",
                                          "msgGetTotalTodayNow",
                                          "msgPutTotalYesterdayMorning",
                                          "msgGetTotalYesterdayMorning",
                                          "msgGetTotalTodayMorning",
                                          "putMessageTimesTotal",
                                          "putMessageSizeTotal",
                                          "dispatchMaxBuffer",
                                          "dispatchBehindBytes",
                                          "commitLogMinOffset",
                                          "commitLogMaxOffset",
                                          "pageCacheLockTimeMills",
                                          "earliestMessageTimeStamp",
                                          "brokerVersion",
                                          "sendThreadPoolQueueSize",
                                          "sendThreadPoolQueueCapacity",
                                          "pullThreadPoolQueueSize",
                                          "queryThreadPoolQueueHeadWaitTimeMills",
                                          "remainTransientStoreBufferNumbs",
                                          "putMessageEntireTimeMax",
                                          "getMessageEntireTimeMax",
                                          "startAcceptSendRequestTimeStamp"};
    struct proto_kvs kvs;
    int64_t number, first = 0;

    (void)state;
    assert_int_equal(rig_send(&peer, "Counted2", "0", "x", "", NULL), RESP_SUCCESS);
    assert_int_equal(peer_ask(&peer, REQ_GET_BROKER_RUNTIME_INFO, NO_FIELDS, MQ_STR(""), &answer), RESP_SUCCESS);
    assert_int_equal(proto_kv_table_decode((char *)answer.body.base, answer.body.len, &kvs), 0);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        print_message("%s\n", numbers[i]);
        assert_int_equal(mq_str_to_i64(value_of(&kvs, numbers[i]), &number), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
        char text[64];
        float a, b, c;

        snprintf(text, sizeof(text), MQ_STR_FMT, MQ_STR_ARG(value_of(&kvs, rates[i])));
        assert_int_equal(sscanf(text, "%f %f %f", &a, &b, &c), 3);
    }
    assert_true(mq_str_starts(value_of(&kvs, "commitLogDirCapacity"), MQ_STR("Total : ")));
    assert_true(mq_str_eq(value_of(&kvs, "brokerActive"), MQ_STR("true")));
    assert_int_equal(mq_str_to_i64(value_of(&kvs, "earliestMessageTimeStamp"), &number), 0);
    assert_int_equal(mq_str_to_i64(value_of(&kvs, "bootTimestamp"), &first), 0);
    assert_true(number >= first); /* the oldest message of this directory, not the process */
    assert_int_equal(number, rig.ctx->state->first_store_ms);
    proto_kvs_free(&kvs);
}

static void rates_are_taken_over_the_time_there_is(void **state)
{
    struct context *ctx = calloc(1, sizeof(*ctx));
    struct proto_kvs kvs;

    (void)state;
    ctx->runtime.day = -1;
    for (int i = 0; i < 5; i++) {
        ctx->stats.puts = (uint64_t)i * 100;
        runtime_sample(ctx);
    }
    assert_int_equal(ctx->runtime.count, 5);
    free(ctx);
    /* In a running broker the table is asked while there is one sample or none: no division by zero. */
    rig.ctx->runtime.count = 1;
    assert_int_equal(peer_ask(&peer, REQ_GET_BROKER_RUNTIME_INFO, NO_FIELDS, MQ_STR(""), &answer), RESP_SUCCESS);
    assert_int_equal(proto_kv_table_decode((char *)answer.body.base, answer.body.len, &kvs), 0);
    assert_true(mq_str_eq(value_of(&kvs, "putTps"), MQ_STR("0.00 0.00 0.00")));
    proto_kvs_free(&kvs);
}

static void configuration_is_shown_sorted_and_cannot_be_changed(void **state)
{
    struct mq_str rest, key, value, last = MQ_STR("");
    bool has_name = false, has_role = false;

    (void)state;
    assert_int_equal(peer_ask(&peer, REQ_GET_BROKER_CONFIG, NO_FIELDS, MQ_STR(""), &answer), RESP_SUCCESS);
    assert_non_null(answer_field(&answer, "version"));
    rest = mq_buf_str(&answer.body);
    while (proto_config_text_next(&rest, &key, &value)) {
        uint32_t n = key.len < last.len ? key.len : last.len;
        int order = memcmp(last.at, key.at, n);

        assert_true(order < 0 || (order == 0 && last.len < key.len));
        last = key;
        has_name |= mq_str_eq(key, MQ_STR("brokerName")) && mq_str_eq(value, MQ_STR("golden-a"));
        has_role |= mq_str_eq(key, MQ_STR("brokerRole")) && mq_str_eq(value, MQ_STR("SYNC_MASTER"));
    }
    assert_true(has_name);
    assert_true(has_role);
    assert_int_equal(peer_code(&peer, REQ_UPDATE_BROKER_CONFIG, NO_FIELDS, MQ_STR("brokerPermission=4\n")),
                     RESP_NO_PERMISSION);
}

static void group_status_says_who_leads(void **state)
{
    (void)state;
    assert_int_equal(peer_ask(&peer, REQ_RAFTMQ_GROUP_STATUS, NO_FIELDS, MQ_STR(""), &answer), RESP_SUCCESS);
    assert_non_null(
        strstr(answer_body(&answer), "\"brokerName\":\"golden-a\",\"member\":\"n0\",\"role\":\"leader\""));
    assert_non_null(strstr(answer_body(&answer), "\"leader\":\"n0\""));
    assert_non_null(strstr(answer_body(&answer), "\"peers\":["));
}

static void changes_of_the_group_are_refused_in_words(void **state)
{
    static const struct {
        int32_t code;
        struct pair fields[3];
        int32_t want;
        const char *says;
    } cases[] = {
        {REQ_RAFTMQ_MEMBER_ADD, {{NULL, NULL}}, RESP_INVALID_PARAMETER, "member must be n0"},
        {REQ_RAFTMQ_MEMBER_ADD, {{"member", "3"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "member must be n0"},
        {REQ_RAFTMQ_MEMBER_ADD, {{"member", "n99999999999"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "member must"},
        {REQ_RAFTMQ_MEMBER_ADD, {{"member", "n3"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "host:port"},
        {REQ_RAFTMQ_MEMBER_ADD,
         {{"member", "n0"}, {"address", "h:1"}, {NULL, NULL}},
         RESP_INVALID_PARAMETER,
         "member already"},
        {REQ_RAFTMQ_MEMBER_REMOVE, {{"member", "n0"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "last voter"},
        {REQ_RAFTMQ_MEMBER_REMOVE, {{"member", "n4"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "no such member"},
        {REQ_RAFTMQ_MEMBER_PROMOTE, {{"member", "n0"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "voter already"},
        {REQ_RAFTMQ_MEMBER_REPLACE, {{"member", "n4"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "no such member"},
        {REQ_RAFTMQ_MEMBER_REPLACE, {{"member", "n0"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "leader itself"},
        {REQ_RAFTMQ_TRANSFER, {{"member", "x"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "member must be n0"},
        {REQ_RAFTMQ_TRANSFER, {{"member", "n2"}, {NULL, NULL}}, RESP_INVALID_PARAMETER, "no such voter"},
        {REQ_RAFTMQ_TRANSFER, {{NULL, NULL}}, RESP_INVALID_PARAMETER, "no such voter"},
        {REQ_RAFTMQ_TRANSFER, {{"member", "n0"}, {NULL, NULL}}, RESP_SUCCESS, "leads already"},
    };
    struct rlog_role leads = rig.ctx->role;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%d: %s\n", cases[i].code, cases[i].says);
        assert_int_equal(peer_ask(&peer, cases[i].code, cases[i].fields, MQ_STR(""), &answer), cases[i].want);
        assert_non_null(memmem(answer.text.base, answer.text.len, cases[i].says, strlen(cases[i].says)));
    }
    rig.ctx->role = (struct rlog_role){RLOG_FOLLOWER, leads.term, 0};
    assert_int_equal(peer_code(&peer, REQ_RAFTMQ_TRANSFER, NO_FIELDS, MQ_STR("")), RESP_SERVICE_NOT_AVAILABLE);
    rig.ctx->role = leads;
}

static void followers_answer_what_any_member_may(void **state)
{
    static const int32_t codes[] = {REQ_GET_ALL_TOPIC_CONFIG, REQ_GET_BROKER_CONFIG, REQ_GET_BROKER_RUNTIME_INFO,
                                    REQ_RAFTMQ_GROUP_STATUS};
    struct rlog_role leads = rig.ctx->role;

    (void)state;
    rig.ctx->role = (struct rlog_role){RLOG_FOLLOWER, leads.term, 0};
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        assert_int_equal(peer_ask(&peer, codes[i], NO_FIELDS, MQ_STR(""), &answer), RESP_SUCCESS);
        if (codes[i] == REQ_GET_BROKER_CONFIG) {
            assert_non_null(strstr(answer_body(&answer), "brokerRole=SLAVE\n"));
            assert_non_null(strstr(answer_body(&answer), "brokerId=1\n"));
        }
    }
    rig.ctx->role = leads;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_can_be_created_and_changed),
        cmocka_unit_test(bad_topics_are_refused_by_field),
        cmocka_unit_test(all_topics_come_with_a_version_that_changes),
        cmocka_unit_test(statistics_name_every_queue),
        cmocka_unit_test(the_runtime_table_has_what_tools_need),
        cmocka_unit_test(rates_are_taken_over_the_time_there_is),
        cmocka_unit_test(configuration_is_shown_sorted_and_cannot_be_changed),
        cmocka_unit_test(group_status_says_who_leads),
        cmocka_unit_test(changes_of_the_group_are_refused_in_words),
        cmocka_unit_test(followers_answer_what_any_member_may),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
