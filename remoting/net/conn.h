/* A TCP connection as bytes: reads go where the owner wants them, output is gathered and written once a turn. Owned
 * by its loop's thread.
 *
 * Life: init -> (accept | connect -> connected) -> start -> read ... -> close -> closed. close may be called in any
 * state and more than once; closed comes exactly once, later, and is the last callback. */
#ifndef MQ_NET_CONN_H
#define MQ_NET_CONN_H

#include "remoting/base/buf.h"
#include "remoting/net/loop.h"

#include <netinet/in.h>
#include <stdbool.h>

struct net_conn;

/* Something output points into, kept alive while it is needed. Counted on the loop's thread. */
struct net_ref {
    uint32_t count;
    void (*free)(struct net_ref *ref);
};

static inline struct net_ref *net_ref_acquire(struct net_ref *ref)
{
    ref->count++;
    return ref;
}

static inline void net_ref_release(struct net_ref *ref)
{
    if (--ref->count == 0) {
        ref->free(ref);
    }
}

struct net_conn_ops {
    /* Outcome of net_conn_connect: 0 or a libuv error (then closed follows by itself). */
    void (*connected)(struct net_conn *conn, int status);
    /* Where the next bytes go: at least one byte of room that stays valid until read is called. No room means no
     * memory and closes the connection with MQ_ENOMEM. */
    void (*room)(struct net_conn *conn, uint8_t **base, size_t *bytes);
    /* @n bytes were placed there. Returns 0, or a negative code that closes the connection. */
    int (*read)(struct net_conn *conn, size_t n);
    /* The unwritten output fell to limits.resume_bytes after it had been above limits.pause_bytes; reading goes on
     * after it, unless it produced too much again. Called at the end of a turn only. May be NULL. */
    void (*drained)(struct net_conn *conn);
    /* The last callback. @reason: 0 (we closed), UV_EOF, MQ_ETOOBIG (unread output), MQ_ETIMEDOUT (idle), or what
     * read returned. The owner may free the struct in it. */
    void (*closed)(struct net_conn *conn, int reason);
    /* The kernel took @n bytes of output. Must not touch the connection. May be NULL. */
    void (*wrote)(struct net_conn *conn, size_t n);
};

struct net_conn_limits {
    size_t pause_bytes;  /* above this much unwritten output reading stops */
    size_t resume_bytes; /* below it, it goes on */
    size_t close_bytes;  /* above it the connection is closed: its reader does not read */
    uint32_t idle_ms;    /* no byte in either direction for so long closes it; 0: never */
    uint32_t connect_ms; /* an attempt to connect fails with UV_ETIMEDOUT after it; 0: NET_CONNECT_MS */
};

#define NET_CONNECT_MS 3000 /* as Java's */

struct net_conn {
    struct net_loop *loop;
    const struct net_conn_ops *ops;
    struct net_conn_limits limits;
    void *data; /* owner's */
    uv_tcp_t tcp;
    struct net_chunk *out_head, *out_tail;
    size_t out_bytes; /* not yet taken by the kernel */
    struct net_conn *next_dirty;
    uint64_t last_active_ms;
    int reason;
    struct sockaddr_storage peer; /* filled by accept and connect */
    struct sockaddr_storage local;
    bool dirty, writing, paused, closing, started, connected, linger0;
    uv_connect_t connect;
    uv_write_t write;
    size_t write_bytes; /* what the running uv_write carries */
    uint64_t read_turn; /* the loop's turn that last read */
    uv_timer_t idle;
    uint32_t open_handles;
};

/* Prepares @conn; nothing is open yet. Returns 0 or a negative code. */
int net_conn_init(struct net_conn *conn, struct net_loop *loop, const struct net_conn_ops *ops,
                  const struct net_conn_limits *limits);

/* Takes a pending connection from @listener and sets TCP_NODELAY. @linger0: the socket resets when the process
 * dies. On error the connection is closing and closed will be called. */
int net_conn_accept(struct net_conn *conn, uv_stream_t *listener, bool linger0);

/* Starts connecting to a numeric address. Never calls back inside. Returns 0, or a negative code, after which only
 * closed will be called. When the connection is closed before the outcome is known, connected does not come. @linger0
 * as above. */
int net_conn_connect(struct net_conn *conn, const struct sockaddr *addr, bool linger0);

/* Starts reading. */
int net_conn_start(struct net_conn *conn);

/* Output. net_conn_out gives the buffer to append to (never NULL; a closing connection gives a scratch buffer whose
 * content is dropped) and net_conn_out_done tells that something was appended; bytes leave at the end of the turn.
 * The buffer is good until the next call for this connection. Above limits.pause_bytes the kernel is offered the
 * output at once; what counts against the limits is what it did not take. */
struct mq_buf *net_conn_out(struct net_conn *conn);
void net_conn_out_done(struct net_conn *conn);

/* Appends @n bytes at @base without copying, behind everything before. @ref keeps them alive: one reference is
 * acquired here and released when the kernel has taken them or the connection closed. A closing connection drops the
 * bytes and returns 0. Returns 0, or MQ_ENOMEM: then bytes are missing in the stream and the connection is closing.
 */
int net_conn_out_view(struct net_conn *conn, const void *base, size_t n, struct net_ref *ref);

/* Writes what is there now instead of at the end of the turn. */
void net_conn_flush(struct net_conn *conn);

/* Closes. @orderly: what was already gathered is written first as far as the kernel takes it at once, SO_LINGER is
 * cleared and the peer sees FIN; else unsent data is dropped. */
void net_conn_close(struct net_conn *conn, int reason, bool orderly);

/* "192.0.2.1:10911" for log lines; static per thread. */
const char *net_addr_text(const struct sockaddr *addr);

/* Parses "host:port" with a numeric host or a name resolved by getaddrinfo (blocking: for start-up and tools only).
 * Returns 0, MQ_EINVAL, or a libuv error. */
int net_addr_parse(const char *text, struct sockaddr_storage *out);

#endif
