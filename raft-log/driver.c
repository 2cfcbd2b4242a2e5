#include "raft-log/driver_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* After so many election time-outs without an end of a write a leader falls silent. Long enough for a disk that is
 * only slow: the next leader's may be no faster. */
#define DISK_HANGS_ELECTIONS 10u

_Noreturn void driver_die(const char *what, uint64_t index)
{
    mq_log_error("raft", "%s index=%" PRIu64 ": this node stops, as it can no longer be trusted", what, index);
    abort();
}

void driver_init(struct driver *driver, const struct driver_options *options)
{
    memset(driver, 0, sizeof(*driver));
    driver->options = *options;
    driver->proposals_end = &driver->proposals;
    driver->role = (struct rlog_role){RLOG_FOLLOWER, 0, 0};
    driver->core_role_seen = RLOG_FOLLOWER;
}

void driver_fini(struct driver *driver)
{
    core_free(driver->core);
    driver->core = NULL;
    mq_free(driver->stand_ins);
    driver->stand_ins = NULL;
}

/* Gives the writer what was appended. */
static void kick(struct driver *driver)
{
    if (!commitlog_writing(driver->options.log)) {
        driver->disk_ms = driver_now(driver);
    }
    commitlog_kick(driver->options.log);
}

static void write_own_barrier(struct driver *driver)
{
    struct rlog_header header = {
        .type = RLOG_BARRIER,
        .payload_bytes = 8,
        .index = core_last_index(driver->core),
        .term = core_term(driver->core),
        .commit = driver->commit,
        .clock_ms = driver->options.env->wall_ms(driver->options.env),
    };
    struct rlog_blob *blob;
    int64_t last_ms = commitlog_last_store_ms(driver->options.log);
    int rc = blob_pool_take(driver->options.blobs, NULL, 8, &blob);

    MQ_ASSERT(rc == 0);
    header.store_ms = header.clock_ms > last_ms ? header.clock_ms : last_ms;
    memset(rlog_blob_payload(blob), 0, 8);
    blob->payload_bytes = 8;
    rc = commitlog_append(driver->options.log, &header, blob);
    MQ_ASSERT(rc == 0);
}

/* ---- who belongs to the group ---- */

void driver_note_change(struct driver *driver, uint64_t index, const uint8_t *payload, uint32_t n)
{
    struct membership got;
    int rc = membership_decode(payload, n, &got);

    MQ_ASSERT(rc == 0); /* the core has decoded it */
    driver->former = driver->current;
    driver->former_index = driver->current_index;
    driver->current = got;
    driver->current_index = index;
    driver->members_due = true;
}

static void forget_change(struct driver *driver, uint64_t index)
{
    if (driver->current_index >= index) {
        driver->current = driver->former;
        driver->current_index = driver->former_index;
        driver->members_due = true;
    }
}

const struct membership *driver_applied_membership(const struct driver *driver, uint64_t *index)
{
    static const struct membership NONE;

    if (driver->current_index <= driver->applied) {
        *index = driver->current_index;
        return &driver->current;
    }
    if (driver->former_index <= driver->applied) {
        *index = driver->former_index;
        return &driver->former;
    }
    *index = 0; /* a log that has just begun may bring several before the first is applied */
    return &NONE;
}

/* ---- carrying out an update ---- */

static void truncate_log(struct driver *driver, uint64_t index)
{
    uint64_t last = commitlog_last_index(driver->options.log);

    MQ_ASSERT(index > driver->commit && index > driver->applied); /* I1 */
    commitlog_truncate(driver->options.log, index);
    forget_change(driver, index);
    if (RAFTMQ_DEFECT(STALE_NOTICE)) {
        driver->durable_index = last;
    } else if (driver->durable_index >= index) {
        driver->durable_index = 0; /* of a replaced entry; those put in its place bring their own notice */
    }
}

static void write_entries(struct driver *driver, const struct core_update *update, const struct origin *from)
{
    struct commitlog *log = driver->options.log;

    if (from->appended) {
        MQ_ASSERT(update->n_entries == 1 && commitlog_last_index(log) == update->entries_index);
        return;
    }
    if (update->entries_index <= commitlog_last_index(log)) {
        truncate_log(driver, update->entries_index);
    }
    if (update->own_barrier) {
        MQ_ASSERT(update->n_entries == 1);
        write_own_barrier(driver);
        driver->barrier_index = update->entries_index;
        kick(driver);
        return;
    }
    for (uint32_t i = 0; i < update->n_entries; i++) {
        const struct commitlog_entry *entry = &from->entries[update->entries_index + i - from->first_index];
        int rc = commitlog_append_sound(log, &entry->header, entry->bytes, entry->n, from->ref);

        if (rc != 0) {
            driver_die("an entry that was checked does not fit the log", entry->header.index);
        }
        if (entry->header.type == RLOG_CHANGE) {
            driver_note_change(driver, entry->header.index, entry->bytes + RLOG_HEADER_BYTES,
                               entry->header.payload_bytes);
        }
    }
    kick(driver);
    if (RAFTMQ_DEFECT(ACK_BEFORE_WRITE)) {
        driver->durable_index = commitlog_last_index(log);
        driver->durable_term = commitlog_term_of(log, driver->durable_index);
    }
}

/* A leader acknowledges nothing while its own disk hangs, though the others could. Silence makes them elect another,
 * and this one, unanswered, steps down; with entries that are not on its disk it does not stand for election. */
static bool falls_silent(struct driver *driver)
{
    const struct driver_options *o = &driver->options;
    bool hangs = core_role(driver->core) == RLOG_LEADING && commitlog_writing(o->log) &&
                 driver_now(driver) - driver->disk_ms >= (uint64_t)o->election_ms * DISK_HANGS_ELECTIONS;

    if (hangs && !driver->silent) {
        mq_log_error("raft", "a write has not ended for %" PRIu64 " ms: silent, so that another member leads",
                     driver_now(driver) - driver->disk_ms);
    }
    driver->silent = hangs;
    return hangs;
}

static void send_messages(struct driver *driver, const struct core_update *update)
{
    bool silent = update->n_messages != 0 && falls_silent(driver);

    for (uint32_t i = 0; i < update->n_messages; i++) {
        if (!silent || update->messages[i].type != CORE_APPEND) {
            driver->options.env->send(driver->options.env, &update->messages[i]);
        }
    }
}

void driver_carry_out(struct driver *driver, const struct core_update *update, const struct origin *from)
{
    uint64_t commit;

    MQ_ASSERT(!driver->in_step);
    driver->in_step = true;
    if (update->term_or_vote && !RAFTMQ_DEFECT(TERM_AFTER_MESSAGES)) {
        meta_store(driver->options.meta, update->term, update->vote);
    }
    if (update->entries_index != 0) {
        write_entries(driver, update, from);
    }
    send_messages(driver, update);
    if (update->term_or_vote && RAFTMQ_DEFECT(TERM_AFTER_MESSAGES)) {
        meta_store(driver->options.meta, update->term, update->vote);
    }
    commit = core_commit(driver->core);
    driver->commit = commit > driver->commit ? commit : driver->commit;
    driver->in_step = false;
}

/* Asks to be woken for the core's next time-out. A wake-up that is too early only asks again, so that traffic, which
 * moves the time-out all the time, costs nothing. */
void driver_arm(struct driver *driver)
{
    uint64_t at = core_timeout_at(driver->core);
    uint64_t now;

    if (driver->transfer != NULL && driver->transfer_end_ms < at) {
        at = driver->transfer_end_ms;
    }
    if (driver->wake_ms != 0 && driver->wake_ms <= at) {
        return;
    }
    now = driver_now(driver);
    driver->wake_ms = at > now ? at : now + 1;
    driver->options.env->wake_at(driver->options.env, driver->wake_ms);
}

/* ---- the outer round ---- */

static void tell_durable(struct driver *driver)
{
    struct core_update update;
    uint64_t index = driver->durable_index;
    int rc;

    if (index == 0) {
        return;
    }
    driver->durable_index = 0;
    rc = core_persisted(driver->core, driver_now(driver), index, driver->durable_term, &update);
    MQ_ASSERT(rc == 0);
    driver_carry_out(driver, &update, &NO_ORIGIN);
    driver->room_due = true;
}

static void tell_room(struct driver *driver)
{
    if (driver->room_due && driver->role.kind == RLOG_WRITABLE && !driver->closing) {
        driver->room_due = false;
        driver->options.fsm->room(driver->options.fsm);
    }
    driver->room_due = false;
}

static void tell_members(struct driver *driver)
{
    if (driver->members_due && !driver->closing) {
        driver->members_due = false;
        driver->options.env->members(driver->options.env);
    }
}

/* Everything that follows from steps and may call the owner. Callbacks that come back here only ask for another
 * round. */
void driver_settle(struct driver *driver)
{
    driver->again = true;
    if (driver->settling) {
        return;
    }
    driver->settling = true;
    while (driver->again && !driver->closing) {
        driver->again = false;
        tell_durable(driver);
        role_settle(driver);
        driver_apply_slice(driver);
        role_settle(driver); /* the barrier may have been applied */
        transfer_settle(driver);
        tell_members(driver);
        tell_room(driver);
    }
    driver->settling = false;
    if (!driver->closing) {
        driver_arm(driver);
    }
}

/* ---- events ---- */

void driver_stop(struct driver *driver)
{
    driver->closing = true;
    propose_fail_all(driver);
    transfer_fail(driver);
}

void driver_set_passive(struct driver *driver, bool passive)
{
    core_set_passive(driver->core, passive);
    driver_arm(driver);
}

uint64_t driver_leaderless_ms(const struct driver *driver)
{
    return driver->role.leader != 0 ? 0 : driver_now(driver) - driver->leader_ms;
}

void driver_durable(struct driver *driver, uint64_t index, uint64_t term)
{
    if (driver->core == NULL || driver->closing) {
        return;
    }
    driver->durable_index = index;
    driver->durable_term = term;
    driver->disk_ms = driver_now(driver);
    if (!driver->in_step) {
        driver_settle(driver);
    }
}

void driver_timeout(struct driver *driver)
{
    struct core_update update;
    uint64_t now = driver_now(driver);
    int rc;

    driver->wake_ms = 0;
    if (driver->core == NULL || driver->closing) {
        return;
    }
    if (now >= core_timeout_at(driver->core)) {
        core_set_outside(driver->core, driver->outside);
        rc = core_timeout(driver->core, now, &update);
        MQ_ASSERT(rc == 0);
        driver_carry_out(driver, &update, &NO_ORIGIN);
    }
    driver_settle(driver);
}

void driver_continue(struct driver *driver)
{
    driver->slice_used = false;
    if (driver->core != NULL && !driver->closing) {
        driver_settle(driver);
    }
}

int driver_append(struct driver *driver, uint8_t type, struct rlog_blob *blob, int64_t wall_ms, uint32_t records,
                  uint32_t items)
{
    static const struct origin APPENDED = {.appended = true};
    struct commitlog *log = driver->options.log;
    int64_t last_ms = commitlog_last_store_ms(log);
    struct rlog_header header = {
        .type = type,
        .payload_bytes = blob->payload_bytes,
        .index = commitlog_last_index(log) + 1,
        .term = core_term(driver->core),
        .commit = RAFTMQ_DEFECT(HEADER_COMMIT_TOO_HIGH) ? commitlog_last_index(log) : driver->commit,
        .clock_ms = wall_ms,
        .store_ms = wall_ms > last_ms ? wall_ms : last_ms,
        .records = records,
        .items = items,
    };
    struct core_entry entry = {.term = header.term, .type = type};
    struct core_update update;
    int rc;

    MQ_ASSERT(!driver->in_step && core_can_submit(driver->core));
    rc = commitlog_append(log, &header, blob);
    if (rc != 0) {
        return rc;
    }
    if (type == RLOG_CHANGE) {
        entry.change = rlog_blob_payload(blob); /* the log holds it until it is durable */
        entry.change_bytes = header.payload_bytes;
        driver_note_change(driver, header.index, entry.change, entry.change_bytes);
    }
    kick(driver);
    rc = core_submit(driver->core, driver_now(driver), &entry, &update);
    MQ_ASSERT(rc == 0); /* a leader that may submit does not refuse */
    driver_carry_out(driver, &update, &APPENDED);
    driver_arm(driver);
    return 0;
}

int driver_change(struct driver *driver, const struct membership *to)
{
    struct mq_buf payload = {0};
    struct rlog_blob *blob;
    int rc = membership_encode(to, &payload);

    MQ_ASSERT(core_can_change(driver->core));
    if (rc == 0) {
        rc = blob_pool_take(driver->options.blobs, NULL, (uint32_t)payload.len, &blob);
    }
    if (rc == 0) {
        memcpy(rlog_blob_payload(blob), payload.base, payload.len);
        blob->payload_bytes = (uint32_t)payload.len;
        rc = driver_append(driver, RLOG_CHANGE, blob, driver->options.env->wall_ms(driver->options.env), 0, 0);
        if (rc != 0) {
            net_ref_release(&blob->ref);
        }
    }
    mq_buf_free(&payload);
    return rc;
}

int driver_hand_over(struct driver *driver, uint32_t target)
{
    struct core_update update;
    int rc = core_transfer(driver->core, driver_now(driver), target, &update);

    if (rc == 0) {
        driver_carry_out(driver, &update, &NO_ORIGIN);
    }
    return rc;
}
