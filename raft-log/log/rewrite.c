#include "raft-log/log/rewrite.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/scrub.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

#define PIECE_BYTES (256u << 10)

/* ---- spare ---- */

/* Whether the disk has what was written. */
static int compare(const struct commitlog_rewrite *rewrite)
{
    uint8_t *again = mq_malloc(PIECE_BYTES);
    int rc = again != NULL ? 0 : MQ_ENOMEM;

    for (uint64_t at = 0; rc == 0 && at < rewrite->n; at += PIECE_BYTES) {
        uint32_t n = rewrite->n - at < PIECE_BYTES ? (uint32_t)(rewrite->n - at) : PIECE_BYTES;
        bool same = scrub_reread(rewrite->segment, rewrite->from + at, n, again);

        if (rewrite->bytes != NULL) {
            same = same && memcmp(again, rewrite->bytes + at, n) == 0;
        } else {
            same = same && again[0] == 0 && memcmp(again, again + 1, n - 1) == 0;
        }
        rc = same ? 0 : MQ_ECORRUPT;
    }
    mq_free(again);
    return rc;
}

static bool is_sound(const struct commitlog_rewrite *rewrite)
{
    struct rlog_header header;

    for (uint64_t at = 0; at < rewrite->n; at += rlog_entry_bytes(header.payload_bytes)) {
        (void)rlog_header_decode(rewrite->bytes + at, RLOG_HEADER_BYTES, &header); /* it was checked */
        if (!rlog_entry_is_sound(&header, rewrite->bytes + at)) {
            return false;
        }
    }
    return true;
}

static void rewrite_work(struct spare_job *job)
{
    struct commitlog_rewrite *rewrite = container_of(job, struct commitlog_rewrite, job);
    const struct segment *segment = rewrite->segment;
    struct iovec vec = {(void *)rewrite->bytes, rewrite->n};
    int rc;

    if (rewrite->bytes != NULL && !RAFTMQ_DEFECT(SCRUB_WRITES_UNCHECKED) && !is_sound(rewrite)) {
        rewrite->status = MQ_ECORRUPT;
        return;
    }
    rc = rewrite->bytes != NULL ? rlog_disk_write_all(segment->disk, segment->fd, &vec, 1, rewrite->from)
                                : segment_zero(segment, segment->first_pos + rewrite->from,
                                               segment->first_pos + rewrite->from + rewrite->n);
    if (rc != 0) {
        rlog_disk_failed("pwritev", segment->name, rc);
    }
    rc = segment_sync(segment);
    if (rc < 0) {
        rlog_disk_failed("fdatasync", segment->name, rc);
    }
    rewrite->status = compare(rewrite);
}

/* ---- loop ---- */

static void rewrite_done(struct spare_job *job)
{
    struct commitlog_rewrite *rewrite = container_of(job, struct commitlog_rewrite, job);

    net_ref_release(&rewrite->segment->ref);
    if (rewrite->ref != NULL) {
        net_ref_release(rewrite->ref);
    }
    rewrite->cb(rewrite, rewrite->status);
}

static void start(struct commitlog_rewrite *rewrite, struct handover *h, uint64_t pos, commitlog_rewrite_cb cb)
{
    rewrite->segment = handover_segment_at(h, pos);
    rewrite->from = pos - rewrite->segment->first_pos;
    net_ref_acquire(&rewrite->segment->ref);
    rewrite->status = 0;
    rewrite->cb = cb;
    rewrite->job = (struct spare_job){NULL, rewrite_work, rewrite_done};
    handover_put_job(h, &rewrite->job);
}

/* Whether these are the entries from @first on that the index has, in one segment, and the last one's header has the
 * checksum @crc. Payloads are not looked at. */
static bool belong(const struct handover *h, const struct entry_index *index, uint64_t first, uint32_t crc,
                   const uint8_t *bytes, uint32_t n)
{
    uint64_t pos = entry_index_pos(index, first);
    uint64_t end = segment_end(handover_segment_at(h, pos));
    struct rlog_header header = {0};
    uint32_t prev_crc = 0, at = 0;

    for (uint64_t i = first; at < n; i++) {
        uint64_t next;
        uint32_t size;

        if (i > index->last_index || rlog_header_decode(bytes + at, n - at, &header) != 0) {
            return false;
        }
        size = rlog_entry_bytes(header.payload_bytes);
        next = i < index->last_index ? entry_index_pos(index, i + 1) : UINT64_MAX;
        if (size > n - at || header.index != i || header.pos != pos + at || header.pos != entry_index_pos(index, i) ||
            header.term != entry_index_term(index, i) || (i > first && header.prev_crc != prev_crc) ||
            (next < end ? header.pos + size != next : header.pos + size > end)) {
            return false;
        }
        prev_crc = header.crc;
        at += size;
    }
    return header.crc == crc;
}

int rewrite_start(struct commitlog_rewrite *rewrite, struct handover *h, const struct entry_index *index,
                  uint64_t first, uint32_t crc, const uint8_t *bytes, uint32_t n, struct net_ref *ref,
                  commitlog_rewrite_cb cb)
{
    if (n == 0 || (!belong(h, index, first, crc, bytes, n) && !RAFTMQ_DEFECT(SCRUB_WRITES_UNCHECKED))) {
        return MQ_ECORRUPT;
    }
    rewrite->bytes = bytes;
    rewrite->n = n;
    rewrite->ref = net_ref_acquire(ref);
    start(rewrite, h, entry_index_pos(index, first), cb);
    return 0;
}

int rewrite_rest(struct commitlog_rewrite *rewrite, struct handover *h, uint64_t pos, commitlog_rewrite_cb cb)
{
    uint64_t end = segment_end(handover_segment_at(h, pos));

    MQ_ASSERT(pos < end);
    rewrite->bytes = NULL;
    rewrite->ref = NULL;
    rewrite->n = end - pos;
    start(rewrite, h, pos, cb);
    return 0;
}
