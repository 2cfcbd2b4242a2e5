/* Request and reply: 324 and 325, what they push to the requester (326), and what they store. */
#include "tests/unit/broker/rig.h"

#include "broker/session/producer_table.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <stdio.h>

#define TOPIC "DefaultCluster_REPLY_TOPIC"
#define TO_C1                                                                                                        \
    "CORRELATION_ID\0017\002REPLY_TO_CLIENT\001c1\002MSG_TYPE\001reply\002TTL\0013000\002MSG_REGION\001x\002"

static struct rig rig;
static struct peer replier;
static struct answer answer, pulled;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &replier, PROTO_JSON);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    answer_free(&answer);
    answer_free(&pulled);
    peer_hang_up(&replier);
    rig_close(&rig);
    return 0;
}

/* A requester, and how it behaves. */
struct requester {
    struct peer peer;
    int32_t answers; /* with this code; -1: not at all */
    uint32_t pushes;
    int32_t opaque; /* of the last one */
    char topic[64], group[64], born[64], store[64], correlation[16], region[32];
    char body[64];
    int32_t queue_id, times, flag;
    int64_t born_ms, store_ms, push_ms;
};

static void on_push(struct peer *peer, const struct proto_command *cmd)
{
    struct requester *requester = peer->data;
    struct proto_push_reply_header header;
    struct mq_str value;

    assert_int_equal(cmd->code, REQ_PUSH_REPLY_MESSAGE_TO_CLIENT);
    assert_int_equal(cmd->flag & PROTO_FLAG_ONEWAY, 0);
    assert_int_equal(proto_push_reply_header_decode(&cmd->fields, &header, NULL), 0);
#define KEEP(field, s) snprintf(requester->field, sizeof(requester->field), MQ_STR_FMT, MQ_STR_ARG(s))
    KEEP(topic, header.topic);
    KEEP(group, header.producer_group);
    KEEP(born, header.born_host);
    KEEP(store, header.store_host);
    value = proto_properties_get(header.properties, MQ_STR("CORRELATION_ID"));
    KEEP(correlation, value);
    value = proto_properties_get(header.properties, MQ_STR("MSG_REGION"));
    KEEP(region, value);
#undef KEEP
    value = proto_properties_get(header.properties, MQ_STR("PUSH_REPLY_TIME"));
    assert_int_equal(mq_str_to_i64(value, &requester->push_ms), 0);
    snprintf(requester->body, sizeof(requester->body), "%.*s", (int)cmd->body_bytes, (const char *)cmd->body);
    requester->queue_id = header.queue_id;
    requester->times = header.reconsume_times;
    requester->flag = header.flag;
    requester->born_ms = header.born_ms;
    requester->store_ms = header.store_ms;
    requester->opaque = cmd->opaque;
    requester->pushes++;
    if (requester->answers >= 0) {
        peer_reply(peer, cmd->opaque, requester->answers, "as told", MQ_STR(""));
    }
}

static void requester_open(struct requester *requester, const char *client_id, int32_t answers)
{
    char body[256];
    int n =
        snprintf(body, sizeof(body), "{\"clientID\":\"%s\",\"producerDataSet\":[{\"groupName\":\"PG\"}]}", client_id);

    *requester = (struct requester){.answers = answers};
    peer_dial(&rig, &requester->peer, PROTO_JSON);
    requester->peer.data = requester;
    requester->peer.on_request = on_push;
    assert_int_equal(peer_code(&requester->peer, REQ_HEART_BEAT, NO_FIELDS, (struct mq_str){body, (uint32_t)n}),
                     RESP_SUCCESS);
}

static void reply_start(const char *queue, const char *properties, const char *body)
{
    peer_start(&replier, REQ_SEND_REPLY_MESSAGE_V2,
               FIELDS({"a", "RG"}, {"b", TOPIC}, {"c", "TBW102"}, {"d", "4"}, {"e", queue}, {"f", "0"},
                      {"g", "1700000000000"}, {"h", "5"}, {"i", properties}, {"j", "0"}, {"k", "false"},
                      {"m", "false"}),
               mq_str_of(body), &answer);
}

static int32_t reply(const char *queue, const char *properties)
{
    reply_start(queue, properties, "pong");
    rig_wait_flag(&rig, &answer.done);
    return answer.code;
}

/* Replies in the log. */
static int64_t stored(void)
{
    struct topic *topic = topic_table_find(&rig.ctx->state->topics, MQ_STR(TOPIC));
    struct queue *queue = topic != NULL ? topic_queues_find(topic->queues, 0) : NULL;

    return queue != NULL ? (int64_t)queue->cq.max : 0;
}

static bool is_stored(void *data)
{
    return stored() >= *(const int64_t *)data;
}

static void wait_stored(int64_t want)
{
    rig_wait(&rig, is_stored, &want);
    assert_int_equal(stored(), want);
}

static void a_reply_goes_to_who_asked_and_into_the_log(void **state)
{
    struct requester requester;
    struct proto_record rec;
    int64_t before = stored();
    char want[64], at[24];

    (void)state;
    requester_open(&requester, "c1", RESP_SUCCESS);
    assert_int_equal(reply("-1", TO_C1), RESP_SUCCESS);
    assert_int_equal(requester.pushes, 1);
    assert_string_equal(requester.topic, TOPIC);
    assert_string_equal(requester.group, "RG");
    assert_string_equal(requester.correlation, "7");
    assert_string_equal(requester.region, "DefaultRegion");
    assert_string_equal(requester.body, "pong");
    assert_int_equal(requester.queue_id, -1); /* as it was sent */
    assert_int_equal(requester.flag, 5);
    assert_int_equal(requester.born_ms, 1700000000000);
    assert_true(requester.push_ms > 1700000000000 && requester.store_ms >= requester.push_ms);
    snprintf(want, sizeof(want), "127.0.0.1:%d", broker_port(rig.broker));
    assert_string_equal(requester.store, want);
    assert_string_equal(requester.born, net_addr_text((const struct sockaddr *)&replier.ch->conn.local));

    assert_int_equal(answer_number(&answer, "queueId"), 0);
    assert_int_equal(answer_number(&answer, "queueOffset"), before);
    assert_int_equal(strlen(answer_field(&answer, "msgId")), 32);
    assert_string_equal(answer_field(&answer, "MSG_REGION"), "DefaultRegion");
    assert_int_equal(stored(), before + 1);
    snprintf(at, sizeof(at), "%lld", (long long)before);
    assert_int_equal(rig_pull(&replier, TOPIC, "0", at, NULL, &pulled), RESP_SUCCESS);
    assert_int_equal(proto_record_decode(pulled.body.base, pulled.body.len, &rec), 0);
    assert_true(mq_str_eq(rec.body, MQ_STR("pong")));
    assert_true(mq_str_eq(proto_properties_get(rec.properties, MQ_STR("REPLY_TO_CLIENT")), MQ_STR("c1")));
    assert_null(proto_properties_get(rec.properties, MQ_STR("PUSH_REPLY_TIME")).at);

    /* The long form. */
    assert_int_equal(peer_ask(&replier, REQ_SEND_REPLY_MESSAGE,
                              FIELDS({"producerGroup", "RG"}, {"topic", TOPIC}, {"defaultTopic", "TBW102"},
                                     {"defaultTopicQueueNums", "4"}, {"queueId", "0"}, {"sysFlag", "0"},
                                     {"bornTimestamp", "1"}, {"flag", "0"}, {"properties", TO_C1}),
                              MQ_STR("long"), &answer),
                     RESP_SUCCESS);
    assert_string_equal(requester.body, "long");
    peer_hang_up(&requester.peer);
}

static void the_answer_says_how_the_push_went_and_the_reply_is_stored_anyhow(void **state)
{
    static const struct {
        const char *why, *properties;
        int32_t answers;
        const char *remark;
    } cases[] = {
        {"nobody is named", "CORRELATION_ID\0017\002", RESP_SUCCESS, "REPLY_TO_CLIENT"},
        {"no properties", "", RESP_SUCCESS, "REPLY_TO_CLIENT"},
        {"nobody of that name", "REPLY_TO_CLIENT\001c9\002", RESP_SUCCESS, "\"c9\""},
        {"the requester does not want it", TO_C1, RESP_SYSTEM_ERROR, "answered 1: as told"},
    };
    struct requester requester;
    int64_t before = stored();

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        requester_open(&requester, "c1", cases[i].answers);
        assert_int_equal(reply("0", cases[i].properties), RESP_SYSTEM_ERROR);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
        assert_string_equal(answer_field(&answer, "TRACE_ON"), "true");
        assert_int_equal(stored(), before + 1 + (int64_t)i);
        peer_hang_up(&requester.peer);
    }
}

static bool is_pushed(void *data)
{
    return ((const struct requester *)data)->pushes != 0;
}

static void a_requester_that_goes_away_or_keeps_silent(void **state)
{
    struct requester requester, late;
    int64_t before = stored();

    (void)state;
    requester_open(&requester, "c1", -1);
    reply_start("0", TO_C1, "pong");
    rig_wait(&rig, is_pushed, &requester);
    wait_stored(before + 1);
    assert_false(answer.done);
    peer_hang_up(&requester.peer);
    rig_wait_flag(&rig, &answer.done);
    assert_int_equal(answer.code, RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), "disconnected"));

    /* It moved to another connection: the one that beat last is asked. */
    requester_open(&requester, "c1", -1);
    requester_open(&late, "c1", RESP_SUCCESS);
    assert_int_equal(reply("0", TO_C1), RESP_SUCCESS);
    assert_int_equal(requester.pushes, 0);
    assert_int_equal(late.pushes, 1);
    peer_hang_up(&late.peer);
    requester.answers = RESP_SUCCESS; /* and back */
    assert_int_equal(reply("0", TO_C1), RESP_SUCCESS);
    assert_int_equal(requester.pushes, 1);
    peer_hang_up(&requester.peer);
}

static void a_replier_that_goes_away_loses_nothing(void **state)
{
    struct requester requester;
    struct peer other;
    int64_t before = stored();

    (void)state;
    requester_open(&requester, "c1", -1);
    peer_dial(&rig, &other, PROTO_BINARY);
    peer_start(&other, REQ_SEND_REPLY_MESSAGE_V2,
               FIELDS({"a", "RG"}, {"b", TOPIC}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1"},
                      {"h", "5"}, {"i", TO_C1}),
               MQ_STR("pong"), &answer);
    rig_wait(&rig, is_pushed, &requester);
    peer_hang_up(&other);
    peer_reply(&requester.peer, requester.opaque, RESP_SUCCESS, "", MQ_STR(""));
    wait_stored(before + 1);
    /* One that wants no answer gets none. */
    requester.answers = RESP_SUCCESS;
    peer_start(&replier, REQ_SEND_REPLY_MESSAGE_V2,
               FIELDS({"a", "RG"}, {"b", TOPIC}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1"},
                      {"h", "5"}, {"i", TO_C1}),
               MQ_STR("oneway"), NULL);
    wait_stored(before + 2);
    peer_hang_up(&requester.peer);
}

static void what_a_send_may_not_be_a_reply_may_not_be(void **state)
{
    static const struct {
        const char *why, *topic, *queue, *body;
        int32_t code;
    } cases[] = {
        {"a name that is none", "a b", "0", "x", RESP_INVALID_PARAMETER},
        {"a topic that takes no sends", "SCHEDULE_TOPIC_XXXX", "0", "x", RESP_NO_PERMISSION},
        {"a queue that is not there", TOPIC, "99", "x", RESP_INVALID_PARAMETER},
        {"no body", TOPIC, "0", "", RESP_MESSAGE_ILLEGAL},
        {"a queue that is no number", TOPIC, "one", "x", RESP_SYSTEM_ERROR},
        {"no queue", TOPIC, NULL, "x", RESP_SYSTEM_ERROR},
    };
    struct requester requester;
    uint64_t before = rig.ctx->store->messages;

    (void)state;
    requester_open(&requester, "c1", RESP_SUCCESS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(
            peer_ask(&replier, REQ_SEND_REPLY_MESSAGE_V2,
                     FIELDS({"a", "RG"}, {"b", cases[i].topic}, {"c", "none"}, {"d", "4"},
                            {cases[i].queue != NULL ? "e" : "x", cases[i].queue != NULL ? cases[i].queue : ""},
                            {"f", "0"}, {"g", "1"}, {"h", "5"}, {"i", TO_C1}),
                     mq_str_of(cases[i].body), &answer),
            cases[i].code);
    }
    assert_int_equal(rig.ctx->store->messages, before);
    assert_int_equal(requester.pushes, 0);
    peer_hang_up(&requester.peer);
}

/* The 256 questions that one client may have open. */
static void a_requester_that_is_asked_too_much_keeps_no_one_waiting(void **state)
{
    enum { OPEN = 256 };
    struct answer *answers = mq_calloc(OPEN, sizeof(*answers));
    struct requester requester;
    int64_t before = stored();

    (void)state;
    requester_open(&requester, "c1", -1);
    for (int i = 0; i < OPEN; i++) {
        peer_start(&replier, REQ_SEND_REPLY_MESSAGE_V2,
                   FIELDS({"a", "RG"}, {"b", TOPIC}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"}, {"g", "1"},
                          {"h", "5"}, {"i", TO_C1}),
                   MQ_STR("pong"), &answers[i]);
    }
    assert_int_equal(reply("0", TO_C1), RESP_SYSTEM_BUSY);
    assert_non_null(strstr(answer_remark(&answer), "nothing was stored"));
    wait_stored(before + OPEN);
    peer_hang_up(&requester.peer);
    for (int i = 0; i < OPEN; i++) {
        rig_wait_flag(&rig, &answers[i].done);
        assert_int_equal(answers[i].code, RESP_SYSTEM_ERROR);
        answer_free(&answers[i]);
    }
    mq_free(answers);
}

static void replies_need_not_be_stored(void **state)
{
    static const char *const overrides[] = {"storeReplyMessageEnable=false", NULL};
    struct requester requester;

    (void)state;
    rig_open(&rig, overrides);
    peer_dial(&rig, &replier, PROTO_JSON);
    requester_open(&requester, "c1", RESP_SUCCESS);
    assert_int_equal(reply("-1", TO_C1), RESP_SUCCESS);
    assert_string_equal(answer_field(&answer, "msgId"), "0");
    assert_int_equal(answer_number(&answer, "queueId"), 0);
    assert_int_equal(answer_number(&answer, "queueOffset"), 0);
    assert_int_equal(stored(), 0);

    /* A node that does not lead passes replies on to those it knows, and only to them. */
    rig.ctx->role.kind = RLOG_FOLLOWER;
    assert_int_equal(reply("-1", TO_C1), RESP_SUCCESS);
    assert_int_equal(requester.pushes, 2);
    assert_int_equal(reply("-1", "REPLY_TO_CLIENT\001c9\002"), RESP_SERVICE_NOT_AVAILABLE);
    assert_int_equal(reply("-1", ""), RESP_SERVICE_NOT_AVAILABLE);
    rig.ctx->role.kind = RLOG_WRITABLE;
    peer_hang_up(&requester.peer);

    /* A broker that stops does not wait for what requesters will never say. */
    requester_open(&requester, "c1", -1);
    reply_start("0", TO_C1, "pong");
    rig_wait(&rig, is_pushed, &requester);
    peer_hang_up(&requester.peer);
    teardown(NULL);
    answer = pulled = (struct answer){0};
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_goes_to_who_asked_and_into_the_log),
        cmocka_unit_test(the_answer_says_how_the_push_went_and_the_reply_is_stored_anyhow),
        cmocka_unit_test(a_requester_that_goes_away_or_keeps_silent),
        cmocka_unit_test(a_replier_that_goes_away_loses_nothing),
        cmocka_unit_test(what_a_send_may_not_be_a_reply_may_not_be),
        cmocka_unit_test(a_requester_that_is_asked_too_much_keeps_no_one_waiting),
    };
    const struct CMUnitTest own[] = {cmocka_unit_test(replies_need_not_be_stored)};
    int failed = cmocka_run_group_tests(tests, setup, teardown);

    return failed + cmocka_run_group_tests(own, NULL, NULL);
}
