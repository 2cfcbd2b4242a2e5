#include "raft-log/log/startup.h"

#include "raft-log/log/cut.h"
#include "raft-log/log/segment_dir.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <sys/mman.h>

/* More than what is appended but not yet synced at any time: the bound on what is in flight and one entry. */
#define UNSETTLED_BYTES_MAX (80u << 20)

static int cut_torn_tail(struct handover *h, const struct recovered *found, struct mq_buf *problem)
{
    uint64_t bytes = found->torn_end - found->end_pos;
    int rc;

    if (bytes == 0) {
        return 0;
    }
    rc = cut_zero(h, found->end_pos, found->torn_end);
    if (rc != 0) {
        mq_buf_printf(problem, "%s: cutting the torn tail at position %" PRIu64 ": %s",
                      handover_segment_at(h, found->end_pos)->name, found->end_pos, mq_strerror(rc));
        return rc;
    }
    mq_log_warn("log", "cut a torn tail of %" PRIu64 " bytes at position %" PRIu64 ", after entry %" PRIu64, bytes,
                found->end_pos, found->last_index);
    return 0;
}

/* The walk has touched every page. They stay in the page cache; only our mappings of them, which count as
 * memory of this process, go. */
static void unmap_pages(struct handover *h)
{
    for (size_t k = 0; k < h->n_segments; k++) {
        const struct segment *segment = h->segments[k];

        segment_advise(segment, segment->first_pos, segment_end(segment), MADV_DONTNEED);
        segment_advise(segment, segment->first_pos, segment_end(segment), MADV_NORMAL);
    }
}

/* What was read may never have reached the disk: a killed process leaves written pages behind that nobody synced, and
 * a sync that failed leaves pages that look clean. Both can only be at the end of the last segment with entries,
 * because the writer syncs a segment before it writes the next. So that end is synced and read once more, from the
 * disk. Returns 0, MQ_EAGAIN (the disk has something else: walk again) or -errno. */
static int settle(struct handover *h, const struct entry_index *index, const struct recovered *found)
{
    struct segment *segment;
    uint64_t from;
    int rc;

    if (found->end_pos == 0) {
        return 0; /* nothing claims to be durable */
    }
    segment = handover_segment_at(h, found->end_pos - 1);
    rc = segment_sync(segment);
    if (rc < 0) {
        return rc;
    }
    from = found->end_pos - segment->first_pos > UNSETTLED_BYTES_MAX ? found->end_pos - UNSETTLED_BYTES_MAX
                                                                     : segment->first_pos;
    segment->disk->forget(segment->disk, segment->fd, from - segment->first_pos, found->end_pos - from);
    segment_advise(segment, from, found->end_pos, MADV_WILLNEED);
    return recover_check_again(h->segments, index, found, from) ? 0 : MQ_EAGAIN;
}

/* Walks the log and settles its end. */
static int walk_and_settle(struct handover *h, struct entry_index *index, struct recovered *found,
                           struct mq_buf *problem)
{
    int rc;

    rc = recover_log(h->segments, h->n_segments, index, found, problem);
    if (rc != 0) {
        return rc;
    }
    unmap_pages(h); /* a mapped page cannot be forgotten */
    rc = settle(h, index, found);
    if (rc != MQ_EAGAIN) {
        return rc;
    }
    mq_log_warn("log", "%s: the end of the log was in memory but not on the disk: an earlier sync failed", h->dir);
    entry_index_fini(index);
    return recover_log(h->segments, h->n_segments, index, found, problem);
}

int startup(struct handover *h, struct entry_index *index, struct recovered *found, struct mq_buf *problem)
{
    int rc;

    rc = segment_dir_open(h, problem);
    if (rc == 0) {
        rc = cut_finish(h, problem);
    }
    if (rc == 0) {
        rc = walk_and_settle(h, index, found, problem);
    }
    if (rc == 0) {
        rc = cut_torn_tail(h, found, problem);
    }
    if (rc == 0) {
        unmap_pages(h);
        handover_set_tail(h, found->end_pos);
    }
    return rc;
}
