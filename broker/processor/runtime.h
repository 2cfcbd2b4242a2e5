/* Rates and day counters of this process, sampled once a second for GET_BROKER_RUNTIME_INFO. */
#ifndef BROKER_PROCESSOR_RUNTIME_H
#define BROKER_PROCESSOR_RUNTIME_H

#include <stdint.h>

struct context;

#define RUNTIME_SAMPLES 601 /* seconds: the longest rate is over ten minutes */

struct runtime_sample {
    uint64_t puts, gets, found, missed;
};

struct runtime {
    struct runtime_sample samples[RUNTIME_SAMPLES]; /* a ring: next is the oldest */
    uint32_t next, count;
    struct runtime_sample this_morning, yesterday_morning; /* counters at the last two local midnights, 0 before */
    int day; /* of the year, local time, of the last sample; -1 at first */
};

/* Takes a sample; to be called every second. */
void runtime_sample(struct context *ctx);

#endif
