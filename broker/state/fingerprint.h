/* Hashes that members compare: fixed for ever, unlike mq_hash64. FNV-1a over the bytes of one row, finished so that
 * rows can be added up: the sum over a table is the same in whatever order it holds them. */
#ifndef BROKER_STATE_FINGERPRINT_H
#define BROKER_STATE_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FINGERPRINT_START 0xCBF29CE484222325u

static inline uint64_t fingerprint_bytes(uint64_t h, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < n; i++) {
        h = (h ^ at[i]) * 0x100000001B3u;
    }
    return h;
}

/* Low byte first, on every machine. */
static inline uint64_t fingerprint_u64(uint64_t h, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        h = (h ^ (uint8_t)(value >> 8 * i)) * 0x100000001B3u;
    }
    return h;
}

/* With its length, so that ("ab", "c") and ("a", "bc") differ. */
static inline uint64_t fingerprint_text(uint64_t h, const char *text)
{
    size_t n = strlen(text);

    return fingerprint_bytes(fingerprint_u64(h, n), text, n);
}

/* Every bit of the row reaches every bit of the sum (the finalizer of SplitMix64). */
static inline uint64_t fingerprint_end(uint64_t h)
{
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9u;
    h = (h ^ h >> 27) * 0x94D049BB133111EBu;
    return h ^ h >> 31;
}

#endif
