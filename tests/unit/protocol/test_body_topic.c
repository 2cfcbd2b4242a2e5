#include "wire.h"

#include "remoting/protocol/body_topic.h"

#include <stdlib.h>

static const char ORDERS[] = "{\"attributes\":{\"message.type\":\"NORMAL\"},\"order\":false,\"perm\":6,"
                             "\"readQueueNums\":8,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"orders\","
                             "\"topicSysFlag\":0,\"writeQueueNums\":8}";

static struct proto_topic_config orders(void)
{
    struct proto_topic_config topic = proto_topic_config_defaults();

    topic.name = MQ_STR("orders");
    topic.read_queues = 8;
    topic.write_queues = 8;
    topic.attributes = MQ_STR("message.type=NORMAL");
    return topic;
}

static void assert_json(struct mq_buf *buf, const char *want)
{
    wire_assert_str(mq_buf_str(buf), want);
    mq_buf_free(buf);
}

static void a_topic_is_written_as_fastjson_writes_it(void **state)
{
    struct proto_topic_config topic = orders();
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(proto_topic_config_encode(&buf, &topic), 0);
    assert_json(&buf, ORDERS);

    topic.attributes = MQ_STR("a=1,b=x=y");
    topic.multi_tag = true;
    topic.order = true;
    topic.sys_flag = 3;
    assert_int_equal(proto_topic_config_encode(&buf, &topic), 0);
    assert_json(&buf, "{\"attributes\":{\"a\":\"1\",\"b\":\"x=y\"},\"order\":true,\"perm\":6,\"readQueueNums\":8,"
                      "\"topicFilterType\":\"MULTI_TAG\",\"topicName\":\"orders\",\"topicSysFlag\":3,"
                      "\"writeQueueNums\":8}");
}

static void a_topic_is_read_with_its_attributes(void **state)
{
    static const struct {
        const char *json, *attributes;
    } cases[] = {
        {ORDERS, "message.type=NORMAL"},
        {"{\"attributes\":{},\"topicName\":\"orders\",\"readQueueNums\":8,\"writeQueueNums\":\"8\"}", NULL},
        {"{\"attributes\":null,\"topicName\":\"orders\",\"readQueueNums\":8,\"writeQueueNums\":8}", NULL},
        {"{\"attributes\":{\"a\":\"1\",\"b\":2,\"c\":null,\"d,\":\"x\",\"e\":\"x,y\",\"f=\":\"1\",\"g\":true},"
         "\"topicName\":\"orders\",\"readQueueNums\":8,\"writeQueueNums\":8}",
         "a=1,b=2,g=true"},
        {"{\"attributes\":{1:2,3:4},\"topicName\":\"orders\",\"readQueueNums\":8,\"writeQueueNums\":8}", "1=2,3=4"},
        {"{\"attributes\":{\"\\u0061\":\"\\u0062\",\"c\":\"d\"},\"topicName\":\"orders\",\"readQueueNums\":8,"
         "\"writeQueueNums\":8}",
         "a=b,c=d"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t n = strlen(cases[i].json);
        char *json = wire_exact(cases[i].json, n);
        struct proto_topic_config topic;

        print_message("%s\n", cases[i].json);
        assert_int_equal(proto_topic_config_decode(json, n, &topic), 0);
        wire_assert_str(topic.name, "orders");
        wire_assert_str(topic.attributes, cases[i].attributes);
        assert_int_equal(topic.read_queues, 8);
        assert_int_equal(topic.write_queues, 8);
        assert_int_equal(topic.perm, 6);
        free(json);
    }
}

static void what_a_topic_leaves_out_has_its_default(void **state)
{
    static const char TEXT[] = "{\"topicFilterType\":\"MULTI_TAG\",\"order\":true,\"new\":[1]}";
    char *json = wire_exact(TEXT, sizeof(TEXT) - 1);
    struct proto_topic_config topic;

    (void)state;
    assert_int_equal(proto_topic_config_decode(json, sizeof(TEXT) - 1, &topic), 0);
    wire_assert_str(topic.name, NULL);
    assert_int_equal(topic.read_queues, 16);
    assert_int_equal(topic.write_queues, 16);
    assert_int_equal(topic.perm, 6);
    assert_int_equal(topic.sys_flag, 0);
    assert_true(topic.multi_tag);
    assert_true(topic.order);
    free(json);
}

static void a_table_comes_back_as_it_was(void **state)
{
    struct proto_topic_table table = {.version = {3, 1700000000000, 7}}, got;
    struct mq_buf buf = {0};

    (void)state;
    *proto_topic_configs_add(&table.topics) = orders();
    for (int i = 0; i < 20; i++) {
        struct proto_topic_config *topic = proto_topic_configs_add(&table.topics);

        assert_non_null(topic);
        *topic = orders();
        topic->name = MQ_STR("copies");
        topic->perm = i % 8;
        topic->attributes = (struct mq_str){0};
    }
    assert_int_equal(proto_topic_table_encode(&buf, &table), 0);
    assert_int_equal(proto_topic_table_decode((char *)buf.base, buf.len, &got), 0);
    assert_int_equal(proto_data_version_compare(&got.version, &table.version), 0);
    assert_int_equal(got.topics.count, 21);
    wire_assert_str(got.topics.items[0].name, "orders");
    wire_assert_str(got.topics.items[0].attributes, "message.type=NORMAL");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(got.topics.items[1 + i].perm, i % 8);
        wire_assert_str(got.topics.items[1 + i].attributes, NULL);
    }
    proto_topic_table_free(&got);
    proto_topic_table_free(&table);
    mq_buf_free(&buf);
}

static void an_empty_table_has_all_members_of_5_x(void **state)
{
    struct proto_topic_table table = {.version = {3, 1700000000000, 7}};
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(proto_topic_table_encode(&buf, &table), 0);
    assert_json(&buf, "{\"dataVersion\":{\"counter\":7,\"stateVersion\":3,\"timestamp\":1700000000000},"
                      "\"mappingDataVersion\":{\"counter\":0,\"stateVersion\":0,\"timestamp\":1700000000000},"
                      "\"topicConfigTable\":{},\"topicQueueMappingDetailMap\":{},\"topicQueueMappingInfoMap\":{}}");
}

static void versions_are_ordered_by_state_counter_and_time(void **state)
{
    static const struct {
        struct proto_data_version a, b;
        int want;
    } cases[] = {
        {{1, 2, 3}, {1, 2, 3}, 0}, {{2, 0, 0}, {1, 9, 9}, 1},   {{1, 9, 2}, {1, 0, 3}, -1},
        {{1, 5, 3}, {1, 4, 3}, 1}, {{-1, 0, 0}, {0, 0, 0}, -1}, {{INT64_MIN, 0, 0}, {INT64_MAX, 0, 0}, -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(proto_data_version_compare(&cases[i].a, &cases[i].b), cases[i].want);
        assert_int_equal(proto_data_version_compare(&cases[i].b, &cases[i].a), -cases[i].want);
    }
}

static void a_version_without_state_decodes(void **state)
{
    static const char TEXT[] = "{\"counter\":\"7\",\"timestamp\":1700000000000}";
    char *json = wire_exact(TEXT, sizeof(TEXT) - 1);
    struct proto_data_version version = {9, 9, 9};

    (void)state;
    assert_int_equal(proto_data_version_decode(json, sizeof(TEXT) - 1, &version), 0);
    assert_int_equal(version.counter, 7);
    assert_int_equal(version.state_version, 0);
    assert_int_equal(version.timestamp_ms, 1700000000000);
    free(json);
}

static void what_is_no_table_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "[]",
        "7",
        "{\"dataVersion\":[]}",
        "{\"dataVersion\":{\"counter\":\"x\"}}",
        "{\"topicConfigTable\":[]}",
        "{\"topicConfigTable\":{\"a\":7}}",
        "{\"topicConfigTable\":{\"a\":{\"perm\":\"rw\"}}}",
        "{\"topicConfigTable\":{\"a\":{\"readQueueNums\":99999999999}}}",
        "{\"topicConfigTable\":{\"a\":{\"attributes\":\"x\"}}}",
        "{\"topicConfigTable\":{\"a\":{}}",
        "{\"topicConfigTable\":{\"a\":{}}} x",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *json = wire_exact(cases[i], strlen(cases[i]));
        struct proto_topic_table table;

        print_message("%s\n", cases[i]);
        assert_int_equal(proto_topic_table_decode(json, strlen(cases[i]), &table), MQ_EBADMSG);
        proto_topic_table_free(&table);
        free(json);
    }
}

static void more_topics_than_the_limit_are_refused(void **state)
{
    struct mq_buf json = {0};
    struct proto_topic_table table;

    (void)state;
    assert_int_equal(mq_buf_put_str(&json, MQ_STR("{\"topicConfigTable\":{")), 0);
    for (int i = 0; i <= PROTO_TOPICS_MAX; i++) {
        assert_int_equal(mq_buf_printf(&json, "%s\"t%d\":{}", i == 0 ? "" : ",", i), 0);
    }
    assert_int_equal(mq_buf_put_str(&json, MQ_STR("}}")), 0);
    assert_int_equal(proto_topic_table_decode((char *)json.base, json.len, &table), MQ_ETOOBIG);
    assert_int_equal(table.topics.count, PROTO_TOPICS_MAX);
    wire_assert_str(table.topics.items[65535].name, "t65535");
    proto_topic_table_free(&table);
    mq_buf_free(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_is_written_as_fastjson_writes_it),
        cmocka_unit_test(a_topic_is_read_with_its_attributes),
        cmocka_unit_test(what_a_topic_leaves_out_has_its_default),
        cmocka_unit_test(a_table_comes_back_as_it_was),
        cmocka_unit_test(an_empty_table_has_all_members_of_5_x),
        cmocka_unit_test(versions_are_ordered_by_state_counter_and_time),
        cmocka_unit_test(a_version_without_state_decodes),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(more_topics_than_the_limit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
