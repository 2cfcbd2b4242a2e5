/* The log as the core is told of it at a start: what it begins behind, the terms of what is applied, stand-ins of the
 * rest. */
#include "raft-log/driver_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

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
        driver_note_change(driver, stem->change_index, stem->change, stem->change_bytes);
    }
    for (uint64_t i = 0; i < image->n; i++) {
        if (image->list[i].type == RLOG_CHANGE) {
            driver_note_change(driver, stem->index + 1 + i, image->list[i].change, image->list[i].change_bytes);
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
    int rc = core_start(driver->core, driver_now(driver), &log, &update);

    if (rc == 0) {
        driver->applied = RAFTMQ_DEFECT(APPLY_TWICE) ? 0 : driver->applied;
        note_changes(driver, image);
        driver_carry_out(driver, &update, &NO_ORIGIN);
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
        driver->leader_ms = driver_now(driver);
        driver_arm(driver);
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
