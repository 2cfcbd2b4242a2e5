/* What the files of the commitlog share. commitlog.c appends, truncates and takes what the threads report;
 * commitlog_open.c opens and closes; commitlog_read.c reads and tells what there is.
 *
 * last >= kicked >= durable >= reported >= base, as indexes: appended, given to the writer, on disk, told to the
 * owner, not held any more. */
#ifndef RLOG_LOG_COMMITLOG_INSIDE_H
#define RLOG_LOG_COMMITLOG_INSIDE_H

#include "raft-log/log/commitlog.h"
#include "raft-log/log/entry_index.h"
#include "raft-log/log/front.h"
#include "raft-log/log/index_source.h"
#include "raft-log/log/index_writer.h"

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

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Entry @index, which is not durable yet. */
static inline struct log_write *pending_at(const struct commitlog *log, uint64_t index)
{
    return log->pending[index & (log->pending_cap - 1)];
}

static inline bool is_held(const struct commitlog *log, uint64_t index)
{
    return index > log->front.base.base.index && index <= log->last_index;
}

/* An unused write; NULL: no memory. */
struct log_write *commitlog_take_write(struct commitlog *log);
/* Takes what the writer has done, and what the spare has. */
void commitlog_collect_done(struct commitlog *log);
void commitlog_collect_jobs(struct loop_wake *wake);
/* The threads have something to tell. */
void commitlog_on_wake(uv_async_t *async);

#endif
