#include "raft-log/log/put.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/front.h"
#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

#define SEGMENTS_SLACK 64u /* of the row: what the writer may add while a put runs */

/* ---- the spare's side ---- */

/* One entry of the piece; the header's checksum was checked before. */
struct piece {
    const uint8_t *at;
    uint32_t n;
    uint64_t pos, term;
    bool change;
};

static struct piece piece_at(const uint8_t *at)
{
    return (struct piece){.at = at,
                          .n = rlog_entry_bytes(rlog_le32_load(at + 12)),
                          .pos = rlog_le64_load(at + 32),
                          .term = rlog_le64_load(at + 24),
                          .change = at[10] == RLOG_CHANGE};
}

/* Whether the entries follow what is said to lie before them and each other, end at the base, and are sound. */
static int check_entries(const struct commitlog_put *put)
{
    struct rlog_base so_far = put->before.base;
    uint64_t segment_bytes = put->front->h->segment_bytes;
    uint32_t at = 0, changes = 0;
    uint64_t i = 0;

    while (at < put->n) {
        struct rlog_header h;
        uint32_t bytes;

        if (rlog_header_decode(put->bytes + at, put->n - at, &h) != 0) {
            return MQ_ECORRUPT;
        }
        bytes = rlog_entry_bytes(h.payload_bytes);
        if (h.index > put->end.index || bytes > put->n - at || bytes > segment_bytes || h.index != so_far.index + 1 ||
            h.term < so_far.term || h.prev_crc != so_far.crc || h.store_ms < so_far.store_ms ||
            h.pos != segment_place(segment_bytes, so_far.end_pos, bytes) ||
            !rlog_entry_is_sound(&h, put->bytes + at)) {
            return MQ_ECORRUPT;
        }
        put->offsets[i++] = at;
        changes += h.type == RLOG_CHANGE;
        so_far = (struct rlog_base){
            .index = h.index, .term = h.term, .crc = h.crc, .end_pos = h.pos + bytes, .store_ms = h.store_ms};
        at += bytes;
    }
    if (so_far.index != put->end.index || so_far.crc != put->end.crc || so_far.term != put->end.term ||
        so_far.end_pos != put->end.end_pos) {
        return MQ_ECORRUPT;
    }
    return changes > ENTRY_INDEX_PREPEND_CHANGES_MAX ? MQ_ETOOBIG : 0;
}

void put_forget(struct front *front)
{
    front->unsettled.segment = NULL;
    front->unsettled.bytes = 0;
}

static void sync_unsettled(struct front *front)
{
    int rc = segment_sync(front->unsettled.segment);

    if (rc < 0) {
        rlog_disk_failed("fdatasync", front->unsettled.segment->name, rc);
    }
}

void put_settle(struct front *front)
{
    if (front->unsettled.segment != NULL) {
        sync_unsettled(front);
        front_store(front, &front->unsettled.base.base, false);
        put_forget(front);
    }
}

/* The segment that holds @pos: of the log, or made by this put. */
static int segment_for(struct commitlog_put *put, uint64_t pos, struct segment **out)
{
    struct handover *h = put->front->h;
    uint64_t first_pos = pos - pos % h->segment_bytes;
    int rc;

    *out = handover_segment_at(h, pos);
    if (*out == NULL && put->made != NULL && put->made->first_pos == first_pos) {
        *out = put->made;
    }
    if (*out != NULL) {
        return 0;
    }
    if (pos / h->segment_bytes < put->room) {
        return MQ_ENOMEM;
    }
    rc = handover_make(h, first_pos, handover_take_old(h, first_pos), out);
    if (rc == 0) {
        segment_push(&put->made, *out);
    }
    return rc;
}

/* Writes @n bytes of entries that lie one behind the other at @pos. */
static int write_run(struct commitlog_put *put, const uint8_t *at, uint32_t n, uint64_t pos)
{
    struct put_unsettled *unsettled = &put->front->unsettled;
    struct iovec vec = {(void *)at, n};
    struct segment *segment;
    int rc;

    if (unsettled->segment != NULL && unsettled->segment->first_pos != pos - pos % put->front->h->segment_bytes) {
        sync_unsettled(put->front);
        unsettled->segment = NULL; /* should there be no other segment now, nothing is left behind unsynced */
    }
    rc = segment_for(put, pos, &segment);
    if (rc != 0) {
        return rc;
    }
    rc = rlog_disk_write_all(segment->disk, segment->fd, &vec, 1, pos - segment->first_pos);
    if (rc != 0) {
        rlog_disk_failed("pwritev", segment->name, rc);
    }
    unsettled->segment = segment;
    unsettled->bytes += n;
    return 0;
}

/* Writes the entries, each stretch without a gap at once. @crossed: they lie in more than one segment. */
static int write_entries(struct commitlog_put *put, bool *crossed)
{
    uint32_t from = 0, at = 0;
    uint64_t from_pos = piece_at(put->bytes).pos;
    int rc = 0;

    *crossed = false;
    while (rc == 0 && at < put->n) {
        struct piece p = piece_at(put->bytes + at);

        if (p.pos != from_pos + (at - from) || p.pos % put->front->h->segment_bytes == 0) {
            rc = at != from ? write_run(put, put->bytes + from, at - from, from_pos) : 0;
            *crossed = *crossed || at != 0;
            from = at;
            from_pos = p.pos;
        }
        at += p.n;
    }
    return rc != 0 ? rc : write_run(put, put->bytes + from, put->n - from, from_pos);
}

static void put_work(struct spare_job *job)
{
    struct commitlog_put *put = container_of(job, struct commitlog_put, job);
    struct front *front = put->front;
    bool crossed;

    put->status = check_entries(put);
    if (put->status != 0) {
        return;
    }
    put->status = write_entries(put, &crossed);
    if (put->status != 0) {
        MQ_ASSERT(front->unsettled.segment == NULL); /* the durable base stays where it is */
        return;
    }
    base_keep(&front->unsettled.base, &put->before.base);
    if (crossed || front->unsettled.bytes >= PUT_SETTLE_BYTES || put->before.base.index == 0) {
        put_settle(front);
    }
}

static void settle_work(struct spare_job *job)
{
    put_settle(container_of(job, struct commitlog_settle, job)->front);
}

static void settle_done(struct spare_job *job)
{
    struct commitlog_settle *settle = container_of(job, struct commitlog_settle, job);

    settle->cb(settle);
}

/* ---- the loop's side ---- */

void put_settle_start(struct front *front, struct commitlog_settle *settle,
                      void (*cb)(struct commitlog_settle *settle))
{
    *settle = (struct commitlog_settle){.cb = cb, .job = {NULL, settle_work, settle_done}, .front = front};
    handover_put_job(front->h, &settle->job);
}

/* The entries are on their way to the disk: the log has them. */
static void take_in(struct commitlog_put *put)
{
    struct front *front = put->front;

    while (put->made != NULL) {
        handover_add_front(front->h, segment_pop(&put->made));
    }
    for (uint64_t i = put->end.index - put->before.base.index; i-- != 0;) {
        struct piece p = piece_at(put->bytes + put->offsets[i]);

        entry_index_prepend(front->index, p.pos, p.term, p.change);
    }
    base_keep(&front->base, &put->before.base);
}

/* Nothing of it counts: what was made for it goes. */
static void give_up(struct commitlog_put *put)
{
    bool reset = put->resets != put->front->resets; /* then the files are gone */

    while (put->made != NULL) {
        struct segment *segment = segment_pop(&put->made);

        if (reset) {
            net_ref_release(&segment->ref);
        } else {
            handover_give_old(put->front->h, segment);
        }
    }
}

static void put_done(struct spare_job *job)
{
    struct commitlog_put *put = container_of(job, struct commitlog_put, job);
    struct front *front = put->front;

    if (put->status == 0 && put->serial != front->serial) {
        put->status = MQ_ENOTFOUND;
    }
    if (put->status == 0) {
        take_in(put);
    } else {
        give_up(put);
    }
    entry_index_promise_end(front->index);
    front->put = NULL;
    mq_free(put->offsets);
    net_ref_release(put->ref);
    put->cb(put, front->closing ? MQ_ECLOSED : put->status);
}

/* Whether @before can lie before entries that end at the base. */
static bool is_before(const struct rlog_base *before, const struct rlog_base *base)
{
    return before->index < base->index && before->term <= base->term && before->end_pos < base->end_pos &&
           before->store_ms <= base->store_ms && before->change_bytes <= RLOG_BASE_CHANGE_MAX;
}

/* Whether a segment that was dropped, but is still looked at, has a name that the entries need. */
static bool has_dropped(const struct front *front)
{
    for (const struct segment *at = front->dropped; at != NULL; at = at->next) {
        if (at->first_pos < handover_start(front->h)) {
            return true;
        }
    }
    return false;
}

/* Where no membership is given, the one that we know holds: its entry is among those that are held. */
static void keep_before(struct commitlog_put *put, const struct rlog_base *before, const struct rlog_base *base)
{
    struct rlog_base with = *before;

    if (with.change_bytes == 0) {
        with.change_index = base->change_index;
        with.change = base->change;
        with.change_bytes = base->change_bytes;
    }
    base_keep(&put->before, &with);
}

int put_start(struct front *front, struct commitlog_put *put, const uint8_t *bytes, uint32_t n, struct net_ref *ref,
              const struct rlog_base *before, commitlog_put_cb cb)
{
    const struct rlog_base *base = &front->base.base;
    uint64_t count = base->index - before->index;
    int rc;

    if (front->closing) {
        return MQ_ECLOSED;
    }
    if (front->put != NULL || has_dropped(front)) {
        return MQ_EBUSY;
    }
    if (!is_before(before, base) || n / RLOG_HEADER_BYTES < count) {
        return MQ_ECORRUPT;
    }
    put->offsets = mq_malloc(count * sizeof(put->offsets[0]));
    if (put->offsets == NULL) {
        return MQ_ENOMEM;
    }
    rc = entry_index_promise(front->index, count, base->end_pos - before->end_pos);
    if (rc != 0) {
        mq_free(put->offsets);
        return rc;
    }
    put->cb = cb;
    put->job = (struct spare_job){NULL, put_work, put_done};
    put->front = front;
    put->serial = front->serial;
    put->resets = front->resets;
    put->bytes = bytes;
    put->n = n;
    put->ref = net_ref_acquire(ref);
    put->end = *base;
    keep_before(put, before, base);
    put->made = NULL;
    put->room = handover_lowest(front->h);
    put->room += put->room != 0 ? SEGMENTS_SLACK : 0;
    put->status = 0;
    front->put = put;
    handover_put_job(front->h, &put->job);
    return 0;
}
