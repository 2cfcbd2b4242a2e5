/* Sends to a one-member broker: the three codes in both encodings, creation of topics, and what is refused. */
#include "tests/unit/broker/rig.h"

#include "remoting/base/heap.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <stdio.h>

static struct rig rig;
static struct peer peer;

static int setup(void **state)
{
    (void)state;
    rig_open(&rig, NULL);
    peer_dial(&rig, &peer, PROTO_JSON);
    assert_int_equal(rig_topic(&peer, "Orders", "4"), RESP_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_hang_up(&peer);
    rig_close(&rig);
    return 0;
}

/* The @nth record of a pull's body. */
static struct proto_record record_of(const struct answer *answer, unsigned nth)
{
    const uint8_t *at = answer->body.base;
    struct proto_record rec;

    for (; nth > 0; nth--) {
        at += mq_be32_load(at);
    }
    assert_true(at < answer->body.base + answer->body.len);
    assert_int_equal(proto_record_decode(at, mq_be32_load(at), &rec), 0);
    return rec;
}

static int32_t send_v1(struct peer *from, const char *topic, const char *queue, const char *body,
                       struct answer *answer)
{
    return peer_ask(from, REQ_SEND_MESSAGE,
                    FIELDS({"producerGroup", "PG"}, {"topic", topic}, {"defaultTopic", "TBW102"},
                           {"defaultTopicQueueNums", "4"}, {"queueId", queue}, {"sysFlag", "0"},
                           {"bornTimestamp", "1700000000000"}, {"flag", "7"}, {"properties", "K\001v\002"},
                           {"bname", "somebody-else"}),
                    mq_str_of(body), answer);
}

static void a_send_is_answered_with_its_place_and_can_be_pulled(void **state)
{
    static const enum proto_encoding encodings[] = {PROTO_JSON, PROTO_BINARY};
    struct answer answer = {0}, pulled = {0};
    struct proto_record rec;
    char qoff[24];
    int64_t first = -1;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
        struct peer other;

        peer_dial(&rig, &other, encodings[i]);
        assert_int_equal(send_v1(&other, "Orders", "1", "one", &answer), RESP_SUCCESS);
        assert_int_equal(rig_send(&other, "Orders", "1", "two", "TAGS\001red\002", &answer), RESP_SUCCESS);
        first = answer_number(&answer, "queueOffset") - 1;
        assert_int_equal(first, 2 * (int64_t)i);
        assert_int_equal(answer_number(&answer, "queueId"), 1);
        assert_int_equal(strlen(answer_field(&answer, "msgId")), 32);
        assert_int_equal(strlen(answer_field(&answer, "transactionId")), 32);
        assert_string_equal(answer_field(&answer, "MSG_REGION"), "DefaultRegion");
        assert_string_equal(answer_field(&answer, "TRACE_ON"), "true");

        snprintf(qoff, sizeof(qoff), "%d", (int)first);
        assert_int_equal(rig_pull(&other, "Orders", "1", qoff, NULL, &pulled), RESP_SUCCESS);
        assert_int_equal(answer_number(&pulled, "nextBeginOffset"), first + 2);
        assert_int_equal(answer_number(&pulled, "maxOffset"), first + 2);
        assert_int_equal(answer_number(&pulled, "minOffset"), 0);
        assert_int_equal(answer_number(&pulled, "suggestWhichBrokerId"), 0);
        rec = record_of(&pulled, 0);
        assert_true(mq_str_eq(rec.body, MQ_STR("one")));
        assert_int_equal(rec.flag, 7);
        rec = record_of(&pulled, 1);
        assert_true(mq_str_eq(rec.body, MQ_STR("two")));
        assert_int_equal(rec.qoff, first + 1);
        assert_true(mq_str_eq(proto_properties_get(rec.properties, PROTO_PROP_TAGS), MQ_STR("red")));
        assert_true(mq_str_eq(proto_properties_get(rec.properties, PROTO_PROP_CLUSTER), MQ_STR("DefaultCluster")));
        peer_hang_up(&other);
    }
    answer_free(&answer);
    answer_free(&pulled);
}

static void a_send_to_a_queue_that_cannot_grow_is_refused_with_its_path(void **state)
{
    struct answer answer = {0};
    char blocker[256];
    FILE *file;

    (void)state;
    assert_int_equal(rig_topic(&peer, "Blocked", "4"), RESP_SUCCESS);
    snprintf(blocker, sizeof(blocker), "%s/consumequeue/Blocked", rig.dir);
    file = fopen(blocker, "w"); /* where the topic's directory is to be */
    assert_non_null(file);
    fclose(file);
    assert_int_equal(rig_send(&peer, "Blocked", "1", "no", "", &answer), RESP_SERVICE_NOT_AVAILABLE);
    assert_non_null(strstr(answer_remark(&answer), blocker));
    assert_non_null(strstr(answer_remark(&answer), "nothing was stored"));
    assert_int_equal(rig_send(&peer, "Orders", "3", "yes", "", &answer), RESP_SUCCESS);
    assert_int_equal(remove(blocker), 0);
    assert_int_equal(rig_send(&peer, "Blocked", "1", "yes", "", &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueOffset"), 0);
    answer_free(&answer);
}

static void a_message_is_found_by_the_position_in_its_id(void **state)
{
    struct answer answer = {0};
    struct proto_host host;
    char pos_text[24];
    int64_t pos;

    (void)state;
    assert_int_equal(rig_send(&peer, "Orders", "0", "by id", "", &answer), RESP_SUCCESS);
    assert_int_equal(proto_offset_msg_id_parse(mq_str_of(answer_field(&answer, "msgId")), &host, &pos), 0);
    assert_int_equal(host.port, broker_port(rig.broker));
    snprintf(pos_text, sizeof(pos_text), "%lld", (long long)pos);
    assert_int_equal(peer_ask(&peer, REQ_VIEW_MESSAGE_BY_ID, FIELDS({"offset", pos_text}), MQ_STR(""), &answer), 0);
    assert_true(mq_str_eq(record_of(&answer, 0).body, MQ_STR("by id")));
    snprintf(pos_text, sizeof(pos_text), "%lld", (long long)pos + 1);
    assert_int_equal(peer_ask(&peer, REQ_VIEW_MESSAGE_BY_ID, FIELDS({"offset", pos_text}), MQ_STR(""), &answer),
                     RESP_SYSTEM_ERROR);
    assert_non_null(strstr(answer_remark(&answer), pos_text));
    assert_int_equal(peer_code(&peer, REQ_VIEW_MESSAGE_BY_ID, FIELDS({"offset", "-1"}), MQ_STR("")),
                     RESP_SYSTEM_ERROR);
    answer_free(&answer);
}

static int32_t send_batch(int32_t code, const char *topic, struct mq_str body, struct answer *answer)
{
    return peer_ask(&peer, code,
                    FIELDS({"a", "PG"}, {"b", topic}, {"c", "TBW102"}, {"d", "4"}, {"e", "2"}, {"f", "0"},
                           {"g", "1700000000000"}, {"h", "0"}, {"i", ""}, {"m", "true"}),
                    body, answer);
}

static void a_batch_gets_consecutive_offsets_and_an_id_for_each_message(void **state)
{
    static const int32_t codes[] = {REQ_SEND_BATCH_MESSAGE, REQ_SEND_MESSAGE_V2}; /* C++ sends batches as 310 */
    struct answer answer = {0}, pulled = {0};
    struct mq_buf body = {0};
    char qoff[24];

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct proto_batch_item item = {.flag = i, .body = MQ_STR("part"), .properties = MQ_STR("N\001v\002")};

        assert_int_equal(proto_batch_put(&body, &item), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        assert_int_equal(send_batch(codes[i], "Orders", mq_buf_str(&body), &answer), RESP_SUCCESS);
        assert_int_equal(answer_number(&answer, "queueOffset"), 3 * (int64_t)i);
        assert_int_equal(strlen(answer_field(&answer, "msgId")), 3 * 32 + 2);
        snprintf(qoff, sizeof(qoff), "%d", (int)i * 3);
        assert_int_equal(rig_pull(&peer, "Orders", "2", qoff, NULL, &pulled), RESP_SUCCESS);
        assert_int_equal(record_of(&pulled, 2).qoff, 3 * i + 2);
        assert_int_equal(record_of(&pulled, 2).flag, 2);
        assert_true(mq_str_eq(record_of(&pulled, 1).properties, MQ_STR("N\001v\002")));
    }
    mq_buf_free(&body);
    answer_free(&answer);
    answer_free(&pulled);
}

static void a_batch_with_one_bad_message_is_refused_as_a_whole(void **state)
{
    static const struct {
        const char *why, *body, *properties;
    } cases[] = {
        {"an empty body", "", ""},
        {"delayed delivery", "x", "DELAY\0013\002"},
        {"a transaction", "x", "TRAN_MSG\001true\002"},
        {"timed delivery", "x", "TIMER_DELAY_MS\00110\002"},
    };
    struct answer answer = {0};
    int64_t before;

    (void)state;
    peer_ask(&peer, REQ_GET_MAX_OFFSET, FIELDS({"topic", "Orders"}, {"queueId", "2"}), MQ_STR(""), &answer);
    before = answer_number(&answer, "offset");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_batch_item good = {.body = MQ_STR("good")};
        struct proto_batch_item bad = {.body = mq_str_of(cases[i].body),
                                       .properties = mq_str_of(cases[i].properties)};
        struct mq_buf body = {0};

        print_message("%s\n", cases[i].why);
        assert_int_equal(proto_batch_put(&body, &good), 0);
        assert_int_equal(proto_batch_put(&body, &bad), 0);
        assert_int_equal(send_batch(REQ_SEND_BATCH_MESSAGE, "Orders", mq_buf_str(&body), &answer),
                         RESP_MESSAGE_ILLEGAL);
        assert_non_null(strstr(answer_remark(&answer), "message 1"));
        mq_buf_free(&body);
    }
    assert_int_equal(send_batch(REQ_SEND_BATCH_MESSAGE, "Orders", MQ_STR("not a batch"), &answer),
                     RESP_MESSAGE_ILLEGAL);
    peer_ask(&peer, REQ_GET_MAX_OFFSET, FIELDS({"topic", "Orders"}, {"queueId", "2"}), MQ_STR(""), &answer);
    assert_int_equal(answer_number(&answer, "offset"), before);
    answer_free(&answer);
}

static bool has_two(void *data)
{
    struct topic *topic = topic_table_find(&rig.ctx->state->topics, *(struct mq_str *)data);
    struct queue *queue = topic != NULL ? topic_queues_find(topic->queues, 0) : NULL;

    return queue != NULL && queue->cq.max == 2;
}

static void one_way_sends_are_stored_without_an_answer(void **state)
{
    struct mq_str name = MQ_STR("OneWay");

    (void)state;
    for (int i = 0; i < 2; i++) {
        peer_start(&peer, REQ_SEND_MESSAGE_V2,
                   FIELDS({"a", "PG"}, {"b", "OneWay"}, {"c", "TBW102"}, {"d", "4"}, {"e", "0"}, {"f", "0"},
                          {"g", "1"}, {"h", "0"}, {"i", ""}),
                   MQ_STR("x"), NULL);
    }
    peer_start(&peer, REQ_SEND_MESSAGE_V2, FIELDS({"b", "../x"}), MQ_STR("x"), NULL); /* refused as silently */
    peer_start(&peer, 9999, NO_FIELDS, MQ_STR(""), NULL);
    rig_wait(&rig, has_two, &name);
    peer_sync(&peer); /* an answer to any of them would have failed in the peer */
}

static void an_unknown_topic_is_created_from_its_template(void **state)
{
    struct answer answer = {0};
    struct topic *topic;

    (void)state;
    assert_int_equal(rig_send(&peer, "Fresh", "3", "x", "", &answer), RESP_SUCCESS);
    topic = topic_table_find(&rig.ctx->state->topics, MQ_STR("Fresh"));
    assert_non_null(topic);
    assert_int_equal(topic->write_queues, 4); /* asked for, at most the 8 of TBW102 */
    assert_int_equal(topic->perm, 6);
    /* The topic comes first, whatever is wrong with the queue: as in the original. */
    assert_int_equal(rig_send(&peer, "Fresh2", "4", "x", "", &answer), RESP_INVALID_PARAMETER);
    assert_int_equal(rig_send(&peer, "Fresh2", "3", "x", "", &answer), RESP_SUCCESS);
    /* A template must be there and inherited from. */
    assert_int_equal(peer_code(&peer, REQ_SEND_MESSAGE_V2,
                               FIELDS({"a", "PG"}, {"b", "Fresh3"}, {"c", "Orders"}, {"d", "4"}, {"e", "0"},
                                      {"f", "0"}, {"g", "1"}, {"h", "0"}),
                               MQ_STR("x")),
                     RESP_TOPIC_NOT_EXIST);
    answer_free(&answer);
}

static void sends_that_leave_the_queue_to_the_broker_are_spread(void **state)
{
    struct answer answers[4] = {{0}};
    unsigned seen = 0;

    (void)state;
    for (int i = 0; i < 4; i++) { /* under way together: none has been counted yet */
        peer_start(&peer, REQ_SEND_MESSAGE_V2,
                   FIELDS({"a", "PG"}, {"b", "Orders"}, {"c", "TBW102"}, {"d", "4"}, {"e", "-1"}, {"f", "0"},
                          {"g", "1"}, {"h", "0"}),
                   MQ_STR("x"), &answers[i]);
    }
    for (int i = 0; i < 4; i++) {
        rig_wait_flag(&rig, &answers[i].done);
        seen |= 1u << answer_number(&answers[i], "queueId");
        answer_free(&answers[i]);
    }
    assert_int_equal(seen, 0xF);
}

static void bad_sends_get_the_code_of_the_original_and_a_remark(void **state)
{
    static char long_topic[130], long_properties[32769];
    static const struct {
        const char *why, *topic, *queue, *body, *properties, *sys_flag;
        int32_t code;
        const char *remark; /* names field, value or limit */
    } cases[] = {
        {"a path", "../x", "0", "b", "", "0", RESP_INVALID_PARAMETER, "\"../x\""},
        {"128 characters", long_topic, "0", "b", "", "0", RESP_INVALID_PARAMETER, "127"},
        {"control characters", "a\tb", "0", "b", "", "0", RESP_INVALID_PARAMETER, "character"},
        {"blank", " ", "0", "b", "", "0", RESP_INVALID_PARAMETER, "blank"},
        {"a system topic", "SCHEDULE_TOPIC_XXXX", "0", "b", "", "0", RESP_NO_PERMISSION, "SCHEDULE_TOPIC_XXXX"},
        {"a queue beyond the topic's", "Orders", "4", "b", "", "0", RESP_INVALID_PARAMETER, "queueId 4"},
        {"a huge queue", "Orders", "2147483647", "b", "", "0", RESP_INVALID_PARAMETER, "2147483647"},
        {"no body", "Orders", "0", "", "", "0", RESP_MESSAGE_ILLEGAL, "empty"},
        {"properties over 32767 bytes", "Orders", "0", "b", long_properties, "0", RESP_MESSAGE_ILLEGAL, "32767"},
        {"a delay that is no number", "Orders", "0", "b", "DELAY\001x\002", "0", RESP_MESSAGE_ILLEGAL, "DELAY"},
        {"a time that is no number", "Orders", "0", "b", "TIMER_DELIVER_MS\0011x\002", "0", RESP_MESSAGE_ILLEGAL,
         "TIMER_DELIVER_MS \"1x\""},
        {"a time too far ahead", "Orders", "0", "b", "TIMER_DELAY_SEC\001259201\002", "0", RESP_MESSAGE_ILLEGAL,
         "timerMaxDelaySec 259200"},
        {"a half message", "Orders", "0", "b", "TRAN_MSG\001true\002", "4", RESP_MESSAGE_ILLEGAL, "transaction"},
        {"a queue that is no number", "Orders", "x", "b", "", "0", RESP_SYSTEM_ERROR, "\"x\""},
        {"a number beyond 32 bits", "Orders", "4294967296", "b", "", "0", RESP_SYSTEM_ERROR, "4294967296"},
    };
    struct answer answer = {0};
    uint64_t failed = rig.ctx->stats.put_failed;

    (void)state;
    memset(long_topic, 'a', 128);
    memset(long_properties, 'k', 32768);
    long_properties[1] = 1;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(
            peer_ask(&peer, REQ_SEND_MESSAGE_V2,
                     FIELDS({"a", "PG"}, {"b", cases[i].topic}, {"c", "TBW102"}, {"d", "4"}, {"e", cases[i].queue},
                            {"f", cases[i].sys_flag}, {"g", "1"}, {"h", "0"}, {"i", cases[i].properties}),
                     mq_str_of(cases[i].body), &answer),
            cases[i].code);
        if (strstr(answer_remark(&answer), cases[i].remark) == NULL) {
            fail_msg("remark: %s", answer_remark(&answer));
        }
    }
    assert_int_equal(peer_ask(&peer, REQ_SEND_MESSAGE_V2, FIELDS({"a", "PG"}), MQ_STR("b"), &answer),
                     RESP_SYSTEM_ERROR);
    assert_string_equal(answer_remark(&answer), "field topic is missing");
    assert_int_equal(rig.ctx->stats.put_failed - failed, ARRAY_SIZE(cases) + 1);
    answer_free(&answer);
}

static void the_largest_body_passes_and_one_byte_more_does_not(void **state)
{
    size_t n = 4u << 20;
    char *body = mq_malloc(n + 2);

    (void)state;
    memset(body, 'x', n + 1);
    body[n + 1] = '\0';
    assert_int_equal(rig_send(&peer, "Orders", "0", body, "", NULL), RESP_MESSAGE_ILLEGAL);
    body[n] = '\0';
    assert_int_equal(rig_send(&peer, "Orders", "0", body, "", NULL), RESP_SUCCESS);
    mq_free(body);
}

static void a_record_that_fits_no_segment_is_refused_and_its_topic_is_there(void **state)
{
    static const char *const small[] = {"mappedFileSizeCommitLog=1048576", NULL};
    const size_t n = 1u << 20;
    struct rig other;
    struct peer from;
    struct answer answer = {0};
    char *body = mq_malloc(n + 1);

    (void)state;
    memset(body, 'x', n);
    body[n] = '\0';
    rig_open(&other, small);
    peer_dial(&other, &from, PROTO_JSON);
    assert_int_equal(rig_send(&from, "Large", "0", body, "", &answer), RESP_MESSAGE_ILLEGAL);
    assert_int_equal(rig_send(&from, "Large", "0", "small", "", &answer), RESP_SUCCESS);
    assert_int_equal(answer_number(&answer, "queueOffset"), 0);
    /* The item that creates the topic fills no entry with such a record: it went ahead in one of its own, and was
     * applied before the small message behind it. */
    assert_non_null(topic_table_find(&other.ctx->state->topics, MQ_STR("Large")));
    answer_free(&answer);
    peer_hang_up(&from);
    rig_close(&other);
    mq_free(body);
}

/* As an MQTT gateway and stock producers send: with their default configuration brokers store these properties and
 * bits as they are. */
static void properties_and_flags_of_clients_are_stored_as_they_came(void **state)
{
    static const char properties[] = "INNER_MULTI_DISPATCH\001%LMQ%one,%LMQ%two\002mine\001v\002";
    struct answer sent = {0}, pulled = {0};
    struct proto_record rec;

    (void)state;
    assert_int_equal(
        peer_ask(&peer, REQ_SEND_MESSAGE_V2,
                 FIELDS({"a", "PG"}, {"b", "Kept"}, {"c", "TBW102"}, {"d", "1"}, {"e", "0"}, {"f", "769"},
                        {"g", "1700000000000"}, {"h", "0"}, {"i", properties}, {"m", "false"}),
                 MQ_STR("compressed"), &sent),
        RESP_SUCCESS);
    assert_int_equal(rig_pull(&peer, "Kept", "0", "0", NULL, &pulled), RESP_SUCCESS);
    rec = record_of(&pulled, 0);
    assert_int_equal(rec.sys_flag, 769); /* compressed, by zstd */
    assert_true(
        mq_str_eq(proto_properties_get(rec.properties, MQ_STR("INNER_MULTI_DISPATCH")), MQ_STR("%LMQ%one,%LMQ%two")));
    assert_true(mq_str_eq(proto_properties_get(rec.properties, MQ_STR("mine")), MQ_STR("v")));
    assert_null(topic_table_find(&rig.ctx->state->topics, MQ_STR("%LMQ%one")));
    answer_free(&sent);
    answer_free(&pulled);
}

static void an_inner_batch_is_refused_by_its_flag(void **state)
{
    struct answer answer = {0};

    (void)state;
    assert_int_equal(peer_ask(&peer, REQ_SEND_MESSAGE_V2,
                              FIELDS({"a", "PG"}, {"b", "Orders"}, {"c", "TBW102"}, {"d", "1"}, {"e", "0"},
                                     {"f", "192"}, {"g", "1700000000000"}, {"h", "0"}, {"i", ""}, {"m", "false"}),
                              MQ_STR("b"), &answer),
                     RESP_MESSAGE_ILLEGAL);
    assert_non_null(strstr(answer_remark(&answer), "sysFlag 192"));
    answer_free(&answer);
}

static void producers_over_their_quota_are_told_which_and_how_much(void **state)
{
    static const char *const limits[] = {"raftmqConnectionMessagesPerSecond=5", "raftmqGroupBytesPerSecond=1000000",
                                         NULL};
    struct rig other;
    struct peer from, second;
    struct answer answer = {0};
    int32_t code = RESP_SUCCESS;
    uint64_t stored = 0;
    char large[2048];

    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    rig_open(&other, limits);
    peer_dial(&other, &from, PROTO_JSON);
    peer_dial(&other, &second, PROTO_JSON);
    while (stored < 1000 && (code = rig_send(&from, "Q", "0", "b", "", &answer)) == RESP_SUCCESS) {
        stored++;
    }
    assert_true(stored >= 5); /* a second's worth, and what came meanwhile */
    assert_int_equal(code, RESP_SYSTEM_BUSY);
    assert_non_null(strstr(answer_remark(&answer), "[QUOTA] producerGroup \"PG\": the connection"));
    assert_non_null(strstr(answer_remark(&answer), "5 messages a second"));
    assert_non_null(answer_field(&answer, "MSG_REGION"));
    assert_int_equal(rig_send(&second, "Q", "0", large, "", &answer), RESP_SUCCESS); /* others go on */
    answer_free(&answer);
    peer_hang_up(&from);
    peer_hang_up(&second);
    rig_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_is_answered_with_its_place_and_can_be_pulled),
        cmocka_unit_test(a_send_to_a_queue_that_cannot_grow_is_refused_with_its_path),
        cmocka_unit_test(a_message_is_found_by_the_position_in_its_id),
        cmocka_unit_test(a_batch_gets_consecutive_offsets_and_an_id_for_each_message),
        cmocka_unit_test(a_batch_with_one_bad_message_is_refused_as_a_whole),
        cmocka_unit_test(one_way_sends_are_stored_without_an_answer),
        cmocka_unit_test(an_unknown_topic_is_created_from_its_template),
        cmocka_unit_test(sends_that_leave_the_queue_to_the_broker_are_spread),
        cmocka_unit_test(bad_sends_get_the_code_of_the_original_and_a_remark),
        cmocka_unit_test(the_largest_body_passes_and_one_byte_more_does_not),
        cmocka_unit_test(properties_and_flags_of_clients_are_stored_as_they_came),
        cmocka_unit_test(an_inner_batch_is_refused_by_its_flag),
        cmocka_unit_test(producers_over_their_quota_are_told_which_and_how_much),
        cmocka_unit_test(a_record_that_fits_no_segment_is_refused_and_its_topic_is_there),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
