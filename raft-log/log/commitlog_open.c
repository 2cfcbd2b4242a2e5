/* From the files to a log that takes appends, with its threads; and back. */
#include "raft-log/log/commitlog_inside.h"

#include "raft-log/log/flusher.h"
#include "raft-log/log/put.h"
#include "raft-log/log/spare.h"
#include "raft-log/log/startup.h"
#include "raft-log/log/writer.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

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
        write = commitlog_take_write(log);
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
    rc = uv_async_init(&loop->uv, &log->wake->async, commitlog_on_wake);
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
    commitlog_collect_done(log);
    commitlog_collect_jobs(log->wake);
    put_settle(&log->front);
    index_writer_close(&log->marks, log->durable_index);
    close_wake(log);
    destroy(log);
}
