/* uv_tcp_t and the socket calls that production code makes itself. A handle's u.reserved[0] points to its struct tcp,
 * which lives in the process. */
#include "remoting/base/assert.h"
#include "tests/sim/world/inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READS_MAX 32 /* of one stream in one turn, as libuv */

struct tcp {
    struct ready ready;
    struct pending written; /* completed writes whose callbacks are due */
    uv_tcp_t *handle;
    struct sock *sock;     /* NULL: none yet, or closed */
    struct sock *accepted; /* waits for uv_accept */
    struct node writes, done;
    bool listening, writing_callbacks;
};

#define OF(at, type, field) ((type *)((uint8_t *)(at)-offsetof(type, field)))

static struct tcp *tcp_of(const uv_tcp_t *handle)
{
    return handle->u.reserved[0];
}

static struct tcp *tcp_of_stream(const uv_stream_t *stream)
{
    return tcp_of((const uv_tcp_t *)stream);
}

static void end_writes(struct tcp *tcp);

/* ---- what the loop runs ---- */

static void changed(void *data)
{
    struct tcp *tcp = data;

    loop_make_ready(loop_of(tcp->handle->loop), &tcp->ready);
}

static void run_connect(struct tcp *tcp)
{
    uv_connect_t *req = tcp->handle->connect_req;
    int error = sock_error(tcp->sock);

    tcp->handle->connect_req = NULL;
    tcp->handle->loop->active_reqs.count--;
    if (list_empty(&tcp->writes) && (tcp->handle->flags & HANDLE_READING) == 0) {
        handle_stop((uv_handle_t *)tcp->handle);
    }
    req->cb(req, error);
}

static void run_accept(struct tcp *tcp)
{
    while (tcp->sock != NULL && tcp->accepted == NULL && sock_readable(tcp->sock)) {
        int rc = sock_accept(tcp->sock, &tcp->accepted);

        if (rc != 0 || tcp->accepted != NULL) {
            tcp->handle->connection_cb((uv_stream_t *)tcp->handle, rc);
        }
    }
}

static bool is_reading(const struct tcp *tcp)
{
    return tcp->sock != NULL && (tcp->handle->flags & HANDLE_READING) != 0;
}

static void stop_reading(struct tcp *tcp)
{
    tcp->handle->flags &= ~HANDLE_READING;
    if (tcp->handle->connect_req == NULL && list_empty(&tcp->writes)) {
        handle_stop((uv_handle_t *)tcp->handle);
    }
}

/* As uv__read: until a read does not fill its buffer, there is no buffer, or it is someone else's turn. */
static void run_read(struct tcp *tcp)
{
    uv_stream_t *stream = (uv_stream_t *)tcp->handle;

    for (int i = 0; i < READS_MAX && is_reading(tcp) && sock_readable(tcp->sock); i++) {
        uv_buf_t buf = {0};
        ssize_t n;

        stream->alloc_cb((uv_handle_t *)stream, 65536, &buf);
        if (buf.base == NULL || buf.len == 0) {
            stream->read_cb(stream, UV_ENOBUFS, &buf);
            break;
        }
        n = sock_recv(tcp->sock, buf.base, buf.len);
        if (n == -EAGAIN) {
            stream->read_cb(stream, 0, &buf);
            break;
        }
        if (n <= 0) {
            stop_reading(tcp);
            stream->read_cb(stream, n == 0 ? UV_EOF : n, &buf);
            break;
        }
        stream->read_cb(stream, n, &buf);
        if ((size_t)n < buf.len) {
            break;
        }
    }
    if (is_reading(tcp) && sock_readable(tcp->sock)) {
        changed(tcp); /* level-triggered */
    }
}

static void run_ready(struct ready *ready)
{
    struct tcp *tcp = OF(ready, struct tcp, ready);
    uv_tcp_t *handle = tcp->handle;

    if (tcp->sock == NULL) {
        return;
    }
    if (handle->connect_req != NULL) {
        if (!sock_connecting(tcp->sock)) {
            run_connect(tcp);
        }
        if (tcp->sock != NULL && (sock_readable(tcp->sock) || !list_empty(&tcp->writes))) {
            changed(tcp);
        }
        return;
    }
    if (tcp->listening) {
        run_accept(tcp);
        return;
    }
    if (is_reading(tcp) && sock_readable(tcp->sock)) {
        run_read(tcp);
    }
    if (tcp->sock != NULL && !list_empty(&tcp->writes) && sock_writable(tcp->sock)) {
        end_writes(tcp);
    }
}

/* ---- writing ---- */

#define WRITE_NODE(req) ((struct node *)(req)->queue)

/* Sends what can be sent of the requests; those that are through go to done. */
static void push_writes(struct tcp *tcp)
{
    while (!list_empty(&tcp->writes)) {
        uv_write_t *req = OF(tcp->writes.next, uv_write_t, queue);
        uv_buf_t *buf = &req->bufs[req->write_index];
        ssize_t n = 0;

        if (req->write_index < req->nbufs) {
            n = sock_send(tcp->sock, (const struct iovec *)buf, (int)(req->nbufs - req->write_index));
        }
        if (n == -EAGAIN) {
            return;
        }
        for (size_t left = n > 0 ? (size_t)n : 0; left > 0;) {
            size_t piece = left < buf->len ? left : buf->len;

            buf->base += piece;
            buf->len -= piece;
            left -= piece;
            tcp->handle->write_queue_size -= piece;
            if (buf->len == 0) {
                req->write_index++;
                buf++;
            }
        }
        if (n < 0 || req->write_index == req->nbufs) {
            req->error = n < 0 ? (int)n : 0;
            list_remove(WRITE_NODE(req));
            list_append(&tcp->done, WRITE_NODE(req));
        }
    }
}

static void end_write(struct tcp *tcp, uv_write_t *req, int error)
{
    list_remove(WRITE_NODE(req));
    tcp->handle->loop->active_reqs.count--;
    if (req->bufs != req->bufsml) {
        free(req->bufs);
    }
    if (req->cb != NULL) {
        req->cb(req, error);
    }
}

static void run_written(struct pending *pending)
{
    struct tcp *tcp = OF(pending, struct tcp, written);
    struct node done;

    list_move(&tcp->done, &done);
    while (!list_empty(&done)) {
        uv_write_t *req = OF(done.next, uv_write_t, queue);

        end_write(tcp, req, req->error);
    }
}

static void end_writes(struct tcp *tcp)
{
    push_writes(tcp);
    if (list_empty(&tcp->writes) && (tcp->handle->flags & HANDLE_READING) == 0) {
        handle_stop((uv_handle_t *)tcp->handle);
    }
    run_written(&tcp->written);
}

int uv_write(uv_write_t *req, uv_stream_t *stream, const uv_buf_t bufs[], unsigned n, uv_write_cb cb)
{
    struct tcp *tcp = tcp_of_stream(stream);
    bool empty = list_empty(&tcp->writes);

    if (tcp->sock == NULL) {
        return UV_EBADF;
    }
    req->type = UV_WRITE;
    req->cb = cb;
    req->handle = stream;
    req->error = 0;
    req->write_index = 0;
    req->nbufs = n;
    req->bufs = n <= ARRAY_SIZE(req->bufsml) ? req->bufsml : malloc(n * sizeof(bufs[0]));
    if (req->bufs == NULL) {
        return UV_ENOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        req->bufs[i] = bufs[i];
        stream->write_queue_size += bufs[i].len;
    }
    stream->loop->active_reqs.count++;
    list_init(WRITE_NODE(req));
    list_append(&tcp->writes, WRITE_NODE(req));
    if (stream->connect_req == NULL && empty) {
        push_writes(tcp);
        if (!list_empty(&tcp->done) && list_empty(&tcp->written.node)) {
            list_append(&loop_of(stream->loop)->pending, &tcp->written.node);
        }
    }
    if (!list_empty(&tcp->writes)) {
        handle_start((uv_handle_t *)stream);
    }
    return 0;
}

int uv_try_write(uv_stream_t *stream, const uv_buf_t bufs[], unsigned n)
{
    struct tcp *tcp = tcp_of_stream(stream);

    if (stream->connect_req != NULL || !list_empty(&tcp->writes)) {
        return UV_EAGAIN;
    }
    return tcp->sock != NULL ? (int)sock_send(tcp->sock, (const struct iovec *)bufs, (int)n) : UV_EBADF;
}

/* ---- life ---- */

int uv_tcp_init(uv_loop_t *uv, uv_tcp_t *handle)
{
    struct tcp *tcp = calloc(1, sizeof(*tcp));

    if (tcp == NULL) {
        return UV_ENOMEM;
    }
    handle_init(uv, (uv_handle_t *)handle, UV_TCP);
    handle->read_cb = NULL;
    handle->alloc_cb = NULL;
    handle->connection_cb = NULL;
    handle->connect_req = NULL;
    handle->shutdown_req = NULL;
    handle->write_queue_size = 0;
    handle->u.reserved[0] = tcp;
    tcp->handle = handle;
    list_init(&tcp->ready.node);
    tcp->ready.run = run_ready;
    list_init(&tcp->written.node);
    tcp->written.run = run_written;
    list_init(&tcp->writes);
    list_init(&tcp->done);
    return 0;
}

static void attach(struct tcp *tcp, struct sock *sock)
{
    tcp->sock = sock;
    sock_watch(sock, changed, tcp);
    if (sock_readable(sock)) {
        changed(tcp);
    }
}

int uv_tcp_open(uv_tcp_t *handle, uv_os_sock_t fd)
{
    struct sock *sock = sock_by_fd(fd);

    if (sock == NULL) {
        return UV_EBADF;
    }
    attach(tcp_of(handle), sock);
    return 0;
}

int uv_listen(uv_stream_t *stream, int backlog, uv_connection_cb cb)
{
    struct tcp *tcp = tcp_of_stream(stream);
    int rc = tcp->sock != NULL ? sock_listen(tcp->sock) : UV_EINVAL;

    (void)backlog;
    if (rc != 0) {
        return rc;
    }
    stream->connection_cb = cb;
    tcp->listening = true;
    handle_start((uv_handle_t *)stream);
    if (sock_readable(tcp->sock)) {
        changed(tcp);
    }
    return 0;
}

int uv_accept(uv_stream_t *server, uv_stream_t *client)
{
    struct tcp *from = tcp_of_stream(server);

    if (from->accepted == NULL) {
        return UV_EAGAIN;
    }
    attach(tcp_of_stream(client), from->accepted);
    from->accepted = NULL;
    if (sock_readable(from->sock)) {
        changed(from);
    }
    return 0;
}

int uv_tcp_connect(uv_connect_t *req, uv_tcp_t *handle, const struct sockaddr *addr, uv_connect_cb cb)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
    struct tcp *tcp = tcp_of(handle);
    int rc;

    if (addr->sa_family != AF_INET || uv_is_closing((uv_handle_t *)handle)) {
        return UV_EINVAL;
    }
    if (tcp->sock == NULL) {
        attach(tcp, sock_new(process_current()));
    }
    rc = sock_connect(tcp->sock, ntohl(in->sin_addr.s_addr), ntohs(in->sin_port));
    if (rc != 0) {
        return rc;
    }
    req->type = UV_CONNECT;
    req->cb = cb;
    req->handle = (uv_stream_t *)handle;
    handle->connect_req = req;
    handle->loop->active_reqs.count++;
    handle_start((uv_handle_t *)handle);
    return 0;
}

int uv_read_start(uv_stream_t *stream, uv_alloc_cb alloc, uv_read_cb read)
{
    struct tcp *tcp = tcp_of_stream(stream);

    if (uv_is_closing((uv_handle_t *)stream) || tcp->sock == NULL) {
        return UV_EINVAL;
    }
    stream->alloc_cb = alloc;
    stream->read_cb = read;
    stream->flags |= HANDLE_READING;
    handle_start((uv_handle_t *)stream);
    if (sock_readable(tcp->sock)) {
        changed(tcp);
    }
    return 0;
}

int uv_read_stop(uv_stream_t *stream)
{
    struct tcp *tcp = tcp_of_stream(stream);

    if ((stream->flags & HANDLE_READING) != 0) {
        stop_reading(tcp);
    }
    return 0;
}

void tcp_close(uv_tcp_t *handle)
{
    struct tcp *tcp = tcp_of(handle);

    handle->flags &= ~HANDLE_READING;
    handle_stop((uv_handle_t *)handle);
    list_remove(&tcp->ready.node);
    if (tcp->accepted != NULL) {
        sock_close(tcp->accepted);
    }
    if (tcp->sock != NULL) {
        sock_close(tcp->sock);
        tcp->sock = NULL;
    }
}

void tcp_finish_close(uv_tcp_t *handle)
{
    struct tcp *tcp = tcp_of(handle);

    if (handle->connect_req != NULL) {
        uv_connect_t *req = handle->connect_req;

        handle->connect_req = NULL;
        handle->loop->active_reqs.count--;
        req->cb(req, UV_ECANCELED);
    }
    list_remove(&tcp->written.node);
    run_written(&tcp->written);
    while (!list_empty(&tcp->writes)) {
        end_write(tcp, OF(tcp->writes.next, uv_write_t, queue), UV_ECANCELED);
    }
    free(tcp);
}

int uv_fileno(const uv_handle_t *handle, uv_os_fd_t *fd)
{
    const struct tcp *tcp = handle->type == UV_TCP ? tcp_of((const uv_tcp_t *)handle) : NULL;

    if (tcp == NULL || tcp->sock == NULL) {
        return handle->type == UV_TCP ? UV_EBADF : UV_EINVAL;
    }
    *fd = sock_fd(tcp->sock);
    return 0;
}

int uv_tcp_nodelay(uv_tcp_t *handle, int on)
{
    (void)on;
    return tcp_of(handle)->sock != NULL ? 0 : UV_EBADF;
}

int uv_tcp_keepalive(uv_tcp_t *handle, int on, unsigned delay_s)
{
    (void)on;
    (void)delay_s;
    return tcp_of(handle)->sock != NULL ? 0 : UV_EBADF;
}

static int put_name(const struct sock *sock, bool peer, struct sockaddr *name, size_t *bytes)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    uint32_t ip;
    uint16_t port;
    int rc = sock != NULL ? sock_name(sock, peer, &ip, &port) : -EBADF;

    if (rc != 0) {
        return rc;
    }
    in.sin_addr.s_addr = htonl(ip);
    in.sin_port = htons(port);
    memcpy(name, &in, *bytes < sizeof(in) ? *bytes : sizeof(in));
    *bytes = sizeof(in);
    return 0;
}

int uv_tcp_getpeername(const uv_tcp_t *handle, struct sockaddr *name, int *bytes)
{
    size_t n = (size_t)*bytes;
    int rc = put_name(tcp_of(handle)->sock, true, name, &n);

    *bytes = (int)n;
    return rc;
}

int uv_tcp_getsockname(const uv_tcp_t *handle, struct sockaddr *name, int *bytes)
{
    size_t n = (size_t)*bytes;
    int rc = put_name(tcp_of(handle)->sock, false, name, &n);

    *bytes = (int)n;
    return rc;
}

/* ---- the calls themselves ---- */

int __wrap_socket(int family, int type, int protocol);
int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t n);
int __wrap_listen(int fd, int backlog);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t n);
int __wrap_shutdown(int fd, int how);
ssize_t __wrap_recv(int fd, void *to, size_t n, int flags);
int __wrap_getsockname(int fd, struct sockaddr *name, socklen_t *n);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out);
void __wrap_freeaddrinfo(struct addrinfo *list);

static int answer(int rc)
{
    if (rc < 0) {
        errno = -rc;
        return -1;
    }
    return rc;
}

int __wrap_socket(int family, int type, int protocol)
{
    (void)type;
    (void)protocol;
    return family == AF_INET ? sock_fd(sock_new(process_current())) : answer(-EAFNOSUPPORT);
}

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t n)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
    struct sock *sock = sock_by_fd(fd);

    (void)n;
    return answer(sock != NULL ? sock_bind(sock, ntohl(in->sin_addr.s_addr), ntohs(in->sin_port)) : -EBADF);
}

int __wrap_listen(int fd, int backlog)
{
    struct sock *sock = sock_by_fd(fd);

    (void)backlog;
    return answer(sock != NULL ? sock_listen(sock) : -EBADF);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
    struct sock *sock = sock_by_fd(fd);

    (void)n;
    if (sock == NULL) {
        return answer(-EBADF);
    }
    if (level == IPPROTO_TCP && name == TCP_USER_TIMEOUT) {
        sock_set_user_timeout(sock, *(const unsigned *)value);
    } else if (level == SOL_SOCKET && name == SO_LINGER) {
        const struct linger *linger = value;

        sock_set_linger0(sock, linger->l_onoff != 0 && linger->l_linger == 0);
    }
    return 0;
}

int __wrap_shutdown(int fd, int how)
{
    struct sock *sock = sock_by_fd(fd);

    if (sock != NULL && how != SHUT_RD) {
        sock_shutdown(sock);
    }
    return answer(sock != NULL ? 0 : -EBADF);
}

ssize_t __wrap_recv(int fd, void *to, size_t n, int flags)
{
    struct sock *sock = sock_by_fd(fd);
    ssize_t got = sock != NULL ? sock_recv(sock, to, n) : -EBADF;

    (void)flags;
    return got < 0 ? answer((int)got) : got;
}

int __wrap_getsockname(int fd, struct sockaddr *name, socklen_t *n)
{
    size_t bytes = *n;
    int rc = put_name(sock_by_fd(fd), false, name, &bytes);

    *n = (socklen_t)bytes;
    return answer(rc);
}

/* Names are those of the machines. */
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    struct machine *machine = machine_by_name(host);
    struct addrinfo *found;
    struct sockaddr_in *in;

    (void)hints;
    if (machine == NULL) {
        return EAI_NONAME;
    }
    found = calloc(1, sizeof(*found) + sizeof(*in));
    if (found == NULL) {
        return EAI_MEMORY;
    }
    in = (struct sockaddr_in *)(found + 1);
    in->sin_family = AF_INET;
    in->sin_addr.s_addr = htonl(machine->ip);
    in->sin_port = service != NULL ? htons((uint16_t)atoi(service)) : 0;
    found->ai_family = AF_INET;
    found->ai_socktype = SOCK_STREAM;
    found->ai_addr = (struct sockaddr *)in;
    found->ai_addrlen = sizeof(*in);
    *out = found;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *list)
{
    free(list);
}
