/* Who is let in, over loopback sockets. End 1 is called; others call it. */
#include "peer_world.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct rlog_refusals *refusals(struct world *w)
{
    return &w->ends[1].peers->refusals;
}

/* Starts end 1, and end 0 with options that @change has changed. */
static void start_changed(struct world *w, void (*change)(struct world *w, struct peers_options *options))
{
    struct peers_options options;

    world_open(w);
    options = options_of(w, 1, NEVER_MS);
    start_end(w, 1, &options);
    options = options_of(w, 0, NEVER_MS);
    change(w, &options);
    start_end(w, 0, &options);
}

static void in_another_cluster(struct world *w, struct peers_options *options)
{
    (void)w;
    options->cluster = "other";
}

static void in_another_group(struct world *w, struct peers_options *options)
{
    (void)w;
    options->group = "other";
}

static void with_another_segment_size(struct world *w, struct peers_options *options)
{
    (void)w;
    options->segment_bytes = 1u << 20;
}

static void with_our_directory(struct world *w, struct peers_options *options)
{
    (void)w;
    options->incarnation = 12;
}

static void calling_another_member(struct world *w, struct peers_options *options)
{
    (void)options;
    w->members[1].id = 5;
}

static void strangers_are_refused_named_and_counted(void **state)
{
    static const struct {
        const char *why;
        void (*change)(struct world *w, struct peers_options *options);
        size_t count; /* offset of the counter */
    } cases[] = {
        {"another cluster", in_another_cluster, offsetof(struct rlog_refusals, cluster)},
        {"another group", in_another_group, offsetof(struct rlog_refusals, group)},
        {"another segment size", with_another_segment_size, offsetof(struct rlog_refusals, segment_bytes)},
        {"our own directory", with_our_directory, offsetof(struct rlog_refusals, copied)},
        {"a call for another member", calling_another_member, offsetof(struct rlog_refusals, member)},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        const uint64_t *count;

        print_message("%s\n", cases[i].why);
        start_changed(&w, cases[i].change);
        count = (const uint64_t *)((const uint8_t *)refusals(&w) + cases[i].count);
        RUN_UNTIL(&w, *count > 1);
        assert_null(w.ends[1].peers->list[0].in[PEER_CONTROL]);
        assert_int_not_equal(w.ends[0].peers->list[0].out[PEER_CONTROL].state, PEER_UP);
        world_fini(&w);
    }
}

/* Another process that calls itself member 1, at an address of its own. */
struct second {
    struct held_port port;
    char address[32];
    struct rlog_member members[2];
    struct end end;
};

static void start_second(struct world *w, struct second *s, uint64_t incarnation)
{
    struct peers_options options = options_of(w, 0, NEVER_MS);
    struct mq_buf problem = {0};

    memset(s, 0, sizeof(*s));
    held_port_open(&s->port);
    (void)snprintf(s->address, sizeof(s->address), "127.0.0.1:%d", s->port.port);
    s->members[0] = (struct rlog_member){1, s->address};
    s->members[1] = w->members[1];
    options.members = s->members;
    options.data = &s->end;
    options.boot = 777;
    options.incarnation = incarnation;
    assert_int_equal(peers_new(&options, &s->end.peers), 0);
    peers_set_membership(s->end.peers, &w->membership, NULL);
    assert_int_equal(peers_start(s->end.peers, &problem), 0);
}

static void on_second_gone(void *data)
{
    ((struct end *)data)->gone = true;
}

static void stop_second(struct world *w, struct second *s)
{
    peers_close(s->end.peers, on_second_gone);
    RUN_UNTIL(w, s->end.gone);
    held_port_close(&s->port);
}

static bool hears_the_first(struct world *w)
{
    struct peer *first = &w->ends[1].peers->list[0];

    return peer_is_up(first, PEER_CONTROL) && first->in[PEER_CONTROL] != NULL &&
           first->in[PEER_CONTROL]->boot == w->ends[0].peers->options.boot;
}

static void a_second_node_with_a_members_number_is_not_listened_to(void **state)
{
    (void)state;
    for (int copied = 0; copied < 2; copied++) {
        struct core_message vote = {.type = CORE_VOTE, .peer = 2, .term = 9};
        struct second second;
        struct world w;

        print_message("%s\n", copied != 0 ? "with a copy of its directory" : "with a directory of its own");
        world_init(&w, NEVER_MS);
        RUN_UNTIL(&w, hears_the_first(&w));
        start_second(&w, &second, copied != 0 ? 11 : 4711);
        RUN_UNTIL(&w, (copied != 0 ? refusals(&w)->copied : refusals(&w)->duplicate) > 1);
        RUN_UNTIL(&w, hears_the_first(&w));
        w.ends[1].n_got = 0;
        peer_out_send(&second.end.peers->list[0], &vote); /* dropped: it is not let in */
        peer_out_send(far(&w), &vote);
        RUN_UNTIL(&w, w.ends[1].n_got > 0);
        assert_int_equal(w.ends[1].n_got, 1);
        stop_second(&w, &second);
        RUN_UNTIL(&w, hears_the_first(&w));
        world_fini(&w);
    }
}

static void a_member_that_starts_again_is_listened_to(void **state)
{
    struct peers_options options;
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    RUN_UNTIL(&w, hears_the_first(&w));
    for (unsigned i = 0; i < 5; i++) {
        peers_close(w.ends[0].peers, on_second_gone);
        RUN_UNTIL(&w, w.ends[0].gone);
        w.ends[0].gone = false;
        options = options_of(&w, 0, NEVER_MS);
        options.boot = 1000 + i;
        start_end(&w, 0, &options);
        RUN_UNTIL(&w, hears_the_first(&w));
    }
    assert_int_equal(refusals(&w)->duplicate + refusals(&w)->copied, 0);
    world_fini(&w);
}

static void one_that_was_taken_for_a_member_goes_when_the_member_comes(void **state)
{
    struct peers_options options;
    struct second second;
    struct world w;

    (void)state;
    world_open(&w);
    options = options_of(&w, 1, NEVER_MS);
    start_end(&w, 1, &options);
    start_second(&w, &second, 11);
    RUN_UNTIL(&w, w.ends[1].peers->list[0].in[PEER_CONTROL] != NULL); /* nobody answers at the member's address */
    assert_int_equal(w.ends[1].peers->list[0].in[PEER_CONTROL]->boot, 777);
    options = options_of(&w, 0, NEVER_MS);
    start_end(&w, 0, &options);
    RUN_UNTIL(&w, hears_the_first(&w));
    RUN_UNTIL(&w, refusals(&w)->copied > 0);
    stop_second(&w, &second);
    world_fini(&w);
}

/* Sends bytes to end 1 on a connection of their own and waits until it has closed that. */
static void send_raw(struct world *w, const uint8_t *bytes, size_t n)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    uint8_t end[4096];

    to.sin_port = htons((uint16_t)w->ports[1].port);
    assert_true(fd >= 0);
    (void)connect(fd, (struct sockaddr *)&to, sizeof(to));
    RUN_UNTIL(w, w->ends[1].peers->n_accepted > 0);
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
    RUN_UNTIL(w, w->ends[1].peers->n_accepted == 0);
    (void)recv(fd, end, sizeof(end), 0);
    close(fd);
}

static void bytes_that_are_no_sound_frame_are_counted(void **state)
{
    static const struct {
        const char *why;
        size_t at;
        uint8_t value;
        size_t count;
    } cases[] = {
        {"another version", 4, 2, offsetof(struct rlog_refusals, version)},
        {"a byte that changed on its way", 30, 99, offsetof(struct rlog_refusals, corrupt)},
        {"something else than a frame", 0, 'G', offsetof(struct rlog_refusals, malformed)},
        {"a header without an end", 11, 9, offsetof(struct rlog_refusals, malformed)},
    };
    struct peer_hello hello = {.group = "g", .from = 1, .to = 2, .incarnation = 11, .segment_bytes = SEGMENT_BYTES};
    struct peers_options options;
    struct world w;

    (void)state;
    world_open(&w);
    options = options_of(&w, 1, NEVER_MS);
    start_end(&w, 1, &options);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const uint64_t *count = (const uint64_t *)((const uint8_t *)refusals(&w) + cases[i].count);
        uint64_t before = *count;
        struct mq_buf bytes = {0};

        print_message("%s\n", cases[i].why);
        assert_int_equal(peer_hello_encode(&hello, &bytes), 0);
        bytes.base[cases[i].at] = cases[i].value;
        send_raw(&w, bytes.base, bytes.len);
        assert_int_equal(*count, before + 1);
        mq_buf_free(&bytes);
    }
    peers_close(w.ends[1].peers, on_second_gone);
    w.ends[0].gone = true;
    RUN_UNTIL(&w, w.ends[1].gone);
    options = options_of(&w, 0, NEVER_MS);
    start_end(&w, 0, &options);
    options = options_of(&w, 1, NEVER_MS);
    start_end(&w, 1, &options);
    w.ends[0].gone = w.ends[1].gone = false;
    world_fini(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_are_refused_named_and_counted),
        cmocka_unit_test(a_second_node_with_a_members_number_is_not_listened_to),
        cmocka_unit_test(a_member_that_starts_again_is_listened_to),
        cmocka_unit_test(one_that_was_taken_for_a_member_goes_when_the_member_comes),
        cmocka_unit_test(bytes_that_are_no_sound_frame_are_counted),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
