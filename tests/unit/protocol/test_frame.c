#include "wire.h"

#include "remoting/protocol/frame.h"

static void frame_length_refuses_what_cannot_be_a_frame(void **state)
{
    static const struct {
        const char *why;
        uint8_t bytes[4];
        size_t n;
        int want;
    } cases[] = {
        {"nothing has arrived", {0}, 0, MQ_EAGAIN},
        {"only three bytes have arrived", {0, 0, 1}, 3, MQ_EAGAIN},
        {"shorter than its own header word", {0, 0, 0, 3}, 4, MQ_EBADMSG},
        {"one byte over the limit", {0, 0xFF, 0xFF, 0xFD}, 4, MQ_EBADMSG},
        {"twice the limit", {2, 0, 0, 0}, 4, MQ_EBADMSG},
        {"negative", {0xFF, 0xFF, 0xFF, 0xFF}, 4, MQ_EBADMSG},
        {"the start of HTTP", {'G', 'E', 'T', ' '}, 4, MQ_EBADMSG},
        {"a TLS handshake", {0x16, 3, 1, 2}, 4, MQ_EBADMSG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t length = 77;

        print_message("%s\n", cases[i].why);
        assert_int_equal(proto_frame_length(cases[i].bytes, cases[i].n, &length), cases[i].want);
        assert_int_equal(length, 77);
    }
}

static void frame_length_counts_its_own_four_bytes(void **state)
{
    static const struct {
        uint8_t bytes[4];
        uint32_t want;
    } cases[] = {
        {{0, 0, 0, 4}, 8},
        {{0, 0, 1, 0x67}, 363},
        {{0, 0xFF, 0xFF, 0xFC}, PROTO_FRAME_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t length = 0;

        assert_int_equal(proto_frame_length(cases[i].bytes, 4, &length), 0);
        assert_int_equal(length, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_length_refuses_what_cannot_be_a_frame),
        cmocka_unit_test(frame_length_counts_its_own_four_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
