/* What the spare does next, and zeros and entries that keep out of each other's way. handover.h tells how. */
#include "raft-log/log/handover_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"

static void job_list_append(struct job_list *list, struct spare_job *job)
{
    job->next = NULL;
    if (list->last != NULL) {
        list->last->next = job;
    } else {
        list->first = job;
    }
    list->last = job;
}

static struct spare_job *job_list_pop(struct job_list *list)
{
    struct spare_job *job = list->first;

    if (job != NULL) {
        list->first = job->next;
        if (list->first == NULL) {
            list->last = NULL;
        }
    }
    return job;
}

void handover_put_job(struct handover *h, struct spare_job *job)
{
    pthread_mutex_lock(&h->lock);
    job_list_append(&h->jobs, job);
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->to_spare);
}

struct spare_job *handover_take_job(struct handover *h)
{
    struct spare_job *job;

    pthread_mutex_lock(&h->lock);
    job = job_list_pop(&h->jobs_done);
    pthread_mutex_unlock(&h->lock);
    return job;
}

void handover_rest_spare(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    h->rest = true;
    h->resting = false;
    pthread_cond_signal(&h->to_spare);
    while (!h->resting) {
        pthread_cond_wait(&h->to_loop, &h->lock);
    }
    pthread_mutex_unlock(&h->lock);
}

void handover_wake_spare(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    h->rest = false;
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->to_spare);
}

/* Whether the spare has a segment to make, and whether it has something to zero. The mutex is held. */
static bool wants_segment(const struct handover *h)
{
    uint64_t end = segments_end(h);

    return !h->making && end - min_u64(end, h->tail) < h->make_ahead && handover_count(h) < HANDOVER_SEGMENTS_MAX &&
           (h->make_at_ms == 0 || (mq_clock_mono_ms() >= h->make_at_ms && !RAFTMQ_DEFECT(ROOM_NEVER_AGAIN)));
}

static bool wants_zeros(const struct handover *h)
{
    uint64_t from = max_u64(h->zeroed, round_up(h->tail));

    return from < segments_end(h) && from < h->tail + (h->zero_on ? h->zero_high : h->zero_low);
}

/* Counts what is appended. The mutex is held. */
static void count_appended(struct handover *h, uint64_t bytes)
{
    uint64_t now_ms = mq_clock_mono_ms();
    uint64_t age_ms = now_ms - h->rate_start_ms;

    if (age_ms >= HANDOVER_RATE_MS) {
        h->rate_last_bytes = age_ms < 2 * HANDOVER_RATE_MS ? h->rate_bytes : 0;
        h->rate_bytes = 0;
        h->rate_start_ms = now_ms;
    }
    h->rate_bytes += bytes;
}

/* A stream of large writes is under way. The mutex is held. */
static bool is_busy(const struct handover *h)
{
    return max_u64(h->rate_bytes, h->rate_last_bytes) > HANDOVER_BUSY_BYTES &&
           mq_clock_mono_ms() - h->rate_start_ms < 2 * HANDOVER_RATE_MS;
}

void handover_claim(struct handover *h, uint64_t from, uint64_t to)
{
    bool wake;

    pthread_mutex_lock(&h->lock);
    MQ_ASSERT(from >= h->tail && to > from);
    h->tail = to;
    while (h->zero_from < to && from < h->zero_to && !RAFTMQ_DEFECT(ZERO_UNDER_WRITER)) {
        pthread_cond_wait(&h->moved, &h->lock);
    }
    count_appended(h, to - from);
    wake = h->spare_waits && (wants_segment(h) || (wants_zeros(h) && !is_busy(h)));
    pthread_mutex_unlock(&h->lock);
    if (wake) {
        pthread_cond_signal(&h->to_spare);
    }
}

/* Claims the next piece. The mutex is held and wants_zeros said yes. */
static void claim_zeros(struct handover *h, struct spare_task *out)
{
    uint64_t from = max_u64(h->zeroed, round_up(h->tail));
    struct segment *segment = handover_segment_at(h, from);
    uint64_t to = min_u64(from + HANDOVER_ZERO_PIECE, segment_end(segment));

    h->zero_on = true;
    h->zero_from = from;
    h->zero_to = to;
    *out = (struct spare_task){.work = SPARE_ZERO, .segment = segment, .from = from, .to = to};
}

/* When the spare has something to do although nobody says so; 0: never. The mutex is held. */
static uint64_t next_ms(const struct handover *h, bool put_off)
{
    uint64_t now = mq_clock_mono_ms();
    uint64_t at = h->disk->space != NULL ? h->ask_at_ms : 0;
    uint64_t zeros = put_off ? now + HANDOVER_RATE_MS : 0;
    uint64_t make = h->make_at_ms > now ? h->make_at_ms : 0; /* over, and not wanted any more: no reason to wake */

    at = make != 0 && (at == 0 || make < at) ? make : at;
    return zeros != 0 && (at == 0 || zeros < at) ? zeros : at;
}

/* Waits for a word from the writer or the loop, or for the time. The mutex is held. */
static void spare_wait(struct handover *h, bool put_off)
{
    uint64_t at_ms = h->rest ? 0 : next_ms(h, put_off);
    struct timespec until = {(time_t)(at_ms / 1000), (long)(at_ms % 1000 * 1000000)};

    h->spare_waits = true;
    if (at_ms != 0) {
        pthread_cond_timedwait(&h->to_spare, &h->lock, &until);
    } else {
        pthread_cond_wait(&h->to_spare, &h->lock);
    }
    h->spare_waits = false;
}

/* What the loop gave the spare to do. The mutex is held. */
static bool choose_job(struct handover *h, struct spare_task *out)
{
    *out = (struct spare_task){.work = SPARE_JOB, .job = job_list_pop(&h->jobs)};
    return out->job != NULL;
}

/* What the spare does by itself. The mutex is held. */
static bool choose_own(struct handover *h, bool put_off, struct spare_task *out)
{
    if (wants_segment(h)) {
        h->making = true;
        *out = (struct spare_task){.work = SPARE_MAKE,
                                   .segment = handover_pop_old(h),
                                   .from = segments_end(h),
                                   .to = segments_end(h) + h->segment_bytes};
        return true;
    }
    if (choose_job(h, out)) {
        return true;
    }
    if (h->disk->space != NULL && mq_clock_mono_ms() >= h->ask_at_ms) {
        *out = (struct spare_task){.work = SPARE_ASK};
        return true;
    }
    if (h->n_old > HANDOVER_OLD_KEPT) {
        *out = (struct spare_task){.work = SPARE_REMOVE, .segment = handover_pop_old(h)};
        return true;
    }
    if (wants_zeros(h) && !put_off) {
        claim_zeros(h, out);
        return true;
    }
    return false;
}

/* Whether there is a task now. The mutex is held. */
static bool choose_task(struct handover *h, bool put_off, bool unsynced, struct spare_task *out)
{
    if (h->stop || h->rest) {
        if (choose_job(h, out)) {
            return true;
        }
        *out = (struct spare_task){.work = unsynced && !h->stop ? SPARE_SYNC : SPARE_STOP};
        return unsynced || h->stop;
    }
    if (choose_own(h, put_off, out)) {
        return true;
    }
    *out = (struct spare_task){.work = SPARE_SYNC};
    return unsynced;
}

void handover_next_task(struct handover *h, bool unsynced, struct spare_task *out)
{
    pthread_mutex_lock(&h->lock);
    for (;;) {
        bool put_off = is_busy(h);

        if (choose_task(h, put_off, unsynced, out)) {
            break;
        }
        if (h->rest) {
            h->resting = true;
            pthread_cond_signal(&h->to_loop);
        }
        put_off = put_off && !h->rest && wants_zeros(h);
        h->zero_on = h->zero_on && put_off;
        spare_wait(h, put_off);
    }
    pthread_mutex_unlock(&h->lock);
}

void handover_job_done(struct handover *h, struct spare_job *job)
{
    pthread_mutex_lock(&h->lock);
    job_list_append(&h->jobs_done, job);
    pthread_mutex_unlock(&h->lock);
    h->wake(h->wake_data);
}

void handover_zero_written(struct handover *h, uint64_t to)
{
    pthread_mutex_lock(&h->lock);
    h->zero_from = h->zero_to = 0;
    h->zeroed = max_u64(h->zeroed, to);
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->moved);
}

void handover_made(struct handover *h, struct segment *segment, int rc)
{
    pthread_mutex_lock(&h->lock);
    rc = handover_end_making(h, segment, rc);
    h->make_at_ms = rc != 0 ? mq_clock_mono_ms() + h->space.period_ms : 0; /* the writer tries anyway when it must */
    atomic_store_explicit(&h->space.stuck, rc != 0, memory_order_relaxed);
    h->ask_at_ms = 0; /* what is free has changed */
    pthread_mutex_unlock(&h->lock);
}

void handover_asked(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    h->ask_at_ms = mq_clock_mono_ms() + h->space.period_ms / SPACE_ASKS;
    pthread_mutex_unlock(&h->lock);
    h->wake(h->wake_data);
}
