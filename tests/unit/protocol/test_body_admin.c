#include "wire.h"

#include "remoting/base/heap.h"
#include "remoting/protocol/body_admin.h"

#include <math.h>
#include <stdlib.h>

static void topic_lists_come_back(void **state)
{
    struct proto_str_list topics = {0}, got;
    struct mq_buf buf = {0};
    struct mq_str addr;

    (void)state;
    *proto_str_list_add(&topics) = MQ_STR("orders");
    *proto_str_list_add(&topics) = MQ_STR("%RETRY%CG");
    assert_int_equal(proto_topic_list_encode(&buf, &topics, (struct mq_str){0}), 0);
    wire_assert_str(mq_buf_str(&buf), "{\"topicList\":[\"orders\",\"%RETRY%CG\"]}");
    assert_int_equal(proto_topic_list_decode((char *)buf.base, buf.len, &got, &addr), 0);
    assert_int_equal(got.count, 2);
    wire_assert_str(got.items[1], "%RETRY%CG");
    wire_assert_str(addr, NULL);
    proto_str_list_free(&got);

    buf.len = 0;
    assert_int_equal(proto_topic_list_encode(&buf, &topics, MQ_STR("192.0.2.1:10911")), 0);
    wire_assert_str(mq_buf_str(&buf),
                    "{\"brokerAddr\":\"192.0.2.1:10911\",\"topicList\":[\"orders\",\"%RETRY%CG\"]}");
    assert_int_equal(proto_topic_list_decode((char *)buf.base, buf.len, &got, &addr), 0);
    wire_assert_str(addr, "192.0.2.1:10911");
    proto_str_list_free(&got);
    proto_str_list_free(&topics);
    mq_buf_free(&buf);
}

/* Source: RocketMQ's RemotingSerializable. */
static const char WORKED_STATS[] =
    "{\"offsetTable\":{{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":\"orders\"}:{\"lastUpdateTimestamp\":"
    "1700000000123,\"maxOffset\":42,\"minOffset\":0},{\"brokerName\":\"broker-a\",\"queueId\":1,\"topic\":\"orders\"}"
    ":"
    "{\"lastUpdateTimestamp\":0,\"maxOffset\":0,\"minOffset\":0}},\"topicPutTps\":0.0}";

static void topic_stats_have_objects_as_keys(void **state)
{
    struct proto_topic_stats stats = {0}, got;
    struct mq_buf buf = {0};

    (void)state;
    *proto_topic_stats_add(&stats) =
        (struct proto_queue_stats){{MQ_STR("orders"), MQ_STR("broker-a"), 0}, 0, 42, 1700000000123};
    *proto_topic_stats_add(&stats) = (struct proto_queue_stats){{MQ_STR("orders"), MQ_STR("broker-a"), 1}, 0, 0, 0};
    assert_int_equal(proto_topic_stats_encode(&buf, &stats, NAN), 0);
    wire_assert_str(mq_buf_str(&buf), WORKED_STATS);
    assert_int_equal(proto_topic_stats_decode((char *)buf.base, buf.len, &got), 0);
    assert_int_equal(got.count, 2);
    wire_assert_str(got.items[1].queue.topic, "orders");
    wire_assert_str(got.items[1].queue.broker_name, "broker-a");
    assert_int_equal(got.items[1].queue.queue_id, 1);
    assert_int_equal(got.items[0].max_offset, 42);
    assert_int_equal(got.items[0].last_update_ms, 1700000000123);
    proto_topic_stats_free(&got);
    proto_topic_stats_free(&stats);
    mq_buf_free(&buf);
}

static void key_objects_may_also_be_strings(void **state)
{
    static const char TEXT[] =
        "{\"offsetTable\":{\"{\\\"topic\\\":\\\"t\\\",\\\"queueId\\\":3}\":{\"maxOffset\":7}}}";
    char *json = wire_exact(TEXT, sizeof(TEXT) - 1);
    struct proto_topic_stats got;

    (void)state;
    assert_int_equal(proto_topic_stats_decode(json, sizeof(TEXT) - 1, &got), 0);
    assert_int_equal(got.count, 1);
    wire_assert_str(got.items[0].queue.topic, "t");
    assert_int_equal(got.items[0].queue.queue_id, 3);
    assert_int_equal(got.items[0].max_offset, 7);
    proto_topic_stats_free(&got);
    free(json);
}

static void stats_with_other_keys_are_refused(void **state)
{
    static const char *const cases[] = {
        "{\"offsetTable\":{\"x\":{}}}",
        "{\"offsetTable\":{7:{}}}",
        "{\"offsetTable\":{{\"queueId\":\"x\"}:{}}}",
        "{\"offsetTable\":{{\"queueId\":1:{}}}",
        "{\"offsetTable\":{{\"queueId\":1}:7}}",
        "{\"offsetTable\":[]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = wire_exact(cases[i], strlen(cases[i]));
        struct proto_topic_stats got;

        print_message("%s\n", cases[i]);
        assert_int_equal(proto_topic_stats_decode(json, strlen(cases[i]), &got), MQ_EBADMSG);
        proto_topic_stats_free(&got);
        free(json);
    }
}

static void key_value_tables_come_back(void **state)
{
    struct proto_kvs kvs = {0}, got;
    struct mq_buf buf = {0};

    (void)state;
    *proto_kvs_add(&kvs) = (struct proto_kv){MQ_STR("runtime"), MQ_STR("[ 0 days, 1 hours ]")};
    *proto_kvs_add(&kvs) = (struct proto_kv){MQ_STR("putTps"), MQ_STR("0.0 0.0 0.0")};
    assert_int_equal(proto_kv_table_encode(&buf, &kvs), 0);
    wire_assert_str(mq_buf_str(&buf), "{\"table\":{\"runtime\":\"[ 0 days, 1 hours ]\",\"putTps\":\"0.0 0.0 0.0\"}}");
    assert_int_equal(proto_kv_table_decode((char *)buf.base, buf.len, &got), 0);
    assert_int_equal(got.count, 2);
    wire_assert_str(got.items[1].key, "putTps");
    wire_assert_str(got.items[1].value, "0.0 0.0 0.0");
    proto_kvs_free(&got);
    proto_kvs_free(&kvs);
    mq_buf_free(&buf);
}

static void numbers_and_nulls_in_a_table_are_read(void **state)
{
    static const char TEXT[] = "{\"table\":{\"a\":1,\"b\":null,\"c\":true}}";
    char *json = wire_exact(TEXT, sizeof(TEXT) - 1);
    struct proto_kvs got;

    (void)state;
    assert_int_equal(proto_kv_table_decode(json, sizeof(TEXT) - 1, &got), 0);
    assert_int_equal(got.count, 2);
    wire_assert_str(got.items[0].value, "1");
    wire_assert_str(got.items[1].key, "c");
    proto_kvs_free(&got);
    free(json);
}

static void configuration_text_is_safe_for_properties_load(void **state)
{
    struct proto_kvs kvs = {0};
    struct mq_buf buf = {0};
    struct mq_str rest, key, value;

    (void)state;
    *proto_kvs_add(&kvs) = (struct proto_kv){MQ_STR("brokerName"), MQ_STR("broker-a")};
    *proto_kvs_add(&kvs) = (struct proto_kv){MQ_STR("dLegerPeers"), MQ_STR("n0-a:1;n1-b:2")};
    *proto_kvs_add(&kvs) = (struct proto_kv){MQ_STR("storePathRootDir"), MQ_STR("C:\\x\n\xC3\xA4")};
    *proto_kvs_add(&kvs) = (struct proto_kv){MQ_STR("empty"), {0}};
    assert_int_equal(proto_config_text_encode(&buf, &kvs), 0);
    wire_assert_str(mq_buf_str(&buf),
                    "brokerName=broker-a\ndLegerPeers=n0-a:1;n1-b:2\nstorePathRootDir=C:?x???\nempty=\n");
    rest = mq_buf_str(&buf);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(proto_config_text_next(&rest, &key, &value));
        assert_true(mq_str_eq(key, kvs.items[i].key));
    }
    assert_int_equal(value.len, 0);
    assert_false(proto_config_text_next(&rest, &key, &value));
    proto_kvs_free(&kvs);
    mq_buf_free(&buf);
}

static void lines_of_configuration_text_are_trimmed(void **state)
{
    struct mq_str rest = MQ_STR("# comment = 1\n! too = 1\r\n\n  a = b=c \r\nno value\n=v"), key, value;

    (void)state;
    assert_true(proto_config_text_next(&rest, &key, &value));
    wire_assert_str(key, "a");
    wire_assert_str(value, "b=c");
    assert_true(proto_config_text_next(&rest, &key, &value));
    assert_int_equal(key.len, 0);
    wire_assert_str(value, "v");
    assert_false(proto_config_text_next(&rest, &key, &value));
}

static void an_encoder_that_fails_leaves_the_buffer_as_it_was(void **state)
{
    struct proto_kvs kvs = {0};
    unsigned nth = 0;
    int rc;

    (void)state;
    for (int i = 0; i < 50; i++) {
        *proto_kvs_add(&kvs) = (struct proto_kv){MQ_STR("some key"), MQ_STR("some value")};
    }
    do {
        struct mq_buf buf = {0};

        assert_int_equal(mq_buf_put_str(&buf, MQ_STR("before")), 0);
        mq_heap_fail_at(++nth);
        rc = proto_kv_table_encode(&buf, &kvs);
        mq_heap_fail_at(0);
        if (rc != 0) {
            assert_int_equal(rc, MQ_ENOMEM);
            assert_int_equal(buf.len, 6);
        }
        mq_buf_free(&buf);
    } while (rc != 0);
    assert_true(nth > 3);
    proto_kvs_free(&kvs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topic_lists_come_back),
        cmocka_unit_test(topic_stats_have_objects_as_keys),
        cmocka_unit_test(key_objects_may_also_be_strings),
        cmocka_unit_test(stats_with_other_keys_are_refused),
        cmocka_unit_test(key_value_tables_come_back),
        cmocka_unit_test(numbers_and_nulls_in_a_table_are_read),
        cmocka_unit_test(configuration_text_is_safe_for_properties_load),
        cmocka_unit_test(lines_of_configuration_text_are_trimmed),
        cmocka_unit_test(an_encoder_that_fails_leaves_the_buffer_as_it_was),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
