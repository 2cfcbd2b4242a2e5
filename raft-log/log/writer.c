#include "raft-log/log/writer.h"

#include "remoting/base/clock.h"
#include "remoting/base/defect.h"

#include <limits.h>
#include <signal.h>

#define VEC_MAX (IOV_MAX < 1024 ? IOV_MAX : 1024)

int log_thread_start(pthread_t *out, const char *name, void *(*body)(void *), void *data)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(out, NULL, body, data);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        pthread_setname_np(*out, name);
    }
    return -rc;
}

/* Writes the entries from @first on that lie one behind the other in @segment. Returns the first that was not
 * written. */
static struct log_write *write_run(struct handover *h, const struct segment *segment, struct log_write *first,
                                   struct handover_stats *add)
{
    struct iovec vec[VEC_MAX];
    struct log_write *at = first;
    uint64_t end = first->pos;
    int n = 0, rc;

    while (at != NULL && n < VEC_MAX && at->pos == end && end < segment_end(segment)) {
        vec[n++] = (struct iovec){(void *)at->bytes, at->n};
        end += at->n;
        at = at->next;
    }
    handover_claim(h, first->pos, end);
    rc = rlog_disk_write_all(segment->disk, segment->fd, vec, n, first->pos - segment->first_pos);
    if (rc != 0) {
        rlog_disk_failed("pwritev", segment->name, rc);
    }
    add->entries += (uint64_t)n;
    add->bytes += end - first->pos;
    return at;
}

/* The last entry of those from @first up to @end, which is behind it. */
static uint64_t last_index(const struct log_write *first, const struct log_write *end)
{
    while (first->next != end) {
        first = first->next;
    }
    return first->index;
}

/* Writes and syncs the entries from @at on that lie in one segment. Returns the first of the next one. A segment is
 * synced before the next is written: what is on disk in a later segment has everything before it on disk too. A log
 * that is flushed late leaves the sync to the flusher, but for its first entry: a group is founded on disk. */
static struct log_write *write_segment(struct handover *h, struct log_write *at, struct handover_stats *add)
{
    const struct log_write *first = at;
    uint64_t written = add->bytes;
    struct segment *segment;
    uint64_t start_ns;
    int rc;

    rc = handover_need_segment(h, at->pos, &segment);
    if (rc != 0) {
        rlog_disk_failed("making a segment", h->dir, rc);
    }
    if (h->flush_ms != 0) {
        handover_wait_flushed(h, segment);
    }
    while (at != NULL && at->pos < segment_end(segment)) {
        at = write_run(h, segment, at, add);
    }
    if (h->flush_ms != 0 && first->index > 1) {
        handover_dirty(h, segment, add->bytes - written, last_index(first, at));
        return at;
    }
    start_ns = mq_clock_mono_ns();
    if (RAFTMQ_DEFECT(ACK_BEFORE_SYNC) || (RAFTMQ_DEFECT(SYNC_LAST_SEGMENT_ONLY) && at != NULL)) {
        return at;
    }
    rc = segment_sync(segment);
    if (rc < 0) {
        rlog_disk_failed("fdatasync", segment->name, rc);
    }
    add->sync_ns += mq_clock_mono_ns() - start_ns;
    add->syncs++;
    return at;
}

static void *writer_body(void *data)
{
    struct handover *h = data;
    struct write_list list = {0};

    while (handover_take(h, &list)) {
        struct handover_stats add = {0};
        struct log_write *at = list.first;

        while (at != NULL) {
            at = write_segment(h, at, &add);
        }
        handover_give_done(h, &list, &add);
    }
    return NULL;
}

int writer_start(struct handover *h, pthread_t *out)
{
    return log_thread_start(out, "log-writer", writer_body, h);
}
