/* Opening: options, everything that is on disk in the order in which one part needs the other, and what the log
 * proves applied again. */
#include "raft-log/rlog.h"

#include "raft-log/evidence.h"
#include "raft-log/log/disk.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

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

void rlog_free_options(struct rlog *log)
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
        .seed = rlog_random_seed(),
        .election_ms = log->options.election_ms,
        .heartbeat_ms = log->options.heartbeat_ms,
        .inflight_entries_max = log->options.inflight_entries_max,
        .inflight_bytes_max = log->options.inflight_bytes_max,
        .unsynced_bytes_max = log->options.unsynced_bytes_max,
    };

    rlog_env_init(log);
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
        .durable = rlog_on_durable,
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
        rlog_free_options(log);
        mq_free(log);
        return rc;
    }
    blob_pool_init(&log->blobs);
    members_init(&log->changes, log);
    init_handles(log);
    init_driver(log);
    commit_mark_start(&log->mark, &loop->uv, rlog_on_mark, log);
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
