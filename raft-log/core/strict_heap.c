#include "raft-log/core/strict_heap.h"

#include "remoting/base/assert.h"

#include <stdlib.h>

char strict_heap_static[16];

static void *checked(void *at)
{
    MQ_ASSERT(at != NULL);
    return at;
}

void *strict_heap_malloc(void *data, size_t n)
{
    (void)data;
    return checked(malloc(n > 0 ? n : 1));
}

void strict_heap_free(void *data, void *at)
{
    (void)data;
    if (at != strict_heap_static) {
        free(at);
    }
}

void *strict_heap_calloc(void *data, size_t n, size_t size)
{
    (void)data;
    return checked(calloc(n > 0 ? n : 1, size));
}

void *strict_heap_realloc(void *data, void *at, size_t n)
{
    (void)data;
    return checked(realloc(at, n > 0 ? n : 1));
}

void *strict_heap_aligned_alloc(void *data, size_t alignment, size_t n)
{
    (void)data;
    return checked(aligned_alloc(alignment, n));
}

void strict_heap_aligned_free(void *data, size_t alignment, void *at)
{
    (void)data;
    (void)alignment;
    free(at);
}
