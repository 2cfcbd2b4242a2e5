/* The public face: from the start to the close. Opening is in rlog_open.c, proposing in propose.c, status in
 * rlog_status.c; rlog_env.c and rlog_news.c join the parts. */
#include "raft-log/rlog.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

/* ---- start ---- */

void rlog_take_part(struct rlog *log)
{
    int rc;

    rc = driver_start(&log->driver);
    MQ_ASSERT(rc == 0); /* only memory can be missing */
    repair_start(&log->repair);
    members_start(&log->changes);
    room_start(&log->room);
    rlog_state_members(log);
    rlog_state_start(log);
    catchup_start(&log->catchup);
    scrubber_start(&log->scrubber);
}

static void init_scrub(struct rlog *log)
{
    struct mender_options mender = {
        .loop = &log->loop->uv,
        .log = log->commitlog,
        .peers = log->peers,
        .dir = log->options.dir,
        .ops = &rlog_mender_ops,
        .data = log,
    };
    struct scrubber_options scrubber = {
        .loop = &log->loop->uv,
        .log = log->commitlog,
        .mender = &log->mender,
        .bytes_per_s = log->options.scrub_bytes_per_s,
        .committed = rlog_committed,
        .data = log,
        .seed = rlog_random_seed(),
    };

    mender_init(&log->mender, &mender);
    scrubber_init(&log->scrubber, &scrubber);
}

int rlog_start(struct rlog *log, struct mq_buf *problem)
{
    struct peers_options options = {
        .loop = log->loop,
        .log = log->commitlog,
        .ops = &rlog_peers_ops,
        .data = log,
        .cluster = log->options.cluster,
        .group = log->options.group,
        .self = log->options.self,
        .incarnation = log->meta.incarnation,
        .segment_bytes = log->options.segment_bytes,
        .heartbeat_ms = log->options.heartbeat_ms,
        .seed = rlog_random_seed(),
        .snapshots = &log->state.serve,
        .boot = (uint64_t)rlog_random_seed() << 32 | rlog_random_seed() | 1,
        .members = log->members,
        .n_members = log->options.n_members,
    };
    int rc;

    MQ_ASSERT(log->has_replayed && log->peers == NULL && !log->closing);
    rc = peers_new(&options, &log->peers);
    if (rc != 0) {
        return rc;
    }
    rc = peers_start(log->peers, problem);
    if (rc != 0) {
        return rc; /* rlog_close frees the peers */
    }
    rc = rlog_catchup_open(log);
    if (rc != 0) {
        mq_buf_printf(problem, "%s: %s", log->options.dir, mq_strerror(rc));
        return rc;
    }
    init_scrub(log);
    log->started = true;
    if (log->founding.state == FOUNDING_DONE) {
        rlog_take_part(log);
    } else {
        founding_start(&log->founding);
    }
    return 0;
}

/* ---- close ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct rlog *log = handle->data;
    void (*closed)(void *data) = log->closed;
    void *data = log->closed_data;

    if (--log->open_handles > 0) {
        return;
    }
    rlog_free_options(log);
    mq_free(log);
    closed(data);
}

static void close_handle(struct rlog *log, uv_handle_t *handle)
{
    handle->data = log;
    uv_close(handle, on_handle_closed);
}

/* Nothing of ours is being written but the log. */
static void on_mark_closed(void *data)
{
    struct rlog *log = data;

    commitlog_close(log->commitlog);
    flush_state_end(&log->flush);
    meta_close(&log->meta);
    driver_fini(&log->driver);
    blob_pool_fini(&log->blobs);
    close_handle(log, (uv_handle_t *)&log->timer);
    close_handle(log, (uv_handle_t *)&log->idle);
    close_handle(log, (uv_handle_t *)&log->check);
    close_handle(log, (uv_handle_t *)&log->founding.tick);
    close_handle(log, (uv_handle_t *)&log->changes.tick);
    close_handle(log, (uv_handle_t *)&log->repair.tick);
    close_handle(log, (uv_handle_t *)&log->room.tick);
}

/* The owner's state is not looked at any more. */
static void on_state_closed(void *data)
{
    struct rlog *log = data;

    commit_mark_close(&log->mark, on_mark_closed, log);
}

static void on_catchup_closed(void *data)
{
    struct rlog *log = data;

    rlog_state_close(log, on_state_closed, log);
}

static void on_scrubber_closed(void *data)
{
    struct rlog *log = data;

    catchup_close(&log->catchup, on_catchup_closed, log);
}

static void on_mender_closed(void *data)
{
    struct rlog *log = data;

    scrubber_close(&log->scrubber, on_scrubber_closed, log);
}

/* Nobody holds, sends or brings entries any more. */
static void on_peers_closed(void *data)
{
    struct rlog *log = data;

    if (log->catchup_open) {
        mender_close(&log->mender, on_mender_closed, log); /* at once: it asks peers */
    } else {
        on_catchup_closed(log);
    }
}

static void on_close_turn(uv_check_t *check)
{
    struct rlog *log = container_of(check, struct rlog, check);

    uv_idle_stop(&log->idle);
    uv_check_stop(&log->check);
    members_stop(&log->changes);
    driver_stop(&log->driver);
    if (log->catchup_open) {
        catchup_stop(&log->catchup);
    }
    if (log->peers != NULL) {
        peers_close(log->peers, on_peers_closed);
    } else {
        on_peers_closed(log);
    }
}

void rlog_close(struct rlog *log, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!log->closing);
    log->closing = true;
    log->driver.closing = true;
    log->closed = closed;
    log->closed_data = data;
    uv_timer_stop(&log->timer);
    uv_timer_stop(&log->founding.tick);
    uv_timer_stop(&log->repair.tick);
    uv_timer_stop(&log->room.tick);
    uv_check_stop(&log->check); /* it may be waiting to run the driver */
    rlog_come_back(log, on_close_turn);
}
