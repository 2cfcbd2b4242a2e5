/* Streams as the kernel of each machine sees them: what runs inside opens them and notes what it saw. */
#include "tests/sim/world/inside.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PORT 700
#define LOOK_NS NS_PER_MS

static struct machine *a, *b;
static struct {
    uint8_t bytes[1 << 20]; /* in the order in which they were read, of all connections */
    size_t n;
    uint64_t first_ns;
    int ended, broken; /* streams that ended in order, and what broke one */
    int accepted, accept_error;
    size_t sent;
    int send_error, connect_error;
    bool reading;
} seen;

static int begin(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof(seen));
    seen.reading = true;
    world_open(5);
    a = machine_new("a", "10.0.0.1");
    b = machine_new("b", "10.0.0.2");
    return 0;
}

/* A closed world leaves what the first one left: the lines of the trace. */
static int end(void **state)
{
    static size_t left;

    (void)state;
    world_close();
    left = left == 0 ? heap_of_world()->bytes : left;
    return heap_of_world()->bytes == left ? 0 : -1;
}

static void read_some(struct sock **slot)
{
    uint8_t bytes[5000];
    ssize_t n;

    while (*slot != NULL && (n = sock_recv(*slot, bytes, sizeof(bytes))) != -EAGAIN) {
        if (n > 0) {
            seen.first_ns = seen.n == 0 ? world_now() : seen.first_ns;
            memcpy(seen.bytes + seen.n, bytes, (size_t)n);
            seen.n += (size_t)n;
            continue;
        }
        seen.ended += n == 0;
        seen.broken = n < 0 ? (int)n : seen.broken;
        sock_close(*slot);
        *slot = NULL;
    }
}

static int receiver(void *data)
{
    struct sock *listener = sock_new(process_current()), *socks[8] = {0};

    (void)data;
    if (sock_bind(listener, 0, PORT) != 0 || sock_listen(listener) != 0) {
        return 1;
    }
    for (;;) {
        struct sock *sock;
        int rc = sock_accept(listener, &sock);

        seen.accept_error = rc != 0 ? rc : seen.accept_error;
        if (sock != NULL) {
            socks[seen.accepted++] = sock;
        }
        for (int i = 0; seen.reading && i < seen.accepted; i++) {
            read_some(&socks[i]);
        }
        process_sleep(LOOK_NS);
    }
    return 0;
}

/* What a sender does: connects, then sends @n bytes of @byte every 10 ms, @times times, and waits. */
struct sending {
    uint8_t byte;
    size_t n, times;
    unsigned user_timeout_ms;
    bool close;
};

static int sender(void *data)
{
    static uint8_t bytes[64 << 10];
    const struct sending *what = data;
    struct sock *sock = sock_new(process_current());
    struct iovec vec = {bytes, what->n};

    memset(bytes, what->byte, sizeof(bytes));
    sock_set_user_timeout(sock, what->user_timeout_ms);
    (void)sock_connect(sock, b->ip, PORT);
    while (sock_connecting(sock)) {
        process_sleep(LOOK_NS);
    }
    seen.connect_error = sock_error(sock);
    for (size_t i = 0; i < what->times; i++) {
        ssize_t n = sock_send(sock, &vec, 1);

        seen.sent += n > 0 ? (size_t)n : 0;
        seen.send_error = n < 0 ? (int)n : seen.send_error;
        process_sleep(10 * NS_PER_MS);
    }
    if (what->close) {
        sock_close(sock);
    }
    for (;;) {
        process_sleep(10 * NS_PER_MS);
        if (!what->close && sock_error(sock) != 0) {
            seen.send_error = sock_error(sock);
        }
    }
    return 0;
}

static struct process *start_both(struct sending *what)
{
    process_start(b, "receiver", receiver, NULL);
    assert_true(world_run_until(world_now() + 5 * NS_PER_MS));
    return process_start(a, "sender", sender, what);
}

static void run_ms(uint64_t ms)
{
    assert_true(world_run_until(world_now() + ms * NS_PER_MS));
}

static void cut_both(bool cut)
{
    (cut ? link_cut : link_heal)(net_link(a, b));
    (cut ? link_cut : link_heal)(net_link(b, a));
}

static void bytes_arrive_whole_and_in_order(void **state)
{
    struct sending what = {'x', 1000, 20, 0, true};

    (void)state;
    *net_link(a, b) = (struct link){NS_PER_MS, 50 * NS_PER_MS, 100000, 200 * NS_PER_MS, 1000000, false};
    start_both(&what);
    run_ms(2000);
    assert_int_equal(seen.n, 20000);
    assert_int_equal(seen.ended, 1);
    assert_int_equal(seen.broken, 0);
}

static void nobody_listening_refuses(void **state)
{
    struct sending what = {'x', 10, 1, 0, false};

    (void)state;
    process_start(a, "sender", sender, &what);
    run_ms(100);
    assert_int_equal(seen.connect_error, -ECONNREFUSED);
}

static void a_cut_link_holds_bytes_until_it_is_healed(void **state)
{
    struct sending what = {'x', 100, 10, 0, false};

    (void)state;
    start_both(&what);
    run_ms(45);
    cut_both(true);
    run_ms(1000);
    assert_true(seen.n > 0 && seen.n < 1000);
    assert_int_equal(seen.sent, 1000);
    cut_both(false);
    run_ms(1000);
    assert_int_equal(seen.n, 1000);
    assert_int_equal(seen.send_error, 0);
}

static void unacknowledged_bytes_end_a_stream_at_its_user_timeout(void **state)
{
    struct sending what = {'x', 100, 10, 500, false};

    (void)state;
    start_both(&what);
    run_ms(45);
    cut_both(true);
    run_ms(400);
    assert_int_equal(seen.send_error, 0);
    run_ms(200);
    assert_int_equal(seen.send_error, -ETIMEDOUT);
    cut_both(false);
    run_ms(1000);
    assert_true(seen.n < 1000);
    assert_int_equal(seen.ended + seen.broken, 0); /* the receiver was never told */
}

static void a_cut_way_back_lets_bytes_through_and_ends_the_sender(void **state)
{
    struct sending what = {'x', 100, 10, 500, false};

    (void)state;
    start_both(&what);
    run_ms(45);
    link_cut(net_link(b, a));
    run_ms(1000);
    assert_int_equal(seen.n, 1000);
    assert_int_equal(seen.send_error, -ETIMEDOUT);
}

static void what_a_killed_process_had_sent_still_arrives(void **state)
{
    struct sending what = {'x', 100, 10, 0, false};
    struct process *process;

    (void)state;
    net_link(a, b)->latency_min_ns = net_link(a, b)->latency_max_ns = 200 * NS_PER_MS;
    process = start_both(&what);
    run_ms(350);
    assert_int_equal(seen.sent, 1000);
    assert_int_equal(seen.n, 0);
    process_kill(process);
    run_ms(500);
    assert_int_equal(seen.n, 1000);
    assert_int_equal(seen.ended, 1);
    assert_true(net_stats()->late_after_close > 0);
}

static void old_bytes_come_after_those_of_a_newer_connection(void **state)
{
    struct sending old = {'o', 100, 5, 0, false}, new = {'n', 100, 1, 0, false};
    struct process *process;

    (void)state;
    process = start_both(&old);
    run_ms(5);
    net_link(a, b)->latency_min_ns = net_link(a, b)->latency_max_ns = 500 * NS_PER_MS;
    run_ms(60);
    net_link(a, b)->latency_min_ns = net_link(a, b)->latency_max_ns = NS_PER_MS;
    process_kill(process);
    process_start(a, "sender", sender, &new);
    run_ms(2000);
    assert_int_equal(seen.n, 600);
    assert_int_equal(seen.bytes[seen.n - 1], 'o');
    assert_non_null(memchr(seen.bytes, 'n', seen.n - 100));
}

static void a_machine_that_lost_its_power_resets_old_streams(void **state)
{
    struct sending what = {'x', 100, 200, 0, false};

    (void)state;
    start_both(&what);
    run_ms(100);
    machine_power_off(b);
    run_ms(500);
    assert_int_equal(seen.send_error, 0);
    machine_power_on(b);
    run_ms(1000);
    assert_int_equal(seen.send_error == -ECONNRESET || seen.send_error == -EPIPE, 1);
}

static void a_full_window_stops_the_sender_until_it_is_read(void **state)
{
    struct sending what = {'x', 60000, 10, 0, false};

    (void)state;
    net_set_buffers(100000, 100000);
    seen.reading = false;
    start_both(&what);
    run_ms(500);
    assert_int_equal(seen.send_error, -EAGAIN);
    assert_in_range(seen.sent, 100000, 260000);
    seen.reading = true;
    run_ms(500);
    assert_int_equal(seen.n, seen.sent);
}

static void a_reset_loses_what_is_under_way(void **state)
{
    struct sending what = {'x', 100, 10, 0, false};

    (void)state;
    net_link(a, b)->latency_min_ns = net_link(a, b)->latency_max_ns = 50 * NS_PER_MS;
    start_both(&what);
    run_ms(130);
    net_reset(a, b);
    run_ms(500);
    assert_true(seen.n < 1000);
    assert_int_equal(seen.broken, -ECONNRESET);
    assert_true(seen.send_error != 0);
}

static void a_failed_accept_resets_the_other_end(void **state)
{
    struct sending what = {'x', 100, 10, 0, false};

    (void)state;
    net_fail_accepts(b, 1);
    start_both(&what);
    run_ms(500);
    assert_int_equal(seen.accept_error, -EMFILE);
    assert_int_equal(seen.accepted, 0);
    assert_true(seen.send_error != 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(bytes_arrive_whole_and_in_order),
        TEST(nobody_listening_refuses),
        TEST(a_cut_link_holds_bytes_until_it_is_healed),
        TEST(unacknowledged_bytes_end_a_stream_at_its_user_timeout),
        TEST(a_cut_way_back_lets_bytes_through_and_ends_the_sender),
        TEST(what_a_killed_process_had_sent_still_arrives),
        TEST(old_bytes_come_after_those_of_a_newer_connection),
        TEST(a_machine_that_lost_its_power_resets_old_streams),
        TEST(a_full_window_stops_the_sender_until_it_is_read),
        TEST(a_reset_loses_what_is_under_way),
        TEST(a_failed_accept_resets_the_other_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
