/* malloc & co. as the linker's --wrap hands them over: every block hangs in the list of whoever allocated it, so that
 * a process can be ended without its help. The C library allocates behind it, or a sanitizer does. */
#include "tests/sim/world/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC UINT32_C(0xB10C4EAD)

void *__real_malloc(size_t bytes);
void __real_free(void *at);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *at, size_t bytes);
void __wrap_free(void *at);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);

struct block {
    struct node node;
    struct heap *heap;
    size_t bytes;
    uint32_t front; /* from what the library gave to the user's first byte */
    uint32_t magic;
    uint64_t unused; /* the user's bytes stay aligned to 16 */
};

static struct heap world_heap = {.blocks = {&world_heap.blocks, &world_heap.blocks}};
static struct heap *heap_now = &world_heap;

void heap_init(struct heap *heap)
{
    list_init(&heap->blocks);
    heap->bytes = 0;
}

struct heap *heap_use(struct heap *heap)
{
    struct heap *before = heap_now;

    heap_now = heap;
    return before;
}

struct heap *heap_of_world(void)
{
    return &world_heap;
}

static void *add_block(struct heap *heap, uint8_t *raw, size_t front, size_t bytes)
{
    struct block *block;

    if (raw == NULL) {
        return NULL;
    }
    block = (struct block *)(raw + front) - 1;
    block->heap = heap;
    block->bytes = bytes;
    block->front = (uint32_t)front;
    block->magic = MAGIC;
    list_append(&heap->blocks, &block->node);
    heap->bytes += bytes;
    return block + 1;
}

static struct block *block_of(void *at)
{
    struct block *block = (struct block *)at - 1;

    if (block->magic != MAGIC) {
        fprintf(stderr, "sim: free or realloc of %p, which is not from malloc\n", at);
        abort();
    }
    return block;
}

static void free_block(struct block *block)
{
    block->heap->bytes -= block->bytes;
    list_remove(&block->node);
    block->magic = 0;
    __real_free((uint8_t *)(block + 1) - block->front);
}

void heap_free_all(struct heap *heap)
{
    while (!list_empty(&heap->blocks)) {
        free_block((struct block *)heap->blocks.next);
    }
}

static void *alloc_in(struct heap *heap, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    return add_block(heap, __real_malloc(sizeof(struct block) + bytes), sizeof(struct block), bytes);
}

void *__wrap_malloc(size_t bytes)
{
    return alloc_in(heap_now, bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    size_t all;
    void *at;

    if (__builtin_mul_overflow(count, bytes, &all)) {
        errno = ENOMEM;
        return NULL;
    }
    at = alloc_in(heap_now, all);
    return at != NULL ? memset(at, 0, all) : NULL;
}

/* What grows stays with the heap it belongs to. */
void *__wrap_realloc(void *at, size_t bytes)
{
    struct block *block;
    void *to;

    if (at == NULL) {
        return alloc_in(heap_now, bytes);
    }
    block = block_of(at);
    to = alloc_in(block->heap, bytes);
    if (to != NULL) {
        memcpy(to, at, block->bytes < bytes ? block->bytes : bytes);
        free_block(block);
    }
    return to;
}

void __wrap_free(void *at)
{
    if (at != NULL) {
        free_block(block_of(at));
    }
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    size_t front = alignment > sizeof(struct block) ? alignment : sizeof(struct block);

    front = (front + alignment - 1) / alignment * alignment;
    bytes = (bytes + alignment - 1) / alignment * alignment;
    return add_block(heap_now, __real_aligned_alloc(alignment, front + bytes), front, bytes);
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t bytes)
{
    void *at = __wrap_aligned_alloc(alignment, bytes);

    if (at == NULL) {
        return ENOMEM;
    }
    *out = at;
    return 0;
}

char *__wrap_strndup(const char *text, size_t max)
{
    size_t n = strnlen(text, max);
    char *copy = __wrap_malloc(n + 1);

    if (copy != NULL) {
        memcpy(copy, text, n);
        copy[n] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

void *world_alloc(size_t bytes)
{
    void *at = alloc_in(&world_heap, bytes);

    if (at == NULL) {
        fprintf(stderr, "sim: out of memory\n");
        abort();
    }
    return memset(at, 0, bytes);
}

char *world_strdup(const char *text)
{
    size_t n = strlen(text) + 1;

    return memcpy(world_alloc(n), text, n);
}
