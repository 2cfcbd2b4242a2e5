/* Bytes that were written and not yet synced, where entries are flushed late: how old they get, how many, and up to
 * which entry all is synced. */
#include "raft-log/log/handover_inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"

/* Until nothing is dirty but in @but. The mutex is held. */
void handover_wait_clean(struct handover *h, const struct segment *but)
{
    while ((h->dirty != NULL && h->dirty != but) || (h->flushing && h->flushing_segment != but)) {
        h->flush_now = true;
        pthread_cond_signal(&h->to_flusher);
        pthread_cond_wait(&h->flushed, &h->lock);
    }
}

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
        handover_wait_clean(h, NULL);
    }
    pthread_mutex_unlock(&h->lock);
}

void handover_wait_flushed(struct handover *h, const struct segment *but)
{
    pthread_mutex_lock(&h->lock);
    handover_wait_clean(h, but);
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
