#include "fixture.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void a_port_in_use_or_a_bad_host_leaves_nothing_open(void **state)
{
    static const struct net_server_ops ops = {0};
    struct net_server second = {0};
    struct fixture f;
    struct echo e;

    (void)state;
    fixture_init(&f);
    echo_open(&e, &f, NULL);
    assert_int_equal(net_server_open(&second, &f.loop, "127.0.0.1", e.server.port, &ops, &net_server_default_limits),
                     UV_EADDRINUSE);
    assert_int_equal(net_server_open(&second, &f.loop, "192.0.2.1", 0, &ops, &net_server_default_limits),
                     UV_EADDRNOTAVAIL);
    assert_int_equal(net_server_open(&second, &f.loop, "", 0, &ops, &net_server_default_limits), MQ_EINVAL);
    assert_int_equal(net_server_open(&second, &f.loop, "127.0.0.1", 70000, &ops, &net_server_default_limits),
                     MQ_EINVAL);
    echo_close(&e, &f);
    fixture_fini(&f);
}

static void a_connection_without_memory_or_over_the_limit_is_refused_and_the_next_served(void **state)
{
    struct fixture f;
    struct echo e;
    char byte;
    int peers[4];

    (void)state;
    net_counters = (struct net_counters){0};
    fixture_init(&f);
    echo_open(&e, &f, NULL);
    peers[0] = peer_connect(e.server.port);
    mq_heap_fail_at(1);
    RUN_UNTIL(&f, net_counters.refused == 1);
    mq_heap_fail_at(0);

    e.server.count = NET_SERVER_CHANNELS_MAX;
    peers[1] = peer_connect(e.server.port);
    peers[2] = peer_connect(e.server.port); /* waits until the handle that refused the one before is closed */
    RUN_UNTIL(&f, net_counters.refused == 3);
    e.server.count = 0;

    peers[3] = peer_connect(e.server.port);
    RUN_UNTIL(&f, e.opened == 1);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(peer_read(peers[i], &byte, 1), 0);
    }
    assert_int_equal(peer_read(peers[3], &byte, 1), -EAGAIN);
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        close(peers[i]);
    }
    echo_close(&e, &f);
    fixture_fini(&f);
}

static void closing_a_server_ends_its_channels_as_told(void **state)
{
    struct fixture f;
    struct echo e;
    char byte;
    int peers[3];

    (void)state;
    fixture_init(&f);
    echo_open(&e, &f, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        peers[i] = peer_connect(e.server.port);
    }
    RUN_UNTIL(&f, e.opened == ARRAY_SIZE(peers));
    echo_close(&e, &f);
    for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
        assert_int_equal(peer_read(peers[i], &byte, 1), 0); /* FIN */
        close(peers[i]);
    }
    fixture_fini(&f);
}

/* What a process that dies by kill -9 does is what a close that is not orderly does: the kernel resets. */
static void on_down(struct net_server *server)
{
    container_of(server, struct echo, server)->down = true;
}

static void closing_a_server_without_order_resets_its_peers(void **state)
{
    struct fixture f;
    struct echo e;
    char byte;
    int peer;

    (void)state;
    fixture_init(&f);
    echo_open(&e, &f, NULL);
    peer = peer_connect(e.server.port);
    RUN_UNTIL(&f, e.opened == 1);
    net_server_close(&e.server, false, on_down);
    RUN_UNTIL(&f, e.down);
    assert_int_equal(peer_read(peer, &byte, 1), -ECONNRESET);
    close(peer);
    fixture_fini(&f);
}

static void on_opened_closes(struct net_channel *ch)
{
    container_of((struct net_server *)ch->data, struct echo, server)->opened++;
    net_channel_close(ch, MQ_EBUSY, true);
}

static void on_closed_counts(struct net_channel *ch, int reason)
{
    struct echo *e = container_of((struct net_server *)ch->data, struct echo, server);

    e->closed++;
    e->reason = reason;
}

static void a_channel_may_be_closed_when_it_is_opened(void **state)
{
    static const struct net_server_ops ops = {.opened = on_opened_closes, .closed = on_closed_counts};
    struct fixture f;
    struct echo e = {0};
    int peer;

    (void)state;
    fixture_init(&f);
    assert_int_equal(net_server_open(&e.server, &f.loop, "127.0.0.1", 0, &ops, &net_server_default_limits), 0);
    peer = peer_connect(e.server.port);
    RUN_UNTIL(&f, e.closed == 1);
    assert_int_equal(e.opened, 1);
    assert_int_equal(e.reason, MQ_EBUSY);
    close(peer);
    echo_close(&e, &f);
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_in_use_or_a_bad_host_leaves_nothing_open),
        cmocka_unit_test(a_connection_without_memory_or_over_the_limit_is_refused_and_the_next_served),
        cmocka_unit_test(closing_a_server_ends_its_channels_as_told),
        cmocka_unit_test(closing_a_server_without_order_resets_its_peers),
        cmocka_unit_test(a_channel_may_be_closed_when_it_is_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
