#include "raft-log/log/segment_dir.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>
#include <stdlib.h>

struct listing {
    struct mq_buf positions; /* uint64_t each, unsorted */
    struct mq_buf leftovers; /* names with a NUL behind each */
    int rc;
};

static void on_name(void *data, const char *name)
{
    struct listing *listing = data;
    size_t len = strlen(name);
    size_t suffix = strlen(SEGMENT_NEW_SUFFIX);
    uint64_t pos;
    int rc = 0;

    if (segment_name_parse(name, &pos) == 0) {
        rc = mq_buf_put(&listing->positions, &pos, sizeof(pos));
    } else if (len > suffix && strcmp(name + len - suffix, SEGMENT_NEW_SUFFIX) == 0) {
        rc = mq_buf_put(&listing->leftovers, name, len + 1);
    }
    if (rc != 0) {
        listing->rc = rc;
    }
}

static int by_position(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static int remove_leftovers(const struct rlog_disk *disk, const char *log_dir, const struct mq_buf *names)
{
    for (size_t at = 0; at < names->len; at += strlen((const char *)names->base + at) + 1) {
        struct mq_buf path = {0};
        int rc = mq_buf_printf(&path, "%s/%s", log_dir, (const char *)names->base + at);

        if (rc == 0) {
            rc = disk->unlink(disk, (const char *)path.base);
        }
        mq_buf_free(&path);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int open_all(struct handover *h, const struct mq_buf *positions, struct mq_buf *problem)
{
    size_t n = positions->len / sizeof(uint64_t);

    qsort(positions->base, n, sizeof(uint64_t), by_position);
    for (size_t k = 0; k < n; k++) {
        struct segment *segment;
        uint64_t pos;
        int rc;

        memcpy(&pos, positions->base + k * sizeof(pos), sizeof(pos));
        if (pos % h->segment_bytes != 0) {
            mq_buf_printf(problem,
                          "%s/" SEGMENT_DIR "/%0*" PRIu64 ": not the start of a segment of %" PRIu64
                          " bytes, which is what this node is set to",
                          h->dir, SEGMENT_DIGITS, pos, h->segment_bytes);
            return MQ_EVERSION;
        }
        if (pos != k * h->segment_bytes) {
            mq_buf_printf(problem,
                          "%s/" SEGMENT_DIR "/%0*" PRIu64 ": this segment is missing, but a later one is there",
                          h->dir, SEGMENT_DIGITS, k * h->segment_bytes);
            return MQ_ECORRUPT;
        }
        rc = segment_open(h->disk, h->dir, pos, h->segment_bytes, &segment, problem);
        if (rc != 0) {
            return rc;
        }
        rc = handover_add_segment(h, segment);
        if (rc != 0) {
            net_ref_release(&segment->ref);
            mq_buf_printf(problem, "%s: more than %u segments", h->dir, HANDOVER_SEGMENTS_MAX);
            return rc;
        }
    }
    return 0;
}

static int make_first(struct handover *h, struct mq_buf *problem)
{
    struct segment *segment;
    int rc = handover_need_segment(h, 0, &segment);

    if (rc != 0) {
        mq_buf_printf(problem, "%s: the first segment of %" PRIu64 " bytes cannot be made: %s", h->dir,
                      h->segment_bytes, mq_strerror(rc));
    }
    return rc;
}

int segment_dir_open(struct handover *h, struct mq_buf *problem)
{
    struct mq_buf log_dir = {0};
    struct listing listing = {0};
    int rc;

    rc = mq_buf_printf(&log_dir, "%s/" SEGMENT_DIR, h->dir);
    if (rc == 0) {
        rc = h->disk->make_dir(h->disk, (const char *)log_dir.base);
    }
    if (rc == 0) {
        rc = h->disk->list(h->disk, (const char *)log_dir.base, on_name, &listing);
    }
    if (rc == 0) {
        rc = listing.rc;
    }
    if (rc == 0) {
        rc = remove_leftovers(h->disk, (const char *)log_dir.base, &listing.leftovers);
    }
    if (rc != 0) {
        mq_buf_printf(problem, "%s/" SEGMENT_DIR ": %s", h->dir, mq_strerror(rc));
    } else {
        rc = listing.positions.len != 0 ? open_all(h, &listing.positions, problem) : make_first(h, problem);
    }
    mq_buf_free(&listing.positions);
    mq_buf_free(&listing.leftovers);
    mq_buf_free(&log_dir);
    return rc;
}
