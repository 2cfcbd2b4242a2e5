/* Links, and what befalls all streams of a link or a machine. */
#include "tests/sim/world/sock_parts.h"

#include "remoting/base/assert.h"

#include <errno.h>
#include <stdlib.h>

#define BUFFER_BYTES (512u << 10)
#define RESEND_MAX_NS (400 * NS_PER_MS) /* from the healing of a link to what was held */

struct net_now net_now = {.last_sock = &net_now.socks};

/* ---- links ---- */

struct link *net_link(struct machine *from, struct machine *to)
{
    return &from->links[to->number];
}

struct link *sock_link(const struct sock *from)
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

uint64_t link_latency(const struct link *link)
{
    uint64_t ns = rng_between(world_rng(), link->latency_min_ns, link->latency_max_ns);

    if (rng_chance(world_rng(), link->stall_ppm)) {
        ns += rng_below(world_rng(), link->stall_max_ns + 1);
    }
    return ns;
}

/* ---- faults ---- */

static bool is_over(const struct sock *sock, const struct link *link)
{
    return sock->peer != NULL && sock_link(sock) == link;
}

static void trace_link(const char *what, const struct link *link)
{
    for (uint32_t i = 0; machine_at(i) != NULL; i++) {
        const struct machine *from = machine_at(i);

        if (link >= from->links && link < from->links + MACHINES_MAX) {
            world_trace(what, i, (uint64_t)(link - from->links));
        }
    }
}

void link_cut(struct link *link)
{
    if (!link->cut) {
        link->cut = true;
        trace_link("cut from and to", link);
    }
}

void link_heal(struct link *link)
{
    if (!link->cut) {
        return;
    }
    link->cut = false;
    trace_link("healed from and to", link);
    for (struct sock *sock = net_now.socks; sock != NULL; sock = sock->next) {
        if (is_over(sock, link) && sock->held && !sock->forgotten) {
            sock_schedule(sock, world_now() + rng_below(world_rng(), RESEND_MAX_NS));
        }
        if (sock->peer != NULL && sock->unacked && sock_link(sock->peer) == link) {
            sock->unacked = false;
            world_cancel(&sock->timeout);
        }
    }
}

void net_reset(struct machine *a, struct machine *b)
{
    for (struct sock *sock = net_now.socks; sock != NULL; sock = sock->next) {
        if (sock->peer != NULL &&
            ((sock->machine == a && sock->peer->machine == b) || (sock->machine == b && sock->peer->machine == a))) {
            net_now.stats.resets++;
            sock_break(sock, -ECONNRESET);
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
    for (struct sock *sock = net_now.socks; sock != NULL; sock = sock->next) {
        if (sock->machine != machine || sock->forgotten) {
            continue;
        }
        sock->forgotten = true;
        list_remove(&sock->node);
        sock->process = NULL;
        sock->changed = NULL;
        chunks_drop(&sock->in);
        if (sock->held || sock->window || sock->state != OPEN) {
            sock_still(sock);
            chunks_drop(&sock->out);
        }
        sock->out_fin = false;
        world_cancel(&sock->timeout);
        world_cancel(&sock->connect);
        if (sock->state == LISTENING) {
            sock_forget_listener(sock);
        }
        sock->queue_first = NULL;
        sock->state = sock->state == OPEN ? OPEN : CLOSED;
    }
}

void net_set_buffers(size_t send_bytes, size_t receive_bytes)
{
    net_now.send_buffer = send_bytes != 0 ? send_bytes : BUFFER_BYTES;
    net_now.receive_buffer = receive_bytes != 0 ? receive_bytes : BUFFER_BYTES;
}

const struct net_stats *net_stats(void)
{
    return &net_now.stats;
}

void net_open(void)
{
    net_now.stats = (struct net_stats){0};
    net_set_buffers(0, 0);
}

void net_close(void)
{
    while (net_now.socks != NULL) {
        struct sock *sock = net_now.socks;

        net_now.socks = sock->next;
        chunks_drop(&sock->in);
        chunks_drop(&sock->out);
        free(sock);
    }
    net_now.last_sock = &net_now.socks;
    net_now.listeners = NULL;
    net_now.n_socks = 0;
}
