/* One snapshot of the state: <dir>/snapshot/<index, 20 digits>, what came of all entries up to that index.
 * Little-endian.
 *
 *   header
 *    0  u32  magic "RMQS"
 *    4  u32  CRC-32C of everything in the header behind it
 *    8  u16  format version (1)
 *   10  u16  number of sections
 *   12  u32  bytes of the membership
 *   16  u64  index and 24 u64 term of the last entry that it stands for
 *   32  u64  position behind that entry
 *   40  i64  store_ms of that entry
 *   48  u64  index of the CHANGE entry in force
 *   56  u32  header CRC of that entry: the chain goes on from it
 *   60  u32  feature level that reads the whole of it
 *   64       sections, 16 bytes each, ascending by id:
 *            u16 id (not 0), u16 version, u32 feature level, u64 hash of what it holds
 *            membership, as a CHANGE entry carries it, padded with zeros to 8 bytes
 *
 *   blocks, one behind the other
 *    0  u32  magic "RMQC"
 *    4  u32  CRC-32C of the block behind it, seeded with that of the block before (the first: of the header)
 *    8  u16  section id, 0 in the last block
 *   10  u16  zero
 *   12  u32  bytes of the payload, 0 in the last block
 *   16  u64  number of the block, from 1
 *   24       payload: whole rows of the section
 *
 * Blocks of different sections may alternate. The file ends behind the last block. Every checksum hangs on the one
 * before, so that a good last block stands for the whole file.
 *
 * A file is written as <index>.new, synced, renamed, and read again before it counts. */
#ifndef RLOG_LOG_SNAPSHOT_FILE_H
#define RLOG_LOG_SNAPSHOT_FILE_H

#include "raft-log/include/raftlog/fsm.h"
#include "raft-log/log/disk.h"
#include "remoting/base/buf.h"

#define SNAPSHOT_MEMBERSHIP_MAX 8192u
#define SNAPSHOT_BLOCK_MAX (16u << 20) /* payload of one block */
#define SNAPSHOT_PATH_MAX 1024u

struct snapshot_info {
    uint64_t index, term; /* of the last entry that it stands for; index 0: no snapshot */
    uint64_t end_pos;     /* behind that entry */
    int64_t store_ms;     /* of that entry */
    uint32_t crc;         /* of that entry's header */
    uint32_t level;       /* feature level that reads it */
    uint64_t change_index;
    uint32_t membership_bytes;
    uint32_t n_sections;
    struct rlog_section sections[RLOG_SECTIONS_MAX]; /* their names are not in the file */
    uint8_t membership[SNAPSHOT_MEMBERSHIP_MAX];     /* as of index, in the form of member.h */
    uint64_t bytes; /* of the file; set when it has been written or read to its end */
    char path[SNAPSHOT_PATH_MAX];
};

/* Writing. One thread at a time; blocking. */
struct snapshot_writer {
    const struct rlog_disk *disk;
    int fd; /* -1: none */
    char path[SNAPSHOT_PATH_MAX];
    uint64_t at;
    uint32_t crc; /* of the block before */
    uint64_t blocks;
};

/* Makes @path (anything there is lost) and writes the header. Returns 0, MQ_EINVAL (sections not ascending, too many
 * or too much membership), MQ_ETOOBIG (the path) or -errno; then nothing is left. */
int snapshot_writer_open(struct snapshot_writer *writer, const struct rlog_disk *disk, const char *path,
                         const struct snapshot_info *info);
/* One block. @n: 1 to SNAPSHOT_BLOCK_MAX. Returns 0 or -errno. */
int snapshot_writer_put(struct snapshot_writer *writer, uint16_t section, const void *rows, uint32_t n);
/* The last block, and a sync. Returns 0 with @bytes set, or -errno; closed either way. */
int snapshot_writer_finish(struct snapshot_writer *writer, uint64_t *bytes);
/* Closes and removes what was written. */
void snapshot_writer_abort(struct snapshot_writer *writer);

/* Reading. One thread at a time; blocking. */
struct snapshot_reader {
    const struct rlog_disk *disk;
    int fd;
    uint64_t at;
    uint32_t crc;
    uint64_t blocks;
    struct mq_buf buf; /* owned: the header, then the block */
    struct snapshot_info *info;
    struct mq_buf *problem;
};

struct snapshot_block {
    uint16_t section;
    const uint8_t *rows; /* borrowed until the next call */
    uint32_t n;
};

/* Opens the file and reads its header into @info (borrowed until the close, as is @problem). Returns 0; or
 * MQ_ECORRUPT, MQ_EVERSION, MQ_ENOMEM or -errno with a line in @problem. */
int snapshot_reader_open(struct snapshot_reader *reader, const struct rlog_disk *disk, const char *path,
                         struct snapshot_info *info, struct mq_buf *problem);
/* The next block: 1 with @out; 0 behind the last one: the file is whole, and info->bytes is set; or as above. */
int snapshot_reader_next(struct snapshot_reader *reader, struct snapshot_block *out);
void snapshot_reader_close(struct snapshot_reader *reader);

/* Reads the whole file, from the disk where the disk lets go of what memory holds of it. Returns as
 * snapshot_reader_open. */
int snapshot_file_check(const struct rlog_disk *disk, const char *path, struct snapshot_info *info,
                        struct mq_buf *problem);

#endif
