#include "fixture.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection under test and what it told. */
struct probe {
    struct net_conn conn;
    struct mq_buf in;
    int connected, closed, drained; /* how often */
    int status, reason;
    bool no_room;
    int read_rc;
    uint64_t wrote;
};

/* One listener that hands its next connection to a probe. */
struct pair {
    struct fixture f;
    uv_tcp_t listener;
    struct probe near;
    int port;
    int far; /* the other end, a plain socket */
};

static struct probe *probe_of(struct net_conn *conn)
{
    return container_of(conn, struct probe, conn);
}

static void on_connected(struct net_conn *conn, int status)
{
    probe_of(conn)->connected++;
    probe_of(conn)->status = status;
}

static void on_room(struct net_conn *conn, uint8_t **base, size_t *bytes)
{
    if (!probe_of(conn)->no_room) {
        *base = conn->loop->read_buffer;
        *bytes = NET_READ_BYTES;
    }
}

static int on_read(struct net_conn *conn, size_t n)
{
    assert_int_equal(mq_buf_put(&probe_of(conn)->in, conn->loop->read_buffer, n), 0);
    return probe_of(conn)->read_rc;
}

static void on_drained(struct net_conn *conn)
{
    probe_of(conn)->drained++;
}

static void on_closed(struct net_conn *conn, int reason)
{
    probe_of(conn)->closed++;
    probe_of(conn)->reason = reason;
}

static void on_wrote(struct net_conn *conn, size_t n)
{
    probe_of(conn)->wrote += n;
}

static const struct net_conn_ops probe_ops = {
    .connected = on_connected,
    .room = on_room,
    .read = on_read,
    .drained = on_drained,
    .closed = on_closed,
    .wrote = on_wrote,
};

static const struct net_conn_limits wide = {
    .pause_bytes = 1u << 30, .resume_bytes = 1u << 30, .close_bytes = 1u << 30};
static const struct net_conn_limits narrow = {
    .pause_bytes = 1u << 20, .resume_bytes = 1u << 18, .close_bytes = 4u << 20};

static void on_connection(uv_stream_t *listener, int status)
{
    struct pair *p = container_of(listener, struct pair, listener);

    assert_int_equal(status, 0);
    assert_int_equal(net_conn_accept(&p->near.conn, listener, true), 0);
    assert_int_equal(net_conn_start(&p->near.conn), 0);
}

static void pair_init(struct pair *p, const struct net_conn_limits *limits)
{
    struct sockaddr_storage addr = addr_of_port(0);
    int bytes = sizeof(addr);

    memset(p, 0, sizeof(*p));
    fixture_init(&p->f);
    assert_int_equal(net_conn_init(&p->near.conn, &p->f.loop, &probe_ops, limits), 0);
    uv_tcp_init(&p->f.loop.uv, &p->listener);
    assert_int_equal(uv_tcp_bind(&p->listener, (struct sockaddr *)&addr, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 16, on_connection), 0);
    uv_tcp_getsockname(&p->listener, (struct sockaddr *)&addr, &bytes);
    p->port = ntohs(((struct sockaddr_in *)&addr)->sin_port);
    p->far = peer_connect(p->port);
    RUN_UNTIL(&p->f, p->near.conn.started);
}

static void pair_fini(struct pair *p)
{
    net_conn_close(&p->near.conn, 0, false);
    RUN_UNTIL(&p->f, p->near.closed != 0);
    assert_int_equal(p->near.closed, 1);
    mq_buf_free(&p->near.in);
    uv_close((uv_handle_t *)&p->listener, NULL);
    if (p->far >= 0) {
        close(p->far);
    }
    fixture_fini(&p->f);
}

/* Memory that output views, and how often its owner let go. */
struct shared {
    struct net_ref ref;
    int freed;
    uint8_t bytes[1u << 16];
};

static void on_shared_free(struct net_ref *ref)
{
    container_of(ref, struct shared, ref)->freed++;
}

static struct shared *shared_new(void)
{
    struct shared *s = mq_calloc(1, sizeof(*s));

    assert_non_null(s);
    s->ref = (struct net_ref){.count = 1, .free = on_shared_free};
    for (size_t i = 0; i < sizeof(s->bytes); i++) {
        s->bytes[i] = (uint8_t)(i * 7 + 3);
    }
    return s;
}

static void put_bytes(struct net_conn *conn, const void *bytes, size_t n)
{
    mq_buf_put(net_conn_out(conn), bytes, n);
    net_conn_out_done(conn);
}

static void read_all(struct pair *p, struct mq_buf *into, size_t n)
{
    ssize_t got;

    fixture_expect(&p->f);
    while (into->len < n) {
        assert_int_equal(mq_buf_reserve(into, 65536), 0);
        got = peer_read(p->far, into->base + into->len, 65536);
        if (got == -EAGAIN) {
            fixture_turn(&p->f, "the far end gets all bytes");
            continue;
        }
        assert_true(got > 0);
        into->len += (size_t)got;
    }
}

static void bytes_and_views_arrive_in_order_through_a_full_socket(void **state)
{
    struct shared *s = shared_new();
    struct mq_buf want = {0}, got = {0};
    struct pair p;
    char text[64];
    int n;

    (void)state;
    pair_init(&p, &wide);
    for (int i = 0; i < 3000; i++) {
        size_t at = (size_t)i * 17 % 4096, bytes = 1 + (size_t)i * 131 % 20000;

        n = snprintf(text, sizeof(text), "head %d;", i);
        put_bytes(&p.near.conn, text, (size_t)n);
        assert_int_equal(net_conn_out_view(&p.near.conn, s->bytes + at, bytes, &s->ref), 0);
        mq_buf_put(&want, text, (size_t)n);
        mq_buf_put(&want, s->bytes + at, bytes);
    }
    assert_int_equal(p.near.conn.out_bytes, want.len);
    assert_int_equal(s->ref.count, 3001);
    read_all(&p, &got, want.len);
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.base, want.base, want.len);
    RUN_UNTIL(&p.f, p.near.conn.out_bytes == 0);
    assert_int_equal(s->ref.count, 1);
    assert_int_equal(p.near.wrote, want.len);
    mq_buf_free(&want);
    mq_buf_free(&got);
    mq_free(s);
    pair_fini(&p);
}

static void output_may_be_added_while_a_write_waits(void **state)
{
    const size_t bulk = 8u << 20;
    struct shared *s = shared_new();
    uint8_t *big = mq_calloc(1, bulk);
    struct mq_buf got = {0};
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    assert_int_equal(net_conn_out_view(&p.near.conn, big, bulk, &s->ref), 0);
    put_bytes(&p.near.conn, "tail", 4); /* libuv knows its address from now on */
    RUN_UNTIL(&p.f, p.near.conn.writing);
    for (int i = 1; i < 1000; i++) {
        put_bytes(&p.near.conn, "tail", 4);
    }
    read_all(&p, &got, bulk + 4000);
    for (size_t at = bulk; at < got.len; at += 4) {
        assert_memory_equal(got.base + at, "tail", 4);
    }
    mq_buf_free(&got);
    mq_free(big);
    mq_free(s);
    pair_fini(&p);
}

static void views_are_released_once_when_the_connection_closes(void **state)
{
    struct shared *s = shared_new();
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    for (int i = 0; i < 400; i++) {
        assert_int_equal(net_conn_out_view(&p.near.conn, s->bytes, sizeof(s->bytes), &s->ref), 0);
    }
    RUN_UNTIL(&p.f, p.near.conn.writing);
    assert_true(s->ref.count > 1);
    net_ref_release(&s->ref);
    assert_int_equal(s->freed, 0);
    net_conn_close(&p.near.conn, 0, false);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(s->freed, 1);
    assert_int_equal(s->ref.count, 0);
    assert_int_equal(net_conn_out_view(&p.near.conn, s->bytes, 10, &s->ref), 0); /* dropped */
    assert_int_equal(s->ref.count, 0);
    mq_free(s);
    pair_fini(&p);
}

static void a_frame_under_construction_does_not_leave(void **state)
{
    struct mq_buf got = {0};
    struct mq_buf *out;
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    put_bytes(&p.near.conn, "whole", 5);
    out = net_conn_out(&p.near.conn);
    mq_buf_put(out, "ha", 2);
    net_conn_flush(&p.near.conn);
    read_all(&p, &got, 5);
    assert_int_equal(got.len, 5);
    mq_buf_put(out, "lf", 2);
    net_conn_out_done(&p.near.conn);
    read_all(&p, &got, 9);
    assert_memory_equal(got.base, "wholehalf", 9);
    mq_buf_free(&got);
    pair_fini(&p);
}

static void a_reader_who_does_not_read_is_paused_then_closed(void **state)
{
    static uint8_t block[64u << 10];
    struct pair p;
    size_t most = 0;

    (void)state;
    pair_init(&p, &narrow);
    while (!p.near.conn.paused) {
        put_bytes(&p.near.conn, block, sizeof(block));
        assert_int_equal(p.near.conn.closing, false);
    }
    assert_in_range(p.near.conn.out_bytes, narrow.pause_bytes + 1, narrow.pause_bytes + sizeof(block));
    assert_int_equal(send(p.far, "x", 1, 0), 1);
    for (int i = 0; i < 3; i++) {
        uv_run(&p.f.loop.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(p.near.in.len, 0); /* nothing is read */
    while (!p.near.conn.closing) {
        put_bytes(&p.near.conn, block, sizeof(block));
        most = p.near.conn.out_bytes > most ? p.near.conn.out_bytes : most;
    }
    assert_in_range(most, narrow.close_bytes, narrow.close_bytes + sizeof(block));
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, MQ_ETOOBIG);
    pair_fini(&p);
}

static void a_reader_who_reads_again_is_read_again(void **state)
{
    static uint8_t block[64u << 10];
    struct mq_buf got = {0};
    struct pair p;
    size_t n = 0;

    (void)state;
    pair_init(&p, &narrow);
    for (; !p.near.conn.paused; n += sizeof(block)) {
        put_bytes(&p.near.conn, block, sizeof(block));
    }
    assert_int_equal(send(p.far, "x", 1, 0), 1);
    read_all(&p, &got, n);
    RUN_UNTIL(&p.f, p.near.in.len == 1);
    assert_int_equal(p.near.drained, 1);
    assert_false(p.near.conn.paused);
    mq_buf_free(&got);
    pair_fini(&p);
}

static void views_count_against_the_limits(void **state)
{
    struct shared *s = shared_new();
    struct pair p;
    bool paused = false;

    (void)state;
    pair_init(&p, &narrow);
    while (!p.near.conn.closing) {
        assert_int_equal(net_conn_out_view(&p.near.conn, s->bytes, sizeof(s->bytes), &s->ref), 0);
        paused |= p.near.conn.paused;
    }
    assert_true(paused);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, MQ_ETOOBIG);
    assert_int_equal(s->ref.count, 1);
    mq_free(s);
    pair_fini(&p);
}

/* The kernel is asked before the limits count: more than close_bytes in one turn is fine for a peer that takes it. */
static void a_burst_above_the_limits_is_offered_to_the_kernel_first(void **state)
{
    static const struct net_conn_limits tight = {.pause_bytes = 1000, .resume_bytes = 100, .close_bytes = 4000};
    struct mq_buf got = {0};
    struct pair p;

    (void)state;
    pair_init(&p, &tight);
    for (int i = 0; i < 100; i++) {
        put_bytes(&p.near.conn, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 64);
        assert_false(p.near.conn.closing);
    }
    read_all(&p, &got, 6400);
    mq_buf_free(&got);
    pair_fini(&p);
}

static void an_orderly_close_delivers_and_ends_with_a_fin_though_input_is_unread(void **state)
{
    static const uint8_t unread[100u << 10];
    char text[16];
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    assert_int_equal(send(p.far, unread, sizeof(unread), 0), sizeof(unread));
    put_bytes(&p.near.conn, "farewell", 8);
    net_conn_close(&p.near.conn, 0, true);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, 0);
    assert_int_equal(peer_read(p.far, text, sizeof(text)), 8);
    assert_memory_equal(text, "farewell", 8);
    assert_int_equal(peer_read(p.far, text, sizeof(text)), 0);
    assert_int_equal(send(p.far, "x", 1, MSG_NOSIGNAL), 1); /* a reset would be an error here */
    pair_fini(&p);
}

static void an_orderly_close_delivers_what_the_kernel_took_to_a_slow_reader(void **state)
{
    uint8_t *big = mq_calloc(1, 32u << 20);
    struct mq_buf got = {0};
    struct pair p;
    uint8_t byte;
    ssize_t n;

    (void)state;
    pair_init(&p, &wide);
    put_bytes(&p.near.conn, big, 32u << 20);
    net_conn_close(&p.near.conn, 0, true);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_in_range(p.near.wrote, 1, (32u << 20) - 1);
    read_all(&p, &got, p.near.wrote);
    assert_int_equal(got.len, p.near.wrote);
    fixture_expect(&p.f);
    while ((n = peer_read(p.far, &byte, 1)) == -EAGAIN) {
        fixture_turn(&p.f, "the end of the stream arrives");
    }
    assert_int_equal(n, 0);
    mq_buf_free(&got);
    mq_free(big);
    pair_fini(&p);
}

static void any_other_close_of_an_accepted_socket_is_a_reset(void **state)
{
    char text[16];
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    net_conn_close(&p.near.conn, -77, false);
    net_conn_close(&p.near.conn, -78, true);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, -77);
    assert_int_equal(peer_read(p.far, text, sizeof(text)), -ECONNRESET);
    pair_fini(&p);
}

static void the_end_of_the_peer_is_told_and_what_was_gathered_still_goes_out(void **state)
{
    struct mq_buf got = {0};
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    assert_int_equal(shutdown(p.far, SHUT_WR), 0);
    put_bytes(&p.near.conn, "answer", 6);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, UV_EOF);
    read_all(&p, &got, 6);
    mq_buf_free(&got);
    pair_fini(&p);
}

static void a_closing_connection_takes_output_and_drops_it(void **state)
{
    static uint8_t block[128u << 10];
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    net_conn_close(&p.near.conn, 0, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(net_conn_out(&p.near.conn)->len, 0);
        put_bytes(&p.near.conn, block, sizeof(block));
        net_conn_flush(&p.near.conn);
    }
    assert_int_equal(p.near.conn.out_bytes, 0);
    RUN_UNTIL(&p.f, p.near.closed);
    put_bytes(&p.near.conn, block, sizeof(block));
    pair_fini(&p);
}

static void an_idle_connection_is_closed_and_a_busy_one_is_not(void **state)
{
    struct net_conn_limits limits = wide;
    struct pair p;
    uint64_t began_ms;
    uint64_t next_ms;

    (void)state;
    limits.idle_ms = 60;
    pair_init(&p, &limits);
    began_ms = uv_now(&p.f.loop.uv);
    next_ms = began_ms;
    fixture_expect(&p.f);
    /* On a machine that stands still for long the end may come early, but never while the last byte is young. */
    while (uv_now(&p.f.loop.uv) < began_ms + 200 && !p.near.conn.closing) {
        if (uv_now(&p.f.loop.uv) >= next_ms) {
            assert_int_equal(send(p.far, "x", 1, 0), 1);
            next_ms += 10;
        }
        fixture_turn(&p.f, "200 ms pass");
    }
    RUN_UNTIL(&p.f, p.near.conn.closing);
    assert_true(uv_now(&p.f.loop.uv) - p.near.conn.last_active_ms >= limits.idle_ms);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, MQ_ETIMEDOUT);
    pair_fini(&p);
}

static void what_read_returns_closes_the_connection_and_so_does_no_room(void **state)
{
    struct pair p;

    (void)state;
    pair_init(&p, &wide);
    p.near.read_rc = -1234;
    assert_int_equal(send(p.far, "x", 1, 0), 1);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, -1234);
    pair_fini(&p);

    pair_init(&p, &wide);
    p.near.no_room = true;
    assert_int_equal(send(p.far, "x", 1, 0), 1);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(p.near.reason, MQ_ENOMEM);
    pair_fini(&p);
}

static void output_without_memory_closes_the_connection(void **state)
{
    struct shared *s = shared_new();
    struct pair p;

    (void)state;
    for (unsigned nth = 1; nth <= 2; nth++) {
        pair_init(&p, &wide);
        mq_heap_fail_at(nth);
        assert_non_null(net_conn_out(&p.near.conn));
        mq_heap_fail_at(0);
        net_conn_out_done(&p.near.conn);
        RUN_UNTIL(&p.f, p.near.closed);
        assert_int_equal(p.near.reason, MQ_ENOMEM);
        pair_fini(&p);
    }
    pair_init(&p, &wide);
    mq_heap_fail_at(1);
    assert_int_equal(net_conn_out_view(&p.near.conn, s->bytes, 10, &s->ref), MQ_ENOMEM);
    RUN_UNTIL(&p.f, p.near.closed);
    assert_int_equal(s->ref.count, 1);
    mq_free(s);
    pair_fini(&p);
}

static void one_turn_reads_a_connection_once(void **state)
{
    static uint8_t block[3u << 20];
    struct pair p;
    size_t before;

    (void)state;
    pair_init(&p, &wide);
    peer_send(&p.f, p.far, block, sizeof(block));
    fixture_expect(&p.f);
    do {
        before = p.near.in.len;
        fixture_turn(&p.f, "all is read");
        assert_true(p.near.in.len - before <= NET_READ_BYTES);
    } while (p.near.in.len < sizeof(block));
    pair_fini(&p);
}

/* Connecting ------------------------------------------------------------------------------------------------------
 */

static void probe_close(struct fixture *f, struct probe *probe)
{
    net_conn_close(&probe->conn, 0, false);
    RUN_UNTIL(f, probe->closed != 0);
    assert_int_equal(probe->closed, 1);
}

static int listen_port(int *fd, int backlog)
{
    struct sockaddr_storage addr = addr_of_port(0);
    socklen_t bytes = sizeof(struct sockaddr_in);

    *fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&addr, bytes), 0);
    assert_int_equal(listen(*fd, backlog), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&addr, &bytes), 0);
    return ntohs(((struct sockaddr_in *)&addr)->sin_port);
}

static void output_gathered_while_connecting_goes_out_when_connected(void **state)
{
    struct sockaddr_storage addr;
    struct probe probe = {0};
    struct fixture f;
    char text[16];
    int listener, far;

    (void)state;
    fixture_init(&f);
    addr = addr_of_port(listen_port(&listener, 8));
    assert_int_equal(net_conn_init(&probe.conn, &f.loop, &probe_ops, &wide), 0);
    assert_int_equal(net_conn_connect(&probe.conn, (struct sockaddr *)&addr, false), 0);
    put_bytes(&probe.conn, "early", 5);
    assert_int_equal(probe.connected, 0);
    RUN_UNTIL(&f, probe.connected && probe.conn.out_bytes == 0);
    assert_int_equal(probe.status, 0);
    far = accept(listener, NULL, NULL);
    assert_int_equal(recv(far, text, sizeof(text), 0), 5);
    close(far);
    close(listener);
    probe_close(&f, &probe);
    fixture_fini(&f);
}

static void a_refused_connection_is_told_and_then_closed(void **state)
{
    struct sockaddr_storage addr;
    struct probe probe = {0};
    struct fixture f;
    int listener;

    (void)state;
    fixture_init(&f);
    addr = addr_of_port(listen_port(&listener, 8));
    close(listener);
    assert_int_equal(net_conn_init(&probe.conn, &f.loop, &probe_ops, &wide), 0);
    assert_int_equal(net_conn_connect(&probe.conn, (struct sockaddr *)&addr, false), 0);
    assert_int_equal(probe.connected, 0);
    RUN_UNTIL(&f, probe.closed);
    assert_int_equal(probe.connected, 1);
    assert_int_equal(probe.status, UV_ECONNREFUSED);
    assert_int_equal(probe.reason, UV_ECONNREFUSED);
    probe_close(&f, &probe);
    fixture_fini(&f);
}

static void an_attempt_to_connect_has_an_end(void **state)
{
    struct net_conn_limits limits = wide;
    struct sockaddr_storage addr;
    struct probe probe = {0};
    struct fixture f;
    int listener, fillers[2];

    (void)state;
    fixture_init(&f);
    limits.connect_ms = 50;
    addr = addr_of_port(listen_port(&listener, 0));
    for (size_t i = 0; i < ARRAY_SIZE(fillers); i++) { /* a full backlog leaves further attempts without answer */
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&addr, sizeof(struct sockaddr_in));
    }
    assert_int_equal(net_conn_init(&probe.conn, &f.loop, &probe_ops, &limits), 0);
    assert_int_equal(net_conn_connect(&probe.conn, (struct sockaddr *)&addr, false), 0);
    RUN_UNTIL(&f, probe.closed);
    assert_int_equal(probe.connected, 1);
    assert_int_equal(probe.status, UV_ETIMEDOUT);
    probe_close(&f, &probe);
    for (size_t i = 0; i < ARRAY_SIZE(fillers); i++) {
        close(fillers[i]);
    }
    close(listener);
    fixture_fini(&f);
}

static void a_close_while_connecting_and_one_before_any_use_are_told_once(void **state)
{
    struct sockaddr_storage addr;
    struct fixture f;
    int listener;

    (void)state;
    fixture_init(&f);
    addr = addr_of_port(listen_port(&listener, 8));
    for (int connect_first = 0; connect_first < 2; connect_first++) {
        struct probe probe = {0};

        assert_int_equal(net_conn_init(&probe.conn, &f.loop, &probe_ops, &wide), 0);
        if (connect_first) {
            assert_int_equal(net_conn_connect(&probe.conn, (struct sockaddr *)&addr, true), 0);
        }
        net_conn_close(&probe.conn, -5, true);
        assert_int_equal(probe.closed, 0);
        RUN_UNTIL(&f, probe.closed);
        assert_int_equal(probe.connected, 0);
        assert_int_equal(probe.reason, -5);
        probe_close(&f, &probe);
    }
    close(listener);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_views_arrive_in_order_through_a_full_socket),
        cmocka_unit_test(output_may_be_added_while_a_write_waits),
        cmocka_unit_test(views_are_released_once_when_the_connection_closes),
        cmocka_unit_test(a_frame_under_construction_does_not_leave),
        cmocka_unit_test(a_reader_who_does_not_read_is_paused_then_closed),
        cmocka_unit_test(a_reader_who_reads_again_is_read_again),
        cmocka_unit_test(views_count_against_the_limits),
        cmocka_unit_test(a_burst_above_the_limits_is_offered_to_the_kernel_first),
        cmocka_unit_test(an_orderly_close_delivers_and_ends_with_a_fin_though_input_is_unread),
        cmocka_unit_test(an_orderly_close_delivers_what_the_kernel_took_to_a_slow_reader),
        cmocka_unit_test(any_other_close_of_an_accepted_socket_is_a_reset),
        cmocka_unit_test(the_end_of_the_peer_is_told_and_what_was_gathered_still_goes_out),
        cmocka_unit_test(a_closing_connection_takes_output_and_drops_it),
        cmocka_unit_test(an_idle_connection_is_closed_and_a_busy_one_is_not),
        cmocka_unit_test(what_read_returns_closes_the_connection_and_so_does_no_room),
        cmocka_unit_test(output_without_memory_closes_the_connection),
        cmocka_unit_test(one_turn_reads_a_connection_once),
        cmocka_unit_test(output_gathered_while_connecting_goes_out_when_connected),
        cmocka_unit_test(a_refused_connection_is_told_and_then_closed),
        cmocka_unit_test(an_attempt_to_connect_has_an_end),
        cmocka_unit_test(a_close_while_connecting_and_one_before_any_use_are_told_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
