#include "wire.h"

#include "remoting/base/heap.h"
#include "remoting/protocol/body_group.h"
#include "remoting/protocol/body_offset.h"

#include <stdlib.h>

static const char DEFAULTS[] =
    "{\"attributes\":{},\"brokerId\":0,\"consumeBroadcastEnable\":true,\"consumeEnable\":true,"
    "\"consumeFromMinEnable\":true,\"consumeMessageOrderly\":false,\"consumeTimeoutMinute\":15,\"groupName\":\"CG\","
    "\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"},\"groupSysFlag\":0,\"notifyConsumerIdsChangedEnable\":true,"
    "\"retryMaxTimes\":16,\"retryQueueNums\":1,\"whichBrokerWhenConsumeSlowly\":1}";

static int decode(const char *text, struct proto_group_config *out, char **kept)
{
    *kept = wire_exact(text, strlen(text));
    return proto_group_config_decode(*kept, strlen(text), out);
}

static void a_group_is_written_as_fastjson_writes_it(void **state)
{
    struct proto_group_config group = proto_group_config_defaults();
    struct mq_buf buf = {0};

    (void)state;
    group.name = MQ_STR("CG");
    assert_int_equal(proto_group_config_encode(&buf, &group), 0);
    wire_assert_str(mq_buf_str(&buf), DEFAULTS);
    mq_buf_free(&buf);
}

/* mqadmin 4.9 knows nine of the members. */
static void members_that_are_missing_have_their_defaults(void **state)
{
    struct proto_group_config group;
    struct mq_buf buf = {0};
    char *kept;

    (void)state;
    assert_int_equal(decode("{\"groupName\":\"CG\",\"unknown\":[1,{}]}", &group, &kept), 0);
    assert_int_equal(proto_group_config_encode(&buf, &group), 0);
    wire_assert_str(mq_buf_str(&buf), DEFAULTS);
    mq_buf_free(&buf);
    proto_group_config_free(&group);
    free(kept);
}

static void policies_are_read_as_they_are_written(void **state)
{
    struct proto_group_config group;
    char *kept;

    (void)state;
    assert_int_equal(
        decode("{\"groupRetryPolicy\":{\"exponentialRetryPolicy\":{},\"type\":\"EXPONENTIAL\"}}", &group, &kept), 0);
    assert_true(group.policy.exponential && group.policy.has_exponential && !group.policy.has_customized);
    assert_int_equal(group.policy.initial_ms, 5000);
    assert_int_equal(group.policy.max_ms, 7200000);
    assert_int_equal(group.policy.multiplier, 2);
    free(kept);
    assert_int_equal(decode("{\"groupRetryPolicy\":{\"customizedRetryPolicy\":{\"next\":[1,\"2\"]},\"type\":null}}",
                            &group, &kept),
                     0);
    assert_true(!group.policy.exponential && group.policy.has_customized);
    assert_int_equal(group.policy.n_next, 2);
    assert_int_equal(group.policy.next_ms[1], 2);
    free(kept);
    assert_int_equal(
        decode("{\"groupRetryPolicy\":null,\"subscriptionDataSet\":null,\"attributes\":null}", &group, &kept), 0);
    assert_false(group.policy.has_customized || group.policy.has_exponential);
    free(kept);
}

static void what_is_no_group_is_refused(void **state)
{
    static const struct {
        const char *json;
        int want;
    } cases[] = {
        {"", MQ_EBADMSG},
        {"[]", MQ_EBADMSG},
        {"{\"groupName\":\"a\"", MQ_EBADMSG},
        {"{\"retryMaxTimes\":2147483648}", MQ_EBADMSG},
        {"{\"brokerId\":\"x\"}", MQ_EBADMSG},
        {"{\"groupRetryPolicy\":{\"customizedRetryPolicy\":{\"next\":[x]}}}", MQ_EBADMSG},
        {"{\"groupRetryPolicy\":{\"customizedRetryPolicy\":{\"next\":[null]}}}", MQ_EBADMSG},
        {"{\"groupRetryPolicy\":{\"customizedRetryPolicy\":{\"next\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,"
         "0,"
         "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}}}",
         MQ_ETOOBIG},
        {"{\"subscriptionDataSet\":[1]}", MQ_EBADMSG},
        {"{} x", MQ_EBADMSG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_group_config group;
        char *kept;

        print_message("%s\n", cases[i].json);
        assert_int_equal(decode(cases[i].json, &group, &kept), cases[i].want);
        proto_group_config_free(&group);
        free(kept);
    }
}

static void a_table_names_groups_and_what_they_may_not_read(void **state)
{
    const struct proto_data_version version = {3, 1700000000000, 7};
    struct proto_group_configs groups = {0};
    struct proto_forbiddens forbidden = {0};
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(proto_group_table_encode(&buf, &version, &groups, &forbidden), 0);
    wire_assert_str(mq_buf_str(&buf),
                    "{\"dataVersion\":{\"counter\":7,\"stateVersion\":3,\"timestamp\":1700000000000},"
                    "\"forbiddenTable\":{},\"subscriptionGroupTable\":{}}");
    mq_buf_free(&buf);
    for (int i = 0; i < 3; i++) {
        *proto_forbiddens_add(&forbidden) =
            (struct proto_forbidden){i < 2 ? MQ_STR("A") : MQ_STR("B"), i == 0 ? MQ_STR("t") : MQ_STR("u"), false};
    }
    *proto_group_configs_add(&groups) = proto_group_config_defaults();
    groups.items[0].name = MQ_STR("CG");
    assert_int_equal(proto_group_table_encode(&buf, &version, &groups, &forbidden), 0);
    assert_int_equal(mq_buf_put_u8(&buf, 0), 0);
    assert_non_null(strstr((char *)buf.base, "\"forbiddenTable\":{\"A\":{\"t\":4,\"u\":4},\"B\":{\"u\":4}},"));
    assert_non_null(strstr((char *)buf.base, "\"subscriptionGroupTable\":{\"CG\":{\"attributes\""));
    mq_buf_free(&buf);
    proto_forbiddens_free(&forbidden);
    proto_group_list_free(&groups);
}

static void offsets_are_written_compact_with_objects_as_keys(void **state)
{
    struct proto_consume_stats stats = {0}, stats_again;
    struct proto_queue_offsets offsets = {0}, again;
    struct mq_buf buf = {0};

    (void)state;
    *proto_consume_stats_add(&stats) =
        (struct proto_consume_stat){{MQ_STR("orders"), MQ_STR("broker-a"), 0}, 42, 40, 41, 1700000000123};
    assert_int_equal(proto_consume_stats_encode(&buf, &stats, 1.5), 0);
    wire_assert_str(mq_buf_str(&buf),
                    "{\"consumeTps\":1.5,\"offsetTable\":{{\"brokerName\":\"broker-a\",\"queueId\":0,"
                    "\"topic\":\"orders\"}:{\"brokerOffset\":42,\"consumerOffset\":40,"
                    "\"lastTimestamp\":1700000000123,\"pullOffset\":41}}}");
    assert_int_equal(proto_consume_stats_decode((char *)buf.base, buf.len, &stats_again), 0);
    assert_int_equal(stats_again.items[0].pull_offset, 41);
    proto_consume_stats_free(&stats_again);
    proto_consume_stats_free(&stats);
    mq_buf_free(&buf);

    for (int i = 0; i < 2; i++) {
        *proto_queue_offsets_add(&offsets) =
            (struct proto_queue_offset){{MQ_STR("orders"), MQ_STR("broker-a"), i}, 7 + i};
    }
    assert_int_equal(proto_queue_offsets_encode(&buf, &offsets), 0);
    wire_assert_str(mq_buf_str(&buf),
                    "{\"offsetTable\":{{\"brokerName\":\"broker-a\",\"queueId\":0,\"topic\":"
                    "\"orders\"}:7,{\"brokerName\":\"broker-a\",\"queueId\":1,\"topic\":\"orders\"}:"
                    "8}}");
    assert_int_equal(proto_queue_offsets_decode((char *)buf.base, buf.len, &again), 0);
    assert_int_equal(again.count, 2);
    assert_int_equal(again.items[1].queue.queue_id, 1);
    assert_int_equal(again.items[1].offset, 8);
    proto_queue_offsets_free(&again);
    proto_queue_offsets_free(&offsets);
    mq_buf_free(&buf);
}

/* What 221 brings is a client's word: read whole, or not at all. */
static void positions_of_consumers_are_read_or_refused(void **state)
{
    static const struct {
        const char *json;
        int rc;
        uint32_t count;
    } cases[] = {
        {"{}", 0, 0},
        {"{\"messageQueueTable\":{}}", 0, 0},
        {"{\"messageQueueTable\":null,\"consumerTable\":{\"x\":{}}}", 0, 0},
        {"{\"consumerTable\":{},\"messageQueueTable\":{{\"brokerName\":\"b\",\"queueId\":3,\"topic\":\"t\"}:5}}", 0,
         1},
        {"{\"messageQueueTable\":{{\"topic\":\"t\"}:\"-1\",{\"topic\":\"u\"}:2}}", 0, 2},
        {"", MQ_EBADMSG, 0},
        {"[]", MQ_EBADMSG, 0},
        {"{\"messageQueueTable\":[]}", MQ_EBADMSG, 0},
        {"{\"messageQueueTable\":{\"t\":5}}", MQ_EBADMSG, 0},
        {"{\"messageQueueTable\":{{\"topic\":\"t\"}:x}}", MQ_EBADMSG, 0},
        {"{\"messageQueueTable\":{{\"topic\":\"t\"}:5}", MQ_EBADMSG, 0},
        {"{\"messageQueueTable\":{{\"topic\":\"t\"}:5}} more", MQ_EBADMSG, 0},
    };
    struct mq_buf buf = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_queue_offsets offsets;
        char json[256];

        print_message("%s\n", cases[i].json);
        strcpy(json, cases[i].json);
        assert_int_equal(proto_positions_decode(json, strlen(json), &offsets), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_int_equal(offsets.count, cases[i].count);
        }
        if (cases[i].rc == 0 && cases[i].count == 2) {
            assert_int_equal(proto_positions_begin(&buf), 0);
            assert_int_equal(proto_positions_add(&buf, true, MQ_STR("a \"b\""), &offsets), 0);
            assert_int_equal(proto_positions_add(&buf, false, MQ_STR("c"), &(struct proto_queue_offsets){0}), 0);
            assert_int_equal(proto_positions_end(&buf), 0);
            wire_assert_str(
                mq_buf_str(&buf),
                "{\"consumerTable\":{\"a \\\"b\\\"\":{{\"brokerName\":\"\",\"queueId\":0,\"topic\":\"t\"}:"
                "-1,{\"brokerName\":\"\",\"queueId\":0,\"topic\":\"u\"}:2},\"c\":{}},"
                "\"messageQueueTable\":{}}");
        }
        proto_queue_offsets_free(&offsets);
    }
    mq_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_written_as_fastjson_writes_it),
        cmocka_unit_test(members_that_are_missing_have_their_defaults),
        cmocka_unit_test(policies_are_read_as_they_are_written),
        cmocka_unit_test(what_is_no_group_is_refused),
        cmocka_unit_test(a_table_names_groups_and_what_they_may_not_read),
        cmocka_unit_test(offsets_are_written_compact_with_objects_as_keys),
        cmocka_unit_test(positions_of_consumers_are_read_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
