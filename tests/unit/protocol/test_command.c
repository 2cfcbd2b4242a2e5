#include "wire.h"

#include "remoting/base/heap.h"
#include "remoting/protocol/command.h"
#include "remoting/protocol/frame.h"

#include <stdio.h>
#include <stdlib.h>

/* A decoded command and the frame its slices point into. */
struct decoded {
    uint8_t *frame;
    int rc;
    struct proto_command command;
};

static struct decoded *decode_frame(const struct mq_buf *frame)
{
    struct decoded *d = calloc(1, sizeof(*d));

    assert_non_null(d);
    d->frame = wire_exact(frame->base, frame->len);
    d->rc = proto_command_decode(d->frame, frame->len, &d->command);
    return d;
}

static struct decoded *decode_json(struct mq_str header)
{
    struct mq_buf frame = {0};
    struct decoded *d;

    wire_frame(&frame, PROTO_JSON, header, MQ_STR("body"));
    d = decode_frame(&frame);
    mq_buf_free(&frame);
    return d;
}

static void decoded_free(struct decoded *d)
{
    free(d->frame);
    free(d);
}

static struct mq_str field(const struct decoded *d, const char *key)
{
    return proto_fields_get(&d->command.fields, mq_str_of(key));
}

#define PROPERTIES                                                                                                   \
    "UNIQ_KEY\x01"                                                                                                   \
    "C000020A30390000000100000BB80001\x02"                                                                           \
    "WAIT\x01true\x02KEYS\x01o-1001\x02TAGS\x01paid\x02"

static const char SEND_JSON[] =
    "{\"code\":310,\"extFields\":{\"a\":\"PG_ORDERS\",\"b\":\"orders\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"3\","
    "\"f\":\"0\",\"g\":\"1700000000000\",\"h\":\"0\",\"i\":\"UNIQ_KEY\\u0001C000020A30390000000100000BB80001\\u0002"
    "WAIT\\u0001true\\u0002KEYS\\u0001o-1001\\u0002TAGS\\u0001paid\\u0002\",\"j\":\"0\",\"k\":\"false\","
    "\"m\":\"false\",\"n\":\"broker-a\"},\"flag\":0,\"language\":\"OTHER\",\"opaque\":1001,\"version\":413}";

/* A worked example that RocketMQ's own Java code decodes. */
static const char SEND_BINARY[] =
    "00000102 010000f3 0136 07 019d 000003e9 00000000 00000000 000000de"
    "0001 61 00000009 50475f4f5244455253  0001 62 00000006 6f7264657273  0001 63 00000006 544257313032"
    "0001 64 00000001 34  0001 65 00000001 33  0001 66 00000001 30"
    "0001 67 0000000d 31373030303030303030303030  0001 68 00000001 30"
    "0001 69 0000004a 554e49515f4b455901 43303030303230413330333930303030303030313030303030424238303030 31 02"
    "574149540174727565 02 4b455953016f2d31303031 02 54414753017061696402"
    "0001 6a 00000001 30  0001 6b 00000005 66616c7365  0001 6d 00000005 66616c7365"
    "0001 6e 00000008 62726f6b65722d61"
    "7b226964223a313030317d";

static void check_send(const struct decoded *d)
{
    assert_int_equal(d->rc, 0);
    assert_int_equal(d->command.code, 310);
    assert_int_equal(d->command.language, 7);
    assert_int_equal(d->command.version, 413);
    assert_int_equal(d->command.opaque, 1001);
    assert_int_equal(d->command.flag, 0);
    wire_assert_str(d->command.remark, NULL);
    assert_int_equal(d->command.fields.count, 13);
    wire_assert_str(field(d, "a"), "PG_ORDERS");
    wire_assert_str(field(d, "g"), "1700000000000");
    wire_assert_str(field(d, "i"), PROPERTIES);
    wire_assert_str(field(d, "n"), "broker-a");
    wire_assert_str((struct mq_str){(const char *)d->command.body, d->command.body_bytes}, "{\"id\":1001}");
}

static void the_worked_send_decodes_from_json(void **state)
{
    struct mq_buf frame = {0};
    struct decoded *d;

    (void)state;
    wire_frame(&frame, PROTO_JSON, MQ_STR(SEND_JSON), MQ_STR("{\"id\":1001}"));
    assert_int_equal(frame.len, 363);
    assert_int_equal(mq_be32_load(frame.base), 0x167);
    assert_int_equal(mq_be32_load(frame.base + 4), 0x158);
    d = decode_frame(&frame);
    check_send(d);
    assert_int_equal(d->command.encoding, PROTO_JSON);
    decoded_free(d);
    mq_buf_free(&frame);
}

static void the_worked_send_decodes_from_binary(void **state)
{
    struct mq_buf frame = {0};
    struct decoded *d;

    (void)state;
    wire_hex(&frame, SEND_BINARY);
    assert_int_equal(frame.len, 262);
    d = decode_frame(&frame);
    check_send(d);
    assert_int_equal(d->command.encoding, PROTO_BINARY);
    decoded_free(d);
    mq_buf_free(&frame);
}

static void the_smallest_binary_route_request_decodes(void **state)
{
    struct mq_buf frame = {0};
    struct decoded *d;

    (void)state;
    wire_hex(&frame, "0000002a 01000026 0069 07 019d 00000007 00000000 00000000 00000011 0005 746f706963"
                     "00000006 6f7264657273");
    assert_int_equal(frame.len, 46);
    d = decode_frame(&frame);
    assert_int_equal(d->rc, 0);
    assert_int_equal(d->command.code, 105);
    assert_int_equal(d->command.opaque, 7);
    wire_assert_str(field(d, "topic"), "orders");
    assert_int_equal(d->command.body_bytes, 0);
    decoded_free(d);
    mq_buf_free(&frame);
}

static void the_send_as_4_9_7_writes_it_decodes(void **state)
{
    struct decoded *d = decode_json(
        MQ_STR("{\"code\":310,\"extFields\":{\"a\":\"PG_497\",\"b\":\"TestTopic\",\"c\":\"TBW102\",\"d\":\"4\","
               "\"e\":\"3\",\"f\":\"0\",\"g\":\"1795248333145\",\"h\":\"0\",\"i\":\"KEYS\\u0001k1\\u0002"
               "UNIQ_KEY\\u0001FD0000\\u0002WAIT\\u0001true\\u0002TAGS\\u0001TagA\",\"j\":\"0\",\"k\":\"false\","
               "\"m\":\"false\",\"n\":\"broker-a\"},\"flag\":0,\"language\":\"JAVA\",\"opaque\":5,"
               "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":407}"));

    (void)state;
    assert_int_equal(d->rc, 0);
    assert_int_equal(d->command.language, 0);
    assert_int_equal(d->command.opaque, 5);
    wire_assert_str(field(d, "i"), "KEYS\x01k1\x02UNIQ_KEY\x01"
                                   "FD0000\x02WAIT\x01true\x02TAGS\x01TagA");
    decoded_free(d);
}

/* Numbers among the ext fields, empty signature fields, a trailing line feed: RocketMQ's RemotingCommand. */
static void the_json_of_cpp_clients_decodes(void **state)
{
    struct decoded *d = decode_json(MQ_STR(
        "{\"code\":310,\"extFields\":{\"AccessKey\":\"\",\"OnsChannel\":\"\",\"Signature\":\"\",\"a\":\"PG\",\"d\":4,"
        "\"e\":-1,"
        "\"m\":true,\"x\":null,\"y\":1.5e3},\"flag\":0,\"language\":\"CPP\",\"opaque\":2147483647,\"remark\":\"\","
        "\"version\":333}\n"));

    (void)state;
    assert_int_equal(d->rc, 0);
    assert_int_equal(d->command.language, 1);
    assert_int_equal(d->command.opaque, INT32_MAX);
    wire_assert_str(d->command.remark, "");
    wire_assert_str(field(d, "AccessKey"), "");
    wire_assert_str(field(d, "d"), "4");
    wire_assert_str(field(d, "e"), "-1");
    wire_assert_str(field(d, "m"), "true");
    wire_assert_str(field(d, "x"), NULL);
    wire_assert_str(field(d, "y"), "1.5e3");
    decoded_free(d);
}

static void what_a_json_header_may_leave_out_or_add(void **state)
{
    static const struct {
        const char *header;
        int32_t code, language, version, opaque, flag;
    } cases[] = {
        {"{}", 0, 7, 0, 0, 0},
        {" { } \r\n\t", 0, 7, 0, 0, 0},
        {"{\"code\":10}", 10, 7, 0, 0, 0},
        {"{\"code\":\"10\",\"opaque\":\"-5\"}", 10, 7, 0, -5, 0},
        {"{\"code\":10,\"language\":0,\"flag\":2}", 10, 0, 0, 0, 2},
        {"{\"code\":10,\"language\":\"GO\",\"version\":317}", 10, 9, 317, 0, 0},
        {"{\"code\":10,\"language\":\"RUST\"}", 10, 12, 0, 0, 0},
        {"{\"code\":10,\"language\":\"KLINGON\"}", 10, 7, 0, 0, 0},
        {"{\"code\":10,\"language\":200}", 10, 7, 0, 0, 0},
        {"{\"code\":10,\"language\":null,\"extFields\":null,\"remark\":null}", 10, 7, 0, 0, 0},
        {"{\"code\":10,\"unknown\":{\"deep\":[1,{\"a\":[]}]},\"opaque\":-2147483648}", 10, 7, 0, INT32_MIN, 0},
        {"{\"code\":10,\"code\":11}", 11, 7, 0, 0, 0},
        {"{ \"code\" : 10 , \"opaque\" :\t3 ,\n\"extFields\" : { \"a\" : \"b\" , \"c\" : 1 } }", 10, 7, 0, 3, 0},
        {"{\"\\u0063ode\":10}", 10, 7, 0, 0, 0},
        {"{\"code\":10,\"flag\":1,\"version\":1000000000}", 10, 7, 1000000000, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct decoded *d = decode_json(mq_str_of(cases[i].header));

        print_message("%s\n", cases[i].header);
        assert_int_equal(d->rc, 0);
        assert_int_equal(d->command.code, cases[i].code);
        assert_int_equal(d->command.language, cases[i].language);
        assert_int_equal(d->command.version, cases[i].version);
        assert_int_equal(d->command.opaque, cases[i].opaque);
        assert_int_equal(d->command.flag, cases[i].flag);
        assert_int_equal(d->command.body_bytes, 4);
        decoded_free(d);
    }
}

static void json_that_does_not_parse_is_refused(void **state)
{
    static const char *const cases[] = {
        "",
        " ",
        "{",
        "}",
        "[]",
        "null",
        "\"code\"",
        "{\"code\":310",
        "{\"code\":310,}",
        "{,\"code\":310}",
        "{\"code\":310}}",
        "{\"code\":310} x",
        "{\"code\":310}{\"code\":310}",
        "{\"code\" 310}",
        "{\"code\":}",
        "{\"code\":\"abc\"}",
        "{\"code\":2147483648}",
        "{\"code\":1.5}",
        "{\"code\":007}",
        "{\"code\":-}",
        "{\"code\":12abc}",
        "{code:310}",
        "{'code':310}",
        "{\"code\":310 \"flag\":0}",
        "{\"code\":310,\"extFields\":[]}x",
        "{\"code\":310,\"extFields\":\"a\"}",
        "{\"code\":310,\"extFields\":7}",
        "{\"code\":310,\"extFields\":{\"a\"}}",
        "{\"code\":310,\"extFields\":{\"a\":}}",
        "{\"code\":310,\"extFields\":{\"a\":\"b\",}}",
        "{\"code\":310,\"extFields\":{\"a\":\"b\" \"c\":\"d\"}}",
        "{\"code\":310,\"extFields\":{\"a\":\"b}}",
        "{\"code\":310,\"extFields\":{\"a\":\"b\\\"}}",
        "{\"code\":310,\"extFields\":{\"a\":\"\\u00\"}}",
        "{\"code\":310,\"extFields\":{\"a\":\"\\u00zz\"}}",
        "{\"code\":310,\"extFields\":{\"a\":\"\\u0001\\x\"}}",
        "{\"code\":310,\"extFields\":{\"a\":\"\\u0001",
        "{\"code\":310,\"extFields\":{\"a\":\"\\u0001bc",
        "{\"code\":310,\"extFields\":{\"a\":tru}}",
        "{\"code\":310,\"extFields\":{\"a\":{\"b\":1}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct decoded *d = decode_json(mq_str_of(cases[i]));

        print_message("%s\n", cases[i]);
        assert_int_equal(d->rc, MQ_EBADMSG);
        decoded_free(d);
    }
}

static void deep_json_is_refused_and_not_followed(void **state)
{
    struct mq_buf header = {0};
    struct decoded *d;

    (void)state;
    assert_int_equal(mq_buf_put_str(&header, MQ_STR("{\"unknown\":")), 0);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(mq_buf_put_u8(&header, '['), 0);
    }
    d = decode_json(mq_buf_str(&header));
    assert_int_equal(d->rc, MQ_EBADMSG);
    decoded_free(d);
    mq_buf_free(&header);
}

static void escapes_of_every_kind_are_decoded_in_place(void **state)
{
    static const struct {
        const char *escaped, *want;
    } cases[] = {
        {"a\\u0001b", "a\x01"
                      "b"},
        {"\\u0001\\u0002\\u001F\\u007f", "\x01\x02\x1F\x7F"},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"\\u00e4", "\xC3\xA4"},
        {"\\u0001\\u0085\\u0099", "\x01\xC2\x85\xC2\x99"},
        {"x\\u0001\\u4e2d\\u6587\\u0002y", "x\x01\xE4\xB8\xAD\xE6\x96\x87\x02y"},
        {"x\\u0001\\ud83d\\ude00", "x\x01\xF0\x9F\x98\x80"},
        {"\\u0001\\n\\u0002\\t tail", "\x01\n\x02\t tail"},
        {"\\n\\u0001tail", "\n\x01tail"},
        {"\\ud800", "\xEF\xBF\xBD"},
        {"plain \xC3\xA4", "plain \xC3\xA4"},
    };
    char header[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct decoded *d;

        print_message("%s\n", cases[i].escaped);
        snprintf(header, sizeof(header), "{\"extFields\":{\"k\":\"%s\",\"next\":\"n\"},\"remark\":\"%s\"}",
                 cases[i].escaped, cases[i].escaped);
        d = decode_json(mq_str_of(header));
        assert_int_equal(d->rc, 0);
        wire_assert_str(field(d, "k"), cases[i].want);
        wire_assert_str(field(d, "next"), "n");
        wire_assert_str(d->command.remark, cases[i].want);
        decoded_free(d);
    }
}

static void the_last_of_two_fields_of_one_name_counts(void **state)
{
    struct decoded *d = decode_json(MQ_STR("{\"extFields\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\",\"b\":null}}"));

    (void)state;
    assert_int_equal(d->rc, 0);
    wire_assert_str(field(d, "a"), "3");
    wire_assert_str(field(d, "b"), NULL);
    wire_assert_str(field(d, "c"), NULL);
    decoded_free(d);
}

/* A header with @count ext fields. */
static void many_fields(struct mq_buf *header, unsigned count)
{
    assert_int_equal(mq_buf_put_str(header, MQ_STR("{\"extFields\":{")), 0);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(mq_buf_printf(header, "%s\"k%u\":\"v\"", i == 0 ? "" : ",", i), 0);
    }
    assert_int_equal(mq_buf_put_str(header, MQ_STR("}}")), 0);
}

static void more_fields_than_the_limit_are_refused(void **state)
{
    static const struct {
        unsigned count;
        int want;
    } cases[] = {{PROTO_FIELDS_MAX, 0}, {PROTO_FIELDS_MAX + 1, MQ_ETOOBIG}, {5000, MQ_ETOOBIG}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf header = {0};
        struct decoded *d;

        many_fields(&header, cases[i].count);
        d = decode_json(mq_buf_str(&header));
        assert_int_equal(d->rc, cases[i].want);
        decoded_free(d);
        mq_buf_free(&header);
    }
}

static void a_header_over_the_limit_is_refused(void **state)
{
    struct mq_buf header = {0};
    struct decoded *d;

    (void)state;
    assert_int_equal(mq_buf_put_str(&header, MQ_STR("{\"remark\":\"")), 0);
    while (header.len < PROTO_HEADER_MAX) {
        assert_int_equal(mq_buf_put_u8(&header, 'x'), 0);
    }
    assert_int_equal(mq_buf_put_str(&header, MQ_STR("\"}")), 0);
    d = decode_json(mq_buf_str(&header));
    assert_int_equal(d->rc, MQ_ETOOBIG);
    decoded_free(d);
    mq_buf_free(&header);
}

static void frames_that_contradict_themselves_are_refused(void **state)
{
    static const struct {
        const char *why, *hex;
    } cases[] = {
        {"no header word", "00000000"},
        {"the length word does not count these bytes", "00000007 00000002 7b7d"},
        {"the header is longer than the frame", "00000006 00000003 7b7d"},
        {"the header is longer than any frame", "00000006 00ffffff 7b7d"},
        {"encoding 2", "00000006 02000002 7b7d"},
        {"encoding 255", "00000006 ff000002 7b7d"},
        {"no header in JSON", "00000004 00000000"},
        {"no header in binary", "00000004 01000000"},
        {"binary, cut in the fixed part", "00000008 01000004 0069 07 01"},
        {"binary, remark longer than the header",
         "00000019 01000015 0069 07 019d 00000007 00000000 00000001 00000000"},
        {"binary, negative remark length", "00000019 01000015 0069 07 019d 00000007 00000000 ffffffff 00000000"},
        {"binary, entries longer than the header",
         "00000019 01000015 0069 07 019d 00000007 00000000 00000000 00000001"},
        {"binary, bytes behind the entries", "0000001a 01000016 0069 07 019d 00000007 00000000 00000000 00000000 00"},
        {"binary, an entry that the length does not count",
         "00000022 0100001e 0069 07 019d 00000007 00000000 00000000 00000000 0002 6162 00000001 63"},
        {"binary, key longer than the entries",
         "0000001c 01000018 0069 07 019d 00000007 00000000 00000000 00000003 0002 61"},
        {"binary, negative key length", "0000001c 01000018 0069 07 019d 00000007 00000000 00000000 00000003 ffff 61"},
        {"binary, value longer than the entries",
         "00000021 0100001d 0069 07 019d 00000007 00000000 00000000 00000008 0001 61 00000002 62"},
        {"binary, negative value length",
         "00000021 0100001d 0069 07 019d 00000007 00000000 00000000 00000008 0001 61 80000000 62"},
        {"binary, no value length", "0000001c 01000018 0069 07 019d 00000007 00000000 00000000 00000003 0001 61"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf frame = {0};
        struct decoded *d;

        print_message("%s\n", cases[i].why);
        wire_hex(&frame, cases[i].hex);
        d = decode_frame(&frame);
        assert_int_equal(d->rc, MQ_EBADMSG);
        decoded_free(d);
        mq_buf_free(&frame);
    }
}

static void a_binary_key_over_32767_bytes_is_refused(void **state)
{
    struct mq_buf frame = {0};
    struct decoded *d;

    (void)state;
    wire_hex(&frame, "0000801f 0100801b 0069 07 019d 00000007 00000000 00000000 00008006 8000");
    while (frame.len < 0x8000 + 31) {
        assert_int_equal(mq_buf_put_u8(&frame, 'k'), 0);
    }
    assert_int_equal(mq_buf_put_be32(&frame, 0), 0);
    d = decode_frame(&frame);
    assert_int_equal(frame.len, mq_be32_load(frame.base) + 4);
    assert_int_equal(d->rc, MQ_EBADMSG);
    decoded_free(d);
    mq_buf_free(&frame);
}

static void binary_text_without_bytes_is_absent(void **state)
{
    struct mq_buf frame = {0};
    struct decoded *d;

    (void)state;
    wire_hex(&frame, "00000020 0100001c ffff 63 fffe ffffffff 00000001 00000000 00000007 0001 61 00000000");
    d = decode_frame(&frame);
    assert_int_equal(d->rc, 0);
    assert_int_equal(d->command.code, -1);
    assert_int_equal(d->command.language, 7);
    assert_int_equal(d->command.version, -2);
    assert_int_equal(d->command.opaque, -1);
    assert_int_equal(d->command.flag, PROTO_FLAG_RESPONSE);
    wire_assert_str(d->command.remark, NULL);
    assert_int_equal(d->command.fields.count, 1);
    wire_assert_str(field(d, "a"), NULL);
    decoded_free(d);
    mq_buf_free(&frame);
}

static void binary_fields_over_the_limit_are_refused(void **state)
{
    struct proto_head head = {.code = 1, .encoding = PROTO_BINARY};
    struct mq_buf frame = {0};
    struct proto_writer w;
    struct decoded *d;

    (void)state;
    proto_begin(&w, &frame, &head);
    for (int i = 0; i <= PROTO_FIELDS_MAX; i++) {
        proto_put_i64(&w, MQ_STR("k"), i);
    }
    assert_int_equal(proto_end(&w, 0), 0);
    d = decode_frame(&frame);
    assert_int_equal(d->rc, MQ_ETOOBIG);
    decoded_free(d);
    mq_buf_free(&frame);
}

static void json_is_written_with_strings_only(void **state)
{
    struct proto_head head = {.code = 0, .opaque = -7, .flag = PROTO_FLAG_RESPONSE, .remark = MQ_STR("a \"b\"\n")};
    struct mq_buf frame = {0};
    struct proto_writer w;

    (void)state;
    proto_begin(&w, &frame, &head);
    proto_put_str(&w, MQ_STR("msgId"), MQ_STR("C0000201"));
    proto_put_i64(&w, MQ_STR("queueId"), 3);
    proto_put_bool(&w, MQ_STR("TRACE_ON"), true);
    proto_put_str(&w, MQ_STR("absent"), (struct mq_str){0});
    proto_put_str(&w, MQ_STR("empty"), MQ_STR(""));
    proto_put_str(&w, MQ_STR("p"), MQ_STR("K\x01V\x02"));
    assert_int_equal(proto_end(&w, 5), 0);
    assert_int_equal(mq_be32_load(frame.base), frame.len - 4 + 5);
    assert_int_equal(mq_be32_load(frame.base + 4), frame.len - 8);
    wire_assert_str((struct mq_str){(const char *)frame.base + 8, (uint32_t)frame.len - 8},
                    "{\"code\":0,\"flag\":1,\"language\":\"OTHER\",\"opaque\":-7,\"remark\":\"a \\\"b\\\"\\u000a\","
                    "\"version\":479,\"extFields\":{\"msgId\":\"C0000201\",\"queueId\":\"3\",\"TRACE_ON\":\"true\","
                    "\"empty\":\"\",\"p\":\"K\\u0001V\\u0002\"}}");
    mq_buf_free(&frame);
}

static void a_command_without_fields_has_an_empty_map(void **state)
{
    struct proto_head head = {.code = 34, .opaque = 1};
    struct mq_buf frame = {0};
    struct proto_writer w;

    (void)state;
    assert_int_equal(mq_buf_put_str(&frame, MQ_STR("before")), 0);
    proto_begin(&w, &frame, &head);
    assert_int_equal(proto_end(&w, 0), 0);
    wire_assert_str((struct mq_str){(const char *)frame.base + 14, (uint32_t)frame.len - 14},
                    "{\"code\":34,\"flag\":0,\"language\":\"OTHER\",\"opaque\":1,\"version\":479,\"extFields\":{}}");
    mq_buf_free(&frame);
}

static void the_binary_form_is_written_byte_for_byte(void **state)
{
    struct proto_head head = {.code = 105, .opaque = 7, .remark = MQ_STR("hi"), .encoding = PROTO_BINARY};
    struct mq_buf frame = {0};
    struct proto_writer w;

    (void)state;
    proto_begin(&w, &frame, &head);
    proto_put_str(&w, MQ_STR("topic"), MQ_STR("orders"));
    proto_put_bool(&w, MQ_STR("x"), false);
    assert_int_equal(proto_end(&w, 2), 0);
    wire_assert_bytes(&frame, "0000003a 01000034 0069 07 01df 00000007 00000000 00000002 6869 0000001d"
                              "0005 746f706963 00000006 6f7264657273 0001 78 00000005 66616c7365");
    mq_buf_free(&frame);
}

static void what_does_not_fit_the_wire_leaves_the_buffer_as_it_was(void **state)
{
    static char long_key[40000];
    struct mq_buf frame = {0};
    struct proto_writer w;
    struct proto_head head = {.code = 200050, .encoding = PROTO_BINARY};

    (void)state;
    assert_int_equal(mq_buf_put_str(&frame, MQ_STR("before")), 0);
    proto_begin(&w, &frame, &head);
    proto_put_i64(&w, MQ_STR("k"), 1);
    assert_int_equal(proto_end(&w, 0), MQ_ETOOBIG);
    assert_int_equal(frame.len, 6);

    head.code = 10;
    proto_begin(&w, &frame, &head);
    proto_put_i64(&w, (struct mq_str){long_key, sizeof(long_key)}, 1);
    assert_int_equal(proto_end(&w, 0), MQ_ETOOBIG);
    assert_int_equal(frame.len, 6);

    head.encoding = PROTO_JSON;
    proto_begin(&w, &frame, &head);
    assert_int_equal(proto_end(&w, PROTO_FRAME_MAX), MQ_ETOOBIG);
    assert_int_equal(frame.len, 6);

    proto_begin(&w, &frame, &head);
    assert_int_equal(proto_end(&w, SIZE_MAX), MQ_ETOOBIG);
    assert_int_equal(frame.len, 6);
    mq_buf_free(&frame);
}

static void the_largest_frame_is_written(void **state)
{
    struct proto_head head = {.code = 10};
    struct mq_buf frame = {0};
    struct proto_writer w;
    uint32_t length;
    size_t header;

    (void)state;
    proto_begin(&w, &frame, &head);
    assert_int_equal(proto_end(&w, 0), 0);
    header = frame.len;
    frame.len = 0;
    proto_begin(&w, &frame, &head);
    assert_int_equal(proto_end(&w, PROTO_FRAME_MAX - header), 0);
    assert_int_equal(proto_frame_length(frame.base, frame.len, &length), 0);
    assert_int_equal(length, PROTO_FRAME_MAX);
    frame.len = 0;
    proto_begin(&w, &frame, &head);
    assert_int_equal(proto_end(&w, PROTO_FRAME_MAX - header + 1), MQ_ETOOBIG);
    mq_buf_free(&frame);
}

static int write_something(struct mq_buf *frame, enum proto_encoding encoding)
{
    struct proto_head head = {.code = 1, .encoding = encoding, .remark = MQ_STR("a remark")};
    struct proto_writer w;
    char text[300];

    memset(text, 1, sizeof(text));
    proto_begin(&w, frame, &head);
    proto_put_str(&w, MQ_STR("key"), (struct mq_str){text, sizeof(text)});
    proto_put_i64(&w, MQ_STR("number"), INT64_MIN);
    proto_put_str(&w, MQ_STR("key"), (struct mq_str){text, sizeof(text)});
    return proto_end(&w, 0);
}

static void an_allocation_that_fails_is_told_at_the_end(void **state)
{
    (void)state;
    for (int encoding = PROTO_JSON; encoding <= PROTO_BINARY; encoding++) {
        struct mq_buf frame = {0};
        unsigned nth = 0;
        int rc;

        do {
            mq_buf_free(&frame);
            mq_heap_fail_at(++nth);
            rc = write_something(&frame, (enum proto_encoding)encoding);
            mq_heap_fail_at(0);
            if (rc != 0) {
                assert_int_equal(rc, MQ_ENOMEM);
                assert_int_equal(frame.len, 0);
            }
        } while (rc != 0);
        assert_true(nth > 2);
        mq_buf_free(&frame);
    }
}

struct random_command {
    struct proto_head head;
    unsigned count;
    char keys[8][16], values[8][64];
    struct mq_str key[8], value[8];
    char remark[64];
};

static void make_random(struct wire_random *random, struct random_command *c)
{
    static const char ALPHABET[] = "ab\"\\/\x01\x02\x1f\n {}:,u0\xC3\xA4";

    c->head = (struct proto_head){.code = (int32_t)wire_random_below(random, 65536) - 32768,
                                  .opaque = (int32_t)wire_random_below(random, UINT32_MAX),
                                  .flag = (int32_t)wire_random_below(random, 4),
                                  .encoding = (enum proto_encoding)wire_random_below(random, 2)};
    c->head.remark = wire_random_text(random, ALPHABET, 1 + wire_random_below(random, 60), c->remark);
    c->count = wire_random_below(random, 9);
    for (unsigned i = 0; i < c->count; i++) {
        c->key[i] = wire_random_text(random, "abcdefgh", 1 + wire_random_below(random, 15), c->keys[i]);
        c->keys[i][0] = (char)('0' + i);
        c->value[i] = wire_random_text(random, ALPHABET, 1 + wire_random_below(random, 60), c->values[i]);
    }
}

static void random_commands_come_back_as_they_were(void **state)
{
    struct wire_random random = {20260101};

    (void)state;
    for (int n = 0; n < 3000; n++) {
        struct random_command c;
        struct mq_buf frame = {0};
        struct proto_writer w;
        struct decoded *d;

        make_random(&random, &c);
        proto_begin(&w, &frame, &c.head);
        for (unsigned i = 0; i < c.count; i++) {
            proto_put_str(&w, c.key[i], c.value[i]);
        }
        assert_int_equal(proto_end(&w, 3), 0);
        assert_int_equal(mq_buf_put(&frame, "xyz", 3), 0);
        d = decode_frame(&frame);
        assert_int_equal(d->rc, 0);
        assert_int_equal(d->command.code, c.head.code);
        assert_int_equal(d->command.opaque, c.head.opaque);
        assert_int_equal(d->command.flag, c.head.flag);
        assert_int_equal(d->command.version, PROTO_VERSION);
        assert_int_equal(d->command.language, PROTO_LANGUAGE_OTHER);
        assert_int_equal(d->command.encoding, c.head.encoding);
        assert_true(mq_str_eq(d->command.remark, c.head.remark));
        assert_int_equal(d->command.fields.count, c.count);
        for (unsigned i = 0; i < c.count; i++) {
            assert_true(mq_str_eq(proto_fields_get(&d->command.fields, c.key[i]), c.value[i]));
        }
        assert_int_equal(d->command.body_bytes, 3);
        assert_memory_equal(d->command.body, "xyz", 3);
        decoded_free(d);
        mq_buf_free(&frame);
    }
}

static void every_cut_of_a_frame_is_refused(void **state)
{
    struct mq_buf frame = {0};

    (void)state;
    wire_frame(&frame, PROTO_JSON, MQ_STR(SEND_JSON), MQ_STR(""));
    for (size_t n = 0; n < frame.len; n++) {
        uint8_t *cut = wire_exact(frame.base, n);
        struct proto_command *command = malloc(sizeof(*command));

        assert_non_null(command);
        if (n >= 8) { /* as if the frame had been this long */
            mq_be32_store(cut, (uint32_t)n - 4);
            mq_be32_store(cut + 4, (uint32_t)n - 8);
        }
        assert_int_equal(proto_command_decode(cut, n, command), MQ_EBADMSG);
        free(command);
        free(cut);
    }
    mq_buf_free(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_send_decodes_from_json),
        cmocka_unit_test(the_worked_send_decodes_from_binary),
        cmocka_unit_test(the_smallest_binary_route_request_decodes),
        cmocka_unit_test(the_send_as_4_9_7_writes_it_decodes),
        cmocka_unit_test(the_json_of_cpp_clients_decodes),
        cmocka_unit_test(what_a_json_header_may_leave_out_or_add),
        cmocka_unit_test(json_that_does_not_parse_is_refused),
        cmocka_unit_test(deep_json_is_refused_and_not_followed),
        cmocka_unit_test(escapes_of_every_kind_are_decoded_in_place),
        cmocka_unit_test(the_last_of_two_fields_of_one_name_counts),
        cmocka_unit_test(more_fields_than_the_limit_are_refused),
        cmocka_unit_test(a_header_over_the_limit_is_refused),
        cmocka_unit_test(frames_that_contradict_themselves_are_refused),
        cmocka_unit_test(a_binary_key_over_32767_bytes_is_refused),
        cmocka_unit_test(binary_text_without_bytes_is_absent),
        cmocka_unit_test(binary_fields_over_the_limit_are_refused),
        cmocka_unit_test(json_is_written_with_strings_only),
        cmocka_unit_test(a_command_without_fields_has_an_empty_map),
        cmocka_unit_test(the_binary_form_is_written_byte_for_byte),
        cmocka_unit_test(what_does_not_fit_the_wire_leaves_the_buffer_as_it_was),
        cmocka_unit_test(the_largest_frame_is_written),
        cmocka_unit_test(an_allocation_that_fails_is_told_at_the_end),
        cmocka_unit_test(random_commands_come_back_as_they_were),
        cmocka_unit_test(every_cut_of_a_frame_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
