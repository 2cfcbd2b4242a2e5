#include "raft-log/log/space.h"

#include "raft-log/log/disk.h"

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void space_init(struct space *space)
{
    space->reserve = SPACE_RESERVE_BYTES;
    space->period_ms = SPACE_PERIOD_MS;
    atomic_init(&space->total, SPACE_UNKNOWN);
    atomic_init(&space->free, SPACE_UNKNOWN);
    atomic_init(&space->stuck, false);
}

void space_ask(struct space *space, const struct rlog_disk *disk, const char *dir)
{
    uint64_t total, free;

    if (disk->space == NULL || disk->space(disk, dir, &total, &free) < 0) {
        total = free = SPACE_UNKNOWN;
    }
    atomic_store_explicit(&space->total, total, memory_order_relaxed);
    atomic_store_explicit(&space->free, free, memory_order_relaxed);
}

bool space_can_grow(const struct space *space, uint64_t segment_bytes)
{
    return !atomic_load_explicit(&space->stuck, memory_order_relaxed) &&
           atomic_load_explicit(&space->free, memory_order_relaxed) >= segment_bytes;
}

uint64_t space_last_bytes(const struct space *space, uint64_t segment_bytes)
{
    return space->reserve < segment_bytes ? space->reserve : segment_bytes;
}

/* Of a disk that has not enough. What applying writes (consume queues, indexes) comes out of what is free, so little
 * of that is as bad as little that is allocated. */
static enum rlog_space_level level_below_enough(const struct space *space, uint64_t segment_bytes, uint64_t ahead,
                                                uint64_t free)
{
    uint64_t last = space_last_bytes(space, segment_bytes);
    bool grows = space_can_grow(space, segment_bytes);

    if (!grows && ahead < last / 4) {
        return RLOG_SPACE_FULL;
    }
    return (!grows && ahead < last / 2) || free < space->reserve / 8 * 3 ? RLOG_SPACE_SCARCE : RLOG_SPACE_LOW;
}

void space_judge(const struct space *space, uint64_t segment_bytes, uint64_t ahead, enum rlog_space_level before,
                 struct rlog_space *out)
{
    uint64_t free = atomic_load_explicit(&space->free, memory_order_relaxed);
    bool stuck = atomic_load_explicit(&space->stuck, memory_order_relaxed);
    uint64_t spare = before != RLOG_SPACE_ENOUGH ? space->reserve / 4 : 0;
    uint64_t have = stuck ? ahead : free == SPACE_UNKNOWN ? SPACE_UNKNOWN : free + ahead;
    uint64_t needed = stuck ? max_u64(segment_bytes / 2, space_last_bytes(space, segment_bytes) / 4 * 3)
                            : space->reserve + segment_bytes + spare;

    *out = (struct rlog_space){.level = RLOG_SPACE_ENOUGH,
                               .total = atomic_load_explicit(&space->total, memory_order_relaxed),
                               .free = free,
                               .ahead = ahead,
                               .needed = needed};
    if (have < needed || free < space->reserve / 2 + spare) {
        out->level = level_below_enough(space, segment_bytes, ahead, free);
    }
}
