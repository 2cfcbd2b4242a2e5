#include "broker/state/due_heap.h"

#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define ROWS 500

static uint64_t next(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

/* The smallest of those that are in, looked for one by one. */
static const struct due *smallest(const struct due *rows)
{
    const struct due *best = NULL;

    for (int i = 0; i < ROWS; i++) {
        const struct due *row = &rows[i];

        if (row->place != 0 &&
            (best == NULL || row->at_ms < best->at_ms || (row->at_ms == best->at_ms && row->order < best->order))) {
            best = row;
        }
    }
    return best;
}

static void the_first_is_always_the_one_whose_time_comes_next(void **state)
{
    struct due rows[ROWS] = {0};
    struct due_heap heap = {0};
    uint64_t random = 7;

    (void)state;
    for (int i = 0; i < ROWS; i++) {
        rows[i].order = (uint64_t)i;
    }
    for (int step = 0; step < 20000; step++) {
        struct due *row = &rows[next(&random) % ROWS];
        int64_t at_ms = (int64_t)(next(&random) % 50) - 25;

        switch (next(&random) % 3) {
        case 0:
            if (row->place == 0) {
                row->at_ms = at_ms;
                assert_int_equal(due_heap_put(&heap, row), 0);
            }
            break;
        case 1:
            if (row->place != 0) {
                due_heap_move(&heap, row, at_ms);
            }
            break;
        default:
            due_heap_remove(&heap, row);
            assert_int_equal(row->place, 0);
            break;
        }
        assert_ptr_equal(due_heap_first(&heap), smallest(rows));
    }
    due_heap_fini(&heap);
}

static void rows_of_one_time_come_in_their_order(void **state)
{
    struct due rows[100] = {0};
    struct due_heap heap = {0};

    (void)state;
    for (int i = 0; i < 100; i++) {
        rows[i].order = (uint64_t)(i * 37 % 100);
        assert_int_equal(due_heap_put(&heap, &rows[i]), 0);
    }
    for (uint64_t i = 0; i < 100; i++) {
        struct due *first = due_heap_first(&heap);

        assert_int_equal(first->order, i);
        due_heap_remove(&heap, first);
    }
    assert_null(due_heap_first(&heap));
    due_heap_fini(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_is_always_the_one_whose_time_comes_next),
        cmocka_unit_test(rows_of_one_time_come_in_their_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
