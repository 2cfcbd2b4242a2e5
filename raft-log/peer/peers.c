#include "raft-log/peer/peers.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_BUSY_MS 20u /* while a connection is missing */
#define TICK_QUIET_MS 500u
#define BACKLOG 64

/* ---- dialling ---- */

static uint32_t backoff_ms(struct peers *peers, uint32_t failures)
{
    uint32_t ms = failures < 5 ? PEER_BACKOFF_MIN_MS << failures : PEER_BACKOFF_MAX_MS;

    peers->random = peers->random * 1664525u + 1013904223u;
    ms = ms < PEER_BACKOFF_MAX_MS ? ms : PEER_BACKOFF_MAX_MS;
    return ms / 2 + (peers->random >> 8) % (ms / 2 + 1);
}

/* Returns whether the connection is as it should be. */
static bool tend(struct peer_conn *conn, uint64_t now)
{
    if (conn->state == PEER_IDLE && now >= conn->redial_ms) {
        peer_conn_dial(conn);
    } else if (conn->state == PEER_GREETING && now - conn->since_ms >= PEER_CONNECT_MS) {
        peer_conn_close(conn, MQ_ETIMEDOUT);
    }
    return conn->state == PEER_UP;
}

static void on_tick(uv_timer_t *tick)
{
    struct peers *peers = container_of(tick, struct peers, tick);
    uint64_t now = mq_clock_mono_ms();
    bool all_up = true;

    for (uint32_t i = 0; i < peers->n; i++) {
        for (int lane = 0; lane < PEER_LANES && peers->list[i].id != 0; lane++) {
            all_up &= tend(&peers->list[i].out[lane], now);
        }
        if (peers->list[i].id != 0) {
            fetch_tick(&peers->list[i], now);
        }
    }
    for (struct peer_conn *conn = peers->accepted; conn != NULL; conn = conn->next) {
        if (conn->state == PEER_GREETING && now - conn->since_ms >= PEER_CONNECT_MS) {
            peer_conn_close(conn, MQ_ETIMEDOUT);
        }
        serve_tick(conn, now);
    }
    if (!peers->closing) {
        uv_timer_start(&peers->tick, on_tick, all_up ? TICK_QUIET_MS : TICK_BUSY_MS, 0);
    }
}

/* ---- life ---- */

/* A place whose connections are all closed. */
static bool is_vacant(const struct peer *peer)
{
    for (int lane = 0; lane < PEER_LANES; lane++) {
        if (peer->out[lane].state != PEER_IDLE || peer->in[lane] != NULL) {
            return false;
        }
    }
    return peer->id == 0;
}

static void add_peer(struct peers *peers, const struct rlog_member *member)
{
    struct peer *peer = NULL;

    for (uint32_t i = 0; i < peers->n && peer == NULL; i++) {
        peer = is_vacant(&peers->list[i]) ? &peers->list[i] : NULL;
    }
    if (peer == NULL && peers->n == PEERS_MAX) {
        return; /* when connections have closed the next call finds a place */
    }
    if (peer == NULL) {
        peer = &peers->list[peers->n++];
    }
    memset(peer, 0, sizeof(*peer));
    peer->peers = peers;
    peer->id = member->id;
    memcpy(peer->address, member->address, strlen(member->address) + 1);
    for (int lane = 0; lane < PEER_LANES; lane++) {
        peer_conn_init(&peer->out[lane], peers, peer, (enum peer_lane)lane);
    }
    fetch_list_init(&peer->fetches);
}

static void close_peer(struct peer *peer, bool accepted_too)
{
    for (int lane = 0; lane < PEER_LANES; lane++) {
        peer_conn_close(&peer->out[lane], 0);
        if (accepted_too && peer->in[lane] != NULL) {
            peer_conn_close(peer->in[lane], 0);
        }
    }
}

static const struct rlog_member *named_in(const struct rlog_member *list, uint32_t n, uint32_t id)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i].id == id) {
            return &list[i];
        }
    }
    return NULL;
}

void peers_reach(struct peers *peers, const struct rlog_member *list, uint32_t n)
{
    for (uint32_t i = 0; i < peers->n; i++) {
        struct peer *peer = &peers->list[i];
        const struct rlog_member *member = peer->id != 0 ? named_in(list, n, peer->id) : NULL;

        if (peer->id != 0 && member == NULL) {
            close_peer(peer, true);
            peer->id = 0;
        } else if (member != NULL && strcmp(member->address, peer->address) != 0) {
            memcpy(peer->address, member->address, strlen(member->address) + 1);
            close_peer(peer, false);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        if (list[i].id != peers->options.self && peers_find(peers, list[i].id) == NULL) {
            add_peer(peers, &list[i]);
        }
    }
    if (peers->listening) {
        uv_timer_start(&peers->tick, on_tick, 0, 0);
    }
}

int peers_new(const struct peers_options *options, struct peers **out)
{
    struct peers *peers = mq_calloc(1, sizeof(*peers));

    if (peers == NULL) {
        return MQ_ENOMEM;
    }
    peers->options = *options;
    peers->options.cluster = options->cluster != NULL ? options->cluster : "";
    peers->random = options->seed;
    peers_reach(peers, options->members, options->n_members);
    *out = peers;
    return 0;
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct peers *peers = container_of((uv_tcp_t *)listener, struct peers, listener);
    struct peer_conn *conn;

    if (status != 0 || peers->closing) {
        return;
    }
    conn = peer_conn_accept(peers, listener);
    if (conn != NULL && peers->n_accepted > PEERS_ACCEPTED_MAX) {
        peers_bad_frame(peers, conn, MQ_EBUSY);
        peer_conn_close(conn, MQ_EBUSY);
    }
}

/* A bound, listening socket. An address that is not this machine's (a translated one) is listened for everywhere. */
static int listen_on(struct sockaddr_storage *addr, int *out)
{
    socklen_t n = addr->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int on = 1;
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = fd >= 0 ? 0 : -errno;

    if (rc == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0) {
        rc = -errno;
    }
    if (rc == 0 && bind(fd, (struct sockaddr *)addr, n) != 0) {
        rc = -errno;
        if (rc == -EADDRNOTAVAIL) {
            if (addr->ss_family == AF_INET6) {
                ((struct sockaddr_in6 *)addr)->sin6_addr = in6addr_any;
            } else {
                ((struct sockaddr_in *)addr)->sin_addr.s_addr = INADDR_ANY;
            }
            rc = bind(fd, (struct sockaddr *)addr, n) == 0 ? 0 : -errno;
        }
    }
    if (rc == 0 && listen(fd, BACKLOG) != 0) {
        rc = -errno;
    }
    if (rc != 0 && fd >= 0) {
        close(fd);
    }
    *out = fd;
    return rc;
}

static const char *own_address(const struct peers *peers)
{
    for (uint32_t i = 0; i < peers->options.n_members; i++) {
        if (peers->options.members[i].id == peers->options.self) {
            return peers->options.members[i].address;
        }
    }
    return "";
}

int peers_start(struct peers *peers, struct mq_buf *problem)
{
    const char *address = own_address(peers);
    struct sockaddr_storage addr;
    int fd;
    int rc = net_addr_parse(address, &addr);

    if (rc == 0) {
        rc = listen_on(&addr, &fd);
    }
    if (rc != 0) {
        mq_buf_printf(problem, "listening for peers on %s: %s", address, mq_strerror(rc));
        return rc;
    }
    rc = uv_tcp_init(&peers->options.loop->uv, &peers->listener);
    MQ_ASSERT(rc == 0);
    rc = uv_tcp_open(&peers->listener, fd);
    MQ_ASSERT(rc == 0);
    rc = uv_listen((uv_stream_t *)&peers->listener, BACKLOG, on_connection);
    MQ_ASSERT(rc == 0); /* the socket listens already */
    rc = uv_timer_init(&peers->options.loop->uv, &peers->tick);
    MQ_ASSERT(rc == 0);
    peers->open += 2;
    peers->listening = true;
    uv_timer_start(&peers->tick, on_tick, 0, 0);
    return 0;
}

void peers_conn_born(struct peers *peers)
{
    peers->open++;
}

void peers_conn_gone(struct peers *peers)
{
    peers->open--;
    if (peers->closing && peers->open == 0) {
        void (*closed)(void *data) = peers->closed;
        void *data = peers->options.data;

        mq_free(peers);
        closed(data);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    peers_conn_gone(container_of((uv_tcp_t *)handle, struct peers, listener));
}

static void on_tick_closed(uv_handle_t *handle)
{
    peers_conn_gone(container_of((uv_timer_t *)handle, struct peers, tick));
}

void peers_close(struct peers *peers, void (*closed)(void *data))
{
    peers->closing = true;
    peers->closed = closed;
    peers->open++; /* ours, until everything is told to close */
    if (peers->listening) {
        uv_close((uv_handle_t *)&peers->listener, on_listener_closed);
        uv_close((uv_handle_t *)&peers->tick, on_tick_closed);
    }
    for (uint32_t i = 0; i < peers->n; i++) {
        for (int lane = 0; lane < PEER_LANES; lane++) {
            peer_conn_close(&peers->list[i].out[lane], 0);
        }
    }
    for (struct peer_conn *conn = peers->accepted; conn != NULL; conn = conn->next) {
        peer_conn_close(conn, 0);
    }
    peers_conn_gone(peers);
}

/* ---- who is there ---- */

struct peer *peers_find(struct peers *peers, uint32_t id)
{
    for (uint32_t i = 0; i < peers->n && id != 0; i++) {
        if (peers->list[i].id == id) {
            return &peers->list[i];
        }
    }
    return NULL;
}

uint64_t peer_incarnation(const struct peer *peer)
{
    const struct peer_conn *out = &peer->out[PEER_CONTROL];
    const struct peer_conn *in = peer->in[PEER_CONTROL];

    if (out->state == PEER_UP && !out->conn.closing) {
        return out->incarnation;
    }
    return in != NULL && in->state == PEER_UP && !in->conn.closing ? in->incarnation : 0;
}

bool peer_is_up(const struct peer *peer, enum peer_lane lane)
{
    const struct peer_conn *conn = &peer->out[lane];

    return conn->state == PEER_UP && !conn->conn.closing && peer_in_takes_part(peer->peers, conn);
}

uint32_t peers_up(const struct peers *peers, enum peer_lane lane)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < peers->n; i++) {
        n += peer_is_up(&peers->list[i], lane);
    }
    return n;
}

uint32_t peers_next_up(const struct peers *peers, enum peer_lane lane, uint32_t after)
{
    uint32_t at = 0;

    while (at < peers->n && peers->list[at].id != after) {
        at++;
    }
    for (uint32_t i = 1; i <= peers->n; i++) {
        const struct peer *peer = &peers->list[(at + i) % peers->n];

        if (peer_is_up(peer, lane)) {
            return peer->id;
        }
    }
    return 0;
}

static void tell_up(struct peer *peer)
{
    bool up = peer_is_up(peer, PEER_CONTROL);

    if (up == peer->told_up) {
        return;
    }
    peer->told_up = up;
    mq_log_limited(&peer->up_limit, MQ_LOG_INFO, "peer", "member %" PRIu32 " at %s is %s", peer->id, peer->address,
                   up ? "connected" : "not connected");
}

void peers_set_membership(struct peers *peers, const struct membership *membership, const struct membership *heard)
{
    peers->membership = membership;
    peers->heard = heard;
    for (uint32_t i = 0; i < peers->n; i++) {
        if (peers->list[i].id != 0) {
            tell_up(&peers->list[i]);
        }
    }
}

void peers_conn_closed(struct peers *peers, struct peer_conn *conn, int reason)
{
    if (!conn->dialled) {
        *conn->prev = conn->next;
        if (conn->next != NULL) {
            conn->next->prev = conn->prev;
        }
        peers->n_accepted--;
        if (conn->peer != NULL && conn->peer->in[conn->lane] == conn) {
            conn->peer->in[conn->lane] = NULL;
        }
        return;
    }
    conn->state = PEER_IDLE;
    conn->redial_ms = mq_clock_mono_ms() + backoff_ms(peers, conn->failures);
    conn->failures++;
    if (conn->lane == PEER_BULK) {
        peer_out_reset(conn->peer);
    }
    if (conn->peer->id != 0) {
        tell_up(conn->peer);
    }
    if (!peers->closing) {
        uv_timer_start(&peers->tick, on_tick, TICK_BUSY_MS, 0);
    }
    if (conn->lane == PEER_RANGE) {
        fetch_conn_closed(conn->peer, reason);
    }
}

/* ---- frames ---- */

static void greeted(struct peers *peers, struct peer_conn *conn)
{
    conn->failures = 0;
    if (!conn->dialled) {
        return;
    }
    if (conn->lane == PEER_BULK) {
        peer_out_reset(conn->peer);
    }
    tell_up(conn->peer);
    if (conn->lane == PEER_CONTROL) {
        peers->options.ops->reached(peers->options.data, conn->peer);
    }
}

int peers_frame(struct peers *peers, struct peer_conn *conn, const struct peer_frame *frame)
{
    struct peer_founding founding;
    int rc;

    if (conn->state == PEER_GREETING) {
        rc = peer_in_hello(peers, conn, frame);
        if (rc == 0) {
            greeted(peers, conn);
        }
        return rc;
    }
    if (conn->dialled) {
        /* But for these, the answer to our hello is all that comes this way. */
        return conn->lane == PEER_RANGE ? fetch_answered(conn->peer, frame, peer_conn_chunk_ref(conn)) : MQ_EBADMSG;
    }
    conn->peer->last_heard_ms = mq_clock_mono_ms();
    if (conn->lane == PEER_RANGE) {
        return serve_frame(conn, frame);
    }
    if (frame->type == PEER_CLAIM) {
        return peer_in_claim(peers, conn, frame);
    }
    if (frame->type == PEER_SPACE) {
        return peer_in_space(peers, conn, frame);
    }
    if (frame->type == PEER_STATE_HASH) {
        return peer_in_state_hash(peers, conn, frame);
    }
    if (frame->type != PEER_FOUNDING) {
        return peer_in_message(peers, conn, frame);
    }
    rc = peer_founding_decode(frame, &founding);
    if (rc == 0) {
        peers->options.ops->founding(peers->options.data, conn->peer, conn->incarnation, &founding);
    }
    return rc;
}

void peers_send_claim(struct peer *peer, const struct peer_claim *claim)
{
    struct peer_conn *conn = &peer->out[PEER_CONTROL];

    if (peer_is_up(peer, PEER_CONTROL) && peer_claim_encode(claim, net_conn_out(&conn->conn)) == 0) {
        net_conn_out_done(&conn->conn);
    }
}

void peers_send_space(struct peer *peer, const struct peer_space *space)
{
    struct peer_conn *conn = &peer->out[PEER_CONTROL];

    if (peer_is_up(peer, PEER_CONTROL) && peer_space_encode(space, net_conn_out(&conn->conn)) == 0) {
        net_conn_out_done(&conn->conn);
    }
}

void peers_send_state_hash(struct peer *peer, const struct state_hashes *hashes)
{
    struct peer_conn *conn = &peer->out[PEER_CONTROL];

    if (peer_is_up(peer, PEER_CONTROL) && peer_state_hash_encode(hashes, net_conn_out(&conn->conn)) == 0) {
        net_conn_out_done(&conn->conn);
    }
}

void peers_bad_frame(struct peers *peers, struct peer_conn *conn, int rc)
{
    struct rlog_refusals *r = &peers->refusals;

    r->version += rc == MQ_EVERSION;
    r->corrupt += rc == MQ_ECORRUPT;
    r->malformed += rc == MQ_EBADMSG || rc == MQ_ETOOBIG;
    if (rc != MQ_ECLOSED) {
        mq_log_limited(&peers->bad_limit, MQ_LOG_WARN, "peer",
                       "closed the connection with %s (member %" PRIu32 "): %s",
                       net_addr_text((struct sockaddr *)&conn->conn.peer), conn->peer != NULL ? conn->peer->id : 0,
                       mq_strerror(rc));
    }
}

void peers_mended(struct peers *peers)
{
    for (uint32_t i = 0; i < peers->n; i++) {
        if (peers->list[i].id != 0) {
            peer_out_mended(&peers->list[i]);
        }
    }
}

void peers_send_founding(struct peer *peer, const struct peer_founding *founding)
{
    struct peer_conn *conn = &peer->out[PEER_CONTROL];

    if (conn->state == PEER_UP && !conn->conn.closing &&
        peer_founding_encode(founding, net_conn_out(&conn->conn)) == 0) {
        net_conn_out_done(&conn->conn);
    }
}
