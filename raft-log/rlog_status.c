/* What a log tells of itself, and reading from it. */
#include "raft-log/rlog.h"

#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdio.h>

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

int rlog_stretch_get(struct rlog *log, uint64_t pos, struct rlog_stretch *out)
{
    uint64_t segment_end = (pos / log->options.segment_bytes + 1) * log->options.segment_bytes;
    uint64_t end = log->driver.applied_pos < segment_end ? log->driver.applied_pos : segment_end;
    const uint8_t *at;
    struct net_ref *ref;

    if (rlog_view(log, pos, 1, &at, &ref) != 0) {
        return MQ_ENOTFOUND;
    }
    *out = (struct rlog_stretch){pos, at, end - pos, end == segment_end, ref};
    return 0;
}

void rlog_suspect(struct rlog *log, uint64_t pos)
{
    uint64_t index = commitlog_from_pos(log->commitlog, pos + 1) - 1;

    if (pos >= commitlog_start_pos(log->commitlog) && index >= commitlog_first_index(log->commitlog) &&
        index <= log->driver.applied) {
        rlog_on_damaged(log, index);
    }
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

void rlog_segment_path(const struct rlog *log, uint64_t pos, char *out, size_t cap)
{
    struct rlog_space space;

    commitlog_space(log->commitlog, &space);
    (void)snprintf(out, cap, "%s/%020" PRIu64, space.path, pos - pos % log->options.segment_bytes);
}
