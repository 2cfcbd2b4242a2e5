/* What catch-up needs of a log's other parts. */
#include "raft-log/rlog.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdlib.h>

struct loading {
    struct rlog *log;
    const struct snapshot_info *info;
};

/* The log begins with this snapshot already: without its state the node is of no use. */
static void load(void *data)
{
    const struct loading *loading = data;
    struct mq_buf problem = {0};
    int rc = snapshots_restore(loading->log->state.snapshots, loading->info, &problem);

    if (rc != 0) {
        mq_log_error("catchup", "loading a snapshot: %.*s: this node stops", (int)problem.len,
                     (const char *)problem.base);
        exit(EXIT_FAILURE); /* the next start reads it again, or says why not */
    }
    mq_buf_free(&problem);
}

static int install(void *data, uint32_t leader, uint64_t term, const struct snapshot_info *info)
{
    struct loading loading = {data, info};
    struct rlog_base base = rlog_base_behind(info);

    return driver_install(&loading.log->driver, leader, term, &base, load, &loading);
}

static void passive(void *data, bool passive)
{
    driver_set_passive(&((struct rlog *)data)->driver, passive);
}

static uint64_t leaderless_ms(void *data)
{
    return driver_leaderless_ms(&((const struct rlog *)data)->driver);
}

static uint64_t log_start_pos(void *data)
{
    return ((const struct rlog *)data)->state.trim_pos;
}

static const struct catchup_ops catchup_ops = {
    .install = install,
    .passive = passive,
    .leaderless_ms = leaderless_ms,
    .log_start_pos = log_start_pos,
};

int rlog_catchup_open(struct rlog *log)
{
    struct catchup_options options = {
        .loop = &log->loop->uv,
        .peers = log->peers,
        .log = log->commitlog,
        .snapshots = log->state.snapshots,
        .disk = log->options.disk,
        .dir = log->options.dir,
        .fsm = log->fsm,
        .backfill_bytes_per_s = log->options.backfill_bytes_per_s,
        .election_ms = log->options.election_ms,
        .ops = &catchup_ops,
        .data = log,
    };
    int rc = catchup_init(&log->catchup, &options);

    log->catchup_open = rc == 0;
    return rc;
}

bool rlog_is_whole(const struct rlog *log)
{
    return !log->catchup_open || !log->catchup.lacks;
}
