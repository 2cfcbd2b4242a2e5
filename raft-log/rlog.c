/* The public face: opening, starting, closing, and what the driver needs of libuv. */
#include "raft-log/rlog.h"

#include "raft-log/evidence.h"
#include "raft-log/log/disk.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#define FAR_BYTES (256u << 20) /* rlog_options.far_bytes unless it is set */

/* ---- the driver's world ---- */

static uint64_t env_now_ms(struct rlog_env *env)
{
    (void)env;
    return mq_clock_mono_ms();
}

static int64_t env_wall_ms(struct rlog_env *env)
{
    (void)env;
    return mq_clock_wall_ms();
}

static void on_check(uv_check_t *check)
{
    struct rlog *log = container_of(check, struct rlog, check);
    bool timer_due = log->timer_due;
    bool soon_due = log->soon_due;

    uv_idle_stop(&log->idle);
    uv_check_stop(&log->check);
    log->timer_due = log->soon_due = false;
    if (timer_due) {
        driver_timeout(&log->driver);
    }
    if (soon_due) {
        driver_continue(&log->driver);
    }
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* being active is all it does: the loop does not wait for input */
}

static void come_back(struct rlog *log, uv_check_cb cb)
{
    uv_idle_start(&log->idle, on_idle);
    uv_check_start(&log->check, cb);
}

static void on_timer(uv_timer_t *timer)
{
    struct rlog *log = container_of(timer, struct rlog, timer);

    log->timer_due = true;
    come_back(log, on_check);
}

static void env_wake_at(struct rlog_env *env, uint64_t at_ms)
{
    struct rlog *log = container_of(env, struct rlog, env);
    uint64_t now = mq_clock_mono_ms();

    if (!log->closing) {
        uv_timer_start(&log->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
    }
}

static void env_soon(struct rlog_env *env)
{
    struct rlog *log = container_of(env, struct rlog, env);

    if (!log->closing) {
        log->soon_due = true;
        come_back(log, on_check);
    }
}

static void env_send(struct rlog_env *env, const struct core_message *message)
{
    struct rlog *log = container_of(env, struct rlog, env);
    struct peer *peer = log->closing ? NULL : peers_find(log->peers, message->peer);

    if (peer != NULL) {
        peer_out_send(peer, message);
    }
}

static void env_members(struct rlog_env *env)
{
    struct rlog *log = container_of(env, struct rlog, env);

    members_changed(&log->changes);
    rlog_state_members(log);
}

static void env_need_snapshot(struct rlog_env *env, uint32_t leader, uint64_t term, uint64_t index)
{
    struct rlog *log = container_of(env, struct rlog, env);

    if (!log->closing) {
        catchup_need(&log->catchup, leader, term, index);
    }
}

static uint32_t random_seed(void)
{
    uint32_t seed;

    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        seed = (uint32_t)mq_clock_mono_ns();
    }
    return seed;
}

/* ---- what comes from below ---- */

static void on_durable(void *data, uint64_t index, uint64_t term)
{
    struct rlog *log = data;

    if (log->closing) {
        return;
    }
    if (log->founding.state == FOUNDING_WRITING) {
        founding_written(&log->founding);
    } else {
        driver_durable(&log->driver, index, term);
        repair_durable(&log->repair);
    }
}

static uint64_t on_mark(void *data)
{
    const struct rlog *log = data;
    uint64_t synced = commitlog_synced_index(log->commitlog);

    return log->driver.commit < synced ? log->driver.commit : synced;
}

static int on_message(void *data, struct core_message *message, const struct commitlog_entry *entries,
                      struct net_ref *ref)
{
    struct rlog *log = data;

    return log->closing ? MQ_ECLOSED : driver_receive(&log->driver, message, entries, ref);
}

static void on_founding(void *data, struct peer *peer, uint64_t incarnation, const struct peer_founding *founding)
{
    struct rlog *log = data;

    if (!log->closing) {
        founding_heard(&log->founding, peer, incarnation, founding);
    }
}

static void on_claim(void *data, struct peer *peer, uint64_t incarnation, const struct peer_claim *said)
{
    struct rlog *log = data;

    if (!log->closing) {
        repair_heard(&log->repair, peer, incarnation, said);
    }
}

static void on_space(void *data, struct peer *peer, uint64_t incarnation, const struct peer_space *space)
{
    struct rlog *log = data;

    if (!log->closing) {
        room_heard(&log->room, peer, incarnation, space);
    }
}

static void on_state_hash(void *data, struct peer *peer, const struct state_hashes *hashes)
{
    struct rlog *log = data;

    if (!log->closing) {
        rlog_state_heard(log, peer->id, hashes);
    }
}

static void on_reached(void *data, struct peer *peer)
{
    struct rlog *log = data;

    if (!log->closing) {
        founding_reached(&log->founding, peer);
    }
}

static bool leads(void *data, uint64_t term, uint32_t peer, uint64_t *commit, uint64_t *match)
{
    const struct driver *driver = &((struct rlog *)data)->driver;

    if (driver->core == NULL || driver->closing || core_role(driver->core) != RLOG_LEADING ||
        core_term(driver->core) != term) {
        return false;
    }
    *commit = core_commit(driver->core) > driver->commit ? core_commit(driver->core) : driver->commit;
    *match = core_match(driver->core, peer);
    return true;
}

/* The log behind the snapshot follows in any case. What it lacks before that comes as older entries, and with it what
 * it has now, which is why it must be most of all. */
static bool is_far(void *data, uint64_t first, uint64_t *index, uint64_t *term)
{
    const struct rlog *log = data;
    const struct snapshot_info *newest = log->state.snapshots != NULL ? snapshots_newest(log->state.snapshots) : NULL;
    uint64_t far_bytes = log->options.far_bytes != 0 ? log->options.far_bytes : FAR_BYTES;
    struct rlog_base have;
    uint64_t lacks;

    if (newest == NULL || first > newest->index || commitlog_before(log->commitlog, first, &have) != 0) {
        return false;
    }
    lacks = newest->end_pos - have.end_pos;
    *index = newest->index;
    *term = newest->term;
    return lacks > far_bytes && lacks > (newest->end_pos - commitlog_start_pos(log->commitlog)) / 2;
}

static uint64_t committed(void *data)
{
    return ((const struct rlog *)data)->driver.commit;
}

/* Somebody who needs entry @index found it bad. */
static void on_damaged(void *data, uint64_t index)
{
    struct rlog *log = data;

    if (log->catchup_open && !log->closing) {
        (void)mender_suspect(&log->mender, index, index); /* no place: it is found again */
    }
}

static void env_damaged(struct rlog_env *env, uint64_t index)
{
    on_damaged(container_of(env, struct rlog, env), index);
}

static void on_mended(void *data)
{
    struct rlog *log = data;

    if (!log->closing) {
        peers_mended(log->peers);
        env_soon(&log->env);
    }
}

static const struct mender_ops mender_ops = {.committed = committed, .mended = on_mended};

static const struct peers_ops peers_ops = {
    .message = on_message,
    .founding = on_founding,
    .reached = on_reached,
    .leads = leads,
    .committed = committed,
    .claim = on_claim,
    .space = on_space,
    .state_hash = on_state_hash,
    .is_far = is_far,
    .damaged = on_damaged,
};

/* ---- open ---- */

static int check_options(const struct rlog_options *o, struct mq_buf *problem)
{
    bool self = false;

    if (o->n_members < 1 || o->n_members > RLOG_MEMBERS_MAX) {
        mq_buf_printf(problem, "group %s: %" PRIu32 " members, allowed are 1 to %u", o->group, o->n_members,
                      RLOG_MEMBERS_MAX);
        return MQ_EINVAL;
    }
    for (uint32_t i = 0; i < o->n_members; i++) {
        uint32_t id = o->members[i].id;

        self |= id == o->self;
        if (id == 0 || id > (1u << 31) || strlen(o->members[i].address) > MEMBER_TEXT_MAX) {
            mq_buf_printf(problem, "group %s: member %" PRIu32 " has a bad number or too long an address", o->group,
                          id);
            return MQ_EINVAL;
        }
        for (uint32_t k = 0; k < i; k++) {
            if (o->members[k].id == id) {
                mq_buf_printf(problem, "group %s: member %" PRIu32 " is named twice", o->group, id);
                return MQ_EINVAL;
            }
        }
    }
    if (o->cluster != NULL && strlen(o->cluster) > MEMBER_TEXT_MAX) {
        mq_buf_printf(problem, "group %s: the cluster's name is too long", o->group);
        return MQ_EINVAL;
    }
    if (!self || strlen(o->group) > MEMBER_TEXT_MAX) {
        mq_buf_printf(problem, "group %s: member %" PRIu32 " is not among the members, or the name is too long",
                      o->group, o->self);
        return MQ_EINVAL;
    }
    return 0;
}

static void set_defaults(struct rlog_options *o)
{
    o->election_ms = o->election_ms != 0 ? o->election_ms : 300;
    o->heartbeat_ms = o->heartbeat_ms != 0 ? o->heartbeat_ms : 50;
    o->inflight_entries_max = o->inflight_entries_max != 0 ? o->inflight_entries_max : CORE_INFLIGHT_ENTRIES_MAX;
    o->inflight_bytes_max = o->inflight_bytes_max != 0 ? o->inflight_bytes_max : 64u << 20;
    o->unsynced_bytes_max = o->unsynced_bytes_max != 0 ? o->unsynced_bytes_max : 64u << 20;
    o->disk = o->disk != NULL ? o->disk : &rlog_disk_real;
}

static void free_options(struct rlog *log)
{
    mq_free((char *)log->options.dir);
    mq_free((char *)log->options.group);
    mq_free((char *)log->options.cluster);
    for (uint32_t i = 0; i < log->options.n_members; i++) {
        mq_free((char *)log->members[i].address);
    }
}

static int copy_options(struct rlog *log, const struct rlog_options *from)
{
    bool ok;

    log->options = *from;
    log->options.members = log->members;
    log->options.dir = mq_strdup(from->dir);
    log->options.group = mq_strdup(from->group);
    log->options.cluster = mq_strdup(from->cluster != NULL ? from->cluster : "");
    ok = log->options.dir != NULL && log->options.group != NULL && log->options.cluster != NULL;
    for (uint32_t i = 0; i < from->n_members; i++) {
        log->members[i].id = from->members[i].id;
        log->members[i].address = mq_strdup(from->members[i].address);
        ok = ok && log->members[i].address != NULL;
    }
    set_defaults(&log->options);
    return ok ? 0 : MQ_ENOMEM;
}

static void init_handles(struct rlog *log)
{
    uv_loop_t *uv = &log->loop->uv;

    uv_timer_init(uv, &log->timer);
    uv_idle_init(uv, &log->idle);
    uv_check_init(uv, &log->check);
    uv_timer_init(uv, &log->founding.tick);
    repair_init(&log->repair, log);
    room_init(&log->room, log);
    uv_timer_init(uv, &log->changes.tick);
    log->open_handles = 7;
}

static void on_progress(void *data, uint64_t index, uint64_t last)
{
    const struct rlog *log = data;

    mq_log_info("raft", "group %s: applied %" PRIu64 " of %" PRIu64 " entries", log->options.group, index, last);
}

static void init_driver(struct rlog *log)
{
    struct driver_options options = {
        .env = &log->env,
        .log = log->commitlog,
        .meta = &log->meta,
        .blobs = &log->blobs,
        .fsm = log->fsm,
        .self = log->options.self,
        .seed = random_seed(),
        .election_ms = log->options.election_ms,
        .heartbeat_ms = log->options.heartbeat_ms,
        .inflight_entries_max = log->options.inflight_entries_max,
        .inflight_bytes_max = log->options.inflight_bytes_max,
        .unsynced_bytes_max = log->options.unsynced_bytes_max,
    };

    log->env = (struct rlog_env){
        .now_ms = env_now_ms,
        .wall_ms = env_wall_ms,
        .wake_at = env_wake_at,
        .soon = env_soon,
        .send = env_send,
        .members = env_members,
        .checkpoint = rlog_state_checkpoint,
        .need_snapshot = env_need_snapshot,
        .damaged = env_damaged,
    };
    driver_init(&log->driver, &options);
}

/* Everything that is on disk. */
static int open_files(struct rlog *log, struct mq_buf *problem)
{
    const struct rlog_options *o = &log->options;
    struct commitlog_options options = {
        .disk = o->disk,
        .dir = o->dir,
        .segment_bytes = o->segment_bytes,
        .durable = on_durable,
        .data = log,
        .keep_claim = evidence_keep_claim,
        .flush_ms = o->flush_ms,
    };
    bool empty;
    int rc = o->disk->make_dir(o->disk, o->dir);

    if (rc != 0) {
        mq_buf_printf(problem, "%s: %s", o->dir, mq_strerror(rc));
        return rc;
    }
    rc = meta_open(&log->meta, o->disk, o->dir, o->group, o->self, &empty, problem);
    if (rc != 0) {
        return rc;
    }
    rc = evidence_of_last_use(log, problem);
    if (rc != 0) {
        goto err_after_meta;
    }
    rc = commit_mark_open(&log->mark, o->disk, o->dir, log->meta.incarnation, problem);
    if (rc != 0) {
        goto err_after_meta;
    }
    rc = rlog_state_find(log, problem);
    if (rc != 0) {
        goto err_after_mark;
    }
    options.term = log->meta.term;
    options.was_late = log->flush.was_late;
    rc = evidence_committed(log, &options.committed, problem);
    if (rc == 0) {
        rc = commitlog_open(log->loop, &options, &log->commitlog, problem);
    }
    if (rc != 0) {
        goto err_after_state;
    }
    rc = flush_state_begin(&log->flush, problem); /* what the last use left unsynced was synced by the open */
    if (rc == 0) {
        rc = founding_open(&log->founding, log, problem);
    }
    if (rc == 0) {
        rc = rlog_state_choose(log, problem);
    }
    if (rc != 0) {
        goto err_after_commitlog;
    }
    return 0;

err_after_commitlog:
    commitlog_close(log->commitlog);
err_after_state:
    snapshots_drop(log->state.snapshots);
err_after_mark:
    commit_mark_drop(&log->mark);
err_after_meta:
    meta_close(&log->meta);
    return rc;
}

int rlog_open(struct net_loop *loop, const struct rlog_options *options, struct rlog_fsm *fsm, struct rlog **out,
              struct mq_buf *problem)
{
    uint64_t start_ms = mq_clock_mono_ms();
    struct rlog *log;
    int rc = check_options(options, problem);

    if (rc != 0) {
        return rc;
    }
    log = mq_calloc(1, sizeof(*log));
    if (log == NULL) {
        return MQ_ENOMEM;
    }
    log->loop = loop;
    log->fsm = fsm;
    rc = copy_options(log, options);
    if (rc == 0) {
        rc = open_files(log, problem);
    }
    if (rc != 0) {
        free_options(log);
        mq_free(log);
        return rc;
    }
    blob_pool_init(&log->blobs);
    members_init(&log->changes, log);
    init_handles(log);
    init_driver(log);
    commit_mark_start(&log->mark, &loop->uv, on_mark, log);
    log->opened_ms = mq_clock_mono_ms() - start_ms;
    *out = log;
    return 0;
}

int rlog_replay(struct rlog *log, struct mq_buf *problem)
{
    uint64_t start_ms = mq_clock_mono_ms();
    int rc;

    MQ_ASSERT(!log->has_replayed && !log->closing);
    rc = rlog_state_load(log, problem);
    if (rc != 0) {
        return rc;
    }
    driver_replay(&log->driver, on_progress, log);
    log->has_replayed = true;
    log->replayed = log->driver.applied - log->state.loaded_index;
    log->opened_ms += mq_clock_mono_ms() - start_ms;
    return 0;
}

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
        .ops = &mender_ops,
        .data = log,
    };
    struct scrubber_options scrubber = {
        .loop = &log->loop->uv,
        .log = log->commitlog,
        .mender = &log->mender,
        .bytes_per_s = log->options.scrub_bytes_per_s,
        .committed = committed,
        .data = log,
        .seed = random_seed(),
    };

    mender_init(&log->mender, &mender);
    scrubber_init(&log->scrubber, &scrubber);
}

int rlog_start(struct rlog *log, struct mq_buf *problem)
{
    struct peers_options options = {
        .loop = log->loop,
        .log = log->commitlog,
        .ops = &peers_ops,
        .data = log,
        .cluster = log->options.cluster,
        .group = log->options.group,
        .self = log->options.self,
        .incarnation = log->meta.incarnation,
        .segment_bytes = log->options.segment_bytes,
        .heartbeat_ms = log->options.heartbeat_ms,
        .seed = random_seed(),
        .snapshots = &log->state.serve,
        .boot = (uint64_t)random_seed() << 32 | random_seed() | 1,
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
    free_options(log);
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
    come_back(log, on_close_turn);
}

/* ---- reading ---- */

bool rlog_is_level(const struct rlog *log)
{
    return log->driver.applied >= log->driver.commit;
}

int rlog_view(struct rlog *log, uint64_t pos, uint32_t bytes, const uint8_t **at, struct net_ref **ref)
{
    if (!RAFTMQ_DEFECT(READ_ABOVE_COMMIT) &&
        (pos > log->driver.applied_pos || bytes > log->driver.applied_pos - pos)) {
        return MQ_ENOTFOUND; /* I2 */
    }
    return commitlog_view(log->commitlog, pos, bytes, at, ref);
}

bool rlog_is_cold(struct rlog *log, uint64_t pos, uint32_t bytes)
{
    return commitlog_is_cold(log->commitlog, pos, bytes);
}

static enum rlog_member_role role_of(const struct rlog *log, uint32_t id, uint64_t incarnation)
{
    static const enum rlog_member_role roles[] = {RLOG_VOTER, RLOG_LEARNER, RLOG_JOINING};
    const struct member *member = membership_find(&log->driver.current, id);

    if (member == NULL || (incarnation != 0 && incarnation != member->incarnation)) {
        return RLOG_STRANGER;
    }
    return roles[member->role];
}

static void peer_status(const struct rlog *log, const struct peer *peer, struct rlog_peer_status *out)
{
    *out = (struct rlog_peer_status){
        .id = peer->id,
        .role = role_of(log, peer->id, peer_incarnation(peer)),
        .address = peer->address,
        .connected = peer_is_up(peer, PEER_CONTROL),
        .last_heard_ms = peer->last_heard_ms,
    };
    if (log->driver.core != NULL && core_role(log->driver.core) == RLOG_LEADING) {
        out->match_index = core_match(log->driver.core, peer->id);
    }
}

void rlog_status_get(const struct rlog *log, struct rlog_status *out)
{
    const struct driver *driver = &log->driver;
    struct commitlog_stats stats;
    const struct snapshot_info *newest = snapshots_newest(log->state.snapshots);
    struct snapshots_stats snapshots;

    commitlog_stats_get(log->commitlog, &stats);
    snapshots_stats_get(log->state.snapshots, &snapshots);
    *out = (struct rlog_status){
        .role = driver->role,
        .last_index = commitlog_last_index(log->commitlog),
        .durable_index = commitlog_durable_index(log->commitlog),
        .commit_index = driver->commit,
        .applied_index = driver->applied,
        .start_pos = commitlog_start_pos(log->commitlog),
        .end_pos = commitlog_end_pos(log->commitlog),
        .applied_pos = driver->applied_pos,
        .last_store_ms = commitlog_last_store_ms(log->commitlog),
        .claim_index = log->meta.claim.index,
        .elections = driver->elections,
        .leaderships = driver->leaderships,
        .entries_written = stats.entries_written,
        .bytes_written = stats.bytes_written,
        .syncs = stats.syncs,
        .sync_ns_total = stats.sync_ns_total,
        .inflight_entries = driver->inflight_entries,
        .inflight_bytes = driver->inflight_bytes,
        .segments = stats.segments,
        .mapped_bytes = stats.mapped_bytes,
        .snapshot_index = newest != NULL ? newest->index : 0,
        .snapshots_taken = snapshots.taken,
        .snapshots_failed = snapshots.failed,
        .snapshot_took_ms = snapshots.last_ms,
        .snapshot_slice_ns_max = snapshots.slice_ns_max,
        .opened_ms = log->opened_ms,
        .replayed_entries = log->replayed,
        .own_role = role_of(log, log->options.self, log->meta.incarnation),
        .outside = log->changes.outside || log->founding.state == FOUNDING_OUTSIDE,
        .change_index = driver->current_index,
        .change_running = members_running(&log->changes),
    };
    commitlog_space(log->commitlog, &out->space); /* this node's own */
    out->space.member = log->options.self;
    if (log->catchup_open) {
        catchup_status_get(&log->catchup, &out->catchup);
        scrubber_status_get(&log->scrubber, &out->scrub);
    }
    if (log->peers == NULL) {
        return;
    }
    out->refusals = log->peers->refusals;
    for (uint32_t i = 0; i < log->peers->n; i++) {
        if (log->peers->list[i].id != 0) {
            peer_status(log, &log->peers->list[i], &out->peers[out->n_peers++]);
        }
    }
}
