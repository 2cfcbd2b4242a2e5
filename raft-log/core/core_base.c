/* Where a log begins: trimming it, and putting a snapshot in its place (see core_libraft.c for what the library makes
 * of it). */
#include "raft-log/core/core_libraft.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#define INSTALL_VERSION 0
#define TRAIL_SPARE 2u /* slots of the library's ring that are left free, which it needs to tell full from empty */

void core_lengthen_trail(struct core *core, const struct core_log *log)
{
    struct raft_trail old = core->raft.trail, *trail = &core->raft.trail;
    unsigned n_old = old.size > 0 ? (old.back + old.size - old.front) % old.size : 0;
    unsigned n = (unsigned)log->n_runs;

    if (log->settled.index == 0) {
        return;
    }
    MQ_ASSERT(old.offset == log->settled.index);
    trail->size = n + n_old + TRAIL_SPARE;
    trail->records = raft_calloc(trail->size, sizeof(trail->records[0]));
    for (unsigned i = 0; i < n; i++) {
        trail->records[i].index = i + 1 < n ? log->runs[i + 1].first - 1 : log->settled.index;
        trail->records[i].term = log->runs[i].term;
    }
    for (unsigned i = 0; i < n_old; i++) {
        unsigned from = (old.front + i) % old.size;

        n -= trail->records[n - 1].term == old.records[from].term; /* its run goes on */
        trail->records[n].index = old.records[from].index;
        trail->records[n++].term = old.records[from].term;
    }
    trail->front = 0;
    trail->back = n;
    trail->offset = log->base.index;
    trail->snapshot.index = log->base.index;
    trail->snapshot.term = log->base.index > 0 ? log->base.term : 0;
    raft_free(old.records);
}

int core_trimmed(struct core *core, uint64_t now_ms, const struct core_base *base, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_SNAPSHOT, now_ms);
    int rc;

    *update = (struct core_update){0};
    if (core_installing(core) || base->index <= core->terms.base_index || base->index > core_commit(core) ||
        base->index > core->raft.last_stored || term_table_get(&core->terms, base->index) != base->term) {
        return MQ_EINVAL;
    }
    /* Taken by the step. */
    rc = core_configuration(core, base->change, base->change_bytes, &event.snapshot.metadata.configuration);
    if (rc != 0) {
        return MQ_EINVAL;
    }
    event.snapshot.metadata.index = base->index;
    event.snapshot.metadata.term = base->term;
    event.snapshot.metadata.configuration_index = base->change_index;
    event.snapshot.trailing = 0;
    rc = core_step(core, &event, update);
    MQ_ASSERT(rc == 0);
    term_table_trim(&core->terms, base->index);
    return 0;
}

bool core_installing(const struct core *core)
{
    return core->raft.snapshot.installing;
}

int core_install(struct core *core, uint64_t now_ms, uint32_t leader, uint64_t term, const struct core_base *snapshot,
                 struct core_update *update)
{
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = leader};
    int rc;

    *update = (struct core_update){0};
    if (core_installing(core)) {
        return MQ_EBUSY;
    }
    if (term != core_term(core) || core_role(core) == RLOG_LEADING) {
        return MQ_EAGAIN;
    }
    if (snapshot->index <= core->terms.base_index ||
        term_table_get(&core->terms, snapshot->index) == snapshot->term) {
        return 0; /* the leader hears it when it asks again */
    }
    if (snapshot->index <= core_commit(core) || snapshot->term == 0 || snapshot->term > term) {
        return MQ_ECORRUPT;
    }
    /* Ours again through the step's update. */
    rc = core_configuration(core, snapshot->change, snapshot->change_bytes, &message.install_snapshot.conf);
    if (rc != 0) {
        return rc;
    }
    message.install_snapshot.version = INSTALL_VERSION;
    message.install_snapshot.term = term;
    message.install_snapshot.last_index = snapshot->index;
    message.install_snapshot.last_term = snapshot->term;
    message.install_snapshot.conf_index = snapshot->change_index;
    core->leader_term = term;
    rc = core_step_message(core, now_ms, &message, update);
    MQ_ASSERT(rc == 0 && update->install && core_installing(core));
    return 0;
}

int core_installed(struct core *core, uint64_t now_ms, struct core_update *update)
{
    struct raft_event event = core_event(RAFT_PERSISTED_SNAPSHOT, now_ms);
    int rc;

    *update = (struct core_update){0};
    MQ_ASSERT(core_installing(core));
    event.persisted_snapshot.metadata = core->snapshot; /* its configuration is taken */
    event.persisted_snapshot.last = true;
    raft_configuration_init(&core->snapshot.configuration);
    rc = core_step(core, &event, update);
    MQ_ASSERT(rc == 0);
    core_look_at_claim(core, core->raft.last_stored);
    return 0;
}
