/* What the tests of remoting/net share: a loop that is driven until a condition holds, a server that echoes, frames
 * as bytes, and a peer that is a plain socket. */
#ifndef MQ_TEST_NET_FIXTURE_H
#define MQ_TEST_NET_FIXTURE_H

#include "remoting/net/client.h"
#include "remoting/net/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

#define FIXTURE_DEADLINE_MS 20000

struct fixture {
    struct net_loop loop;
    uv_timer_t tick; /* ends each wait for I/O after a millisecond: the other end may be a socket of the test's own */
    uint64_t late_ms; /* when waiting fails the test */
};

void fixture_init(struct fixture *f);
void fixture_fini(struct fixture *f); /* asserts that no handle is left */

/* fixture_expect sets a deadline; fixture_turn runs one turn and fails the test when it has passed. */
void fixture_expect(struct fixture *f);
void fixture_turn(struct fixture *f, const char *what);

#define RUN_UNTIL(f, cond)                                                                                           \
    do {                                                                                                             \
        fixture_expect(f);                                                                                           \
        while (!(cond)) {                                                                                            \
            fixture_turn((f), #cond);                                                                                \
        }                                                                                                            \
    } while (0)

/* Answers every request that is not one-way with its opaque, its field "k" and its body. */
struct echo {
    struct net_server server;
    uint32_t opened, commands, closed;
    int reason;               /* of the last closed */
    struct net_channel *last; /* the last one opened */
    uint32_t close_at;        /* command at whose number the channel is closed inside; 0: none */
    uint32_t silent_from;     /* from this command on nothing is answered; 0: none */
    bool down;                /* net_server_close is through */
};

void echo_open(struct echo *e, struct fixture *f, const struct net_conn_limits *limits);
void echo_close(struct echo *e, struct fixture *f);
void echo_answer(struct net_channel *ch, const struct proto_command *cmd);

/* Appends a request with a field "k" and a body of @body_bytes bytes that count up from the opaque. */
void frame_put(struct mq_buf *out, enum proto_encoding encoding, int32_t opaque, int32_t flag, size_t body_bytes);
void frame_body_check(const uint8_t *body, size_t n, int32_t opaque);

/* A connected blocking socket to 127.0.0.1:@port. */
int peer_connect(int port);
/* Sends all bytes while the loop runs. */
void peer_send(struct fixture *f, int fd, const void *bytes, size_t n);
/* Reads what is there now; returns what recv does, with -errno for errors. */
ssize_t peer_read(int fd, void *bytes, size_t n);

struct sockaddr_storage addr_of_port(int port);

#endif
