/* Applying: what is committed and durable here goes to the owner, entry by entry, in slices that leave the loop its
 * turns; and at a start, all that the log itself proves. */
#include "raft-log/driver_inside.h"

#include "raft-log/log/disk.h"
#include "raft-log/state_hash.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdio.h>

#define APPLY_SLICE_MS 5u /* applying never holds a turn of the loop longer, but for the entry that crosses it */
#define PROGRESS_MS 1000u

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
    rc = core_change_applied(driver->core, driver_now(driver), index, payload, n, &update);
    if (rc != 0) {
        driver_die("a committed change of the membership cannot be read", index);
    }
    driver_carry_out(driver, &update, &NO_ORIGIN);
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
            .payload_crc = header->payload_crc,
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

void driver_apply_slice(struct driver *driver)
{
    uint64_t start;

    if (driver->slice_used || driver->applied >= driver_apply_limit(driver)) {
        return;
    }
    start = driver_now(driver);
    while (!driver->closing && driver->applied < driver_apply_limit(driver)) {
        struct commitlog_entry entry;

        if (!read_next(driver, &entry)) {
            return;
        }
        apply_one(driver, &entry);
        if (driver_now(driver) - start >= APPLY_SLICE_MS) {
            driver->slice_used = true; /* a turn may bring hundreds of messages: each is no reason for a slice */
            driver->options.env->soon(driver->options.env);
            return;
        }
    }
}

/* The log was read whole when it was opened, but that was then: a bit that fell over since would be applied, and this
 * member's state be another one than the others'. The next start finds the entry rotten and has it brought. */
static void check_bytes(const struct driver *driver, const struct commitlog_entry *entry)
{
    const struct rlog_header *header = &entry->header;

    if (mq_crc32c(0, entry->bytes + RLOG_HEADER_BYTES, header->payload_bytes) != header->payload_crc) {
        char name[64];

        (void)snprintf(name, sizeof(name), "entry %" PRIu64 " at position %" PRIu64, driver->applied + 1,
                       header->pos);
        rlog_disk_failed("reading once more what was good when the log was opened", name, MQ_ECORRUPT);
    }
}

void driver_replay(struct driver *driver, void (*progress)(void *data, uint64_t index, uint64_t last), void *data)
{
    uint64_t last = commitlog_proven_commit(driver->options.log);
    uint64_t told_ms = driver_now(driver);

    driver->commit = last > driver->applied ? last : driver->applied;
    while (driver->applied < last) {
        struct commitlog_entry entry;
        bool there = read_next(driver, &entry);

        MQ_ASSERT(there); /* without a core it ends the process if not */
        check_bytes(driver, &entry);
        apply_one(driver, &entry);
        if ((driver->applied & 63) == 0 && driver_now(driver) - told_ms >= PROGRESS_MS) {
            told_ms = driver_now(driver);
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
