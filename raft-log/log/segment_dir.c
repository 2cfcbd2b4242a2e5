#include "raft-log/log/segment_dir.h"

#include "raft-log/log/index_file.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>
#include <stdlib.h>

struct listing {
    struct mq_buf positions; /* uint64_t each */
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

/* Free with free_listing in any case. */
static int list_dir(const struct handover *h, const char *log_dir, struct listing *out)
{
    int rc = h->disk->list(h->disk, log_dir, on_name, out);

    if (rc == 0) {
        rc = out->rc;
    }
    if (rc == 0 && out->positions.len != 0) {
        qsort(out->positions.base, out->positions.len / sizeof(uint64_t), sizeof(uint64_t), by_position);
    }
    return rc;
}

static void free_listing(struct listing *listing)
{
    mq_buf_free(&listing->positions);
    mq_buf_free(&listing->leftovers);
}

static uint64_t position_at(const struct listing *listing, size_t k)
{
    uint64_t pos;

    memcpy(&pos, listing->positions.base + k * sizeof(pos), sizeof(pos));
    return pos;
}

static size_t count_of(const struct listing *listing)
{
    return listing->positions.len / sizeof(uint64_t);
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

/* How many segments begin below @end. */
static size_t count_below(const struct listing *listing, uint64_t end)
{
    size_t k = 0;

    while (k < count_of(listing) && position_at(listing, k) < end) {
        k++;
    }
    return k;
}

/* Removes the first @n segments. */
static int remove_first(const struct handover *h, const char *log_dir, const struct listing *listing, size_t n)
{
    const struct rlog_disk *disk = h->disk;

    for (size_t k = 0; k < n; k++) {
        struct mq_buf path = {0};
        int rc;

        index_file_remove(disk, h->dir, position_at(listing, k));
        rc = mq_buf_printf(&path, "%s/%0*" PRIu64, log_dir, SEGMENT_DIGITS, position_at(listing, k));

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

static int open_one(struct handover *h, uint64_t pos, struct mq_buf *problem)
{
    struct segment *segment;
    int rc = segment_open(h->disk, h->dir, pos, h->segment_bytes, &segment, problem);

    if (rc != 0) {
        return rc;
    }
    rc = handover_add_segment(h, segment);
    if (rc != 0) {
        net_ref_release(&segment->ref);
        mq_buf_printf(problem, "%s: more than %u segments", h->dir, HANDOVER_SEGMENTS_MAX);
    }
    return rc;
}

static int open_all(struct handover *h, const struct listing *listing, size_t k, uint64_t next,
                    struct mq_buf *problem)
{
    size_t n = count_of(listing);

    for (; k < n && position_at(listing, k) == next; k++, next += h->segment_bytes) {
        int rc = open_one(h, next, problem);

        if (rc != 0) {
            return rc;
        }
    }
    if (k < n && position_at(listing, k) % h->segment_bytes != 0) {
        mq_buf_printf(problem,
                      "%s/" SEGMENT_DIR "/%0*" PRIu64 ": not the start of a segment of %" PRIu64
                      " bytes, which is what this node is set to",
                      h->dir, SEGMENT_DIGITS, position_at(listing, k), h->segment_bytes);
        return MQ_EVERSION;
    }
    if (k < n || handover_count(h) == 0) {
        mq_buf_printf(problem, "%s/" SEGMENT_DIR "/%0*" PRIu64 ": this segment is missing%s", h->dir, SEGMENT_DIGITS,
                      next, k < n ? ", but a later one is there" : "");
        return MQ_ECORRUPT;
    }
    return 0;
}

/* Opens the segments behind the first @below. @start: as for segment_dir_open. */
static int open_from(struct handover *h, const struct listing *listing, size_t below, uint64_t start,
                     struct mq_buf *problem)
{
    uint64_t first = start - start % h->segment_bytes;
    uint64_t second = first + h->segment_bytes;
    bool dropped = start != 0 && below < count_of(listing) && position_at(listing, below) == second;

    handover_begin(h, dropped ? second : first);
    return open_all(h, listing, below, dropped ? second : first, problem);
}

static int make_first(struct handover *h, struct mq_buf *problem)
{
    struct segment *segment;
    int rc;

    handover_begin(h, 0);
    rc = handover_need_segment(h, 0, &segment);
    if (rc != 0) {
        mq_buf_printf(problem, "%s: the first segment of %" PRIu64 " bytes cannot be made: %s", h->dir,
                      h->segment_bytes, mq_strerror(rc));
    }
    return rc;
}

static int open_listed(struct handover *h, const char *log_dir, const struct listing *listing, uint64_t start,
                       struct mq_buf *problem)
{
    size_t below = count_below(listing, start - start % h->segment_bytes);
    int rc;

    if (start == 0 && count_of(listing) == 0) {
        return make_first(h, problem);
    }
    rc = open_from(h, listing, below, start, problem);
    if (rc == 0) { /* only now: a wrong segment size is found before anything is removed */
        rc = remove_first(h, log_dir, listing, below);
        if (rc != 0) {
            mq_buf_printf(problem, "%s: %s", log_dir, mq_strerror(rc));
        }
    }
    return rc;
}

int segment_dir_open(struct handover *h, uint64_t start, struct mq_buf *problem)
{
    struct mq_buf log_dir = {0};
    struct listing listing = {0};
    int rc;

    rc = mq_buf_printf(&log_dir, "%s/" SEGMENT_DIR, h->dir);
    if (rc == 0) {
        rc = h->disk->make_dir(h->disk, (const char *)log_dir.base);
    }
    if (rc == 0) {
        rc = list_dir(h, (const char *)log_dir.base, &listing);
    }
    if (rc == 0) {
        rc = remove_leftovers(h->disk, (const char *)log_dir.base, &listing.leftovers);
    }
    if (rc == 0) {
        /* A name whose sync failed, which ended the process, is seen here and may not be on the disk. */
        rc = h->disk->sync_dir(h->disk, (const char *)log_dir.base);
    }
    if (rc < 0) {
        mq_buf_printf(problem, "%s/" SEGMENT_DIR ": %s", h->dir, mq_strerror(rc));
    } else {
        rc = open_listed(h, (const char *)log_dir.base, &listing, start, problem);
    }
    free_listing(&listing);
    mq_buf_free(&log_dir);
    return rc;
}

int segment_dir_clear(const struct handover *h)
{
    struct mq_buf log_dir = {0};
    struct listing listing = {0};
    int rc;

    MQ_ASSERT(handover_count(h) == 0);
    rc = mq_buf_printf(&log_dir, "%s/" SEGMENT_DIR, h->dir);
    if (rc == 0) {
        rc = h->disk->make_dir(h->disk, (const char *)log_dir.base);
    }
    if (rc == 0) {
        rc = list_dir(h, (const char *)log_dir.base, &listing);
    }
    if (rc == 0) {
        rc = remove_first(h, (const char *)log_dir.base, &listing, count_of(&listing));
    }
    if (rc == 0) {
        rc = h->disk->sync_dir(h->disk, (const char *)log_dir.base);
    }
    free_listing(&listing);
    mq_buf_free(&log_dir);
    return rc < 0 ? rc : 0;
}
