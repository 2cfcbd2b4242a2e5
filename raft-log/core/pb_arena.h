/* An allocator for protobuf-c that hands out pieces of one array, so that decoding a peer's message allocates nothing
 * and a hostile one cannot ask for more than the array holds. */
#ifndef RLOG_CORE_PB_ARENA_H
#define RLOG_CORE_PB_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#define PB_ARENA_BYTES 12288u

struct pb_arena {
    ProtobufCAllocator allocator;
    size_t used;
    _Alignas(16) uint8_t bytes[PB_ARENA_BYTES];
};

static inline void *pb_arena_alloc(void *data, size_t n)
{
    struct pb_arena *arena = data;
    size_t at = (arena->used + 15u) & ~(size_t)15u;

    if (n > PB_ARENA_BYTES || at > PB_ARENA_BYTES - n) {
        return NULL; /* protobuf-c reports it as a message that cannot be decoded */
    }
    arena->used = at + n;
    return arena->bytes + at;
}

static inline void pb_arena_free(void *data, void *at)
{
    (void)data;
    (void)at; /* everything goes with the arena */
}

/* Makes @arena empty; what was decoded into it before is gone. Its content needs no clean-up. */
static inline ProtobufCAllocator *pb_arena_reset(struct pb_arena *arena)
{
    arena->allocator = (ProtobufCAllocator){pb_arena_alloc, pb_arena_free, arena};
    arena->used = 0;
    return &arena->allocator;
}

#endif
