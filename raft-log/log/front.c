#include "raft-log/log/front.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/put.h"
#include "raft-log/log/segment_dir.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

struct trim_job {
    struct spare_job job;
    struct front *front;
    struct base_kept base;
};

static void release_all(struct segment **list)
{
    while (*list != NULL) {
        net_ref_release(&segment_pop(list)->ref);
    }
}

void front_store(struct front *front, const struct rlog_base *base, bool reset)
{
    int rc = base_file_store(&front->file, base, reset);

    if (rc != 0) {
        rlog_disk_failed("storing the beginning of the log", front->file.dir, rc);
    }
}

/* ---- open and close ---- */

/* Makes an empty first segment where @end_pos lies. */
static int make_at(struct handover *h, uint64_t end_pos)
{
    struct segment *segment;

    handover_begin(h, end_pos - end_pos % h->segment_bytes);
    return handover_need_segment(h, end_pos, &segment);
}

/* Steps 2 to 4. */
static int finish_reset(struct front *front)
{
    int rc = segment_dir_clear(front->h);

    if (rc == 0) {
        rc = make_at(front->h, front->base.base.end_pos);
    }
    if (rc == 0) {
        rc = base_file_store(&front->file, &front->base.base, false);
    }
    return rc;
}

int front_open(struct front *front, struct handover *h, struct entry_index *index, struct mq_buf *problem)
{
    bool reset;
    int rc;

    front->h = h;
    front->index = index;
    rc = base_file_open(&front->file, h->disk, h->dir, &front->base, &reset, problem);
    if (rc != 0) {
        return rc;
    }
    if (reset) {
        mq_log_info("log", "finishing an interrupted reset of %s behind entry %" PRIu64, h->dir,
                    front->base.base.index);
        rc = finish_reset(front);
        if (rc == 0) {
            net_ref_release(&handover_drop_front(h)->ref); /* segment_dir_open opens it like any other */
        } else {
            mq_buf_printf(problem, "%s: resetting the log to begin behind entry %" PRIu64 ": %s", h->dir,
                          front->base.base.index, mq_strerror(rc));
            base_file_close(&front->file);
        }
    }
    return rc;
}

void front_fini(struct front *front)
{
    MQ_ASSERT(front->put == NULL);
    put_stage_fini(&front->unsettled.stage);
    release_all(&front->dropped); /* the next start removes their files */
    base_file_close(&front->file);
}

int front_make_room(struct handover *h, uint64_t end_pos)
{
    struct segment *segment;
    int rc;

    if (end_pos >= handover_start(h)) {
        return 0;
    }
    rc = handover_make(h, end_pos - end_pos % h->segment_bytes, NULL, &segment);
    if (rc == 0) {
        handover_add_front(h, segment);
    }
    return rc;
}

void front_lose_name(struct front *front, uint64_t first_pos)
{
    struct segment *old = handover_take_old(front->h, first_pos);

    if (old != NULL) {
        net_ref_release(&old->ref);
    }
    for (struct segment **at = &front->dropped; *at != NULL;) {
        if ((*at)->first_pos == first_pos) {
            net_ref_release(&segment_pop(at)->ref);
        } else {
            at = &(*at)->next;
        }
    }
}

/* ---- trim ---- */

void front_sweep(struct front *front)
{
    struct segment *waiting = front->dropped;

    if (front->trims != 0) {
        return; /* a start may still need them */
    }
    front->dropped = NULL;
    while (waiting != NULL) {
        struct segment *segment = segment_pop(&waiting);

        if (segment->ref.count == 1) {
            handover_give_old(front->h, segment);
        } else {
            segment_push(&front->dropped, segment);
        }
    }
}

/* Spare. What was put below the new base is void. */
static void trim_work(struct spare_job *job)
{
    struct trim_job *trim = container_of(job, struct trim_job, job);

    put_forget(trim->front);
    if (!RAFTMQ_DEFECT(BASE_NOT_STORED)) {
        front_store(trim->front, &trim->base.base, false);
    }
}

static void trim_done(struct spare_job *job)
{
    struct trim_job *trim = container_of(job, struct trim_job, job);
    struct front *front = trim->front;

    front->trims--;
    front_sweep(front);
    mq_free(trim);
}

/* The base of a log that begins with entry @index, which is held. The membership is looked up. */
static void base_before(const struct front *front, uint64_t index, struct base_kept *out)
{
    const struct handover *h = front->h;
    uint64_t change = entry_index_change_before(front->index, index - 1);
    uint64_t pos = entry_index_pos(front->index, index - 1);
    struct rlog_base base = front->base.base;
    struct rlog_header header;
    const uint8_t *at = segment_at(handover_segment_at(h, pos), pos);

    if (rlog_header_decode(at, RLOG_HEADER_BYTES, &header) != 0) {
        rlog_disk_failed("reading an entry", handover_segment_at(h, pos)->name, MQ_ECORRUPT);
    }
    base.index = header.index;
    base.term = header.term;
    base.crc = header.crc;
    base.end_pos = pos + rlog_entry_bytes(header.payload_bytes);
    base.store_ms = header.store_ms;
    if (change != 0) {
        pos = entry_index_pos(front->index, change);
        at = segment_at(handover_segment_at(h, pos), pos);
        if (rlog_header_decode(at, RLOG_HEADER_BYTES, &header) != 0 || header.payload_bytes > RLOG_BASE_CHANGE_MAX) {
            rlog_disk_failed("reading a membership", handover_segment_at(h, pos)->name, MQ_ECORRUPT);
        }
        base.change_index = change;
        base.change = at + RLOG_HEADER_BYTES;
        base.change_bytes = header.payload_bytes;
    }
    base_keep(out, &base);
}

int front_trim(struct front *front, uint64_t pos, uint64_t durable_pos)
{
    struct handover *h = front->h;
    uint64_t last = durable_pos != 0 ? (durable_pos - 1) / h->segment_bytes * h->segment_bytes : 0;
    uint64_t start = pos / h->segment_bytes * h->segment_bytes;
    struct trim_job *trim;
    uint64_t first;

    start = start < last ? start : last;
    first = entry_index_from_pos(front->index, start);
    if (start <= handover_start(h) || first == front->index->first_index) {
        return 0;
    }
    trim = mq_malloc(sizeof(*trim));
    if (trim == NULL) {
        return MQ_ENOMEM;
    }
    *trim = (struct trim_job){.job = {NULL, trim_work, trim_done}, .front = front};
    base_before(front, first, &trim->base);
    base_keep(&front->base, &trim->base.base);
    front->serial++;
    front->trims++;
    entry_index_trim(front->index, first);
    while (handover_start(h) < start) {
        segment_push(&front->dropped, handover_drop_front(h));
    }
    mq_log_info("log", "begins with entry %" PRIu64 " at position %" PRIu64 " now", first, start);
    handover_put_job(h, &trim->job);
    return 0;
}

/* ---- reset ---- */

void front_reset(struct front *front, const struct rlog_base *base)
{
    struct handover *h = front->h;
    int rc;

    front->serial++;
    front->resets++;
    base_keep(&front->base, base);
    front_store(front, &front->base.base, true);
    while (handover_count(h) != 0) {
        net_ref_release(&handover_drop_front(h)->ref);
    }
    release_all(&front->dropped);
    handover_forget_old(h);
    put_forget(front);
    rc = finish_reset(front);
    if (rc != 0) {
        rlog_disk_failed("resetting the log", h->dir, rc);
    }
    entry_index_begin(front->index, base->index);
    mq_log_info("log", "is empty behind entry %" PRIu64 " at position %" PRIu64 " now", base->index, base->end_pos);
}
