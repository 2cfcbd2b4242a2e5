#include "wire.h"

#include "remoting/base/crc.h"
#include "remoting/protocol/record.h"

#include <stdlib.h>

#define WORKED_PROPERTIES                                                                                            \
    "UNIQ_KEY\x01"                                                                                                   \
    "C000020A30390000000100000BB80001\x02"                                                                           \
    "WAIT\x01true\x02KEYS\x01o-1001\x02TAGS\x01paid\x02MSG_REGION\x01"                                               \
    "DefaultRegion\x02TRACE_ON\x01true\x02"                                                                          \
    "CLUSTER\x01"                                                                                                    \
    "DefaultCluster\x02"

/* A worked example that RocketMQ's own Java code decodes. */
static const char WORKED_RECORD[] =
    "000000f4 daa320a7 0466a442 00000003 00000000 000000000000002a 0000000000002000 00000000 0000018bcfe56800"
    "c000020a 0000c822 0000018bcfe5687b c0000201 00002a9f 00000000 0000000000000000"
    "0000000b 7b226964223a313030317d 06 6f7264657273 0088"
    "554e49515f4b455901 4330303030323041333033393030303030303031303030303042423830303031 02"
    "57414954017472756502 4b455953016f2d3130303102 54414753017061696402"
    "4d53475f524547494f4e01 44656661756c74526567696f6e02 54524143455f4f4e017472756502"
    "434c555354455201 44656661756c74436c757374657202";

static struct proto_record worked(void)
{
    return (struct proto_record){.queue_id = 3,
                                 .qoff = 42,
                                 .pos = 8192,
                                 .born_ms = 1700000000000,
                                 .born_host = {{192, 0, 2, 10}, 4, 51234},
                                 .store_ms = 1700000000123,
                                 .store_host = {{192, 0, 2, 1}, 4, 10911},
                                 .body = MQ_STR("{\"id\":1001}"),
                                 .topic = MQ_STR("orders"),
                                 .properties = MQ_STR(WORKED_PROPERTIES)};
}

static struct mq_buf encode(const struct proto_record *rec)
{
    struct mq_buf buf = {0};

    assert_int_equal(mq_buf_reserve(&buf, proto_record_bytes(rec)), 0);
    buf.len = proto_record_encode(rec, buf.base);
    assert_int_equal(buf.len, proto_record_bytes(rec));
    return buf;
}

static void the_worked_record_is_written_byte_for_byte(void **state)
{
    struct proto_record rec = worked();
    struct mq_buf buf = encode(&rec);

    (void)state;
    wire_assert_bytes(&buf, WORKED_RECORD);
    mq_buf_free(&buf);
}

static void assert_same(const struct proto_record *a, const struct proto_record *b)
{
    assert_int_equal(a->queue_id, b->queue_id);
    assert_int_equal(a->flag, b->flag);
    assert_int_equal(a->qoff, b->qoff);
    assert_int_equal(a->pos, b->pos);
    assert_int_equal(a->born_ms, b->born_ms);
    assert_int_equal(a->store_ms, b->store_ms);
    wire_assert_host(&a->born_host, &b->born_host);
    wire_assert_host(&a->store_host, &b->store_host);
    assert_int_equal(a->reconsume_times, b->reconsume_times);
    assert_int_equal(a->prepared_pos, b->prepared_pos);
    assert_true(mq_str_eq(a->body, b->body));
    assert_true(mq_str_eq(a->topic, b->topic));
    assert_true(mq_str_eq(a->properties, b->properties));
}

static void the_worked_record_decodes(void **state)
{
    struct proto_record want = worked(), got;
    struct mq_buf buf = {0};

    (void)state;
    wire_hex(&buf, WORKED_RECORD);
    assert_int_equal(proto_record_decode(buf.base, buf.len, &got), 0);
    assert_same(&got, &want);
    assert_int_equal(got.record_bytes, 244);
    assert_int_equal(got.body_crc, 73835586);
    wire_assert_str(proto_record_properties(buf.base, buf.len), WORKED_PROPERTIES);
    wire_assert_str(proto_record_topic(buf.base, buf.len), "orders");
    mq_buf_free(&buf);
}

static void the_smallest_record_has_91_bytes(void **state)
{
    struct proto_record rec = {.born_host = {.ip_bytes = 4}, .store_host = {.ip_bytes = 4}}, got;
    struct mq_buf buf = encode(&rec);

    (void)state;
    assert_int_equal(buf.len, PROTO_RECORD_MIN_BYTES);
    assert_int_equal(mq_be32_load(buf.base + 8), 0);
    assert_int_equal(proto_record_decode(buf.base, buf.len, &got), 0);
    assert_int_equal(got.body.len, 0);
    mq_buf_free(&buf);
}

static void a_topic_over_127_bytes_makes_a_v2_record(void **state)
{
    static const struct {
        uint32_t topic_bytes, magic;
    } cases[] = {{127, PROTO_RECORD_MAGIC_V1}, {128, PROTO_RECORD_MAGIC_V2}, {255, PROTO_RECORD_MAGIC_V2}};
    char topic[255];

    (void)state;
    memset(topic, 't', sizeof(topic));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_record rec = worked(), got;
        struct mq_buf buf;

        rec.topic = (struct mq_str){topic, cases[i].topic_bytes};
        buf = encode(&rec);
        assert_int_equal(mq_be32_load(buf.base + PROTO_RECORD_MAGIC_AT), cases[i].magic);
        assert_int_equal(proto_record_decode(buf.base, buf.len, &got), 0);
        assert_same(&got, &rec);
        mq_buf_free(&buf);
    }
}

static void addresses_decide_the_two_flag_bits(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct proto_record rec = worked(), got;
        struct mq_buf buf;

        rec.sys_flag = PROTO_SYS_COMPRESSED | PROTO_SYS_BORNHOST_V6 | PROTO_SYS_STOREHOST_V6;
        rec.born_host.ip_bytes = way & 1 ? 16 : 4;
        rec.store_host.ip_bytes = way & 2 ? 16 : 4;
        memset(rec.born_host.ip, way & 1 ? 0xAB : 0, sizeof(rec.born_host.ip));
        memset(rec.store_host.ip, way & 2 ? 0xCD : 0, sizeof(rec.store_host.ip));
        buf = encode(&rec);
        assert_int_equal(buf.len, 244 + (way & 1 ? 12 : 0) + (way & 2 ? 12 : 0));
        assert_int_equal(proto_record_decode(buf.base, buf.len, &got), 0);
        assert_same(&got, &rec);
        assert_int_equal(got.sys_flag, PROTO_SYS_COMPRESSED | (way & 1 ? PROTO_SYS_BORNHOST_V6 : 0) |
                                           (way & 2 ? PROTO_SYS_STOREHOST_V6 : 0));
        mq_buf_free(&buf);
    }
}

static void every_cut_of_a_record_wants_more_bytes(void **state)
{
    struct proto_record rec = worked(), got;
    struct mq_buf buf = encode(&rec);

    (void)state;
    for (size_t n = 0; n < buf.len; n++) {
        uint8_t *cut = wire_exact(buf.base, n);

        assert_int_equal(proto_record_decode(cut, n, &got), MQ_EAGAIN);
        wire_assert_str(proto_record_properties(cut, n), NULL);
        wire_assert_str(proto_record_topic(cut, n), NULL);
        free(cut);
    }
    mq_buf_free(&buf);
}

static void records_that_contradict_themselves_are_refused(void **state)
{
    static const struct {
        const char *why;
        size_t at;
        uint8_t byte;
    } cases[] = {
        {"size below the smallest record", 3, 0x5A},
        {"size beyond a frame", 0, 0x01},
        {"size one too small", 3, 0xF3},
        {"magic of a blank", 4, 0xCB},
        {"body longer than the record", 86, 1},
        {"negative body length", 84, 0x80},
        {"body one byte longer", 87, 0x0C},
        {"topic longer than the rest", 99, 0x7F},
        {"negative topic length", 99, 0x86},
        {"topic one byte shorter", 99, 5},
        {"properties one byte shorter", 107, 0x87},
        {"properties longer than the rest", 106, 0x01},
        {"negative properties length", 106, 0x80},
        {"born host with IPv6 bit but IPv4 bytes", 39, 0x10},
        {"store host with IPv6 bit", 39, 0x20},
        {"port above 65535", 52, 1},
        {"store port above 65535", 69, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_record rec = worked(), got;
        struct mq_buf buf = encode(&rec);

        print_message("%s\n", cases[i].why);
        buf.base[cases[i].at] = cases[i].byte;
        if (cases[i].at == 3 && cases[i].byte == 0xF3) {
            buf.len--;
        }
        assert_int_equal(proto_record_decode(buf.base, buf.len, &got), MQ_EBADMSG);
        mq_buf_free(&buf);
    }
}

static void a_v1_record_has_no_topic_over_127_bytes(void **state)
{
    struct proto_record rec = worked(), got;
    char topic[200];
    struct mq_buf buf;
    size_t length_at;

    (void)state;
    memset(topic, 't', sizeof(topic));
    rec.topic = (struct mq_str){topic, sizeof(topic)};
    buf = encode(&rec);
    length_at = 88 + rec.body.len;
    memmove(buf.base + length_at, buf.base + length_at + 1, buf.len - length_at - 1); /* one byte is left of two */
    buf.len--;
    mq_be32_store(buf.base + PROTO_RECORD_SIZE_AT, (uint32_t)buf.len);
    mq_be32_store(buf.base + PROTO_RECORD_MAGIC_AT, PROTO_RECORD_MAGIC_V1);
    assert_int_equal(proto_record_decode(buf.base, buf.len, &got), MQ_EBADMSG);
    mq_buf_free(&buf);
}

static void records_follow_each_other_without_padding(void **state)
{
    struct proto_record rec = worked(), got;
    struct mq_buf one = encode(&rec), both = {0};

    (void)state;
    assert_int_equal(mq_buf_put(&both, one.base, one.len), 0);
    assert_int_equal(mq_buf_put(&both, one.base, one.len), 0);
    assert_int_equal(proto_record_decode(both.base, both.len, &got), 0);
    assert_int_equal(proto_record_decode(both.base + got.record_bytes, both.len - got.record_bytes, &got), 0);
    assert_same(&got, &rec);
    mq_buf_free(&one);
    mq_buf_free(&both);
}

static void random_records_come_back_as_they_were(void **state)
{
    struct wire_random random = {42};
    static char body[5000], topic[255], properties[3000];

    (void)state;
    for (int n = 0; n < 500; n++) {
        struct proto_record rec = {.queue_id = (int32_t)wire_random_below(&random, UINT32_MAX),
                                   .flag = (int32_t)wire_random_below(&random, UINT32_MAX),
                                   .qoff = (int64_t)wire_random_below(&random, UINT32_MAX) << 20,
                                   .pos = (int64_t)wire_random_below(&random, UINT32_MAX) << 30,
                                   .born_ms = wire_random_below(&random, UINT32_MAX),
                                   .store_ms = wire_random_below(&random, UINT32_MAX),
                                   .reconsume_times = (int32_t)wire_random_below(&random, 20),
                                   .prepared_pos = wire_random_below(&random, UINT32_MAX)};
        struct proto_record got;
        struct mq_buf buf;

        rec.born_host = (struct proto_host){.ip = {1, 2, 3, 4}, .ip_bytes = 4, .port = (uint16_t)n};
        rec.store_host = (struct proto_host){.ip = {5, 6, 7, 8}, .ip_bytes = 4, .port = 1};
        rec.body = wire_random_text(&random, "ab\x01\xFF", wire_random_below(&random, sizeof(body)), body);
        rec.topic = wire_random_text(&random, "abc%", 1 + wire_random_below(&random, 254), topic);
        rec.properties =
            wire_random_text(&random, "ab\x01\x02", wire_random_below(&random, sizeof(properties)), properties);
        buf = encode(&rec);
        assert_int_equal(proto_record_decode(buf.base, buf.len, &got), 0);
        assert_same(&got, &rec);
        assert_int_equal(got.body_crc, mq_crc32(0, rec.body.at, rec.body.len) & 0x7FFFFFFF);
        mq_buf_free(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_record_is_written_byte_for_byte),
        cmocka_unit_test(the_worked_record_decodes),
        cmocka_unit_test(the_smallest_record_has_91_bytes),
        cmocka_unit_test(a_topic_over_127_bytes_makes_a_v2_record),
        cmocka_unit_test(addresses_decide_the_two_flag_bits),
        cmocka_unit_test(every_cut_of_a_record_wants_more_bytes),
        cmocka_unit_test(records_that_contradict_themselves_are_refused),
        cmocka_unit_test(a_v1_record_has_no_topic_over_127_bytes),
        cmocka_unit_test(records_follow_each_other_without_padding),
        cmocka_unit_test(random_records_come_back_as_they_were),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
