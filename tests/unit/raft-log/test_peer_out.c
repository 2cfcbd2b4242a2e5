#include "peer_world.h"
#include "remoting/base/assert.h"
#include "remoting/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The core's wish: entries prev+1 ... prev+n. */
static void want(struct world *w, uint64_t prev, uint32_t n)
{
    struct core_message m = {.type = CORE_APPEND, .peer = 2, .term = 3};

    m.append.prev_index = prev;
    m.append.prev_term = prev == 0 ? 0 : 3;
    m.append.commit = w->ends[0].commit;
    m.append.n = n;
    peer_out_send(far(w), &m);
}

static void expect(const struct world *w, unsigned i, uint64_t prev, uint32_t n, uint64_t commit)
{
    const struct core_message *m = &w->ends[1].got[i];

    assert_int_equal(m->type, CORE_APPEND);
    assert_int_equal(m->term, 3);
    assert_int_equal(m->append.prev_index, prev);
    assert_int_equal(m->append.prev_term, prev == 0 ? 0 : 3);
    assert_int_equal(m->append.n, n);
    assert_int_equal(m->append.commit, commit);
}

/* What was written so far has arrived. */
static void flush(struct world *w)
{
    struct core_message mark = {.type = CORE_APPEND_RESULT, .peer = 2, .term = MARK};

    w->ends[1].marked = false;
    peer_out_send(far(w), &mark);
    RUN_UNTIL(w, w->ends[1].marked && far(w)->out[PEER_BULK].conn.out_bytes == 0);
    for (unsigned i = 0; i < 10; i++) { /* the other connection's turn to be read */
        (void)uv_run(&w->loop.uv, UV_RUN_NOWAIT);
    }
}

/* The leadership began a while ago, and its last heartbeat was just now. */
static void be_settled(struct world *w)
{
    far(w)->sent.term = 3;
    far(w)->sent.control_ms = far(w)->sent.bulk_ms = mq_clock_mono_ms();
}

/* ---- tests ---- */

static void a_wish_becomes_frames_with_a_change_alone(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    be_settled(&w);
    put(&w, RLOG_CHANGE, 1, 64);
    put(&w, RLOG_COMMAND, 4, 100);
    put(&w, RLOG_CHANGE, 1, 64);
    put(&w, RLOG_COMMAND, 3, 100);
    w.ends[0].commit = 7;
    w.ends[0].match = 1;
    want(&w, 1, 8);
    RUN_UNTIL(&w, w.ends[1].n_got >= 3);
    expect(&w, 0, 1, 4, 5); /* the commit index never goes beyond the frame */
    expect(&w, 1, 5, 1, 6);
    expect(&w, 2, 6, 3, 7);
    flush(&w);
    assert_int_equal(w.ends[1].n_got, 3);
    world_fini(&w);
}

static void large_wishes_are_cut_and_bounded(void **state)
{
    struct world w;
    uint64_t before;

    (void)state;
    world_init(&w, NEVER_MS);
    be_settled(&w);
    put(&w, RLOG_COMMAND, 60, 1u << 20);
    want(&w, 0, 60);
    assert_true(far(&w)->out[PEER_BULK].conn.out_bytes <= 2 * PEER_OUT_QUEUE_BYTES);
    RUN_UNTIL(&w, w.ends[1].got_bytes >= PEER_OUT_UNACKED_BYTES);
    flush(&w);
    before = w.ends[1].got_bytes;
    assert_true(before <= PEER_OUT_UNACKED_BYTES + 2 * PEER_FRAME_RAW_BYTES); /* and waits for acknowledgements */
    for (unsigned i = 0; i < w.ends[1].n_got; i++) {
        assert_true(w.ends[1].got[i].append.n <= 4); /* at most four of them fit PEER_FRAME_RAW_BYTES */
    }
    w.ends[0].match = 30;
    peer_out_pump(far(&w));
    RUN_UNTIL(&w, w.ends[1].got_bytes >= 60u << 20);
    assert_int_equal(far(&w)->sent.next, 61);
    world_fini(&w);
}

/* Retention does not wait for a member that is slow: the core says what that one needs then. */
static void entries_that_the_log_no_longer_has_are_not_sent(void **state)
{
    struct world w;
    unsigned n_got;

    (void)state;
    world_init(&w, NEVER_MS);
    be_settled(&w);
    put(&w, RLOG_COMMAND, 100, 1u << 20);
    want(&w, 0, 100);
    RUN_UNTIL(&w, w.ends[1].got_bytes >= PEER_OUT_UNACKED_BYTES && commitlog_durable_index(w.log) == 100);
    flush(&w);
    assert_int_equal(commitlog_trim(w.log, SEGMENT_BYTES), 0);
    assert_true(far(&w)->sent.next < commitlog_first_index(w.log));
    n_got = w.ends[1].n_got;
    w.ends[0].match = 10;
    peer_out_pump(far(&w));
    flush(&w);
    assert_int_equal(w.ends[1].n_got, n_got);
    want(&w, 99, 1); /* when it has caught up otherwise */
    RUN_UNTIL(&w, w.ends[1].n_got > n_got);
    assert_int_equal(w.ends[1].got[n_got].append.prev_index, 99);
    world_fini(&w);
}

static void a_heartbeat_is_not_anchored_below_the_beginning_of_the_log(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 1);
    put(&w, RLOG_COMMAND, 100, 1u << 20);
    RUN_UNTIL(&w, commitlog_durable_index(w.log) == 100);
    assert_int_equal(commitlog_trim(w.log, SEGMENT_BYTES), 0);
    w.ends[0].match = 10;
    far(&w)->sent.term = 3;
    want(&w, 90, 0);
    RUN_UNTIL(&w, w.ends[1].n_got >= 1);
    expect(&w, 0, 90, 0, 0);
    world_fini(&w);
}

static bool was_asked_about(const struct world *w, uint64_t index)
{
    for (unsigned i = 0; i < w->ends[1].n_got; i++) {
        const struct core_message *m = &w->ends[1].got[i];

        if (m->append.prev_index == index && m->append.n == 0) {
            return true;
        }
    }
    return false;
}

static void acknowledgements_that_were_lost_do_not_hold_entries_back_for_ever(void **state)
{
    struct world w;
    uint64_t written;

    (void)state;
    world_init(&w, NEVER_MS);
    put(&w, RLOG_COMMAND, 1, 100);
    put(&w, RLOG_COMMAND, 60, 1u << 20);
    w.ends[0].match = 1;
    be_settled(&w);
    want(&w, 1, 60);
    RUN_UNTIL(&w, w.ends[1].got_bytes >= PEER_OUT_UNACKED_BYTES);
    flush(&w);
    written = far(&w)->sent.next - 1;
    assert_true(written < 61);
    w.ends[1].n_got = 0;
    far(&w)->peers->options.heartbeat_ms = 0;
    want(&w, 61, 0); /* the answers are gone, and the peer still answers heartbeats: the core sees nothing amiss */
    flush(&w);
    assert_true(was_asked_about(&w, written));
    w.ends[0].match = written; /* the answer */
    peer_out_pump(far(&w));
    RUN_UNTIL(&w, w.ends[1].got_bytes >= 60u << 20);
    world_fini(&w);
}

static void a_wish_that_never_came_is_asked_about(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    put(&w, RLOG_COMMAND, 10, 100);
    w.ends[0].match = 5;
    be_settled(&w);
    want(&w, 1, 4);
    flush(&w);
    far(&w)->peers->options.heartbeat_ms = 0;
    want(&w, 10, 0); /* the core wanted 6 to 10 too, while its leader was silent */
    flush(&w);
    assert_true(was_asked_about(&w, 10));
    world_fini(&w);
}

static void a_heartbeat_is_anchored_at_what_was_acknowledged(void **state)
{
    struct world w;
    unsigned first;

    (void)state;
    world_init(&w, NEVER_MS);
    be_settled(&w);
    put(&w, RLOG_COMMAND, 9, 100);
    w.ends[0].commit = 9;
    w.ends[0].match = 4;
    far(&w)->peers->options.heartbeat_ms = 0; /* due */
    want(&w, 9, 0);                           /* the core has sent up to 9 */
    RUN_UNTIL(&w, w.ends[1].n_got >= 2);
    flush(&w);
    assert_int_equal(w.ends[1].n_got, 2); /* the heartbeat, and on bulk the question whether 9 is there */
    first = w.ends[1].got[0].append.prev_index == 4 ? 0 : 1;
    expect(&w, first, 4, 0, 4);
    expect(&w, 1 - first, 9, 0, 9);
    w.ends[0].match = 9; /* it is: there is nothing to ask */
    want(&w, 9, 0);
    RUN_UNTIL(&w, w.ends[1].n_got >= 3);
    flush(&w);
    assert_int_equal(w.ends[1].n_got, 3);
    expect(&w, 2, 9, 0, 9);
    world_fini(&w);
}

static void before_the_first_answer_the_cores_own_anchor_is_used(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, 0);
    put(&w, RLOG_COMMAND, 5, 100);
    w.ends[0].commit = 4;
    want(&w, 5, 0);
    RUN_UNTIL(&w, w.ends[1].n_got >= 1);
    expect(&w, 0, 5, 0, 4);
    world_fini(&w);
}

static void empty_appends_at_the_in_flight_limit_are_dropped(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    put(&w, RLOG_COMMAND, 10, 100);
    w.ends[0].match = 2;
    be_settled(&w);
    want(&w, 2, 8);
    for (unsigned i = 0; i < 1000; i++) {
        want(&w, 10, 0);
    }
    flush(&w);
    assert_int_equal(w.ends[1].n_got, 1); /* the entries */
    world_fini(&w);
}

static void what_was_written_is_not_written_again_but_asked_about(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    put(&w, RLOG_COMMAND, 10, 100);
    w.ends[0].match = 1;
    w.ends[0].commit = 10;
    be_settled(&w);
    want(&w, 1, 9);
    want(&w, 1, 9); /* no answer yet: the core starts over */
    flush(&w);
    assert_int_equal(w.ends[1].n_got, 1);
    far(&w)->peers->options.heartbeat_ms = 0; /* now it is due */
    want(&w, 1, 9);
    RUN_UNTIL(&w, w.ends[1].n_got >= 3);
    flush(&w);
    for (unsigned i = 1; i < 3; i++) { /* the question on bulk and the heartbeat on control, in any order */
        uint64_t prev = w.ends[1].got[i].append.prev_index;

        assert_true(prev == 10 || prev == 1);
        assert_int_equal(w.ends[1].got[i].append.n, 0);
    }
    world_fini(&w);
}

static void a_rejection_makes_entries_go_again(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    put(&w, RLOG_COMMAND, 10, 100);
    be_settled(&w);
    want(&w, 8, 2);
    peer_out_rejected(far(&w), 3, 8);
    want(&w, 3, 7);
    RUN_UNTIL(&w, w.ends[1].n_got >= 2);
    expect(&w, 0, 8, 2, 0);
    expect(&w, 1, 3, 7, 0);
    w.ends[0].match = 10;
    peer_out_rejected(far(&w), 3, 8); /* late: it has acknowledged that */
    assert_int_equal(far(&w)->sent.next, 11);
    world_fini(&w);
}

static void after_a_lost_connection_the_peer_is_asked_what_it_has(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    put(&w, RLOG_COMMAND, 10, 100);
    w.ends[0].match = 4;
    be_settled(&w);
    want(&w, 4, 6);
    flush(&w);
    peer_conn_close(&far(&w)->out[PEER_BULK], 0);
    RUN_UNTIL(&w, !peer_is_up(far(&w), PEER_BULK));
    RUN_UNTIL(&w, peer_is_up(far(&w), PEER_BULK));
    w.ends[1].n_got = 0;
    far(&w)->peers->options.heartbeat_ms = 0;
    want(&w, 10, 0); /* the core's heartbeat: it thinks that 10 is there */
    RUN_UNTIL(&w, w.ends[1].n_got >= 2);
    assert_true(was_asked_about(&w, 10));
    world_fini(&w);
}

static void only_the_founding_directory_is_listened_to(void **state)
{
    struct core_message vote = {.type = CORE_VOTE, .peer = 2, .term = 9};
    struct peers_options options;
    struct world w;

    (void)state;
    world_open(&w);
    options = options_of(&w, 1, NEVER_MS);
    start_end(&w, 1, &options);
    options = options_of(&w, 0, NEVER_MS);
    options.incarnation = 4711;
    start_end(&w, 0, &options);
    RUN_UNTIL(&w, far(&w)->out[PEER_CONTROL].state == PEER_UP);
    peer_out_send(far(&w), &vote);
    RUN_UNTIL(&w, w.ends[1].peers->list[0].out[PEER_CONTROL].state == PEER_UP);
    assert_false(peer_is_up(&w.ends[1].peers->list[0], PEER_CONTROL)); /* nothing is sent to it either */
    for (unsigned i = 0; i < 20; i++) {
        (void)uv_run(&w.loop.uv, UV_RUN_NOWAIT);
    }
    assert_int_equal(w.ends[1].n_got, 0);
    world_fini(&w);
}

/* A byte of the log's first segment, on the disk. */
static void flip(struct world *w, uint64_t at)
{
    char path[128];
    uint8_t byte;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/log/%020d", w->dir, 0);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

static void lose_bulk(struct world *w)
{
    peer_conn_close(&far(w)->out[PEER_BULK], 0);
    RUN_UNTIL(w, !peer_is_up(far(w), PEER_BULK));
    RUN_UNTIL(w, peer_is_up(far(w), PEER_BULK));
}

static void what_was_not_acknowledged_is_checked_before_it_is_sent_again(void **state)
{
    struct world w;
    unsigned n_got;

    (void)state;
    world_init(&w, NEVER_MS);
    be_settled(&w);
    put(&w, RLOG_COMMAND, 10, 1000);
    RUN_UNTIL(&w, commitlog_durable_index(w.log) == 10);
    flip(&w, commitlog_pos_of(w.log, 6) + 500);
    want(&w, 0, 10);
    flush(&w);
    expect(&w, 0, 0, 10, 0); /* nobody has looked at payloads */
    assert_int_equal(w.ends[0].damages, 0);
    lose_bulk(&w);
    n_got = w.ends[1].n_got;
    want(&w, 0, 10);
    flush(&w);
    expect(&w, n_got, 0, 5, 0);
    assert_int_equal(w.ends[1].n_got, n_got + 1);
    assert_int_equal(w.ends[0].damaged, 6);
    want(&w, 0, 10);
    peer_out_pump(far(&w));
    flush(&w);
    assert_int_equal(w.ends[0].damages, 1); /* once, until it was mended */
    flip(&w, commitlog_pos_of(w.log, 6) + 500);
    peers_mended(w.ends[0].peers);
    flush(&w);
    expect(&w, n_got + 1, 5, 5, 0);
    assert_int_equal(w.ends[0].damages, 1);
    world_fini(&w);
}

static void a_bad_header_is_never_sent(void **state)
{
    struct world w;

    (void)state;
    world_init(&w, NEVER_MS);
    be_settled(&w);
    put(&w, RLOG_COMMAND, 10, 1000);
    RUN_UNTIL(&w, commitlog_durable_index(w.log) == 10);
    flip(&w, commitlog_pos_of(w.log, 1) + 30);
    want(&w, 0, 10);
    flush(&w);
    assert_int_equal(w.ends[1].n_got, 0);
    assert_int_equal(w.ends[0].damaged, 1);
    flip(&w, commitlog_pos_of(w.log, 1) + 30);
    peers_mended(w.ends[0].peers);
    flush(&w);
    expect(&w, 0, 0, 10, 0);
    world_fini(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wish_becomes_frames_with_a_change_alone),
        cmocka_unit_test(large_wishes_are_cut_and_bounded),
        cmocka_unit_test(entries_that_the_log_no_longer_has_are_not_sent),
        cmocka_unit_test(a_heartbeat_is_not_anchored_below_the_beginning_of_the_log),
        cmocka_unit_test(acknowledgements_that_were_lost_do_not_hold_entries_back_for_ever),
        cmocka_unit_test(a_wish_that_never_came_is_asked_about),
        cmocka_unit_test(a_heartbeat_is_anchored_at_what_was_acknowledged),
        cmocka_unit_test(before_the_first_answer_the_cores_own_anchor_is_used),
        cmocka_unit_test(empty_appends_at_the_in_flight_limit_are_dropped),
        cmocka_unit_test(what_was_written_is_not_written_again_but_asked_about),
        cmocka_unit_test(a_rejection_makes_entries_go_again),
        cmocka_unit_test(after_a_lost_connection_the_peer_is_asked_what_it_has),
        cmocka_unit_test(only_the_founding_directory_is_listened_to),
        cmocka_unit_test(what_was_not_acknowledged_is_checked_before_it_is_sent_again),
        cmocka_unit_test(a_bad_header_is_never_sent),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
