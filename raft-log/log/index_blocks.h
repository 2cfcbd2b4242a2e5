/* Where older entries lie: by blocks of entries that lie one behind the other in one segment, 48 bytes for up to
 * 16384 entries. What a block leaves out is read back when it is asked for: from the block in the segment's index
 * file (index_file.h), or, where there is none or it cannot be read, by going over the headers. The offsets of the
 * last few blocks that were asked for are kept, and the places of entries that were put before the others until they
 * are in a file: their bytes are not in memory. Belongs to the loop's thread. */
#ifndef RLOG_LOG_INDEX_BLOCKS_H
#define RLOG_LOG_INDEX_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INDEX_BLOCK_ENTRIES_MAX 16384u
#define INDEX_BLOCK_WALKED_MAX 1024u /* entries of a block without a file, where we may choose */
#define INDEX_BLOCK_NO_FILE UINT32_MAX
#define INDEX_PLACES_MAX (4u << 20) /* 16 MiB; of more, the headers are read */
#define INDEX_BLOCKS_KEPT                                                                                            \
    4u /* blocks whose offsets are in memory: 256 KiB, and 16 bytes for each change of term in them */

struct index_block {
    uint64_t first_index, first_pos; /* position of the header in the commit log */
    uint64_t first_term, last_term;
    uint32_t n;          /* entries */
    uint32_t file_at;    /* of the block in the index file, which may know of more entries; INDEX_BLOCK_NO_FILE */
    uint32_t file_bytes; /* it has there */
};

/* Entries of a block that follow each other and have one term. */
struct index_run {
    uint32_t number; /* in the block, of the first */
    uint64_t term;
};

/* What the log's files say. */
struct index_source {
    uint64_t segment_bytes;
    void *data;
    /* Of @block, which has a file: the places of its entries, counted from first_pos and divided by 8, to @offsets,
     * and its runs, at most as many as entries, to @runs (NULL: not wanted). Returns how many runs, or -1 if the file
     * does not say it: what was filled in means nothing. NULL: never. */
    int32_t (*load)(void *data, const struct index_block *block, uint32_t *offsets, struct index_run *runs);
    /* Term and length of the entry at @pos, which is held. */
    void (*entry)(void *data, uint64_t pos, uint64_t *term, uint32_t *bytes);
};

/* Places of entries that were prepended and are in no file yet. Entry end - 1 - k lies at list[from + k] * 8 of its
 * segment. */
struct index_places {
    uint32_t *list; /* owned */
    size_t from, n, cap;
    uint64_t end; /* index behind the last one */
};

/* What was read of a block. */
struct index_kept {
    uint64_t first_index, used; /* used: when, as a count */
    uint64_t first_pos;
    uint32_t n, cap;        /* n 0: free */
    uint32_t *list;         /* owned; offsets */
    struct index_run *runs; /* owned; NULL where there is one term, or was no memory */
    uint32_t n_runs;
};

struct index_blocks {
    const struct index_source *source; /* borrowed; may be NULL while there are no blocks */
    struct index_block *list;          /* owned; each begins where the one before ends */
    size_t n, cap;
    size_t promised; /* slots that reserve leaves alone */
    struct index_kept kept[INDEX_BLOCKS_KEPT];
    uint64_t uses;
    struct index_places places;
    uint64_t prepended;   /* the entry that was prepended last; 0: none */
    size_t terms_to_come; /* changes of term among those that are prepended, for which there is a slot */
};

/* Zero-initialise, but for the source. Forgets all blocks. */
void index_blocks_clear(struct index_blocks *blocks);

/* Makes room for @n more, besides those promised. Returns 0 or MQ_ENOMEM. */
int index_blocks_reserve(struct index_blocks *blocks, size_t n);
/* Adds one behind the last. Room must have been reserved. */
void index_blocks_append(struct index_blocks *blocks, const struct index_block *block);
/* Adds the entry before the first one of the first block: to that if it was made in this way, or as a block of its
 * own: where others begin somebody may be writing down right now. So does a term as a rule, which then needs no
 * header to be read. */
void index_blocks_prepend(struct index_blocks *blocks, uint64_t index, uint64_t pos, uint64_t term);
/* @block, which begins where one begins or behind the last, takes the place of all that others say of its entries.
 * Room for one. */
void index_blocks_replace(struct index_blocks *blocks, const struct index_block *block);

/* The block of entry @i, or NULL. */
const struct index_block *index_blocks_find(const struct index_blocks *blocks, uint64_t i);
/* Of an entry in one of the blocks. They keep what they read, which is no change. */
uint64_t index_blocks_pos(const struct index_blocks *blocks, uint64_t i);
uint64_t index_blocks_term(const struct index_blocks *blocks, uint64_t i);
/* The last one in a block that follows it in the same term. */
uint64_t index_blocks_term_end(const struct index_blocks *blocks, uint64_t i);
/* The first entry that begins at or above @pos. Returns false if there is none in a block. */
bool index_blocks_from_pos(const struct index_blocks *blocks, uint64_t pos, uint64_t *out);

/* Forgets entries from @i on. */
void index_blocks_truncate(struct index_blocks *blocks, uint64_t i);
/* Forgets entries below @i. */
void index_blocks_trim(struct index_blocks *blocks, uint64_t i);

#endif
