/* Counters and a latency histogram with fixed memory: values 0..2^40 with a relative error below 1 %. */
#ifndef MQ_BASE_STATS_H
#define MQ_BASE_STATS_H

#include <stdint.h>

#define MQ_HISTOGRAM_BUCKETS 4608

struct mq_histogram {
    uint64_t counts[MQ_HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
    uint64_t sum;
};

void mq_histogram_init(struct mq_histogram *h);
void mq_histogram_add(struct mq_histogram *h, uint64_t value);

/* The smallest recorded value v with at least @quantile (0..1) of all values <= v, to 1 %; 0 when empty. */
uint64_t mq_histogram_at(const struct mq_histogram *h, double quantile);

/* Resident memory of this process that is not backed by a file (VmRSS - RssFile), and all of it, in bytes.
 * Returns 0 or -errno. */
int mq_process_memory(int pid, uint64_t *anon_bytes, uint64_t *resident_bytes);

#endif
