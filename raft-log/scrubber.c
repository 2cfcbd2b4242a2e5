#include "raft-log/scrubber.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

#define WEEK_S (UINT64_C(7) * 24 * 3600)
#define DAY_MS (UINT64_C(24) * 3600 * 1000)

static void on_timer(uv_timer_t *timer);

static void wait_ms(struct scrubber *scrubber, uint64_t ms)
{
    uv_timer_start(&scrubber->timer, on_timer, ms, 0);
}

/* The last entry that is sealed: behind its segment there is one that is committed and synced, so neither the
 * segment's entries nor the zeros behind them will change. */
static uint64_t sealed_index(const struct scrubber *scrubber)
{
    const struct commitlog *log = scrubber->options.log;
    uint64_t committed = scrubber->options.committed(scrubber->options.data);
    uint64_t synced = commitlog_synced_index(log);

    return commitlog_sealed_before(log, committed < synced ? committed : synced);
}

uint64_t scrubber_rate(const struct scrubber *scrubber)
{
    const struct commitlog *log = scrubber->options.log;
    uint64_t a_week;

    if (scrubber->options.bytes_per_s != RLOG_SCRUB_AUTO) {
        return scrubber->options.bytes_per_s;
    }
    a_week = (commitlog_end_pos(log) - commitlog_start_pos(log)) / WEEK_S;
    return a_week > SCRUBBER_BYTES_PER_S ? a_week : SCRUBBER_BYTES_PER_S;
}

/* ---- passes ---- */

static void begin_pass(struct scrubber *scrubber, uint64_t sealed)
{
    uint64_t first = commitlog_first_index(scrubber->options.log);

    scrubber->in_pass = true;
    scrubber->pass_ms = scrubber->due_ms = mq_clock_mono_ms();
    scrubber->pass_wall_ms = mq_clock_wall_ms();
    scrubber->chained = false;
    scrubber->synced_pos = UINT64_MAX;
    scrubber->next = scrubber->begun ? first : first + scrubber->options.seed % (sealed - first + 1);
    scrubber->begun = true;
}

static void end_pass(struct scrubber *scrubber)
{
    const struct mender *mender = scrubber->options.mender;
    uint64_t now = mq_clock_mono_ms();

    scrubber->in_pass = false;
    scrubber->passes++;
    mq_log_debug("scrub", "a pass has ended: bytes=%" PRIu64 " bad=%" PRIu64 " repaired=%" PRIu64 " open=%" PRIu32,
                 scrubber->bytes, mender->bad, mender->repaired, mender->n);
    if (scrubber->options.bytes_per_s == RLOG_SCRUB_AUTO && now - scrubber->pass_ms < DAY_MS) {
        wait_ms(scrubber, DAY_MS - (now - scrubber->pass_ms));
    } else {
        wait_ms(scrubber, SCRUBBER_WAIT_MS);
    }
}

/* ---- pieces ---- */

/* Gives what was found to the mender. Returns false if it has no place for all of it: then the piece is read again.
 */
static bool tell(struct scrubber *scrubber, const struct scrub_job *job)
{
    struct mender *mender = scrubber->options.mender;
    int rc = 0;

    for (uint32_t i = 0; i < job->n_bad && rc == 0; i++) {
        rc = mender_suspect(mender, job->bad[i].first, job->bad[i].last);
    }
    if (job->before_bad && rc == 0) {
        rc = mender_suspect(mender, job->first - 1, job->first - 1);
    }
    if (job->bad_rest && rc == 0) {
        rc = mender_suspect_rest(mender, job->last);
    }
    return rc == 0;
}

/* How long until what was read is paid for. */
static uint64_t pay(struct scrubber *scrubber, uint64_t bytes)
{
    uint64_t now = mq_clock_mono_ms();

    scrubber->due_ms = scrubber->due_ms > now ? scrubber->due_ms : now;
    scrubber->due_ms += bytes * 1000 / scrubber_rate(scrubber);
    return scrubber->due_ms - now;
}

static void close_timer(struct scrubber *scrubber);

static void on_read(uv_work_t *work, int status)
{
    struct scrubber *scrubber = container_of(work, struct scrubber, work);
    struct scrub_job *job = &scrubber->job;

    (void)status;
    scrubber->reading = false;
    scrubber->bytes += job->bytes_read;
    if (scrubber->closing) {
        scrub_end(job);
        close_timer(scrubber);
        return;
    }
    /* Where the log got another beginning meanwhile, what was read may not be a part of it any more. */
    if (job->first < commitlog_first_index(scrubber->options.log) ||
        job->last > commitlog_synced_index(scrubber->options.log)) {
        scrubber->chained = false;
        wait_ms(scrubber, 0);
    } else if (!tell(scrubber, job)) {
        wait_ms(scrubber, SCRUBBER_WAIT_MS);
    } else {
        scrubber->next = job->last + 1;
        scrubber->chained = job->last_good;
        scrubber->prev_crc = job->last_crc;
        wait_ms(scrubber, pay(scrubber, job->bytes_read));
    }
    scrub_end(job);
}

static void read_work(uv_work_t *work)
{
    scrub_read(&container_of(work, struct scrubber, work)->job);
}

static void read_piece(struct scrubber *scrubber, uint64_t sealed)
{
    struct commitlog *log = scrubber->options.log;
    struct scrub_job *job = &scrubber->job;
    struct rlog_base base;

    if (mender_is_full(scrubber->options.mender) || commitlog_scrub(log, job, scrubber->next, sealed, false) != 0) {
        wait_ms(scrubber, SCRUBBER_WAIT_MS);
        return;
    }
    commitlog_base_get(log, &base);
    job->chained = scrubber->chained || scrubber->next == base.index + 1;
    job->prev_crc = scrubber->chained ? scrubber->prev_crc : base.crc;
    job->sync = job->segment->first_pos != scrubber->synced_pos;
    scrubber->synced_pos = job->segment->first_pos;
    job->rest = commitlog_sealed_before(log, job->last + 1) == job->last;
    scrubber->reading = true;
    if (uv_queue_work(scrubber->options.loop, &scrubber->work, read_work, on_read) != 0) {
        MQ_ASSERT(false); /* it fails only without a function */
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct scrubber *scrubber = container_of(timer, struct scrubber, timer);
    uint64_t first = commitlog_first_index(scrubber->options.log);
    uint64_t sealed = sealed_index(scrubber);

    if (!scrubber->in_pass && sealed >= first) {
        begin_pass(scrubber, sealed);
    }
    if (!scrubber->in_pass) {
        wait_ms(scrubber, SCRUBBER_WAIT_MS);
        return;
    }
    if (scrubber->next < first) { /* the log begins later now */
        scrubber->next = first;
        scrubber->chained = false;
    }
    if (scrubber->next > sealed) {
        end_pass(scrubber);
    } else {
        read_piece(scrubber, sealed);
    }
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct scrubber *scrubber = container_of((uv_timer_t *)handle, struct scrubber, timer);

    scrubber->closed(scrubber->closed_data);
}

static void close_timer(struct scrubber *scrubber)
{
    uv_close((uv_handle_t *)&scrubber->timer, on_timer_closed);
}

void scrubber_init(struct scrubber *scrubber, const struct scrubber_options *options)
{
    memset(scrubber, 0, sizeof(*scrubber));
    scrubber->options = *options;
    uv_timer_init(options->loop, &scrubber->timer);
}

void scrubber_start(struct scrubber *scrubber)
{
    if (scrubber->options.bytes_per_s != 0 && !scrubber->closing) {
        wait_ms(scrubber, SCRUBBER_WAIT_MS);
    }
}

void scrubber_close(struct scrubber *scrubber, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!scrubber->closing);
    scrubber->closing = true;
    scrubber->closed = closed;
    scrubber->closed_data = data;
    if (!scrubber->reading) {
        close_timer(scrubber);
    }
}

void scrubber_status_get(const struct scrubber *scrubber, struct rlog_scrub_status *out)
{
    const struct commitlog *log = scrubber->options.log;
    const struct mender *mender = scrubber->options.mender;
    bool inside = scrubber->in_pass && scrubber->next >= commitlog_first_index(log) &&
                  scrubber->next <= commitlog_last_index(log);

    *out = (struct rlog_scrub_status){
        .bytes_per_s = scrubber_rate(scrubber),
        .pos = inside ? commitlog_pos_of(log, scrubber->next) : 0,
        .pass_started_ms = scrubber->pass_wall_ms,
        .passes = scrubber->passes,
        .bytes = scrubber->bytes,
        .bad = mender->bad,
        .repaired = mender->repaired,
        .open = mender->n,
    };
}
