#include "broker/store/record_copy.h"

#include "broker/store/record_build.h"
#include "remoting/base/err.h"
#include "remoting/protocol/properties.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int32_t original(struct mq_str properties, uint8_t *at)
{
    const struct record_source source = {
        .topic = MQ_STR("SCHEDULE_TOPIC_XXXX"),
        .queue_id = 2,
        .flag = 7,
        .sys_flag = 5,
        .born_ms = 111,
        .born_host = {{192, 0, 2, 1}, 4, 4242},
        .store_host = {{127, 0, 0, 1}, 4, 10911},
        .store_ms = 222,
        .reconsume_times = 2,
        .body = MQ_STR("hello"),
        .properties = properties,
    };

    return record_build(&source, false, at);
}

static void a_copy_is_the_record_but_for_what_was_to_change(void **state)
{
    static const struct proto_host born = {{10, 0, 0, 1}, 4, 1}, store = {{1}, 16, 2};
    const struct mq_str drop[] = {MQ_STR("REAL_QID")};
    const struct record_property put[] = {{MQ_STR("TAGS"), MQ_STR("B")}, {MQ_STR("new"), MQ_STR("1")}};
    uint8_t from[512], to[512];
    struct record_copy copy = {
        .record = from,
        .topic = MQ_STR("Orders"),
        .queue_id = 9,
        .sys_flag_clear = PROTO_SYS_TRANSACTION_MASK,
        .sys_flag_set = 8,
        .reconsume_times = 3,
        .prepared_pos = 77,
        .store_ms = 333,
        .born_host = &born,
        .store_host = &store,
        .drop = drop,
        .n_drop = 1,
        .put = put,
        .n_put = 2,
    };
    struct proto_record rec;
    int32_t bytes;

    (void)state;
    copy.bytes = (uint32_t)original(MQ_STR("TAGS\1A\2REAL_QID\0013\2KEYS\1k\2"), from);
    mq_be64_store(from + PROTO_RECORD_QOFF_AT, 5);
    mq_be64_store(from + PROTO_RECORD_POS_AT, 6);
    bytes = record_copy_write(&copy, to);
    assert_true(bytes > 0 && (uint32_t)bytes <= record_copy_bound(&copy));
    assert_int_equal(proto_record_decode(to, (size_t)bytes, &rec), 0);
    assert_int_equal(rec.record_bytes, bytes);
    assert_true(mq_str_eq(rec.topic, MQ_STR("Orders")));
    assert_int_equal(rec.queue_id, 9);
    assert_int_equal(rec.flag, 7);
    assert_int_equal(rec.sys_flag & 0xF, 9);
    assert_int_equal(rec.qoff, 0);
    assert_int_equal(rec.pos, 0);
    assert_int_equal(rec.born_ms, 111);
    assert_int_equal(rec.born_host.port, 1);
    assert_int_equal(rec.store_host.ip_bytes, 16);
    assert_int_equal(rec.store_ms, 333);
    assert_int_equal(rec.reconsume_times, 3);
    assert_int_equal(rec.prepared_pos, 77);
    assert_true(mq_str_eq(rec.body, MQ_STR("hello")));
    assert_true(mq_str_eq(rec.properties, MQ_STR("KEYS\1k\2TAGS\1B\2new\0011\2")));
}

static void what_is_not_named_stays(void **state)
{
    uint8_t from[512], to[512];
    struct record_copy copy = {.record = from, .queue_id = 2, .reconsume_times = -1, .store_ms = 222};

    (void)state;
    copy.bytes = (uint32_t)original(MQ_STR("TAGS\1A\2KEYS\1k\2"), from);
    assert_int_equal(record_copy_write(&copy, to), (int32_t)copy.bytes);
    assert_memory_equal(from, to, copy.bytes);
}

static void what_cannot_be_is_refused(void **state)
{
    static char long_value[PROTO_PROPERTIES_MAX];
    const struct record_property put[] = {{MQ_STR("v"), {long_value, sizeof(long_value)}}};
    uint8_t from[512];
    uint8_t *to;
    struct record_copy copy = {.record = from, .reconsume_times = -1, .put = put, .n_put = 1};

    (void)state;
    memset(long_value, 'x', sizeof(long_value));
    copy.bytes = (uint32_t)original(MQ_STR("TAGS\1A\2"), from);
    to = malloc(record_copy_bound(&copy));
    assert_int_equal(record_copy_write(&copy, to), MQ_ETOOBIG);
    copy.n_put = 0;
    from[88] ^= 1; /* in the body, which begins at 88 */
    assert_int_equal(record_copy_write(&copy, to), MQ_ECORRUPT);
    from[88] ^= 1;
    assert_true(record_copy_write(&copy, to) > 0);
    free(to);
    copy.bytes--;
    assert_int_equal(record_copy_bound(&copy), 0);
    assert_int_equal(record_copy_write(&copy, from), MQ_EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_the_record_but_for_what_was_to_change),
        cmocka_unit_test(what_is_not_named_stays),
        cmocka_unit_test(what_cannot_be_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
