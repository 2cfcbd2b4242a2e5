#include "remoting/base/assert.h"
#include "remoting/base/compress.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <zlib.h>

#define PLAIN_BYTES 100000u

/* Text that compresses about tenfold, and its zlib stream. */
struct sample {
    uint8_t plain[PLAIN_BYTES];
    uint8_t packed[PLAIN_BYTES];
    size_t packed_bytes;
};

static struct sample sample;

static int fill_sample(void **state)
{
    uLongf packed_bytes = sizeof(sample.packed);
    uint32_t x = 1;

    (void)state;
    for (size_t i = 0; i < PLAIN_BYTES; i++) {
        x = i % 16 == 0 ? x * 1664525 + 1013904223 : x;
        sample.plain[i] = (uint8_t)('a' + (x >> 24) % 16);
    }
    if (compress(sample.packed, &packed_bytes, sample.plain, PLAIN_BYTES) != Z_OK) {
        return -1;
    }
    sample.packed_bytes = packed_bytes;
    return 0;
}

static void a_stream_is_appended_whole(void **state)
{
    struct mq_buf out = {0};

    (void)state;
    assert_int_equal(mq_buf_put(&out, "head", 4), 0);
    assert_int_equal(mq_inflate(sample.packed, sample.packed_bytes, 1u << 20, &out), 0);
    assert_int_equal(out.len, 4 + PLAIN_BYTES);
    assert_memory_equal(out.base, "head", 4);
    assert_memory_equal(out.base + 4, sample.plain, PLAIN_BYTES);
    mq_buf_free(&out);
}

static void the_bound_is_exact(void **state)
{
    static const struct {
        size_t max_bytes;
        int want;
    } cases[] = {
        {PLAIN_BYTES + 1, 0}, {PLAIN_BYTES, 0}, {PLAIN_BYTES - 1, MQ_ETOOBIG}, {1, MQ_ETOOBIG}, {0, MQ_ETOOBIG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf out = {0};

        assert_int_equal(mq_inflate(sample.packed, sample.packed_bytes, cases[i].max_bytes, &out), cases[i].want);
        assert_int_equal(out.len, cases[i].want == 0 ? PLAIN_BYTES : 0);
        assert_true(out.cap <= 2 * PLAIN_BYTES + 65536);
        mq_buf_free(&out);
    }
}

static void an_empty_stream_inflates_to_nothing_under_any_bound(void **state)
{
    uint8_t packed[64];
    uLongf n = sizeof(packed);
    struct mq_buf out = {0};

    (void)state;
    assert_int_equal(compress(packed, &n, (const uint8_t *)"", 0), Z_OK);
    assert_int_equal(mq_inflate(packed, n, 0, &out), 0);
    assert_int_equal(out.len, 0);
    mq_buf_free(&out);
}

static void a_stream_cut_anywhere_is_bad(void **state)
{
    struct mq_buf out = {0};

    (void)state;
    for (size_t n = 0; n < sample.packed_bytes; n += n < 64 || n + 64 > sample.packed_bytes ? 1 : 997) {
        assert_int_equal(mq_inflate(sample.packed, n, 1u << 20, &out), MQ_EBADMSG);
        assert_int_equal(out.len, 0);
    }
    mq_buf_free(&out);
}

static void changed_bytes_and_foreign_bytes_are_bad(void **state)
{
    struct mq_buf out = {0};
    uint8_t last = sample.packed[sample.packed_bytes - 1];

    (void)state;
    sample.packed[sample.packed_bytes - 1] ^= 1; /* of the checksum */
    assert_int_equal(mq_inflate(sample.packed, sample.packed_bytes, 1u << 20, &out), MQ_EBADMSG);
    sample.packed[sample.packed_bytes - 1] = last;
    assert_int_equal(mq_inflate("plain text", 10, 1u << 20, &out), MQ_EBADMSG);
    assert_int_equal(mq_inflate("", 0, 1u << 20, &out), MQ_EBADMSG);
    assert_int_equal(out.len, 0);
    mq_buf_free(&out);
}

static void bytes_behind_the_stream_are_ignored(void **state)
{
    static uint8_t longer[PLAIN_BYTES + 8];
    struct mq_buf out = {0};

    (void)state;
    memcpy(longer, sample.packed, sample.packed_bytes);
    assert_int_equal(mq_inflate(longer, sample.packed_bytes + 8, 1u << 20, &out), 0);
    assert_int_equal(out.len, PLAIN_BYTES);
    mq_buf_free(&out);
}

static void every_failed_allocation_is_reported_and_nothing_leaks(void **state)
{
    int rc = MQ_ENOMEM;
    unsigned nth = 0;

    (void)state;
    while (rc != 0) {
        struct mq_buf out = {0};

        mq_heap_fail_at(++nth);
        rc = mq_inflate(sample.packed, sample.packed_bytes, 1u << 20, &out);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || rc == MQ_ENOMEM);
        assert_int_equal(out.len, rc == 0 ? PLAIN_BYTES : 0);
        mq_buf_free(&out);
    }
    assert_true(nth > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_appended_whole),
        cmocka_unit_test(the_bound_is_exact),
        cmocka_unit_test(an_empty_stream_inflates_to_nothing_under_any_bound),
        cmocka_unit_test(a_stream_cut_anywhere_is_bad),
        cmocka_unit_test(changed_bytes_and_foreign_bytes_are_bad),
        cmocka_unit_test(bytes_behind_the_stream_are_ignored),
        cmocka_unit_test(every_failed_allocation_is_reported_and_nothing_leaks),
    };

    return cmocka_run_group_tests(tests, fill_sample, NULL);
}
