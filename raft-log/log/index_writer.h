/* Notes in the index files which entries are durable, so that a start need not read them again: a block whenever
 * INDEX_BLOCK_ENTRIES_MAX entries, or INDEX_WRITER_BYTES of them, or the end of a segment is reached, and at close.
 * Entries that have no block (a start found them by reading) get one in the same way. Loop thread; the spare writes.
 *
 * A block that cannot be written is one warning; the segment's further blocks are then left out, as they would not
 * follow. */
#ifndef RLOG_LOG_INDEX_WRITER_H
#define RLOG_LOG_INDEX_WRITER_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"

#define INDEX_WRITER_BYTES (32u << 20)

struct index_writer {
    struct handover *h; /* borrowed, like the index */
    struct entry_index *index;
    uint64_t next;        /* the first entry without a block */
    uint64_t segment_pos; /* of the file that file_bytes is of; UINT64_MAX: none */
    uint64_t file_bytes;
    uint64_t broken_pos; /* the segment whose blocks cannot be written; UINT64_MAX: none */
    bool busy, closing;
};

/* @next: the first entry without a block; the file beside the segment of @segment_pos has @file_bytes. */
void index_writer_init(struct index_writer *writer, struct handover *h, struct entry_index *index, uint64_t next,
                       uint64_t segment_pos, uint64_t file_bytes);

/* Entries up to @durable are durable. */
void index_writer_durable(struct index_writer *writer, uint64_t durable);
/* Entries from @index on are gone; or, with the log behind another base, all: then it is base + 1. */
void index_writer_cut(struct index_writer *writer, uint64_t index);
/* The threads are gone: writes what is left up to @durable. */
void index_writer_close(struct index_writer *writer, uint64_t durable);

#endif
