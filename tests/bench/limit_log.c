#include "tests/bench/limit_log.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLLOWER_BUFFER (4u << 20)
#define SOCKET_BUFFER (4 << 20)

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench_limit: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* A file whose blocks are written, so that a sync has data to carry and no metadata. */
static int zero_file(const char *dir, const char *name, uint64_t bytes)
{
    static const uint8_t zeros[1 << 20];
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        die(path);
    }
    for (uint64_t at = 0; at < bytes; at += sizeof(zeros)) {
        if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) != (ssize_t)sizeof(zeros)) {
            die(path);
        }
    }
    if (fdatasync(fd) != 0) {
        die(path);
    }
    return fd;
}

static void write_at(int fd, const uint8_t *bytes, size_t n, uint64_t at)
{
    struct iovec vec = {(void *)(uintptr_t)bytes, n};

    while (vec.iov_len != 0) {
        ssize_t done = pwritev(fd, &vec, 1, (off_t)at);

        if (done < 0) {
            die("pwritev");
        }
        vec.iov_base = (uint8_t *)vec.iov_base + done;
        vec.iov_len -= (size_t)done;
        at += (uint64_t)done;
    }
}

/* A follower: reads what is there, writes it, syncs, tells how far it is. */
_Noreturn static void follow(int sock, int fd, uint64_t file_bytes)
{
    uint8_t *buffer = malloc(FOLLOWER_BUFFER);
    uint64_t synced = 0, at = 0;
    uint8_t ack[8];

    for (;;) {
        size_t n = 0;
        ssize_t got = recv(sock, buffer, FOLLOWER_BUFFER, 0);

        if (got <= 0) {
            _exit(0);
        }
        do {
            n += (size_t)got;
            got = n < FOLLOWER_BUFFER ? recv(sock, buffer + n, FOLLOWER_BUFFER - n, MSG_DONTWAIT) : 0;
        } while (got > 0);
        if (at + n > file_bytes) {
            at = 0;
        }
        write_at(fd, buffer, n, at);
        if (fdatasync(fd) != 0) {
            die("fdatasync");
        }
        at += n;
        synced += n;
        mq_be64_store(ack, synced);
        if (send(sock, ack, sizeof(ack), MSG_NOSIGNAL) != (ssize_t)sizeof(ack)) {
            _exit(0);
        }
    }
}

static void tune(int sock)
{
    int one = 1, bytes = SOCKET_BUFFER;

    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static int fork_follower(const char *dir, int i, uint64_t file_bytes, int listener, int *sock)
{
    struct sockaddr_in addr;
    socklen_t n = sizeof(addr);
    char name[32];
    int pid, fd;

    snprintf(name, sizeof(name), "follower%d.log", i);
    fd = zero_file(dir, name, file_bytes);
    pid = fork();
    if (pid == 0) {
        int peer = socket(AF_INET, SOCK_STREAM, 0);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        getsockname(listener, (struct sockaddr *)&addr, &n);
        tune(peer);
        if (connect(peer, (struct sockaddr *)&addr, n) != 0) {
            die("connect");
        }
        close(listener);
        follow(peer, fd, file_bytes);
    }
    close(fd);
    *sock = accept(listener, NULL, NULL);
    if (pid < 0 || *sock < 0) {
        die("follower");
    }
    tune(*sock);
    return pid;
}

int limit_log_fork(struct limit_log *log, const char *dir, uint64_t file_bytes, int sockets[LIMIT_FOLLOWERS])
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *log = (struct limit_log){.file_bytes = file_bytes};
    if (listener < 0 || bind(listener, (struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(listener, 2) != 0) {
        return -errno;
    }
    for (int i = 0; i < LIMIT_FOLLOWERS; i++) {
        log->followers[i].pid = fork_follower(dir, i, file_bytes, listener, &sockets[i]);
    }
    close(listener);
    log->fd = zero_file(dir, "leader.log", file_bytes);
    log->map = mmap(NULL, file_bytes, PROT_READ, MAP_SHARED, log->fd, 0);
    return log->map == MAP_FAILED ? -errno : 0;
}

static void *write_work(void *arg)
{
    struct limit_log *log = arg;
    struct limit_entry *entry;

    pthread_mutex_lock(&log->mutex);
    for (;;) {
        while (log->job == NULL && !log->stop) {
            pthread_cond_wait(&log->wake, &log->mutex);
        }
        entry = log->job;
        if (entry == NULL) {
            break;
        }
        pthread_mutex_unlock(&log->mutex);
        write_at(log->fd, entry->bytes.base, entry->bytes.len, entry->file_at);
        if (fdatasync(log->fd) != 0) {
            die("fdatasync");
        }
        pthread_mutex_lock(&log->mutex);
        log->job = NULL;
        log->finished = entry;
        uv_async_send(&log->done);
    }
    pthread_mutex_unlock(&log->mutex);
    return NULL;
}

static void release(struct limit_log *log, struct limit_entry *entry)
{
    if (--entry->refs == 0) {
        entry->bytes.len = 0;
        entry->next = log->spare;
        log->spare = entry;
    }
}

static void on_sent(uv_write_t *req, int status)
{
    struct limit_entry *entry = req->data;
    struct limit_log *log = req->handle->data;

    if (status != 0 && status != UV_ECANCELED) {
        errno = -status;
        die("a follower is gone");
    }
    release(log, entry);
}

/* Closes the open entry: to our writer and to the followers at once. */
static void carry_out(struct limit_log *log)
{
    struct limit_entry *entry = log->open;

    log->open = NULL;
    log->writing = true;
    entry->end = log->open_at + entry->bytes.len;
    entry->file_at = log->open_file_at;
    entry->refs = 1 + LIMIT_FOLLOWERS;
    log->open_at = entry->end;
    log->open_file_at += entry->bytes.len;
    for (int i = 0; i < LIMIT_FOLLOWERS; i++) {
        uv_buf_t vec = uv_buf_init((char *)entry->bytes.base, (unsigned)entry->bytes.len);

        entry->writes[i].data = entry;
        if (uv_write(&entry->writes[i], (uv_stream_t *)&log->followers[i].tcp, &vec, 1, on_sent) != 0) {
            die("a follower is gone");
        }
    }
    pthread_mutex_lock(&log->mutex);
    log->job = entry;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->mutex);
}

static void on_turn(struct net_turn *turn)
{
    struct limit_log *log = container_of(turn, struct limit_log, turn);

    if (!log->writing && log->open != NULL && log->open->bytes.len > LIMIT_ENTRY_HEADER) {
        carry_out(log);
    }
}

/* The second largest of three. */
static void advance(struct limit_log *log)
{
    uint64_t a = log->synced, b = log->followers[0].synced, c = log->followers[1].synced;
    uint64_t low = a < b ? a : b, high = a < b ? b : a;
    uint64_t median = c < low ? low : c > high ? high : c;

    if (median > log->commit) {
        log->commit = median;
        log->committed(log, median);
    }
}

static void on_written(uv_async_t *async)
{
    struct limit_log *log = container_of(async, struct limit_log, done);
    struct limit_entry *entry;

    pthread_mutex_lock(&log->mutex);
    entry = log->finished;
    log->finished = NULL;
    pthread_mutex_unlock(&log->mutex);
    if (entry == NULL) {
        return;
    }
    log->writing = false;
    log->synced = entry->end;
    release(log, entry);
    advance(log);
}

static void on_ack_room(uv_handle_t *handle, size_t hint, uv_buf_t *buf)
{
    struct limit_follower *f = container_of((uv_tcp_t *)handle, struct limit_follower, tcp);

    (void)hint;
    *buf = uv_buf_init((char *)f->ack + f->ack_bytes, (unsigned)(sizeof(f->ack) - f->ack_bytes));
}

static void on_ack(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct limit_follower *f = container_of((uv_tcp_t *)stream, struct limit_follower, tcp);

    (void)buf;
    if (n < 0) {
        errno = (int)-n;
        die("a follower is gone");
    }
    f->ack_bytes += (uint32_t)n;
    if (f->ack_bytes == sizeof(f->ack)) {
        f->ack_bytes = 0;
        f->synced = mq_be64_load(f->ack);
        advance(f->log);
    }
}

int limit_log_open(struct limit_log *log, struct net_loop *loop, const int sockets[LIMIT_FOLLOWERS],
                   limit_committed_cb committed, void *data)
{
    log->loop = loop;
    log->committed = committed;
    log->data = data;
    pthread_mutex_init(&log->mutex, NULL);
    pthread_cond_init(&log->wake, NULL);
    uv_async_init(&loop->uv, &log->done, on_written);
    for (int i = 0; i < LIMIT_FOLLOWERS; i++) {
        struct limit_follower *f = &log->followers[i];

        f->log = log;
        uv_tcp_init(&loop->uv, &f->tcp);
        f->tcp.data = log;
        uv_tcp_open(&f->tcp, sockets[i]);
        uv_read_start((uv_stream_t *)&f->tcp, on_ack_room, on_ack);
    }
    net_turn_add(loop, &log->turn, NET_PHASE_WORK, on_turn);
    return -pthread_create(&log->writer, NULL, write_work, log);
}

static struct limit_entry *open_entry(struct limit_log *log)
{
    static const uint8_t header[LIMIT_ENTRY_HEADER];
    struct limit_entry *entry = log->spare;

    if (entry != NULL) {
        log->spare = entry->next;
    } else {
        entry = mq_calloc(1, sizeof(*entry));
    }
    if (entry == NULL || mq_buf_reserve(&entry->bytes, 2 * LIMIT_ENTRY_BYTES) != 0) {
        return NULL;
    }
    mq_buf_put(&entry->bytes, header, sizeof(header));
    return entry;
}

uint8_t *limit_log_reserve(struct limit_log *log, uint32_t bytes, uint64_t *pos, uint64_t *file_at)
{
    if (log->open != NULL && log->open->bytes.len > LIMIT_ENTRY_BYTES && !log->writing) {
        carry_out(log);
    }
    if (log->open == NULL) {
        log->open = open_entry(log);
        if (log->open_file_at + (64u << 20) > log->file_bytes) {
            log->open_file_at = 0; /* the file is a ring: nothing of it is read again */
        }
    }
    if (log->open == NULL || mq_buf_reserve(&log->open->bytes, bytes) != 0) {
        return NULL;
    }
    *pos = log->open_at + log->open->bytes.len;
    *file_at = log->open_file_at + log->open->bytes.len;
    return log->open->bytes.base + log->open->bytes.len;
}

void limit_log_add(struct limit_log *log, uint32_t bytes)
{
    log->open->bytes.len += bytes;
}

void limit_log_close(struct limit_log *log)
{
    pthread_mutex_lock(&log->mutex);
    log->stop = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->mutex);
    pthread_join(log->writer, NULL);
    for (int i = 0; i < LIMIT_FOLLOWERS; i++) {
        kill(log->followers[i].pid, SIGKILL);
        waitpid(log->followers[i].pid, NULL, 0);
    }
}
