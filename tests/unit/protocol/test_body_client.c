#include "wire.h"

#include "remoting/base/heap.h"
#include "remoting/protocol/body_client.h"

#include <stdlib.h>

/* Source: RocketMQ's HeartbeatData. */
static const char JAVA_HEARTBEAT[] =
    "{\"clientID\":\"192.0.2.10@12345#678\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\","
    "\"consumeType\":\"CONSUME_PASSIVELY\",\"groupName\":\"CG\",\"messageModel\":\"CLUSTERING\","
    "\"subscriptionDataSet\":[{\"classFilterMode\":false,\"codeSet\":[2598919],\"expressionType\":\"TAG\","
    "\"subString\":\"TagA\",\"subVersion\":1700000000000,\"tagsSet\":[\"TagA\"],\"topic\":\"orders\"}],"
    "\"unitMode\":false}],\"heartbeatFingerprint\":0,\"producerDataSet\":[{\"groupName\":\"PG\"},"
    "{\"groupName\":\"CLIENT_INNER_PRODUCER\"}],\"withoutSub\":false}";
/* Ordinals, versions as strings, missing members, a trailing line feed. */
static const char CPP_HEARTBEAT[] =
    "{\"clientID\":\"192.0.2.10@12345#678\",\"consumerDataSet\":[{\"consumeFromWhere\":0,\"consumeType\":1,"
    "\"groupName\":\"CG\",\"messageModel\":1,\"subscriptionDataSet\":[{\"codeSet\":[2598919],\"subString\":\"TagA\","
    "\"subVersion\":\"1700000000000\",\"tagsSet\":[\"TagA\"],\"topic\":\"orders\"}]}],"
    "\"producerDataSet\":[{\"groupName\":\"PG\"},{\"groupName\":\"CLIENT_INNER_PRODUCER\"}]}\n";
/* Codes as strings. */
static const char GO_HEARTBEAT[] =
    "{\"clientID\":\"192.0.2.10@12345#678\",\"producerDataSet\":[{\"groupName\":\"PG\"},"
    "{\"groupName\":\"CLIENT_INNER_PRODUCER\"}],\"consumerDataSet\":[{\"groupName\":\"CG\","
    "\"consumeType\":\"CONSUME_PASSIVELY\",\"messageModel\":\"CLUSTERING\","
    "\"consumeFromWhere\":\"CONSUME_FROM_LAST_OFFSET\",\"subscriptionDataSet\":[{\"classFilterMode\":false,"
    "\"topic\":\"orders\",\"subString\":\"TagA\",\"tagsSet\":[\"TagA\"],\"codeSet\":[\"2598919\"],"
    "\"subVersion\":1700000000000,\"expressionType\":\"TAG\"}],\"unitMode\":false}]}";

static void check_heartbeat(const struct proto_heartbeat *hb)
{
    const struct proto_consumer *consumer = &hb->consumers.items[0];
    const struct proto_subscription *sub = &hb->subs.items[0];

    wire_assert_str(hb->client_id, "192.0.2.10@12345#678");
    assert_int_equal(hb->fingerprint, 0);
    assert_false(hb->without_sub);
    assert_int_equal(hb->producers.count, 2);
    wire_assert_str(hb->producers.items[0], "PG");
    wire_assert_str(hb->producers.items[1], "CLIENT_INNER_PRODUCER");
    assert_int_equal(hb->consumers.count, 1);
    wire_assert_str(consumer->group, "CG");
    assert_int_equal(consumer->consume_type, PROTO_CONSUME_PASSIVELY);
    assert_int_equal(consumer->model, PROTO_CLUSTERING);
    assert_int_equal(consumer->from_where, PROTO_FROM_LAST_OFFSET);
    assert_false(consumer->unit_mode);
    assert_int_equal(consumer->sub_first, 0);
    assert_int_equal(consumer->sub_count, 1);
    assert_int_equal(hb->subs.count, 1);
    wire_assert_str(sub->topic, "orders");
    wire_assert_str(sub->expression, "TagA");
    assert_int_equal(sub->type, PROTO_EXPRESSION_TAG);
    assert_int_equal(sub->version, 1700000000000);
    assert_false(sub->filter.all);
    assert_int_equal(sub->filter.count, 1);
    assert_true(proto_filter_match(&sub->filter, 2598919));
}

static void heartbeats_of_every_client_decode(void **state)
{
    static const char *const cases[] = {JAVA_HEARTBEAT, CPP_HEARTBEAT, GO_HEARTBEAT};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = wire_exact(cases[i], strlen(cases[i]));
        struct proto_heartbeat hb;

        print_message("%s\n", cases[i]);
        assert_int_equal(proto_heartbeat_decode(json, strlen(cases[i]), &hb), 0);
        check_heartbeat(&hb);
        proto_heartbeat_free(&hb);
        free(json);
    }
}

static void our_heartbeat_is_what_java_writes(void **state)
{
    char *json = wire_exact(JAVA_HEARTBEAT, sizeof(JAVA_HEARTBEAT) - 1);
    struct proto_heartbeat hb;
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(proto_heartbeat_decode(json, sizeof(JAVA_HEARTBEAT) - 1, &hb), 0);
    assert_int_equal(proto_heartbeat_encode(&buf, &hb), 0);
    wire_assert_str(mq_buf_str(&buf), JAVA_HEARTBEAT);
    mq_buf_free(&buf);
    proto_heartbeat_free(&hb);
    free(json);
}

static void everything_and_sql_are_written_without_codes(void **state)
{
    struct proto_heartbeat hb = {.client_id = MQ_STR("c"), .fingerprint = -5, .without_sub = true};
    struct proto_subscription *sub;
    struct mq_buf buf = {0};

    (void)state;
    *proto_consumers_add(&hb.consumers) = (struct proto_consumer){.group = MQ_STR("g"),
                                                                  .consume_type = PROTO_CONSUME_ACTIVELY,
                                                                  .model = PROTO_BROADCASTING,
                                                                  .from_where = PROTO_FROM_TIMESTAMP,
                                                                  .unit_mode = true,
                                                                  .sub_count = 2};
    sub = proto_subscriptions_add(&hb.subs);
    sub->topic = MQ_STR("t");
    sub->expression = MQ_STR("*");
    sub = proto_subscriptions_add(&hb.subs);
    sub->topic = MQ_STR("u");
    sub->expression = MQ_STR("a > 1");
    sub->type = PROTO_EXPRESSION_SQL92;
    sub->version = 7;
    assert_int_equal(proto_heartbeat_encode(&buf, &hb), 0);
    wire_assert_str(mq_buf_str(&buf),
                    "{\"clientID\":\"c\",\"consumerDataSet\":[{\"consumeFromWhere\":\"CONSUME_FROM_TIMESTAMP\","
                    "\"consumeType\":\"CONSUME_ACTIVELY\",\"groupName\":\"g\",\"messageModel\":\"BROADCASTING\","
                    "\"subscriptionDataSet\":[{\"classFilterMode\":false,\"codeSet\":[],\"expressionType\":\"TAG\","
                    "\"subString\":\"*\",\"subVersion\":0,\"tagsSet\":[],\"topic\":\"t\"},{\"classFilterMode\":false,"
                    "\"codeSet\":[],\"expressionType\":\"SQL92\",\"subString\":\"a > 1\",\"subVersion\":7,"
                    "\"tagsSet\":[],\"topic\":\"u\"}],\"unitMode\":true}],\"heartbeatFingerprint\":-5,"
                    "\"producerDataSet\":[],\"withoutSub\":true}");
    mq_buf_free(&buf);
    proto_heartbeat_free(&hb);
}

static void enums_are_names_ordinals_or_their_default(void **state)
{
    static const struct {
        const char *consumer;
        int type, model, from;
    } cases[] = {
        {"{}", PROTO_CONSUME_PASSIVELY, PROTO_CLUSTERING, PROTO_FROM_LAST_OFFSET},
        {"{\"consumeType\":0,\"messageModel\":0,\"consumeFromWhere\":4}", PROTO_CONSUME_ACTIVELY, PROTO_BROADCASTING,
         PROTO_FROM_FIRST_OFFSET},
        {"{\"consumeType\":\"CONSUME_POP\",\"messageModel\":\"broadcasting\",\"consumeFromWhere\":\"5\"}",
         PROTO_CONSUME_POP, PROTO_BROADCASTING, PROTO_FROM_TIMESTAMP},
        {"{\"consumeType\":3,\"messageModel\":-1,\"consumeFromWhere\":\"NEVER\"}", PROTO_CONSUME_PASSIVELY,
         PROTO_CLUSTERING, PROTO_FROM_LAST_OFFSET},
        {"{\"consumeType\":null,\"messageModel\":[],\"consumeFromWhere\":"
         "\"CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST\"}",
         PROTO_CONSUME_PASSIVELY, PROTO_CLUSTERING, PROTO_FROM_LAST_OR_MIN_ON_BOOT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf json = {0};
        struct proto_heartbeat hb;

        assert_int_equal(mq_buf_printf(&json, "{\"consumerDataSet\":[%s]}", cases[i].consumer), 0);
        assert_int_equal(proto_heartbeat_decode((char *)json.base, json.len, &hb), 0);
        assert_int_equal(hb.consumers.count, 1);
        wire_assert_str(hb.consumers.items[0].group, NULL);
        assert_int_equal(hb.consumers.items[0].consume_type, cases[i].type);
        assert_int_equal(hb.consumers.items[0].model, cases[i].model);
        assert_int_equal(hb.consumers.items[0].from_where, cases[i].from);
        proto_heartbeat_free(&hb);
        mq_buf_free(&json);
    }
}

static void the_filter_comes_from_tags_codes_or_the_expression(void **state)
{
    static const struct {
        const char *sub;
        bool all;
        int count;
        int64_t code;
    } cases[] = {
        {"{}", true, 0, 1},
        {"{\"subString\":\"*\"}", true, 0, 1},
        {"{\"subString\":\"*\",\"codeSet\":[5]}", true, 0, 1},
        {"{\"subString\":\"*\",\"codeSet\":[5],\"tagsSet\":[\"TagA\"]}", true, 0, 1},
        {"{\"subString\":\"TagA\"}", false, 1, 2598919},
        {"{\"subString\":\"TagA\",\"codeSet\":[5]}", false, 1, 5},
        {"{\"subString\":\"TagA\",\"codeSet\":[5],\"tagsSet\":[\"paid\"]}", false, 1, 3433164},
        {"{\"subString\":\"\xC3\xA4\",\"codeSet\":[\"6048\"],\"tagsSet\":[\"\xC3\xA4\"]}", false, 1, 0xE4},
        {"{\"tagsSet\":[\"paid\"],\"subString\":\"paid\",\"expressionType\":\"\"}", false, 1, 3433164},
        {"{\"subString\":\"||\"}", false, 0, 0},
        {"{\"subString\":\"a > 1\",\"expressionType\":\"SQL92\",\"tagsSet\":[\"a\"]}", false, 0, 0},
        {"{\"subString\":\"*\",\"expressionType\":\"NEW\"}", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf json = {0};
        struct proto_heartbeat hb;
        struct proto_filter *filter;

        print_message("%s\n", cases[i].sub);
        assert_int_equal(mq_buf_printf(&json, "{\"consumerDataSet\":[{\"subscriptionDataSet\":[%s]}]}", cases[i].sub),
                         0);
        assert_int_equal(proto_heartbeat_decode((char *)json.base, json.len, &hb), 0);
        filter = &hb.subs.items[0].filter;
        assert_int_equal(filter->all, cases[i].all);
        if (!filter->all) {
            assert_int_equal(filter->count, cases[i].count);
            assert_int_equal(proto_filter_match(filter, cases[i].code), cases[i].count != 0);
        }
        proto_heartbeat_free(&hb);
        mq_buf_free(&json);
    }
}

static void consumers_know_their_own_subscriptions(void **state)
{
    static const char TEXT[] =
        "{\"consumerDataSet\":[{\"groupName\":\"a\",\"subscriptionDataSet\":[{\"topic\":\"1\"},{\"topic\":\"2\"}]},"
        "{\"groupName\":\"b\",\"subscriptionDataSet\":[]},{\"groupName\":\"c\",\"subscriptionDataSet\":"
        "[{\"topic\":\"3\"}]}]}";
    char *json = wire_exact(TEXT, sizeof(TEXT) - 1);
    struct proto_heartbeat hb;

    (void)state;
    assert_int_equal(proto_heartbeat_decode(json, sizeof(TEXT) - 1, &hb), 0);
    assert_int_equal(hb.consumers.items[0].sub_count, 2);
    assert_int_equal(hb.consumers.items[1].sub_count, 0);
    assert_int_equal(hb.consumers.items[2].sub_first, 2);
    assert_int_equal(hb.consumers.items[2].sub_count, 1);
    wire_assert_str(hb.subs.items[2].topic, "3");
    proto_heartbeat_free(&hb);
    free(json);
}

static void what_is_no_heartbeat_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "[]",
        "{\"clientID\":\"c\"",
        "{\"producerDataSet\":{}}",
        "{\"producerDataSet\":[\"g\"]}",
        "{\"consumerDataSet\":[[]]}",
        "{\"heartbeatFingerprint\":\"x\"}",
        "{\"consumerDataSet\":[{\"subscriptionDataSet\":7}]}",
        "{\"consumerDataSet\":[{\"subscriptionDataSet\":[{\"subVersion\":\"v\"}]}]}",
        "{\"consumerDataSet\":[{\"subscriptionDataSet\":[{\"codeSet\":[\"x\"]}]}]}",
        "{\"consumerDataSet\":[{\"subscriptionDataSet\":[{\"codeSet\":[[1]]}]}]}",
        "{\"consumerDataSet\":[{\"subscriptionDataSet\":[{\"tagsSet\":[{}]}]}]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = wire_exact(cases[i], strlen(cases[i]));
        struct proto_heartbeat hb;

        print_message("%s\n", cases[i]);
        assert_int_equal(proto_heartbeat_decode(json, strlen(cases[i]), &hb), MQ_EBADMSG);
        proto_heartbeat_free(&hb);
        free(json);
    }
}

static void heartbeats_over_a_limit_are_refused(void **state)
{
    static const struct {
        const char *head, *tail;
        int max;
    } cases[] = {
        {"{\"producerDataSet\":[", "]}", PROTO_HEARTBEAT_GROUPS_MAX},
        {"{\"consumerDataSet\":[", "]}", PROTO_HEARTBEAT_GROUPS_MAX},
        {"{\"consumerDataSet\":[{\"subscriptionDataSet\":[", "]}]}", PROTO_HEARTBEAT_SUBS_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (int over = 0; over < 2; over++) {
            struct mq_buf json = {0};
            struct proto_heartbeat hb;

            assert_int_equal(mq_buf_put_str(&json, mq_str_of(cases[i].head)), 0);
            for (int n = 0; n < cases[i].max + over; n++) {
                assert_int_equal(mq_buf_put_str(&json, n == 0 ? MQ_STR("{}") : MQ_STR(",{}")), 0);
            }
            assert_int_equal(mq_buf_put_str(&json, mq_str_of(cases[i].tail)), 0);
            assert_int_equal(proto_heartbeat_decode((char *)json.base, json.len, &hb), over ? MQ_ETOOBIG : 0);
            proto_heartbeat_free(&hb);
            mq_buf_free(&json);
        }
    }
}

static void an_allocation_that_fails_is_told(void **state)
{
    unsigned nth = 0;
    int rc;

    (void)state;
    do {
        char *json = wire_exact(JAVA_HEARTBEAT, sizeof(JAVA_HEARTBEAT) - 1);
        struct proto_heartbeat hb;

        mq_heap_fail_at(++nth);
        rc = proto_heartbeat_decode(json, sizeof(JAVA_HEARTBEAT) - 1, &hb);
        mq_heap_fail_at(0);
        if (rc != 0) {
            assert_int_equal(rc, MQ_ENOMEM);
        }
        proto_heartbeat_free(&hb);
        free(json);
    } while (rc != 0);
    assert_int_equal(nth, 4);
}

static void the_member_list_comes_back(void **state)
{
    struct proto_str_list ids = {0}, got;
    struct mq_buf buf = {0};

    (void)state;
    *proto_str_list_add(&ids) = MQ_STR("c1");
    *proto_str_list_add(&ids) = MQ_STR("c\"2");
    assert_int_equal(proto_consumer_ids_encode(&buf, &ids), 0);
    wire_assert_str(mq_buf_str(&buf), "{\"consumerIdList\":[\"c1\",\"c\\\"2\"]}");
    assert_int_equal(proto_consumer_ids_decode((char *)buf.base, buf.len, &got), 0);
    assert_int_equal(got.count, 2);
    wire_assert_str(got.items[1], "c\"2");
    proto_str_list_free(&got);
    proto_str_list_free(&ids);
    mq_buf_free(&buf);
}

static void lock_requests_of_java_and_go_decode(void **state)
{
    static const char *const cases[] = {
        "{\"clientId\":\"c1\",\"consumerGroup\":\"CG\",\"mqSet\":[{\"brokerName\":\"broker-a\",\"queueId\":1,"
        "\"topic\":\"orders\"},{\"brokerName\":\"broker-a\",\"queueId\":2,\"topic\":\"orders\"}],"
        "\"onlyThisBroker\":false}",
        "{\"consumerGroup\":\"CG\",\"clientId\":\"c1\",\"mqSet\":[{\"topic\":\"orders\",\"brokerName\":\"broker-a\","
        "\"queueId\":1},{\"topic\":\"orders\",\"brokerName\":\"broker-a\",\"queueId\":2}]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = wire_exact(cases[i], strlen(cases[i]));
        struct proto_lock_batch batch;
        struct mq_buf buf = {0};

        assert_int_equal(proto_lock_batch_decode(json, strlen(cases[i]), &batch), 0);
        wire_assert_str(batch.group, "CG");
        wire_assert_str(batch.client_id, "c1");
        assert_false(batch.only_this_broker);
        assert_int_equal(batch.queues.count, 2);
        assert_int_equal(batch.queues.items[1].queue_id, 2);
        assert_int_equal(proto_lock_batch_encode(&buf, &batch), 0);
        wire_assert_str(mq_buf_str(&buf), cases[0]);
        buf.len = 0;
        batch.queues.count = 1;
        assert_int_equal(proto_locked_encode(&buf, &batch.queues), 0);
        wire_assert_str(mq_buf_str(&buf),
                        "{\"lockOKMQSet\":[{\"brokerName\":\"broker-a\",\"queueId\":1,\"topic\":\"orders\"}]}");
        proto_lock_batch_free(&batch);
        mq_buf_free(&buf);
        free(json);
    }
}

static void locked_queues_come_back(void **state)
{
    static const char TEXT[] = "{\"lockOKMQSet\":[{\"queueId\":7,\"topic\":\"t\",\"brokerName\":\"b\"}]}";
    char *json = wire_exact(TEXT, sizeof(TEXT) - 1);
    struct proto_queue_refs queues;

    (void)state;
    assert_int_equal(proto_locked_decode(json, sizeof(TEXT) - 1, &queues), 0);
    assert_int_equal(queues.count, 1);
    assert_int_equal(queues.items[0].queue_id, 7);
    wire_assert_str(queues.items[0].topic, "t");
    wire_assert_str(queues.items[0].broker_name, "b");
    proto_queue_refs_free(&queues);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heartbeats_of_every_client_decode),
        cmocka_unit_test(our_heartbeat_is_what_java_writes),
        cmocka_unit_test(everything_and_sql_are_written_without_codes),
        cmocka_unit_test(enums_are_names_ordinals_or_their_default),
        cmocka_unit_test(the_filter_comes_from_tags_codes_or_the_expression),
        cmocka_unit_test(consumers_know_their_own_subscriptions),
        cmocka_unit_test(what_is_no_heartbeat_is_refused),
        cmocka_unit_test(heartbeats_over_a_limit_are_refused),
        cmocka_unit_test(an_allocation_that_fails_is_told),
        cmocka_unit_test(the_member_list_comes_back),
        cmocka_unit_test(lock_requests_of_java_and_go_decode),
        cmocka_unit_test(locked_queues_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
