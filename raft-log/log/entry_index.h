/* Where each entry that is held lies and which term it has. The newest ones are known one by one, in memory: 8 bytes
 * each (in chunks of 32 KiB) and 16 for each change of term. When a block of them is in the index file they become a
 * block here too (index_blocks.h), and what is put before the log comes as blocks; so the memory does not grow with
 * the entries. Everything else about an entry is read from its header.
 *
 * The held entries are one range, which grows and shrinks at both ends. */
#ifndef RLOG_LOG_ENTRY_INDEX_H
#define RLOG_LOG_ENTRY_INDEX_H

#include "raft-log/log/index_blocks.h"

#define ENTRY_INDEX_PREPEND_CHANGES_MAX 256u /* CHANGE entries among those promised by entry_index_promise */
#define ENTRY_INDEX_PREPEND_TERMS 64u        /* changes of term among those that cost no reading of headers later */

struct entry_term_run {
    uint64_t first_index;
    uint64_t term;
};

struct entry_index {
    struct index_blocks blocks; /* of all entries below own_index */
    uint64_t **chunks;          /* owned, n_chunks of them; entry i lies in the one numbered i / 4096 */
    uint64_t first_chunk;       /* number of chunks[0] */
    size_t n_chunks, chunks_cap;
    struct entry_term_run *runs; /* owned; of entries from own_index on; indexes and terms both rise */
    size_t n_runs, runs_cap;
    uint64_t *changes; /* owned, ascending; of all entries */
    size_t n_changes, changes_cap;
    size_t changes_promised;
    uint64_t first_index, last_index; /* none are held: first is last + 1 */
    uint64_t own_index;               /* the first one that is known by itself; last + 1: none is */
};

/* Empty, the first entry will be 1. @source: borrowed; NULL as long as no blocks are made of entries. */
void entry_index_init(struct entry_index *index, const struct index_source *source);
void entry_index_fini(struct entry_index *index);
/* Forgets everything; the next entry will be @base + 1. */
void entry_index_begin(struct entry_index *index, uint64_t base);

/* Makes room for one more entry, so that the next entry_index_append cannot fail. Returns 0 or MQ_ENOMEM. */
int entry_index_reserve(struct entry_index *index);

/* Adds entry last_index + 1. @term: not below that of the entry before. Room must have been reserved. */
void entry_index_append(struct entry_index *index, uint64_t pos, uint64_t term);
/* The last entry is a CHANGE. */
void entry_index_note_change(struct entry_index *index);
/* Adds the entries of @block, which begins with last_index + 1. @changes: the @n indexes of CHANGE entries in it.
 * Returns 0 or MQ_ENOMEM. */
int entry_index_append_block(struct entry_index *index, const struct index_block *block, const uint64_t *changes,
                             size_t n);

/* Makes room for the @n entries before the first, whose bytes begin at most @bytes before it, whatever is appended
 * meanwhile. At most one promise at a time; it ends with entry_index_promise_end. Returns 0 or MQ_ENOMEM. */
int entry_index_promise(struct entry_index *index, uint64_t n, uint64_t bytes);
void entry_index_promise_end(struct entry_index *index);
/* Adds entry first_index - 1, which was promised. */
void entry_index_prepend(struct entry_index *index, uint64_t pos, uint64_t term, bool change);

/* Makes room for one block, for entry_index_seal. Returns 0 or MQ_ENOMEM. */
int entry_index_reserve_block(struct entry_index *index);
/* Entries @first to @last lie one behind the other in one segment, and their block in its index file at @file_at, in
 * @file_bytes (or INDEX_BLOCK_NO_FILE): they are known by that from now on. @first: of a block, or the first that is
 * known by itself. Nothing happens if entries have gone that were to be among them. */
void entry_index_seal(struct entry_index *index, uint64_t first, uint64_t last, uint32_t file_at,
                      uint32_t file_bytes);
/* The first entry from @i on that is in no block with a file; last_index + 1 if there is none. */
uint64_t entry_index_unfiled(const struct entry_index *index, uint64_t i);
/* The block of entry @i, or NULL. */
const struct index_block *entry_index_block(const struct entry_index *index, uint64_t i);

/* Of an entry between first_index and last_index. Of an older one it may have to be read. */
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
