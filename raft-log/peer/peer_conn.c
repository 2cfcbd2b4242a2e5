#include "raft-log/peer/peer_conn.h"

#include "raft-log/peer/peers.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Unacknowledged bytes end a connection after this long, so that one that a partition has silenced is dialled anew
 * soon after the network is back, instead of waiting for TCP's next retransmission. */
#define UNACKED_MS 2000u

#define CHUNK_KEPT_MAX (2u << 20) /* a larger one is freed when it is empty */

struct peer_chunk {
    struct net_ref ref;
    size_t cap;
    uint8_t *bytes; /* behind the struct, aligned to 16 */
};

static const struct net_conn_limits control_limits = {
    .pause_bytes = 1u << 20,
    .resume_bytes = 256u << 10,
    .close_bytes = 8u << 20,
    .connect_ms = PEER_CONNECT_MS,
};

/* peer_out stops writing at pause_bytes; the largest frame may still come on top of it. */
static const struct net_conn_limits bulk_limits = {
    .pause_bytes = PEER_OUT_QUEUE_BYTES,
    .resume_bytes = PEER_OUT_QUEUE_BYTES / 4,
    .close_bytes = 4u * PEER_RAW_MAX,
    .connect_ms = PEER_CONNECT_MS,
};

/* serve stops answering at pause_bytes; the largest answer may still come on top of it. */
static const struct net_conn_limits serve_limits = {
    .pause_bytes = SERVE_QUEUE_BYTES,
    .resume_bytes = SERVE_QUEUE_BYTES / 4,
    .close_bytes = 2u * PEER_RAW_MAX,
};

/* ---- chunks ---- */

static void free_chunk(struct net_ref *ref)
{
    mq_free(container_of(ref, struct peer_chunk, ref));
}

static struct peer_chunk *new_chunk(size_t cap)
{
    size_t front = (sizeof(struct peer_chunk) + 15u) & ~(size_t)15u;
    struct peer_chunk *chunk = mq_malloc(front + cap);

    if (chunk != NULL) {
        chunk->ref = (struct net_ref){1, free_chunk};
        chunk->cap = cap;
        chunk->bytes = (uint8_t *)chunk + front;
    }
    return chunk;
}

static void drop_chunk(struct peer_conn *conn)
{
    if (conn->chunk != NULL) {
        net_ref_release(&conn->chunk->ref);
    }
    conn->chunk = NULL;
    conn->from = conn->to = 0;
}

struct net_ref *peer_conn_chunk_ref(struct peer_conn *conn)
{
    return &conn->chunk->ref;
}

/* Whether entries may come on this connection. */
static bool brings_entries(const struct peer_conn *conn)
{
    return conn->state == PEER_UP && conn->lane == (conn->dialled ? PEER_RANGE : PEER_BULK);
}

static uint32_t raw_max(const struct peer_conn *conn)
{
    return brings_entries(conn) ? PEER_RAW_MAX : 0;
}

static size_t chunk_bytes(const struct peer_conn *conn)
{
    return brings_entries(conn) ? PEER_CHUNK_BYTES : PEER_CONTROL_CHUNK_BYTES;
}

/* Bytes that the frame at the front will have, as far as that can be told. */
static size_t wanted_bytes(const struct peer_conn *conn)
{
    struct peer_frame frame = {.bytes = PEER_HEAD_BYTES};

    (void)peer_frame_decode(conn->chunk->bytes + conn->from, conn->to - conn->from, raw_max(conn), &frame);
    return frame.bytes;
}

/* Moves on to a chunk that can hold @wanted bytes from the frame's first one on. Returns 0 or MQ_ENOMEM. */
static int next_chunk(struct peer_conn *conn, size_t wanted)
{
    size_t cap = chunk_bytes(conn);
    size_t have = conn->to - conn->from;
    struct peer_chunk *chunk = new_chunk(wanted > cap ? wanted : cap);

    if (chunk == NULL) {
        return MQ_ENOMEM;
    }
    if (have > 0) {
        memcpy(chunk->bytes, conn->chunk->bytes + conn->from, have);
    }
    drop_chunk(conn);
    conn->chunk = chunk;
    conn->to = have;
    return 0;
}

static void on_room(struct net_conn *net, uint8_t **base, size_t *bytes)
{
    struct peer_conn *conn = container_of(net, struct peer_conn, conn);
    size_t least = chunk_bytes(conn) / 8; /* a read that finds less room than this costs more than a new chunk */
    size_t wanted = PEER_HEAD_BYTES;

    *base = NULL;
    *bytes = 0;
    if (conn->chunk != NULL && conn->from == conn->to && conn->chunk->ref.count == 1) {
        if (conn->chunk->cap < chunk_bytes(conn) || conn->chunk->cap > CHUNK_KEPT_MAX) {
            drop_chunk(conn);
        } else {
            conn->from = conn->to = 0; /* nobody looks at it any more */
        }
    }
    if (conn->chunk != NULL) {
        wanted = wanted_bytes(conn);
    }
    if (conn->chunk == NULL || conn->chunk->cap - conn->from < wanted ||
        (conn->chunk->cap - conn->to < least && conn->from + wanted > conn->to + least)) {
        if (next_chunk(conn, wanted) != 0) {
            return;
        }
    }
    *base = conn->chunk->bytes + conn->to;
    *bytes = conn->chunk->cap - conn->to;
}

static int on_read(struct net_conn *net, size_t n)
{
    struct peer_conn *conn = container_of(net, struct peer_conn, conn);
    struct peer_frame frame;
    int rc = 0;

    conn->to += n;
    while (conn->state != PEER_CLOSING) {
        rc = peer_frame_decode(conn->chunk->bytes + conn->from, conn->to - conn->from, raw_max(conn), &frame);
        if (rc != 0) {
            break;
        }
        rc = peers_frame(conn->peers, conn, &frame);
        if (rc != 0) {
            break;
        }
        conn->from += frame.bytes;
    }
    if (rc == 0 || rc == MQ_EAGAIN) {
        return 0;
    }
    peers_bad_frame(conn->peers, conn, rc);
    conn->state = PEER_CLOSING;
    return rc;
}

/* ---- life ---- */

void peer_conn_set_state(struct peer_conn *conn, enum peer_conn_state state)
{
    conn->state = state;
    conn->since_ms = mq_clock_mono_ms();
}

static void on_drained(struct net_conn *net)
{
    struct peer_conn *conn = container_of(net, struct peer_conn, conn);

    if (conn->state == PEER_UP && conn->dialled && conn->lane == PEER_BULK) {
        peer_out_pump(conn->peer);
    } else if (conn->state == PEER_UP && !conn->dialled && conn->lane == PEER_RANGE) {
        serve_pump(conn);
    }
}

static void on_closed(struct net_conn *net, int reason)
{
    struct peer_conn *conn = container_of(net, struct peer_conn, conn);
    struct peers *peers = conn->peers;
    bool was_dialled = conn->dialled;

    drop_chunk(conn);
    serve_conn_closed(conn);
    peers_conn_closed(peers, conn, reason);
    if (!was_dialled) {
        mq_free(conn);
    }
    peers_conn_gone(peers);
}

static void set_unacked_limit(struct net_conn *net)
{
    unsigned ms = UNACKED_MS;
    uv_os_fd_t fd;

    if (uv_fileno((uv_handle_t *)&net->tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms)); /* without it, we are only slower */
    }
}

static void on_connected(struct net_conn *net, int status)
{
    struct peer_conn *conn = container_of(net, struct peer_conn, conn);

    if (status != 0) {
        conn->state = PEER_CLOSING;
        return;
    }
    set_unacked_limit(net);
    peer_conn_set_state(conn, PEER_GREETING);
    if (peer_conn_say_hello(conn) != 0 || net_conn_start(net) != 0) {
        peer_conn_close(conn, MQ_ENOMEM);
    }
}

static const struct net_conn_ops conn_ops = {
    .connected = on_connected,
    .room = on_room,
    .read = on_read,
    .drained = on_drained,
    .closed = on_closed,
};

void peer_conn_init(struct peer_conn *conn, struct peers *peers, struct peer *peer, enum peer_lane lane)
{
    memset(conn, 0, sizeof(*conn));
    conn->peers = peers;
    conn->peer = peer;
    conn->lane = lane;
    conn->dialled = true;
    conn->state = PEER_IDLE;
}

static void connect_to(struct peer_conn *conn, const struct sockaddr *addr)
{
    int rc = net_conn_init(&conn->conn, conn->peers->options.loop, &conn_ops,
                           conn->lane == PEER_BULK ? &bulk_limits : &control_limits);

    MQ_ASSERT(rc == 0);
    peer_conn_set_state(conn, PEER_CONNECTING);
    if (net_conn_connect(&conn->conn, addr, false) != 0) {
        conn->state = PEER_CLOSING; /* closed comes */
    }
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct peer_conn *conn = container_of(req, struct peer_conn, resolve);
    const struct addrinfo *pick = list;

    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        if (ai->ai_family == AF_INET) {
            pick = ai;
            break;
        }
    }
    if (status == 0 && pick != NULL && !conn->peers->closing) {
        connect_to(conn, pick->ai_addr);
        uv_freeaddrinfo(list);
        return;
    }
    uv_freeaddrinfo(list);
    peers_conn_closed(conn->peers, conn, status != 0 ? status : MQ_ECLOSED);
    peers_conn_gone(conn->peers);
}

/* "host:port" or "[v6 host]:port" as two strings. Returns 0 or MQ_EINVAL. */
static int split_address(const char *address, char *host, size_t host_max, const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t n;

    if (colon == NULL || colon == address) {
        return MQ_EINVAL;
    }
    n = (size_t)(colon - address);
    if (address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (n >= host_max) {
        return MQ_EINVAL;
    }
    memcpy(host, address, n);
    host[n] = '\0';
    *port = colon + 1;
    return 0;
}

/* A name is looked up anew for each attempt, on libuv's pool: it may be known only later, or move. */
static int resolve(struct peer_conn *conn)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char host[MEMBER_TEXT_MAX + 1];
    const char *port;
    int rc = split_address(conn->peer->address, host, sizeof(host), &port);

    if (rc == 0) {
        rc = uv_getaddrinfo(&conn->peers->options.loop->uv, &conn->resolve, on_resolved, host, port, &hints);
    }
    return rc;
}

void peer_conn_dial(struct peer_conn *conn)
{
    struct sockaddr_storage addr;
    char host[MEMBER_TEXT_MAX + 1];
    const char *port;

    MQ_ASSERT(conn->state == PEER_IDLE);
    peers_conn_born(conn->peers);
    if (split_address(conn->peer->address, host, sizeof(host), &port) == 0 &&
        (uv_ip4_addr(host, 0, (struct sockaddr_in *)&addr) == 0 ||
         uv_ip6_addr(host, 0, (struct sockaddr_in6 *)&addr) == 0) &&
        net_addr_parse(conn->peer->address, &addr) == 0) {
        connect_to(conn, (struct sockaddr *)&addr);
        return;
    }
    peer_conn_set_state(conn, PEER_RESOLVING);
    if (resolve(conn) != 0) {
        peers_conn_closed(conn->peers, conn, MQ_EINVAL);
        peers_conn_gone(conn->peers);
    }
}

struct peer_conn *peer_conn_accept(struct peers *peers, uv_stream_t *listener)
{
    struct peer_conn *conn = mq_calloc(1, sizeof(*conn));
    int rc;

    if (conn == NULL) {
        return NULL;
    }
    conn->peers = peers;
    rc = net_conn_init(&conn->conn, peers->options.loop, &conn_ops, &control_limits);
    MQ_ASSERT(rc == 0);
    peers_conn_born(peers);
    peer_conn_set_state(conn, PEER_GREETING);
    conn->prev = &peers->accepted;
    conn->next = peers->accepted;
    if (conn->next != NULL) {
        conn->next->prev = &conn->next;
    }
    peers->accepted = conn;
    peers->n_accepted++;
    rc = net_conn_accept(&conn->conn, listener, false);
    if (rc == 0) {
        rc = net_conn_start(&conn->conn);
        if (rc != 0) {
            net_conn_close(&conn->conn, rc, false);
        }
    }
    if (rc != 0) {
        conn->state = PEER_CLOSING; /* closed comes */
        return NULL;
    }
    return conn;
}

void peer_conn_close(struct peer_conn *conn, int reason)
{
    switch (conn->state) {
    case PEER_IDLE:
    case PEER_CLOSING:
        return;
    case PEER_RESOLVING:
        (void)uv_cancel((uv_req_t *)&conn->resolve); /* on_resolved comes either way */
        return;
    case PEER_CONNECTING:
    case PEER_GREETING:
    case PEER_UP:
        conn->state = PEER_CLOSING;
        net_conn_close(&conn->conn, reason, true);
        return;
    }
}

void peer_conn_set_lane(struct peer_conn *conn, enum peer_lane lane)
{
    conn->lane = lane;
    if (lane == PEER_RANGE) {
        conn->conn.limits = serve_limits;
        set_unacked_limit(&conn->conn); /* what is on its way to one that fell silent is not kept */
    }
}

int peer_conn_say_hello(struct peer_conn *conn)
{
    const struct peers_options *o = &conn->peers->options;
    struct peer_hello hello = {
        .from = o->self,
        .to = conn->peer->id,
        .incarnation = o->incarnation,
        .segment_bytes = o->segment_bytes,
        .lane = conn->lane,
        .boot = o->boot,
    };
    int rc;

    (void)snprintf(hello.group, sizeof(hello.group), "%s", o->group);
    (void)snprintf(hello.cluster, sizeof(hello.cluster), "%s", o->cluster);
    rc = peer_hello_encode(&hello, net_conn_out(&conn->conn));
    if (rc == 0) {
        net_conn_out_done(&conn->conn);
    }
    return rc;
}
