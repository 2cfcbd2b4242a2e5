/* The life of a connection and its input. Output is in conn_out.c. */
#include "remoting/net/conn.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/net/conn_out.h"

#include <errno.h>
#include <sys/socket.h>

/* An orderly close discards so much unread input: closing a socket that holds some makes the kernel reset it. */
#define DISCARD_BYTES (1u << 20)

int net_conn_init(struct net_conn *conn, struct net_loop *loop, const struct net_conn_ops *ops,
                  const struct net_conn_limits *limits)
{
    MQ_ASSERT(limits->resume_bytes <= limits->pause_bytes && limits->pause_bytes <= limits->close_bytes);
    *conn = (struct net_conn){.loop = loop, .ops = ops, .limits = *limits};
    return 0;
}

static void open_handles(struct net_conn *conn)
{
    int rc = uv_tcp_init(&conn->loop->uv, &conn->tcp);

    MQ_ASSERT(rc == 0); /* no socket is made here, so that nothing can fail */
    uv_timer_init(&conn->loop->uv, &conn->idle);
    conn->open_handles = 2;
    conn->last_active_ms = uv_now(&conn->loop->uv);
}

static int set_linger(struct net_conn *conn, int on)
{
    struct linger linger = {.l_onoff = on, .l_linger = 0};
    uv_os_fd_t fd;
    int rc = uv_fileno((uv_handle_t *)&conn->tcp, &fd);

    if (rc != 0) {
        return rc;
    }
    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0 ? 0 : -errno;
}

/* What every connected socket gets. */
static int set_up(struct net_conn *conn)
{
    int bytes = sizeof(conn->peer);
    int rc;

    rc = uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&conn->peer, &bytes);
    if (rc != 0) {
        return rc;
    }
    bytes = sizeof(conn->local);
    rc = uv_tcp_getsockname(&conn->tcp, (struct sockaddr *)&conn->local, &bytes);
    if (rc != 0) {
        return rc;
    }
    rc = uv_tcp_nodelay(&conn->tcp, 1);
    if (rc == 0 && conn->linger0) {
        rc = set_linger(conn, 1);
    }
    conn->connected = rc == 0;
    return rc;
}

int net_conn_accept(struct net_conn *conn, uv_stream_t *listener, bool linger0)
{
    int rc;

    MQ_ASSERT(conn->open_handles == 0 && !conn->closing);
    open_handles(conn);
    conn->linger0 = linger0;
    rc = uv_accept(listener, (uv_stream_t *)&conn->tcp);
    if (rc == 0) {
        rc = set_up(conn);
    }
    if (rc != 0) {
        net_conn_close(conn, rc, false);
    }
    return rc;
}

/* Tells how the attempt ended; nothing of ours is touched after it. */
static void end_connect(struct net_conn *conn, int status)
{
    uv_timer_stop(&conn->idle);
    if (status == 0) {
        status = set_up(conn);
    }
    if (status != 0) {
        net_conn_close(conn, status, false);
    } else if (conn->out_bytes != 0) {
        net_conn_mark(conn);
    }
    if (conn->ops->connected != NULL) {
        conn->ops->connected(conn, status);
    }
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct net_conn *conn = container_of(connect, struct net_conn, connect);

    if (!conn->closing) {
        end_connect(conn, status);
    }
}

static void on_connect_late(uv_timer_t *timer)
{
    end_connect(container_of(timer, struct net_conn, idle), UV_ETIMEDOUT);
}

int net_conn_connect(struct net_conn *conn, const struct sockaddr *addr, bool linger0)
{
    uint32_t limit_ms = conn->limits.connect_ms != 0 ? conn->limits.connect_ms : NET_CONNECT_MS;
    int rc;

    MQ_ASSERT(conn->open_handles == 0 && !conn->closing);
    open_handles(conn);
    conn->linger0 = linger0;
    memcpy(&conn->peer, addr, addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
    rc = uv_tcp_connect(&conn->connect, &conn->tcp, addr, on_connect);
    if (rc != 0) {
        net_conn_close(conn, rc, false);
        return rc;
    }
    uv_timer_start(&conn->idle, on_connect_late, limit_ms, 0);
    return 0;
}

/* The timer is not moved by every byte: when it rings it looks how long it was quiet, and waits for the rest. */
static void on_idle(uv_timer_t *timer)
{
    struct net_conn *conn = container_of(timer, struct net_conn, idle);
    uint64_t quiet_ms = uv_now(&conn->loop->uv) - conn->last_active_ms;

    if (quiet_ms >= conn->limits.idle_ms) {
        net_conn_close(conn, MQ_ETIMEDOUT, true);
    } else {
        uv_timer_start(timer, on_idle, conn->limits.idle_ms - quiet_ms, 0);
    }
}

/* One read a turn for each connection, so that one that sends without end leaves the others their share: without room
 * libuv returns to the loop, and the next turn finds the socket readable again. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct net_conn *conn = container_of(handle, struct net_conn, tcp);
    uint8_t *base = NULL;
    size_t bytes = 0;

    (void)suggested;
    if (conn->read_turn != conn->loop->turn) {
        conn->ops->room(conn, &base, &bytes);
    }
    *buf = (uv_buf_t){.base = (char *)base, .len = bytes};
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct net_conn *conn = container_of(stream, struct net_conn, tcp);
    int rc;

    (void)buf;
    if (n == 0) {
        return;
    }
    if (n < 0) {
        if (n != UV_ENOBUFS) {
            net_conn_close(conn, (int)n, n == UV_EOF);
        } else if (conn->read_turn != conn->loop->turn) {
            net_conn_close(conn, MQ_ENOMEM, true);
        }
        return;
    }
    conn->read_turn = conn->loop->turn;
    conn->last_active_ms = uv_now(&conn->loop->uv);
    rc = conn->ops->read(conn, (size_t)n);
    if (rc != 0) {
        net_conn_close(conn, rc, true);
    }
}

int net_conn_read_on(struct net_conn *conn)
{
    return conn->paused ? 0 : uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

int net_conn_start(struct net_conn *conn)
{
    if (conn->closing || !conn->connected) {
        return MQ_ECLOSED;
    }
    if (conn->started) {
        return 0;
    }
    conn->started = true;
    if (conn->limits.idle_ms != 0 && !uv_is_active((uv_handle_t *)&conn->idle)) {
        uv_timer_start(&conn->idle, on_idle, conn->limits.idle_ms, 0);
    }
    return net_conn_read_on(conn);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct net_conn *conn = handle->data;

    if (--conn->open_handles == 0) {
        net_conn_drop(conn);
        conn->ops->closed(conn, conn->reason);
    }
}

/* Makes the close that follows a FIN behind what was gathered, instead of a reset. */
static void say_goodbye(struct net_conn *conn)
{
    uint8_t sink[16384];
    size_t discarded = 0;
    ssize_t n;
    uv_os_fd_t fd;

    if (!conn->connected || uv_fileno((uv_handle_t *)&conn->tcp, &fd) != 0) {
        return;
    }
    net_conn_push(conn); /* what it leaves is dropped */
    set_linger(conn, 0);
    shutdown(fd, SHUT_WR);
    do {
        n = recv(fd, sink, sizeof(sink), MSG_DONTWAIT);
        discarded += n > 0 ? (size_t)n : 0;
    } while (n > 0 && discarded < DISCARD_BYTES);
}

void net_conn_close(struct net_conn *conn, int reason, bool orderly)
{
    if (conn->closing) {
        return;
    }
    conn->closing = true;
    conn->reason = reason;
    if (conn->open_handles == 0) {
        open_handles(conn); /* closed comes by way of their close callbacks */
    }
    if (orderly) {
        say_goodbye(conn);
    }
    conn->tcp.data = conn;
    conn->idle.data = conn;
    uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&conn->idle, on_handle_closed);
}
