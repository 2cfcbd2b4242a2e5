/* Small arithmetic that C has no functions for. */
#ifndef MQ_BASE_NUMBER_H
#define MQ_BASE_NUMBER_H

#include <stdint.h>

static inline uint64_t mq_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t mq_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
