/* The loop's side of the log: appends, truncation, the beginning, and what the writer reports.
 *
 * An append: header and place are fixed -> index and the ring of pending entries know it -> kick hands all new ones
 * to the writer -> written, synced -> commitlog_on_wake drops the blobs and calls durable. From then on the entry is
 * read from its mapped segment. Failures: no memory (nothing happened), the disk (the process ends). */
#include "raft-log/log/commitlog_inside.h"

#include "raft-log/log/cut.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

#define PENDING_MIN 256u      /* slots of the ring at first; it doubles */
#define WRITES_KEPT_MAX 1024u /* unused struct log_write that are kept */

/* --- writes ------------------------------------------------------------------------------------------------- */

struct log_write *commitlog_take_write(struct commitlog *log)
{
    struct log_write *write = log->kept.first;

    if (write == NULL) {
        return mq_malloc(sizeof(*write));
    }
    log->kept.first = write->next;
    if (log->kept.first == NULL) {
        log->kept.last = NULL;
    }
    log->n_kept--;
    return write;
}

static void write_give(struct commitlog *log, struct log_write *write)
{
    if (log->n_kept == WRITES_KEPT_MAX) {
        mq_free(write);
        return;
    }
    write_list_append(&log->kept, write);
    log->n_kept++;
}

/* Makes room for one more pending entry. */
static int pending_reserve(struct commitlog *log)
{
    uint64_t cap = log->pending_cap == 0 ? PENDING_MIN : log->pending_cap * 2;
    struct log_write **ring;

    if (log->last_index - log->durable_index < log->pending_cap) {
        return 0;
    }
    ring = mq_malloc(cap * sizeof(ring[0]));
    if (ring == NULL) {
        return MQ_ENOMEM;
    }
    for (uint64_t i = log->durable_index + 1; i <= log->last_index; i++) {
        ring[i & (cap - 1)] = pending_at(log, i);
    }
    mq_free(log->pending);
    log->pending = ring;
    log->pending_cap = cap;
    return 0;
}

/* Takes what the writer has done. */
void commitlog_collect_done(struct commitlog *log)
{
    struct write_list done = {0};
    struct log_write *write, *next;

    handover_take_done(&log->handover, &done);
    for (write = done.first; write != NULL; write = next) {
        next = write->next;
        MQ_ASSERT(write->index == log->durable_index + 1);
        log->durable_index = write->index;
        log->durable_pos = write->pos + write->n;
        net_ref_release(write->ref);
        write_give(log, write);
    }
}

/* Takes what the spare has done. Callbacks may call into the log, and close it. */
void commitlog_collect_jobs(struct loop_wake *wake)
{
    struct spare_job *job;

    while (wake->log != NULL && (job = handover_take_job(&wake->log->handover)) != NULL) {
        job->done(job);
    }
}

void commitlog_on_wake(uv_async_t *async)
{
    struct loop_wake *wake = container_of(async, struct loop_wake, async);
    struct commitlog *log = wake->log;

    if (log == NULL) {
        return;
    }
    commitlog_collect_done(log);
    commitlog_space_level(log);
    if (log->front.dropped != NULL) {
        front_sweep(&log->front);
    }
    if (log->durable_index > log->reported_index) {
        log->reported_index = log->durable_index;
        log->durable(log->data, log->durable_index, entry_index_term(&log->index, log->durable_index));
    }
    commitlog_collect_jobs(wake);
    if (wake->log != NULL) {
        index_writer_durable(&log->marks, commitlog_synced_index(log));
    }
}

/* --- append and truncate ------------------------------------------------------------------------------------ */

static uint64_t pos_behind(const struct commitlog *log, uint64_t end, uint32_t payload_bytes)
{
    return segment_place(log->handover.segment_bytes, end, rlog_entry_bytes(payload_bytes));
}

uint64_t commitlog_next_pos(const struct commitlog *log, uint32_t payload_bytes)
{
    return pos_behind(log, log->end_pos, payload_bytes);
}

static bool fits_segment(const struct commitlog *log, uint32_t payload_bytes)
{
    return payload_bytes <= RLOG_ENTRY_BYTES_MAX - RLOG_HEADER_BYTES &&
           rlog_entry_bytes(payload_bytes) <= log->handover.segment_bytes;
}

bool commitlog_has_place(const struct commitlog *log, uint64_t end, const struct rlog_header *header)
{
    return fits_segment(log, header->payload_bytes) && header->pos == pos_behind(log, end, header->payload_bytes);
}

/* Everything an append can fail at. @out: a write to fill. */
static int reserve(struct commitlog *log, uint32_t payload_bytes, struct log_write **out)
{
    uint64_t room = handover_start(&log->handover) + (uint64_t)HANDOVER_SEGMENTS_MAX * log->handover.segment_bytes;
    int rc;

    if (!fits_segment(log, payload_bytes)) {
        return MQ_ETOOBIG;
    }
    if (commitlog_next_pos(log, payload_bytes) + rlog_entry_bytes(payload_bytes) > room) {
        return MQ_ENOMEM;
    }
    rc = entry_index_reserve(&log->index);
    if (rc == 0) {
        rc = pending_reserve(log);
    }
    if (rc == 0) {
        *out = commitlog_take_write(log);
        rc = *out != NULL ? 0 : MQ_ENOMEM;
    }
    return rc;
}

/* The entry is complete: it is now the last one. @ref: taken. */
static void add(struct commitlog *log, struct log_write *write, const struct rlog_header *header,
                const uint8_t *bytes, struct net_ref *ref)
{
    *write = (struct log_write){.bytes = bytes,
                                .n = rlog_entry_bytes(header->payload_bytes),
                                .pos = header->pos,
                                .index = header->index,
                                .term = header->term,
                                .ref = ref};
    entry_index_append(&log->index, header->pos, header->term);
    if (header->type == RLOG_CHANGE) {
        entry_index_note_change(&log->index);
    }
    log->pending[header->index & (log->pending_cap - 1)] = write;
    write_list_append(&log->fresh, write);
    log->last_index = header->index;
    log->last_term = header->term;
    log->last_crc = header->crc;
    log->last_store_ms = header->store_ms;
    log->end_pos = header->pos + write->n;
    log->commit_max = header->commit > log->commit_max ? header->commit : log->commit_max;
}

int commitlog_append(struct commitlog *log, struct rlog_header *header, struct rlog_blob *blob)
{
    struct log_write *write;
    uint8_t *payload = blob->base + RLOG_HEADER_BYTES;
    int rc;

    MQ_ASSERT(header->index == log->last_index + 1 && header->term >= log->last_term);
    rc = reserve(log, blob->payload_bytes, &write);
    if (rc != 0) {
        return rc;
    }
    header->payload_bytes = blob->payload_bytes;
    header->pos = commitlog_next_pos(log, blob->payload_bytes);
    header->prev_crc = log->last_crc;
    header->payload_crc = mq_crc32c(0, payload, blob->payload_bytes);
    memset(payload + blob->payload_bytes, 0,
           rlog_entry_bytes(blob->payload_bytes) - RLOG_HEADER_BYTES - blob->payload_bytes);
    header->bare_sectors = rlog_entry_bare_sectors(blob->base, header->pos, rlog_entry_bytes(blob->payload_bytes), 1);
    rlog_header_encode(header, blob->base);
    add(log, write, header, blob->base, &blob->ref);
    return 0;
}

/* Whether the entry of a peer is the one that comes next here. */
static bool follows(const struct commitlog *log, const struct rlog_header *header, uint32_t n)
{
    return header->index == log->last_index + 1 && header->term >= log->last_term &&
           (header->prev_crc == log->last_crc || RAFTMQ_DEFECT(PREV_NOT_CHECKED)) &&
           commitlog_has_place(log, log->end_pos, header) && n == rlog_entry_bytes(header->payload_bytes);
}

int commitlog_append_sound(struct commitlog *log, const struct rlog_header *header, const uint8_t *bytes, uint32_t n,
                           struct net_ref *ref)
{
    struct log_write *write;
    int rc;

    if (!follows(log, header, n)) {
        return MQ_ECORRUPT;
    }
    rc = reserve(log, header->payload_bytes, &write);
    if (rc != 0) {
        return rc;
    }
    add(log, write, header, bytes, net_ref_acquire(ref));
    return 0;
}

int commitlog_append_copy(struct commitlog *log, const struct rlog_header *header, const uint8_t *bytes, uint32_t n,
                          struct net_ref *ref)
{
    if (!follows(log, header, n) || !rlog_entry_is_sound(header, bytes)) {
        return MQ_ECORRUPT;
    }
    return commitlog_append_sound(log, header, bytes, n, ref);
}

void commitlog_kick(struct commitlog *log)
{
    if (log->fresh.first != NULL) {
        log->kicked_index = log->last_index;
        handover_put(&log->handover, &log->fresh);
        log->fresh = (struct write_list){0};
    }
}

/* The new last entry is @index, whose bytes are durable (the base's: the log is empty). */
static void set_last(struct commitlog *log, uint64_t index)
{
    struct rlog_base last;
    int rc = commitlog_before(log, index + 1, &last);

    MQ_ASSERT(rc == 0);
    log->last_index = log->kicked_index = log->durable_index = index;
    log->opened_index = log->opened_index < index ? log->opened_index : index;
    handover_lower_synced(&log->handover, index);
    log->reported_index = log->reported_index < index ? log->reported_index : index;
    log->end_pos = log->durable_pos = last.end_pos;
    log->last_term = last.term;
    log->last_crc = last.crc;
    log->last_store_ms = last.store_ms;
}

/* When everything behind the base is taken away, what comes next may belong to a segment that was dropped. */
static void make_room(struct commitlog *log)
{
    int rc;

    if (log->end_pos >= handover_start(&log->handover)) {
        return;
    }
    handover_rest_spare(&log->handover); /* it renames and removes dropped segments */
    front_lose_name(&log->front, log->end_pos - log->end_pos % log->handover.segment_bytes);
    rc = front_make_room(&log->handover, log->end_pos);
    handover_wake_spare(&log->handover);
    if (rc != 0) {
        rlog_disk_failed("making a segment", log->handover.dir, rc);
    }
}

void commitlog_truncate(struct commitlog *log, uint64_t index)
{
    uint64_t old_end = log->end_pos;

    MQ_ASSERT(index > commitlog_proven_commit(log)); /* I1: what a majority holds is never taken away */
    if (index > log->last_index) {
        return;
    }
    commitlog_kick(log);
    handover_wait_idle(&log->handover);
    commitlog_collect_done(log);
    set_last(log, index - 1);
    mq_log_info("log", "truncate from index=%" PRIu64 " pos=%" PRIu64 " bytes=%" PRIu64, index, log->end_pos,
                old_end - log->end_pos);
    if (RAFTMQ_DEFECT(TRUNCATE_BELOW) && index > 2) {
        cut_log(&log->handover, entry_index_pos(&log->index, index - 1), old_end);
    } else if (!RAFTMQ_DEFECT(TRUNCATE_IN_MEMORY)) {
        make_room(log);
        cut_log(&log->handover, log->end_pos, old_end);
    }
    handover_cut(&log->handover, log->end_pos);
    index_writer_cut(&log->marks, index);
    entry_index_truncate(&log->index, index);
    if (log->durable_index > log->reported_index) {
        uv_async_send(&log->wake->async); /* what survived is reported on the loop, not from inside here */
    }
}

/* --- the beginning ------------------------------------------------------------------------------------------ */

int commitlog_trim(struct commitlog *log, uint64_t pos)
{
    return front_trim(&log->front, pos, log->durable_pos);
}

int commitlog_put_before(struct commitlog *log, struct commitlog_put *put, const struct put_piece *pieces,
                         uint32_t n_pieces, const struct rlog_base *before, commitlog_put_cb cb)
{
    return put_start(&log->front, put, pieces, n_pieces, before, cb);
}

void commitlog_settle_front(struct commitlog *log, struct commitlog_settle *settle,
                            void (*cb)(struct commitlog_settle *settle))
{
    put_settle_start(&log->front, settle, cb);
}

int commitlog_reset(struct commitlog *log, const struct rlog_base *base)
{
    if (base->index == 0 || base->term == 0 || base->end_pos == 0 || base->end_pos % 8 != 0) {
        return MQ_EINVAL;
    }
    if (base->change_bytes > RLOG_BASE_CHANGE_MAX) {
        return MQ_ETOOBIG;
    }
    commitlog_kick(log);
    handover_wait_idle(&log->handover);
    commitlog_collect_done(log);
    if (log->handover.flush_ms != 0) {
        handover_wait_flushed(&log->handover, NULL); /* the flusher holds no segment that goes */
    }
    handover_rest_spare(&log->handover);
    front_reset(&log->front, base);
    set_last(log, base->index);
    log->opened_index = base->index;
    log->reported_index = log->commit_max = base->index;
    index_writer_init(&log->marks, &log->handover, &log->index);
    handover_set_tail(&log->handover, base->end_pos);
    handover_wake_spare(&log->handover);
    return 0;
}
