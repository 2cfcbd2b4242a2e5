/* Notes in the index files which entries are durable, so that a start need not read them again, and the entry index
 * need not know them one by one: a block whenever INDEX_BLOCK_ENTRIES_MAX entries, or INDEX_WRITER_BYTES of them, or
 * INDEX_WRITER_TERMS terms, or the end of a segment is reached, and at close. Entries that have no block (a start
 * found them by reading, or they were put before the log) get one in the same way, segment by segment. Loop thread;
 * the spare writes, and reads first what the loop is going to look at of entries that were put before the log: those
 * are not in memory.
 *
 * A block that cannot be written is one warning; the segment's further blocks are then left out, as they would not
 * follow. */
#ifndef RLOG_LOG_INDEX_WRITER_H
#define RLOG_LOG_INDEX_WRITER_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"

#define INDEX_WRITER_BYTES (32u << 20)
#define INDEX_WRITER_TERMS 256u

struct index_job;

struct index_writer {
    struct handover *h; /* borrowed, like the index */
    struct entry_index *index;
    uint64_t next;       /* no entry below it waits for a block, but for those that are put before the log */
    uint64_t below;      /* position; of those the ones above it do not wait any more */
    uint64_t broken_pos; /* the segment whose blocks cannot be written; UINT64_MAX: none */
    uint64_t read_first, read_last; /* the headers of these two were read last by the spare; 0: none */
    struct index_job *job;          /* the spare has it; NULL: none */
    bool closing;
};

/* Begins with the first entry of @index that has no block. */
void index_writer_init(struct index_writer *writer, struct handover *h, struct entry_index *index);

/* Entries up to @durable are durable. */
void index_writer_durable(struct index_writer *writer, uint64_t durable);
/* Entries from @index on are about to go. */
void index_writer_cut(struct index_writer *writer, uint64_t index);
/* The threads are gone: writes what is left up to @durable. */
void index_writer_close(struct index_writer *writer, uint64_t durable);

#endif
