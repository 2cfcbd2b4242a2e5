/* The heap that consensus gets: it never says no. When memory is out the process ends, because a step that fails half
 * way leaves a state that nobody can vouch for. The shape of the functions is the library's. */
#ifndef RLOG_CORE_STRICT_HEAP_H
#define RLOG_CORE_STRICT_HEAP_H

#include <stddef.h>

/* A piece of memory that may be freed any number of times: what stands for a batch of entries. */
extern char strict_heap_static[16];

void *strict_heap_malloc(void *data, size_t n);
void strict_heap_free(void *data, void *at);
void *strict_heap_calloc(void *data, size_t n, size_t size);
void *strict_heap_realloc(void *data, void *at, size_t n);
void *strict_heap_aligned_alloc(void *data, size_t alignment, size_t n);
void strict_heap_aligned_free(void *data, size_t alignment, void *at);

#endif
