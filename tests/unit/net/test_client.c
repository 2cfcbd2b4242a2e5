#include "fixture.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A client under test, what it told, and what became of its calls. */
struct caller {
    struct net_client client;
    int connected, closed, requests; /* how often */
    int status, reason;
    bool connect_again; /* inside closed */
    bool freed;
    int answered, timed_out, lost; /* calls by outcome */
    int32_t last_opaque;           /* of the call that ended last */
    bool close_inside;             /* a call's callback closes the client */
    int32_t order[3];              /* opaques of the first calls that timed out */
};

static struct caller *caller_of(struct net_client *client)
{
    return container_of(client, struct caller, client);
}

static void on_connected(struct net_client *client, int status)
{
    caller_of(client)->connected++;
    caller_of(client)->status = status;
}

static void on_request(struct net_client *client, struct proto_command *cmd)
{
    caller_of(client)->requests++;
    echo_answer(client->channel, cmd);
}

static void on_closed(struct net_client *client, int reason)
{
    struct caller *c = caller_of(client);
    struct sockaddr_storage addr;

    c->closed++;
    c->reason = reason;
    assert_int_equal(client->calls.open, 0);
    if (c->connect_again) {
        addr = addr_of_port((int)(intptr_t)client->data);
        assert_int_equal(net_client_connect(client, (struct sockaddr *)&addr), 0);
    }
}

static const struct net_client_ops caller_ops = {
    .connected = on_connected, .request = on_request, .closed = on_closed};

static void on_freed(struct net_client *client)
{
    caller_of(client)->freed = true;
}

struct scene {
    struct fixture f;
    struct echo e;
    struct caller c;
};

static void caller_connect(struct scene *s)
{
    struct sockaddr_storage addr = addr_of_port(s->e.server.port);
    int before = s->c.connected;

    assert_int_equal(net_client_connect(&s->c.client, (struct sockaddr *)&addr), 0);
    assert_int_equal(s->c.connected, before);
    RUN_UNTIL(&s->f, s->c.connected == before + 1);
    assert_int_equal(s->c.status, 0);
}

static void scene_init(struct scene *s)
{
    memset(s, 0, sizeof(*s));
    net_counters = (struct net_counters){0};
    fixture_init(&s->f);
    echo_open(&s->e, &s->f, NULL);
    s->c.client.data = (void *)(intptr_t)s->e.server.port;
    assert_int_equal(net_client_init(&s->c.client, &s->f.loop, &caller_ops, NULL), 0);
    caller_connect(s);
}

static void scene_fini(struct scene *s)
{
    s->c.connect_again = false;
    if (!s->c.client.closing) {
        net_client_close(&s->c.client, on_freed);
    }
    RUN_UNTIL(&s->f, s->c.freed);
    echo_close(&s->e, &s->f);
    fixture_fini(&s->f);
}

static void on_called(struct net_call *call, int status, struct proto_command *answer)
{
    struct net_client *client = container_of(call->calls, struct net_client, calls);
    struct caller *c = caller_of(client);

    c->last_opaque = call->opaque;
    if (status == 0) {
        assert_int_equal(answer->opaque, call->opaque);
        assert_int_equal(answer->body_bytes, (size_t)(intptr_t)call->data);
        frame_body_check(answer->body, answer->body_bytes, 0);
        c->answered++;
    } else {
        assert_null(answer);
        if (status == MQ_ETIMEDOUT && c->timed_out < (int)ARRAY_SIZE(c->order)) {
            c->order[c->timed_out] = call->opaque;
        }
        c->timed_out += status == MQ_ETIMEDOUT;
        c->lost += status == MQ_ECLOSED;
    }
    if (c->close_inside) {
        c->close_inside = false;
        net_client_close(client, on_freed);
    }
}

static int try_call(struct scene *s, struct net_call *call, size_t body_bytes, uint32_t timeout_ms)
{
    static uint8_t body[70000];
    struct proto_writer w;
    int rc;

    for (size_t i = body[1] == 1 ? sizeof(body) : 0; i < sizeof(body); i++) {
        body[i] = (uint8_t)i;
    }
    rc = net_client_begin(&s->c.client, &w, 10, false);
    if (rc != 0) {
        return rc;
    }
    proto_put_str(&w, MQ_STR("k"), MQ_STR("v"));
    call->data = (void *)(intptr_t)body_bytes;
    return net_client_call(&s->c.client, &w, body, body_bytes, call, timeout_ms, on_called);
}

static void call(struct scene *s, struct net_call *req, size_t body_bytes, uint32_t timeout_ms)
{
    int before = s->c.answered + s->c.lost + s->c.timed_out;

    assert_int_equal(try_call(s, req, body_bytes, timeout_ms), 0);
    assert_int_equal(s->c.answered + s->c.lost + s->c.timed_out, before); /* never inside */
}

static void calls_are_answered_in_both_encodings(void **state)
{
    static const size_t bodies[] = {0, 1, 1000, 70000};
    struct net_call calls[8];
    struct scene s;

    (void)state;
    scene_init(&s);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        s.c.client.encoding = i % 2 == 0 ? PROTO_JSON : PROTO_BINARY;
        call(&s, &calls[i], bodies[i / 2], 5000);
    }
    RUN_UNTIL(&s.f, s.c.answered == ARRAY_SIZE(calls));
    assert_int_equal(s.c.client.calls.open, 0);
    assert_null(s.c.client.calls.by_time);
    scene_fini(&s);
    assert_int_equal(s.c.closed, 1);
}

static void many_calls_in_flight_find_their_answers(void **state)
{
    const int n = 3000;
    struct net_call *calls = mq_calloc((size_t)n, sizeof(*calls));
    struct scene s;

    (void)state;
    scene_init(&s);
    s.c.client.calls.next_opaque = INT32_MAX - 1000; /* over the end of the numbers */
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < n; i++) {
            call(&s, &calls[i], (size_t)i % 50, 5000);
        }
        assert_int_equal(s.c.client.calls.open, n);
        RUN_UNTIL(&s.f, s.c.answered == round * n);
    }
    assert_int_equal(net_counters.stray_answers, 0);
    mq_free(calls);
    scene_fini(&s);
}

static void a_number_in_use_is_passed_over(void **state)
{
    struct net_call calls[100], held;
    struct scene s;

    (void)state;
    scene_init(&s);
    s.e.silent_from = 1;
    call(&s, &held, 0, 10000);
    RUN_UNTIL(&s.f, s.e.commands == 1);
    s.e.silent_from = 0;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) { /* more than the table has places, one after the other */
        call(&s, &calls[i], 3, 5000);
        RUN_UNTIL(&s.f, s.c.answered == (int)i + 1);
        assert_int_equal(s.c.last_opaque, calls[i].opaque);
    }
    assert_int_equal(s.c.client.calls.open, 1);
    scene_fini(&s);
    assert_int_equal(s.c.lost, 1);
}

static void calls_without_answer_end_in_the_order_of_their_deadlines(void **state)
{
    struct net_call patient, slow, fast, middle;
    struct scene s;

    (void)state;
    scene_init(&s);
    s.e.silent_from = 1;
    call(&s, &patient, 0, 10 * FIXTURE_DEADLINE_MS);
    call(&s, &slow, 0, 90);
    call(&s, &fast, 0, 0);
    call(&s, &middle, 0, 40);
    RUN_UNTIL(&s.f, s.c.timed_out == 3);
    assert_int_equal(s.c.order[0], fast.opaque);
    assert_int_equal(s.c.order[1], middle.opaque);
    assert_int_equal(s.c.order[2], slow.opaque);
    assert_true(uv_now(&s.f.loop.uv) >= slow.deadline_ms);
    assert_int_equal(s.c.client.calls.open, 1);
    assert_true(s.c.client.connected); /* a late answer is no reason to give up the connection */
    scene_fini(&s);
}

static void send_stray(struct scene *s, int32_t opaque)
{
    struct proto_head head = {.opaque = opaque, .flag = PROTO_FLAG_RESPONSE};
    uint64_t before = net_counters.stray_answers;
    struct proto_writer w;

    proto_begin(&w, net_channel_out(s->e.last), &head);
    assert_int_equal(proto_end(&w, 0), 0);
    net_channel_out_done(s->e.last);
    RUN_UNTIL(&s->f, net_counters.stray_answers == before + 1);
}

static void an_answer_to_no_call_is_dropped_and_counted(void **state)
{
    struct net_call one, open;
    struct scene s;

    (void)state;
    scene_init(&s);
    RUN_UNTIL(&s.f, s.e.opened == 1);
    send_stray(&s, 4711); /* before the first call */
    call(&s, &one, 10, 5000);
    RUN_UNTIL(&s.f, s.c.answered == 1);
    send_stray(&s, one.opaque); /* once more */
    s.e.silent_from = 1;
    call(&s, &open, 10, 5000);
    send_stray(&s, open.opaque + (int32_t)s.c.client.calls.table_size); /* the same place in the table */
    send_stray(&s, -1);
    assert_int_equal(s.c.client.calls.open, 1);
    scene_fini(&s);
    assert_int_equal(s.c.lost, 1);
}

static void one_way_requests_have_no_call(void **state)
{
    struct proto_writer w;
    struct scene s;

    (void)state;
    scene_init(&s);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(net_client_begin(&s.c.client, &w, 10, true), 0);
        proto_put_i64(&w, MQ_STR("i"), i);
        assert_int_equal(net_client_oneway(&s.c.client, &w, "body", 4), 0);
    }
    assert_int_equal(s.c.client.calls.open, 0);
    RUN_UNTIL(&s.f, s.e.commands == 10);
    scene_fini(&s);
}

static void requests_of_the_peer_are_handed_up(void **state)
{
    struct scene s;

    (void)state;
    scene_init(&s);
    RUN_UNTIL(&s.f, s.e.opened == 1);
    frame_put(net_channel_out(s.e.last), PROTO_JSON, 3, 0, 20);
    net_channel_out_done(s.e.last);
    RUN_UNTIL(&s.f, s.c.requests == 1 && s.e.commands == 1);
    scene_fini(&s);
}

static void a_lost_connection_ends_every_call_once_and_can_be_made_again(void **state)
{
    struct net_call calls[500], one;
    struct proto_writer w;
    struct scene s;

    (void)state;
    scene_init(&s);
    s.e.silent_from = 1;
    s.c.connect_again = true;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        call(&s, &calls[i], 100, 5000);
    }
    RUN_UNTIL(&s.f, s.e.commands == ARRAY_SIZE(calls));
    net_channel_close(s.e.last, 0, false);
    RUN_UNTIL(&s.f, s.c.closed == 1);
    assert_int_equal(s.c.lost, ARRAY_SIZE(calls));
    assert_int_equal(s.c.reason, UV_ECONNRESET);
    assert_int_equal(net_client_begin(&s.c.client, &w, 10, false), MQ_ECLOSED);
    RUN_UNTIL(&s.f, s.c.connected == 2);
    s.e.silent_from = 0;
    call(&s, &one, 100, 5000);
    RUN_UNTIL(&s.f, s.c.answered == 1);
    assert_int_equal(s.c.lost, ARRAY_SIZE(calls));
    scene_fini(&s);
}

static void a_client_is_told_when_nobody_listens_and_may_try_again(void **state)
{
    struct sockaddr_storage addr;
    struct scene s;

    (void)state;
    scene_init(&s);
    net_client_disconnect(&s.c.client);
    RUN_UNTIL(&s.f, s.c.closed == 1);
    assert_int_equal(s.c.reason, 0);
    addr = addr_of_port(1); /* tcpmux: nobody has it */
    assert_int_equal(net_client_connect(&s.c.client, (struct sockaddr *)&addr), 0);
    assert_int_equal(net_client_connect(&s.c.client, (struct sockaddr *)&addr), MQ_EBUSY);
    RUN_UNTIL(&s.f, s.c.closed == 2);
    assert_int_equal(s.c.connected, 2);
    assert_int_equal(s.c.status, UV_ECONNREFUSED);
    caller_connect(&s);
    scene_fini(&s);
}

static void a_client_may_be_closed_inside_any_callback_of_a_call(void **state)
{
    struct net_call calls[3];
    struct scene s;

    (void)state;
    for (int how = 0; how < 3; how++) { /* on an answer, on a deadline, on the loss of the connection */
        scene_init(&s);
        s.e.silent_from = how == 0 ? 0 : 1;
        s.c.close_inside = true;
        for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
            call(&s, &calls[i], 10, how == 1 ? 20 : 5000);
        }
        RUN_UNTIL(&s.f, s.e.commands == 3);
        if (how == 2) {
            net_channel_close(s.e.last, 0, false);
        }
        RUN_UNTIL(&s.f, s.c.freed);
        assert_int_equal(s.c.answered + s.c.timed_out + s.c.lost, 3);
        scene_fini(&s);
    }
}

static void an_unfinished_request_that_is_too_big_leaves_the_connection_usable(void **state)
{
    static uint8_t body[17u << 20];
    struct proto_writer w;
    struct net_call one;
    struct scene s;

    (void)state;
    scene_init(&s);
    assert_int_equal(net_client_begin(&s.c.client, &w, 10, false), 0);
    assert_int_equal(net_client_call(&s.c.client, &w, body, sizeof(body), &one, 100, on_called), MQ_ETOOBIG);
    assert_int_equal(s.c.client.calls.open, 0);
    call(&s, &one, 10, 5000);
    RUN_UNTIL(&s.f, s.c.answered == 1);
    scene_fini(&s);
}

static void the_number_of_open_calls_is_bounded(void **state)
{
    struct net_call *calls = mq_calloc(NET_CLIENT_CALLS_MAX, sizeof(*calls));
    struct proto_writer w;
    struct scene s;

    (void)state;
    scene_init(&s);
    s.e.silent_from = 1;
    for (int i = 0; i < NET_CLIENT_CALLS_MAX; i++) {
        call(&s, &calls[i], 0, 60000);
    }
    assert_int_equal(net_client_begin(&s.c.client, &w, 10, false), MQ_EBUSY);
    assert_int_equal(net_client_begin(&s.c.client, &w, 10, true), 0);
    assert_int_equal(net_client_oneway(&s.c.client, &w, NULL, 0), 0);
    scene_fini(&s);
    assert_int_equal(s.c.lost, NET_CLIENT_CALLS_MAX);
    mq_free(calls);
}

/* Lets the @nth allocation fail while a client connects and makes three calls. Tells how many were answered. */
static int round_trip_without_memory(struct scene *s, unsigned nth)
{
    struct sockaddr_storage addr = addr_of_port(s->e.server.port);
    struct net_call calls[3];
    int started = 0;

    mq_heap_fail_at(nth);
    if (net_client_connect(&s->c.client, (struct sockaddr *)&addr) != 0) {
        return 0;
    }
    RUN_UNTIL(&s->f, s->c.connected == 2);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        started += try_call(s, &calls[i], 60000, 5000) == 0;
    }
    RUN_UNTIL(&s->f, s->c.answered + s->c.lost == started);
    return s->c.answered;
}

static void no_failed_allocation_crashes_leaks_or_loses_a_call(void **state)
{
    struct scene s;
    unsigned nth = 0, failed = 0;
    int answered;

    (void)state;
    do {
        nth++;
        scene_init(&s);
        net_client_disconnect(&s.c.client);
        RUN_UNTIL(&s.f, s.c.closed == 1 && s.e.closed == 1);
        answered = round_trip_without_memory(&s, nth);
        mq_heap_fail_at(0);
        failed += answered < 3;
        scene_fini(&s);
    } while (nth < 40);
    print_message("walks in which a call failed: %u of %u\n", failed, nth);
    assert_true(failed > 5);
    assert_int_equal(answered, 3); /* the last walks had no allocation left to fail */
}

static void a_server_without_memory_for_a_large_request_closes_only_that_channel(void **state)
{
    struct net_call calls[2];
    struct scene s;

    (void)state;
    for (unsigned nth = 1; nth < 12; nth++) {
        scene_init(&s);
        s.c.connect_again = true;
        call(&s, &calls[0], 70000, 5000);
        mq_heap_fail_at(nth);
        RUN_UNTIL(&s.f, s.c.answered + s.c.lost == 1);
        mq_heap_fail_at(0);
        RUN_UNTIL(&s.f, s.c.client.connected && !s.c.client.channel->conn.closing);
        if (s.c.lost == 1) {
            assert_int_equal(s.c.connected, 2);
        }
        scene_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_answered_in_both_encodings),
        cmocka_unit_test(many_calls_in_flight_find_their_answers),
        cmocka_unit_test(a_number_in_use_is_passed_over),
        cmocka_unit_test(calls_without_answer_end_in_the_order_of_their_deadlines),
        cmocka_unit_test(an_answer_to_no_call_is_dropped_and_counted),
        cmocka_unit_test(one_way_requests_have_no_call),
        cmocka_unit_test(requests_of_the_peer_are_handed_up),
        cmocka_unit_test(a_lost_connection_ends_every_call_once_and_can_be_made_again),
        cmocka_unit_test(a_client_is_told_when_nobody_listens_and_may_try_again),
        cmocka_unit_test(a_client_may_be_closed_inside_any_callback_of_a_call),
        cmocka_unit_test(an_unfinished_request_that_is_too_big_leaves_the_connection_usable),
        cmocka_unit_test(the_number_of_open_calls_is_bounded),
        cmocka_unit_test(no_failed_allocation_crashes_leaks_or_loses_a_call),
        cmocka_unit_test(a_server_without_memory_for_a_large_request_closes_only_that_channel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
