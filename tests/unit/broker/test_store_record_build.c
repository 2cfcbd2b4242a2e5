#include "broker/store/record_build.h"

#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/properties.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define OWN "MSG_REGION\1DefaultRegion\2TRACE_ON\1true\2CLUSTER\1C\2"

static struct record_source source_of(struct mq_str properties)
{
    return (struct record_source){
        .topic = MQ_STR("Orders"),
        .queue_id = 3,
        .flag = 7,
        .sys_flag = 1,
        .born_ms = 111,
        .born_host = {{192, 0, 2, 1}, 4, 4242},
        .store_host = {{127, 0, 0, 1}, 4, 10911},
        .store_ms = 222,
        .reconsume_times = 2,
        .body = MQ_STR("hello"),
        .properties = properties,
        .region = MQ_STR("DefaultRegion"),
        .trace_on = true,
        .cluster = MQ_STR("C"),
        .uniq_key = MQ_STR("K"),
    };
}

static void a_record_carries_what_the_source_says(void **state)
{
    struct record_source source = source_of(MQ_STR("TAGS\1A\2"));
    struct proto_record rec;
    uint8_t at[512];
    int32_t bytes;

    (void)state;
    bytes = record_build(&source, false, at);
    assert_true(bytes > 0 && (uint32_t)bytes <= record_build_bound(&source));
    assert_int_equal(proto_record_decode(at, (size_t)bytes, &rec), 0);
    assert_int_equal(rec.record_bytes, bytes);
    assert_int_equal(rec.queue_id, 3);
    assert_int_equal(rec.flag, 7);
    assert_int_equal(rec.sys_flag, 1);
    assert_int_equal(rec.born_ms, 111);
    assert_int_equal(rec.store_ms, 222);
    assert_int_equal(rec.reconsume_times, 2);
    assert_int_equal(rec.qoff, 0);
    assert_int_equal(rec.pos, 0);
    assert_int_equal(rec.prepared_pos, 0);
    assert_int_equal(rec.born_host.port, 4242);
    assert_int_equal(rec.store_host.port, 10911);
    assert_int_equal(rec.body_crc, mq_crc32(0, "hello", 5) & 0x7FFFFFFF);
    assert_true(mq_str_eq(rec.topic, MQ_STR("Orders")));
    assert_true(mq_str_eq(rec.body, MQ_STR("hello")));
    assert_true(mq_str_eq(rec.properties, MQ_STR("TAGS\1A\2")));
}

static void properties_of_a_single_message_get_the_brokers_own(void **state)
{
    static const struct {
        const char *why;
        struct mq_str have, want;
    } cases[] = {
        {"none", {"", 0}, MQ_STR(OWN "UNIQ_KEY\1K\2")},
        {"an end is missing", MQ_STR("TAGS\1A"), MQ_STR("TAGS\1A\2" OWN "UNIQ_KEY\1K\2")},
        {"an id is there", MQ_STR("UNIQ_KEY\1X\2TAGS\1A\2"), MQ_STR("UNIQ_KEY\1X\2TAGS\1A\2" OWN)},
        {"an id without a value", MQ_STR("UNIQ_KEY\1\2"), MQ_STR("UNIQ_KEY\1\2" OWN "UNIQ_KEY\1K\2")},
        {"ours were sent", MQ_STR("CLUSTER\1z\2a\1b\2TRACE_ON\1x\2MSG_REGION\1\2"),
         MQ_STR("a\1b\2" OWN "UNIQ_KEY\1K\2")},
        {"only begins like ours", MQ_STR("CLUSTERS\1z\2MSG\1y\2"),
         MQ_STR("CLUSTERS\1z\2MSG\1y\2" OWN "UNIQ_KEY\1K\2")},
        {"a name in a value", MQ_STR("a\1CLUSTER\1z\2"), MQ_STR("a\1CLUSTER\1z\2" OWN "UNIQ_KEY\1K\2")},
        {"a pop check point", MQ_STR("a\1b\2POP_CK\0011 2 3\2"), MQ_STR("a\1b\2" OWN "UNIQ_KEY\1K\2")},
        {"nothing but what is dropped, no end", MQ_STR("POP_CK\0011"), MQ_STR(OWN "UNIQ_KEY\1K\2")},
        {"empty properties", MQ_STR("\2\2a\1b\2"), MQ_STR("\2\2a\1b\2" OWN "UNIQ_KEY\1K\2")},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct record_source source = source_of(cases[i].have);
        uint8_t at[512];
        int32_t bytes = record_build(&source, true, at);
        struct mq_str got = proto_record_properties(at, (size_t)bytes);

        print_message("%s\n", cases[i].why);
        assert_true((uint32_t)bytes <= record_build_bound(&source));
        assert_int_equal(got.len, cases[i].want.len);
        assert_memory_equal(got.at, cases[i].want.at, got.len);
    }
}

static void parts_of_a_batch_keep_their_properties_but_for_a_check_point(void **state)
{
    struct record_source source = source_of(MQ_STR("CLUSTER\1z\2a\1b"));
    uint8_t at[512];
    int32_t bytes = record_build(&source, false, at);

    (void)state;
    assert_true(mq_str_eq(proto_record_properties(at, (size_t)bytes), MQ_STR("CLUSTER\1z\2a\1b")));
    source.properties = MQ_STR("POP_CK\1x\2a\1b");
    bytes = record_build(&source, false, at);
    assert_true(mq_str_eq(proto_record_properties(at, (size_t)bytes), MQ_STR("a\1b")));
}

static void values_that_are_absent_are_not_written(void **state)
{
    struct record_source source = source_of((struct mq_str){0});
    uint8_t at[512];
    int32_t bytes;

    (void)state;
    source.region = (struct mq_str){0};
    source.cluster = (struct mq_str){0};
    source.uniq_key = (struct mq_str){0};
    source.trace_on = false;
    bytes = record_build(&source, true, at);
    assert_true(mq_str_eq(proto_record_properties(at, (size_t)bytes), MQ_STR("TRACE_ON\1false\2")));
}

static void properties_are_limited_with_the_brokers_own_counted(void **state)
{
    const uint32_t own_bytes = sizeof(OWN "UNIQ_KEY\1K\2") - 1;
    char *properties = mq_malloc(PROTO_PROPERTIES_MAX + 1);
    uint8_t *at = mq_malloc(70000);
    struct record_source source;

    (void)state;
    assert_true(properties != NULL && at != NULL);
    memset(properties, 'p', PROTO_PROPERTIES_MAX + 1);
    properties[1] = 1;
    properties[PROTO_PROPERTIES_MAX - own_bytes - 1] = 2;
    source = source_of((struct mq_str){properties, PROTO_PROPERTIES_MAX - own_bytes});
    assert_true(record_build(&source, true, at) > PROTO_PROPERTIES_MAX);
    source.cluster = MQ_STR("CC");
    assert_int_equal(record_build(&source, true, at), MQ_ETOOBIG);
    source.properties.len = PROTO_PROPERTIES_MAX;
    assert_true(record_build(&source, false, at) > PROTO_PROPERTIES_MAX);
    source.properties.len = PROTO_PROPERTIES_MAX + 1;
    assert_int_equal(record_build(&source, false, at), MQ_ETOOBIG);
    mq_free(at);
    mq_free(properties);
}

static void a_long_topic_and_a_16_byte_address_change_the_layout(void **state)
{
    struct record_source source = source_of(MQ_STR("a\1b\2"));
    struct proto_record rec;
    char topic[200];
    uint8_t at[1024];
    int32_t bytes;

    (void)state;
    memset(topic, 't', sizeof(topic));
    source.topic = (struct mq_str){topic, sizeof(topic)};
    source.born_host = (struct proto_host){{0x20, 1}, 16, 9};
    bytes = record_build(&source, true, at);
    assert_true(bytes > 0 && (uint32_t)bytes <= record_build_bound(&source));
    assert_int_equal(mq_be32_load(at + PROTO_RECORD_MAGIC_AT), PROTO_RECORD_MAGIC_V2);
    assert_int_equal(proto_record_decode(at, (size_t)bytes, &rec), 0);
    assert_int_equal(rec.sys_flag, 1 | PROTO_SYS_BORNHOST_V6);
    assert_int_equal(rec.topic.len, 200);
    assert_int_equal(rec.store_ms, 222);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_carries_what_the_source_says),
        cmocka_unit_test(properties_of_a_single_message_get_the_brokers_own),
        cmocka_unit_test(parts_of_a_batch_keep_their_properties_but_for_a_check_point),
        cmocka_unit_test(values_that_are_absent_are_not_written),
        cmocka_unit_test(properties_are_limited_with_the_brokers_own_counted),
        cmocka_unit_test(a_long_topic_and_a_16_byte_address_change_the_layout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
