#include "fixture.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

void fixture_init(struct fixture *f)
{
    mq_log_set_level(MQ_LOG_ERROR); /* the warnings that tests provoke would only hide their output */
    assert_int_equal(net_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop.uv, &f->tick), 0);
}

void fixture_fini(struct fixture *f)
{
    uv_close((uv_handle_t *)&f->tick, NULL);
    net_loop_fini(&f->loop);
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void fixture_expect(struct fixture *f)
{
    f->late_ms = mq_clock_mono_ms() + FIXTURE_DEADLINE_MS;
    uv_timer_start(&f->tick, on_tick, 1, 1);
}

void fixture_turn(struct fixture *f, const char *what)
{
    if (mq_clock_mono_ms() > f->late_ms) {
        fail_msg("did not come true in time: %s", what);
    }
    uv_run(&f->loop.uv, UV_RUN_ONCE);
}

void echo_answer(struct net_channel *ch, const struct proto_command *cmd)
{
    struct proto_head head = {.opaque = cmd->opaque, .flag = PROTO_FLAG_RESPONSE, .encoding = cmd->encoding};
    struct mq_buf *out = net_channel_out(ch);
    struct proto_writer w;

    proto_begin(&w, out, &head);
    proto_put_str(&w, MQ_STR("k"), proto_fields_get(&cmd->fields, MQ_STR("k")));
    if (proto_end(&w, cmd->body_bytes) != 0 || mq_buf_put(out, cmd->body, cmd->body_bytes) != 0) {
        out->len = w.frame_at;
        net_channel_close(ch, -ENOMEM, false);
        return;
    }
    net_channel_out_done(ch);
}

static void on_opened(struct net_channel *ch)
{
    struct echo *e = container_of((struct net_server *)ch->data, struct echo, server);

    e->opened++;
    e->last = ch;
}

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct echo *e = container_of((struct net_server *)ch->data, struct echo, server);

    e->commands++;
    if (e->commands == e->close_at) {
        net_channel_close(ch, 0, true);
    }
    if ((cmd->flag & PROTO_FLAG_ONEWAY) == 0 && (e->silent_from == 0 || e->commands < e->silent_from)) {
        echo_answer(ch, cmd);
    }
}

static void on_closed(struct net_channel *ch, int reason)
{
    struct echo *e = container_of((struct net_server *)ch->data, struct echo, server);

    e->closed++;
    e->reason = reason;
}

static const struct net_server_ops echo_ops = {.opened = on_opened, .command = on_command, .closed = on_closed};

void echo_open(struct echo *e, struct fixture *f, const struct net_conn_limits *limits)
{
    *e = (struct echo){0};
    assert_int_equal(net_server_open(&e->server, &f->loop, "127.0.0.1", 0, &echo_ops,
                                     limits != NULL ? limits : &net_server_default_limits),
                     0);
    assert_in_range(e->server.port, 1, 65535);
}

static void on_down(struct net_server *server)
{
    container_of(server, struct echo, server)->down = true;
}

void echo_close(struct echo *e, struct fixture *f)
{
    net_server_close(&e->server, true, on_down);
    RUN_UNTIL(f, e->down);
    assert_int_equal(e->server.count, 0);
    assert_int_equal(e->closed, e->opened);
}

void frame_put(struct mq_buf *out, enum proto_encoding encoding, int32_t opaque, int32_t flag, size_t body_bytes)
{
    struct proto_head head = {.code = 10, .opaque = opaque, .flag = flag, .encoding = encoding};
    struct proto_writer w;

    proto_begin(&w, out, &head);
    proto_put_str(&w, MQ_STR("k"), MQ_STR("a \"quoted\" value"));
    proto_put_i64(&w, MQ_STR("n"), opaque);
    assert_int_equal(proto_end(&w, body_bytes), 0);
    assert_int_equal(mq_buf_reserve(out, body_bytes), 0);
    for (size_t i = 0; i < body_bytes; i++) {
        out->base[out->len++] = (uint8_t)((size_t)opaque + i);
    }
}

void frame_body_check(const uint8_t *body, size_t n, int32_t opaque)
{
    for (size_t i = 0; i < n; i++) {
        if (body[i] != (uint8_t)((size_t)opaque + i)) {
            fail_msg("byte %zu of the body of %d is wrong", i, opaque);
        }
    }
}

struct sockaddr_storage addr_of_port(int port)
{
    struct sockaddr_storage addr = {0};

    assert_int_equal(uv_ip4_addr("127.0.0.1", port, (struct sockaddr_in *)&addr), 0);
    return addr;
}

int peer_connect(int port)
{
    struct sockaddr_storage addr = addr_of_port(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(struct sockaddr_in)), 0);
    return fd;
}

void peer_send(struct fixture *f, int fd, const void *bytes, size_t n)
{
    const uint8_t *at = bytes;
    ssize_t sent;

    fixture_expect(f);
    while (n != 0) {
        sent = send(fd, at, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            fixture_turn(f, "the peer's bytes are taken");
            continue;
        }
        at += sent;
        n -= (size_t)sent;
    }
}

ssize_t peer_read(int fd, void *bytes, size_t n)
{
    ssize_t got = recv(fd, bytes, n, MSG_DONTWAIT);

    return got < 0 ? -errno : got;
}
