#include "raft-log/rlog_state.h"

#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define PROGRESS_MS 1000u
#define STEP_DOWN_MS 500u /* a leader that may not go on hands over for so long at most */
#define STEP_DOWN_LOOK_MS 10u

/* ---- what snapshots want to know ---- */

/* The membership as of entry @index: that of the last change up to it. */
static void put_membership(struct rlog *log, uint64_t index, struct snapshot_info *out)
{
    uint64_t change = commitlog_change_before(log->commitlog, index);
    struct commitlog_entry entry;
    struct rlog_base base;

    if (change != 0) {
        int rc = commitlog_get(log->commitlog, change, &entry);

        MQ_ASSERT(rc == 0 && entry.header.payload_bytes <= SNAPSHOT_MEMBERSHIP_MAX);
        out->change_index = change;
        out->membership_bytes = entry.header.payload_bytes;
        memcpy(out->membership, entry.bytes + RLOG_HEADER_BYTES, out->membership_bytes);
        return;
    }
    commitlog_base_get(log->commitlog, &base);
    MQ_ASSERT(base.change_bytes <= SNAPSHOT_MEMBERSHIP_MAX);
    out->change_index = base.change_index;
    out->membership_bytes = base.change_bytes;
    if (base.change_bytes != 0) {
        memcpy(out->membership, base.change, base.change_bytes);
    }
}

static void as_of(void *data, struct snapshot_info *out)
{
    struct rlog *log = data;
    struct rlog_base at;

    memset(out, 0, sizeof(*out));
    if (log->driver.applied == 0 || commitlog_before(log->commitlog, log->driver.applied + 1, &at) != 0) {
        return;
    }
    out->index = at.index;
    out->term = at.term;
    out->end_pos = at.end_pos;
    out->store_ms = at.store_ms;
    out->crc = at.crc;
    put_membership(log, at.index, out);
}

/* What the older one of the kept snapshots covers is not needed even if the newer one turns out bad. NULL: nothing
 * is covered; or the log is closing, and one was on its way to the disk. */
static const struct snapshot_info *covering(const struct rlog *log)
{
    return log->state.snapshots != NULL ? snapshots_oldest(log->state.snapshots) : NULL;
}

static void trim(struct rlog *log)
{
    const struct snapshot_info *oldest = covering(log);
    uint64_t pos = log->state.trim_pos;
    int rc;

    if (oldest == NULL || pos == 0) {
        return;
    }
    rc = driver_trim(&log->driver,
                     pos < oldest->end_pos || RAFTMQ_DEFECT(TRIM_ABOVE_SNAPSHOT) ? pos : oldest->end_pos);
    if (rc != 0) {
        mq_log_warn("snapshot", "the log still begins at %" PRIu64 ": %s", commitlog_start_pos(log->commitlog),
                    mq_strerror(rc)); /* the next snapshot tries again */
    }
}

static void on_taken(void *data, const struct snapshot_info *info)
{
    struct rlog *log = data;
    const struct snapshot_info *oldest = covering(log);

    (void)info;
    trim(log);
    if (oldest != NULL) {
        struct rlog_base base = rlog_base_behind(oldest);

        driver_forget_terms(&log->driver, &base);
    }
}

static uint64_t synced(void *data)
{
    return commitlog_synced_index(((const struct rlog *)data)->commitlog);
}

static const struct snapshots_ops snapshots_ops = {.as_of = as_of, .synced = synced, .taken = on_taken};

/* ---- what peers ask ---- */

static int serve_newest(void *data, struct serve_file *out)
{
    const struct snapshot_info *info = snapshots_newest(((struct rlog *)data)->state.snapshots);

    if (info == NULL) {
        return MQ_ENOTFOUND;
    }
    *out = (struct serve_file){.index = info->index, .term = info->term, .bytes = info->bytes};
    memcpy(out->path, info->path, sizeof(out->path) < sizeof(info->path) ? sizeof(out->path) : sizeof(info->path));
    return 0;
}

static bool serve_acquire(void *data, uint64_t index)
{
    return snapshots_acquire(((struct rlog *)data)->state.snapshots, index);
}

static void serve_release(void *data, uint64_t index)
{
    snapshots_release(((struct rlog *)data)->state.snapshots, index);
}

/* ---- open, load, start, close ---- */

/* Whether the log goes on from @info. 1: it does. 0: @info is ahead of the log, which may get there. */
static int fits(const struct rlog *log, const struct snapshot_info *info, struct mq_buf *problem)
{
    struct rlog_base at;

    if (info->index > commitlog_last_index(log->commitlog)) {
        return 0;
    }
    if (commitlog_before(log->commitlog, info->index + 1, &at) != 0) {
        (void)mq_buf_printf(problem, "%s: the log begins with entry %" PRIu64 ": what lies between is missing",
                            info->path, commitlog_first_index(log->commitlog));
        return MQ_ECORRUPT;
    }
    if (at.term != info->term || at.crc != info->crc || at.end_pos != info->end_pos) {
        (void)mq_buf_printf(problem,
                            "%s: entry %" PRIu64
                            " of this log is another than the snapshot's: files of two directories "
                            "are mixed",
                            info->path, info->index);
        return MQ_ECORRUPT;
    }
    return 1;
}

struct rlog_base rlog_base_behind(const struct snapshot_info *info)
{
    return (struct rlog_base){
        .index = info->index,
        .term = info->term,
        .crc = info->crc,
        .end_pos = info->end_pos,
        .store_ms = info->store_ms,
        .change_index = info->change_index,
        .change = info->membership,
        .change_bytes = info->membership_bytes,
    };
}

/* All snapshots are ahead of a log whose own beginning is gone: what lay between was bad, or the newest one came from
 * a leader just before the end. It stands for everything up to it, so the log begins behind it, and the rest is
 * fetched as for any member that fell behind. What this member acknowledged beyond is claimed already. */
static int begin_behind_newest(struct rlog *log, const struct snapshot_info **out, struct mq_buf *problem)
{
    const struct snapshot_info *newest = snapshots_newest(log->state.snapshots);
    struct rlog_base base = rlog_base_behind(newest);
    int rc = newest->term <= log->meta.term ? 0 : MQ_ECORRUPT;

    if (rc == 0) {
        rc = catchup_set_marker(log->options.disk, log->options.dir);
    }
    if (rc == 0) {
        rc = commitlog_reset(log->commitlog, &base);
    }
    if (rc != 0) {
        (void)mq_buf_printf(problem, "%s: the log cannot begin behind it: %s", newest->path, mq_strerror(rc));
        return rc;
    }
    mq_log_warn("snapshot", "the log begins behind %s: what lies before is fetched again", newest->path);
    *out = newest;
    return 0;
}

/* The newest that the log goes on from; NULL when there is none and none is needed. */
static int choose(struct rlog *log, const struct snapshot_info **out, struct mq_buf *problem)
{
    struct snapshots *snapshots = log->state.snapshots;
    uint32_t i = 0;

    *out = NULL;
    while (i < snapshots_count(snapshots)) {
        const struct snapshot_info *info = snapshots_at(snapshots, i);
        int rc = fits(log, info, problem);

        if (rc < 0) {
            return rc;
        }
        if (rc == 0) {
            mq_log_warn("snapshot", "%s is ahead of the log, which ends with entry %" PRIu64, info->path,
                        commitlog_last_index(log->commitlog));
            i++;
            continue;
        }
        rc = snapshots_verify(snapshots, i, problem);
        if (rc != MQ_ECORRUPT) {
            *out = rc == 0 ? info : NULL;
            return rc;
        } /* else it is set aside, and the next one is in its place */
    }
    if (commitlog_first_index(log->commitlog) != 1 && snapshots_count(snapshots) != 0) {
        return begin_behind_newest(log, out, problem);
    }
    if (commitlog_first_index(log->commitlog) != 1) {
        (void)mq_buf_printf(problem,
                            "%s: the log begins with entry %" PRIu64
                            " and no good snapshot stands for what lies before: "
                            "replace the member, or restore the directory as a whole",
                            log->options.dir, commitlog_first_index(log->commitlog));
        return MQ_ECORRUPT;
    }
    return 0;
}

int rlog_state_find(struct rlog *log, struct mq_buf *problem)
{
    const struct snapshots_options options = {
        .disk = log->options.disk,
        .dir = log->options.dir,
        .loop = &log->loop->uv,
        .fsm = log->fsm,
        .every_bytes = log->options.snapshot_bytes,
        .every_ms = log->options.snapshot_ms,
        .ops = &snapshots_ops,
        .data = log,
    };

    state_hash_init(&log->state.hashes, log->options.self);
    log->state.serve = (struct serve_snapshots){.disk = log->options.disk,
                                                .newest = serve_newest,
                                                .acquire = serve_acquire,
                                                .release = serve_release,
                                                .data = log};
    return snapshots_open(&options, &log->state.snapshots, problem);
}

int rlog_state_choose(struct rlog *log, struct mq_buf *problem)
{
    return choose(log, &log->state.load, problem);
}

static void give_before(struct rlog *log, uint64_t index)
{
    struct commitlog_entry entry;
    struct net_ref *ref = commitlog_hold(log->commitlog, index);
    int rc = commitlog_get(log->commitlog, index, &entry);
    struct rlog_entry command;

    MQ_ASSERT(rc == 0 && ref != NULL);
    command = (struct rlog_entry){
        .index = index,
        .term = entry.header.term,
        .pos = entry.header.pos + RLOG_HEADER_BYTES,
        .clock_ms = entry.header.clock_ms,
        .store_ms = entry.header.store_ms,
    };
    if (entry.header.type == RLOG_COMMAND) {
        command.payload = entry.bytes + RLOG_HEADER_BYTES;
        command.payload_bytes = entry.header.payload_bytes;
        command.payload_crc = entry.header.payload_crc;
        command.records = entry.header.records;
        command.items = entry.header.items;
    }
    log->fsm->apply_before(log->fsm, &command);
    net_ref_release(ref);
}

/* What the owner derives from records may reach less far back than the log does. */
static void derive_before(struct rlog *log)
{
    uint64_t first = commitlog_first_index(log->commitlog);
    uint64_t index =
        log->fsm->apply_before != NULL && !RAFTMQ_DEFECT(QUEUES_NOT_DERIVED) ? log->fsm->held_from(log->fsm) : first;
    uint64_t told_ms = mq_clock_mono_ms();

    while (index > first) {
        give_before(log, --index);
        if ((index & 63) == 0 && mq_clock_mono_ms() - told_ms >= PROGRESS_MS) {
            told_ms = mq_clock_mono_ms();
            mq_log_info("snapshot", "deriving again what was lost: entry %" PRIu64 ", down to %" PRIu64, index,
                        first);
        }
    }
}

int rlog_state_load(struct rlog *log, struct mq_buf *problem)
{
    const struct snapshot_info *info = log->state.load;
    uint64_t start_ms = mq_clock_mono_ms();
    int rc;

    log->state.load = NULL;
    if (info == NULL) {
        return 0;
    }
    rc = snapshots_restore(log->state.snapshots, info, problem);
    if (rc != 0) {
        return rc;
    }
    driver_restored(&log->driver, info->index, info->end_pos);
    log->state.loaded_index = info->index;
    mq_log_info("snapshot", "loaded index=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRIu64, info->index, info->bytes,
                mq_clock_mono_ms() - start_ms);
    derive_before(log);
    return 0;
}

void rlog_state_start(struct rlog *log)
{
    snapshots_start(log->state.snapshots);
}

/* ---- whether all have the same state ---- */

static const char *section_name(struct rlog *log, uint16_t id)
{
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    uint32_t n = log->fsm->sections(log->fsm, sections);

    for (uint32_t i = 0; i < n; i++) {
        if (sections[i].id == id) {
            return sections[i].name;
        }
    }
    return "?";
}

_Noreturn static void end_process(const struct rlog *log)
{
    mq_log_error("state", "group %s: member %" PRIu32 " ends: its state is not the group's; replace the member",
                 log->options.group, log->options.self);
    _exit(1);
}

static void on_handed_over(struct rlog_transfer *transfer, int status)
{
    (void)transfer;
    (void)status; /* the look sees who leads */
}

static void on_parted_look(uv_timer_t *timer)
{
    struct rlog *log = timer->data;
    uint64_t now_ms = mq_clock_mono_ms();

    if (log->closing || log->driver.role.kind < RLOG_LEADING || now_ms - log->state.parted_ms >= STEP_DOWN_MS) {
        end_process(log);
    }
    /* Refused while one runs; and perhaps nobody can take over yet. */
    (void)rlog_transfer(log, 0, STEP_DOWN_MS, &log->state.parted_transfer, on_handed_over);
}

/* Later on the loop: the driver may be applying. */
static void part(struct rlog *log)
{
    log->state.parted = true;
    log->state.parted_ms = mq_clock_mono_ms();
    uv_timer_init(&log->loop->uv, &log->state.parted_look);
    log->state.parted_look.data = log;
    uv_timer_start(&log->state.parted_look, on_parted_look, 0, STEP_DOWN_LOOK_MS);
}

static void say_difference(struct rlog *log, const struct state_difference *d)
{
    const char *name = section_name(log, d->section);

    if (d->minority) {
        mq_log_error("state",
                     "entry %" PRIu64 ": section %s has hash %016" PRIx64 " here and %016" PRIx64 " on %" PRIu32
                     " other members (%" PRIu32 " for one): this member stops",
                     d->index, name, d->own, d->theirs, d->n_theirs, d->member);
        part(log);
    } else {
        mq_log_limited(&log->state.differs_limit, MQ_LOG_ERROR, "state",
                       "entry %" PRIu64 ": section %s has hash %016" PRIx64 " here and %016" PRIx64
                       " on member %" PRIu32 ": no majority of the members against this one",
                       d->index, name, d->own, d->theirs, d->member);
    }
}

void rlog_state_checkpoint(struct rlog_env *env, uint64_t index)
{
    struct rlog *log = container_of(env, struct rlog, env);
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    struct state_hashes own = {.index = index};
    struct state_difference difference;

    if (log->fsm->sections == NULL) {
        return;
    }
    own.n = log->fsm->sections(log->fsm, sections);
    for (uint32_t i = 0; i < own.n; i++) {
        own.sections[i].id = sections[i].id;
        own.sections[i].version = sections[i].version;
        own.sections[i].hash = sections[i].hash;
    }
    if (state_hash_own(&log->state.hashes, &own, &difference) && !log->state.parted && !RAFTMQ_DEFECT(HASH_IGNORED)) {
        say_difference(log, &difference);
    }
    for (uint32_t i = 0; log->started && i < log->peers->n; i++) {
        if (log->peers->list[i].id != log->options.self) {
            peers_send_state_hash(&log->peers->list[i], &own);
        }
    }
}

void rlog_state_heard(struct rlog *log, uint32_t id, const struct state_hashes *hashes)
{
    struct state_difference difference;

    if (state_hash_heard(&log->state.hashes, id, hashes, &difference) && !log->state.parted &&
        !RAFTMQ_DEFECT(HASH_IGNORED) && log->fsm->sections != NULL) {
        say_difference(log, &difference);
    }
}

void rlog_state_members(struct rlog *log)
{
    uint32_t ids[RLOG_MEMBERS_MAX], n = 0;
    uint64_t index;
    const struct membership *membership = driver_applied_membership(&log->driver, &index);

    if (index == log->state.members_index) {
        return; /* what was heard of them still counts */
    }
    log->state.members_index = index;
    for (uint32_t i = 0; i < membership->n; i++) {
        if (membership->members[i].role == MEMBER_VOTER && n < RLOG_MEMBERS_MAX) {
            ids[n++] = membership->members[i].id;
        }
    }
    state_hash_voters(&log->state.hashes, ids, n);
}

void rlog_state_close(struct rlog *log, void (*closed)(void *data), void *data)
{
    struct snapshots *snapshots = log->state.snapshots;

    if (log->state.parted) {
        end_process(log); /* as it was about to */
    }
    log->state.snapshots = NULL;
    snapshots_close(snapshots, closed, data);
}

/* ---- the face ---- */

bool rlog_has_snapshot(const struct rlog *log)
{
    return log->state.load != NULL;
}

int rlog_snapshot(struct rlog *log)
{
    return log->closing ? MQ_ECLOSED : snapshots_take(log->state.snapshots);
}

/* The last applied entry that begins below @pos; 0: none is held. */
static uint64_t last_below(const struct rlog *log, uint64_t pos)
{
    uint64_t index = commitlog_from_pos(log->commitlog, pos) - 1;

    index = index < log->driver.applied ? index : log->driver.applied;
    return index >= commitlog_first_index(log->commitlog) ? index : 0;
}

int rlog_segment_end(const struct rlog *log, uint64_t pos, uint64_t *end_pos, int64_t *store_ms)
{
    uint64_t bytes = log->options.segment_bytes, end = (pos / bytes + 1) * bytes;
    uint64_t index = last_below(log, end);
    struct rlog_base last;

    if (pos < commitlog_start_pos(log->commitlog) || index == 0 || index == log->driver.applied ||
        commitlog_before(log->commitlog, index + 1, &last) != 0) {
        return MQ_ENOTFOUND;
    }
    *end_pos = end;
    *store_ms = last.store_ms;
    return 0;
}

void rlog_trim(struct rlog *log, uint64_t pos)
{
    if (pos > log->state.trim_pos && !log->closing) {
        log->state.trim_pos = pos + (RAFTMQ_DEFECT(TRIM_TOO_FAR) ? log->options.segment_bytes : 0);
        snapshots_want(log->state.snapshots, pos);
        if (log->driver.core != NULL) {
            trim(log);
        }
    }
}
