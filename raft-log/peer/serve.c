#include "raft-log/peer/serve.h"

#include "raft-log/peer/peers.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

/* Entries of one segment that are being read. While the worker runs, it alone touches what is below `work`. */
struct serve_job {
    struct peers *peers;
    struct peer_conn *conn; /* NULL: closed meanwhile */
    struct net_ref *ref;    /* counted: the segment */
    struct peer_fetch ask;
    uv_work_t work;
    const uint8_t *at;     /* first entry */
    uint64_t last_at;      /* the last one lies so many bytes behind it */
    uint64_t segment_left; /* bytes from it to the end of its segment */
    uint64_t first, last;  /* in: what may be read; out: what is to be sent */
    uint32_t bytes;        /* out */
    enum peer_range_status status;
    uint64_t bad_index; /* DAMAGED */
};

/* ---- on the pool ---- */

/* Reads the entry at @at. Returns whether it is the one that belongs there. */
static bool read_entry(const uint8_t *at, uint64_t left, uint64_t index, bool whole, struct rlog_header *out)
{
    size_t n = left < RLOG_HEADER_BYTES ? (size_t)left : RLOG_HEADER_BYTES;

    return rlog_header_decode(at, n, out) == 0 && out->index == index &&
           rlog_entry_bytes(out->payload_bytes) <= left && (!whole || rlog_entry_is_sound(out, at));
}

static void found_bad(struct serve_job *job, uint64_t index)
{
    job->status = PEER_RANGE_DAMAGED;
    job->bad_index = index;
}

/* From the first entry on, as far as the bytes allow. */
static void read_up(struct serve_job *job)
{
    struct rlog_header header;
    uint32_t at = 0;

    for (uint64_t i = job->first; i <= job->last; i++) {
        uint32_t n;

        if (!read_entry(job->at + at, job->segment_left - at, i, true, &header)) {
            if (at == 0) {
                found_bad(job, i);
                return;
            }
            job->last = i - 1; /* what is good goes; the next question begins with this one */
            break;
        }
        n = rlog_entry_bytes(header.payload_bytes);
        if (at > 0 && at + n > job->ask.bytes_max) {
            job->last = i - 1;
            break;
        }
        at += n;
    }
    job->bytes = at;
}

/* As many as the bytes allow, up to the last one. */
static void read_down(struct serve_job *job)
{
    struct rlog_header header;
    uint64_t at = 0;
    uint64_t end;

    if (!read_entry(job->at + job->last_at, job->segment_left - job->last_at, job->last, false, &header)) {
        found_bad(job, job->last);
        return;
    }
    end = job->last_at + rlog_entry_bytes(header.payload_bytes);
    for (uint64_t i = job->first; i <= job->last; i++) {
        bool keep = end - at <= job->ask.bytes_max || i == job->last;

        if (!read_entry(job->at + at, job->segment_left - at, i, keep, &header)) {
            found_bad(job, i);
            return;
        }
        at += rlog_entry_bytes(header.payload_bytes);
        if (!keep) {
            job->at += at;
            job->segment_left -= at;
            job->first = i + 1;
            end -= at;
            at = 0;
        }
    }
    job->bytes = (uint32_t)at;
}

static void read_work(uv_work_t *work)
{
    struct serve_job *job = container_of(work, struct serve_job, work);

    if (job->ask.from_last) {
        read_down(job);
    } else {
        read_up(job);
    }
}

/* ---- on the loop ---- */

static void answer(struct peer_conn *conn, const struct peer_range *range, const struct serve_job *job)
{
    struct net_conn *net = &conn->conn;
    uint32_t bytes = range->status == PEER_RANGE_OK ? job->bytes : 0;

    if (peer_range_encode(range, bytes, net_conn_out(net)) != 0) {
        peer_conn_close(conn, MQ_ENOMEM);
        return;
    }
    net_conn_out_done(net);
    if (bytes > 0 && net_conn_out_view(net, job->at, bytes, job->ref) != 0) {
        peer_conn_close(conn, MQ_ENOMEM); /* half a frame is there */
    }
}

static struct peer_range answer_to(const struct peers *peers, const struct peer_fetch *ask)
{
    struct peer_range range = {.id = ask->id, .held_first = 1};

    peers->options.ops->holds(peers->options.data, &range.commit, &range.complete);
    return range;
}

static void read_done(uv_work_t *work, int status)
{
    struct serve_job *job = container_of(work, struct serve_job, work);
    struct peers *peers = job->peers;
    struct peer_conn *conn = job->conn;

    (void)status;
    if (conn != NULL) {
        struct peer_range range = answer_to(peers, &job->ask);

        range.status = job->status;
        if (job->status == PEER_RANGE_OK) {
            range.first = job->first;
            range.n = (uint32_t)(job->last - job->first + 1);
        } else {
            mq_log_limited(&peers->bad_limit, MQ_LOG_ERROR, "peer",
                           "entry %" PRIu64 ", which member %" PRIu32 " asked for, is damaged in this log",
                           job->bad_index, conn->peer->id);
        }
        answer(conn, &range, job);
        conn->serve.job = NULL;
    }
    net_ref_release(job->ref);
    mq_free(job);
    if (conn != NULL) {
        serve_pump(conn);
    }
    peers_conn_gone(peers);
}

/* Picks at most what bytes_max allows, from the side that was asked for, in one segment. Only positions are looked
 * at. Entries first ... last are held. */
static void pick(struct serve_job *job, uint64_t first, uint64_t last, uint64_t *first_pos)
{
    const struct peers_options *o = &job->peers->options;
    uint64_t from = job->ask.from_last ? last : first;
    uint64_t anchor = commitlog_pos_of(o->log, from);
    uint64_t segment = anchor / o->segment_bytes;

    *first_pos = anchor;
    job->first = job->last = from;
    while (job->ask.from_last ? job->first > first : job->last < last) {
        uint64_t next = job->ask.from_last ? job->first - 1 : job->last + 1;
        uint64_t pos = commitlog_pos_of(o->log, next);
        uint64_t distance = pos > anchor ? pos - anchor : anchor - pos;

        if (pos / o->segment_bytes != segment || distance >= job->ask.bytes_max) {
            break;
        }
        if (job->ask.from_last) {
            job->first = next;
            *first_pos = pos;
        } else {
            job->last = next;
        }
    }
    job->last_at = anchor - *first_pos;
    job->segment_left = o->segment_bytes - *first_pos % o->segment_bytes;
}

/* Finds what to read. Returns what the answer has to say if nothing is to be read. */
static enum peer_range_status prepare(struct serve_job *job, const struct peer_range *range)
{
    const struct peers_options *o = &job->peers->options;
    const struct peer_fetch *ask = &job->ask;
    uint64_t durable = commitlog_durable_index(o->log);
    uint64_t limit = range->commit < durable ? range->commit : durable;
    uint64_t first = ask->first > range->held_first ? ask->first : range->held_first;
    uint64_t last = ask->last < limit ? ask->last : limit;
    uint64_t pos;

    if (ask->first == 0 || ask->last < ask->first || ask->bytes_max == 0 || ask->bytes_max > PEER_RANGE_BYTES) {
        return PEER_RANGE_BAD_ASK;
    }
    if (last < first || (ask->from_last ? last != ask->last : first != ask->first)) {
        return PEER_RANGE_NOT_HELD;
    }
    pick(job, first, last, &pos);
    return commitlog_view(o->log, pos, RLOG_HEADER_BYTES, &job->at, &job->ref) == 0 ? PEER_RANGE_OK
                                                                                    : PEER_RANGE_NOT_HELD;
}

/* Starts to read for @ask, or answers at once. Returns 0 or MQ_ENOMEM. */
static int serve(struct peer_conn *conn, const struct peer_fetch *ask)
{
    struct peers *peers = conn->peers;
    struct peer_range range = answer_to(peers, ask);
    struct serve_job *job = mq_calloc(1, sizeof(*job));
    int rc;

    if (job == NULL) {
        return MQ_ENOMEM;
    }
    job->peers = peers;
    job->conn = conn;
    job->ask = *ask;
    range.status = peer_in_takes_part(peers, conn) ? prepare(job, &range) : PEER_RANGE_NOT_MEMBER;
    if (range.status != PEER_RANGE_OK) {
        answer(conn, &range, job);
        mq_free(job);
        return 0;
    }
    rc = uv_queue_work(&peers->options.loop->uv, &job->work, read_work, read_done);
    MQ_ASSERT(rc == 0); /* it fails only without a function */
    peers_conn_born(peers);
    conn->serve.job = job;
    return 0;
}

void serve_pump(struct peer_conn *conn)
{
    struct serve *s = &conn->serve;

    while (s->job == NULL && s->n > 0 && conn->state == PEER_UP && !conn->conn.closing &&
           conn->conn.out_bytes <= SERVE_QUEUE_BYTES) { /* drained comes if it is more */
        struct peer_fetch ask = s->asks[s->first];

        s->first = (s->first + 1) % SERVE_ASKS_MAX;
        s->n--;
        if (serve(conn, &ask) != 0) {
            peer_conn_close(conn, MQ_ENOMEM);
        }
    }
}

int serve_frame(struct peer_conn *conn, const struct peer_frame *frame)
{
    struct serve *s = &conn->serve;
    int rc = s->n < SERVE_ASKS_MAX ? peer_fetch_decode(frame, &s->asks[(s->first + s->n) % SERVE_ASKS_MAX])
                                   : MQ_EBUSY; /* no member asks so much at once */

    if (rc == 0) {
        s->n++;
        serve_pump(conn);
    }
    return rc;
}

void serve_conn_closed(struct peer_conn *conn)
{
    if (conn->serve.job != NULL) {
        conn->serve.job->conn = NULL;
        conn->serve.job = NULL;
    }
}
