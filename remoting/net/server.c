#include "remoting/net/server.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024 /* as Java's */

const struct net_conn_limits net_server_default_limits = {
    .pause_bytes = 8u << 20,
    .resume_bytes = 2u << 20,
    .close_bytes = 64u << 20,
    .idle_ms = 120 * 1000,
};

static void take_connection(struct net_server *server);

static void finish(struct net_server *server)
{
    if (server->closing && !server->listening && !server->refusing && server->channels == NULL) {
        server->closed_cb(server);
    }
}

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct net_server *server = ch->data;

    server->ops->command(ch, cmd);
}

static void on_channel_closed(struct net_channel *ch, int reason)
{
    struct net_server *server = ch->data;

    *ch->prev = ch->next;
    if (ch->next != NULL) {
        ch->next->prev = ch->prev;
    }
    server->count--;
    net_counters.closed++;
    if (ch->opened && server->ops->closed != NULL) {
        server->ops->closed(ch, reason);
    }
    net_channel_release(ch);
    finish(server);
}

static const struct net_channel_ops channel_ops = {.command = on_command, .closed = on_channel_closed};

static void on_refuse_closed(uv_handle_t *handle)
{
    struct net_server *server = container_of(handle, struct net_server, refuse);

    server->refusing = false;
    if (server->waiting && !server->closing) {
        server->waiting = false;
        take_connection(server);
    }
    finish(server);
}

/* Takes the pending connection and closes it, without any memory. A second one waits until this one's handle is
 * closed; libuv does not accept more before it is taken. */
static void refuse(struct net_server *server, int cause)
{
    if (server->refusing) {
        server->waiting = true;
        return;
    }
    uv_tcp_init(&server->loop->uv, &server->refuse);
    if (uv_accept((uv_stream_t *)&server->tcp, (uv_stream_t *)&server->refuse) == 0) {
        net_counters.refused++;
        mq_log_limited(&server->refuse_log, MQ_LOG_WARN, "conn", "refused port=%d cause=\"%s\" open=%u limit=%u",
                       server->port, mq_strerror(cause), server->count, NET_SERVER_CHANNELS_MAX);
    }
    server->refusing = true;
    uv_close((uv_handle_t *)&server->refuse, on_refuse_closed);
}

static void link_channel(struct net_server *server, struct net_channel *ch)
{
    ch->data = server;
    ch->prev = &server->channels;
    ch->next = server->channels;
    if (ch->next != NULL) {
        ch->next->prev = &ch->next;
    }
    server->channels = ch;
    server->count++;
    net_counters.accepted++;
}

static void take_connection(struct net_server *server)
{
    struct net_channel *ch;
    int rc;

    if (server->count >= NET_SERVER_CHANNELS_MAX) {
        refuse(server, MQ_EBUSY);
        return;
    }
    rc = net_channel_new(server->loop, &channel_ops, &server->limits, &ch);
    if (rc != 0) {
        refuse(server, rc);
        return;
    }
    link_channel(server, ch);
    if (net_conn_accept(&ch->conn, (uv_stream_t *)&server->tcp, true) != 0) {
        return; /* closed follows: the peer is gone already */
    }
    ch->opened = true;
    if (server->ops->opened != NULL) {
        server->ops->opened(ch);
    }
    rc = ch->conn.closing ? 0 : net_conn_start(&ch->conn);
    if (rc != 0) {
        net_channel_close(ch, rc, false);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct net_server *server = container_of(listener, struct net_server, tcp);

    if (status == 0) {
        take_connection(server);
    } else {
        mq_log_limited(&server->refuse_log, MQ_LOG_WARN, "conn", "accept failed port=%d cause=\"%s\" open=%u",
                       server->port, mq_strerror(status), server->count);
    }
}

static int port_of(const struct sockaddr_storage *addr)
{
    return ntohs(addr->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)addr)->sin6_port
                                             : ((const struct sockaddr_in *)addr)->sin_port);
}

/* Makes the listening socket before libuv has a handle for it, which could be closed only later. */
static int listen_on(const char *host, int port, int *out_fd, int *out_port)
{
    struct sockaddr_storage addr;
    socklen_t bytes;
    char text[300];
    int on = 1;
    int fd, rc;

    snprintf(text, sizeof(text), strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port);
    rc = net_addr_parse(text, &addr);
    if (rc != 0) {
        return rc;
    }
    fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    bytes = addr.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&addr, bytes) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &bytes) != 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    *out_fd = fd;
    *out_port = port_of(&addr);
    return 0;
}

int net_server_open(struct net_server *server, struct net_loop *loop, const char *host, int port,
                    const struct net_server_ops *ops, const struct net_conn_limits *limits)
{
    void *data = server->data;
    int fd, bound, rc;

    rc = listen_on(host, port, &fd, &bound);
    if (rc != 0) {
        return rc;
    }
    *server = (struct net_server){.loop = loop, .ops = ops, .limits = *limits, .data = data, .port = bound};
    rc = uv_tcp_init(&loop->uv, &server->tcp);
    MQ_ASSERT(rc == 0);
    rc = uv_tcp_open(&server->tcp, fd);
    MQ_ASSERT(rc == 0);
    rc = uv_listen((uv_stream_t *)&server->tcp, BACKLOG, on_connection);
    MQ_ASSERT(rc == 0); /* the socket listens already: what could fail was done by listen_on */
    server->listening = true;
    return 0;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct net_server *server = container_of(handle, struct net_server, tcp);

    server->listening = false;
    finish(server);
}

void net_server_close(struct net_server *server, bool orderly, void (*closed_cb)(struct net_server *))
{
    struct net_channel *ch;

    MQ_ASSERT(server->listening && !server->closing);
    server->closing = true;
    server->closed_cb = closed_cb;
    uv_close((uv_handle_t *)&server->tcp, on_listener_closed);
    for (ch = server->channels; ch != NULL; ch = ch->next) {
        net_channel_close(ch, 0, orderly);
    }
}
