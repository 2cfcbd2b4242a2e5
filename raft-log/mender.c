#include "raft-log/mender.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

static void go_on(struct mender *mender);

/* ---- the list ---- */

static bool is_before(const struct wound *a, const struct wound *b)
{
    return a->last != b->last ? a->last < b->last : a->rest < b->rest;
}

/* What is worked on is in the list under its former ends. */
static struct wound *find(struct mender *mender, const struct wound *like)
{
    for (uint32_t i = 0; i < mender->n; i++) {
        struct wound *at = &mender->wounds[i];

        if (at->rest == like->rest && at->first <= like->first && at->last >= like->last) {
            return at;
        }
    }
    return NULL;
}

static void take_out(struct mender *mender, const struct wound *wound)
{
    struct wound *at = find(mender, wound);

    MQ_ASSERT(at != NULL);
    mender->n--;
    memmove(at, at + 1, (size_t)(&mender->wounds[mender->n] - at) * sizeof(*at));
}

static int put_in(struct mender *mender, const struct wound *wound)
{
    uint32_t i = mender->n;

    if (find(mender, wound) != NULL) {
        return 0;
    }
    if (mender_is_full(mender)) {
        return MQ_EBUSY;
    }
    while (i > 0 && is_before(wound, &mender->wounds[i - 1])) {
        mender->wounds[i] = mender->wounds[i - 1];
        i--;
    }
    mender->wounds[i] = *wound;
    mender->n++;
    return 0;
}

/* ---- outcomes ---- */

/* The wound that is worked on is looked at again in @ms. */
static void again_in(struct mender *mender, uint64_t ms)
{
    struct wound *at = find(mender, &mender->now);

    mender->state = MENDER_IDLE;
    mender->now.next_ms = mq_clock_mono_ms() + ms;
    *at = mender->now;
    go_on(mender);
}

static void rest(struct mender *mender, const char *why, int rc)
{
    uint32_t shift = mender->now.tries < 16 ? mender->now.tries : 16;
    uint64_t ms = (uint64_t)MENDER_REST_MS << shift;

    mender->now.tries++;
    ms = ms < MENDER_REST_MAX_MS ? ms : MENDER_REST_MAX_MS;
    if (!mender->closing) {
        mq_log_limited(&mender->limit, MQ_LOG_ERROR, "scrub",
                       "%s: entry %" PRIu64 " is bad and could not be repaired: %s: %s; tried again in %" PRIu64
                       " ms",
                       mender->options.dir, mender->now.last, why, mq_strerror(rc), ms);
    }
    again_in(mender, ms);
}

static void forget(struct mender *mender, bool mended)
{
    take_out(mender, &mender->now);
    mender->state = MENDER_IDLE;
    if (mended && !mender->closing) {
        mender->options.ops->mended(mender->options.data);
    }
    go_on(mender);
}

static void say_bad(struct mender *mender, const struct scrub_job *job)
{
    uint64_t segment_pos = job->segment->first_pos;

    for (uint32_t i = 0; i < job->n_bad; i++) {
        const struct scrub_bad *bad = &job->bad[i];

        mender->bad += bad->last - bad->first + 1;
        mq_log_warn("scrub",
                    "%s/%s: entries %" PRIu64 " to %" PRIu64 " from position %" PRIu64 " on (byte %" PRIu64
                    " of the file) are bad%s",
                    mender->options.dir, job->segment->name, bad->first, bad->last, bad->pos, bad->pos - segment_pos,
                    job->unreadable ? ": the disk cannot read them" : "");
    }
    if (job->bad_rest) {
        mq_log_warn("scrub", "%s/%s: there is something behind entry %" PRIu64 ", the last one of the file",
                    mender->options.dir, job->segment->name, job->last);
    }
}

/* ---- writing back ---- */

static void on_written(struct commitlog_rewrite *rewrite, int status)
{
    struct mender *mender = container_of(rewrite, struct mender, rewrite);

    if (status != 0) {
        rest(mender, "the disk does not keep what is written", status);
        return;
    }
    if (mender->now.rest) {
        mq_log_info("scrub", "%s: what was behind entry %" PRIu64 " is zeros again", mender->options.dir,
                    mender->now.last);
    } else {
        mender->repaired += mender->target.last - mender->target.first + 1;
        mender->repaired_first = mender->target.first;
        mender->repaired_last = mender->target.last;
        mq_log_info("scrub",
                    "%s: repaired entries %" PRIu64 " to %" PRIu64 " with what member %" PRIu32 " has of them",
                    mender->options.dir, mender->target.first, mender->target.last, mender->peer);
    }
    again_in(mender, 0);
}

/* Zeros need nobody's help, but nothing else may be about to be written there. */
static void zero_rest(struct mender *mender)
{
    uint64_t committed = mender->options.ops->committed(mender->options.data);

    if (mender->now.last < committed &&
        commitlog_rewrite_rest(mender->options.log, &mender->rewrite, mender->now.last, on_written) == 0) {
        mender->state = MENDER_WRITING;
    } else {
        forget(mender, false); /* the log is another by now */
    }
}

/* ---- fetching ---- */

static void ask(struct mender *mender);

static void ask_next(struct mender *mender, int rc)
{
    mender->failed++;
    if (mender->closing || mender->failed >= peers_up(mender->options.peers, PEER_RANGE)) {
        rest(mender, rc == MQ_ENOTFOUND ? "no member that can be reached has it" : "no member gave it", rc);
        return;
    }
    mender->peer = peers_next_up(mender->options.peers, PEER_RANGE, mender->peer);
    ask(mender);
}

static void on_entries(struct fetch *fetch, int status, const struct fetched *got)
{
    struct mender *mender = container_of(fetch, struct mender, fetch);
    int rc = status;

    if (rc == 0 && !mender->closing) {
        mender->target.first = got->first;
        rc = commitlog_rewrite(mender->options.log, &mender->rewrite, got->first, mender->target.crc, got->raw,
                               got->bytes, got->ref, on_written);
        if (rc == 0) {
            mender->state = MENDER_WRITING;
            return;
        }
    }
    ask_next(mender, rc);
}

static void ask(struct mender *mender)
{
    int rc = fetch_entries(mender->options.peers, mender->peer, &mender->fetch, mender->target.first,
                           mender->target.last, FETCH_FROM_LAST, PEER_RANGE_BYTES, on_entries);

    if (rc == 0) {
        mender->state = MENDER_FETCHING;
    } else {
        ask_next(mender, rc);
    }
}

/* ---- looking ---- */

/* Something is bad for sure. */
static void mend(struct mender *mender, const struct scrub_bad *target)
{
    uint64_t committed = mender->options.ops->committed(mender->options.data);

    if (mender->now.rest) {
        zero_rest(mender);
        return;
    }
    mender->target = *target;
    if (target->last > committed) {
        if (mender->now.twice) {
            rlog_disk_failed("an entry that is not known to be committed is bad: reading it", mender->options.dir,
                             MQ_ECORRUPT);
        }
        mender->now.twice = true;
        again_in(mender, MENDER_REST_MS);
        return;
    }
    if (!target->has_crc) {
        again_in(mender, MENDER_REST_MS); /* the one behind it is bad, too: it comes first */
        return;
    }
    mender->failed = 0;
    mender->peer = peers_next_up(mender->options.peers, PEER_RANGE, mender->peer);
    ask(mender);
}

static void on_looked(uv_work_t *work, int status)
{
    struct mender *mender = container_of(work, struct mender, work);
    struct scrub_job *job = &mender->job;
    struct scrub_bad target = job->n_bad > 0 ? job->bad[job->n_bad - 1] : (struct scrub_bad){0};
    bool good = mender->now.rest ? !job->bad_rest : job->n_bad == 0;

    (void)status;
    if (job->next_bad) {
        (void)mender_suspect(mender, job->last + 1, job->last + 1);
    }
    if (mender->now.rest && job->n_bad > 0) { /* where it ends is not known: that comes first */
        (void)mender_suspect(mender, job->last, job->last);
    }
    if (!good && !mender->now.said) {
        mender->now.said = true;
        say_bad(mender, job);
    }
    scrub_end(job);
    if (mender->closing) {
        again_in(mender, 0);
    } else if (good) {
        forget(mender, true);
    } else {
        mend(mender, &target);
    }
}

static void look_work(uv_work_t *work)
{
    scrub_read(&container_of(work, struct mender, work)->job);
}

static void look(struct mender *mender)
{
    int rc = commitlog_scrub(mender->options.log, &mender->job, mender->now.first, mender->now.last, true);

    if (rc == MQ_ENOTFOUND && (mender->now.last < commitlog_first_index(mender->options.log) ||
                               mender->now.last > commitlog_last_index(mender->options.log))) {
        forget(mender, false); /* the log begins or ends elsewhere by now */
        return;
    }
    if (rc != 0) {
        again_in(mender, MENDER_REST_MS); /* not synced yet, or no memory */
        return;
    }
    mender->job.rest = mender->now.rest;
    mender->job.sync = true;
    rc = uv_queue_work(mender->options.loop, &mender->work, look_work, on_looked);
    MQ_ASSERT(rc == 0); /* it fails only without a function */
    mender->state = MENDER_LOOKING;
}

/* ---- life ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct mender *mender = container_of((uv_timer_t *)handle, struct mender, timer);

    mender->closed(mender->closed_data);
}

static void on_timer(uv_timer_t *timer)
{
    go_on(container_of(timer, struct mender, timer));
}

/* The one that is due and lies furthest behind in the log; NULL: none, and then @wait_ms says how long. */
static const struct wound *next_due(const struct mender *mender, uint64_t *wait_ms)
{
    uint64_t now = mq_clock_mono_ms();
    uint64_t next_ms = UINT64_MAX;

    for (uint32_t i = mender->n; i-- > 0;) {
        const struct wound *wound = &mender->wounds[i];

        if (wound->next_ms <= now) {
            return wound;
        }
        next_ms = wound->next_ms < next_ms ? wound->next_ms : next_ms;
    }
    *wait_ms = next_ms - now;
    return NULL;
}

/* Always from the timer: what suspects, and what asks to be called back, is never called back at once. */
static void go_on(struct mender *mender)
{
    uint64_t wait_ms;
    const struct wound *due;

    if (mender->state != MENDER_IDLE) {
        return;
    }
    if (mender->closing) {
        if (!uv_is_closing((uv_handle_t *)&mender->timer)) {
            uv_close((uv_handle_t *)&mender->timer, on_timer_closed);
        }
        return;
    }
    due = mender->n > 0 ? next_due(mender, &wait_ms) : NULL;
    if (due != NULL) {
        mender->now = *due;
        look(mender);
    } else if (mender->n > 0) {
        uv_timer_start(&mender->timer, on_timer, wait_ms, 0);
    }
}

static int suspect(struct mender *mender, uint64_t first, uint64_t last, bool rest)
{
    int rc;

    if (mender->closing) {
        return 0;
    }
    rc = put_in(mender, &(struct wound){.first = first, .last = last, .rest = rest});
    if (mender->state == MENDER_IDLE) {
        uv_timer_start(&mender->timer, on_timer, 0, 0);
    }
    return rc;
}

int mender_suspect(struct mender *mender, uint64_t first, uint64_t last)
{
    return suspect(mender, first, last, false);
}

int mender_suspect_rest(struct mender *mender, uint64_t last)
{
    return suspect(mender, last, last, true);
}

void mender_init(struct mender *mender, const struct mender_options *options)
{
    memset(mender, 0, sizeof(*mender));
    mender->options = *options;
    uv_timer_init(options->loop, &mender->timer);
}

void mender_close(struct mender *mender, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!mender->closing);
    mender->closing = true;
    mender->closed = closed;
    mender->closed_data = data;
    go_on(mender);
}
