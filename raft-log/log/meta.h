/* What a member must not forget besides its log: who it is (identity), its term and vote, and what it may have
 * acknowledged and no longer has (meta, two checked copies that are both durable before a store returns). Blocking
 * calls, loop thread.
 *
 * <dir>/identity      protobuf Identity with version and CRC: group, member id, incarnation; written once
 * <dir>/meta-0, -1    version, sequence number, term, vote, claim, CRC; the good one with the higher sequence counts
 * <dir>/joining       empty; there until a new member's log has its first entries: only then may a log be empty
 * though the term is not <dir>/lock          held while a process uses the directory */
#ifndef RLOG_LOG_META_H
#define RLOG_LOG_META_H

#include "raft-log/log/claim.h"
#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct rlog_disk;

struct meta {
    char *dir;                    /* owned */
    const struct rlog_disk *disk; /* borrowed */
    uint64_t sequence;
    uint64_t term;
    uint32_t vote; /* 0: none */
    struct rlog_claim claim;
    uint64_t incarnation; /* of this directory; random, never 0 */
    bool joining;         /* <dir>/joining is there: the group took this directory in while its log was empty */
    int lock_fd;          /* owned; held with flock so that no second process takes the directory */
};

/* Opens or, in an empty directory, creates identity and meta. @empty: no identity was there before. Returns 0, or a
 * negative code with one line in @problem: MQ_EVERSION (other group, member or format: says which), MQ_ECORRUPT
 * (identity bad, or both copies of meta bad; one bad copy is a warning and is written anew), -EWOULDBLOCK (another
 * process uses it), -errno. */
int meta_open(struct meta *meta, const struct rlog_disk *disk, const char *dir, const char *group, uint32_t self,
              bool *empty, struct mq_buf *problem);

/* Whose directory it is, without taking it. @group: @cap bytes. Returns 0, or a negative code with a line in
 * @problem: -ENOENT (no identity), MQ_ECORRUPT, MQ_EVERSION, -errno. */
int meta_whose(const struct rlog_disk *disk, const char *dir, char *group, size_t cap, uint32_t *self,
               struct mq_buf *problem);

/* Makes term and vote durable in both copies. A failure to write or sync ends the process (I5). */
void meta_store(struct meta *meta, uint64_t term, uint32_t vote);

/* The same for the claim; index 0: none any more. */
void meta_store_claim(struct meta *meta, const struct rlog_claim *claim);

/* Notes durably that this directory, whose log is empty, was taken in; and that its log is not empty any more. A
 * failure ends the process. */
void meta_begin_joining(struct meta *meta);
void meta_end_joining(struct meta *meta);

void meta_close(struct meta *meta);

#endif
