/* What a start need not read again: <dir>/log/<first position, 20 digits>.index beside each segment says which
 * entries of it were durable and good, and where they lie. Derived: a missing or bad one only means that the segment
 * is walked.
 *
 * The file is a row of blocks, little-endian, each padded to 8 bytes:
 *    0  u32  magic "RMQX"
 *    4  u32  CRC-32C of bytes 8 to the end of the block
 *    8  u16  format version (1), 10 u16 zero
 *   12  u32  entries
 *   16  u64  index of the first one
 *   24  u64  end of the last one: position in the commit log
 *   32  u64  commit field of the last one
 *   40  i64  store_ms of the last one
 *   48  u32  header CRC of the entry before the first, 52 u32 of the last
 *   56  u32  runs, 60 u32 changes
 *   64       runs: u64 term, u32 number in the block of the first entry that has it, u32 zero
 *            changes: u32 number in the block of each CHANGE
 *            offsets: u32 for each entry, its position in the segment divided by 8
 *
 * A block is written when its entries are durable. A truncation is not noted: the next block that is written begins
 * lower, and takes the place of those that it overlaps; the last block counts only if the log has its last entry,
 * which is what the chain of header checksums makes the test of all before it. */
#ifndef RLOG_LOG_INDEX_FILE_H
#define RLOG_LOG_INDEX_FILE_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/segment.h"

#define INDEX_FILE_SUFFIX ".index"
#define INDEX_BLOCK_HEADER_BYTES 64u

/* What follows from all blocks up to one. */
struct index_mark {
    uint64_t last_index, last_term, end_pos;
    uint32_t last_crc;
    int64_t store_ms;
    uint64_t commit;
};

/* Appends the block of entries @first to @last of @index, which lie in @segment, to @out. Reads two headers. Returns
 * 0, MQ_ENOMEM or MQ_ECORRUPT (the headers are not what the index says). */
int index_block_encode(const struct entry_index *index, const struct segment *segment, uint64_t first, uint64_t last,
                       struct mq_buf *out);

/* Adds what the file beside @segment says of the entries behind @mark to @index, in whole blocks that end up to
 * @limit, and moves @mark there. Returns 0, also when there is nothing, or MQ_ENOMEM. */
int index_file_load(const char *dir, const struct segment *segment, uint64_t limit, struct entry_index *index,
                    struct index_mark *mark);

/* Reads @block of @segment from the file beside that: load of struct index_source. */
int32_t index_file_read(const char *dir, const struct segment *segment, const struct index_block *block,
                        uint32_t *offsets, struct index_run *runs);

/* The highest position that a block of the file beside @segment speaks of; 0: none does. */
uint64_t index_file_end(const char *dir, const struct segment *segment);

/* Writes a block at @at of the file beside the segment that begins at @first_pos and syncs it. Any thread. Returns 0,
 * MQ_ENOMEM or -errno. */
int index_file_write(const struct rlog_disk *disk, const char *dir, uint64_t first_pos, const struct mq_buf *block,
                     uint64_t at);

/* Removes the file beside a segment, if there is one. */
void index_file_remove(const struct rlog_disk *disk, const char *dir, uint64_t first_pos);

#endif
