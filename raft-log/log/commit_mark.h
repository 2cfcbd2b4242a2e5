/* How far entries were known to be committed while they were on this disk: evidence for the next start, which must
 * tell a write that was never synced from one that the disk lost. Nothing depends on it for safety, so it may lag: it
 * is stored at most once a second while it moves, off the loop, and at the close.
 *
 * <dir>/commit-mark: two records of 64 bytes at 0 and 4096, written in turn, so that one of them is always whole;
 * little-endian:
 *    0  u32  magic "RMQC"
 *    4  u32  CRC-32C of bytes 8 to 63
 *    8  u16  format version (1), 10 u16 zero, 12 u32 zero
 *   16  u64  sequence; the good record with the higher one counts
 *   24  u64  incarnation of the directory
 *   32  u64  index
 *   40       zeros
 *
 * Loop's thread. */
#ifndef RLOG_LOG_COMMIT_MARK_H
#define RLOG_LOG_COMMIT_MARK_H

#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct rlog_disk;

struct commit_mark {
    const struct rlog_disk *disk; /* borrowed until closed */
    int fd;                       /* owned; -1: none */
    uint64_t incarnation;
    uint64_t sequence, index; /* as stored, or being stored */
    uv_timer_t timer;
    uv_work_t work;
    bool busy, closing; /* the pool has the file; wait for it, then close */
    int rc;             /* of the pool's last store */
    bool told;          /* that storing fails */
    uint64_t (*committed)(void *data);
    void *data;
    void (*closed)(void *data);
    void *closed_data;
};

/* Opens the file, or makes it, and reads what it says; mark->index is 0 if it says nothing that can be believed.
 * Returns 0; or MQ_ENOMEM, MQ_EVERSION or -errno with a line in @problem. */
int commit_mark_open(struct commit_mark *mark, const struct rlog_disk *disk, const char *dir, uint64_t incarnation,
                     struct mq_buf *problem);

/* Closes one that was not started. */
void commit_mark_drop(struct commit_mark *mark);

/* From now on @committed is asked once a second for an index that is committed and durable here. */
void commit_mark_start(struct commit_mark *mark, uv_loop_t *loop, uint64_t (*committed)(void *data), void *data);

/* Stores a last time; the memory may go when @closed comes, on a later turn of the loop. */
void commit_mark_close(struct commit_mark *mark, void (*closed)(void *data), void *data);

#endif
