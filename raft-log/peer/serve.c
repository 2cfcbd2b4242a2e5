#include "raft-log/peer/serve.h"

#include "raft-log/log/disk.h"
#include "raft-log/peer/peers.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* Memory for a part of a file. */
struct part {
    struct net_ref ref;
    uint8_t bytes[];
};

/* What is being read for one question. While the worker runs, it alone touches what is below `work`. */
struct serve_job {
    struct peers *peers;
    struct peer_conn *conn; /* NULL: closed meanwhile */
    struct net_ref *ref;    /* counted: what `at` points into, a segment or a part; NULL: nothing yet */
    struct peer_ask ask;
    uv_work_t work;
    enum peer_range_status status; /* out */
    uint32_t bytes;                /* out: what is to be sent */
    const uint8_t *at;             /* entries: the first one */
    /* entries */
    uint64_t last_at;      /* the last one lies so many bytes behind it */
    uint64_t segment_left; /* bytes from it to the end of its segment */
    uint64_t first, last;  /* in: what may be read; out: what is to be sent */
    uint64_t bad_index;    /* DAMAGED */
    const uint8_t
        *before_at; /* header of the entry before the first one; NULL: it is not held, and `before` is set */
    struct net_ref *before_ref; /* counted */
    struct peer_before before;  /* out */
    /* snapshot */
    const struct rlog_disk *disk;
    struct serve_file file;
    uint8_t *to; /* memory for `bytes`, padded */
    uint32_t crc;
    int rc; /* of a read that failed */
};

/* ---- on the pool ---- */

/* Reads the entry at @at. Returns whether it is the one that belongs there. */
static bool read_entry(const uint8_t *at, uint64_t left, uint64_t index, bool whole, struct rlog_header *out)
{
    size_t n = left < RLOG_HEADER_BYTES ? (size_t)left : RLOG_HEADER_BYTES;

    return rlog_header_decode(at, n, out) == 0 && out->index == index &&
           rlog_entry_bytes(out->payload_bytes) <= left && (!whole || rlog_entry_is_sound(out, at));
}

static struct peer_before before_of(const struct rlog_header *header)
{
    return (struct peer_before){header->term, header->pos + rlog_entry_bytes(header->payload_bytes),
                                header->store_ms};
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
            job->before = before_of(&header);
            end -= at;
            at = 0;
        }
    }
    job->bytes = (uint32_t)at;
}

static void read_part(struct serve_job *job)
{
    int fd = job->disk->open(job->disk, job->file.path, O_RDONLY | O_CLOEXEC, 0);
    ssize_t n = fd;

    if (fd >= 0) {
        n = rlog_disk_read_all(job->disk, fd, job->to, job->bytes, job->ask.snapshot.offset);
        (void)job->disk->close(job->disk, fd);
    }
    if (n != (ssize_t)job->bytes) {
        job->status = PEER_RANGE_DAMAGED;
        job->rc = n < 0 ? (int)n : MQ_ECORRUPT;
        return;
    }
    memset(job->to + job->bytes, 0, peer_part_raw_bytes(job->bytes) - job->bytes);
    job->crc = mq_crc32c(0, job->to, job->bytes);
}

static void read_work(uv_work_t *work)
{
    struct serve_job *job = container_of(work, struct serve_job, work);

    struct rlog_header before;

    if (job->ask.type == PEER_SNAPSHOT_ASK) {
        read_part(job);
        return;
    }
    if (job->before_at != NULL) {
        if (!read_entry(job->before_at, RLOG_ENTRY_BYTES_MAX, job->first - 1, false, &before)) {
            found_bad(job, job->first - 1);
            return;
        }
        job->before = before_of(&before);
    }
    if (job->ask.entries.from_last) {
        read_down(job);
    } else {
        read_up(job);
    }
}

/* ---- on the loop ---- */

/* The answer's front is in the connection's buffer. */
static void write_answer(struct peer_conn *conn, const struct serve_job *job, uint32_t raw_bytes)
{
    net_conn_out_done(&conn->conn);
    if (raw_bytes > 0 && net_conn_out_view(&conn->conn, job->at, raw_bytes, job->ref) != 0) {
        peer_conn_close(conn, MQ_ENOMEM); /* half a frame is there */
    }
}

static struct peer_range range_now(const struct peers *peers)
{
    struct peer_range range = {
        .held_first = commitlog_first_index(peers->options.log),
        .held_pos = commitlog_start_pos(peers->options.log),
    };

    range.commit = peers->options.ops->committed(peers->options.data);
    return range;
}

static int answer_entries(struct peer_conn *conn, const struct serve_job *job)
{
    struct peer_range range = range_now(conn->peers);
    bool ok = job->status == PEER_RANGE_OK;
    int rc;

    range.id = job->ask.id;
    range.status = job->status;
    if (ok) {
        range.first = job->first;
        range.n = (uint32_t)(job->last - job->first + 1);
        range.before = job->before;
    }
    rc = peer_range_encode(&range, ok ? job->bytes : 0, net_conn_out(&conn->conn));
    if (rc == 0) {
        write_answer(conn, job, ok ? job->bytes : 0);
    }
    return rc;
}

static int answer_part(struct peer_conn *conn, const struct serve_job *job)
{
    struct peer_part part = {.id = job->ask.id, .status = job->status};
    int rc;

    if (job->status == PEER_RANGE_OK) {
        part.index = job->file.index;
        part.term = job->file.term;
        part.file_bytes = job->file.bytes;
        part.offset = job->ask.snapshot.offset;
        part.bytes = job->bytes;
        part.crc = job->crc;
    }
    rc = peer_part_encode(&part, net_conn_out(&conn->conn));
    if (rc == 0) {
        write_answer(conn, job, peer_part_raw_bytes(part.bytes));
    }
    return rc;
}

static void answer(struct peer_conn *conn, const struct serve_job *job)
{
    int rc = job->ask.type == PEER_FETCH ? answer_entries(conn, job) : answer_part(conn, job);

    if (rc != 0) {
        peer_conn_close(conn, rc);
    }
}

static void say_damaged(const struct peer_conn *conn, const struct serve_job *job)
{
    struct mq_log_limit *limit = &conn->peers->damaged_limit;

    if (job->ask.type == PEER_FETCH) {
        mq_log_limited(limit, MQ_LOG_ERROR, "peer",
                       "entry %" PRIu64 ", which member %" PRIu32 " asked for, is damaged in this log",
                       job->bad_index, conn->peer->id);
        conn->peers->options.ops->damaged(conn->peers->options.data, job->bad_index);
    } else {
        mq_log_limited(limit, MQ_LOG_ERROR, "peer", "reading %s for member %" PRIu32 ": %s", job->file.path,
                       conn->peer->id, mq_strerror(job->rc));
    }
}

/* For a question that goes on from this one. */
static void note_where(struct serve *serve, const struct serve_job *job)
{
    if (job->ask.type == PEER_FETCH && job->ask.entries.from_last) {
        serve->went_id = job->ask.id;
        serve->went_to = job->status == PEER_RANGE_OK ? job->first : 1;
    }
}

static void free_job(struct serve_job *job)
{
    if (job->ref != NULL) {
        net_ref_release(job->ref);
    }
    if (job->before_ref != NULL) {
        net_ref_release(job->before_ref);
    }
    mq_free(job);
}

static void read_done(uv_work_t *work, int status)
{
    struct serve_job *job = container_of(work, struct serve_job, work);
    struct peers *peers = job->peers;
    struct peer_conn *conn = job->conn;

    (void)status;
    if (conn != NULL) {
        if (job->status == PEER_RANGE_DAMAGED) {
            say_damaged(conn, job);
        }
        answer(conn, job);
        note_where(&conn->serve, job);
        conn->serve.job = NULL;
    }
    free_job(job);
    if (conn != NULL) {
        serve_pump(conn);
    }
    peers_conn_gone(peers);
}

/* ---- entries ---- */

/* Picks at most what bytes_max allows, from the side that was asked for, in one segment. Only positions are looked
 * at. Entries first ... last are held. */
static void pick(struct serve_job *job, uint64_t first, uint64_t last, uint64_t *first_pos)
{
    const struct peers_options *o = &job->peers->options;
    uint64_t from = job->ask.entries.from_last ? last : first;
    uint64_t anchor = commitlog_pos_of(o->log, from);
    uint64_t segment = anchor / o->segment_bytes;

    *first_pos = anchor;
    job->first = job->last = from;
    while (job->ask.entries.from_last ? job->first > first : job->last < last) {
        uint64_t next = job->ask.entries.from_last ? job->first - 1 : job->last + 1;
        uint64_t pos = commitlog_pos_of(o->log, next);
        uint64_t distance = pos > anchor ? pos - anchor : anchor - pos;

        if (pos / o->segment_bytes != segment || distance >= job->ask.bytes_max) {
            break;
        }
        if (job->ask.entries.from_last) {
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
static enum peer_range_status prepare_entries(struct serve_job *job)
{
    const struct peers_options *o = &job->peers->options;
    const struct peer_range range = range_now(job->peers);
    const struct peer_ask *ask = &job->ask;
    uint64_t durable = commitlog_durable_index(o->log);
    uint64_t limit = range.commit < durable ? range.commit : durable;
    uint64_t first = ask->entries.first > range.held_first ? ask->entries.first : range.held_first;
    uint64_t last = ask->entries.last < limit ? ask->entries.last : limit;
    struct rlog_base base;
    uint64_t pos;

    if (ask->entries.first == 0 || ask->entries.last < ask->entries.first) {
        return PEER_RANGE_BAD_ASK;
    }
    if (last < first || (ask->entries.from_last ? last != ask->entries.last : first != ask->entries.first)) {
        return PEER_RANGE_NOT_HELD;
    }
    pick(job, first, last, &pos);
    if (job->first == range.held_first) {
        commitlog_base_get(o->log, &base);
        job->before = (struct peer_before){base.term, base.end_pos, base.store_ms};
    } else if (commitlog_view(o->log, commitlog_pos_of(o->log, job->first - 1), RLOG_HEADER_BYTES, &job->before_at,
                              &job->before_ref) != 0) {
        return PEER_RANGE_NOT_HELD;
    }
    return commitlog_view(o->log, pos, RLOG_HEADER_BYTES, &job->at, &job->ref) == 0 ? PEER_RANGE_OK
                                                                                    : PEER_RANGE_NOT_HELD;
}

/* ---- snapshots ---- */

static void drop_file(struct peer_conn *conn)
{
    const struct serve_snapshots *snapshots = conn->peers->options.snapshots;

    if (conn->serve.file.index != 0) {
        snapshots->release(snapshots->data, conn->serve.file.index);
        conn->serve.file.index = 0;
    }
}

/* Has the file kept that is asked for. Returns whether there is one. */
static bool keep_file(struct peer_conn *conn, uint64_t index)
{
    const struct serve_snapshots *snapshots = conn->peers->options.snapshots;
    struct serve_file newest;

    conn->serve.file_ms = mq_clock_mono_ms();
    if (index != 0 && index == conn->serve.file.index) {
        return true;
    }
    if (snapshots == NULL || snapshots->newest(snapshots->data, &newest) != 0 ||
        (index != 0 && index != newest.index)) {
        return false; /* an older one than the newest is kept for those who have begun with it */
    }
    if (newest.index == conn->serve.file.index) {
        return true;
    }
    drop_file(conn);
    if (!snapshots->acquire(snapshots->data, newest.index)) {
        return false;
    }
    conn->serve.file = newest;
    return true;
}

static void free_part(struct net_ref *ref)
{
    mq_free(container_of(ref, struct part, ref));
}

static enum peer_range_status prepare_part(struct serve_job *job)
{
    const struct peer_ask *ask = &job->ask;
    struct part *part;
    uint64_t left;

    if (!keep_file(job->conn, ask->snapshot.index)) {
        return PEER_RANGE_NOT_HELD;
    }
    job->file = job->conn->serve.file;
    if (ask->snapshot.offset >= job->file.bytes) {
        return PEER_RANGE_BAD_ASK;
    }
    left = job->file.bytes - ask->snapshot.offset;
    job->bytes = left < ask->bytes_max ? (uint32_t)left : ask->bytes_max;
    part = mq_malloc(sizeof(*part) + peer_part_raw_bytes(job->bytes));
    if (part == NULL) {
        job->rc = MQ_ENOMEM;
        return PEER_RANGE_DAMAGED;
    }
    part->ref = (struct net_ref){1, free_part};
    job->ref = &part->ref;
    job->at = job->to = part->bytes;
    job->disk = job->peers->options.snapshots->disk;
    return PEER_RANGE_OK;
}

void serve_tick(struct peer_conn *conn, uint64_t now_ms)
{
    if (conn->serve.job == NULL && now_ms - conn->serve.file_ms >= SERVE_SNAPSHOT_MS) {
        drop_file(conn);
    }
}

/* ---- questions ---- */

/* Where the question begins that goes on from another one. Returns false if there is nothing in front of that. */
static bool goes_on(struct serve_job *job)
{
    const struct serve *serve = &job->conn->serve;
    struct peer_ask *ask = &job->ask;

    if (ask->entries.goes_on_from == 0) {
        return true;
    }
    ask->entries.first = 1;
    ask->entries.last = serve->went_to - 1;
    return ask->entries.from_last && ask->entries.goes_on_from == serve->went_id && serve->went_to > 1;
}

static enum peer_range_status prepare(struct serve_job *job)
{
    if (!peer_in_takes_part(job->peers, job->conn)) {
        return PEER_RANGE_NOT_MEMBER;
    }
    if (job->ask.bytes_max == 0 || job->ask.bytes_max > PEER_RANGE_BYTES) {
        return PEER_RANGE_BAD_ASK;
    }
    if (job->ask.type == PEER_SNAPSHOT_ASK) {
        return prepare_part(job);
    }
    return goes_on(job) ? prepare_entries(job) : PEER_RANGE_NOT_HELD;
}

/* Starts to read for @ask, or answers at once. Returns 0 or MQ_ENOMEM. */
static int serve(struct peer_conn *conn, const struct peer_ask *ask)
{
    struct peers *peers = conn->peers;
    struct serve_job *job = mq_calloc(1, sizeof(*job));
    int rc;

    if (job == NULL) {
        return MQ_ENOMEM;
    }
    job->peers = peers;
    job->conn = conn;
    job->ask = *ask;
    job->status = prepare(job);
    if (job->status != PEER_RANGE_OK) {
        answer(conn, job);
        note_where(&conn->serve, job);
        free_job(job);
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
        struct peer_ask ask = s->asks[s->first];

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
    int rc = s->n < SERVE_ASKS_MAX ? peer_ask_decode(frame, &s->asks[(s->first + s->n) % SERVE_ASKS_MAX])
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
    drop_file(conn);
}
