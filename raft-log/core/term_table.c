#include "raft-log/core/term_table.h"

#include "raft-log/core/strict_heap.h"

#include <stdlib.h>

void term_table_fini(struct term_table *table)
{
    free(table->runs);
    *table = (struct term_table){0};
}

uint64_t term_table_get(const struct term_table *table, uint64_t index)
{
    if (index == 0 || index > table->last_index) {
        return 0;
    }
    for (size_t i = table->n; i > 0; i--) { /* what is asked for is nearly always in the last run */
        if (table->runs[i - 1].first <= index) {
            return table->runs[i - 1].term;
        }
    }
    return 0;
}

void term_table_append(struct term_table *table, uint64_t term)
{
    table->last_index++;
    if (table->n > 0 && table->runs[table->n - 1].term == term) {
        return;
    }
    if (table->n == table->cap) {
        table->cap = table->cap > 0 ? table->cap * 2 : 16;
        table->runs = strict_heap_realloc(NULL, table->runs, table->cap * sizeof(table->runs[0]));
    }
    table->runs[table->n++] = (struct term_run){table->last_index, term};
}

void term_table_truncate(struct term_table *table, uint64_t index)
{
    while (table->n > 0 && table->runs[table->n - 1].first >= index) {
        table->n--;
    }
    table->last_index = index - 1;
}
