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

/* What is used of an entry whose header's checksum was checked before. */
struct brief {
    uint32_t n;
    uint64_t pos, term;
    bool change;
};

static struct brief brief_of(const uint8_t *at)
{
    return (struct brief){.n = rlog_entry_bytes(rlog_le32_load(at + 12)),
                          .pos = rlog_le64_load(at + 32),
                          .term = rlog_le64_load(at + 24),
                          .change = at[10] == RLOG_CHANGE};
}

/* What is known of the entries that were checked so far. */
struct checked {
    struct rlog_base last;
    uint64_t n;
    uint32_t changes;
};

/* Whether the entries of a piece follow those that were checked, and each other, and are sound. */
static int check_piece(const struct commitlog_put *put, const struct put_piece *piece, struct checked *so_far)
{
    uint64_t segment_bytes = put->front->h->segment_bytes;
    const struct rlog_base *last = &so_far->last;
    struct rlog_header h;
    uint32_t bytes;

    for (uint32_t at = 0; at < piece->n; at += bytes) {
        if (rlog_header_decode(piece->bytes + at, piece->n - at, &h) != 0) {
            return MQ_ECORRUPT;
        }
        bytes = rlog_entry_bytes(h.payload_bytes);
        if (h.index > put->end.index || bytes > piece->n - at || bytes > segment_bytes ||
            h.index != last->index + 1 || h.term < last->term || h.prev_crc != last->crc ||
            h.store_ms < last->store_ms || h.pos != segment_place(segment_bytes, last->end_pos, bytes) ||
            !rlog_entry_is_sound(&h, piece->bytes + at)) {
            return MQ_ECORRUPT;
        }
        put->entries[so_far->n++] = piece->bytes + at;
        so_far->changes += h.type == RLOG_CHANGE;
        so_far->last = (struct rlog_base){
            .index = h.index, .term = h.term, .crc = h.crc, .end_pos = h.pos + bytes, .store_ms = h.store_ms};
    }
    return 0;
}

/* Whether what was checked ends at the base. */
static int check_end(const struct commitlog_put *put, const struct checked *checked)
{
    const struct rlog_base *last = &checked->last;

    if (last->index != put->end.index || last->crc != put->end.crc || last->term != put->end.term ||
        last->end_pos != put->end.end_pos) {
        return MQ_ECORRUPT;
    }
    return checked->changes > ENTRY_INDEX_PREPEND_CHANGES_MAX ? MQ_ETOOBIG : 0;
}

void put_forget(struct front *front)
{
    put_stage_forget(&front->unsettled.stage);
    front->unsettled.bytes = 0;
    front->unsettled.has_base = false;
}

void put_settle(struct front *front)
{
    if (front->unsettled.has_base) {
        if (front->unsettled.stage.segment != NULL) {
            put_stage_sync(&front->unsettled.stage);
        }
        front_store(front, &front->unsettled.base.base, false);
        put_forget(front);
    }
}

/* The segment that holds @pos: of the log, or made by this put. MQ_ENOTFOUND: it was the log's when the put began,
 * and has been trimmed. No file of its name is made, since that one's may still be there. */
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
    if (pos >= put->row_pos) {
        return MQ_ENOTFOUND;
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

/* Writes what the stage has gathered. */
static int write_gathered(struct commitlog_put *put)
{
    struct put_unsettled *unsettled = &put->front->unsettled;
    struct put_stage *stage = &unsettled->stage;
    struct segment *segment;
    int rc;

    if (stage->n == 0) {
        return 0;
    }
    if (stage->segment != NULL &&
        (stage->pos < stage->segment->first_pos || stage->pos >= segment_end(stage->segment))) {
        put_stage_sync(stage); /* should there be no other segment now, nothing is left behind unsynced */
    }
    rc = segment_for(put, stage->pos, &segment);
    if (rc == 0) {
        unsettled->bytes += stage->n;
        put_stage_write(stage, put->front->h->dir, segment);
    }
    return rc;
}

static int write_entry(struct commitlog_put *put, const uint8_t *at, struct brief entry)
{
    struct put_stage *stage = &put->front->unsettled.stage;
    bool follows = entry.pos == stage->pos + stage->n && entry.pos % put->front->h->segment_bytes != 0;
    int rc = follows ? 0 : write_gathered(put);

    for (uint32_t done = 0; rc == 0 && done < entry.n;) {
        uint32_t n = put_stage_add(stage, entry.pos + done, at + done, entry.n - done);

        done += n;
        rc = n == 0 ? write_gathered(put) : 0;
    }
    return rc;
}

/* A segment that is no part of the log goes. */
static void give_up_written(struct commitlog_put *put)
{
    struct put_stage *stage = &put->front->unsettled.stage;

    stage->n = 0;
    put_stage_await(stage);
    if (stage->segment != NULL && handover_segment_at(put->front->h, stage->segment->first_pos) != stage->segment) {
        put_stage_forget(stage);
    }
}

/* Checks and writes piece by piece, oldest first: while one is on its way to the disk the next is checked. Should
 * that fail, what was written lies below the beginning of the log, where nobody looks. */
static int put_entries(struct commitlog_put *put)
{
    struct checked checked = {.last = put->before.base};
    int rc = put_stage_open(&put->front->unsettled.stage);

    for (uint32_t k = put->n_pieces; k-- != 0 && rc == 0;) {
        uint64_t i = checked.n;

        rc = check_piece(put, &put->pieces[k], &checked);
        for (; i < checked.n && rc == 0; i++) {
            rc = write_entry(put, put->entries[i], brief_of(put->entries[i]));
        }
    }
    if (rc == 0) {
        rc = check_end(put, &checked);
    }
    if (rc == 0) {
        rc = write_gathered(put);
    }
    if (rc != 0) {
        give_up_written(put);
    }
    return rc;
}

static bool is_in_two_segments(const struct commitlog_put *put)
{
    uint64_t segment_bytes = put->front->h->segment_bytes;
    uint64_t n = put->end.index - put->before.base.index;

    return brief_of(put->entries[0]).pos / segment_bytes != brief_of(put->entries[n - 1]).pos / segment_bytes;
}

static void put_work(struct spare_job *job)
{
    struct commitlog_put *put = container_of(job, struct commitlog_put, job);
    struct front *front = put->front;

    put->status = put_entries(put);
    if (put->status != 0) {
        return; /* the durable base stays where it is */
    }
    put_stage_await(&front->unsettled.stage);
    base_keep(&front->unsettled.base, &put->before.base);
    front->unsettled.has_base = true;
    if (is_in_two_segments(put) || front->unsettled.bytes >= PUT_SETTLE_BYTES || put->before.base.index == 0) {
        put_settle(front);
    }
}

static void settle_work(struct spare_job *job)
{
    struct front *front = container_of(job, struct commitlog_settle, job)->front;

    put_settle(front);
    put_stage_fini(&front->unsettled.stage); /* more may come, but not at once */
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
        struct brief entry = brief_of(put->entries[i]);

        entry_index_prepend(front->index, entry.pos, entry.term, entry.change);
    }
    base_keep(&front->base, &put->before.base);
}

/* Nothing of it counts: what was made for it goes. Where a trim made it void, the durable base may lie there until
 * that trim's own is durable. */
static void give_up(struct commitlog_put *put)
{
    bool reset = put->resets != put->front->resets; /* then the files are gone */

    while (put->made != NULL) {
        struct segment *segment = segment_pop(&put->made);

        if (reset) {
            net_ref_release(&segment->ref);
        } else {
            segment_push(&put->front->dropped, segment);
        }
    }
    front_sweep(put->front);
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
    mq_free(put->entries);
    for (uint32_t k = 0; k < put->n_pieces; k++) {
        net_ref_release(put->pieces[k].ref);
    }
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

static void keep_pieces(struct commitlog_put *put, const struct put_piece *pieces, uint32_t n_pieces)
{
    put->n_pieces = n_pieces;
    for (uint32_t k = 0; k < n_pieces; k++) {
        put->pieces[k] = pieces[k];
        net_ref_acquire(pieces[k].ref);
    }
}

/* Memory for what the put must not fail for later. */
static int reserve(struct front *front, struct commitlog_put *put, uint64_t count, uint64_t bytes)
{
    int rc;

    put->entries = mq_malloc(count * sizeof(put->entries[0]));
    if (put->entries == NULL) {
        return MQ_ENOMEM;
    }
    rc = entry_index_promise(front->index, count, bytes);
    if (rc != 0) {
        mq_free(put->entries);
    }
    return rc;
}

int put_start(struct front *front, struct commitlog_put *put, const struct put_piece *pieces, uint32_t n_pieces,
              const struct rlog_base *before, commitlog_put_cb cb)
{
    const struct rlog_base *base = &front->base.base;
    uint64_t count = base->index - before->index, n = 0;
    int rc;

    if (front->closing) {
        return MQ_ECLOSED;
    }
    if (front->put != NULL || has_dropped(front)) {
        return MQ_EBUSY;
    }
    for (uint32_t k = 0; k < n_pieces; k++) {
        n += pieces[k].n;
    }
    if (n_pieces > PUT_PIECES_MAX || !is_before(before, base) || n / RLOG_HEADER_BYTES < count) {
        return MQ_ECORRUPT;
    }
    rc = reserve(front, put, count, base->end_pos - before->end_pos);
    if (rc != 0) {
        return rc;
    }
    put->cb = cb;
    put->job = (struct spare_job){NULL, put_work, put_done};
    put->front = front;
    put->serial = front->serial;
    put->resets = front->resets;
    keep_pieces(put, pieces, n_pieces);
    put->end = *base;
    keep_before(put, before, base);
    put->made = NULL;
    put->row_pos = handover_start(front->h);
    put->room = handover_lowest(front->h);
    put->room += put->room != 0 ? SEGMENTS_SLACK : 0;
    put->status = 0;
    front->put = put;
    handover_put_job(front->h, &put->job);
    return 0;
}
