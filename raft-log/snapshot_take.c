/* One snapshot on its way: when it is due, rows in slices on the loop, blocks to the worker, the file under its name.
 * snapshots.h tells the whole way. */
#include "raft-log/snapshots_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

#define LOOK_MS 1000u
#define SLICE_NS 700000u /* a slice ends behind it; what one call of snapshot_more takes comes on top */
#define SLICE_EVERY_MS 3u
#define BLOCK_BYTES (1u << 20) /* rows gathered in one block */
#define QUEUED_MAX (16u << 20) /* waiting for the disk: then no more rows are asked for */
#define RETRY_MS 60000u        /* after one that failed */

static void look_again(struct snapshots *s);

/* ---- the worker ---- */

static void free_blocks(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;

        mq_buf_free(&block->rows);
        mq_free(block);
        block = next;
    }
}

static int write_blocks(struct job *job)
{
    struct snapshots *s = job->snapshots;
    int rc = 0;

    if (!s->writer_open) {
        char path[SNAPSHOT_PATH_MAX];

        snapshots_path(s, s->taking.index, ".new", path);
        rc = snapshot_writer_open(&s->writer, s->options.disk, path, &s->taking);
        s->writer_open = rc == 0;
    }
    for (struct block *block = job->blocks; rc == 0 && block != NULL; block = block->next) {
        rc = snapshot_writer_put(&s->writer, block->section, block->rows.base, (uint32_t)block->rows.len);
    }
    return rc;
}

/* The file under its own name, synced, and read again. */
static int finish_file(struct job *job)
{
    struct snapshots *s = job->snapshots;
    const struct rlog_disk *disk = s->options.disk;
    char path[SNAPSHOT_PATH_MAX];
    uint64_t bytes;
    int rc = snapshot_writer_finish(&s->writer, &bytes);

    if (rc == 0) {
        job->failed = "reading it again";
        rc = snapshot_file_check(disk, s->writer.path, &s->written, &job->problem);
    }
    if (rc == 0) {
        job->failed = "giving it its name";
        snapshots_path(s, s->taking.index, "", path);
        rc = disk->rename(disk, s->writer.path, path);
    }
    if (rc == 0) {
        memcpy(s->taking.path, path, sizeof(path));
        s->taking.bytes = s->written.bytes;
        s->writer_open = false; /* nothing of it is left to be removed */
        rc = disk->sync_dir(disk, s->dir);
    }
    for (uint32_t i = 0; rc == 0 && i < s->n_doomed; i++) {
        if (disk->unlink(disk, s->doomed[i]) != 0) {
            mq_log_warn("snapshot", "%s is not removed", s->doomed[i]); /* the next start tries again */
        }
    }
    return rc;
}

static void job_work(uv_work_t *work)
{
    struct job *job = container_of(work, struct job, work);
    struct snapshots *s = job->snapshots;
    struct rlog_fsm *fsm = s->options.fsm;

    if (job->give_up) {
        snapshot_writer_abort(&s->writer);
        s->writer_open = false;
        return;
    }
    job->failed = "writing it";
    job->rc = write_blocks(job);
    if (job->rc == 0 && job->last && fsm->checkpoint_work != NULL) {
        job->failed = "the owner's checkpoint";
        job->rc = fsm->checkpoint_work(fsm, s->taking.index, s->taking.crc);
    }
    if (job->rc == 0 && job->last) {
        job->failed = "syncing it";
        job->rc = finish_file(job);
    }
    if (job->rc != 0 && s->writer_open) {
        snapshot_writer_abort(&s->writer);
        s->writer_open = false;
    }
}

static void job_done(uv_work_t *work, int status);

/* Whether all rows are there, and the entries that they come of are on the disk. */
static bool may_finish(const struct snapshots *s)
{
    return s->state == SNAPSHOTS_ENDING && s->failed == 0 &&
           (s->options.ops->synced == NULL || RAFTMQ_DEFECT(SNAPSHOT_AHEAD_OF_LOG) ||
            s->options.ops->synced(s->options.data) >= s->taking.index);
}

/* Gives the worker what is full, and the end when no more rows come; or what failed, to be removed. */
static void queue_job(struct snapshots *s)
{
    const char *failed = s->job.failed;
    int rc;

    MQ_ASSERT(!s->job_runs);
    s->job = (struct job){.snapshots = s,
                          .blocks = s->full,
                          .last = may_finish(s),
                          .give_up = s->failed != 0,
                          .failed = s->failed != 0 ? failed : NULL};
    s->full = NULL;
    s->full_end = &s->full;
    s->queued_bytes = 0;
    rc = uv_queue_work(s->options.loop, &s->job.work, job_work, job_done);
    MQ_ASSERT(rc == 0); /* it only fails without a function */
    s->job_runs = true;
}

/* ---- taking one ---- */

/* The rows of a section that wait become a block. Returns 0 or MQ_ENOMEM. */
static int close_block(struct snapshots *s, struct gathering *from)
{
    struct block *block = mq_malloc(sizeof(*block));

    if (block == NULL) {
        return MQ_ENOMEM;
    }
    *block = (struct block){.section = from->section, .rows = from->rows};
    from->rows = (struct mq_buf){0};
    *s->full_end = block;
    s->full_end = &block->next;
    s->queued_bytes += block->rows.len;
    return 0;
}

static struct gathering *gathering_of(struct rlog_sink *sink, uint16_t section)
{
    for (uint32_t i = 0; i < sink->n; i++) {
        if (sink->gathering[i].section == section) {
            return &sink->gathering[i];
        }
    }
    return NULL;
}

int rlog_sink_put(struct rlog_sink *sink, uint16_t section, const void *rows, size_t n)
{
    struct snapshots *s = sink->snapshots;
    struct gathering *to = gathering_of(sink, section);
    int rc = s->failed;

    MQ_ASSERT(s->state == SNAPSHOTS_STREAMING && to != NULL && n <= RLOG_ROWS_MAX);
    if (rc == 0 && to->rows.len + n > BLOCK_BYTES && to->rows.len != 0) {
        rc = close_block(s, to);
    }
    if (rc == 0 && n != 0) {
        rc = mq_buf_put(&to->rows, rows, n);
    }
    s->failed = rc;
    return rc;
}

void rlog_sink_fail(struct rlog_sink *sink, int status)
{
    if (sink->snapshots->failed == 0) {
        sink->snapshots->failed = status;
    }
}

static void drop_rows(struct snapshots *s)
{
    for (uint32_t i = 0; i < s->sink.n; i++) {
        mq_buf_free(&s->sink.gathering[i].rows);
    }
    s->sink.n = 0;
    free_blocks(s->full);
    s->full = NULL;
    s->full_end = &s->full;
    s->queued_bytes = 0;
}

/* The oldest that nobody holds and that are too many beside the new one leave the list: more than one where others
 * were fetched or held meanwhile. */
static void choose_doomed(struct snapshots *s)
{
    s->n_doomed = 0;
    for (uint32_t i = s->n_kept; i-- > SNAPSHOTS_KEPT - 1;) {
        if (s->kept[i].holds == 0) {
            memcpy(s->doomed[s->n_doomed++], s->kept[i].info.path, sizeof(s->doomed[0]));
            snapshots_forget(s, i);
        }
    }
}

static void succeed(struct snapshots *s)
{
    uint64_t now_ms = mq_clock_mono_ms();

    s->stats.taken++;
    s->stats.last_ms = now_ms - s->began_ms;
    s->last_taken_ms = s->began_ms;
    s->alone = false;
    snapshots_keep(s, &s->taking);
    mq_log_info("snapshot", "index=%" PRIu64 " term=%" PRIu64 " pos=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRIu64,
                s->taking.index, s->taking.term, s->taking.end_pos, s->taking.bytes, s->stats.last_ms);
}

static void give_up(struct snapshots *s, int why)
{
    s->stats.failed++;
    s->look_from_ms = mq_clock_mono_ms() + RETRY_MS;
    if (!s->closing) {
        mq_log_warn("snapshot", "index=%" PRIu64 " is given up: %s: %s %.*s", s->taking.index,
                    s->job.failed != NULL ? s->job.failed : "gathering its rows", mq_strerror(why),
                    (int)s->job.problem.len, (const char *)s->job.problem.base);
    }
}

/* Nothing of the one that was being taken is under way any more. */
static void end(struct snapshots *s)
{
    int status = s->failed;

    drop_rows(s);
    s->state = SNAPSHOTS_IDLE;
    s->failed = 0;
    if (status == 0) {
        succeed(s);
    } else {
        give_up(s, status);
    }
    mq_buf_free(&s->job.problem);
    s->options.fsm->snapshot_end(s->options.fsm, status);
    if (status == 0 && s->options.ops->taken != NULL) {
        s->options.ops->taken(s->options.data, &s->kept[0].info);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct snapshots *s = handle->data;
    void (*closed)(void *data) = s->closed;
    void *data = s->closed_data;

    mq_free(s);
    closed(data);
}

/* Goes on with the one that is being taken, as far as it can now. */
static void go_on(struct snapshots *s)
{
    if (s->job_runs || s->state == SNAPSHOTS_IDLE) {
        return;
    }
    if (s->failed != 0 && !s->writer_open) {
        end(s);
    } else if (s->failed != 0 || s->full != NULL || may_finish(s)) {
        queue_job(s);
    }
}

static void job_done(uv_work_t *work, int status)
{
    struct job *job = container_of(work, struct job, work);
    struct snapshots *s = job->snapshots;

    (void)status; /* jobs are never cancelled */
    s->job_runs = false;
    free_blocks(job->blocks);
    job->blocks = NULL;
    if (job->last && job->rc == 0) {
        s->failed = 0; /* it is on the disk, whatever was meant to become of it */
        end(s);
    } else {
        s->failed = s->failed != 0 ? s->failed : job->rc;
        go_on(s);
    }
    if (s->closing && !s->job_runs) {
        uv_close((uv_handle_t *)&s->timer, on_closed);
    } else {
        look_again(s);
    }
}

/* Every row has been put. */
static void end_rows(struct snapshots *s)
{
    for (uint32_t i = 0; i < s->sink.n && s->failed == 0; i++) {
        if (s->sink.gathering[i].rows.len != 0) {
            s->failed = close_block(s, &s->sink.gathering[i]);
        }
    }
    s->state = SNAPSHOTS_ENDING;
}

static void slice(struct snapshots *s)
{
    struct rlog_fsm *fsm = s->options.fsm;
    uint64_t start = mq_clock_mono_ns(), took = 0;
    int more = 1;

    for (uint32_t i = 0; i < s->options.slice_calls && more == 1 && s->failed == 0 && took < SLICE_NS; i++) {
        more = fsm->snapshot_more(fsm);
        took = mq_clock_mono_ns() - start;
    }
    s->stats.slice_ns_max = took > s->stats.slice_ns_max ? took : s->stats.slice_ns_max;
    if (more == 0) {
        end_rows(s);
    }
}

void snapshots_want(struct snapshots *snapshots, uint64_t pos)
{
    snapshots->wanted_pos = pos;
}

/* Whether the log waits for one more to stand for what it would let go. */
static bool is_wanted(const struct snapshots *s)
{
    const struct snapshot_info *oldest = snapshots_oldest(s);

    return s->alone || s->wanted_pos > (oldest != NULL ? oldest->end_pos : 0);
}

static bool is_due(struct snapshots *s)
{
    const struct snapshot_info *newest = snapshots_newest(s);
    uint64_t now_ms = mq_clock_mono_ms();

    if (now_ms < s->look_from_ms || s->options.fsm->snapshot_begin == NULL) {
        return false;
    }
    s->options.ops->as_of(s->options.data, &s->now);
    return s->now.index > (newest != NULL ? newest->index : 0) &&
           (is_wanted(s) || s->now.end_pos - (newest != NULL ? newest->end_pos : 0) >= s->options.every_bytes ||
            now_ms - s->last_taken_ms >= s->options.every_ms);
}

static void on_timer(uv_timer_t *timer)
{
    struct snapshots *s = timer->data;

    if (s->state == SNAPSHOTS_IDLE && is_due(s)) {
        (void)snapshots_take(s); /* what it is refused for, it meets again in a second */
    } else if (s->state == SNAPSHOTS_STREAMING && s->failed == 0 && s->queued_bytes < QUEUED_MAX) {
        slice(s);
    }
    go_on(s);
    look_again(s);
}

static void look_again(struct snapshots *s)
{
    if (s->started) {
        bool soon = s->state != SNAPSHOTS_IDLE && !s->job_runs;

        uv_timer_start(&s->timer, on_timer, soon || s->state == SNAPSHOTS_STREAMING ? SLICE_EVERY_MS : LOOK_MS, 0);
    }
}

static void init_timer(struct snapshots *s)
{
    if (!s->has_timer) {
        uv_timer_init(s->options.loop, &s->timer);
        s->timer.data = s;
        s->has_timer = true;
    }
}

void snapshots_start(struct snapshots *snapshots)
{
    init_timer(snapshots);
    snapshots->started = true;
    snapshots->last_taken_ms = mq_clock_mono_ms();
    look_again(snapshots);
}

/* The level that reads all sections is the highest of them. */
static void name_sections(struct snapshots *s)
{
    struct snapshot_info *info = &s->taking;

    info->n_sections = s->options.fsm->sections(s->options.fsm, info->sections);
    MQ_ASSERT(info->n_sections <= RLOG_SECTIONS_MAX);
    info->level = 0;
    s->sink = (struct rlog_sink){.snapshots = s, .n = info->n_sections};
    for (uint32_t i = 0; i < info->n_sections; i++) {
        info->level = info->sections[i].level > info->level ? info->sections[i].level : info->level;
        s->sink.gathering[i].section = info->sections[i].id;
    }
}

int snapshots_take(struct snapshots *snapshots)
{
    struct snapshots *s = snapshots;
    const struct snapshot_info *newest = snapshots_newest(s);
    struct rlog_fsm *fsm = s->options.fsm;

    if (fsm->snapshot_begin == NULL) {
        return MQ_EUNSUPPORTED;
    }
    if (s->state != SNAPSHOTS_IDLE || s->closing || !s->started) {
        return MQ_EBUSY;
    }
    s->options.ops->as_of(s->options.data, &s->taking);
    if (s->taking.index == 0 || (newest != NULL && s->taking.index <= newest->index)) {
        return MQ_ENOTFOUND;
    }
    choose_doomed(s);
    if (s->n_kept == SNAPSHOTS_MAX) {
        return MQ_EBUSY;
    }
    name_sections(s);
    s->state = SNAPSHOTS_STREAMING;
    s->failed = 0;
    s->job.failed = NULL;
    s->began_ms = mq_clock_mono_ms();
    fsm->snapshot_begin(fsm, &s->sink);
    look_again(s);
    return 0;
}

void snapshots_close(struct snapshots *snapshots, void (*closed)(void *data), void *data)
{
    struct snapshots *s = snapshots;

    MQ_ASSERT(!s->closing);
    init_timer(s);
    s->closing = true;
    s->started = false;
    s->closed = closed;
    s->closed_data = data;
    uv_timer_stop(&s->timer);
    if (s->state != SNAPSHOTS_IDLE) {
        s->failed = s->failed != 0 ? s->failed : MQ_ECLOSED;
        go_on(s);
    }
    if (!s->job_runs) { /* else job_done does it */
        uv_close((uv_handle_t *)&s->timer, on_closed);
    }
}
