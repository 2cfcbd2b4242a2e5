/* Rows in the order in which their time comes: a binary heap over structs embedded in them, so that the first is
 * found at once and any row leaves or moves in O(log n). Loop thread. */
#ifndef BROKER_STATE_DUE_HEAP_H
#define BROKER_STATE_DUE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct due {
    int64_t at_ms;  /* may be changed by due_heap_move only while it is in a heap */
    uint64_t order; /* among those of the same time, the smaller first */
    uint32_t place; /* the heap's; 0: in none */
};

struct due_heap {
    struct due **rows; /* owned; rows are borrowed */
    uint32_t n, cap;
};

void due_heap_fini(struct due_heap *heap);
/* Returns 0 or MQ_ENOMEM. */
int due_heap_put(struct due_heap *heap, struct due *due);
/* Does nothing for a row that is in no heap. */
void due_heap_remove(struct due_heap *heap, struct due *due);
/* @due, which is in the heap, has another time now. */
void due_heap_move(struct due_heap *heap, struct due *due, int64_t at_ms);

/* NULL: empty. */
static inline struct due *due_heap_first(const struct due_heap *heap)
{
    return heap->n != 0 ? heap->rows[0] : (struct due *)0;
}

#endif
