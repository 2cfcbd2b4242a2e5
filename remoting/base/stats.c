/* The histogram is log-linear: values below 128 have a bucket each, every doubling above is cut into 128 equal
 * parts, so a bucket is never wider than 1/128 of its lower edge. What lies beyond the last bucket is counted in it.
 */
#include "remoting/base/stats.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PART_BITS 7
#define PARTS (1u << PART_BITS)

static unsigned bucket_of(uint64_t value)
{
    unsigned shift, bucket;

    if (value < PARTS) {
        return (unsigned)value;
    }
    shift = (unsigned)(63 - __builtin_clzll(value)) - PART_BITS;
    bucket = (shift << PART_BITS) + (unsigned)(value >> shift);
    return bucket < MQ_HISTOGRAM_BUCKETS ? bucket : MQ_HISTOGRAM_BUCKETS - 1;
}

/* The largest value that falls into @bucket. */
static uint64_t bucket_top(unsigned bucket)
{
    unsigned shift;

    if (bucket < 2 * PARTS) {
        return bucket;
    }
    shift = (bucket >> PART_BITS) - 1;
    return ((uint64_t)((bucket & (PARTS - 1)) + PARTS + 1) << shift) - 1;
}

void mq_histogram_init(struct mq_histogram *h)
{
    memset(h, 0, sizeof(*h));
}

void mq_histogram_add(struct mq_histogram *h, uint64_t value)
{
    h->counts[bucket_of(value)]++;
    h->total++;
    h->sum += value;
    if (value > h->max) {
        h->max = value;
    }
}

/* The rank, from 1, of the value asked for. */
static uint64_t rank_of(double quantile, uint64_t total)
{
    double exact = quantile * (double)total;
    uint64_t rank;

    if (!(exact >= 1)) {
        return 1;
    }
    if (exact >= (double)total) {
        return total;
    }
    rank = (uint64_t)exact;
    return (double)rank < exact ? rank + 1 : rank;
}

uint64_t mq_histogram_at(const struct mq_histogram *h, double quantile)
{
    uint64_t seen = 0;
    uint64_t rank;

    if (h->total == 0) {
        return 0;
    }
    rank = rank_of(quantile, h->total);
    /* The top edge, so that a latency is never shown better than it was. */
    for (unsigned i = 0; i < MQ_HISTOGRAM_BUCKETS - 1; i++) {
        seen += h->counts[i];
        if (seen >= rank) {
            uint64_t top = bucket_top(i);

            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}

#define STATUS_BYTES_MAX 65536

/* Finds "<name>:   <n> kB" at the beginning of a line of @text. */
static int status_field(const char *text, const char *name, uint64_t *bytes)
{
    size_t len = strlen(name);
    const char *line = text;

    while (line != NULL) {
        unsigned long long kib;

        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            if (sscanf(line + len + 1, "%llu", &kib) != 1) {
                return MQ_EBADMSG;
            }
            *bytes = (uint64_t)kib * 1024;
            return 0;
        }
        line = strchr(line, '\n');
    }
    return MQ_ENOTFOUND;
}

int mq_process_memory(int pid, uint64_t *anon_bytes, uint64_t *resident_bytes)
{
    struct mq_buf status = {0};
    uint64_t resident, of_files;
    char path[32];
    int rc;

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    rc = mq_file_read(path, STATUS_BYTES_MAX, &status);
    if (rc == 0) {
        rc = mq_buf_put_u8(&status, 0);
    }
    if (rc == 0 && (status_field((char *)status.base, "VmRSS", &resident) != 0 ||
                    status_field((char *)status.base, "RssFile", &of_files) != 0)) {
        rc = -ESRCH; /* a zombie or a kernel thread has no memory of its own */
    }
    mq_buf_free(&status);
    if (rc != 0) {
        return rc;
    }
    *anon_bytes = resident > of_files ? resident - of_files : 0;
    *resident_bytes = resident;
    return 0;
}
