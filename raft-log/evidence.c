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
 * counts as used in this boot. */
static int claim_lost_end(struct rlog *log, struct mq_buf *problem)
{
    struct rlog_claim claim = {.term = log->meta.term + 1, .index = 1};

    if (!log->flush.lost || RAFTMQ_DEFECT(LOST_END_IGNORED)) {
        return 0;
    }
    if (log->options.n_members == 1) {
        mq_log_warn("log",
                    "%s: the power was lost while entries were flushed late: those acknowledged last may be "
                    "missing, and this group has no other member",
                    log->options.dir);
        return 0;
    }
    mq_log_warn("log",
                "%s: the power was lost while entries were flushed late: this member votes for nobody until it "
                "has caught up with a leader of term %" PRIu64 " or later",
                log->options.dir, claim.term);
    return repair_keep_claim(log, &claim, problem);
}

int evidence_of_last_use(struct rlog *log, struct mq_buf *problem)
{
    const struct rlog_options *o = &log->options;
    int rc = flush_state_open(&log->flush, o->disk, o->dir, log->meta.incarnation, o->flush_ms != 0, problem);

    return rc == 0 ? claim_lost_end(log, problem) : rc;
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
    if (log->meta.claim.index != 0) {
        return 0;
    }
    if (!log->flush.lost) {
        rc = evidence_of_snapshot(o->disk, o->dir, snapshots_newest(log->state.snapshots), &snapshot, problem);
    }
    *out = log->mark.index > snapshot ? log->mark.index : snapshot;
    return rc;
}

int evidence_keep_claim(void *data, const struct rlog_claim *claim, struct mq_buf *why)
{
    const struct rlog *log = data;
    struct rlog_claim ours = *claim;

    /* Where the end may be missing, bad entries at it prove nothing of what a majority still has. */
    ours.committed = log->flush.lost ? 0 : ours.committed;
    return repair_keep_claim(data, &ours, why);
}
