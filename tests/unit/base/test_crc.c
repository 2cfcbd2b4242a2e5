#include "remoting/base/assert.h"
#include "remoting/base/crc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <zlib.h>

#define SAMPLE_BYTES 4096u

static const uint8_t *sample(void)
{
    static uint8_t bytes[SAMPLE_BYTES];
    uint32_t x = 12345;

    for (size_t i = 0; i < SAMPLE_BYTES; i++) {
        x = x * 1103515245 + 12345;
        bytes[i] = (uint8_t)(x >> 16);
    }
    return bytes;
}

/* The definition, one bit at a time. */
static uint32_t crc32c_by_bits(const uint8_t *bytes, size_t n)
{
    uint32_t crc = 0xFFFFFFFF;

    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
        }
    }
    return ~crc;
}

static void the_check_values_of_the_standards_come_out(void **state)
{
    (void)state;
    assert_int_equal(mq_crc32(0, "123456789", 9), 0xCBF43926);
    assert_int_equal(mq_crc32c(0, "123456789", 9), 0xE3069283);
}

static void nothing_leaves_the_seed_alone(void **state)
{
    (void)state;
    assert_int_equal(mq_crc32(0, NULL, 0), 0);
    assert_int_equal(mq_crc32c(0, NULL, 0), 0);
    assert_int_equal(mq_crc32(77, "", 0), 77);
    assert_int_equal(mq_crc32c(77, "", 0), 77);
}

static void every_length_and_alignment_agrees_with_the_reference(void **state)
{
    const uint8_t *bytes = sample();

    (void)state;
    for (size_t from = 0; from < 16; from++) {
        for (size_t n = 0; n < 600; n += n < 100 ? 1 : 37) {
            assert_int_equal(mq_crc32(0, bytes + from, n), crc32(0, bytes + from, (uInt)n));
            assert_int_equal(mq_crc32c(0, bytes + from, n), crc32c_by_bits(bytes + from, n));
        }
    }
    assert_int_equal(mq_crc32(0, bytes, SAMPLE_BYTES), crc32(0, bytes, SAMPLE_BYTES));
    assert_int_equal(mq_crc32c(0, bytes, SAMPLE_BYTES), crc32c_by_bits(bytes, SAMPLE_BYTES));
}

static void a_sum_continues_where_the_last_one_ended(void **state)
{
    const uint8_t *bytes = sample();

    (void)state;
    for (size_t cut = 0; cut <= SAMPLE_BYTES; cut += 61) {
        uint32_t a = mq_crc32(0, bytes, cut);
        uint32_t b = mq_crc32c(0, bytes, cut);

        assert_int_equal(mq_crc32(a, bytes + cut, SAMPLE_BYTES - cut), mq_crc32(0, bytes, SAMPLE_BYTES));
        assert_int_equal(mq_crc32c(b, bytes + cut, SAMPLE_BYTES - cut), mq_crc32c(0, bytes, SAMPLE_BYTES));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_values_of_the_standards_come_out),
        cmocka_unit_test(nothing_leaves_the_seed_alone),
        cmocka_unit_test(every_length_and_alignment_agrees_with_the_reference),
        cmocka_unit_test(a_sum_continues_where_the_last_one_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
