/* Offsets of queues and of groups: 14, 15, 29 to 32. */
#include "tests/unit/broker/rig.h"

#include <stdio.h>

static struct rig rig;
static struct peer peer;
static struct answer answer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_send(&peer, "Orders", "0", "body", "", NULL), RESP_SUCCESS);
    }
    /* The group exists from its first use. */
    assert_int_equal(rig_pull(&peer, "Orders", "0", "0", NULL, &answer), RESP_SUCCESS);
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

static int32_t commit(const char *group, const char *topic, const char *queue, const char *offset)
{
    return peer_ask(&peer, REQ_UPDATE_CONSUMER_OFFSET,
                    FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", queue}, {"commitOffset", offset}),
                    MQ_STR(""), &answer);
}

static int32_t query(const char *group, const char *topic, const char *queue, const char *zero)
{
    return peer_ask(
        &peer, REQ_QUERY_CONSUMER_OFFSET,
        FIELDS({"consumerGroup", group}, {"topic", topic}, {"queueId", queue}, {"setZeroIfNotFound", zero}),
        MQ_STR(""), &answer);
}

static void the_last_commit_counts_also_when_it_is_smaller(void **state)
{
    static const char *const offsets[] = {"3", "1", "0", "9223372036854775807", "2"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
        assert_int_equal(commit("CG", "Orders", "0", offsets[i]), RESP_SUCCESS);
        assert_int_equal(query("CG", "Orders", "0", NULL), RESP_SUCCESS);
        assert_string_equal(answer_field(&answer, "offset"), offsets[i]);
    }
}

static void bad_commits_are_refused_by_name(void **state)
{
    static const struct {
        const char *why, *group, *topic, *queue, *offset;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"an unknown group", "Nobody", "Orders", "0", "1", RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "Nobody"},
        {"an unknown topic", "CG", "Nowhere", "0", "1", RESP_TOPIC_NOT_EXIST, "Nowhere"},
        {"a negative offset", "CG", "Orders", "0", "-1", RESP_INVALID_PARAMETER, "commitOffset -1"},
        {"a negative queue", "CG", "Orders", "-1", "1", RESP_INVALID_PARAMETER, "queueId -1"},
        {"a queue that no topic can have", "CG", "Orders", "65535", "1", RESP_INVALID_PARAMETER, "65534"},
        {"no number", "CG", "Orders", "0", "many", RESP_SYSTEM_ERROR, "\"many\""},
        {"a number beyond 64 bits", "CG", "Orders", "0", "9223372036854775808", RESP_SYSTEM_ERROR, "commitOffset"},
        {"a missing field", "CG", "Orders", "0", NULL, RESP_SYSTEM_ERROR, "commitOffset is missing"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(commit(cases[i].group, cases[i].topic, cases[i].queue, cases[i].offset), cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
}

static void a_queue_of_the_topic_need_not_exist_for_a_commit(void **state)
{
    (void)state;
    assert_int_equal(commit("CG", "Orders", "700", "5"), RESP_SUCCESS);
    assert_int_equal(query("CG", "Orders", "700", NULL), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "offset"), 5);
}

static void a_group_without_a_commit_starts_young_queues_at_their_beginning(void **state)
{
    (void)state;
    assert_int_equal(query("Late", "Orders", "0", NULL), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "offset"), 0);
    assert_int_equal(query("Late", "Orders", "0", "false"), RESP_QUERY_NOT_FOUND);
    assert_int_equal(query("Late", "Orders", "1", NULL), RESP_QUERY_NOT_FOUND); /* never used: nothing to start at */
    assert_int_equal(query("Late", "Orders", "-1", NULL), RESP_QUERY_NOT_FOUND);
    assert_int_equal(query("Late", "Nowhere", "0", NULL), RESP_QUERY_NOT_FOUND);
}

static void a_commit_may_follow_the_first_use_of_its_group_at_once(void **state)
{
    struct answer pulled = {0}, committed = {0};

    (void)state;
    peer_start(&peer, REQ_PULL_MESSAGE,
               FIELDS({"consumerGroup", "Hasty"}, {"topic", "Orders"}, {"queueId", "0"}, {"queueOffset", "0"},
                      {"maxMsgNums", "1"}, {"sysFlag", "4"}, {"commitOffset", "0"}, {"suspendTimeoutMillis", "0"},
                      {"subVersion", "0"}),
               MQ_STR(""), &pulled);
    peer_start(&peer, REQ_UPDATE_CONSUMER_OFFSET,
               FIELDS({"consumerGroup", "Hasty"}, {"topic", "Orders"}, {"queueId", "0"}, {"commitOffset", "1"}),
               MQ_STR(""), &committed);
    rig_wait_flag(&rig, &committed.done);
    assert_int_equal(committed.code, RESP_SUCCESS);
    assert_int_equal(pulled.code, RESP_SUCCESS);
    answer_free(&pulled);
    answer_free(&committed);
}

/* The heartbeat came while this node followed: it could not propose the group. */
static void a_group_that_was_only_heard_of_is_made_by_its_first_commit(void **state)
{
    static const char beat[] = "{\"clientID\":\"c1\",\"consumerDataSet\":[{\"groupName\":\"Heard\"}]}";
    struct rlog_role leads = rig.ctx->role;

    (void)state;
    rig.ctx->role.kind = RLOG_FOLLOWER;
    assert_int_equal(peer_code(&peer, REQ_HEART_BEAT, NO_FIELDS, mq_str_of(beat)), RESP_SUCCESS);
    assert_int_equal(commit("Heard", "Orders", "0", "2"), RESP_SERVICE_NOT_AVAILABLE);
    rig.ctx->role = leads;
    assert_null(group_table_find(&rig.ctx->state->groups, MQ_STR("Heard")));
    assert_int_equal(commit("Heard", "Orders", "0", "2"), RESP_SUCCESS);
    assert_non_null(group_table_find(&rig.ctx->state->groups, MQ_STR("Heard")));
}

static int64_t offset_of(int32_t code, const char *topic, const char *queue)
{
    assert_int_equal(peer_ask(&peer, code, FIELDS({"topic", topic}, {"queueId", queue}), MQ_STR(""), &answer),
                     RESP_SUCCESS);
    return answer_number(&answer, "offset");
}

static void bounds_of_what_does_not_exist_are_zero(void **state)
{
    static const struct {
        const char *topic, *queue;
        int64_t max;
    } cases[] = {{"Orders", "0", 3},  {"Orders", "1", 0},          {"Orders", "99", 0},
                 {"Orders", "-1", 0}, {"Orders", "2147483647", 0}, {"Nowhere", "0", 0}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(offset_of(REQ_GET_MAX_OFFSET, cases[i].topic, cases[i].queue), cases[i].max);
        assert_int_equal(offset_of(REQ_GET_MIN_OFFSET, cases[i].topic, cases[i].queue), 0);
        assert_int_equal(peer_ask(&peer, REQ_GET_EARLIEST_MSG_STORETIME,
                                  FIELDS({"topic", cases[i].topic}, {"queueId", cases[i].queue}), MQ_STR(""),
                                  &answer),
                         RESP_SUCCESS);
        assert_true((answer_number(&answer, "timestamp") == -1) == (cases[i].max == 0));
    }
}

static int64_t search(const char *queue, const char *time_ms, const char *boundary)
{
    assert_int_equal(
        peer_ask(&peer, REQ_SEARCH_OFFSET_BY_TIMESTAMP,
                 FIELDS({"topic", "Orders"}, {"queueId", queue}, {"timestamp", time_ms}, {"boundaryType", boundary}),
                 MQ_STR(""), &answer),
        RESP_SUCCESS);
    return answer_number(&answer, "offset");
}

static void a_search_by_time_stays_within_the_queue(void **state)
{
    (void)state;
    assert_int_equal(search("0", "0", NULL), 0);
    assert_int_equal(search("0", "-9223372036854775808", NULL), 0);
    assert_int_equal(search("0", "9223372036854775807", NULL), 3);
    assert_int_equal(search("0", "9223372036854775807", "UPPER"), 2);
    assert_int_equal(search("1", "0", NULL), 0);
    assert_int_equal(search("99", "0", "lower"), 0);
}

static void what_must_be_current_is_not_answered_by_a_follower(void **state)
{
    static const int32_t codes[] = {
        REQ_SEND_MESSAGE_V2, REQ_QUERY_CONSUMER_OFFSET, REQ_UPDATE_CONSUMER_OFFSET, REQ_UPDATE_AND_CREATE_TOPIC,
        REQ_GET_MAX_OFFSET,  REQ_GET_MIN_OFFSET,        REQ_LOCK_BATCH_MQ,          REQ_SEARCH_OFFSET_BY_TIMESTAMP};
    static const struct {
        enum rlog_role_kind kind;
        uint32_t leader;
        const char *remark;
    } roles[] = {{RLOG_FOLLOWER, 3, "n2 leads"}, {RLOG_FOLLOWER, 0, "no leader"}, {RLOG_LEADING, 1, "not ready yet"}};
    struct rlog_role leads = rig.ctx->role;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        rig.ctx->role = (struct rlog_role){roles[i].kind, leads.term, roles[i].leader};
        for (size_t k = 0; k < ARRAY_SIZE(codes); k++) {
            assert_int_equal(peer_ask(&peer, codes[k], NO_FIELDS, MQ_STR(""), &answer), RESP_SERVICE_NOT_AVAILABLE);
            assert_non_null(strstr(answer_remark(&answer), roles[i].remark));
        }
    }
    rig.ctx->role = leads;
}

struct ending {
    const struct peer *peer;
    const struct answer *answer;
};

static bool answered_or_closed(void *data)
{
    const struct ending *ending = data;

    return ending->answer->done || ending->peer->closed;
}

/* 14 as a Java client of that version asks it; false when the connection ended instead of an answer. */
static bool is_answered(const char *version)
{
    struct mq_buf frame = {0};
    struct answer refused = {0};
    struct peer java;
    uint8_t lengths[8] = {0};
    char header[256];
    bool answered;
    int n = snprintf(header, sizeof(header),
                     "{\"code\":14,\"language\":\"JAVA\",\"version\":%s,\"opaque\":900,\"flag\":0,\"extFields\":{"
                     "\"consumerGroup\":\"g\",\"topic\":\"Orders\",\"queueId\":\"0\"}}",
                     version);

    lengths[3] = (uint8_t)(n + 4);
    lengths[7] = (uint8_t)n;
    assert_int_equal(mq_buf_put(&frame, lengths, sizeof(lengths)), 0);
    assert_int_equal(mq_buf_put(&frame, header, (size_t)n), 0);
    peer_dial(&rig, &java, PROTO_JSON);
    peer_start_frame(&java, &frame, &refused);
    rig_wait(&rig, answered_or_closed, &(struct ending){&java, &refused});
    answered = refused.done;
    assert_int_equal(refused.done ? refused.code : 0, answered ? RESP_SERVICE_NOT_AVAILABLE : 0);
    peer_hang_up(&java);
    answer_free(&refused);
    mq_buf_free(&frame);
    return answered;
}

static void a_client_that_takes_a_refusal_for_no_offset_gets_none(void **state)
{
    struct rlog_role leads = rig.ctx->role;

    (void)state;
    rig.ctx->role = (struct rlog_role){RLOG_FOLLOWER, leads.term, 3};
    assert_false(is_answered("409")); /* 4.9.8 */
    assert_true(is_answered("413"));  /* 5.0.0 */
    rig.ctx->role = leads;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_commit_counts_also_when_it_is_smaller),
        cmocka_unit_test(bad_commits_are_refused_by_name),
        cmocka_unit_test(a_queue_of_the_topic_need_not_exist_for_a_commit),
        cmocka_unit_test(a_group_without_a_commit_starts_young_queues_at_their_beginning),
        cmocka_unit_test(a_commit_may_follow_the_first_use_of_its_group_at_once),
        cmocka_unit_test(a_group_that_was_only_heard_of_is_made_by_its_first_commit),
        cmocka_unit_test(bounds_of_what_does_not_exist_are_zero),
        cmocka_unit_test(a_search_by_time_stays_within_the_queue),
        cmocka_unit_test(what_must_be_current_is_not_answered_by_a_follower),
        cmocka_unit_test(a_client_that_takes_a_refusal_for_no_offset_gets_none),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
