#include "raft-log/log/handover.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define ZERO_ALIGN SEGMENT_ALIGN

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t round_up(uint64_t pos)
{
    return (pos + ZERO_ALIGN - 1) & ~(uint64_t)(ZERO_ALIGN - 1);
}

void write_list_append(struct write_list *list, struct log_write *write)
{
    write->next = NULL;
    if (list->last != NULL) {
        list->last->next = write;
    } else {
        list->first = write;
    }
    list->last = write;
}

void write_list_join(struct write_list *to, struct write_list *from)
{
    if (from->first == NULL) {
        return;
    }
    if (to->last != NULL) {
        to->last->next = from->first;
    } else {
        to->first = from->first;
    }
    to->last = from->last;
    *from = (struct write_list){0};
}

int handover_init(struct handover *h, const struct rlog_disk *disk, const char *dir, uint64_t segment_bytes,
                  void (*wake)(void *data), void *wake_data)
{
    pthread_condattr_t monotonic;

    *h = (struct handover){.disk = disk, .segment_bytes = segment_bytes, .wake = wake, .wake_data = wake_data};
    h->zero_low = min_u64(HANDOVER_ZERO_LOW_MAX, segment_bytes / 4);
    h->zero_high = min_u64(HANDOVER_ZERO_HIGH_MAX, segment_bytes / 2);
    h->make_ahead = segment_bytes / 2;
    space_init(&h->space);
    h->dir = mq_strdup(dir);
    h->segments = mq_calloc(HANDOVER_SEGMENTS_MAX, sizeof(h->segments[0]));
    if (h->dir == NULL || h->segments == NULL) {
        mq_free(h->dir);
        mq_free(h->segments);
        return MQ_ENOMEM;
    }
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->to_writer, NULL);
    pthread_cond_init(&h->to_spare, &monotonic);
    pthread_cond_init(&h->to_flusher, &monotonic);
    pthread_cond_init(&h->flushed, NULL);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&h->to_loop, NULL);
    pthread_cond_init(&h->moved, NULL);
    return 0;
}

/* The mutex is held, or the threads are gone. */
static struct segment *take_old(struct handover *h)
{
    if (h->old == NULL) {
        return NULL;
    }
    h->n_old--;
    return segment_pop(&h->old);
}

void handover_forget_old(struct handover *h)
{
    while (h->old != NULL) {
        net_ref_release(&take_old(h)->ref);
    }
}

void handover_fini(struct handover *h)
{
    MQ_ASSERT(h->queued.first == NULL && h->done.first == NULL && h->jobs.first == NULL);
    MQ_ASSERT(h->jobs_done.first == NULL);
    while (handover_count(h) != 0) {
        net_ref_release(&handover_drop_front(h)->ref);
    }
    handover_forget_old(h); /* the next start removes the files */
    pthread_cond_destroy(&h->flushed);
    pthread_cond_destroy(&h->to_flusher);
    pthread_cond_destroy(&h->moved);
    pthread_cond_destroy(&h->to_loop);
    pthread_cond_destroy(&h->to_spare);
    pthread_cond_destroy(&h->to_writer);
    pthread_mutex_destroy(&h->lock);
    mq_free(h->segments);
    mq_free(h->dir);
}

static uint64_t segments_end(const struct handover *h)
{
    return atomic_load_explicit(&h->end, memory_order_relaxed) * h->segment_bytes;
}

static struct segment **slot_of(const struct handover *h, uint64_t number)
{
    return &h->segments[(number - h->origin) % HANDOVER_SEGMENTS_MAX];
}

void handover_begin(struct handover *h, uint64_t pos)
{
    MQ_ASSERT(handover_count(h) == 0);
    h->origin = pos / h->segment_bytes;
    atomic_store_explicit(&h->first, h->origin, memory_order_release);
    atomic_store_explicit(&h->end, h->origin, memory_order_release);
}

int handover_add_segment(struct handover *h, struct segment *segment)
{
    uint64_t number = atomic_load_explicit(&h->end, memory_order_relaxed);

    if (handover_count(h) == HANDOVER_SEGMENTS_MAX) {
        return MQ_ENOMEM;
    }
    MQ_ASSERT(segment->first_pos == number * h->segment_bytes);
    *slot_of(h, number) = segment;
    atomic_store_explicit(&h->end, number + 1, memory_order_release);
    return 0;
}

void handover_add_front(struct handover *h, struct segment *segment)
{
    uint64_t number = atomic_load_explicit(&h->first, memory_order_relaxed) - 1;

    MQ_ASSERT(handover_count(h) < HANDOVER_SEGMENTS_MAX && segment->first_pos == number * h->segment_bytes);
    *slot_of(h, number) = segment;
    atomic_store_explicit(&h->first, number, memory_order_release);
}

struct segment *handover_drop_front(struct handover *h)
{
    uint64_t number = atomic_load_explicit(&h->first, memory_order_relaxed);

    MQ_ASSERT(handover_count(h) != 0);
    atomic_store_explicit(&h->first, number + 1, memory_order_release);
    return *slot_of(h, number);
}

void handover_give_old(struct handover *h, struct segment *segment)
{
    MQ_ASSERT(segment->ref.count == 1);
    pthread_mutex_lock(&h->lock);
    segment_push(&h->old, segment);
    h->n_old++;
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->to_spare);
}

struct segment *handover_take_old(struct handover *h, uint64_t pos)
{
    struct segment *found = NULL;

    pthread_mutex_lock(&h->lock);
    for (struct segment **at = &h->old; *at != NULL && found == NULL;) {
        if ((*at)->first_pos == pos) {
            found = *at;
            *at = found->next;
            h->n_old--;
        } else {
            at = &(*at)->next;
        }
    }
    pthread_mutex_unlock(&h->lock);
    return found;
}

void handover_set_tail(struct handover *h, uint64_t tail)
{
    pthread_mutex_lock(&h->lock);
    h->tail = tail;
    h->zeroed = round_up(tail);
    h->zero_on = false;
    h->make_at_ms = 0;
    pthread_mutex_unlock(&h->lock);
}

struct segment *handover_segment_at(const struct handover *h, uint64_t pos)
{
    uint64_t number = pos / h->segment_bytes;

    return number < atomic_load_explicit(&h->end, memory_order_acquire) &&
                   number >= atomic_load_explicit(&h->first, memory_order_acquire)
               ? *slot_of(h, number)
               : NULL;
}

void handover_put(struct handover *h, struct write_list *list)
{
    pthread_mutex_lock(&h->lock);
    write_list_join(&h->queued, list);
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->to_writer);
}

void handover_take_done(struct handover *h, struct write_list *out)
{
    pthread_mutex_lock(&h->lock);
    write_list_join(out, &h->done);
    pthread_mutex_unlock(&h->lock);
}

/* Until nothing is dirty but in @but. The mutex is held. */
static void wait_flushed(struct handover *h, const struct segment *but)
{
    while ((h->dirty != NULL && h->dirty != but) || (h->flushing && h->flushing_segment != but)) {
        h->flush_now = true;
        pthread_cond_signal(&h->to_flusher);
        pthread_cond_wait(&h->flushed, &h->lock);
    }
}

void handover_wait_idle(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    while (h->writer_busy || h->queued.first != NULL) {
        pthread_cond_wait(&h->to_loop, &h->lock);
    }
    wait_flushed(h, NULL);
    pthread_mutex_unlock(&h->lock);
}

void handover_stats_get(struct handover *h, struct handover_stats *out)
{
    pthread_mutex_lock(&h->lock);
    *out = h->stats;
    pthread_mutex_unlock(&h->lock);
}

/* A claim of the spare begins at or above the old tail, so it cannot touch what was zeroed below it. */
void handover_cut(struct handover *h, uint64_t tail)
{
    pthread_mutex_lock(&h->lock);
    MQ_ASSERT(!h->writer_busy && h->queued.first == NULL && tail <= h->tail);
    h->zeroed = max_u64(h->zeroed, round_up(h->tail));
    h->tail = tail;
    pthread_mutex_unlock(&h->lock);
}

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

void handover_stop(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    h->stop = true;
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->to_writer);
    pthread_cond_signal(&h->to_spare);
}

bool handover_take(struct handover *h, struct write_list *out)
{
    bool any;

    pthread_mutex_lock(&h->lock);
    while (h->queued.first == NULL && !h->stop) {
        pthread_cond_wait(&h->to_writer, &h->lock);
    }
    any = h->queued.first != NULL;
    write_list_join(out, &h->queued);
    h->writer_busy = any;
    pthread_mutex_unlock(&h->lock);
    return any;
}

/* Adds what @rc says was made and ends the making. The mutex is held. */
static int end_making(struct handover *h, struct segment *segment, int rc)
{
    if (rc == 0) {
        rc = handover_add_segment(h, segment);
        if (rc != 0) {
            net_ref_release(&segment->ref);
        }
    }
    if (rc == 0) {
        /* Whoever made it: the writer may succeed where the spare had failed, who then has no reason to try again. */
        h->make_at_ms = 0;
        atomic_store_explicit(&h->space.stuck, false, memory_order_relaxed);
    }
    h->making = false;
    pthread_cond_broadcast(&h->moved);
    if (h->spare_waits) {
        pthread_cond_signal(&h->to_spare); /* there is more to zero now */
    }
    return rc;
}

int handover_make(struct handover *h, uint64_t pos, struct segment *old, struct segment **out)
{
    if (old != NULL && segment_recycle(h->dir, old, pos, out) == 0) {
        return 0;
    }
    return segment_make(h->disk, h->dir, pos, h->segment_bytes, out);
}

int handover_need_segment(struct handover *h, uint64_t pos, struct segment **out)
{
    int rc = 0;

    *out = handover_segment_at(h, pos);
    if (*out != NULL) {
        return 0;
    }
    pthread_mutex_lock(&h->lock);
    while (rc == 0 && pos >= segments_end(h)) {
        struct segment *made = NULL, *old;
        uint64_t first_pos = segments_end(h);

        if (h->making) {
            pthread_cond_wait(&h->moved, &h->lock);
            continue;
        }
        h->making = true;
        old = take_old(h);
        pthread_mutex_unlock(&h->lock);
        rc = handover_make(h, first_pos, old, &made);
        pthread_mutex_lock(&h->lock);
        rc = end_making(h, made, rc);
    }
    pthread_mutex_unlock(&h->lock);
    *out = rc == 0 ? handover_segment_at(h, pos) : NULL;
    return rc;
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

void handover_give_done(struct handover *h, struct write_list *list, const struct handover_stats *add)
{
    pthread_mutex_lock(&h->lock);
    write_list_join(&h->done, list);
    h->stats.entries += add->entries;
    h->stats.bytes += add->bytes;
    h->stats.syncs += add->syncs;
    h->stats.sync_ns += add->sync_ns;
    h->writer_busy = false;
    pthread_mutex_unlock(&h->lock);
    h->wake(h->wake_data);
    pthread_cond_signal(&h->to_loop);
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
                                   .segment = take_old(h),
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
        *out = (struct spare_task){.work = SPARE_REMOVE, .segment = take_old(h)};
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
    rc = end_making(h, segment, rc);
    h->make_at_ms = rc != 0 ? mq_clock_mono_ms() + h->space.period_ms : 0; /* the writer tries anyway when it must */
    atomic_store_explicit(&h->space.stuck, rc != 0, memory_order_relaxed);
    h->ask_at_ms = 0; /* what is free has changed */
    pthread_mutex_unlock(&h->lock);
}

void handover_asked(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    h->ask_at_ms = mq_clock_mono_ms() + h->space.period_ms;
    pthread_mutex_unlock(&h->lock);
    h->wake(h->wake_data);
}

/* ---- flushing late ---- */

void handover_dirty(struct handover *h, struct segment *segment, uint64_t bytes, uint64_t last_index)
{
    pthread_mutex_lock(&h->lock);
    MQ_ASSERT(h->dirty == NULL || h->dirty == segment);
    if (h->dirty == NULL) {
        h->dirty = segment;
        h->dirty_ns = mq_clock_mono_ns();
        pthread_cond_signal(&h->to_flusher);
    }
    h->dirty_bytes += bytes;
    h->dirty_index = last_index;
    if (h->dirty_bytes > HANDOVER_DIRTY_MAX) {
        wait_flushed(h, NULL);
    }
    pthread_mutex_unlock(&h->lock);
}

void handover_wait_flushed(struct handover *h, const struct segment *but)
{
    pthread_mutex_lock(&h->lock);
    wait_flushed(h, but);
    pthread_mutex_unlock(&h->lock);
}

/* Waits until what is dirty is old enough, or somebody waits for it. The mutex is held. */
static void let_it_age(struct handover *h)
{
    uint64_t until_ns = h->dirty_ns + (uint64_t)h->flush_ms * 1000000;
    struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};

    while (!h->flush_now && !h->stop_flusher && mq_clock_mono_ns() < until_ns) {
        pthread_cond_timedwait(&h->to_flusher, &h->lock, &until);
    }
}

bool handover_take_dirty(struct handover *h, struct segment **out)
{
    bool any;

    pthread_mutex_lock(&h->lock);
    while (h->dirty == NULL && !h->stop_flusher) {
        pthread_cond_wait(&h->to_flusher, &h->lock);
    }
    any = h->dirty != NULL;
    if (any) {
        let_it_age(h);
        *out = h->flushing_segment = h->dirty;
        h->flushing_index = h->dirty_index;
        h->flushing = true;
        h->dirty = NULL;
        h->dirty_bytes = 0;
        h->flush_now = false;
    }
    pthread_mutex_unlock(&h->lock);
    return any;
}

void handover_flushed(struct handover *h, uint64_t sync_ns)
{
    pthread_mutex_lock(&h->lock);
    h->flushing = false;
    h->flushing_segment = NULL;
    h->synced_index = h->flushing_index;
    h->stats.syncs++;
    h->stats.sync_ns += sync_ns;
    pthread_mutex_unlock(&h->lock);
    pthread_cond_broadcast(&h->flushed);
}

void handover_stop_flusher(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    h->stop_flusher = true;
    pthread_mutex_unlock(&h->lock);
    pthread_cond_signal(&h->to_flusher);
}

uint64_t handover_synced(struct handover *h)
{
    uint64_t index;

    pthread_mutex_lock(&h->lock);
    index = h->synced_index;
    pthread_mutex_unlock(&h->lock);
    return index;
}

void handover_lower_synced(struct handover *h, uint64_t index)
{
    pthread_mutex_lock(&h->lock);
    h->synced_index = min_u64(h->synced_index, index);
    pthread_mutex_unlock(&h->lock);
}
