#include "wire.h"

#include "remoting/protocol/frame.h"
#include "remoting/protocol/headers.h"

#include <stdlib.h>

/* Fields from pairs of texts, ended by NULL; a value of NULL is absent. */
static struct proto_fields *fields_of(const char *const *pairs)
{
    struct proto_fields *fields = calloc(1, sizeof(*fields));

    assert_non_null(fields);
    for (; pairs[0] != NULL; pairs += 2) {
        fields->list[fields->count++] = (struct proto_field){mq_str_of(pairs[0]), mq_str_of(pairs[1])};
    }
    return fields;
}

/* The fields of the one frame in @frame. */
static struct proto_command *decode_back(struct mq_buf *frame)
{
    struct proto_command *command = calloc(1, sizeof(*command));

    assert_non_null(command);
    assert_int_equal(proto_command_decode(frame->base, frame->len, command), 0);
    return command;
}

static const char *const SEND_V1[] = {"producerGroup",
                                      "PG",
                                      "topic",
                                      "orders",
                                      "defaultTopic",
                                      "TBW102",
                                      "properties",
                                      "K\x01V",
                                      "queueId",
                                      "-1",
                                      "defaultTopicQueueNums",
                                      "4",
                                      "sysFlag",
                                      "1",
                                      "bornTimestamp",
                                      "1700000000000",
                                      "flag",
                                      "9",
                                      "maxReconsumeTimes",
                                      "0",
                                      "batch",
                                      "TRUE",
                                      "unknown",
                                      "x",
                                      NULL};
static const char *const SEND_V2[] = {"n", "broker-a", "m",     "True",          "l", "0",      "i", "K\x01V",
                                      "h", "9",        "g",     "1700000000000", "f", "1",      "e", "-1",
                                      "d", "4",        "c",     "TBW102",        "b", "orders", "a", "PG",
                                      "o", "x",        "topic", "not this",      "",  "x",      NULL};

static void check_send(const struct proto_send_header *h)
{
    wire_assert_str(h->producer_group, "PG");
    wire_assert_str(h->topic, "orders");
    wire_assert_str(h->default_topic, "TBW102");
    assert_int_equal(h->default_topic_queues, 4);
    assert_int_equal(h->queue_id, -1);
    assert_int_equal(h->sys_flag, 1);
    assert_int_equal(h->born_ms, 1700000000000);
    assert_int_equal(h->flag, 9);
    wire_assert_str(h->properties, "K\x01V");
    assert_int_equal(h->reconsume_times, 0);
    assert_false(h->unit_mode);
    assert_int_equal(h->max_reconsume_times, 0);
    assert_true(h->batch);
}

static void a_send_header_has_two_forms(void **state)
{
    struct proto_fields *v1 = fields_of(SEND_V1);
    struct proto_fields *v2 = fields_of(SEND_V2);
    struct proto_send_header h;

    (void)state;
    assert_int_equal(proto_send_header_decode(v1, &h, NULL), 0);
    check_send(&h);
    wire_assert_str(h.broker_name, NULL);
    assert_int_equal(proto_send_header_v2_decode(v2, &h, NULL), 0);
    check_send(&h);
    wire_assert_str(h.broker_name, "broker-a");
    free(v1);
    free(v2);
}

static void a_field_that_is_missing_or_no_number_is_named(void **state)
{
    static const struct {
        const char *drop, *add, *value;
        const char *field;
        bool missing;
    } cases[] = {
        {"a", NULL, NULL, "producerGroup", true},
        {"b", NULL, NULL, "topic", true},
        {"e", NULL, NULL, "queueId", true},
        {"g", NULL, NULL, "bornTimestamp", true},
        {"h", "h", NULL, "flag", true},
        {NULL, "e", "three", "queueId", false},
        {NULL, "e", "", "queueId", false},
        {NULL, "e", "2147483648", "queueId", false},
        {NULL, "e", "1.0", "queueId", false},
        {NULL, "e", " 1", "queueId", false},
        {NULL, "g", "9223372036854775808", "bornTimestamp", false},
        {NULL, "l", "x", "maxReconsumeTimes", false},
        {NULL, "d", NULL, "defaultTopicQueueNums", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_fields *fields = calloc(1, sizeof(*fields));
        struct proto_problem why = {0};
        struct proto_send_header h;

        assert_non_null(fields);
        for (const char *const *pair = SEND_V2; pair[0] != NULL; pair += 2) {
            if (cases[i].drop == NULL || strcmp(pair[0], cases[i].drop) != 0) {
                fields->list[fields->count++] = (struct proto_field){mq_str_of(pair[0]), mq_str_of(pair[1])};
            }
        }
        if (cases[i].add != NULL) {
            fields->list[fields->count++] = (struct proto_field){mq_str_of(cases[i].add), mq_str_of(cases[i].value)};
        }
        assert_int_equal(proto_send_header_v2_decode(fields, &h, &why), MQ_EBADMSG);
        assert_string_equal(why.field, cases[i].field);
        assert_int_equal(why.missing, cases[i].missing);
        if (!why.missing) {
            wire_assert_str(why.value, cases[i].value);
        }
        assert_int_equal(proto_send_header_v2_decode(fields, &h, NULL), MQ_EBADMSG);
        free(fields);
    }
}

static void the_last_field_of_a_name_counts_and_null_is_absent(void **state)
{
    static const char *const PAIRS[] = {
        "consumerGroup",     "CG", "topic", "t", "queueId", "7", "queueId", "8", "setZeroIfNotFound", "false",
        "setZeroIfNotFound", NULL, NULL};
    struct proto_fields *fields = fields_of(PAIRS);
    struct proto_query_offset_header h;

    (void)state;
    assert_int_equal(proto_query_offset_header_decode(fields, &h, NULL), 0);
    assert_int_equal(h.queue_id, 8);
    assert_true(h.zero_if_not_found);
    fields->count--;
    assert_int_equal(proto_query_offset_header_decode(fields, &h, NULL), 0);
    assert_false(h.zero_if_not_found);
    free(fields);
}

static void fields_are_found_in_any_order(void **state)
{
    static const char *const KEYS[] = {"consumerGroup", "topic",   "queueId",      "queueOffset",
                                       "maxMsgNums",    "sysFlag", "commitOffset", "suspendTimeoutMillis",
                                       "subVersion"};
    static const char *const VALUES[] = {"CG", "t", "2", "3", "4", "5", "6", "7", "8"};
    struct wire_random random = {7};

    (void)state;
    for (int n = 0; n < 500; n++) {
        struct proto_fields *fields = calloc(1, sizeof(*fields));
        struct proto_pull_header h;

        assert_non_null(fields);
        for (uint32_t i = 0; i < ARRAY_SIZE(KEYS); i++) {
            uint32_t at = wire_random_below(&random, i + 1);

            fields->list[i] = fields->list[at];
            fields->list[at] = (struct proto_field){mq_str_of(KEYS[i]), mq_str_of(VALUES[i])};
        }
        fields->count = ARRAY_SIZE(KEYS);
        assert_int_equal(proto_pull_header_decode(fields, &h, NULL), 0);
        wire_assert_str(h.consumer_group, "CG");
        wire_assert_str(h.topic, "t");
        assert_int_equal(h.queue_id, 2);
        assert_int_equal(h.queue_offset, 3);
        assert_int_equal(h.max_msgs, 4);
        assert_int_equal(h.sys_flag, 5);
        assert_int_equal(h.commit_offset, 6);
        assert_int_equal(h.suspend_ms, 7);
        assert_int_equal(h.sub_version, 8);
        wire_assert_str(h.subscription, NULL);
        assert_int_equal(h.request_source, -1);
        free(fields);
    }
}

static void the_worked_send_response_is_written(void **state)
{
    struct proto_head head = {.code = 0, .opaque = 1001, .flag = PROTO_FLAG_RESPONSE};
    struct proto_send_response_header h = proto_send_response_header_defaults();
    struct mq_buf frame = {0};
    struct proto_writer w;

    (void)state;
    h.msg_id = MQ_STR("C000020100002A9F0000000000002000");
    h.queue_id = 3;
    h.queue_offset = 42;
    h.transaction_id = MQ_STR("C000020A30390000000100000BB80001");
    h.region = MQ_STR("DefaultRegion");
    h.trace_on = MQ_STR("true");
    proto_begin(&w, &frame, &head);
    proto_send_response_header_encode(&w, &h);
    assert_int_equal(proto_end(&w, 0), 0);
    wire_assert_str((struct mq_str){(const char *)frame.base + 8, (uint32_t)frame.len - 8},
                    "{\"code\":0,\"flag\":1,\"language\":\"OTHER\",\"opaque\":1001,\"version\":479,\"extFields\":{"
                    "\"msgId\":\"C000020100002A9F0000000000002000\",\"queueId\":\"3\",\"queueOffset\":\"42\","
                    "\"transactionId\":\"C000020A30390000000100000BB80001\",\"MSG_REGION\":\"DefaultRegion\","
                    "\"TRACE_ON\":\"true\"}}");
    mq_buf_free(&frame);
}

static void defaults_write_required_fields_only(void **state)
{
    struct proto_head head = {.code = 0};
    struct proto_pull_response_header pull = proto_pull_response_header_defaults();
    struct proto_send_response_header send = proto_send_response_header_defaults();
    struct mq_buf frame = {0};
    struct proto_writer w;

    (void)state;
    proto_begin(&w, &frame, &head);
    proto_send_response_header_encode(&w, &send);
    proto_pull_response_header_encode(&w, &pull);
    assert_int_equal(proto_end(&w, 0), 0);
    wire_assert_str(
        (struct mq_str){(const char *)frame.base + 8, (uint32_t)frame.len - 8},
        "{\"code\":0,\"flag\":0,\"language\":\"OTHER\",\"opaque\":0,\"version\":479,\"extFields\":{"
        "\"nextBeginOffset\":\"0\",\"minOffset\":\"0\",\"maxOffset\":\"0\",\"suggestWhichBrokerId\":\"0\"}}");
    mq_buf_free(&frame);
}

static void a_send_header_comes_back_in_all_four_ways(void **state)
{
    struct proto_send_header want = proto_send_header_defaults();

    (void)state;
    want.producer_group = MQ_STR("PG");
    want.topic = MQ_STR("orders");
    want.default_topic = MQ_STR("TBW102");
    want.default_topic_queues = 4;
    want.queue_id = -1;
    want.sys_flag = 1;
    want.born_ms = 1700000000000;
    want.flag = 9;
    want.properties = MQ_STR("K\x01V");
    want.max_reconsume_times = 0;
    want.batch = true;
    for (int way = 0; way < 4; way++) {
        struct proto_head head = {.code = 10, .encoding = way & 1 ? PROTO_BINARY : PROTO_JSON};
        struct proto_send_header got;
        struct mq_buf frame = {0};
        struct proto_writer w;
        struct proto_command *command;

        proto_begin(&w, &frame, &head);
        if (way & 2) {
            proto_send_header_v2_encode(&w, &want);
        } else {
            proto_send_header_encode(&w, &want);
        }
        assert_int_equal(proto_end(&w, 0), 0);
        command = decode_back(&frame);
        assert_int_equal(way & 2 ? proto_send_header_v2_decode(&command->fields, &got, NULL)
                                 : proto_send_header_decode(&command->fields, &got, NULL),
                         0);
        check_send(&got);
        free(command);
        mq_buf_free(&frame);
    }
}

/* From headers.def for each noun: fill_<noun> gives every member another value than its fallback, compare_<noun>
 * wants two headers to be equal, round_trip_<noun> writes and reads one. */
/* clang-format off */
#define HEADER(noun) static void fill_##noun(struct proto_##noun##_header *h) {
#define STR(member, key, need) h->member = MQ_STR("some \"text\" of " #member);
#define I32(member, key, need, fallback) h->member = -1000 * (int32_t)sizeof(#member);
#define I64(member, key, need, fallback) h->member = INT64_MIN + (int64_t)sizeof(#member);
#define BOOL(member, key, need, fallback) h->member = !(fallback);
#define END(noun) }
#include "remoting/protocol/headers.def"
#undef HEADER
#undef STR
#undef I32
#undef I64
#undef BOOL

#define HEADER(noun)                                                                                                 \
    static void compare_##noun(const struct proto_##noun##_header *a, const struct proto_##noun##_header *b) {
#define STR(member, key, need) assert_true(mq_str_eq(a->member, b->member) && b->member.at != NULL);
#define I32(member, key, need, fallback) assert_int_equal(a->member, b->member);
#define I64(member, key, need, fallback) assert_int_equal(a->member, b->member);
#define BOOL(member, key, need, fallback) assert_int_equal(a->member, b->member);
#include "remoting/protocol/headers.def"
#undef HEADER
#undef STR
#undef I32
#undef I64
#undef BOOL
#undef END

#define HEADER(noun)                                                                                                 \
    static void round_trip_##noun(enum proto_encoding encoding)                                                      \
    {                                                                                                                \
        struct proto_head head = {.code = 1, .encoding = encoding};                                                  \
        struct proto_##noun##_header want, got;                                                                      \
        struct proto_command *command;                                                                               \
        struct mq_buf frame = {0};                                                                                   \
        struct proto_writer w;                                                                                       \
                                                                                                                     \
        fill_##noun(&want);                                                                                          \
        proto_begin(&w, &frame, &head);                                                                              \
        proto_##noun##_header_encode(&w, &want);                                                                     \
        assert_int_equal(proto_end(&w, 0), 0);                                                                       \
        command = decode_back(&frame);                                                                               \
        assert_int_equal(proto_##noun##_header_decode(&command->fields, &got, NULL), 0);                             \
        compare_##noun(&want, &got);                                                                                 \
        free(command);                                                                                               \
        mq_buf_free(&frame);                                                                                         \
    }
#define STR(member, key, need)
#define I32(member, key, need, fallback)
#define I64(member, key, need, fallback)
#define BOOL(member, key, need, fallback)
#define END(noun)
#include "remoting/protocol/headers.def"
#undef HEADER

static void every_header_survives_both_encodings(void **state)
{
    (void)state;
    for (int encoding = PROTO_JSON; encoding <= PROTO_BINARY; encoding++) {
#define HEADER(noun) print_message("%s\n", #noun); round_trip_##noun((enum proto_encoding)encoding);
#include "remoting/protocol/headers.def"
    }
}
/* clang-format on */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_header_has_two_forms),
        cmocka_unit_test(a_field_that_is_missing_or_no_number_is_named),
        cmocka_unit_test(the_last_field_of_a_name_counts_and_null_is_absent),
        cmocka_unit_test(fields_are_found_in_any_order),
        cmocka_unit_test(the_worked_send_response_is_written),
        cmocka_unit_test(defaults_write_required_fields_only),
        cmocka_unit_test(a_send_header_comes_back_in_all_four_ways),
        cmocka_unit_test(every_header_survives_both_encodings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
