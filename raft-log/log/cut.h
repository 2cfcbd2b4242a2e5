/* Zeroing the end of the log so that a crash at any instant shows the old tail or the new one.
 *
 * Entries that a new leader replaces are zeroed, because a shorter entry in their place would leave stale ones behind
 * it. Zeroing takes many blocks, which a crash can stop half way in any order; a half-zeroed end looks like rot. So:
 *
 *   1. the range goes into <dir>/cut, synced (the directory too when the file is new)   crash before: the old tail
 *   2. zeros over the range in every segment it touches, synced                         crash from here: the next
 * start
 *   3. zeros over the record in <dir>/cut, synced                                       repeats 2 and 3: the new tail
 *   4. the caller may append again
 *
 * The record is 64 bytes in one sector with a CRC. If it is torn in step 1, nothing was zeroed yet; if it is torn in
 * step 3, the zeros are durable already: either way a record that does not check is no record. An append never
 * reaches the disk while a record is there, so repeating step 2 cannot take newer entries away.
 *
 *    0  u32  magic "RMQT"
 *    4  u32  CRC-32C of bytes 8 to 63
 *    8  u16  format version (1)
 *   10  u16  zero, 12 u32 zero
 *   16  u64  from, 24 u64 to: positions in the commit log
 *   32       zeros */
#ifndef RLOG_LOG_CUT_H
#define RLOG_LOG_CUT_H

#include "raft-log/log/handover.h"

/* Carries the steps out. The writer is idle. Any failure ends the process. */
void cut_log(struct handover *h, uint64_t from, uint64_t to);
/* The same for a start, which can still refuse. Returns 0, MQ_ENOMEM or -errno. */
int cut_try(struct handover *h, uint64_t from, uint64_t to);

/* At start, before anything is read from the segments: finishes a cut that a crash interrupted. Returns 0; or
 * MQ_EVERSION, MQ_ECORRUPT or -errno with one line in @problem. */
int cut_finish(struct handover *h, struct mq_buf *problem);

#endif
