#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void slices_compare_by_content(void **state)
{
    static const struct mq_str ABSENT;

    (void)state;
    assert_true(mq_str_eq(MQ_STR("a"), mq_str_of("a")));
    assert_false(mq_str_eq(MQ_STR("a"), MQ_STR("ab")));
    assert_true(mq_str_eq(ABSENT, MQ_STR("")));
    assert_true(mq_str_eq(mq_str_of(NULL), ABSENT));
    assert_true(mq_str_eq_nocase(MQ_STR("Keep-Alive1"), MQ_STR("kEEP-aLIVE1")));
    assert_false(mq_str_eq_nocase(MQ_STR("@"), MQ_STR("`")));
    assert_false(mq_str_eq_nocase(MQ_STR("\xC3\x84"), MQ_STR("\xC3\xA4")));
    assert_true(mq_str_starts(MQ_STR("%RETRY%g"), MQ_STR("%RETRY%")));
    assert_true(mq_str_starts(MQ_STR("x"), ABSENT));
    assert_false(mq_str_starts(MQ_STR("%RET"), MQ_STR("%RETRY%")));
    assert_false(mq_str_starts(ABSENT, MQ_STR("x")));
}

static void whole_decimal_numbers_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t want;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"007", 7},
        {"-17", -17},
        {"1700000000123", 1700000000123},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"00000000000000000000009223372036854775807", INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t got = 77;

        assert_int_equal(mq_str_to_i64(mq_str_of(cases[i].text), &got), 0);
        assert_true(got == cases[i].want);
    }
}

static void what_is_no_number_in_range_is_refused(void **state)
{
    static const char *const CASES[] = {
        "",
        "-",
        "+1",
        "--1",
        " 1",
        "1 ",
        "1.0",
        "0x1",
        "1e3",
        "9223372036854775808",
        "-9223372036854775809",
        "9999999999999999999",
        "99999999999999999999999999",
        "18446744073709551617",
        "000000000000000000000x",
        "1/",
        "1:",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        int64_t wide = 77;
        int32_t narrow = 77;

        assert_int_equal(mq_str_to_i64(mq_str_of(CASES[i]), &wide), MQ_EINVAL);
        assert_int_equal(mq_str_to_i32(mq_str_of(CASES[i]), &narrow), MQ_EINVAL);
        assert_int_equal(wide, 77);
        assert_int_equal(narrow, 77);
    }
    assert_int_equal(mq_str_to_i64((struct mq_str){0}, &(int64_t){0}), MQ_EINVAL);
}

static void narrow_numbers_have_a_narrow_range(void **state)
{
    int32_t got = 77;

    (void)state;
    assert_int_equal(mq_str_to_i32(MQ_STR("2147483648"), &got), MQ_EINVAL);
    assert_int_equal(mq_str_to_i32(MQ_STR("-2147483649"), &got), MQ_EINVAL);
    assert_int_equal(got, 77);
    assert_int_equal(mq_str_to_i32(MQ_STR("2147483647"), &got), 0);
    assert_int_equal(got, INT32_MAX);
    assert_int_equal(mq_str_to_i32(MQ_STR("-2147483648"), &got), 0);
    assert_true(got == INT32_MIN);
}

static void only_true_is_true(void **state)
{
    (void)state;
    assert_true(mq_str_to_bool(MQ_STR("true")));
    assert_true(mq_str_to_bool(MQ_STR("TrUe")));
    assert_false(mq_str_to_bool(MQ_STR("1")));
    assert_false(mq_str_to_bool(MQ_STR("true ")));
    assert_false(mq_str_to_bool((struct mq_str){0}));
}

static void assert_texts(uint64_t value)
{
    char want[32], got[MQ_I64_TEXT_MAX + 1];
    size_t n;

    memset(got, '#', sizeof(got));
    n = mq_u64_to_text(value, got);
    assert_int_equal(n, snprintf(want, sizeof(want), "%" PRIu64, value));
    assert_memory_equal(got, want, n);
    assert_int_equal(got[n], '#');

    memset(got, '#', sizeof(got));
    n = mq_i64_to_text((int64_t)value, got);
    assert_int_equal(n, snprintf(want, sizeof(want), "%" PRId64, (int64_t)value));
    assert_memory_equal(got, want, n);
    assert_int_equal(got[n], '#');
}

static void numbers_are_written_as_the_c_library_writes_them(void **state)
{
    uint64_t power = 1;
    uint64_t x = 1;

    (void)state;
    for (uint64_t value = 0; value < 12000; value++) {
        assert_texts(value);
        assert_texts(0 - value);
    }
    for (int digits = 1; digits <= 20; digits++, power *= 10) {
        assert_texts(power - 1);
        assert_texts(power);
        assert_texts(power + 1);
    }
    for (int i = 0; i < 20000; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        assert_texts(x >> (i % 64));
    }
    assert_texts(UINT64_MAX);
    assert_texts((uint64_t)INT64_MIN);
    assert_texts((uint64_t)INT64_MAX);
}

static void hex_goes_both_ways(void **state)
{
    uint8_t bytes[256], back[256];
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    mq_hex_upper(bytes, sizeof(bytes), text);
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 506, "FDFEFF", 6);
    assert_int_equal(mq_hex_parse(text, sizeof(bytes), back), 0);
    assert_memory_equal(back, bytes, sizeof(bytes));
    assert_int_equal(mq_hex_parse("aBcD", 2, back), 0);
    assert_int_equal(back[0], 0xAB);
    assert_int_equal(back[1], 0xCD);
    for (int c = 0; c < 256; c++) {
        char pair[2] = {'1', (char)c};
        bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');

        assert_int_equal(mq_hex_parse(pair, 1, back), digit ? 0 : MQ_EINVAL);
    }
}

/* The hashes of the byte strings below were computed by Java 17: new String(bytes, UTF_8).hashCode(). */
static void tags_hash_as_in_java(void **state)
{
    static const struct {
        const char *utf8;
        int32_t want;
    } cases[] = {
        {"", 0},
        {"TagA", 2598919},
        {"paid", 3433164},
        {"\xC3\xA4", 228},
        {"\xE8\xAE\xA2\xE5\x8D\x95", 1129459},
        {"\xF0\x9F\x98\x80", 1772899},
        {"\xC0\xAF", 2097056},
        {"\x80", 65533},
        {"\xFF", 65533},
        {"\xED", 65533},
        {"\xA0\x80", 2097056},
        {"\xED\xA0\x80", 65533},
        {"\xED\xA0\x80\xED\xB0\x80", 2097056},
        {"\xED\xBF\xBF\x41", 2031588},
        {"\xE2\x82\x41", 2031588},
        {"\xE2\x82", 65533},
        {"\xE2", 65533},
        {"\xF0\x9F\x98", 65533},
        {"\xF0\x9F\x98\x41", 2031588},
        {"\xF0\x9F", 65533},
        {"\xF0\x80\x80\x80", 2017367872},
        {"\xF4\x90\x80\x80", 2017367872},
        {"\xF8\x88\x80\x80", 2017367872},
        {"\xE0\x80\x80", 65074269},
        {"\x41\xC3", 67548},
        {"\xC3\x41", 2031588},
        {"\xF0\x41\x41\x41", 1952358148},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_str s = mq_str_of(cases[i].utf8);
        char *exact = malloc(s.len + 1u);

        /* In a block of its own size, so that a read behind the end is seen. */
        assert_non_null(exact);
        memcpy(exact, s.at, s.len);
        exact = realloc(exact, s.len != 0 ? s.len : 1);
        assert_non_null(exact);
        assert_int_equal(mq_java_hash((struct mq_str){exact, s.len}), cases[i].want);
        free(exact);
    }
    assert_int_equal(mq_java_hash((struct mq_str){0}), 0);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

#define KEYS 20000

static void similar_keys_hash_apart(void **state)
{
    uint64_t *hashes = malloc(KEYS * sizeof(*hashes));
    unsigned low_bits[256] = {0};

    (void)state;
    assert_non_null(hashes);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[48];
        int n = snprintf(key, sizeof(key), i % 2 ? "%u" : "%%RETRY%%consumer-group-%u@topic", i);

        hashes[i] = mq_hash64(key, (size_t)n);
        low_bits[hashes[i] & 255]++;
    }
    qsort(hashes, KEYS, sizeof(*hashes), compare_u64);
    for (unsigned i = 1; i < KEYS; i++) {
        assert_true(hashes[i] != hashes[i - 1]);
    }
    for (unsigned i = 0; i < 256; i++) {
        assert_in_range(low_bits[i], KEYS / 256 / 2, KEYS / 256 * 2); /* 78 expected, deviation 9 */
    }
    free(hashes);
}

static void every_bit_and_the_length_count_in_a_hash(void **state)
{
    (void)state;
    for (size_t n = 0; n <= 70; n++) {
        uint8_t *key = calloc(n + 1, 1);
        uint64_t zero;

        assert_non_null(key);
        key = realloc(key, n != 0 ? n : 1);
        assert_non_null(key);
        zero = mq_hash64(key, n);
        assert_true(n == 0 || zero != mq_hash64(key, n - 1));
        for (size_t bit = 0; bit < n * 8; bit++) {
            int changed;

            key[bit / 8] ^= (uint8_t)(1u << bit % 8);
            changed = __builtin_popcountll(mq_hash64(key, n) ^ zero);
            assert_in_range(changed, 8, 56);
            key[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        assert_true(mq_hash64(key, n) == zero);
        free(key);
    }
}

static void edit_distance_counts_inserts_deletes_and_replacements(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned want;
    } cases[] = {
        {"", "", 0},         {"abc", "abc", 0},        {"", "abc", 3},
        {"abc", "", 3},      {"kitten", "sitting", 3}, {"brokerNmae", "brokerName", 2},
        {"flaw", "lawn", 2}, {"ab", "ba", 2},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned max = 0; max < 5; max++) {
            unsigned want = cases[i].want <= max ? cases[i].want : max + 1;

            assert_int_equal(mq_edit_distance(cases[i].a, cases[i].b, max), want);
        }
    }
}

static void names_of_absurd_length_are_too_far_away(void **state)
{
    char longest[129];

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[128] = '\0';
    assert_int_equal(mq_edit_distance(longest, "x", 500), 501);
    assert_int_equal(mq_edit_distance("x", longest, 500), 501);
    longest[127] = '\0';
    assert_int_equal(mq_edit_distance(longest, longest, 500), 0);
    assert_int_equal(mq_edit_distance("x", longest, 500), 126);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_by_content),
        cmocka_unit_test(whole_decimal_numbers_are_read),
        cmocka_unit_test(what_is_no_number_in_range_is_refused),
        cmocka_unit_test(narrow_numbers_have_a_narrow_range),
        cmocka_unit_test(only_true_is_true),
        cmocka_unit_test(numbers_are_written_as_the_c_library_writes_them),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(tags_hash_as_in_java),
        cmocka_unit_test(similar_keys_hash_apart),
        cmocka_unit_test(every_bit_and_the_length_count_in_a_hash),
        cmocka_unit_test(edit_distance_counts_inserts_deletes_and_replacements),
        cmocka_unit_test(names_of_absurd_length_are_too_far_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
