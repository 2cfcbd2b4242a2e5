/* Sends to %RETRY% and %DLQ% topics: what clients do when CONSUMER_SEND_MSG_BACK failed, and orderly consumers when
 * they give up. */
#include "tests/unit/broker/rig.h"

#include "broker/processor/propose.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <stdio.h>

static struct rig rig;
static struct peer peer;
static struct answer answer, pulled;

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
    answer_free(&pulled);
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

/* @max NULL: not sent. */
static int32_t send_retry(const char *topic, const char *queue, const char *times, const char *max,
                          const char *properties)
{
    return peer_ask(&peer, REQ_SEND_MESSAGE_V2,
                    FIELDS({"a", "CLIENT_INNER_PRODUCER"}, {"b", topic}, {"c", "TBW102"}, {"d", "1"}, {"e", queue},
                           {"f", "0"}, {"g", "1700000000000"}, {"h", "0"}, {"i", properties}, {"j", times},
                           {"k", "false"}, {"m", "false"}, {max != NULL ? "l" : "other", max != NULL ? max : ""}),
                    MQ_STR("again"), &answer);
}

static int64_t max_of(const char *topic, const char *queue)
{
    assert_int_equal(
        peer_ask(&peer, REQ_GET_MAX_OFFSET, FIELDS({"topic", topic}, {"queueId", queue}), MQ_STR(""), &pulled), 0);
    return answer_number(&pulled, "offset");
}

static struct proto_record last_of(const char *topic)
{
    struct proto_record rec;
    char at[24];

    snprintf(at, sizeof(at), "%lld", (long long)max_of(topic, "0") - 1);
    assert_int_equal(rig_pull(&peer, topic, "0", at, NULL, &pulled), RESP_SUCCESS);
    assert_int_equal(proto_record_decode(pulled.body.base, pulled.body.len, &rec), 0);
    return rec;
}

static bool has(const struct proto_record *rec, const char *name, const char *want)
{
    return mq_str_eq(proto_properties_get(rec->properties, mq_str_of(name)), mq_str_of(want));
}

static void put_group(const char *name, int32_t times)
{
    Raftmq__GroupPut put;

    group_defaults(&put, (char *)name);
    put.retry_max_times = times;
    assert_int_equal(propose_item(rig.ctx, COMMAND_GROUP_PUT, &put.base, NULL), 0);
    assert_int_equal(rig_topic(&peer, "Sync", "1"), RESP_SUCCESS); /* an entry behind it is applied */
}

static void a_retry_topic_is_made_by_its_first_message(void **state)
{
    const struct topic *topic;
    struct proto_record rec;

    (void)state;
    assert_int_equal(
        send_retry("%RETRY%First", "0", "2", "16", "RETRY_TOPIC\001Orders\002ORIGIN_MESSAGE_ID\001id\002"),
        RESP_SUCCESS);
    topic = topic_table_find(&rig.ctx->state->topics, MQ_STR("%RETRY%First"));
    assert_non_null(topic);
    assert_int_equal(topic->read_queues, 1);
    assert_int_equal(topic->perm, TOPIC_PERM_READ | TOPIC_PERM_WRITE);
    rec = last_of("%RETRY%First");
    assert_int_equal(rec.reconsume_times, 2);
    assert_true(has(&rec, "RETRY_TOPIC", "Orders"));
    assert_true(has(&rec, "ORIGIN_MESSAGE_ID", "id"));
    assert_true(mq_str_eq(rec.body, MQ_STR("again")));
}

static void a_message_that_failed_too_often_is_a_dead_letter(void **state)
{
    static const struct {
        const char *times, *max;
        bool dead;
    } cases[] = {
        {"3", NULL, false}, {"4", NULL, true}, {"4", "4", false}, {"5", "4", true},
        {"0", "0", false},  {"1", "0", true},  {"0", "-2", true}, {"17", "2147483647", false},
    };

    (void)state;
    put_group("Often", 3);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t letters = max_of("%DLQ%Often", "0"), retries = max_of("%RETRY%Often", "0");
        struct proto_record rec;

        print_message("%s of %s\n", cases[i].times, cases[i].max != NULL ? cases[i].max : "the group's 3");
        assert_int_equal(send_retry("%RETRY%Often", "0", cases[i].times, cases[i].max, "DELAY\0010\002k\001v\002"),
                         RESP_SUCCESS);
        assert_int_equal(max_of("%DLQ%Often", "0"), letters + cases[i].dead);
        assert_int_equal(max_of("%RETRY%Often", "0"), retries + !cases[i].dead);
        assert_int_equal(answer_number(&answer, "queueId"), 0);
        rec = last_of(cases[i].dead ? "%DLQ%Often" : "%RETRY%Often");
        assert_true(has(&rec, "DELAY", cases[i].dead ? "-1" : "0"));
        assert_true(has(&rec, "k", "v"));
        assert_int_equal(answer_number(&answer, "queueOffset"), rec.qoff);
    }
}

static void lock(const char *group, int32_t code)
{
    char body[512];
    int n = snprintf(body, sizeof(body),
                     "{\"consumerGroup\":\"%s\",\"clientId\":\"c\",\"onlyThisBroker\":false,\"mqSet\":["
                     "{\"topic\":\"T\",\"brokerName\":\"golden-a\",\"queueId\":0},"
                     "{\"topic\":\"T\",\"brokerName\":\"golden-a\",\"queueId\":1}]}",
                     group);

    assert_int_equal(peer_code(&peer, code, NO_FIELDS, (struct mq_str){body, (uint32_t)n}), RESP_SUCCESS);
}

static void an_orderly_group_sends_only_what_it_has_given_up(void **state)
{
    (void)state;
    lock("Orderly", REQ_LOCK_BATCH_MQ);
    assert_int_equal(send_retry("%RETRY%Orderly", "0", "1", "16", "DELAY\0013\002"), RESP_SUCCESS);
    assert_int_equal(max_of("%DLQ%Orderly", "0"), 1);
    assert_int_equal(send_retry("%RETRY%Another", "0", "1", "16", ""), RESP_SUCCESS);
    assert_int_equal(max_of("%DLQ%Another", "0"), 0);
    lock("Orderly", REQ_UNLOCK_BATCH_MQ);
    assert_int_equal(send_retry("%RETRY%Orderly", "0", "1", "16", ""), RESP_SUCCESS);
    assert_int_equal(max_of("%DLQ%Orderly", "0"), 1);
    assert_int_equal(max_of("%RETRY%Orderly", "0"), 1);
}

static void a_dead_letter_topic_is_a_topic_like_others(void **state)
{
    struct proto_record rec;

    (void)state;
    assert_int_equal(send_retry("%DLQ%Straight", "0", "99", "1", "DELAY\0010\002"), RESP_SUCCESS);
    rec = last_of("%DLQ%Straight");
    assert_true(has(&rec, "DELAY", "0"));
    assert_int_equal(rec.reconsume_times, 99);
}

static void what_is_refused_stores_nothing(void **state)
{
    static char name_256[257], group_121[7 + 122];
    static const struct {
        const char *why, *topic, *queue, *times, *batch;
        int32_t code;
        const char *remark;
    } cases[] = {
        {"no group at all", "%RETRY%", "0", "0", "false", RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "group \"\""},
        {"a group that is too long", group_121, "0", "0", "false", RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "ggg"},
        {"a topic that is too long", name_256, "0", "0", "false", RESP_INVALID_PARAMETER, "255"},
        {"a name with a plus", "%RETRY%g+t", "0", "0", "false", RESP_INVALID_PARAMETER, "character"},
        {"a queue that is not there", "%RETRY%Refused", "7", "0", "false", RESP_INVALID_PARAMETER, "queueId 7"},
        {"a batch", "%RETRY%Refused", "0", "0", "true", RESP_MESSAGE_ILLEGAL, "batch"},
        {"times that are no number", "%RETRY%Refused", "0", "often", "false", RESP_SYSTEM_ERROR, "\"often\""},
        {"times beyond 32 bits", "%RETRY%Refused", "0", "2147483648", "false", RESP_SYSTEM_ERROR, "reconsumeTimes"},
    };
    uint64_t before;

    (void)state;
    memset(name_256, 'g', 256);
    memcpy(name_256, "%RETRY%", 7);
    memset(group_121, 'g', sizeof(group_121) - 1);
    memcpy(group_121, "%RETRY%", 7);
    before = rig.ctx->store->messages;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(
            peer_ask(&peer, REQ_SEND_MESSAGE,
                     FIELDS({"producerGroup", "PG"}, {"topic", cases[i].topic}, {"defaultTopic", "TBW102"},
                            {"defaultTopicQueueNums", "1"}, {"queueId", cases[i].queue}, {"sysFlag", "0"},
                            {"bornTimestamp", "1"}, {"flag", "0"}, {"reconsumeTimes", cases[i].times},
                            {"batch", cases[i].batch}),
                     MQ_STR("again"), &answer),
            cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_int_equal(rig.ctx->store->messages, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_retry_topic_is_made_by_its_first_message),
        cmocka_unit_test(a_message_that_failed_too_often_is_a_dead_letter),
        cmocka_unit_test(an_orderly_group_sends_only_what_it_has_given_up),
        cmocka_unit_test(a_dead_letter_topic_is_a_topic_like_others),
        cmocka_unit_test(what_is_refused_stores_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
