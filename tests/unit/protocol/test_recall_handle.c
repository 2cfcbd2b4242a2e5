#include "wire.h"

#include "remoting/protocol/recall_handle.h"

#define STOCK "djEgT3JkZXJzIGJyb2tlci1hIDE3MDAwMDAwMDEwMDAgN0YwMDAwMDEwMDAx"

static void a_handle_is_that_of_java(void **state)
{
    const struct proto_recall_handle handle = {MQ_STR("Orders"), MQ_STR("broker-a"), MQ_STR("7F0000010001"),
                                               1700000001000};
    const struct proto_recall_handle padded = {MQ_STR("T"), MQ_STR("b"), MQ_STR("?\?>>~~"), 2};
    char text[PROTO_RECALL_HANDLE_MAX], bytes[PROTO_RECALL_BYTES_MAX];
    struct proto_recall_handle got;
    size_t n;

    (void)state;
    n = proto_recall_handle_encode(&handle, text);
    assert_int_equal(n, sizeof(STOCK) - 1);
    assert_memory_equal(text, STOCK, n);
    assert_int_equal(proto_recall_handle_decode(MQ_STR(STOCK), bytes, &got), 0);
    assert_true(mq_str_eq(got.topic, handle.topic));
    assert_true(mq_str_eq(got.broker_name, handle.broker_name));
    assert_true(mq_str_eq(got.uniq_key, handle.uniq_key));
    assert_int_equal(got.out_ms, handle.out_ms);
    n = proto_recall_handle_encode(&padded, text);
    assert_int_equal(n, 20);
    assert_memory_equal(text, "djEgVCBiIDIgPz8-Pn5-", n);
}

static void every_length_comes_back(void **state)
{
    char key[64], text[PROTO_RECALL_HANDLE_MAX], bytes[PROTO_RECALL_BYTES_MAX];

    (void)state;
    memset(key, 'k', sizeof(key));
    for (uint32_t len = 1; len < sizeof(key); len++) {
        const struct proto_recall_handle handle = {MQ_STR("T"), MQ_STR("b"), {key, len}, 7};
        struct proto_recall_handle got;
        size_t n = proto_recall_handle_encode(&handle, text);

        assert_int_equal(n % 4, 0);
        assert_int_equal(proto_recall_handle_decode((struct mq_str){text, (uint32_t)n}, bytes, &got), 0);
        assert_true(mq_str_eq(got.uniq_key, handle.uniq_key));
        while (text[n - 1] == '=') { /* Java takes it without padding, too */
            n--;
        }
        assert_int_equal(proto_recall_handle_decode((struct mq_str){text, (uint32_t)n}, bytes, &got), 0);
        assert_true(mq_str_eq(got.uniq_key, handle.uniq_key));
    }
}

static void names_that_no_handle_can_carry_get_none(void **state)
{
    static char long_key[PROTO_RECALL_BYTES_MAX];
    const struct proto_recall_handle cases[] = {
        {MQ_STR("T"), MQ_STR("b"), MQ_STR(""), 7},
        {MQ_STR("T"), MQ_STR("b"), MQ_STR("a b"), 7},
        {MQ_STR("T"), MQ_STR("b"), {long_key, sizeof(long_key)}, 7},
        {MQ_STR("T"), MQ_STR("b"), {NULL, 0}, 7},
    };
    char text[PROTO_RECALL_HANDLE_MAX];

    (void)state;
    memset(long_key, 'k', sizeof(long_key));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(proto_recall_handle_encode(&cases[i], text), 0);
    }
}

static void what_is_no_handle_is_refused(void **state)
{
    static char long_text[PROTO_RECALL_HANDLE_MAX + 4];
    static const struct {
        const char *why;
        struct mq_str text;
    } cases[] = {
        {"empty", {"", 0}},
        {"no base64", MQ_STR("!!!!")},
        {"of the other alphabet", MQ_STR("djEgVCBiIDIgPz8+Pn5+")},
        {"a digit too many", MQ_STR("djEgVCBiIDIgPz8-Pn5-d")},
        {"padding alone", MQ_STR("====")},
        {"padding inside", MQ_STR("dj=gVCBiIDIgPz8-Pn5-")},
        {"another version", MQ_STR("djIgVCBiIDIgaw==")}, /* v2 T b 2 k */
        {"a part is missing", MQ_STR("djEgVCBiIDI=")},   /* v1 T b 2 */
        {"an empty part", MQ_STR("djEgVCAgMiBr")},       /* v1 T  2 k */
        {"too long", {long_text, sizeof(long_text)}},
    };

    (void)state;
    memset(long_text, 'A', sizeof(long_text));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_recall_handle got = {.out_ms = 77};
        char bytes[PROTO_RECALL_BYTES_MAX];

        print_message("%s\n", cases[i].why);
        assert_int_equal(proto_recall_handle_decode(cases[i].text, bytes, &got), MQ_EBADMSG);
        assert_int_equal(got.out_ms, 77);
    }
}

static void a_time_that_is_no_number_is_told(void **state)
{
    struct proto_recall_handle got;
    char bytes[PROTO_RECALL_BYTES_MAX];

    (void)state;
    assert_int_equal(proto_recall_handle_decode(MQ_STR("djEgVCBiIHggaw=="), bytes, &got), 0); /* v1 T b x k */
    assert_int_equal(got.out_ms, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_is_that_of_java),
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(names_that_no_handle_can_carry_get_none),
        cmocka_unit_test(what_is_no_handle_is_refused),
        cmocka_unit_test(a_time_that_is_no_number_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
