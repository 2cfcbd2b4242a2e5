#include "wire.h"

#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"

#include <stdlib.h>
#include <time.h>

static void an_offset_msg_id_is_host_and_position_in_hex(void **state)
{
    struct proto_host v4 = {{192, 0, 2, 1}, 4, 10911};
    struct proto_host v6 = {{0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16, 10911}, host;
    char id[PROTO_MSG_ID_MAX + 1] = {0};
    int64_t pos;

    (void)state;
    assert_int_equal(proto_offset_msg_id(&v4, 8192, id), 32);
    assert_string_equal(id, "C000020100002A9F0000000000002000");
    assert_int_equal(proto_offset_msg_id_parse(mq_str_of(id), &host, &pos), 0);
    wire_assert_host(&host, &v4);
    assert_int_equal(pos, 8192);

    assert_int_equal(proto_offset_msg_id(&v6, INT64_MAX, id), 56);
    assert_string_equal(id, "20010DB800000000000000000000000100002A9F7FFFFFFFFFFFFFFF");
    assert_int_equal(proto_offset_msg_id_parse(mq_str_of(id), &host, &pos), 0);
    wire_assert_host(&host, &v6);
    assert_int_equal(pos, INT64_MAX);

    assert_int_equal(proto_offset_msg_id_parse(MQ_STR("c000020100002a9f0000000000002000"), &host, &pos), 0);
    assert_int_equal(host.port, 10911);
}

static void what_is_no_offset_msg_id_is_refused(void **state)
{
    static const char *const cases[] = {"",
                                        "C000020100002A9F000000000000200",
                                        "C000020100002A9F00000000000020000",
                                        "G000020100002A9F0000000000002000",
                                        "C000020100012A9F0000000000002000",
                                        "0"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_host host = {.port = 77};
        int64_t pos = 77;

        assert_int_equal(proto_offset_msg_id_parse(mq_str_of(cases[i]), &host, &pos), MQ_EINVAL);
        assert_int_equal(host.port, 77);
        assert_int_equal(pos, 77);
    }
}

static void unique_keys_differ_within_a_millisecond(void **state)
{
    static const uint8_t IP[4] = {192, 0, 2, 10};
    struct proto_uniq_key gen;
    char first[32], second[32];

    (void)state;
    proto_uniq_key_init(&gen, IP, 1700000000000);
    proto_uniq_key_next(&gen, 1700000000000, first);
    proto_uniq_key_next(&gen, 1700000000000, second);
    assert_memory_equal(first, "C000020A", 8);
    assert_memory_equal(first, second, 28);
    assert_memory_not_equal(first + 28, second + 28, 4);
}

static void the_time_of_a_unique_key_starts_anew_each_month(void **state)
{
    static const uint8_t IP[4] = {192, 0, 2, 10};
    struct tm first = {.tm_year = 2024 - 1900, .tm_mon = 11, .tm_mday = 1, .tm_isdst = -1};
    struct tm next = {.tm_year = 2025 - 1900, .tm_mon = 0, .tm_mday = 1, .tm_isdst = -1};
    int64_t first_ms = (int64_t)mktime(&first) * 1000, next_ms = (int64_t)mktime(&next) * 1000;
    struct proto_uniq_key gen;
    char key[32];

    (void)state;
    proto_uniq_key_init(&gen, IP, first_ms + 5);
    proto_uniq_key_next(&gen, first_ms + 5, key);
    assert_memory_equal(key + 20, "00000005", 8);
    proto_uniq_key_next(&gen, next_ms - 1, key);
    assert_memory_equal(key + 20, "9FA523FF", 8); /* 31 days */
    proto_uniq_key_next(&gen, next_ms, key);
    assert_memory_equal(key + 20, "00000000", 8);
    proto_uniq_key_next(&gen, first_ms, key); /* the clock was set back */
    assert_memory_equal(key + 20, "00000000", 8);
    assert_memory_equal(key + 28, "0003", 4);
}

/* A worked example that RocketMQ's own Java code decodes. */
static const char WORKED_BATCH[] = "00000024 00000000 00000000 00000000 00000002 6d31 000c 554e49515f4b455901413102"
                                   "0000002c 00000000 00000000 00000000 00000003 6d3232 0013"
                                   "554e49515f4b455901413202 54414753017402";

static void the_worked_batch_is_written_and_read(void **state)
{
    struct proto_batch_item one = {0, MQ_STR("m1"),
                                   MQ_STR("UNIQ_KEY\x01"
                                          "A1\x02")};
    struct proto_batch_item two = {0, MQ_STR("m22"),
                                   MQ_STR("UNIQ_KEY\x01"
                                          "A2\x02TAGS\x01t\x02")};
    struct proto_batch_item got;
    struct mq_buf buf = {0};
    struct mq_str rest;

    (void)state;
    assert_int_equal(proto_batch_put(&buf, &one), 0);
    assert_int_equal(proto_batch_put(&buf, &two), 0);
    assert_int_equal(buf.len, 80);
    wire_assert_bytes(&buf, WORKED_BATCH);

    rest = mq_buf_str(&buf);
    assert_int_equal(proto_batch_next(&rest, &got), 1);
    wire_assert_str(got.body, "m1");
    wire_assert_str(got.properties, "UNIQ_KEY\x01"
                                    "A1\x02");
    assert_int_equal(proto_batch_next(&rest, &got), 1);
    wire_assert_str(got.body, "m22");
    wire_assert_str(proto_properties_get(got.properties, PROTO_PROP_TAGS), "t");
    assert_int_equal(proto_batch_next(&rest, &got), 0);
    mq_buf_free(&buf);
}

static void flag_and_empty_parts_of_a_batch_come_back(void **state)
{
    struct proto_batch_item item = {-5, {0}, {0}}, got;
    struct mq_buf buf = {0};
    struct mq_str rest;

    (void)state;
    assert_int_equal(proto_batch_put(&buf, &item), 0);
    assert_int_equal(buf.len, 22);
    rest = mq_buf_str(&buf);
    assert_int_equal(proto_batch_next(&rest, &got), 1);
    assert_int_equal(got.flag, -5);
    assert_int_equal(got.body.len, 0);
    assert_int_equal(got.properties.len, 0);
    mq_buf_free(&buf);
}

static void a_batch_that_ends_in_a_message_is_refused(void **state)
{
    struct mq_buf buf = {0};

    (void)state;
    wire_hex(&buf, WORKED_BATCH);
    for (uint32_t n = 1; n < buf.len; n++) {
        char *cut = wire_exact(buf.base, n);
        struct mq_str rest = {cut, n}, before = rest;
        struct proto_batch_item got;
        int rc = proto_batch_next(&rest, &got);

        if (n < 36) {
            assert_int_equal(rc, MQ_EBADMSG);
            assert_memory_equal(&rest, &before, sizeof(rest));
        } else {
            assert_int_equal(rc, 1);
            assert_int_equal(proto_batch_next(&rest, &got), n == 36 ? 0 : MQ_EBADMSG);
        }
        free(cut);
    }
    mq_buf_free(&buf);
}

static void lengths_that_are_negative_or_too_long_are_refused(void **state)
{
    static const char *const cases[] = {
        "00000024 00000000 00000000 00000000 ffffffff 6d31 000c",
        "00000024 00000000 00000000 00000000 00000100 6d31 000c",
        "00000024 00000000 00000000 00000000 00000002 6d31 000c",
        "00000024 00000000 00000000 00000000 00000002 6d31 ffff",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf buf = {0};
        struct proto_batch_item got;
        struct mq_str rest;

        wire_hex(&buf, cases[i]);
        rest = mq_buf_str(&buf);
        assert_int_equal(proto_batch_next(&rest, &got), MQ_EBADMSG);
        mq_buf_free(&buf);
    }
}

static void properties_of_a_batch_message_end_at_32767_bytes(void **state)
{
    static char text[PROTO_PROPERTIES_MAX + 1];

    (void)state;
    for (uint32_t n = PROTO_PROPERTIES_MAX; n <= PROTO_PROPERTIES_MAX + 1; n++) {
        struct proto_batch_item item = {0, MQ_STR("m"), {text, n}}, got;
        struct mq_buf buf = {0};
        struct mq_str rest;

        assert_int_equal(proto_batch_put(&buf, &item), 0);
        rest = mq_buf_str(&buf);
        assert_int_equal(proto_batch_next(&rest, &got), n == PROTO_PROPERTIES_MAX ? 1 : MQ_EBADMSG);
        mq_buf_free(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_offset_msg_id_is_host_and_position_in_hex),
        cmocka_unit_test(what_is_no_offset_msg_id_is_refused),
        cmocka_unit_test(unique_keys_differ_within_a_millisecond),
        cmocka_unit_test(the_time_of_a_unique_key_starts_anew_each_month),
        cmocka_unit_test(the_worked_batch_is_written_and_read),
        cmocka_unit_test(flag_and_empty_parts_of_a_batch_come_back),
        cmocka_unit_test(a_batch_that_ends_in_a_message_is_refused),
        cmocka_unit_test(properties_of_a_batch_message_end_at_32767_bytes),
        cmocka_unit_test(lengths_that_are_negative_or_too_long_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
