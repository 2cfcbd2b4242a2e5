/* Sockets and what lies between them.
 *
 * A stream is two socks that know each other; each owns the pipe of what it has sent: chunks under way, in order,
 * with one event for the first. A chunk that arrives at a cut link, at a machine without power or at a full window
 * stays where it is (the kernel would send it again); TCP_USER_TIMEOUT counts from then on. A sock whose process is
 * gone goes on sending what it has, then its FIN. All of this is the kernel's memory: it goes when the machine loses
 * power, and with the world.
 *
 * Socks are kept until the world is closed; only their buffers are freed before. */
#include "tests/sim/world/net.h"

#include "remoting/base/assert.h"
#include "tests/sim/world/inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES (512u << 10)
#define LATENCY_MIN_NS (50 * NS_PER_US)
#define LATENCY_MAX_NS (400 * NS_PER_US)
#define RESEND_MAX_NS (400 * NS_PER_MS) /* from the healing of a link to what was held */
#define RETRY_NS (500 * NS_PER_MS)      /* a machine without power is asked again */
#define SYN_RETRIES 6u

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

static struct sock *socks, **last_sock = &socks;
static struct sock *listeners;
static uint32_t n_socks;
static size_t send_buffer = BUFFER_BYTES, receive_buffer = BUFFER_BYTES;
static struct net_stats stats;

#define OF_EVENT(event, field) ((struct sock *)((uint8_t *)(event)-offsetof(struct sock, field)))

/* ---- links ---- */

struct link *net_link(struct machine *from, struct machine *to)
{
    return &from->links[to->number];
}

static struct link *link_of(const struct sock *from)
{
    return &from->machine->links[from->peer->machine->number];
}

void net_machine_new(struct machine *machine)
{
    for (uint32_t i = 0; i <= machine->number; i++) {
        struct machine *other = i == machine->number ? machine : machine_at(i);

        machine->links[i] = other->links[machine->number] =
            (struct link){.latency_min_ns = LATENCY_MIN_NS, .latency_max_ns = LATENCY_MAX_NS};
    }
}

static uint64_t latency(const struct link *link)
{
    uint64_t ns = rng_between(world_rng(), link->latency_min_ns, link->latency_max_ns);

    if (rng_chance(world_rng(), link->stall_ppm)) {
        ns += rng_below(world_rng(), link->stall_max_ns + 1);
    }
    return ns;
}

/* ---- chunks ---- */

static void push(struct chunks *chunks, struct chunk *chunk)
{
    chunk->next = NULL;
    if (chunks->last != NULL) {
        chunks->last->next = chunk;
    } else {
        chunks->first = chunk;
    }
    chunks->last = chunk;
    chunks->bytes += chunk->n - chunk->done;
}

static struct chunk *pop(struct chunks *chunks)
{
    struct chunk *chunk = chunks->first;

    chunks->first = chunk->next;
    if (chunks->first == NULL) {
        chunks->last = NULL;
    }
    chunks->bytes -= chunk->n - chunk->done;
    return chunk;
}

static void drop_chunks(struct chunks *chunks)
{
    while (chunks->first != NULL) {
        free(pop(chunks));
    }
}

/* ---- socks ---- */

static void tell(struct sock *sock)
{
    if (sock->changed != NULL) {
        sock->changed(sock->changed_data);
    }
}

static struct sock *new_sock(struct machine *machine)
{
    struct sock *sock = world_alloc(sizeof(*sock));

    list_init(&sock->node);
    sock->number = ++n_socks;
    sock->machine = machine;
    sock->ip = machine->ip;
    sock->queue_last = &sock->queue_first;
    *last_sock = sock;
    last_sock = &sock->next;
    return sock;
}

static void adopt(struct sock *sock, struct process *process)
{
    sock->process = process;
    sock->fd = process->next_fd++;
    list_append(&process->socks, &sock->node);
}

struct sock *sock_new(struct process *process)
{
    struct sock *sock = new_sock(process->machine);

    adopt(sock, process);
    return sock;
}

int sock_fd(const struct sock *sock)
{
    return sock->fd;
}

struct sock *sock_by_fd(int fd)
{
    struct process *process = process_current();

    if (process == NULL) {
        return NULL;
    }
    for (struct node *node = process->socks.next; node != &process->socks; node = node->next) {
        if (((struct sock *)node)->fd == fd) {
            return (struct sock *)node;
        }
    }
    return NULL;
}

static void still(struct sock *sock)
{
    world_cancel(&sock->arrive);
    world_cancel(&sock->timeout);
    world_cancel(&sock->connect);
    sock->held = sock->window = sock->unacked = false;
}

/* The stream has ended with @error; what was received can still be read. */
static void break_sock(struct sock *sock, int error)
{
    still(sock);
    drop_chunks(&sock->out);
    sock->out_fin = false;
    if (sock->state != OPEN && sock->state != CONNECTING) {
        return;
    }
    world_trace("stream broken", sock->number, (uint64_t)-error);
    sock->state = BROKEN;
    sock->error = error;
    tell(sock);
}

static void on_reset(struct world_event *event)
{
    struct sock *sock = OF_EVENT(event, reset);

    stats.resets += sock->state == OPEN;
    break_sock(sock, -ECONNRESET);
}

/* A reset goes from @from's machine to @to; a cut link swallows it. */
static void send_reset(struct sock *from, struct sock *to)
{
    const struct link *link = &from->machine->links[to->machine->number];

    if (!link->cut && !to->forgotten) {
        world_at(&to->reset, world_now() + latency(link), on_reset);
    }
}

/* ---- sending ---- */

static void on_timeout(struct world_event *event)
{
    struct sock *sock = OF_EVENT(event, timeout);

    stats.user_timeouts++;
    break_sock(sock, -ETIMEDOUT);
}

/* Something of ours is not acknowledged: from now on the clock runs. */
static void start_timeout(struct sock *sock)
{
    if (sock->user_timeout_ms != 0 && sock->timeout.slot == 0) {
        world_at(&sock->timeout, world_now() + sock->user_timeout_ms * NS_PER_MS, on_timeout);
    }
}

static void on_arrive(struct world_event *event);

static void schedule(struct sock *sock, uint64_t not_before)
{
    uint64_t at = sock->out.first != NULL ? sock->out.first->at_ns : sock->last_at_ns;

    world_at(&sock->arrive, at > not_before ? at : not_before, on_arrive);
}

static void hold(struct sock *sock)
{
    if (!sock->held) {
        sock->held = true;
        stats.held++;
        world_trace("stream held", sock->number, sock->out.bytes);
    }
    start_timeout(sock);
}

/* Whether what comes from @sock reaches the other machine now. A machine that has lost its power sends nothing again,
 * and nobody waits for a dead one on behalf of a process that has ended. */
static bool gets_through(struct sock *sock)
{
    bool cut = link_of(sock)->cut;

    if (!cut && sock->peer->machine->power) {
        return true;
    }
    if (sock->forgotten || (!cut && sock->process == NULL)) {
        break_sock(sock, -ETIMEDOUT);
        return false;
    }
    hold(sock);
    if (!cut) {
        world_at(&sock->arrive, world_now() + RETRY_NS, on_arrive);
    }
    return false;
}

static void acknowledge(struct sock *sock)
{
    if (sock->peer->machine->links[sock->machine->number].cut) {
        sock->unacked = true;
        start_timeout(sock);
        return;
    }
    sock->unacked = false;
    world_cancel(&sock->timeout);
}

static void deliver_fin(struct sock *sock)
{
    struct sock *peer = sock->peer;

    sock->out_fin = false;
    if (peer->state == OPEN && !peer->forgotten) {
        peer->in_fin = true;
        world_trace("fin", sock->number, peer->number);
        tell(peer);
    }
}

/* The first chunk is where it was sent. */
static void on_arrive(struct world_event *event)
{
    struct sock *sock = OF_EVENT(event, arrive);
    struct sock *peer = sock->peer;
    struct chunk *chunk;

    if (!gets_through(sock)) {
        return;
    }
    sock->held = false;
    if (sock->out.first == NULL) {
        if (sock->out_fin) {
            deliver_fin(sock);
        }
        return;
    }
    if (peer->forgotten || peer->state != OPEN) { /* nobody knows this stream there */
        stats.resets++;
        world_trace("refused", sock->number, peer->number);
        break_sock(sock, -ECONNRESET);
        return;
    }
    if (peer->in.bytes > 0 && peer->in.bytes + sock->out.first->n > receive_buffer) {
        sock->window = true;
        start_timeout(sock);
        return;
    }
    chunk = pop(&sock->out);
    world_trace("arrive", sock->number, chunk->n);
    world_trace_bytes(chunk->bytes, chunk->n);
    stats.delivered++;
    stats.late_after_close += sock->process == NULL;
    push(&peer->in, chunk);
    acknowledge(sock);
    if (sock->out.first != NULL || sock->out_fin) {
        schedule(sock, world_now());
    }
    tell(peer);
    if (sock->wants_room) {
        sock->wants_room = false;
        tell(sock);
    }
}

static size_t send_room(const struct sock *sock)
{
    return sock->out.bytes < send_buffer ? send_buffer - sock->out.bytes : 0;
}

/* When @bytes that are sent now will arrive. */
static uint64_t arrival(struct sock *sock, size_t bytes)
{
    const struct link *link = link_of(sock);
    uint64_t *busy = &sock->machine->link_busy_ns[sock->peer->machine->number];
    uint64_t start = *busy > world_now() ? *busy : world_now();
    uint64_t at;

    if (link->bytes_per_s != 0) {
        start += bytes * NS_PER_S / link->bytes_per_s;
        *busy = start;
    }
    at = start + latency(link);
    sock->last_at_ns = at > sock->last_at_ns ? at : sock->last_at_ns;
    return sock->last_at_ns;
}

ssize_t sock_send(struct sock *sock, const struct iovec *vec, int n)
{
    size_t room, bytes = 0, done = 0;
    struct chunk *chunk;

    if (sock->state != OPEN || sock->fin_sent) {
        int error = sock->error;

        sock->error = 0;
        return sock->state == CONNECTING ? -EAGAIN : error != 0 ? error : -EPIPE;
    }
    for (int i = 0; i < n; i++) {
        bytes += vec[i].iov_len;
    }
    room = send_room(sock);
    if (bytes > room) {
        sock->wants_room = true;
        bytes = room;
    }
    if (bytes == 0) {
        return sock->wants_room ? -EAGAIN : 0;
    }
    chunk = world_alloc(sizeof(*chunk) + bytes);
    chunk->n = bytes;
    for (int i = 0; done < bytes; i++) {
        size_t piece = vec[i].iov_len < bytes - done ? vec[i].iov_len : bytes - done;

        memcpy(chunk->bytes + done, vec[i].iov_base, piece);
        done += piece;
    }
    if (rng_chance(world_rng(), link_of(sock)->corrupt_ppm)) {
        chunk->bytes[rng_below(world_rng(), bytes)] ^= (uint8_t)(1u << rng_below(world_rng(), 8));
    }
    chunk->at_ns = arrival(sock, bytes);
    push(&sock->out, chunk);
    stats.writes++;
    stats.bytes += bytes;
    if (sock->out.first == chunk) {
        schedule(sock, 0);
    }
    return (ssize_t)bytes;
}

void sock_shutdown(struct sock *sock)
{
    if (sock->state == OPEN && !sock->fin_sent) {
        sock->fin_sent = true;
        sock->out_fin = true;
        arrival(sock, 0);
        if (sock->out.first == NULL) {
            schedule(sock, 0);
        }
    }
}

/* ---- receiving ---- */

ssize_t sock_recv(struct sock *sock, void *to, size_t n)
{
    uint8_t *at = to;
    size_t done = 0;

    while (done < n && sock->in.first != NULL) {
        struct chunk *chunk = sock->in.first;
        size_t piece = chunk->n - chunk->done < n - done ? chunk->n - chunk->done : n - done;

        memcpy(at + done, chunk->bytes + chunk->done, piece);
        done += piece;
        chunk->done += piece;
        sock->in.bytes -= piece;
        if (chunk->done == chunk->n) {
            free(pop(&sock->in));
        }
    }
    if (done > 0) {
        if (sock->peer->window && sock->peer->state != BROKEN) {
            sock->peer->window = false;
            schedule(sock->peer, world_now() + latency(link_of(sock)));
        }
        return (ssize_t)done;
    }
    if (sock->error != 0) {
        int error = sock->error;

        sock->error = 0;
        return error;
    }
    return sock->in_fin || sock->state == BROKEN ? 0 : -EAGAIN;
}

bool sock_readable(const struct sock *sock)
{
    if (sock->state == LISTENING) {
        return sock->queue_first != NULL;
    }
    return sock->in.first != NULL || sock->in_fin || sock->state == BROKEN;
}

bool sock_writable(const struct sock *sock)
{
    return sock->state == BROKEN || (sock->state == OPEN && send_room(sock) > 0);
}

bool sock_connecting(const struct sock *sock)
{
    return sock->state == CONNECTING;
}

int sock_error(const struct sock *sock)
{
    return sock->error;
}

void sock_watch(struct sock *sock, void (*changed)(void *data), void *data)
{
    sock->changed = changed;
    sock->changed_data = data;
}

void sock_set_linger0(struct sock *sock, bool on)
{
    sock->linger0 = on;
}

void sock_set_user_timeout(struct sock *sock, unsigned ms)
{
    sock->user_timeout_ms = ms;
}

int sock_name(const struct sock *sock, bool peer, uint32_t *ip, uint16_t *port)
{
    if (peer && sock->state != OPEN) {
        return -ENOTCONN;
    }
    *ip = peer ? sock->peer_ip : sock->ip;
    *port = peer ? sock->peer_port : sock->port;
    return 0;
}

/* ---- connecting ---- */

static struct sock *listener_at(const struct machine *machine, uint16_t port)
{
    for (struct sock *sock = listeners; sock != NULL; sock = sock->next_listener) {
        if (sock->machine == machine && sock->port == port) {
            return sock;
        }
    }
    return NULL;
}

int sock_bind(struct sock *sock, uint32_t ip, uint16_t port)
{
    if (ip != 0 && ip != sock->machine->ip && ip >> 24 != 127) {
        return -EADDRNOTAVAIL;
    }
    sock->port = port != 0 ? port : sock->machine->next_port++;
    return 0;
}

int sock_listen(struct sock *sock)
{
    if (sock->state == LISTENING) {
        return 0;
    }
    if (listener_at(sock->machine, sock->port) != NULL) {
        return -EADDRINUSE;
    }
    sock->state = LISTENING;
    sock->next_listener = listeners;
    listeners = sock;
    return 0;
}

/* Both directions work and someone listens: two ends come to be. */
static void establish(struct sock *sock, struct sock *listener)
{
    struct sock *other = new_sock(listener->machine);

    other->state = sock->state = OPEN;
    other->port = listener->port;
    other->peer_ip = sock->ip;
    other->peer_port = sock->port;
    other->peer = sock;
    sock->peer = other;
    *listener->queue_last = other;
    listener->queue_last = &other->queue_next;
    sock->last_at_ns = other->last_at_ns = world_now();
    world_trace("connected", sock->number, other->number);
    tell(listener);
    tell(sock);
}

static void on_connect(struct world_event *event)
{
    struct sock *sock = OF_EVENT(event, connect);
    struct machine *to = sock->peer_ip >> 24 == 127 ? sock->machine : machine_by_ip(sock->peer_ip);
    struct sock *listener;

    if (to == NULL || !to->power || sock->machine->links[to->number].cut || to->links[sock->machine->number].cut) {
        if (sock->tries == SYN_RETRIES) {
            break_sock(sock, -ETIMEDOUT);
            return;
        }
        world_at(&sock->connect, world_now() + (NS_PER_S << sock->tries++), on_connect);
        return;
    }
    listener = listener_at(to, sock->peer_port);
    if (listener == NULL) {
        stats.refused++;
        break_sock(sock, -ECONNREFUSED);
        return;
    }
    establish(sock, listener);
}

int sock_connect(struct sock *sock, uint32_t ip, uint16_t port)
{
    struct machine *to = ip >> 24 == 127 ? sock->machine : machine_by_ip(ip);
    uint64_t ns = LATENCY_MAX_NS;

    if (sock->state != FRESH) {
        return -EISCONN;
    }
    if (sock->port == 0) {
        sock->port = sock->machine->next_port++;
        sock->machine->next_port = sock->machine->next_port == 0 ? 32768 : sock->machine->next_port;
    }
    sock->state = CONNECTING;
    sock->peer_ip = ip;
    sock->peer_port = port;
    if (to != NULL) {
        ns = latency(&sock->machine->links[to->number]) + latency(&to->links[sock->machine->number]);
    }
    stats.connects++;
    world_at(&sock->connect, world_now() + ns, on_connect);
    return 0;
}

int sock_accept(struct sock *listener, struct sock **out)
{
    struct sock *sock = listener->queue_first;

    *out = NULL;
    if (sock == NULL) {
        return 0;
    }
    listener->queue_first = sock->queue_next;
    if (listener->queue_first == NULL) {
        listener->queue_last = &listener->queue_first;
    }
    if (listener->machine->fail_accepts > 0) {
        listener->machine->fail_accepts--;
        sock_close(sock);
        return -EMFILE;
    }
    adopt(sock, listener->process);
    stats.accepted++;
    *out = sock;
    return 0;
}

/* ---- closing ---- */

static void forget_listener(struct sock *sock)
{
    struct sock **at = &listeners;

    while (*at != sock) {
        at = &(*at)->next_listener;
    }
    *at = sock->next_listener;
}

static void close_listener(struct sock *sock)
{
    forget_listener(sock);
    sock->state = CLOSED;
    while (sock->queue_first != NULL) {
        struct sock *waiting = sock->queue_first;

        sock->queue_first = waiting->queue_next;
        waiting->linger0 = true;
        sock_close(waiting);
    }
}

void sock_close(struct sock *sock)
{
    bool unread = sock->in.first != NULL;

    list_remove(&sock->node);
    sock->process = NULL;
    sock->changed = NULL;
    drop_chunks(&sock->in);
    if (sock->state == LISTENING) {
        close_listener(sock);
        return;
    }
    if (sock->state == OPEN && (unread || sock->linger0)) {
        send_reset(sock, sock->peer);
        sock->state = CLOSED;
        break_sock(sock, 0);
    } else if (sock->state == OPEN) {
        sock_shutdown(sock);
    } else {
        still(sock);
    }
    sock->state = CLOSED;
}

void net_process_gone(struct process *process)
{
    while (!list_empty(&process->socks)) {
        sock_close((struct sock *)process->socks.next);
    }
}

/* ---- faults ---- */

static bool is_over(const struct sock *sock, const struct link *link)
{
    return sock->peer != NULL && link_of(sock) == link;
}

void link_cut(struct link *link)
{
    if (!link->cut) {
        link->cut = true;
        world_trace("cut", 0, 0);
    }
}

void link_heal(struct link *link)
{
    if (!link->cut) {
        return;
    }
    link->cut = false;
    world_trace("heal", 0, 0);
    for (struct sock *sock = socks; sock != NULL; sock = sock->next) {
        if (is_over(sock, link) && sock->held && !sock->forgotten) {
            schedule(sock, world_now() + rng_below(world_rng(), RESEND_MAX_NS));
        }
        if (sock->peer != NULL && sock->unacked && link_of(sock->peer) == link) {
            sock->unacked = false;
            world_cancel(&sock->timeout);
        }
    }
}

void net_reset(struct machine *a, struct machine *b)
{
    for (struct sock *sock = socks; sock != NULL; sock = sock->next) {
        if (sock->peer != NULL &&
            ((sock->machine == a && sock->peer->machine == b) || (sock->machine == b && sock->peer->machine == a))) {
            stats.resets++;
            break_sock(sock, -ECONNRESET);
        }
    }
}

void net_fail_accepts(struct machine *machine, uint32_t n)
{
    machine->fail_accepts = n;
}

/* What is on the wire still arrives; nothing is sent again. */
void net_machine_off(struct machine *machine)
{
    for (struct sock *sock = socks; sock != NULL; sock = sock->next) {
        if (sock->machine != machine || sock->forgotten) {
            continue;
        }
        sock->forgotten = true;
        list_remove(&sock->node);
        sock->process = NULL;
        sock->changed = NULL;
        drop_chunks(&sock->in);
        if (sock->held || sock->window || sock->state != OPEN) {
            still(sock);
            drop_chunks(&sock->out);
        }
        sock->out_fin = false;
        world_cancel(&sock->timeout);
        world_cancel(&sock->connect);
        if (sock->state == LISTENING) {
            forget_listener(sock);
        }
        sock->queue_first = NULL;
        sock->state = sock->state == OPEN ? OPEN : CLOSED;
    }
}

void net_set_buffers(size_t send_bytes, size_t receive_bytes)
{
    send_buffer = send_bytes != 0 ? send_bytes : BUFFER_BYTES;
    receive_buffer = receive_bytes != 0 ? receive_bytes : BUFFER_BYTES;
}

const struct net_stats *net_stats(void)
{
    return &stats;
}

void net_open(void)
{
    stats = (struct net_stats){0};
    net_set_buffers(0, 0);
}

void net_close(void)
{
    while (socks != NULL) {
        struct sock *sock = socks;

        socks = sock->next;
        drop_chunks(&sock->in);
        drop_chunks(&sock->out);
        free(sock);
    }
    last_sock = &socks;
    listeners = NULL;
    n_socks = 0;
}
