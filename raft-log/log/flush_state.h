/* Whether this member may have lost entries that it acknowledged, with a log that is flushed a little later than it
 * acknowledges (ASYNC_FLUSH). A process that dies loses nothing: what it wrote is in the page cache. A machine that
 * loses its power does. So the directory remembers in which boot of the machine it was last used, and whether it was
 * closed in order: used, not closed, and another boot now, means that the end of the log may be missing.
 *
 * <dir>/flush, 64 bytes, little-endian; written only where entries are or were flushed late:
 *    0  u32  magic "RMQF"
 *    4  u32  CRC-32C of bytes 8 to 63
 *    8  u16  format version (1), 10 u16 bit 0: entries are flushed late, bit 1: closed in order
 *   12  u32  zero
 *   16  40   boot id as the system gives it, zeros behind; all zeros: not known
 *   56  u64  incarnation of the directory
 *
 * Blocking calls, loop thread. */
#ifndef RLOG_LOG_FLUSH_STATE_H
#define RLOG_LOG_FLUSH_STATE_H

#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define FLUSH_BOOT_ID_BYTES 40u

struct rlog_disk;

struct flush_state {
    const struct rlog_disk *disk; /* borrowed */
    const char *dir;              /* borrowed */
    uint64_t incarnation;
    char boot[FLUSH_BOOT_ID_BYTES]; /* now; empty: not known */
    bool late;                      /* entries are flushed late from now on */
    bool stored;                    /* there is a file */
    bool was_late;                  /* the last use flushed late and was not closed in order */
    bool lost;                      /* the log's end may be missing */
};

/* Reads what the last use of the directory left. @late: how the log is to be used now. Returns 0, or a negative code
 * with one line in @problem: MQ_EVERSION, -errno. A file that is damaged counts as a lost end. */
int flush_state_open(struct flush_state *state, const struct rlog_disk *disk, const char *dir, uint64_t incarnation,
                     bool late, struct mq_buf *problem);

/* The directory is in use in this boot: durable before anything is acknowledged, after what a lost end means was made
 * durable, and after the log was opened, which syncs what the last use left in memory. Returns 0 or a negative code
 * with a line in @problem. */
int flush_state_begin(struct flush_state *state, struct mq_buf *problem);

/* Everything has been synced and nothing more will be written. A failure only logs: the next start knows less. */
void flush_state_end(struct flush_state *state);

#endif
