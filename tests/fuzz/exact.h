/* A writable copy of the input in a block of exactly its size, so that the sanitizers see a step outside. */
#ifndef MQ_TESTS_FUZZ_EXACT_H
#define MQ_TESTS_FUZZ_EXACT_H

#include "remoting/base/assert.h"
#include "remoting/base/heap.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Free with mq_free. */
static inline char *exact_copy(const void *bytes, size_t n)
{
    char *copy = mq_malloc(n);

    MQ_ASSERT(copy != NULL);
    if (n != 0) {
        memcpy(copy, bytes, n);
    }
    return copy;
}

/* Whether @s is absent or lies within the @n bytes at @bytes; touches what it covers. */
static inline bool exact_inside(struct mq_str s, const void *bytes, size_t n)
{
    const char *start = bytes;

    return s.at == NULL || (s.at >= start && s.len <= n && s.at + s.len <= start + n && mq_hash64(s.at, s.len) != 1);
}

#endif
