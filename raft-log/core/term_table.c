#include "raft-log/core/term_table.h"

#include "raft-log/core/strict_heap.h"

#include <stdlib.h>
#include <string.h>

void term_table_fini(struct term_table *table)
{
    free(table->runs);
    *table = (struct term_table){0};
}

void term_table_reset(struct term_table *table, uint64_t base_index, uint64_t base_term)
{
    table->n = 0;
    table->base_index = table->last_index = base_index;
    table->base_term = base_term;
}

uint64_t term_table_get(const struct term_table *table, uint64_t index)
{
    if (index == table->base_index) {
        return table->base_term;
    }
    if (index < table->base_index || index > table->last_index) {
        return 0;
    }
    for (size_t i = table->n; i > 0; i--) { /* what is asked for is nearly always in the last run */
        if (table->runs[i - 1].first <= index) {
            return table->runs[i - 1].term;
        }
    }
    return 0;
}

void term_table_append_run(struct term_table *table, uint64_t last, uint64_t term)
{
    term_table_append(table, term);
    table->last_index = last;
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

void term_table_trim(struct term_table *table, uint64_t index)
{
    uint64_t term = term_table_get(table, index);
    size_t gone = 0;

    while (gone + 1 < table->n && table->runs[gone + 1].first <= index + 1) {
        gone++;
    }
    if (index == table->last_index) {
        gone = table->n;
    }
    if (gone > 0) {
        table->n -= gone;
        memmove(table->runs, table->runs + gone, table->n * sizeof(table->runs[0]));
    }
    if (table->n > 0 && table->runs[0].first <= index) {
        table->runs[0].first = index + 1;
    }
    table->base_index = index;
    table->base_term = term;
}
