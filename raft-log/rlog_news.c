/* What comes from below: the log's word that entries are durable, what members say, what was found bad. Each goes to
 * the part that it is for. */
#include "raft-log/rlog.h"

#include "remoting/base/err.h"

#define FAR_BYTES (256u << 20) /* rlog_options.far_bytes unless it is set */

void rlog_on_durable(void *data, uint64_t index, uint64_t term)
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

uint64_t rlog_on_mark(void *data)
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

uint64_t rlog_committed(void *data)
{
    return ((const struct rlog *)data)->driver.commit;
}

/* Somebody who needs entry @index found it bad. */
void rlog_on_damaged(void *data, uint64_t index)
{
    struct rlog *log = data;

    if (log->catchup_open && !log->closing) {
        (void)mender_suspect(&log->mender, index, index); /* no place: it is found again */
    }
}

static void on_mended(void *data)
{
    struct rlog *log = data;

    if (!log->closing) {
        peers_mended(log->peers);
        log->env.soon(&log->env);
    }
}

const struct mender_ops rlog_mender_ops = {.committed = rlog_committed, .mended = on_mended};

const struct peers_ops rlog_peers_ops = {
    .message = on_message,
    .founding = on_founding,
    .reached = on_reached,
    .leads = leads,
    .committed = rlog_committed,
    .claim = on_claim,
    .space = on_space,
    .state_hash = on_state_hash,
    .is_far = is_far,
    .damaged = rlog_on_damaged,
};
