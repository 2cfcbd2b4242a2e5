/* The C library's allocator behind one door with a test hook. */
#include "remoting/base/heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Calls left until one fails; 0 is off. One per thread, so that a test does not disturb worker threads. */
static _Thread_local unsigned calls_to_failure;

static bool failure_is_due(void)
{
    return __builtin_expect(calls_to_failure != 0, 0) && --calls_to_failure == 0;
}

/* The C library may answer a request for 0 bytes with NULL, which callers would take for failure. */
static size_t at_least_one(size_t bytes)
{
    return bytes != 0 ? bytes : 1;
}

void *mq_malloc(size_t bytes)
{
    return failure_is_due() ? NULL : malloc(at_least_one(bytes));
}

void *mq_calloc(size_t count, size_t bytes)
{
    if (failure_is_due()) {
        return NULL;
    }
    return count == 0 || bytes == 0 ? calloc(1, 1) : calloc(count, bytes);
}

void *mq_realloc(void *ptr, size_t bytes)
{
    return failure_is_due() ? NULL : realloc(ptr, at_least_one(bytes));
}

void mq_free(void *ptr)
{
    free(ptr);
}

char *mq_strdup(const char *text)
{
    return mq_strndup(text, strlen(text));
}

char *mq_strndup(const char *text, size_t len)
{
    char *copy;

    if (len == SIZE_MAX) {
        return NULL;
    }
    copy = mq_malloc(len + 1);
    if (copy != NULL) {
        if (len != 0) {
            memcpy(copy, text, len);
        }
        copy[len] = '\0';
    }
    return copy;
}

void mq_heap_fail_at(unsigned nth)
{
    calls_to_failure = nth;
}
