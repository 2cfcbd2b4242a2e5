/* Sockets and what lies between them.
 *
 * A stream is two socks that know each other; each owns the pipe of what it has sent: chunks under way, in order,
 * with one event for the first. A chunk that arrives at a cut link, at a machine without power or at a full window
 * stays where it is (the kernel would send it again); TCP_USER_TIMEOUT counts from then on. A sock whose process is
 * gone goes on sending what it has, then its FIN. All of this is the kernel's memory: it goes when the machine loses
 * power, and with the world.
 *
 * Socks are kept until the world is closed; only their buffers are freed before. */
#ifndef SIM_SOCK_PARTS_H
#define SIM_SOCK_PARTS_H

#include "tests/sim/world/inside.h"

#define LATENCY_MIN_NS (50 * NS_PER_US)
#define LATENCY_MAX_NS (400 * NS_PER_US)

enum sock_state { FRESH, LISTENING, CONNECTING, OPEN, BROKEN, CLOSED };

struct chunk {
    struct chunk *next;
    size_t n, done; /* done: read already */
    uint64_t at_ns;
    uint8_t bytes[];
};

struct chunks {
    struct chunk *first, *last;
    size_t bytes;
};

struct sock {
    struct node node;  /* in its process, or alone */
    struct sock *next; /* all of the world */
    uint32_t number;
    struct machine *machine;
    struct process *process; /* NULL: closed by it, or gone */
    int fd;
    enum sock_state state;
    int error; /* told once by the next call */
    uint32_t ip, peer_ip;
    uint16_t port, peer_port;
    struct sock *peer; /* the other end; also when that has forgotten us */
    bool forgotten;    /* the machine lost its power since */
    bool linger0, fin_sent, fin_read;
    unsigned user_timeout_ms;
    struct chunks in;    /* arrived, not read */
    bool in_fin;         /* behind them */
    struct chunks out;   /* sent, not arrived */
    bool out_fin;        /* a FIN is behind them */
    bool held, window;   /* the first waits: for the link or the peer, or for room there */
    bool wants_room;     /* a send was refused */
    bool unacked;        /* something arrived, but the way back was cut */
    uint64_t last_at_ns; /* arrival of the last chunk */
    struct world_event arrive, timeout, connect, reset;
    uint32_t tries;
    struct sock *next_listener;
    struct sock *queue_first, **queue_last, *queue_next; /* of a listener: connections to accept */
    void (*changed)(void *data);
    void *changed_data;
};

/* All there is of the network in this world. */
struct net_now {
    struct sock *socks, **last_sock; /* oldest first */
    struct sock *listeners;
    uint32_t n_socks; /* made so far */
    size_t send_buffer, receive_buffer;
    struct net_stats stats;
};

extern struct net_now net_now;

#define OF_EVENT(event, field) ((struct sock *)((uint8_t *)(event)-offsetof(struct sock, field)))

/* ---- net.c ---- */

/* The link from @sock's machine to its peer's. */
struct link *sock_link(const struct sock *sock);
/* Drawn for one write. */
uint64_t link_latency(const struct link *link);

/* ---- stream.c ---- */

void chunks_drop(struct chunks *chunks);
/* Something changed for who watches. */
void sock_tell(struct sock *sock);
/* None of its events will come. */
void sock_still(struct sock *sock);
/* The stream has ended with @error; what was received can still be read. */
void sock_break(struct sock *sock, int error);
/* A reset goes from @from's machine to @to; a cut link swallows it. */
void sock_send_reset(struct sock *from, struct sock *to);
/* Its first chunk arrives when it should, but not before @not_before. */
void sock_schedule(struct sock *sock, uint64_t not_before);

/* ---- sock.c ---- */

void sock_forget_listener(struct sock *sock);

#endif
