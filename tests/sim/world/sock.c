/* The life of a sock: made, bound, connected, accepted, closed. */
#include "tests/sim/world/sock_parts.h"

#include <errno.h>
#include <string.h>

#define SYN_RETRIES 6u

static struct sock *new_sock(struct machine *machine)
{
    struct sock *sock = world_alloc(sizeof(*sock));

    list_init(&sock->node);
    sock->number = ++net_now.n_socks;
    sock->machine = machine;
    sock->ip = machine->ip;
    sock->queue_last = &sock->queue_first;
    *net_now.last_sock = sock;
    net_now.last_sock = &sock->next;
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

/* ---- connecting ---- */

static struct sock *listener_at(const struct machine *machine, uint16_t port)
{
    for (struct sock *sock = net_now.listeners; sock != NULL; sock = sock->next_listener) {
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
    sock->next_listener = net_now.listeners;
    net_now.listeners = sock;
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
    sock_tell(listener);
    sock_tell(sock);
}

static void on_connect(struct world_event *event)
{
    struct sock *sock = OF_EVENT(event, connect);
    struct machine *to = sock->peer_ip >> 24 == 127 ? sock->machine : machine_by_ip(sock->peer_ip);
    struct sock *listener;

    if (to == NULL || !to->power || sock->machine->links[to->number].cut || to->links[sock->machine->number].cut) {
        if (sock->tries == SYN_RETRIES) {
            sock_break(sock, -ETIMEDOUT);
            return;
        }
        world_at(&sock->connect, world_now() + (NS_PER_S << sock->tries++), on_connect);
        return;
    }
    listener = listener_at(to, sock->peer_port);
    if (listener == NULL) {
        net_now.stats.refused++;
        sock_break(sock, -ECONNREFUSED);
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
        ns = link_latency(&sock->machine->links[to->number]) + link_latency(&to->links[sock->machine->number]);
    }
    net_now.stats.connects++;
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
    net_now.stats.accepted++;
    *out = sock;
    return 0;
}

/* ---- closing ---- */

void sock_forget_listener(struct sock *sock)
{
    struct sock **at = &net_now.listeners;

    while (*at != sock) {
        at = &(*at)->next_listener;
    }
    *at = sock->next_listener;
}

static void close_listener(struct sock *sock)
{
    sock_forget_listener(sock);
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
    chunks_drop(&sock->in);
    if (sock->state == LISTENING) {
        close_listener(sock);
        return;
    }
    if (sock->state == OPEN && (unread || sock->linger0)) {
        sock_send_reset(sock, sock->peer);
        sock->state = CLOSED;
        sock_break(sock, 0);
    } else if (sock->state == OPEN) {
        sock_shutdown(sock);
    } else {
        sock_still(sock);
    }
    sock->state = CLOSED;
}

void net_process_gone(struct process *process)
{
    while (!list_empty(&process->socks)) {
        sock_close((struct sock *)process->socks.next);
    }
}
