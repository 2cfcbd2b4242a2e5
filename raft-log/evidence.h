/* What a start knows, besides the entries themselves, of what this member acknowledged and of what was committed:
 * how far entries must be in the log, and the claim on those that are not. Loop's thread, before the loop turns.
 *
 * Three things say that an entry was on this disk when it was committed:
 *   commit-mark                                      synced and committed, stored once a second
 *   the newest snapshot                              applied here, so committed; its file counts only when what it
 *                                                    stands for is synced (snapshots.h)
 *   the commit index in headers behind a bad entry   found by the walk (log/recover.h)
 *
 * The first two say nothing in three cases:
 *   an open claim     stands for all that was in the log: what it speaks of was cut and comes back one by one
 *   <dir>/backfill    the newest snapshot may have been fetched, and be ahead of a log that never had its entries
 *   a lost end        (flush_state.h) what was acknowledged last may be missing, and is claimed as a whole */
#ifndef RLOG_EVIDENCE_H
#define RLOG_EVIDENCE_H

#include "raft-log/snapshots.h"

struct rlog;
struct rlog_claim;

/* Reads what the directory says of its last use, and claims a lost end. Before the log is opened. Returns 0 or a
 * negative code with a line in @problem. */
int evidence_of_last_use(struct rlog *log, struct mq_buf *problem);

/* Up to where entries were committed while they were on this disk: the mark's word and the newest snapshot's. Returns
 * 0 and sets @out (0: nothing is known), or -errno with a line in @problem. */
int evidence_committed(const struct rlog *log, uint64_t *out, struct mq_buf *problem);

/* The newest snapshot's word alone: the index of @newest (NULL: none), unless it may have been fetched. */
int evidence_of_snapshot(const struct rlog_disk *disk, const char *dir, const struct snapshot_info *newest,
                         uint64_t *out, struct mq_buf *problem);

/* As commitlog_options.keep_claim; @data: the log. A member that is the only voter refuses: nobody could bring again
 * what is cut. */
int evidence_keep_claim(void *data, const struct rlog_claim *claim, const uint8_t *change, uint32_t n,
                        struct mq_buf *why);

#endif
