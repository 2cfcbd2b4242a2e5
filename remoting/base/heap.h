/* Allocation in one place, so that a test can make the n-th call fail. */
#ifndef MQ_BASE_HEAP_H
#define MQ_BASE_HEAP_H

#include <stddef.h>

/* As the C library's; NULL when there is no memory or the injected failure is due. @bytes may be 0. */
void *mq_malloc(size_t bytes);
void *mq_calloc(size_t count, size_t bytes);
void *mq_realloc(void *ptr, size_t bytes);
void mq_free(void *ptr);
char *mq_strdup(const char *text);
/* Copies @len bytes and adds a NUL. */
char *mq_strndup(const char *text, size_t len);

/* Test hook: the @nth allocation from now (1 is the next one) in this thread fails once; 0 switches it off. */
void mq_heap_fail_at(unsigned nth);

#endif
