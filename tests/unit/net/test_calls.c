/* A server that asks the clients which are connected to it. */
#include "fixture.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

#define CHANNEL_MAX 8u
#define OPEN_MAX 12u

struct scene;

/* A client that is asked. What it does with a request follows from the request's code. */
enum { ASK_ECHO = 1, ASK_NOTHING = 2, ASK_TWICE = 3, ASK_HANG_UP = 4 };

struct asked {
    struct scene *scene;
    struct net_client client;
    struct net_channel *at_server;
    uint32_t requests;
    int32_t last_opaque;
    bool connected, closed, freed;
};

struct scene {
    struct fixture f;
    struct net_server server;
    struct net_calls calls;
    struct asked a, b;
    struct net_channel *last; /* that connected */
    uint32_t closed_channels;
    int answered, timed_out, lost;
    bool down, calls_closed;
};

static void on_opened(struct net_channel *ch)
{
    struct scene *s = container_of((struct net_server *)ch->data, struct scene, server);

    s->last = ch;
}

static void on_server_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct scene *s = container_of((struct net_server *)ch->data, struct scene, server);

    assert_true((cmd->flag & PROTO_FLAG_RESPONSE) != 0);
    net_calls_take(&s->calls, ch, cmd);
}

static void on_server_closed(struct net_channel *ch, int reason)
{
    struct scene *s = container_of((struct net_server *)ch->data, struct scene, server);

    (void)reason;
    net_calls_channel_closed(&s->calls, ch);
    assert_null(ch->calls);
    assert_int_equal(ch->calls_open, 0);
    s->closed_channels++;
}

static const struct net_server_ops server_ops = {
    .opened = on_opened, .command = on_server_command, .closed = on_server_closed};

static void on_connected(struct net_client *client, int status)
{
    assert_int_equal(status, 0);
    container_of(client, struct asked, client)->connected = true;
}

static void put_answer(struct net_client *client, int32_t opaque, int32_t code)
{
    struct proto_head head = {.code = code, .opaque = opaque, .flag = PROTO_FLAG_RESPONSE};
    struct proto_writer w;

    proto_begin(&w, net_channel_out(client->channel), &head);
    assert_int_equal(proto_end(&w, 0), 0);
    net_channel_out_done(client->channel);
}

static void on_request(struct net_client *client, struct proto_command *cmd)
{
    struct asked *asked = container_of(client, struct asked, client);

    asked->requests++;
    asked->last_opaque = cmd->opaque;
    if ((cmd->flag & PROTO_FLAG_ONEWAY) != 0 || cmd->code == ASK_NOTHING) {
        return;
    }
    if (cmd->code == ASK_HANG_UP) {
        net_client_disconnect(client);
        return;
    }
    put_answer(client, cmd->opaque, 7);
    if (cmd->code == ASK_TWICE) {
        put_answer(client, cmd->opaque, 7);
    }
}

static void on_closed(struct net_client *client, int reason)
{
    (void)reason;
    container_of(client, struct asked, client)->closed = true;
}

static const struct net_client_ops client_ops = {
    .connected = on_connected, .request = on_request, .closed = on_closed};

static void asked_open(struct scene *s, struct asked *asked)
{
    struct sockaddr_storage addr = addr_of_port(s->server.port);

    asked->scene = s;
    s->last = NULL;
    assert_int_equal(net_client_init(&asked->client, &s->f.loop, &client_ops, NULL), 0);
    assert_int_equal(net_client_connect(&asked->client, (struct sockaddr *)&addr), 0);
    RUN_UNTIL(&s->f, asked->connected && s->last != NULL);
    asked->at_server = s->last;
}

static void scene_init(struct scene *s)
{
    memset(s, 0, sizeof(*s));
    net_counters = (struct net_counters){0};
    fixture_init(&s->f);
    assert_int_equal(net_server_open(&s->server, &s->f.loop, "127.0.0.1", 0, &server_ops, &net_server_default_limits),
                     0);
    net_calls_init(&s->calls, &s->f.loop, OPEN_MAX, CHANNEL_MAX);
    asked_open(s, &s->a);
    asked_open(s, &s->b);
}

static void on_freed(struct net_client *client)
{
    container_of(client, struct asked, client)->freed = true;
}

static void on_down(struct net_server *server)
{
    container_of(server, struct scene, server)->down = true;
}

static void on_calls_closed(struct net_calls *calls)
{
    container_of(calls, struct scene, calls)->calls_closed = true;
}

static void scene_fini(struct scene *s)
{
    net_client_close(&s->a.client, on_freed);
    net_client_close(&s->b.client, on_freed);
    RUN_UNTIL(&s->f, s->a.freed && s->b.freed);
    net_server_close(&s->server, true, on_down);
    RUN_UNTIL(&s->f, s->down);
    assert_int_equal(s->calls.open, 0);
    net_calls_close(&s->calls, on_calls_closed);
    RUN_UNTIL(&s->f, s->calls_closed);
    fixture_fini(&s->f);
}

static void on_called(struct net_call *call, int status, struct proto_command *answer)
{
    struct scene *s = call->data;

    assert_ptr_equal(call->calls, &s->calls);
    if (status == 0) {
        assert_int_equal(answer->opaque, call->opaque);
        assert_int_equal(answer->code, 7);
        s->answered++;
    }
    s->timed_out += status == MQ_ETIMEDOUT;
    s->lost += status == MQ_ECLOSED;
}

static int ask(struct scene *s, struct asked *whom, int32_t code, struct net_call *call, uint32_t timeout_ms)
{
    struct proto_writer w;
    int rc = net_calls_begin(&s->calls, whom->at_server, &w, code, PROTO_JSON, false);

    if (rc != 0) {
        return rc;
    }
    proto_put_str(&w, MQ_STR("k"), MQ_STR("v"));
    call->data = s;
    return net_calls_send(&s->calls, whom->at_server, &w, "body", 4, call, timeout_ms, on_called);
}

static void clients_are_asked_and_answer(void **state)
{
    struct net_call calls[6];
    struct scene s;

    (void)state;
    scene_init(&s);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        assert_int_equal(ask(&s, i % 2 == 0 ? &s.a : &s.b, ASK_ECHO, &calls[i], 5000), 0);
    }
    assert_int_equal(s.answered, 0);
    assert_int_equal(s.a.at_server->calls_open, 3);
    RUN_UNTIL(&s.f, s.answered == ARRAY_SIZE(calls));
    assert_int_equal(s.a.requests, 3);
    assert_int_equal(s.b.requests, 3);
    assert_int_equal(s.calls.open, 0);
    assert_int_equal(net_counters.stray_answers, 0);
    scene_fini(&s);
}

static void nobody_answers_for_another(void **state)
{
    struct net_call one;
    struct scene s;

    (void)state;
    scene_init(&s);
    assert_int_equal(ask(&s, &s.a, ASK_NOTHING, &one, 60000), 0);
    RUN_UNTIL(&s.f, s.a.requests == 1);
    put_answer(&s.b.client, one.opaque, 7);
    RUN_UNTIL(&s.f, net_counters.stray_answers == 1);
    assert_int_equal(s.answered, 0);
    assert_int_equal(s.calls.open, 1);
    put_answer(&s.a.client, one.opaque, 7);
    RUN_UNTIL(&s.f, s.answered == 1);
    assert_int_equal(net_counters.stray_answers, 1);
    scene_fini(&s);
}

static void an_answer_counts_once_and_in_time(void **state)
{
    struct net_call twice, late;
    struct scene s;

    (void)state;
    scene_init(&s);
    assert_int_equal(ask(&s, &s.a, ASK_TWICE, &twice, 5000), 0);
    RUN_UNTIL(&s.f, net_counters.stray_answers == 1);
    assert_int_equal(s.answered, 1);
    assert_int_equal(ask(&s, &s.a, ASK_NOTHING, &late, 20), 0);
    RUN_UNTIL(&s.f, s.timed_out == 1);
    put_answer(&s.a.client, late.opaque, 7);
    RUN_UNTIL(&s.f, net_counters.stray_answers == 2);
    assert_int_equal(s.answered, 1);
    scene_fini(&s);
}

static void the_end_of_a_channel_ends_its_calls_and_no_others(void **state)
{
    struct net_call a[3], b;
    struct proto_writer w;
    struct scene s;

    (void)state;
    scene_init(&s);
    assert_int_equal(ask(&s, &s.b, ASK_NOTHING, &b, 60000), 0);
    assert_int_equal(ask(&s, &s.a, ASK_NOTHING, &a[0], 60000), 0);
    assert_int_equal(ask(&s, &s.a, ASK_NOTHING, &a[1], 60000), 0);
    assert_int_equal(ask(&s, &s.a, ASK_HANG_UP, &a[2], 60000), 0);
    RUN_UNTIL(&s.f, s.closed_channels == 1);
    assert_int_equal(s.lost, 3);
    assert_int_equal(s.calls.open, 1);
    put_answer(&s.b.client, b.opaque, 7);
    RUN_UNTIL(&s.f, s.answered == 1);
    net_channel_close(s.b.at_server, 0, true);
    assert_int_equal(net_calls_begin(&s.calls, s.b.at_server, &w, ASK_ECHO, PROTO_JSON, false), MQ_ECLOSED);
    assert_int_equal(net_calls_begin(&s.calls, s.b.at_server, &w, ASK_ECHO, PROTO_JSON, true), MQ_ECLOSED);
    RUN_UNTIL(&s.f, s.b.closed);
    scene_fini(&s);
}

static void a_client_that_never_answers_leaves_room_for_others(void **state)
{
    struct net_call a[CHANNEL_MAX], b[OPEN_MAX];
    struct net_call more;
    struct scene s;

    (void)state;
    scene_init(&s);
    for (size_t i = 0; i < CHANNEL_MAX; i++) {
        assert_int_equal(ask(&s, &s.a, ASK_NOTHING, &a[i], 60000), 0);
    }
    assert_int_equal(ask(&s, &s.a, ASK_ECHO, &more, 60000), MQ_EBUSY);
    for (size_t i = 0; i < OPEN_MAX - CHANNEL_MAX; i++) {
        assert_int_equal(ask(&s, &s.b, ASK_ECHO, &b[i], 60000), 0);
    }
    assert_int_equal(ask(&s, &s.b, ASK_ECHO, &more, 60000), MQ_EBUSY); /* of all channels together */
    RUN_UNTIL(&s.f, s.answered == OPEN_MAX - CHANNEL_MAX);
    assert_int_equal(ask(&s, &s.b, ASK_ECHO, &more, 60000), 0);
    RUN_UNTIL(&s.f, s.answered == OPEN_MAX - CHANNEL_MAX + 1);
    scene_fini(&s);
    assert_int_equal(s.lost, CHANNEL_MAX);
}

static void one_way_requests_wait_for_nothing(void **state)
{
    struct proto_writer w;
    struct scene s;

    (void)state;
    scene_init(&s);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(net_calls_begin(&s.calls, s.a.at_server, &w, ASK_ECHO, PROTO_JSON, true), 0);
        proto_put_i64(&w, MQ_STR("i"), i);
        assert_int_equal(net_calls_oneway(&s.calls, s.a.at_server, &w, "body", 4), 0);
    }
    assert_int_equal(s.calls.open, 0);
    RUN_UNTIL(&s.f, s.a.requests == 20);
    scene_fini(&s);
}

static void a_request_that_does_not_fit_leaves_nothing_behind(void **state)
{
    static uint8_t body[17u << 20];
    struct proto_writer w;
    struct net_call one;
    struct scene s;

    (void)state;
    scene_init(&s);
    assert_int_equal(net_calls_begin(&s.calls, s.a.at_server, &w, ASK_ECHO, PROTO_JSON, false), 0);
    assert_int_equal(net_calls_send(&s.calls, s.a.at_server, &w, body, sizeof(body), &one, 100, on_called),
                     MQ_ETOOBIG);
    assert_int_equal(s.calls.open, 0);
    for (unsigned nth = 1; nth < 6; nth++) {
        int rc;

        mq_heap_fail_at(nth);
        rc = ask(&s, &s.a, ASK_ECHO, &one, 5000);
        mq_heap_fail_at(0);
        if (s.a.at_server->conn.closing) {
            break; /* without memory for its output a connection ends */
        }
        if (rc == 0) {
            int want = s.answered + 1;

            RUN_UNTIL(&s.f, s.answered == want);
        }
    }
    scene_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_are_asked_and_answer),
        cmocka_unit_test(nobody_answers_for_another),
        cmocka_unit_test(an_answer_counts_once_and_in_time),
        cmocka_unit_test(the_end_of_a_channel_ends_its_calls_and_no_others),
        cmocka_unit_test(a_client_that_never_answers_leaves_room_for_others),
        cmocka_unit_test(one_way_requests_wait_for_nothing),
        cmocka_unit_test(a_request_that_does_not_fit_leaves_nothing_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
