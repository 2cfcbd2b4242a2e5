/* The terms of all entries of a log, as runs: a term covers many entries, so a long log needs a few words. */
#ifndef RLOG_CORE_TERM_TABLE_H
#define RLOG_CORE_TERM_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct term_run {
    uint64_t first; /* index of the first entry of the run */
    uint64_t term;
};

struct term_table {        /* zero-initialise */
    struct term_run *runs; /* owned; ascending */
    size_t n, cap;
    uint64_t base_index, base_term; /* of the entry before the first; 0: the log begins with entry 1 */
    uint64_t last_index;
};

void term_table_fini(struct term_table *table);

/* Forgets all entries: the next one follows (@base_index, @base_term). */
void term_table_reset(struct term_table *table, uint64_t base_index, uint64_t base_term);

/* 0 for an index that the log does not have; the base has a term. */
uint64_t term_table_get(const struct term_table *table, uint64_t index);

/* The next entry has @term. Ends the process when memory is out, as everything inside consensus does. */
void term_table_append(struct term_table *table, uint64_t term);
/* The next entries, up to @last, have @term. */
void term_table_append_run(struct term_table *table, uint64_t last, uint64_t term);

/* Removes entries from @index on, which is above the base. */
void term_table_truncate(struct term_table *table, uint64_t index);

/* Removes entries up to @index, which the table has: it becomes the base. */
void term_table_trim(struct term_table *table, uint64_t index);

#endif
