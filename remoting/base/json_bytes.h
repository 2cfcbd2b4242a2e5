/* Looking for the few bytes of a JSON string that are not plain, 16 at a time where the machine can. For the JSON
 * reader and for the codec of command headers, which needs it in both directions for every message. */
#ifndef MQ_BASE_JSON_BYTES_H
#define MQ_BASE_JSON_BYTES_H

#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The first '"' or '\\' from @at on, or @end. */
static inline char *mq_json_find_special(char *at, char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');

    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);

        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
    }
#endif
    while (at < end && *at != '"' && *at != '\\') {
        at++;
    }
    return at;
}

/* How many of @n bytes must be escaped: '"', '\\' and everything below a blank. */
static inline size_t mq_json_count_escapes(const char *at, size_t n)
{
    const char *end;
    size_t count = 0;

    if (n == 0) {
        return 0; /* of an absent text @at is NULL */
    }
    end = at + n;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i last_control = _mm_set1_epi8(0x1F);

    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));

        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes));
        for (unsigned mask = (unsigned)_mm_movemask_epi8(hit); mask != 0; mask &= mask - 1) {
            count++; /* rare: cheaper than a population count without its instruction */
        }
    }
#endif
    for (; at < end; at++) {
        count += *at == '"' || *at == '\\' || (uint8_t)*at < ' ';
    }
    return count;
}

#endif
