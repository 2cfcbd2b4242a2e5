#include "fixture.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct scene {
    struct fixture f;
    struct echo e;
    int peer;
    struct mq_buf out; /* what the peer sends */
    struct mq_buf in;  /* what it got */
    size_t parsed;     /* of in */
};

static void scene_init(struct scene *s, const struct net_conn_limits *limits)
{
    memset(s, 0, sizeof(*s));
    net_counters = (struct net_counters){0};
    fixture_init(&s->f);
    echo_open(&s->e, &s->f, limits);
    s->peer = peer_connect(s->e.server.port);
    RUN_UNTIL(&s->f, s->e.opened == 1);
}

static void scene_fini(struct scene *s)
{
    close(s->peer);
    mq_buf_free(&s->out);
    mq_buf_free(&s->in);
    echo_close(&s->e, &s->f);
    fixture_fini(&s->f);
}

static void scene_send(struct scene *s)
{
    peer_send(&s->f, s->peer, s->out.base, s->out.len);
    s->out.len = 0;
}

/* Reads what there is; tells whether the connection still stands. */
static bool scene_read(struct scene *s)
{
    ssize_t n;

    do {
        assert_int_equal(mq_buf_reserve(&s->in, 1u << 16), 0);
        n = peer_read(s->peer, s->in.base + s->in.len, 1u << 16);
        s->in.len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    return n == -EAGAIN;
}

/* Waits for one answer and checks that it is the echo of @opaque. */
static void scene_answer(struct scene *s, int32_t opaque, enum proto_encoding encoding, size_t body_bytes)
{
    struct proto_command cmd;
    uint32_t length = 0;

    fixture_expect(&s->f);
    while (proto_frame_length(s->in.base + s->parsed, s->in.len - s->parsed, &length) != 0 ||
           s->in.len - s->parsed < length) {
        size_t before = s->in.len;
        bool stands = scene_read(s);

        if (s->in.len == before) {
            assert_true(stands);
            fixture_turn(&s->f, "an answer arrives");
        }
    }
    assert_int_equal(proto_command_decode(s->in.base + s->parsed, length, &cmd), 0);
    s->parsed += length;
    assert_int_equal(cmd.opaque, opaque);
    assert_int_equal(cmd.flag, PROTO_FLAG_RESPONSE);
    assert_int_equal(cmd.encoding, encoding);
    assert_true(mq_str_eq(proto_fields_get(&cmd.fields, MQ_STR("k")), MQ_STR("a \"quoted\" value")));
    assert_int_equal(cmd.body_bytes, body_bytes);
    frame_body_check(cmd.body, cmd.body_bytes, opaque);
}

static void a_request_is_answered_in_its_encoding(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    frame_put(&s.out, PROTO_JSON, 7, 0, 100);
    frame_put(&s.out, PROTO_BINARY, 8, 0, 0);
    frame_put(&s.out, PROTO_BINARY, 9, PROTO_FLAG_ONEWAY, 10);
    frame_put(&s.out, PROTO_JSON, 10, 0, 1);
    scene_send(&s);
    scene_answer(&s, 7, PROTO_JSON, 100);
    scene_answer(&s, 8, PROTO_BINARY, 0);
    scene_answer(&s, 10, PROTO_JSON, 1);
    assert_int_equal(net_counters.frames_in, 4);
    assert_int_equal(net_counters.bytes_out, s.in.len);
    assert_int_equal(net_counters.accepted, 1);
    scene_fini(&s);
    assert_int_equal(net_counters.closed, 1);
}

static void a_frame_may_be_cut_at_every_byte(void **state)
{
    struct mq_buf frame = {0};
    struct scene s;
    int32_t opaque = 0;

    (void)state;
    scene_init(&s, NULL);
    for (int encoding = PROTO_JSON; encoding <= PROTO_BINARY; encoding++) {
        frame.len = 0;
        frame_put(&frame, encoding, 0, 0, 3);
        for (size_t cut = 1; cut < frame.len; cut++) {
            uint64_t bytes_in = net_counters.bytes_in;
            uint32_t commands = s.e.commands;

            opaque++;
            frame_put(&s.out, encoding, opaque, 0, 3);
            peer_send(&s.f, s.peer, s.out.base, cut);
            RUN_UNTIL(&s.f, net_counters.bytes_in == bytes_in + cut);
            assert_int_equal(s.e.commands, commands);
            peer_send(&s.f, s.peer, s.out.base + cut, s.out.len - cut);
            s.out.len = 0;
            scene_answer(&s, opaque, encoding, 3);
        }
    }
    assert_int_equal(s.e.commands, opaque);
    mq_buf_free(&frame);
    scene_fini(&s);
}

static void a_frame_may_come_byte_by_byte(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    frame_put(&s.out, PROTO_JSON, 77, 0, 5);
    for (size_t i = 0; i < s.out.len; i++) {
        uint64_t bytes_in = net_counters.bytes_in;

        peer_send(&s.f, s.peer, s.out.base + i, 1);
        RUN_UNTIL(&s.f, net_counters.bytes_in == bytes_in + 1);
    }
    scene_answer(&s, 77, PROTO_JSON, 5);
    scene_fini(&s);
}

static void many_frames_in_one_write_are_answered_in_order(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    for (int32_t i = 0; i < 20000; i++) {
        frame_put(&s.out, i % 2, i, 0, (size_t)i % 300);
    }
    scene_send(&s);
    for (int32_t i = 0; i < 20000; i++) {
        scene_answer(&s, i, i % 2, (size_t)i % 300);
    }
    assert_int_equal(s.e.commands, 20000);
    scene_fini(&s);
}

static void a_frame_larger_than_the_read_buffer_arrives_with_its_neighbours(void **state)
{
    static const size_t bodies[] = {10, 5u << 20, 0, 100u << 10, 64u << 10, (1u << 20) - 200, 15u << 20, 1, 2u << 20};
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        frame_put(&s.out, PROTO_JSON, (int32_t)i, 0, bodies[i]);
    }
    for (size_t at = 0, step = 1; at < s.out.len; at += step, step = step * 3 % 300007 + 1) {
        step = step < s.out.len - at ? step : s.out.len - at;
        peer_send(&s.f, s.peer, s.out.base + at, step);
        if (step < 1000) {
            uv_run(&s.f.loop.uv, UV_RUN_NOWAIT);
        }
        scene_read(&s);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        scene_answer(&s, (int32_t)i, PROTO_JSON, bodies[i]);
    }
    assert_true(s.e.last->part.cap <= 4096); /* nothing large stays with an idle channel */
    scene_fini(&s);
}

static void an_announced_length_costs_no_memory_before_its_bytes_come(void **state)
{
    static const uint8_t announced[8] = {0, 0xff, 0xff, 0xf0, 0, 0, 0, 0}; /* 4 + L is just below 16 MiB */
    static uint8_t filler[100u << 10];
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    peer_send(&s.f, s.peer, announced, sizeof(announced));
    RUN_UNTIL(&s.f, net_counters.bytes_in == sizeof(announced));
    for (int i = 0; i < 3; i++) {
        fixture_turn(&s.f, "three turns pass");
    }
    assert_true(s.e.last->part.cap <= 128u << 10);
    for (size_t sent = sizeof(announced); sent < 3u << 20;) {
        peer_send(&s.f, s.peer, filler, sizeof(filler));
        sent += sizeof(filler);
        RUN_UNTIL(&s.f, net_counters.bytes_in == sent);
        assert_true(s.e.last->part.cap <= 2 * sent + (128u << 10));
    }
    scene_fini(&s);
}

static void what_breaks_the_protocol_closes_its_channel_and_is_counted(void **state)
{
    static const struct {
        const char *why;
        uint8_t bytes[16];
        size_t n;
    } cases[] = {
        {"a negative length", {0xff, 0xff, 0xff, 0xff}, 4},
        {"a length too small for the header word", {0, 0, 0, 3, 0, 0, 0}, 7},
        {"a frame of more than 16 MiB", {1, 0, 0, 0, 0, 0, 0, 0}, 8},
        {"a header beyond the frame", {0, 0, 0, 8, 0, 0, 0, 5, '{', '}', ' ', ' '}, 12},
        {"an unknown encoding", {0, 0, 0, 6, 2, 0, 0, 2, '{', '}'}, 10},
        {"JSON that does not parse", {0, 0, 0, 6, 0, 0, 0, 2, '{', 'x'}, 10},
        {"a binary header that is cut", {0, 0, 0, 6, 1, 0, 0, 2, 0, 1}, 10},
        {"a TLS hello", {0x16, 3, 1, 2, 0}, 5},
        {"HTTP", "GET / HTTP/1.1", 14},
    };
    struct scene s;
    int other;

    (void)state;
    scene_init(&s, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t byte;

        print_message("%s\n", cases[i].why);
        other = peer_connect(s.e.server.port);
        frame_put(&s.out, PROTO_JSON, 1, PROTO_FLAG_ONEWAY, 0);
        mq_buf_put(&s.out, cases[i].bytes, cases[i].n);
        peer_send(&s.f, other, s.out.base, s.out.len);
        s.out.len = 0;
        RUN_UNTIL(&s.f, s.e.closed == i + 1);
        assert_int_equal(s.e.reason, MQ_EBADMSG);
        assert_int_equal(s.e.commands, i + 1);
        assert_int_equal(net_counters.bad_frames, i + 1);
        assert_true(peer_read(other, &byte, 1) <= 0);
        close(other);
    }
    frame_put(&s.out, PROTO_JSON, 5, 0, 0); /* the others are served as before */
    scene_send(&s);
    scene_answer(&s, 5, PROTO_JSON, 0);
    scene_fini(&s);
}

static void a_truncated_frame_is_no_command(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    frame_put(&s.out, PROTO_JSON, 1, 0, 50);
    s.out.len--;
    scene_send(&s);
    assert_int_equal(shutdown(s.peer, SHUT_WR), 0);
    RUN_UNTIL(&s.f, s.e.closed == 1);
    assert_int_equal(s.e.reason, UV_EOF);
    assert_int_equal(s.e.commands, 0);
    scene_fini(&s);
}

/* Lets the kernel hold little of what the server answers, so that few answers fill it. */
static void narrow_way_back(struct scene *s)
{
    int small = 16 << 10;
    uv_os_fd_t fd;

    assert_int_equal(uv_fileno((uv_handle_t *)&s->e.last->conn.tcp, &fd), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    assert_int_equal(setsockopt(s->peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
}

static void frames_read_ahead_wait_while_the_peer_does_not_read_and_lose_nothing(void **state)
{
    static const struct net_conn_limits tight = {
        .pause_bytes = 64u << 10, .resume_bytes = 16u << 10, .close_bytes = 1u << 20};
    const int32_t n = 4000;
    struct scene s;
    size_t sent = 0;

    (void)state;
    scene_init(&s, &tight);
    narrow_way_back(&s);
    for (int32_t i = 0; i < n; i++) {
        frame_put(&s.out, i % 2, i, 0, 4000);
    }
    fixture_expect(&s.f);
    for (int stuck = 0; stuck < 50;) { /* until the server takes no more */
        ssize_t took = send(s.peer, s.out.base + sent, s.out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

        sent += took > 0 ? (size_t)took : 0;
        stuck = took > 0 ? 0 : stuck + 1;
        fixture_turn(&s.f, "the server stops reading");
        assert_true(s.e.last->conn.out_bytes <= tight.pause_bytes + 8192);
    }
    assert_true(sent < s.out.len);
    assert_true(s.e.last->conn.paused);
    assert_true(s.e.commands < (uint32_t)n);
    assert_true(s.e.last->part.len <= NET_READ_BYTES);
    print_message("served %u, waiting in the channel %zu bytes\n", s.e.commands, s.e.last->part.len);
    for (int32_t i = 0; i < n; i++) {
        while (sent < s.out.len) {
            ssize_t took = send(s.peer, s.out.base + sent, s.out.len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

            if (took <= 0) {
                break;
            }
            sent += (size_t)took;
        }
        scene_answer(&s, i, i % 2, 4000);
    }
    assert_int_equal(s.e.commands, n);
    assert_int_equal(s.e.closed, 0);
    scene_fini(&s);
}

static void frames_read_ahead_are_served_though_nothing_more_arrives(void **state)
{
    static const struct net_conn_limits tight = {
        .pause_bytes = 64u << 10, .resume_bytes = 16u << 10, .close_bytes = 1u << 20};
    const int32_t n = 200;
    struct scene s;

    (void)state;
    scene_init(&s, &tight);
    narrow_way_back(&s);
    for (int32_t i = 0; i < n; i++) {
        frame_put(&s.out, PROTO_BINARY, i, 0, 4000);
    }
    assert_true(s.out.len < NET_READ_BYTES);
    scene_send(&s);
    RUN_UNTIL(&s.f, s.e.last->conn.paused && s.e.last->part.len != 0);
    for (int32_t i = 0; i < n; i++) {
        scene_answer(&s, i, PROTO_BINARY, 4000);
    }
    assert_int_equal(s.e.last->part.len, 0);
    scene_fini(&s);
}

static void a_peer_that_never_reads_what_others_send_it_is_closed(void **state)
{
    struct net_conn_limits limits = {.pause_bytes = 1u << 20, .resume_bytes = 1u << 19, .close_bytes = 4u << 20};
    struct scene s;
    size_t most = 0;

    (void)state;
    scene_init(&s, &limits);
    while (!s.e.last->conn.closing) {
        frame_put(net_channel_out(s.e.last), PROTO_BINARY, 1, 0, 10000);
        net_channel_out_done(s.e.last);
        most = s.e.last->conn.out_bytes > most ? s.e.last->conn.out_bytes : most;
    }
    assert_true(most <= limits.close_bytes + 20000);
    RUN_UNTIL(&s.f, s.e.closed == 1);
    assert_int_equal(s.e.reason, MQ_ETOOBIG);
    assert_int_equal(net_counters.slow_closed, 1);
    scene_fini(&s);
}

static void an_idle_channel_is_closed_and_counted(void **state)
{
    struct net_conn_limits limits = net_server_default_limits;
    struct scene s;

    (void)state;
    limits.idle_ms = 30;
    scene_init(&s, &limits);
    RUN_UNTIL(&s.f, s.e.closed == 1);
    assert_int_equal(s.e.reason, MQ_ETIMEDOUT);
    assert_int_equal(net_counters.idle_closed, 1);
    scene_fini(&s);
}

static void a_close_inside_a_command_ends_the_frames_behind_it(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    s.e.close_at = 5;
    for (int32_t i = 0; i < 10; i++) {
        frame_put(&s.out, PROTO_JSON, i, 0, 10);
    }
    scene_send(&s);
    for (int32_t i = 0; i < 4; i++) {
        scene_answer(&s, i, PROTO_JSON, 10);
    }
    RUN_UNTIL(&s.f, s.e.closed == 1);
    assert_int_equal(s.e.commands, 5);
    assert_int_equal(s.e.reason, 0);
    assert_false(scene_read(&s));
    assert_int_equal(s.parsed, s.in.len); /* the answer inside the closed channel was dropped */
    scene_fini(&s);
}

/* Two channels; a command on either closes both. */
struct duel {
    struct net_server server;
    struct net_channel *channels[2];
    int opened, commands, closed;
    bool down;
};

static void on_duel_opened(struct net_channel *ch)
{
    struct duel *d = container_of((struct net_server *)ch->data, struct duel, server);

    d->channels[d->opened++] = ch;
}

static void on_duel_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct duel *d = container_of((struct net_server *)ch->data, struct duel, server);

    d->commands++;
    for (int i = 0; i < 2; i++) {
        echo_answer(d->channels[i], cmd);
        net_channel_close(d->channels[i], 0, i == 0);
        echo_answer(d->channels[i], cmd);
    }
    (void)ch;
}

static void on_duel_closed(struct net_channel *ch, int reason)
{
    (void)reason;
    container_of((struct net_server *)ch->data, struct duel, server)->closed++;
}

static const struct net_server_ops duel_ops = {
    .opened = on_duel_opened, .command = on_duel_command, .closed = on_duel_closed};

static void on_duel_down(struct net_server *server)
{
    container_of(server, struct duel, server)->down = true;
}

static void a_command_may_close_other_channels_that_have_input_too(void **state)
{
    struct mq_buf out = {0};
    struct duel d = {0};
    struct fixture f;
    int peers[2];

    (void)state;
    fixture_init(&f);
    assert_int_equal(net_server_open(&d.server, &f.loop, "127.0.0.1", 0, &duel_ops, &net_server_default_limits), 0);
    peers[0] = peer_connect(d.server.port);
    peers[1] = peer_connect(d.server.port);
    RUN_UNTIL(&f, d.opened == 2);
    frame_put(&out, PROTO_JSON, 1, 0, 10);
    frame_put(&out, PROTO_JSON, 2, 0, 10);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(send(peers[i], out.base, out.len, 0), out.len);
    }
    RUN_UNTIL(&f, d.closed == 2);
    assert_int_equal(d.commands, 1);
    net_server_close(&d.server, true, on_duel_down);
    RUN_UNTIL(&f, d.down);
    mq_buf_free(&out);
    close(peers[0]);
    close(peers[1]);
    fixture_fini(&f);
}

static void a_reference_outlives_the_connection(void **state)
{
    struct net_channel *ch;
    struct scene s;

    (void)state;
    scene_init(&s, NULL);
    ch = net_channel_acquire(s.e.last);
    close(s.peer);
    RUN_UNTIL(&s.f, s.e.closed == 1);
    assert_true(ch->dead);
    frame_put(net_channel_out(ch), PROTO_JSON, 1, 0, 100);
    net_channel_out_done(ch);
    net_channel_close(ch, 0, true);
    net_channel_release(ch);
    s.peer = peer_connect(s.e.server.port);
    RUN_UNTIL(&s.f, s.e.opened == 2);
    scene_fini(&s);
}

static void a_channel_that_was_never_opened_is_freed_by_its_owner(void **state)
{
    static const struct net_channel_ops no_ops = {0};
    struct net_channel *ch;
    struct fixture f;

    (void)state;
    fixture_init(&f);
    assert_int_equal(net_channel_new(&f.loop, &no_ops, &net_server_default_limits, &ch), 0);
    net_channel_release(ch);
    mq_heap_fail_at(1);
    assert_int_equal(net_channel_new(&f.loop, &no_ops, &net_server_default_limits, &ch), MQ_ENOMEM);
    mq_heap_fail_at(0);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered_in_its_encoding),
        cmocka_unit_test(a_frame_may_be_cut_at_every_byte),
        cmocka_unit_test(a_frame_may_come_byte_by_byte),
        cmocka_unit_test(many_frames_in_one_write_are_answered_in_order),
        cmocka_unit_test(a_frame_larger_than_the_read_buffer_arrives_with_its_neighbours),
        cmocka_unit_test(an_announced_length_costs_no_memory_before_its_bytes_come),
        cmocka_unit_test(what_breaks_the_protocol_closes_its_channel_and_is_counted),
        cmocka_unit_test(a_truncated_frame_is_no_command),
        cmocka_unit_test(frames_read_ahead_wait_while_the_peer_does_not_read_and_lose_nothing),
        cmocka_unit_test(frames_read_ahead_are_served_though_nothing_more_arrives),
        cmocka_unit_test(a_peer_that_never_reads_what_others_send_it_is_closed),
        cmocka_unit_test(an_idle_channel_is_closed_and_counted),
        cmocka_unit_test(a_close_inside_a_command_ends_the_frames_behind_it),
        cmocka_unit_test(a_command_may_close_other_channels_that_have_input_too),
        cmocka_unit_test(a_reference_outlives_the_connection),
        cmocka_unit_test(a_channel_that_was_never_opened_is_freed_by_its_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
