/* The loop's side of the log: appends, reads, truncation, and what the writer reports.
 *
 * An append: header and place are fixed -> index and the ring of pending entries know it -> kick hands all new ones
 * to the writer -> written, synced -> on_wake drops the blobs and calls durable. From then on the entry is read from
 * its mapped segment. Failures: no memory (nothing happened), the disk (the process ends).
 *
 * last >= kicked >= durable >= reported >= base, as indexes: appended, given to the writer, on disk, told to the
 * owner, not held any more. */
#include "raft-log/log/commitlog.h"

#include "raft-log/log/cut.h"
#include "raft-log/log/entry_index.h"
#include "raft-log/log/flusher.h"
#include "raft-log/log/front.h"
#include "raft-log/log/index_source.h"
#include "raft-log/log/index_writer.h"
#include "raft-log/log/spare.h"
#include "raft-log/log/startup.h"
#include "raft-log/log/writer.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#define PENDING_MIN 256u      /* slots of the ring at first; it doubles */
#define WRITES_KEPT_MAX 1024u /* unused struct log_write that are kept */
#define COLD_PAGES 256u       /* asked about in one system call */

/* The loop's end of the wake-up. It outlives the log by the turn that libuv needs to close it. */
struct loop_wake {
    uv_async_t async;
    struct commitlog *log; /* NULL once the log is closed */
};

struct commitlog {
    struct handover handover;
    pthread_t writer, spare, flusher; /* the last one only where entries are flushed late */
    uint64_t opened_index;            /* the last one found at the start, which syncs it */
    struct loop_wake *wake;           /* owned until uv_close */
    void (*durable)(void *data, uint64_t index, uint64_t term);
    void *data;

    struct index_source source;
    struct entry_index index;
    struct front front;
    struct index_writer marks;
    struct log_write *
        *pending; /* owned ring of pending_cap (a power of two): entry i, durable < i <= last, in slot i */
    uint64_t pending_cap;
    struct write_list fresh; /* appended since the last kick */
    struct write_list kept;  /* unused, for the next appends */
    uint32_t n_kept;

    uint64_t last_index, kicked_index, durable_index, reported_index;
    uint64_t end_pos, durable_pos; /* ends of the last and of the last durable entry */
    uint64_t last_term;
    uint32_t last_crc;
    int64_t last_store_ms;
    uint64_t commit_max;               /* of all commit fields */
    uint64_t cut_bytes;                /* of a torn tail, at the start */
    enum rlog_space_level space_level; /* as last said */
};

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* --- writes ------------------------------------------------------------------------------------------------- */

static struct log_write *write_take(struct commitlog *log)
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

static struct log_write *pending_at(const struct commitlog *log, uint64_t index)
{
    return log->pending[index & (log->pending_cap - 1)];
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
static void collect_done(struct commitlog *log)
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
static void collect_jobs(struct loop_wake *wake)
{
    struct spare_job *job;

    while (wake->log != NULL && (job = handover_take_job(&wake->log->handover)) != NULL) {
        job->done(job);
    }
}

static void on_wake(uv_async_t *async)
{
    struct loop_wake *wake = container_of(async, struct loop_wake, async);
    struct commitlog *log = wake->log;

    if (log == NULL) {
        return;
    }
    collect_done(log);
    commitlog_space_level(log);
    if (log->front.dropped != NULL) {
        front_sweep(&log->front);
    }
    if (log->durable_index > log->reported_index) {
        log->reported_index = log->durable_index;
        log->durable(log->data, log->durable_index, entry_index_term(&log->index, log->durable_index));
    }
    collect_jobs(wake);
    if (wake->log != NULL) {
        index_writer_durable(&log->marks, commitlog_synced_index(log));
    }
}

static void on_wake_closed(uv_handle_t *handle)
{
    mq_free(container_of((uv_async_t *)handle, struct loop_wake, async));
}

/* Any thread. */
static void wake_loop(void *data)
{
    struct loop_wake *wake = data;

    uv_async_send(&wake->async);
}

/* --- open and close ----------------------------------------------------------------------------------------- */

static int check_options(const struct commitlog_options *options, struct mq_buf *problem)
{
    if (options->segment_bytes < SEGMENT_ALIGN || options->segment_bytes % SEGMENT_ALIGN != 0) {
        mq_buf_printf(problem, "%s: segments of %" PRIu64 " bytes: the size must be a multiple of %u", options->dir,
                      options->segment_bytes, SEGMENT_ALIGN);
        return MQ_EINVAL;
    }
    return 0;
}

static int recover(struct commitlog *log, const struct commitlog_options *options, struct mq_buf *problem)
{
    struct startup_options start = {
        .known = {.term = options->term, .committed = options->committed},
        .was_late = options->was_late,
        .verify_bytes = options->verify_bytes,
        .keep_claim = options->keep_claim,
        .data = options->data,
    };
    struct recovered found;
    int rc = front_open(&log->front, &log->handover, &log->index, problem);

    if (rc != 0) {
        return rc;
    }
    start.base = &log->front.base.base;
    rc = startup(&log->handover, &start, &log->index, &found, problem);
    if (rc != 0) {
        return rc;
    }
    log->last_index = log->kicked_index = log->durable_index = log->reported_index = found.last_index;
    log->opened_index = found.last_index;
    log->end_pos = log->durable_pos = found.end_pos;
    log->last_term = found.last_term;
    log->last_crc = found.last_crc;
    log->last_store_ms = found.last_store_ms;
    log->commit_max = max_u64(found.proven_commit, log->front.base.base.index);
    log->cut_bytes = found.torn_end - found.end_pos;
    index_writer_init(&log->marks, &log->handover, &log->index);
    return 0;
}

static int start_threads(struct commitlog *log, struct mq_buf *problem)
{
    int rc = writer_start(&log->handover, &log->writer);

    if (rc == 0) {
        rc = spare_start(&log->handover, &log->spare);
        if (rc != 0) {
            handover_stop(&log->handover);
            pthread_join(log->writer, NULL);
        }
    }
    if (rc == 0 && log->handover.flush_ms != 0) {
        rc = flusher_start(&log->handover, &log->flusher);
        if (rc != 0) {
            handover_stop(&log->handover);
            pthread_join(log->writer, NULL);
            pthread_join(log->spare, NULL);
        }
    }
    if (rc != 0) {
        mq_buf_printf(problem, "%s: a thread cannot be started: %s", log->handover.dir, mq_strerror(rc));
    }
    return rc;
}

static void close_wake(struct commitlog *log)
{
    log->wake->log = NULL;
    uv_close((uv_handle_t *)&log->wake->async, on_wake_closed);
}

/* Frees a log without threads. */
static void destroy(struct commitlog *log)
{
    struct log_write *write;

    while (log->n_kept != 0) {
        write = write_take(log);
        mq_free(write);
    }
    front_fini(&log->front);
    entry_index_fini(&log->index);
    mq_free(log->pending);
    handover_fini(&log->handover);
    mq_free(log);
}

/* A log with everything but its content. */
static int new_log(struct net_loop *loop, const struct commitlog_options *options, struct commitlog **out)
{
    struct commitlog *log = mq_calloc(1, sizeof(*log));
    int rc = MQ_ENOMEM;

    if (log == NULL) {
        return rc;
    }
    log->durable = options->durable;
    log->data = options->data;
    entry_index_init(&log->index, &log->source);
    log->wake = mq_malloc(sizeof(*log->wake));
    if (log->wake == NULL) {
        goto err_after_log;
    }
    rc = handover_init(&log->handover, options->disk, options->dir, options->segment_bytes, wake_loop, log->wake);
    if (rc != 0) {
        goto err_after_wake;
    }
    index_source_init(&log->source, &log->handover);
    if (options->reserve_bytes != 0) {
        log->handover.space.reserve = options->reserve_bytes;
    }
    if (options->space_period_ms != 0) {
        log->handover.space.period_ms = options->space_period_ms;
    }
    log->handover.flush_ms = options->flush_ms;
    rc = uv_async_init(&loop->uv, &log->wake->async, on_wake);
    if (rc != 0) {
        goto err_after_handover;
    }
    log->wake->log = log;
    *out = log;
    return 0;

err_after_handover:
    handover_fini(&log->handover);
err_after_wake:
    mq_free(log->wake);
err_after_log:
    mq_free(log);
    return rc;
}

int commitlog_open(struct net_loop *loop, const struct commitlog_options *options, struct commitlog **out,
                   struct mq_buf *problem)
{
    uint64_t start_ms = mq_clock_mono_ms();
    struct commitlog *log;
    size_t said = problem->len;
    int rc;

    rc = check_options(options, problem);
    if (rc != 0) {
        return rc;
    }
    rc = new_log(loop, options, &log);
    if (rc == 0) {
        rc = recover(log, options, problem);
        if (rc == 0) {
            rc = start_threads(log, problem);
        }
        if (rc != 0) {
            close_wake(log);
            destroy(log);
        }
    }
    if (rc != 0) {
        if (problem->len == said) {
            mq_buf_printf(problem, "%s: %s", options->dir, mq_strerror(rc));
        }
        return rc;
    }
    mq_log_info("log", "open %s entries=%" PRIu64 " bytes=%" PRIu64 " term=%" PRIu64 " ms=%" PRIu64, options->dir,
                log->last_index, log->end_pos, log->last_term, mq_clock_mono_ms() - start_ms);
    *out = log;
    return 0;
}

void commitlog_close(struct commitlog *log)
{
    commitlog_kick(log);
    log->front.closing = true;
    log->marks.closing = true;
    handover_stop(&log->handover);
    pthread_join(log->writer, NULL);
    if (log->handover.flush_ms != 0) {
        handover_stop_flusher(&log->handover);
        pthread_join(log->flusher, NULL);
    }
    pthread_join(log->spare, NULL);
    collect_done(log);
    collect_jobs(log->wake);
    put_settle(&log->front);
    index_writer_close(&log->marks, log->durable_index);
    close_wake(log);
    destroy(log);
}

/* --- what there is ------------------------------------------------------------------------------------------ */

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

static bool is_held(const struct commitlog *log, uint64_t index)
{
    return index > log->front.base.base.index && index <= log->last_index;
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
    static const char *const WHAT[] = {"enough again: everything is taken", "low: records are refused",
                                       "used up: everything is refused"};

    mq_log_warn("log",
                "%s: the disk's room is %s; %" PRIu64 " of %" PRIu64 " MiB free, %" PRIu64
                " MiB allocated ahead, %" PRIu64 " MiB needed",
                log->handover.dir, WHAT[space->level], space->free >> 20, space->total >> 20, space->ahead >> 20,
                space->needed >> 20);
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
        *out = write_take(log);
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
    collect_done(log);
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

int commitlog_put_before(struct commitlog *log, struct commitlog_put *put, const uint8_t *bytes, uint32_t n,
                         struct net_ref *ref, const struct rlog_base *before, commitlog_put_cb cb)
{
    return put_start(&log->front, put, bytes, n, ref, before, cb);
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
    collect_done(log);
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
