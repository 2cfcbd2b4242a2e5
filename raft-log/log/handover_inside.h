/* What the files of the handover share. handover.c: the row of segments, entries on their way to the writer and back.
 * handover_spare.c: what the spare does next, by itself and for the loop, and how zeros keep out of the writer's way.
 * handover_flush.c: what was written and not yet synced, where entries are flushed late. */
#ifndef RLOG_LOG_HANDOVER_INSIDE_H
#define RLOG_LOG_HANDOVER_INSIDE_H

#include "raft-log/log/handover.h"

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t round_up(uint64_t pos)
{
    return (pos + SEGMENT_ALIGN - 1) & ~(uint64_t)(SEGMENT_ALIGN - 1);
}

static inline uint64_t segments_end(const struct handover *h)
{
    return atomic_load_explicit(&h->end, memory_order_relaxed) * h->segment_bytes;
}

/* The mutex is held for all of these. */

/* An old segment, or NULL. */
struct segment *handover_pop_old(struct handover *h);
/* Adds what @rc says was made and ends the making. Returns @rc, or MQ_ENOMEM. */
int handover_end_making(struct handover *h, struct segment *segment, int rc);
/* Until nothing is dirty but in @but. */
void handover_wait_clean(struct handover *h, const struct segment *but);

#endif
