/* Where each entry that is held lies and which term it has, in memory: 8 bytes an entry for the position (in chunks
 * of 32 KiB), one 16-byte run for each change of term, and the indexes of the CHANGE entries. A log of a million
 * entries costs 8 MiB; the smallest entry has 96 bytes on disk, so the index is never above a twelfth of the log.
 * Everything else about an entry is read from its header.
 *
 * The held entries are one range, which grows and shrinks at both ends. */
#ifndef RLOG_LOG_ENTRY_INDEX_H
#define RLOG_LOG_ENTRY_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRY_INDEX_PREPEND_CHANGES_MAX 256u /* CHANGE entries among those promised by entry_index_promise */

struct entry_term_run {
    uint64_t first_index;
    uint64_t term;
};

struct entry_index {
    uint64_t **chunks;    /* owned, n_chunks of them; entry i lies in the one numbered i / 4096 */
    uint64_t first_chunk; /* number of chunks[0] */
    size_t n_chunks, chunks_cap;
    struct entry_term_run *runs; /* owned; indexes and terms both rise */
    size_t n_runs, runs_cap;
    uint64_t *changes; /* owned, ascending */
    size_t n_changes, changes_cap;
    size_t runs_promised, changes_promised;
    uint64_t first_index, last_index; /* none are held: first is last + 1 */
};

/* Empty, the first entry will be 1. */
void entry_index_init(struct entry_index *index);
void entry_index_fini(struct entry_index *index);
/* Forgets everything; the next entry will be @base + 1. */
void entry_index_begin(struct entry_index *index, uint64_t base);

/* Makes room for one more entry, so that the next entry_index_append cannot fail. Returns 0 or MQ_ENOMEM. */
int entry_index_reserve(struct entry_index *index);

/* Adds entry last_index + 1. @term: not below that of the entry before. Room must have been reserved. */
void entry_index_append(struct entry_index *index, uint64_t pos, uint64_t term);
/* The last entry is a CHANGE. */
void entry_index_note_change(struct entry_index *index);

/* Makes room for @n entries before the first, of at most @terms terms, whatever is appended meanwhile. At most one
 * promise at a time; it ends with entry_index_promise_end. Returns 0 or MQ_ENOMEM. */
int entry_index_promise(struct entry_index *index, uint64_t n, uint64_t terms);
void entry_index_promise_end(struct entry_index *index);
/* Adds entry first_index - 1, which was promised. */
void entry_index_prepend(struct entry_index *index, uint64_t pos, uint64_t term, bool change);

/* Of an entry between first_index and last_index. */
uint64_t entry_index_pos(const struct entry_index *index, uint64_t i);
uint64_t entry_index_term(const struct entry_index *index, uint64_t i);
/* The last one that follows it in the same term. */
uint64_t entry_index_term_end(const struct entry_index *index, uint64_t i);

/* The first held entry that begins at or above @pos; last_index + 1 if there is none. */
uint64_t entry_index_from_pos(const struct entry_index *index, uint64_t pos);
/* The last held CHANGE entry up to @i; 0 if there is none. */
uint64_t entry_index_change_before(const struct entry_index *index, uint64_t i);

/* Forgets entries from @i on. */
void entry_index_truncate(struct entry_index *index, uint64_t i);
/* Forgets entries below @i, which is at most last_index + 1. */
void entry_index_trim(struct entry_index *index, uint64_t i);

#endif
