/* Proposals: from a filled blob to the callback. One list in order of index; the first one is always the next to be
 * applied. */
#include "raft-log/rlog.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

int rlog_blob_new(struct rlog *log, uint32_t payload_cap, struct rlog_blob **out)
{
    return blob_pool_take(&log->blobs, log, payload_cap, out);
}

static struct rlog_bound reached(const struct driver *driver)
{
    const struct rlog_bound bounds[] = {
        {"entries in flight", driver->inflight_entries, driver->options.inflight_entries_max},
        {"bytes in flight", driver->inflight_bytes, driver->options.inflight_bytes_max},
        {"unsynced bytes", commitlog_unsynced_bytes(driver->options.log), driver->options.unsynced_bytes_max},
    };

    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (bounds[i].used >= bounds[i].max) {
            return bounds[i];
        }
    }
    return (struct rlog_bound){.what = NULL};
}

static bool has_room(const struct driver *driver)
{
    return reached(driver).what == NULL;
}

void rlog_bound_get(const struct rlog *log, struct rlog_bound *out)
{
    *out = reached(&log->driver);
}

int rlog_can_propose(const struct rlog *log)
{
    const struct driver *driver = &log->driver;

    if (driver->closing || driver->role.kind != RLOG_WRITABLE || !core_can_submit(driver->core) ||
        driver->transfer != NULL || core_term(driver->core) != driver->role.term) {
        return MQ_ENOTLEADER;
    }
    if (room_level(&log->room) == RLOG_SPACE_FULL) {
        return MQ_EFULL;
    }
    return has_room(driver) ? 0 : MQ_EBUSY;
}

enum rlog_space_level rlog_space_level(struct rlog *log)
{
    return room_level(&log->room);
}

void rlog_space_get(const struct rlog *log, struct rlog_space *out)
{
    room_get(&log->room, out);
}

bool rlog_writing(const struct rlog *log)
{
    return commitlog_writing(log->commitlog);
}

uint64_t rlog_place(const struct rlog *log, uint32_t payload_bytes)
{
    return commitlog_next_pos(log->commitlog, payload_bytes) + RLOG_HEADER_BYTES;
}

int64_t rlog_store_ms(const struct rlog *log, int64_t wall_ms)
{
    int64_t last_ms = commitlog_last_store_ms(log->commitlog);

    return wall_ms > last_ms ? wall_ms : last_ms;
}

uint32_t rlog_payload_max(const struct rlog *log)
{
    uint64_t segment = log->options.segment_bytes;
    uint64_t bytes = segment < RLOG_ENTRY_BYTES_MAX ? segment : RLOG_ENTRY_BYTES_MAX;

    return (uint32_t)(bytes - RLOG_HEADER_BYTES);
}

int rlog_reserve_take(struct rlog *log, uint32_t bytes)
{
    return room_reserve_take(&log->room, bytes);
}

static bool has_room_for_records(const struct rlog *log, const struct rlog_proposal *proposal)
{
    enum rlog_space_level level = room_level(&log->room);

    return level == RLOG_SPACE_ENOUGH || (level == RLOG_SPACE_LOW && proposal->from_reserve);
}

int rlog_propose(struct rlog *log, struct rlog_blob *blob, int64_t wall_ms, uint32_t records, uint32_t items,
                 struct rlog_proposal *proposal, rlog_proposal_cb cb)
{
    struct driver *driver = &log->driver;
    uint32_t entry_bytes = rlog_entry_bytes(blob->payload_bytes);
    int rc = rlog_can_propose(log);

    if (rc != 0) {
        return rc;
    }
    if (records != 0 && !has_room_for_records(log, proposal)) {
        return MQ_EFULL;
    }
    if (entry_bytes > RLOG_ENTRY_BYTES_MAX) {
        return MQ_ETOOBIG;
    }
    rc = driver_append(driver, RLOG_COMMAND, blob, wall_ms, records, items);
    if (rc != 0) {
        return rc;
    }
    proposal->cb = cb;
    proposal->index = commitlog_last_index(log->commitlog);
    proposal->next = NULL;
    *driver->proposals_end = proposal;
    driver->proposals_end = &proposal->next;
    driver->inflight_entries++;
    driver->inflight_bytes += entry_bytes;
    driver->full = !has_room(driver);
    return 0;
}

static struct rlog_proposal *pop(struct driver *driver)
{
    struct rlog_proposal *proposal = driver->proposals;

    driver->proposals = proposal->next;
    if (driver->proposals == NULL) {
        driver->proposals_end = &driver->proposals;
    }
    proposal->next = NULL;
    return proposal;
}

void propose_applied(struct driver *driver, uint64_t index, uint32_t entry_bytes)
{
    struct rlog_proposal *proposal = driver->proposals;

    if (proposal == NULL || proposal->index != index) {
        return;
    }
    (void)pop(driver);
    driver->inflight_entries--;
    driver->inflight_bytes -= entry_bytes;
    if (driver->full && has_room(driver)) {
        driver->full = false;
        driver->room_due = true;
    }
    proposal->cb(proposal, 0);
}

void propose_fail_all(struct driver *driver)
{
    struct rlog_proposal *proposal = driver->proposals;

    /* Taken off as a whole first: a callback may look at the log. */
    driver->proposals = NULL;
    driver->proposals_end = &driver->proposals;
    driver->inflight_entries = 0;
    driver->inflight_bytes = 0;
    driver->full = false;
    while (proposal != NULL) {
        struct rlog_proposal *next = proposal->next;

        proposal->next = NULL;
        proposal->cb(proposal, RAFTMQ_DEFECT(LOST_ANSWERED_REFUSED) ? MQ_ENOTLEADER
                               : RAFTMQ_DEFECT(LOST_ANSWERED_DONE)  ? 0
                                                                    : MQ_EUNSURE);
        proposal = next;
    }
}
