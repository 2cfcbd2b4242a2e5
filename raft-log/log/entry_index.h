/* Where each entry lies and which term it has, in memory: 8 bytes an entry for the position (in chunks of 32 KiB),
 * and one 16-byte run for each change of term. A log of a million entries costs 8 MiB; the smallest entry has 96
 * bytes on disk, so the index is never above a twelfth of the log. Everything else about an entry is read from its
 * header. */
#ifndef RLOG_LOG_ENTRY_INDEX_H
#define RLOG_LOG_ENTRY_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct entry_term_run {
    uint64_t first_index;
    uint64_t term;
};

struct entry_index {
    uint64_t **chunks;           /* owned, n_chunks of them */
    size_t n_chunks, chunks_cap; /* chunks stay after a truncation, to be filled again */
    struct entry_term_run *runs; /* owned; indexes and terms both rise */
    size_t n_runs, runs_cap;
    uint64_t last_index; /* 0 when empty; the first is 1 */
};

void entry_index_init(struct entry_index *index);
void entry_index_fini(struct entry_index *index);

/* Makes room for one more entry, so that the next entry_index_append cannot fail. Returns 0 or MQ_ENOMEM. */
int entry_index_reserve(struct entry_index *index);

/* Adds entry last_index + 1. @term: not below that of the entry before. Room must have been reserved. */
void entry_index_append(struct entry_index *index, uint64_t pos, uint64_t term);

/* Of an entry between 1 and last_index. */
uint64_t entry_index_pos(const struct entry_index *index, uint64_t i);
uint64_t entry_index_term(const struct entry_index *index, uint64_t i);

/* Forgets entries from @i on. */
void entry_index_truncate(struct entry_index *index, uint64_t i);

#endif
