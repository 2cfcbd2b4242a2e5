/* What the log holds: entries, bytes, where it begins and ends, how much room is left. Nothing here changes it, but
 * for what scrubbing puts right. */
#include "raft-log/log/commitlog_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#define COLD_PAGES 256u /* asked about in one system call */

uint64_t commitlog_first_index(const struct commitlog *log)
{
    return log->front.base.base.index + 1;
}

uint64_t commitlog_start_pos(const struct commitlog *log)
{
    return max_u64(log->front.base.base.end_pos, handover_start(&log->handover));
}

void commitlog_base_get(const struct commitlog *log, struct rlog_base *out)
{
    *out = log->front.base.base;
}

int commitlog_before(const struct commitlog *log, uint64_t index, struct rlog_base *out)
{
    const struct rlog_base *base = &log->front.base.base;
    struct commitlog_entry entry;

    if (index == base->index + 1) {
        *out = (struct rlog_base){.index = base->index,
                                  .term = base->term,
                                  .crc = base->crc,
                                  .end_pos = base->end_pos,
                                  .store_ms = base->store_ms};
        return 0;
    }
    if (index == 0 || commitlog_get(log, index - 1, &entry) != 0) {
        return MQ_ENOTFOUND;
    }
    *out = (struct rlog_base){.index = index - 1,
                              .term = entry.header.term,
                              .crc = entry.header.crc,
                              .end_pos = entry.header.pos + entry.n,
                              .store_ms = entry.header.store_ms};
    return 0;
}

uint64_t commitlog_change_before(const struct commitlog *log, uint64_t index)
{
    return entry_index_change_before(&log->index, index);
}

uint64_t commitlog_last_index(const struct commitlog *log)
{
    return log->last_index;
}

uint64_t commitlog_durable_index(const struct commitlog *log)
{
    return log->durable_index;
}

uint64_t commitlog_synced_index(const struct commitlog *log)
{
    uint64_t synced;

    if (log->handover.flush_ms == 0) {
        return log->durable_index;
    }
    synced = handover_synced((struct handover *)&log->handover); /* takes a mutex, changes nothing */
    synced = synced > log->opened_index ? synced : log->opened_index;
    return synced < log->durable_index ? synced : log->durable_index;
}

uint64_t commitlog_unsynced_bytes(const struct commitlog *log)
{
    return log->end_pos - log->durable_pos;
}

uint64_t commitlog_end_pos(const struct commitlog *log)
{
    return log->end_pos;
}

int64_t commitlog_last_store_ms(const struct commitlog *log)
{
    return log->last_store_ms;
}

uint64_t commitlog_proven_commit(const struct commitlog *log)
{
    return log->commit_max < log->last_index ? log->commit_max : log->last_index;
}

bool commitlog_writing(const struct commitlog *log)
{
    return log->kicked_index != log->durable_index;
}

uint64_t commitlog_term_of(const struct commitlog *log, uint64_t index)
{
    if (is_held(log, index)) {
        return entry_index_term(&log->index, index);
    }
    return index == log->front.base.base.index ? log->front.base.base.term : 0;
}

uint64_t commitlog_term_end(const struct commitlog *log, uint64_t index)
{
    return entry_index_term_end(&log->index, index);
}

uint64_t commitlog_from_pos(const struct commitlog *log, uint64_t pos)
{
    return entry_index_from_pos(&log->index, pos);
}

uint64_t commitlog_pos_of(const struct commitlog *log, uint64_t index)
{
    MQ_ASSERT(is_held(log, index));
    return entry_index_pos(&log->index, index);
}

int commitlog_read(const struct commitlog *log, uint64_t index, struct commitlog_entry *out)
{
    struct commitlog_entry entry;
    bool in_memory;

    if (!is_held(log, index)) {
        return MQ_ENOTFOUND;
    }
    in_memory = index > log->durable_index;
    if (in_memory) {
        entry.bytes = pending_at(log, index)->bytes;
    } else {
        uint64_t pos = entry_index_pos(&log->index, index);

        entry.bytes = segment_at(handover_segment_at(&log->handover, pos), pos);
    }
    if (rlog_header_decode(entry.bytes, RLOG_HEADER_BYTES, &entry.header) != 0 || entry.header.index != index) {
        MQ_ASSERT(!in_memory);
        return MQ_ECORRUPT;
    }
    entry.n = rlog_entry_bytes(entry.header.payload_bytes);
    *out = entry;
    return 0;
}

int commitlog_get(const struct commitlog *log, uint64_t index, struct commitlog_entry *out)
{
    int rc = commitlog_read(log, index, out);

    if (rc == MQ_ECORRUPT) {
        index_source_failed(&log->handover, handover_segment_at(&log->handover, entry_index_pos(&log->index, index)));
    }
    return rc;
}

struct net_ref *commitlog_hold(struct commitlog *log, uint64_t index)
{
    if (!is_held(log, index)) {
        return NULL;
    }
    if (index > log->durable_index) {
        return net_ref_acquire(pending_at(log, index)->ref);
    }
    return net_ref_acquire(&handover_segment_at(&log->handover, entry_index_pos(&log->index, index))->ref);
}

/* The segment of a range that is durable and lies in one segment, or NULL. */
static struct segment *durable_range(const struct commitlog *log, uint64_t pos, uint32_t bytes)
{
    struct segment *segment;

    if (pos < commitlog_start_pos(log) || pos >= log->durable_pos || bytes > log->durable_pos - pos) {
        return NULL;
    }
    segment = handover_segment_at(&log->handover, pos);
    return bytes <= segment_end(segment) - pos ? segment : NULL;
}

int commitlog_view(struct commitlog *log, uint64_t pos, uint32_t bytes, const uint8_t **at, struct net_ref **ref)
{
    struct segment *segment = durable_range(log, pos, bytes);

    if (segment == NULL) {
        return MQ_ENOTFOUND;
    }
    *at = segment_at(segment, pos);
    *ref = net_ref_acquire(&segment->ref);
    return 0;
}

bool commitlog_is_cold(struct commitlog *log, uint64_t pos, uint32_t bytes)
{
    const struct segment *segment = durable_range(log, pos, bytes);
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    unsigned char in_memory[COLD_PAGES];
    uintptr_t at, end;

    if (segment == NULL || bytes == 0) {
        return false;
    }
    at = (uintptr_t)segment_at(segment, pos) & ~(page - 1);
    end = (uintptr_t)segment_at(segment, pos) + bytes;
    while (at < end) {
        size_t pages = (end - at + page - 1) / page;

        pages = pages < COLD_PAGES ? pages : COLD_PAGES;
        if (mincore((void *)at, pages * page, in_memory) != 0) {
            return true; /* not told: the pool may find out */
        }
        for (size_t i = 0; i < pages; i++) {
            if ((in_memory[i] & 1) == 0) {
                return true;
            }
        }
        at += pages * page;
    }
    return false;
}

/* --- scrubbing ---------------------------------------------------------------------------------------------- */

uint64_t commitlog_sealed_before(const struct commitlog *log, uint64_t index)
{
    uint64_t pos;

    if (!is_held(log, index)) {
        return log->front.base.base.index;
    }
    pos = entry_index_pos(&log->index, index);
    return entry_index_from_pos(&log->index, pos - pos % log->handover.segment_bytes) - 1;
}

int commitlog_scrub(const struct commitlog *log, struct scrub_job *job, uint64_t first, uint64_t last, bool look)
{
    uint64_t next;
    int rc;

    if (!is_held(log, first) || last < first || last > commitlog_synced_index(log)) {
        return MQ_ENOTFOUND;
    }
    rc = scrub_prepare(job, &log->handover, &log->index, first, last);
    if (rc != 0 || !look) {
        return rc;
    }
    next = job->last + 1;
    job->look_behind = true;
    if (job->last == log->last_index) {
        job->next_crc = log->last_crc;
    } else if (next > log->durable_index) {
        struct commitlog_entry entry;

        (void)commitlog_read(log, next, &entry); /* it is in memory */
        job->next_crc = entry.header.prev_crc;
    } else {
        job->next_pos = entry_index_pos(&log->index, next);
        job->next_term = entry_index_term(&log->index, next);
        job->next_segment = handover_segment_at(&log->handover, job->next_pos);
        net_ref_acquire(&job->next_segment->ref);
    }
    return 0;
}

int commitlog_rewrite(struct commitlog *log, struct commitlog_rewrite *rewrite, uint64_t first, uint32_t crc,
                      const uint8_t *bytes, uint32_t n, struct net_ref *ref, commitlog_rewrite_cb cb)
{
    if (!is_held(log, first) || first > commitlog_synced_index(log)) {
        return MQ_ENOTFOUND;
    }
    return rewrite_start(rewrite, &log->handover, &log->index, first, crc, bytes, n, ref, cb);
}

int commitlog_rewrite_rest(struct commitlog *log, struct commitlog_rewrite *rewrite, uint64_t index,
                           commitlog_rewrite_cb cb)
{
    struct commitlog_entry entry;
    int rc;

    if (!is_held(log, index) || commitlog_sealed_before(log, index + 1) != index) {
        return MQ_ENOTFOUND;
    }
    rc = commitlog_read(log, index, &entry);
    if (rc != 0 || (entry.header.pos + entry.n) % log->handover.segment_bytes == 0) {
        return rc != 0 ? rc : MQ_ENOTFOUND;
    }
    return rewrite_rest(rewrite, &log->handover, entry.header.pos + entry.n, cb);
}

void commitlog_stats_get(const struct commitlog *log, struct commitlog_stats *out)
{
    struct handover_stats written;

    handover_stats_get((struct handover *)&log->handover, &written); /* takes a mutex, changes nothing */
    *out = (struct commitlog_stats){
        .entries_written = written.entries,
        .bytes_written = written.bytes,
        .syncs = written.syncs,
        .sync_ns_total = written.sync_ns,
        .segments = handover_count(&log->handover),
        .mapped_bytes = handover_count(&log->handover) * log->handover.segment_bytes,
        .cut_bytes = log->cut_bytes,
    };
}

/* --- space -------------------------------------------------------------------------------------------------- */

void commitlog_space(const struct commitlog *log, struct rlog_space *out)
{
    uint64_t end = handover_end(&log->handover);

    space_judge(&log->handover.space, log->handover.segment_bytes, end > log->end_pos ? end - log->end_pos : 0,
                log->space_level, out);
    out->path = log->handover.dir;
}

static void say_level(const struct commitlog *log, const struct rlog_space *space)
{
    static const char *const WHAT[] = {"enough again: everything is taken", "low: new records are refused",
                                       "scarce: all records are refused", "used up: everything is refused"};

    mq_log_warn("log",
                "%s: the disk's room is %s; %" PRIu64 " of %" PRIu64 " MiB free, %" PRIu64
                " MiB allocated ahead, %" PRIu64 " MiB needed",
                log->handover.dir, WHAT[space->level], space->free >> 20, space->total >> 20, space->ahead >> 20,
                space->needed >> 20);
}

uint64_t commitlog_last_bytes(const struct commitlog *log)
{
    return space_last_bytes(&log->handover.space, log->handover.segment_bytes);
}

enum rlog_space_level commitlog_space_level(struct commitlog *log)
{
    struct rlog_space space;

    commitlog_space(log, &space);
    if (space.level != log->space_level) {
        say_level(log, &space);
        log->space_level = space.level;
    }
    return space.level;
}

bool commitlog_can_hold(const struct commitlog *log, uint64_t end_pos)
{
    const struct space *space = &log->handover.space;

    return (end_pos <= handover_end(&log->handover) || space_can_grow(space, log->handover.segment_bytes)) &&
           atomic_load_explicit(&space->free, memory_order_relaxed) >= space->reserve / 4;
}
