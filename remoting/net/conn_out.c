/* Output is a list of chunks that grows at its end during a turn and is handed to the kernel at the turn's end with
 * one writev. What the kernel does not take at once waits for POLLOUT behind one uv_write of the first few chunks, of
 * which there is never more than one; its end puts the connection on the loop's list again. */
#include "remoting/net/conn_out.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <limits.h>

/* libuv keeps so many in the request itself, so that waiting for POLLOUT allocates nothing. */
#define WAIT_VECS 4

#define OUT_VECS IOV_MAX

static uv_stream_t *stream_of(struct net_conn *conn)
{
    return (uv_stream_t *)&conn->tcp;
}

void net_conn_mark(struct net_conn *conn)
{
    if (!conn->dirty) {
        conn->dirty = true;
        conn->next_dirty = conn->loop->dirty;
        conn->loop->dirty = conn;
    }
}

static void append_chunk(struct net_conn *conn, struct net_chunk *chunk)
{
    if (conn->out_tail != NULL) {
        conn->out_tail->next = chunk;
    } else {
        conn->out_head = chunk;
    }
    conn->out_tail = chunk;
}

static void pop_chunk(struct net_conn *conn)
{
    struct net_chunk *chunk = conn->out_head;

    conn->out_head = chunk->next;
    if (conn->out_head == NULL) {
        conn->out_tail = NULL;
    }
    net_chunk_give(&conn->loop->chunks, chunk);
}

/* Counts what was appended to the last chunk; only counted bytes go out. */
static void settle(struct net_conn *conn)
{
    struct net_chunk *tail = conn->out_tail;

    if (tail != NULL && tail->view == NULL) {
        conn->out_bytes += tail->buf.len - tail->ready;
        tail->ready = tail->buf.len;
    }
}

/* The kernel took @n bytes. */
static void take_sent(struct net_conn *conn, size_t n)
{
    struct net_chunk *head;
    size_t step;

    conn->out_bytes -= n;
    conn->last_active_ms = uv_now(&conn->loop->uv);
    if (conn->ops->wrote != NULL) {
        conn->ops->wrote(conn, n);
    }
    while ((head = conn->out_head) != NULL) {
        step = head->ready - head->sent;
        step = step < n ? step : n;
        head->sent += step;
        n -= step;
        if (head->sent < head->ready || (head->view == NULL && head->ready < head->buf.len)) {
            break; /* more to send, or a frame under construction */
        }
        pop_chunk(conn);
    }
    MQ_ASSERT(n == 0);
}

static unsigned gather(const struct net_conn *conn, uv_buf_t *vecs, unsigned vecs_max, size_t *bytes)
{
    const struct net_chunk *chunk;
    const uint8_t *base;
    unsigned n = 0;

    *bytes = 0;
    for (chunk = conn->out_head; chunk != NULL && n < vecs_max; chunk = chunk->next) {
        if (chunk->sent < chunk->ready) {
            base = chunk->view != NULL ? chunk->view : chunk->buf.base;
            vecs[n].base = (char *)base + chunk->sent;
            vecs[n].len = chunk->ready - chunk->sent;
            *bytes += vecs[n].len;
            n++;
        }
    }
    return n;
}

int net_conn_push(struct net_conn *conn)
{
    uv_buf_t vecs[OUT_VECS];
    size_t bytes;
    unsigned n;
    int rc;

    if (conn->writing || !conn->connected) {
        return UV_EAGAIN;
    }
    while (conn->out_bytes != 0) {
        n = gather(conn, vecs, OUT_VECS, &bytes);
        rc = uv_try_write(stream_of(conn), vecs, n);
        if (rc < 0) {
            return rc;
        }
        take_sent(conn, (size_t)rc);
        if ((size_t)rc < bytes) {
            return UV_EAGAIN;
        }
    }
    return 0;
}

static void on_written(uv_write_t *write, int status)
{
    struct net_conn *conn = container_of(write, struct net_conn, write);

    conn->writing = false;
    if (conn->closing) {
        return;
    }
    if (status != 0) {
        net_conn_close(conn, status, false);
        return;
    }
    take_sent(conn, conn->write_bytes);
    net_conn_mark(conn);
}

static int await_writable(struct net_conn *conn)
{
    uv_buf_t vecs[WAIT_VECS];
    struct net_chunk *chunk = conn->out_head;
    unsigned n = gather(conn, vecs, WAIT_VECS, &conn->write_bytes);
    int rc;

    for (unsigned i = 0; i < n; chunk = chunk->next) {
        chunk->sealed = true;
        i += chunk->sent < chunk->ready;
    }
    rc = uv_write(&conn->write, stream_of(conn), vecs, n, on_written);
    conn->writing = rc == 0;
    return rc;
}

void net_conn_flush(struct net_conn *conn)
{
    int rc;

    if (conn->closing || conn->writing || !conn->connected) {
        return;
    }
    rc = net_conn_push(conn);
    if (rc == UV_EAGAIN) {
        rc = await_writable(conn);
    }
    if (rc != 0) {
        net_conn_close(conn, rc, false);
    }
}

static void close_slow(struct net_conn *conn)
{
    mq_log_limited(&conn->loop->slow_log, MQ_LOG_WARN, "conn",
                   "closed, does not read peer=%s unread_bytes=%zu limit=%zu",
                   net_addr_text((struct sockaddr *)&conn->peer), conn->out_bytes, conn->limits.close_bytes);
    net_conn_close(conn, MQ_ETOOBIG, false);
}

/* A turn may gather more than the limits for a peer that reads well, so the kernel is asked before it counts. */
static void apply_limits(struct net_conn *conn)
{
    if (conn->out_bytes <= conn->limits.pause_bytes) {
        return;
    }
    net_conn_flush(conn);
    if (conn->closing || conn->out_bytes <= conn->limits.pause_bytes) {
        return;
    }
    if (conn->out_bytes > conn->limits.close_bytes) {
        close_slow(conn);
    } else if (!conn->paused) {
        conn->paused = true;
        uv_read_stop(stream_of(conn));
    }
}

void net_conn_end_turn(struct net_conn *conn)
{
    int rc;

    net_conn_flush(conn);
    if (conn->closing || !conn->paused || conn->out_bytes > conn->limits.resume_bytes) {
        return;
    }
    conn->paused = false;
    conn->loop->resumed = true;
    if (conn->ops->drained != NULL) {
        conn->ops->drained(conn);
    }
    rc = conn->started && !conn->closing ? net_conn_read_on(conn) : 0;
    if (rc != 0) {
        net_conn_close(conn, rc, false);
    }
}

struct mq_buf *net_conn_out(struct net_conn *conn)
{
    struct net_chunk *chunk = conn->out_tail;

    if (conn->closing) {
        return net_chunk_scratch(&conn->loop->chunks);
    }
    if (chunk != NULL && chunk->view == NULL && !chunk->sealed && chunk->buf.len < NET_CHUNK_FULL) {
        return &chunk->buf;
    }
    settle(conn);
    chunk = net_chunk_take_run(&conn->loop->chunks);
    if (chunk == NULL) {
        net_conn_close(conn, MQ_ENOMEM, false);
        return net_chunk_scratch(&conn->loop->chunks);
    }
    append_chunk(conn, chunk);
    return &chunk->buf;
}

void net_conn_out_done(struct net_conn *conn)
{
    if (conn->closing) {
        return;
    }
    settle(conn);
    net_conn_mark(conn);
    apply_limits(conn);
}

int net_conn_out_view(struct net_conn *conn, const void *base, size_t n, struct net_ref *ref)
{
    struct net_chunk *chunk;

    if (conn->closing || n == 0) {
        return 0;
    }
    settle(conn);
    chunk = net_chunk_take_view(&conn->loop->chunks, base, n, ref);
    if (chunk == NULL) {
        net_conn_close(conn, MQ_ENOMEM, false);
        return MQ_ENOMEM;
    }
    append_chunk(conn, chunk);
    conn->out_bytes += n;
    net_conn_mark(conn);
    apply_limits(conn);
    return 0;
}

void net_conn_drop(struct net_conn *conn)
{
    struct net_conn **at;

    while (conn->out_head != NULL) {
        pop_chunk(conn);
    }
    conn->out_bytes = 0;
    if (conn->dirty) {
        for (at = &conn->loop->dirty; *at != conn; at = &(*at)->next_dirty) {
        }
        *at = conn->next_dirty;
        conn->dirty = false;
    }
}
