#include "broker/state/due_heap.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define FIRST_CAP 64u

static bool comes_before(const struct due *a, const struct due *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void set(struct due_heap *heap, uint32_t i, struct due *due)
{
    heap->rows[i] = due;
    due->place = i + 1;
}

static void sift_up(struct due_heap *heap, uint32_t i, struct due *due)
{
    while (i != 0 && comes_before(due, heap->rows[(i - 1) / 2])) {
        set(heap, i, heap->rows[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    set(heap, i, due);
}

static void sift_down(struct due_heap *heap, uint32_t i, struct due *due)
{
    for (;;) {
        uint32_t child = 2 * i + 1;

        if (child + 1 < heap->n && comes_before(heap->rows[child + 1], heap->rows[child])) {
            child++;
        }
        if (child >= heap->n || !comes_before(heap->rows[child], due)) {
            break;
        }
        set(heap, i, heap->rows[child]);
        i = child;
    }
    set(heap, i, due);
}

/* @due's place is @i, or must be found from there. */
static void settle(struct due_heap *heap, uint32_t i, struct due *due)
{
    if (i != 0 && comes_before(due, heap->rows[(i - 1) / 2])) {
        sift_up(heap, i, due);
    } else {
        sift_down(heap, i, due);
    }
}

void due_heap_fini(struct due_heap *heap)
{
    mq_free(heap->rows);
    *heap = (struct due_heap){0};
}

int due_heap_put(struct due_heap *heap, struct due *due)
{
    MQ_ASSERT(due->place == 0);
    if (heap->n == heap->cap) {
        uint32_t cap = heap->cap != 0 ? heap->cap * 2 : FIRST_CAP;
        struct due **rows = mq_realloc(heap->rows, cap * sizeof(struct due *));

        if (rows == NULL) {
            return MQ_ENOMEM;
        }
        heap->rows = rows;
        heap->cap = cap;
    }
    sift_up(heap, heap->n++, due);
    return 0;
}

void due_heap_remove(struct due_heap *heap, struct due *due)
{
    uint32_t i = due->place - 1;
    struct due *last;

    if (due->place == 0) {
        return;
    }
    MQ_ASSERT(i < heap->n && heap->rows[i] == due);
    due->place = 0;
    last = heap->rows[--heap->n];
    if (last != due) {
        settle(heap, i, last);
    }
}

void due_heap_move(struct due_heap *heap, struct due *due, int64_t at_ms)
{
    MQ_ASSERT(due->place != 0 && heap->rows[due->place - 1] == due);
    due->at_ms = at_ms;
    settle(heap, due->place - 1, due);
}
