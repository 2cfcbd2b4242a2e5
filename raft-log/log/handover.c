#include "raft-log/log/handover_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

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
struct segment *handover_pop_old(struct handover *h)
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
        net_ref_release(&handover_pop_old(h)->ref);
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

void handover_wait_idle(struct handover *h)
{
    pthread_mutex_lock(&h->lock);
    while (h->writer_busy || h->queued.first != NULL) {
        pthread_cond_wait(&h->to_loop, &h->lock);
    }
    handover_wait_clean(h, NULL);
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
int handover_end_making(struct handover *h, struct segment *segment, int rc)
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
        old = handover_pop_old(h);
        pthread_mutex_unlock(&h->lock);
        rc = handover_make(h, first_pos, old, &made);
        pthread_mutex_lock(&h->lock);
        rc = handover_end_making(h, made, rc);
    }
    pthread_mutex_unlock(&h->lock);
    *out = rc == 0 ? handover_segment_at(h, pos) : NULL;
    return rc;
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
