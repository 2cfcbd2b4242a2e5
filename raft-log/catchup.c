#include "raft-log/catchup.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define TICK_MS 500u
#define MARKER "backfill"

/* ---- what is remembered ---- */

int catchup_has_marker(const struct rlog_disk *disk, const char *dir, bool *has)
{
    struct mq_buf path = {0};
    int rc = mq_buf_printf(&path, "%s/" MARKER, dir);
    int fd = rc == 0 ? disk->open(disk, (const char *)path.base, O_RDONLY | O_CLOEXEC, 0) : rc;

    mq_buf_free(&path);
    if (fd >= 0) {
        (void)disk->close(disk, fd);
    }
    *has = fd >= 0;
    return fd >= 0 || fd == -ENOENT ? 0 : fd;
}

int catchup_set_marker(const struct rlog_disk *disk, const char *dir)
{
    struct mq_buf path = {0};
    int rc = mq_buf_printf(&path, "%s/" MARKER, dir);
    int fd = rc == 0 ? disk->open(disk, (const char *)path.base, O_CREAT | O_RDWR | O_CLOEXEC, 0644) : rc;

    mq_buf_free(&path);
    if (fd < 0) {
        return fd;
    }
    (void)disk->close(disk, fd);
    rc = disk->sync_dir(disk, dir);
    return rc < 0 ? rc : 0;
}

/* A disk on which that fails cannot take the snapshot either. */
static int set_marker(struct catchup *c)
{
    int rc = catchup_set_marker(c->options.disk, c->options.dir);

    c->lacks = c->lacks || rc == 0;
    return rc;
}

/* If the removal is lost, the next start looks for what is missing and finds nothing. */
static void drop_marker(struct catchup *c)
{
    (void)c->options.disk->unlink(c->options.disk, c->marker);
    c->lacks = false;
}

/* ---- standing for elections ---- */

static bool is_waiting_for_snapshot(const struct catchup *c)
{
    return c->pull.state != PULL_IDLE || c->pulled->index != 0;
}

static bool lacks_something(const struct catchup *c)
{
    return c->lacks || is_waiting_for_snapshot(c);
}

static void settle_passive(struct catchup *c)
{
    uint64_t limit = (uint64_t)c->options.election_ms * CATCHUP_LEADERLESS_ELECTIONS;
    bool lacks = lacks_something(c);
    bool passive = lacks && c->options.ops->leaderless_ms(c->options.data) < limit;

    if (passive == c->passive || c->closing) {
        return;
    }
    c->passive = passive;
    if (!passive && lacks) {
        mq_log_warn("catchup",
                    "no leader for %" PRIu64 " ms: this node stands for election, though it lacks entries "
                    "below position %" PRIu64,
                    limit, commitlog_start_pos(c->options.log));
    }
    c->options.ops->passive(c->options.data, passive);
}

/* ---- filling ---- */

/* Until the log has reached the newest snapshot, that one says nothing of what this log held. */
static bool is_whole(const struct catchup *c)
{
    const struct snapshot_info *newest = c->options.snapshots != NULL ? snapshots_newest(c->options.snapshots) : NULL;

    return backfill_is_complete(&c->fill) &&
           (newest == NULL || newest->index <= commitlog_synced_index(c->options.log));
}

static void on_settled(struct commitlog_settle *settle)
{
    struct catchup *c = container_of(settle, struct catchup, settle);

    c->settling = false;
    if (!c->closing && c->lacks && is_whole(c)) {
        drop_marker(c);
        settle_passive(c);
    }
}

/* All is there, also when the group's beginning has moved up to ours: the marker goes when the disk says so too. */
static void fill(struct catchup *c)
{
    if (c->stopped) {
        return;
    }
    if (c->lacks && is_whole(c)) {
        if (RAFTMQ_DEFECT(BACKFILL_MARK_EARLY)) {
            drop_marker(c);
        } else if (!c->settling && !c->closing) {
            c->settling = true;
            commitlog_settle_front(c->options.log, &c->settle, on_settled);
        }
    } else if (c->lacks && !backfill_is_complete(&c->fill)) {
        backfill_start(&c->fill);
    }
}

/* ---- installing ---- */

static void install(struct catchup *c, const struct snapshot_info *info)
{
    int rc = set_marker(c);

    backfill_stop(&c->fill);
    if (rc == 0) {
        rc = c->options.ops->install(c->options.data, c->leader, c->term, info);
    }
    if (rc == 0) {
        c->installed++;
        mq_log_info("catchup", "snapshot %" PRIu64 " is in place: the log begins at position %" PRIu64, info->index,
                    info->end_pos);
    } else if (rc != MQ_EAGAIN) {
        mq_log_warn("catchup", "snapshot %" PRIu64 " is not installed: %s", info->index, mq_strerror(rc));
    }
    fill(c);
    settle_passive(c);
}

/* The pulled file becomes our newest snapshot, as soon as none of our own is being taken. */
static void adopt(struct catchup *c)
{
    int rc;

    if (c->pulled->index == 0) {
        return;
    }
    rc = set_marker(c);
    if (rc == 0) {
        rc = snapshots_adopt(c->options.snapshots, c->pulled);
    }
    if (rc == MQ_EBUSY) {
        return; /* with the next tick */
    }
    c->pulled->index = 0;
    if (rc == MQ_EEXIST) { /* the log got there by itself meanwhile, and one was taken of that */
        (void)c->options.disk->unlink(c->options.disk, c->pulled->path);
        return;
    }
    if (rc != 0) {
        mq_log_warn("catchup", "the snapshot that was fetched: %s", mq_strerror(rc));
        return;
    }
    install(c, snapshots_newest(c->options.snapshots));
}

static void on_got(void *data, const struct snapshot_info *info)
{
    struct catchup *c = data;

    *c->pulled = *info;
    adopt(c);
}

void catchup_need(struct catchup *c, uint32_t leader, uint64_t term, uint64_t index_min)
{
    const struct snapshot_info *newest;

    if (c->stopped || c->pulled->index != 0) {
        return;
    }
    c->leader = leader;
    c->term = term;
    c->index_min = index_min;
    if (c->options.snapshots == NULL) {
        mq_log_error("catchup", "member %" PRIu32 " asks this node to load a snapshot, which its owner cannot",
                     leader);
        return;
    }
    if (!uv_is_active((uv_handle_t *)&c->tick)) {
        catchup_start(c);
    }
    newest = snapshots_newest(c->options.snapshots);
    if (newest != NULL && newest->index >= index_min && newest->index > commitlog_last_index(c->options.log)) {
        snapshot_pull_stop(&c->pull);
        install(c, newest);
        return;
    }
    snapshot_pull_start(&c->pull, leader, index_min);
    settle_passive(c);
}

/* ---- what is told ---- */

static uint64_t rate_of(uint64_t bytes, uint64_t ms)
{
    return ms > 0 ? bytes * 1000u / ms : 0;
}

void catchup_status_get(const struct catchup *c, struct rlog_catchup_status *out)
{
    uint64_t ms = mq_clock_mono_ms() - c->fill.started_ms;

    *out = (struct rlog_catchup_status){.phase = RLOG_CATCHUP_NONE, .passive = c->passive, .cause = "nothing"};
    out->snapshots_installed = c->installed;
    if (is_waiting_for_snapshot(c)) {
        out->phase = RLOG_CATCHUP_SNAPSHOT;
        out->from = c->pull.peer;
        out->bytes_done = c->pull.written;
        out->bytes_left = c->pull.file_bytes > c->pull.written ? c->pull.file_bytes - c->pull.written : 0;
        out->cause = c->pulled->index != 0 ? "a snapshot of this node's own is being taken" : c->pull.cause;
    } else if (c->lacks) {
        out->phase = RLOG_CATCHUP_BACKFILL;
        out->from = c->fill.peer;
        out->bytes_done = c->fill.bytes_done;
        out->bytes_left = backfill_left(&c->fill);
        out->bytes_per_s = rate_of(c->fill.bytes_done, ms);
        out->limit_bytes_per_s = backfill_limit(&c->fill);
        out->ms_left = out->bytes_per_s > 0 ? out->bytes_left * 1000u / out->bytes_per_s : 0;
        out->cause = c->fill.cause;
    }
}

static void say_progress(struct catchup *c)
{
    uint64_t now = mq_clock_mono_ms();
    struct rlog_catchup_status s;
    uint64_t rate;

    if (now - c->line_ms < CATCHUP_LINE_MS) {
        return;
    }
    catchup_status_get(c, &s);
    rate = s.bytes_done > c->line_done ? rate_of(s.bytes_done - c->line_done, now - c->line_ms) : 0;
    c->line_ms = now;
    c->line_done = s.bytes_done;
    mq_log_info("catchup",
                "%s from member %" PRIu32 ": bytes=%" PRIu64 " left=%" PRIu64 " bytes_per_s=%" PRIu64
                " limit=%" PRIu64 " s_left=%" PRIu64 ": %s",
                s.phase == RLOG_CATCHUP_SNAPSHOT ? "snapshot" : "back-fill", s.from, s.bytes_done, s.bytes_left, rate,
                s.limit_bytes_per_s, rate > 0 ? s.bytes_left / rate : 0, s.cause);
}

static void on_tick(uv_timer_t *tick)
{
    struct catchup *c = container_of(tick, struct catchup, tick);

    adopt(c);
    fill(c);
    settle_passive(c);
    if (lacks_something(c)) {
        say_progress(c);
    } else {
        uv_timer_stop(tick);
    }
}

/* ---- life ---- */

static void on_filled(void *data)
{
    fill(data);
    settle_passive(data);
}

static uint64_t log_start_pos(void *data)
{
    const struct catchup *c = data;

    return c->options.ops->log_start_pos(c->options.data);
}

static void part_path(void *data, uint64_t index, char *path)
{
    const struct catchup *c = data;

    snapshots_part_path(c->options.snapshots, index, path);
}

int catchup_init(struct catchup *c, const struct catchup_options *options)
{
    struct snapshot_pull_options pull = {
        .loop = options->loop,
        .peers = options->peers,
        .disk = options->disk,
        .part_path = part_path,
        .got = on_got,
        .data = c,
    };
    struct backfill_options fill = {
        .loop = options->loop,
        .peers = options->peers,
        .log = options->log,
        .fsm = options->fsm,
        .bytes_per_s = options->backfill_bytes_per_s,
        .log_start_pos = log_start_pos,
        .done = on_filled,
        .data = c,
    };
    struct mq_buf path = {0};
    int rc;

    memset(c, 0, sizeof(*c));
    c->options = *options;
    c->pulled = mq_calloc(1, sizeof(*c->pulled));
    rc = mq_buf_printf(&path, "%s/" MARKER "%c", options->dir, '\0');
    c->marker = (char *)path.base;
    rc = c->pulled != NULL && rc == 0 ? catchup_has_marker(options->disk, options->dir, &c->lacks) : MQ_ENOMEM;
    if (rc == 0) {
        rc = snapshot_pull_init(&c->pull, &pull);
    }
    if (rc != 0) {
        mq_free(c->pulled);
        mq_free(c->marker);
        return rc;
    }
    backfill_init(&c->fill, &fill);
    uv_timer_init(options->loop, &c->tick);
    return 0;
}

static void on_part_closed(void *data)
{
    struct catchup *c = data;

    if (--c->open == 0) {
        mq_free(c->pulled);
        mq_free(c->marker);
        c->closed(c->closed_data);
    }
}

static void on_tick_closed(uv_handle_t *handle)
{
    on_part_closed(container_of((uv_timer_t *)handle, struct catchup, tick));
}

void catchup_stop(struct catchup *c)
{
    c->stopped = true;
    uv_timer_stop(&c->tick);
    snapshot_pull_stop(&c->pull);
    backfill_stop(&c->fill);
}

void catchup_close(struct catchup *c, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!c->closing);
    c->stopped = c->closing = true;
    c->closed = closed;
    c->closed_data = data;
    c->open = 3;
    uv_close((uv_handle_t *)&c->tick, on_tick_closed);
    snapshot_pull_close(&c->pull, on_part_closed, c);
    backfill_close(&c->fill, on_part_closed, c);
}

void catchup_start(struct catchup *c)
{
    if (c->stopped) {
        return;
    }
    c->line_ms = mq_clock_mono_ms();
    c->line_done = 0;
    uv_timer_start(&c->tick, on_tick, TICK_MS, TICK_MS);
    fill(c);
    settle_passive(c);
}
