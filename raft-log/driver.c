#include "raft-log/driver.h"

#include "raft-log/state_hash.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define APPLY_SLICE_MS 5u /* applying never holds a turn of the loop longer, but for the entry that crosses it */
#define PROGRESS_MS 1000u
#define TERMS_MAX 1024u /* that the core remembers, if a snapshot stands for older ones */
/* After so many election time-outs without an end of a write a leader falls silent. Long enough for a disk that is
 * only slow: the next leader's may be no faster. */
#define DISK_HANGS_ELECTIONS 10u

/* The entries that an update speaks of, by where they come from. */
struct origin {
    const struct commitlog_entry *entries; /* received: those of the message ... */
    uint64_t first_index;                  /* ... the first of which has this index */
    struct net_ref *ref;
    bool appended; /* our own, in the log already */
};

static const struct origin NO_ORIGIN;

_Noreturn static void die(const char *what, uint64_t index)
{
    mq_log_error("raft", "%s index=%" PRIu64 ": this node stops, as it can no longer be trusted", what, index);
    abort();
}

static uint64_t now_of(const struct driver *driver)
{
    return driver->options.env->now_ms(driver->options.env);
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

static int reserve_stand_ins(struct driver *driver, uint32_t n)
{
    struct core_entry *list;

    if (n <= driver->stand_ins_cap) {
        return 0;
    }
    list = mq_realloc(driver->stand_ins, n * sizeof(list[0]));
    if (list == NULL) {
        return MQ_ENOMEM;
    }
    driver->stand_ins = list;
    driver->stand_ins_cap = n;
    return 0;
}

/* Gives the writer what was appended. */
static void kick(struct driver *driver)
{
    if (!commitlog_writing(driver->options.log)) {
        driver->disk_ms = now_of(driver);
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

static void note_change(struct driver *driver, uint64_t index, const uint8_t *payload, uint32_t n)
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
            die("an entry that was checked does not fit the log", entry->header.index);
        }
        if (entry->header.type == RLOG_CHANGE) {
            note_change(driver, entry->header.index, entry->bytes + RLOG_HEADER_BYTES, entry->header.payload_bytes);
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
                 now_of(driver) - driver->disk_ms >= (uint64_t)o->election_ms * DISK_HANGS_ELECTIONS;

    if (hangs && !driver->silent) {
        mq_log_error("raft", "a write has not ended for %" PRIu64 " ms: silent, so that another member leads",
                     now_of(driver) - driver->disk_ms);
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

static void carry_out(struct driver *driver, const struct core_update *update, const struct origin *from)
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
static void arm(struct driver *driver)
{
    uint64_t at = core_timeout_at(driver->core);
    uint64_t now;

    if (driver->transfer != NULL && driver->transfer_end_ms < at) {
        at = driver->transfer_end_ms;
    }
    if (driver->wake_ms != 0 && driver->wake_ms <= at) {
        return;
    }
    now = now_of(driver);
    driver->wake_ms = at > now ? at : now + 1;
    driver->options.env->wake_at(driver->options.env, driver->wake_ms);
}

/* ---- applying ---- */

uint64_t driver_apply_limit(const struct driver *driver)
{
    uint64_t durable = commitlog_durable_index(driver->options.log);

    if (RAFTMQ_DEFECT(ACK_BEFORE_MAJORITY) && driver->core != NULL && core_role(driver->core) == RLOG_LEADING) {
        return durable;
    }
    return driver->commit < durable ? driver->commit : durable;
}

static void apply_change(struct driver *driver, uint64_t index, const uint8_t *payload, uint32_t n)
{
    struct core_update update;
    int rc;

    if (driver->core == NULL) {
        return; /* replay: driver_start tells the core of the last one */
    }
    rc = core_change_applied(driver->core, now_of(driver), index, payload, n, &update);
    if (rc != 0) {
        die("a committed change of the membership cannot be read", index);
    }
    carry_out(driver, &update, &NO_ORIGIN);
    driver->again = true;
    driver->members_due = true;
}

/* Reads the entry that is applied next. Returns whether it is there: if its header is bad, it can be brought again
 * once the core runs. */
static bool read_next(struct driver *driver, struct commitlog_entry *out)
{
    struct rlog_env *env = driver->options.env;
    uint64_t index = driver->applied + 1;
    int rc = commitlog_read(driver->options.log, index, out);

    if (rc == MQ_ECORRUPT && driver->core != NULL && env->damaged != NULL) {
        env->damaged(env, index);
        return false;
    }
    rc = rc != 0 ? commitlog_get(driver->options.log, index, out) : 0;
    MQ_ASSERT(rc == 0);
    return true;
}

static void apply_one(struct driver *driver, const struct commitlog_entry *read)
{
    uint64_t index = driver->applied + 1;
    struct commitlog_entry entry = *read;
    struct net_ref *ref;
    const struct rlog_header *header = &entry.header;
    const uint8_t *payload;

    ref =
        commitlog_hold(driver->options.log, index); /* the owner may call into the log while it looks at the bytes */
    MQ_ASSERT(ref != NULL);
    payload = entry.bytes + RLOG_HEADER_BYTES;
    driver->applied = index;
    driver->applied_pos = header->pos + entry.n;
    if (header->type == RLOG_COMMAND) {
        struct rlog_entry command = {
            .index = index,
            .term = header->term,
            .pos = header->pos + RLOG_HEADER_BYTES,
            .clock_ms = header->clock_ms,
            .store_ms = header->store_ms,
            .payload = payload,
            .payload_bytes = header->payload_bytes,
            .records = header->records,
            .items = header->items,
        };

        driver->options.fsm->apply(driver->options.fsm, &command);
    } else if (header->type == RLOG_CHANGE) {
        apply_change(driver, index, payload, header->payload_bytes);
    }
    net_ref_release(ref);
    if (index % STATE_HASH_EVERY == 0 && driver->options.env->checkpoint != NULL) {
        driver->options.env->checkpoint(driver->options.env, index);
    }
    propose_applied(driver, index, entry.n);
}

static void apply_slice(struct driver *driver)
{
    uint64_t start;

    if (driver->slice_used || driver->applied >= driver_apply_limit(driver)) {
        return;
    }
    start = now_of(driver);
    while (!driver->closing && driver->applied < driver_apply_limit(driver)) {
        struct commitlog_entry entry;

        if (!read_next(driver, &entry)) {
            return;
        }
        apply_one(driver, &entry);
        if (now_of(driver) - start >= APPLY_SLICE_MS) {
            driver->slice_used = true; /* a turn may bring hundreds of messages: each is no reason for a slice */
            driver->options.env->soon(driver->options.env);
            return;
        }
    }
}

void driver_replay(struct driver *driver, void (*progress)(void *data, uint64_t index, uint64_t last), void *data)
{
    uint64_t last = commitlog_proven_commit(driver->options.log);
    uint64_t told_ms = now_of(driver);

    driver->commit = last > driver->applied ? last : driver->applied;
    while (driver->applied < last) {
        struct commitlog_entry entry;
        bool there = read_next(driver, &entry);

        MQ_ASSERT(there); /* without a core it ends the process if not */
        apply_one(driver, &entry);
        if ((driver->applied & 63) == 0 && now_of(driver) - told_ms >= PROGRESS_MS) {
            told_ms = now_of(driver);
            progress(data, driver->applied, last);
        }
    }
}

void driver_restored(struct driver *driver, uint64_t index, uint64_t end_pos)
{
    MQ_ASSERT(driver->core == NULL && index > driver->applied);
    driver->applied = index;
    driver->applied_pos = end_pos;
}

/* The core does not know of what lies up to @base any more. */
static void raise_base(struct driver *driver, const struct rlog_base *base)
{
    struct core_base core_base = {base->index, base->term, base->change_index, base->change, base->change_bytes};
    struct core_update update;
    int rc;

    MQ_ASSERT(base->index <= driver->applied && base->change_bytes != 0 && base->change_index <= base->index);
    rc = core_trimmed(driver->core, now_of(driver), &core_base, &update);
    MQ_ASSERT(rc == 0);
    carry_out(driver, &update, &NO_ORIGIN);
}

int driver_trim(struct driver *driver, uint64_t pos)
{
    struct rlog_base base;
    int rc = commitlog_trim(driver->options.log, pos < driver->applied_pos ? pos : driver->applied_pos);

    MQ_ASSERT(!driver->in_step && driver->core != NULL);
    commitlog_base_get(driver->options.log, &base);
    if (rc == 0 && base.index > core_base_index(driver->core)) {
        raise_base(driver, &base);
    } /* else the core never knew of what lay before (load_base), or nothing was dropped */
    return rc;
}

void driver_forget_terms(struct driver *driver, const struct rlog_base *base)
{
    MQ_ASSERT(!driver->in_step);
    if (driver->core != NULL && core_terms(driver->core) > TERMS_MAX && !core_installing(driver->core) &&
        base->index > core_base_index(driver->core)) {
        raise_base(driver, base);
    }
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
    rc = core_persisted(driver->core, now_of(driver), index, driver->durable_term, &update);
    MQ_ASSERT(rc == 0);
    carry_out(driver, &update, &NO_ORIGIN);
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
static void settle(struct driver *driver)
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
        apply_slice(driver);
        role_settle(driver); /* the barrier may have been applied */
        transfer_settle(driver);
        tell_members(driver);
        tell_room(driver);
    }
    driver->settling = false;
    if (!driver->closing) {
        arm(driver);
    }
}

/* ---- events ---- */

/* What the core is told of the log. CHANGE payloads are copied to @changes, where the stand-ins' and the bases' point
 * in the end. */
struct image {
    struct core_base base, settled;
    struct mq_buf runs;      /* struct core_run each */
    struct core_entry *list; /* owned */
    uint64_t n;
    struct mq_buf changes;
};

/* Copies a membership. The place is an offset until all are there: the buffer may still move. */
static int keep_change(struct image *image, const uint8_t *change, uint32_t bytes, const uint8_t **at)
{
    *at = (const uint8_t *)(uintptr_t)image->changes.len;
    return mq_buf_put(&image->changes, change, bytes);
}

/* The core's base is the log's, unless the membership as of that is not known: entries put before it may not tell.
 * Then it is the last CHANGE entry that is known to be committed, and the core does not know of what lies before. */
static int load_base(const struct driver *driver, struct image *image)
{
    struct commitlog *log = driver->options.log;
    struct commitlog_entry entry;
    struct rlog_base base;

    commitlog_base_get(log, &base);
    if (base.index == 0) {
        return 0;
    }
    image->base = (struct core_base){.index = base.index, .term = base.term, .change_index = base.change_index};
    if (base.change_bytes == 0 || base.change_index > base.index) {
        uint64_t index = commitlog_change_before(log, driver->applied);

        if (index == 0 || commitlog_get(log, index, &entry) != 0) {
            return MQ_ECORRUPT;
        }
        image->base = (struct core_base){.index = index, .term = entry.header.term, .change_index = index};
        base.change = entry.bytes + RLOG_HEADER_BYTES;
        base.change_bytes = entry.header.payload_bytes;
    }
    image->base.change_bytes = base.change_bytes;
    return keep_change(image, base.change, base.change_bytes, &image->base.change);
}

/* Of what is applied the core hears terms only, and the membership that came of it. */
static int load_settled(const struct driver *driver, struct image *image)
{
    struct commitlog *log = driver->options.log;
    struct core_base *settled = &image->settled;
    struct commitlog_entry entry;
    int rc = 0;

    if (driver->applied <= image->base.index) {
        return 0;
    }
    *settled = image->base;
    settled->index = driver->applied;
    settled->term = commitlog_term_of(log, driver->applied);
    for (uint64_t i = image->base.index + 1; i <= settled->index && rc == 0; i = commitlog_term_end(log, i) + 1) {
        struct core_run run = {i, commitlog_term_of(log, i)};

        rc = mq_buf_put(&image->runs, &run, sizeof(run));
    }
    if (rc != 0 || commitlog_change_before(log, settled->index) <= image->base.index) {
        return rc;
    }
    settled->change_index = commitlog_change_before(log, settled->index);
    rc = commitlog_get(log, settled->change_index, &entry);
    MQ_ASSERT(rc == 0);
    settled->change_bytes = entry.header.payload_bytes;
    return keep_change(image, entry.bytes + RLOG_HEADER_BYTES, settled->change_bytes, &settled->change);
}

/* Terms and places of CHANGE entries are in memory. No other entry's bytes are looked at: a start does not read what
 * it knows, and what has rotted there is for those to meet who need it. */
static int load_entries(const struct driver *driver, struct image *image, uint64_t first)
{
    const struct commitlog *log = driver->options.log;
    uint64_t change = commitlog_change_before(log, commitlog_last_index(log));
    struct commitlog_entry entry;
    int rc = 0;

    image->n = commitlog_last_index(log) + 1 - first;
    image->list = mq_calloc(image->n + 1, sizeof(image->list[0]));
    if (image->list == NULL) {
        return MQ_ENOMEM;
    }
    for (uint64_t i = 0; i < image->n; i++) {
        image->list[i] = (struct core_entry){commitlog_term_of(log, first + i), RLOG_COMMAND, NULL, 0};
    }
    for (; change >= first && rc == 0; change = commitlog_change_before(log, change - 1)) {
        struct core_entry *stand_in = &image->list[change - first];

        rc = commitlog_get(log, change, &entry);
        MQ_ASSERT(rc == 0);
        stand_in->type = RLOG_CHANGE;
        stand_in->change_bytes = entry.header.payload_bytes;
        rc = keep_change(image, entry.bytes + RLOG_HEADER_BYTES, entry.header.payload_bytes, &stand_in->change);
    }
    return rc;
}

/* What is settled, or else the base: what the first of the entries follows. */
static const struct core_base *stem_of(const struct image *image)
{
    return image->settled.index > 0 ? &image->settled : &image->base;
}

static int load_image(const struct driver *driver, struct image *image)
{
    int rc = load_base(driver, image);

    if (rc == 0) {
        rc = load_settled(driver, image);
    }
    if (rc == 0) {
        rc = load_entries(driver, image, stem_of(image)->index + 1);
    }
    if (rc != 0) {
        return rc;
    }
    if (image->base.change_bytes > 0) {
        image->base.change = image->changes.base + (uintptr_t)image->base.change;
    }
    if (image->settled.change_bytes > 0) {
        image->settled.change = image->changes.base + (uintptr_t)image->settled.change;
    }
    for (uint64_t i = 0; i < image->n; i++) {
        if (image->list[i].type == RLOG_CHANGE) {
            image->list[i].change = image->changes.base + (uintptr_t)image->list[i].change;
        }
    }
    return 0;
}

static void note_changes(struct driver *driver, const struct image *image)
{
    const struct core_base *stem = stem_of(image);

    if (stem->index > 0) {
        note_change(driver, stem->change_index, stem->change, stem->change_bytes);
    }
    for (uint64_t i = 0; i < image->n; i++) {
        if (image->list[i].type == RLOG_CHANGE) {
            note_change(driver, stem->index + 1 + i, image->list[i].change, image->list[i].change_bytes);
        }
    }
}

/* The first steps of a core that was made. */
static int start_core(struct driver *driver, const struct image *image)
{
    const struct driver_options *o = &driver->options;
    struct core_log log = {
        .term = o->meta->term,
        .vote = RAFTMQ_DEFECT(VOTE_FORGOTTEN) ? 0 : o->meta->vote,
        .commit = driver->commit > image->base.index ? driver->commit : image->base.index,
        .base = image->base,
        .settled = image->settled,
        .runs = (const struct core_run *)(const void *)image->runs.base,
        .n_runs = image->runs.len / sizeof(struct core_run),
        .entries = image->list,
        .n = image->n,
    };
    struct core_update update;
    int rc = core_start(driver->core, now_of(driver), &log, &update);

    if (rc == 0) {
        driver->applied = RAFTMQ_DEFECT(APPLY_TWICE) ? 0 : driver->applied;
        note_changes(driver, image);
        carry_out(driver, &update, &NO_ORIGIN);
    }
    return rc;
}

int driver_start(struct driver *driver)
{
    const struct driver_options *o = &driver->options;
    struct core_options options = {o->self, o->election_ms, o->heartbeat_ms, o->seed, o->meta->incarnation};
    struct image image = {0};
    int rc;

    MQ_ASSERT(driver->core == NULL && commitlog_durable_index(o->log) == commitlog_last_index(o->log));
    rc = load_image(driver, &image);
    if (rc == 0) {
        rc = core_new(&options, &driver->core);
    }
    if (rc == 0) {
        core_set_claim(driver->core, o->meta->claim.term, o->meta->claim.index);
        rc = start_core(driver, &image);
    }
    if (rc == 0) {
        driver->leader_ms = now_of(driver);
        arm(driver);
        o->env->soon(o->env); /* the owner hears of its role from a later turn */
    } else {
        core_free(driver->core);
        driver->core = NULL;
    }
    mq_buf_free(&image.changes);
    mq_buf_free(&image.runs);
    mq_free(image.list);
    return rc;
}

void driver_stop(struct driver *driver)
{
    driver->closing = true;
    propose_fail_all(driver);
    transfer_fail(driver);
}

/* The end of a log, as far as the next entry tells whether it belongs there. */
struct tail {
    bool known;
    uint64_t end; /* position */
    uint32_t crc; /* header CRC of the last entry */
};

static struct tail tail_before(const struct driver *driver, const struct core_message *message)
{
    struct rlog_base prev;

    if (commitlog_before(driver->options.log, message->append.prev_index + 1, &prev) != 0 ||
        prev.term != message->append.prev_term) {
        return (struct tail){0}; /* the core will reject the message, or what it has not is below the base */
    }
    return (struct tail){true, prev.end_pos, prev.crc};
}

static bool belongs_behind(const struct driver *driver, const struct tail *tail, const struct rlog_header *h)
{
    return !tail->known || RAFTMQ_DEFECT(PREV_NOT_CHECKED) ||
           (h->prev_crc == tail->crc && commitlog_has_place(driver->options.log, tail->end, h));
}

/* Whether we have an entry of this index and term: the same one, if nothing is wrong. */
static bool is_here(const struct driver *driver, const struct rlog_header *h, struct commitlog_entry *ours)
{
    return commitlog_term_of(driver->options.log, h->index) == h->term &&
           commitlog_get(driver->options.log, h->index, ours) == 0;
}

/* Whether the entries follow each other and, where we can tell, our log, so that the log will take those that the
 * core takes; whether those that we have are the same here; and whether the payloads of new ones hold. Where it
 * fails, I3 is broken between us and the sender, or the bytes are. */
static int check_entries(const struct driver *driver, const struct core_message *message,
                         const struct commitlog_entry *entries)
{
    struct tail tail = tail_before(driver, message);
    bool is_new = false; /* and so is all that follows */

    for (uint32_t i = 0; i < message->append.n; i++) {
        const struct rlog_header *h = &entries[i].header;
        struct commitlog_entry ours;

        if (h->index != message->append.prev_index + 1 + i) {
            return MQ_EBADMSG;
        }
        if (!belongs_behind(driver, &tail, h) || h->commit >= h->index) {
            return MQ_ECORRUPT;
        }
        is_new = is_new || !is_here(driver, h, &ours);
        if (is_new && RAFTMQ_DEFECT(PAYLOAD_NOT_CHECKED)) {
            continue;
        }
        if (is_new ? !rlog_entry_is_sound(h, entries[i].bytes) : ours.header.crc != h->crc) {
            return MQ_ECORRUPT;
        }
        tail = (struct tail){true, h->pos + entries[i].n, h->crc};
    }
    return 0;
}

/* Gives the message the stand-ins of its entries. */
static int stand_in(struct driver *driver, struct core_message *message, const struct commitlog_entry *entries)
{
    int rc = reserve_stand_ins(driver, message->append.n);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < message->append.n; i++) {
        const struct rlog_header *h = &entries[i].header;

        driver->stand_ins[i] = (struct core_entry){.term = h->term, .type = h->type};
        if (h->type == RLOG_CHANGE) {
            driver->stand_ins[i].change = entries[i].bytes + RLOG_HEADER_BYTES;
            driver->stand_ins[i].change_bytes = h->payload_bytes;
        }
    }
    message->append.entries = driver->stand_ins;
    return 0;
}

/* Whether the disk can take what a message brings: a log that cannot grow must not be made to. */
static bool has_space(const struct driver *driver, const struct core_message *message,
                      const struct commitlog_entry *entries)
{
    const struct commitlog_entry *last;

    if (message->append.n == 0) {
        return true;
    }
    last = &entries[message->append.n - 1];
    return commitlog_can_hold(driver->options.log, last->header.pos + last->n);
}

int driver_receive(struct driver *driver, struct core_message *message, const struct commitlog_entry *entries,
                   struct net_ref *ref)
{
    struct origin from = {.entries = entries, .ref = ref};
    struct core_update update;
    bool fetch;
    int rc;

    if (driver->core == NULL || driver->closing) {
        return 0;
    }
    if (message->type == CORE_APPEND) {
        rc = check_entries(driver, message, entries);
        if (rc == 0) {
            rc = stand_in(driver, message, entries);
        }
        if (rc != 0) {
            return rc;
        }
        if (!has_space(driver, message, entries)) {
            return 0; /* as if it had been lost: it is sent again, and taken when there is room */
        }
        from.first_index = message->append.prev_index + 1;
    }
    rc = core_receive(driver->core, now_of(driver), message, &update);
    fetch = rc == 0 && update.fetch;
    if (rc == MQ_ECORRUPT) {
        die("a leader's log contradicts what is committed here", message->append.prev_index);
    }
    if (rc != 0) {
        return rc;
    }
    carry_out(driver, &update, &from);
    if (RAFTMQ_DEFECT(COMMIT_UNCLAMPED) && message->type == CORE_APPEND && message->append.commit > driver->commit) {
        driver->commit = message->append.commit;
    }
    settle(driver);
    if (fetch && !driver->closing) {
        driver->options.env->need_snapshot(driver->options.env, message->peer, message->term,
                                           message->install.base_index);
    }
    return 0;
}

/* Log and state begin with the snapshot now; the core waits for it. */
static void replace_log(struct driver *driver, const struct rlog_base *base, void (*load)(void *data), void *data)
{
    struct core_update update;
    int rc = commitlog_reset(driver->options.log, base);

    if (rc != 0) {
        die("the log cannot begin behind a snapshot that was checked", base->index);
    }
    driver->durable_index = 0; /* nothing of the former log is reported any more */
    note_change(driver, base->change_index, base->change, base->change_bytes);
    if (!RAFTMQ_DEFECT(INSTALL_WITHOUT_STATE)) {
        load(data);
    }
    driver->applied = base->index;
    driver->applied_pos = base->end_pos;
    rc = core_installed(driver->core, now_of(driver), &update);
    MQ_ASSERT(rc == 0);
    carry_out(driver, &update, &NO_ORIGIN);
    driver->again = true;
}

int driver_install(struct driver *driver, uint32_t leader, uint64_t term, const struct rlog_base *base,
                   void (*load)(void *data), void *data)
{
    struct core_base snapshot = {base->index, base->term, base->change_index, base->change, base->change_bytes};
    struct core_update update;
    bool install;
    int rc;

    MQ_ASSERT(driver->core != NULL && !driver->in_step && !driver->settling);
    if (driver->closing) {
        return MQ_ECLOSED;
    }
    if (base->term > core_term(driver->core)) {
        return MQ_EAGAIN; /* a leader that knows of it will ask again */
    }
    rc = core_install(driver->core, now_of(driver), leader, term, &snapshot, &update);
    if (rc == MQ_ECORRUPT) {
        die("a snapshot contradicts what is committed here", base->index);
    }
    if (rc != 0) {
        return rc;
    }
    install = update.install;
    carry_out(driver, &update, &NO_ORIGIN);
    if (install) {
        MQ_ASSERT(base->index > driver->applied); /* I1 */
        replace_log(driver, base, load, data);
    }
    settle(driver);
    return 0;
}

void driver_set_passive(struct driver *driver, bool passive)
{
    core_set_passive(driver->core, passive);
    arm(driver);
}

uint64_t driver_leaderless_ms(const struct driver *driver)
{
    return driver->role.leader != 0 ? 0 : now_of(driver) - driver->leader_ms;
}

void driver_durable(struct driver *driver, uint64_t index, uint64_t term)
{
    if (driver->core == NULL || driver->closing) {
        return;
    }
    driver->durable_index = index;
    driver->durable_term = term;
    driver->disk_ms = now_of(driver);
    if (!driver->in_step) {
        settle(driver);
    }
}

void driver_timeout(struct driver *driver)
{
    struct core_update update;
    uint64_t now = now_of(driver);
    int rc;

    driver->wake_ms = 0;
    if (driver->core == NULL || driver->closing) {
        return;
    }
    if (now >= core_timeout_at(driver->core)) {
        core_set_outside(driver->core, driver->outside);
        rc = core_timeout(driver->core, now, &update);
        MQ_ASSERT(rc == 0);
        carry_out(driver, &update, &NO_ORIGIN);
    }
    settle(driver);
}

void driver_continue(struct driver *driver)
{
    driver->slice_used = false;
    if (driver->core != NULL && !driver->closing) {
        settle(driver);
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
        note_change(driver, header.index, entry.change, entry.change_bytes);
    }
    kick(driver);
    rc = core_submit(driver->core, now_of(driver), &entry, &update);
    MQ_ASSERT(rc == 0); /* a leader that may submit does not refuse */
    carry_out(driver, &update, &APPENDED);
    arm(driver);
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
    int rc = core_transfer(driver->core, now_of(driver), target, &update);

    if (rc == 0) {
        carry_out(driver, &update, &NO_ORIGIN);
    }
    return rc;
}
