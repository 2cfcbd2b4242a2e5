/* Bytes between two socks: sending, arriving, receiving, breaking. */
#include "tests/sim/world/sock_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS (500 * NS_PER_MS) /* a machine without power is asked again */

static void chunks_push(struct chunks *chunks, struct chunk *chunk)
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

static struct chunk *chunks_pop(struct chunks *chunks)
{
    struct chunk *chunk = chunks->first;

    chunks->first = chunk->next;
    if (chunks->first == NULL) {
        chunks->last = NULL;
    }
    chunks->bytes -= chunk->n - chunk->done;
    return chunk;
}

void chunks_drop(struct chunks *chunks)
{
    while (chunks->first != NULL) {
        free(chunks_pop(chunks));
    }
}

void sock_tell(struct sock *sock)
{
    if (sock->changed != NULL) {
        sock->changed(sock->changed_data);
    }
}

void sock_still(struct sock *sock)
{
    world_cancel(&sock->arrive);
    world_cancel(&sock->timeout);
    world_cancel(&sock->connect);
    sock->held = sock->window = sock->unacked = false;
}

/* The stream has ended with @error; what was received can still be read. */
void sock_break(struct sock *sock, int error)
{
    sock_still(sock);
    chunks_drop(&sock->out);
    sock->out_fin = false;
    if (sock->state != OPEN && sock->state != CONNECTING) {
        return;
    }
    world_trace("stream broken", sock->number, (uint64_t)-error);
    sock->state = BROKEN;
    sock->error = error;
    sock_tell(sock);
}

static void on_reset(struct world_event *event)
{
    struct sock *sock = OF_EVENT(event, reset);

    net_now.stats.resets += sock->state == OPEN;
    sock_break(sock, -ECONNRESET);
}

/* A reset goes from @from's machine to @to; a cut link swallows it. */
void sock_send_reset(struct sock *from, struct sock *to)
{
    const struct link *link = &from->machine->links[to->machine->number];

    if (!link->cut && !to->forgotten) {
        world_at(&to->reset, world_now() + link_latency(link), on_reset);
    }
}

/* ---- sending ---- */

static void on_timeout(struct world_event *event)
{
    struct sock *sock = OF_EVENT(event, timeout);

    net_now.stats.user_timeouts++;
    sock_break(sock, -ETIMEDOUT);
}

/* Something of ours is not acknowledged: from now on the clock runs. */
static void start_timeout(struct sock *sock)
{
    if (sock->user_timeout_ms != 0 && sock->timeout.slot == 0) {
        world_at(&sock->timeout, world_now() + sock->user_timeout_ms * NS_PER_MS, on_timeout);
    }
}

static void on_arrive(struct world_event *event);

void sock_schedule(struct sock *sock, uint64_t not_before)
{
    uint64_t at = sock->out.first != NULL ? sock->out.first->at_ns : sock->last_at_ns;

    world_at(&sock->arrive, at > not_before ? at : not_before, on_arrive);
}

static void hold(struct sock *sock)
{
    if (!sock->held) {
        sock->held = true;
        net_now.stats.held++;
        world_trace("stream held", sock->number, sock->out.bytes);
    }
    start_timeout(sock);
}

/* Whether what comes from @sock reaches the other machine now. A machine that has lost its power sends nothing again,
 * and nobody waits for a dead one on behalf of a process that has ended. */
static bool gets_through(struct sock *sock)
{
    bool cut = sock_link(sock)->cut;

    if (!cut && sock->peer->machine->power) {
        return true;
    }
    if (sock->forgotten || (!cut && sock->process == NULL)) {
        sock_break(sock, -ETIMEDOUT);
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
        sock_tell(peer);
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
        net_now.stats.resets++;
        world_trace("refused", sock->number, peer->number);
        sock_break(sock, -ECONNRESET);
        return;
    }
    if (peer->in.bytes > 0 && peer->in.bytes + sock->out.first->n > net_now.receive_buffer) {
        sock->window = true;
        start_timeout(sock);
        return;
    }
    chunk = chunks_pop(&sock->out);
    world_trace("arrive", sock->number, chunk->n);
    world_trace_bytes(chunk->bytes, chunk->n);
    net_now.stats.delivered++;
    net_now.stats.late_after_close += sock->process == NULL;
    chunks_push(&peer->in, chunk);
    acknowledge(sock);
    if (sock->out.first != NULL || sock->out_fin) {
        sock_schedule(sock, world_now());
    }
    sock_tell(peer);
    if (sock->wants_room) {
        sock->wants_room = false;
        sock_tell(sock);
    }
}

static size_t send_room(const struct sock *sock)
{
    return sock->out.bytes < net_now.send_buffer ? net_now.send_buffer - sock->out.bytes : 0;
}

/* When @bytes that are sent now will arrive. */
static uint64_t arrival(struct sock *sock, size_t bytes)
{
    const struct link *link = sock_link(sock);
    uint64_t *busy = &sock->machine->link_busy_ns[sock->peer->machine->number];
    uint64_t start = *busy > world_now() ? *busy : world_now();
    uint64_t at;

    if (link->bytes_per_s != 0) {
        start += bytes * NS_PER_S / link->bytes_per_s;
        *busy = start;
    }
    at = start + link_latency(link);
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
    if (rng_chance(world_rng(), sock_link(sock)->corrupt_ppm)) {
        chunk->bytes[rng_below(world_rng(), bytes)] ^= (uint8_t)(1u << rng_below(world_rng(), 8));
    }
    chunk->at_ns = arrival(sock, bytes);
    chunks_push(&sock->out, chunk);
    net_now.stats.writes++;
    net_now.stats.bytes += bytes;
    if (sock->out.first == chunk) {
        sock_schedule(sock, 0);
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
            sock_schedule(sock, 0);
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
            free(chunks_pop(&sock->in));
        }
    }
    if (done > 0) {
        if (sock->peer->window && sock->peer->state != BROKEN) {
            sock->peer->window = false;
            sock_schedule(sock->peer, world_now() + link_latency(sock_link(sock)));
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
