#include "raft-log/evidence.h"

#include "raft-log/rlog.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>

/* The machine lost its power while entries were acknowledged before they were synced: which ones are missing is not
 * known, and so the claim is on the first entry of a term that nobody has led yet. Whoever leads in such a term was
 * elected without this member's vote, or by a log that reaches into such a term, and so holds everything that was
 * committed before; and once this log holds an entry of such a term, it does too. Durable before the directory
 * counts as used in this boot. Whoever is the only voter finds at once that nobody holds more (repair.h). */
static void claim_lost_end(struct rlog *log)
{
    struct rlog_claim claim = {.term = log->meta.term + 1, .index = 1};

    if (!log->flush.lost || RAFTMQ_DEFECT(LOST_END_IGNORED)) {
        return;
    }
    mq_log_warn("log",
                "%s: the power was lost while entries were flushed late: this member votes for nobody until it "
                "has caught up with a leader of term %" PRIu64 " or later",
                log->options.dir, claim.term);
    repair_keep_claim(log, &claim);
}

int evidence_of_last_use(struct rlog *log, struct mq_buf *problem)
{
    const struct rlog_options *o = &log->options;
    int rc = flush_state_open(&log->flush, o->disk, o->dir, log->meta.incarnation, o->flush_ms != 0, problem);

    log->claimed_before = log->meta.claim.index != 0;
    if (rc == 0) {
        claim_lost_end(log);
    }
    return rc;
}

int evidence_of_snapshot(const struct rlog_disk *disk, const char *dir, const struct snapshot_info *newest,
                         uint64_t *out, struct mq_buf *problem)
{
    bool fetched;
    int rc = catchup_has_marker(disk, dir, &fetched);

    if (rc != 0) {
        (void)mq_buf_printf(problem, "%s: %s", dir, mq_strerror(rc));
        return rc;
    }
    *out = newest != NULL && !fetched && !RAFTMQ_DEFECT(SNAPSHOT_NO_EVIDENCE) ? newest->index : 0;
    return 0;
}

int evidence_committed(const struct rlog *log, uint64_t *out, struct mq_buf *problem)
{
    const struct rlog_options *o = &log->options;
    uint64_t snapshot = 0;
    int rc = 0;

    *out = 0;
    if (log->claimed_before) {
        return 0;
    }
    if (!log->flush.lost) {
        rc = evidence_of_snapshot(o->disk, o->dir, snapshots_newest(log->state.snapshots), &snapshot, problem);
    }
    *out = log->mark.index > snapshot ? log->mark.index : snapshot;
    return rc;
}

/* Who could bring anything again is said by the log. The configuration may name members that were never taken in, or
 * that were put out, and counts only where nothing of the log is sure. */
static bool is_only_voter(const struct rlog *log, const uint8_t *change, uint32_t n)
{
    struct membership members;
    const struct member *self;

    if (n == 0 || membership_decode(change, n, &members) != 0) {
        return log->options.n_members == 1;
    }
    self = membership_find(&members, log->options.self);
    return self != NULL && self->role == MEMBER_VOTER && membership_voters(&members) == 1;
}

int evidence_keep_claim(void *data, const struct rlog_claim *claim, const uint8_t *change, uint32_t n,
                        struct mq_buf *why)
{
    struct rlog *log = data;
    struct rlog_claim ours = *claim;

    if (is_only_voter(log, change, n)) {
        (void)mq_buf_printf(why, "this group has no other member that could bring it again; see README \"When a node "
                                 "refuses to start\"");
        return MQ_ECORRUPT;
    }
    /* Where the end may be missing, bad entries at it prove nothing of what a majority still has. */
    ours.committed = log->flush.lost ? 0 : ours.committed;
    repair_keep_claim(log, &ours);
    return 0;
}
