/* Disks that lose something while their members run: found, and repaired from another member. */
#include "raft_cluster.h"

#include "raft-log/rlog.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SEGMENT (256u << 10)
#define FAST (1u << 30)
#define ALL 3u

static int set_up(void **state)
{
    struct cluster *c = malloc(sizeof(*c));

    mq_log_set_level(MQ_LOG_ERROR);
    *state = c;
    return 0;
}

static int tear_down(void **state)
{
    cluster_fini(*state);
    free(*state);
    return 0;
}

/* ---- what the disks have ---- */

static void path_of(struct cluster *c, uint32_t i, uint64_t pos, char *out, size_t n)
{
    assert_true((size_t)snprintf(out, n, "%s/log/%020" PRIu64, c->nodes[i].dir, pos - pos % SEGMENT) < n);
}

static uint8_t read_at(struct cluster *c, uint32_t i, uint64_t pos)
{
    char path[256];
    uint8_t byte;
    int fd;

    path_of(c, i, pos, path, sizeof(path));
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)(pos % SEGMENT)), 1);
    close(fd);
    return byte;
}

/* Flips bits of the byte at @pos, as the disk of node @i has it. */
static void flip(struct cluster *c, uint32_t i, uint64_t pos)
{
    uint8_t byte = read_at(c, i, pos) ^ 0x21;
    char path[256];
    int fd;

    path_of(c, i, pos, path, sizeof(path));
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(pos % SEGMENT)), 1);
    close(fd);
}

static uint64_t pos_of(struct cluster *c, uint32_t i, uint64_t index)
{
    return commitlog_pos_of(c->nodes[i].log->commitlog, index);
}

static struct rlog_scrub_status status_of(struct cluster *c, uint64_t i)
{
    struct rlog_status status;

    rlog_status_get(c->nodes[i].log, &status);
    return status.scrub;
}

static bool is_whole_again(struct cluster *c, uint64_t i)
{
    struct rlog_scrub_status s = status_of(c, i);

    return s.bad > 0 && s.repaired == s.bad && s.open == 0;
}

static bool has_repaired(struct cluster *c, uint64_t arg)
{
    struct rlog_scrub_status s = status_of(c, arg >> 32);

    return s.repaired >= (uint32_t)arg && s.open == 0;
}

static bool has_found(struct cluster *c, uint64_t arg)
{
    return status_of(c, arg >> 32).bad >= (uint32_t)arg;
}

static bool has_passed(struct cluster *c, uint64_t arg)
{
    return status_of(c, arg >> 32).passes >= (uint32_t)arg;
}

static uint64_t of_node(uint32_t i, uint32_t n)
{
    return (uint64_t)i << 32 | n;
}

static void begin(struct cluster *c, uint32_t n, uint64_t bytes_per_s)
{
    cluster_init(c, n);
    c->segment_bytes = SEGMENT;
    c->scrub_bytes_per_s = bytes_per_s;
    cluster_start_all(c);
    cluster_propose_all(c, 0, 300, 3000);
    cluster_await_level(c);
}

static uint32_t a_follower(struct cluster *c)
{
    return cluster_await_writable(c)->id % c->n;
}

/* ---- tests ---- */

static void bits_that_flip_in_sealed_segments_are_put_right(void **state)
{
    struct cluster *c = *state;
    uint32_t i;

    begin(c, ALL, FAST);
    i = a_follower(c);
    flip(c, i, pos_of(c, i, 10) + 20);   /* a header */
    flip(c, i, pos_of(c, i, 30) + 2000); /* a payload */
    flip(c, i, pos_of(c, i, 31) + 70);   /* its neighbour */
    flip(c, i, pos_of(c, i, 100) + 90);
    cluster_run_until(c, has_repaired, of_node(i, 4));
    assert_int_equal(status_of(c, i).bad, 4);
    cluster_check(c); /* the files are the same */
}

static void the_leader_repairs_its_copy_too(void **state)
{
    struct cluster *c = *state;
    uint32_t i;

    begin(c, ALL, FAST);
    i = cluster_await_writable(c)->id - 1;
    for (uint64_t index = 3; index <= 61; index++) { /* entries 1 and 2 are small */
        flip(c, i, pos_of(c, i, index) + 500);
    }
    cluster_run_until(c, has_repaired, of_node(i, 59));
    cluster_propose_all(c, 300, 320, 100);
    cluster_check(c);
}

static bool ends_with_zero(struct cluster *c, uint64_t i)
{
    return read_at(c, (uint32_t)i, SEGMENT - 1) == 0 && status_of(c, i).open == 0;
}

static void what_lies_behind_the_last_entry_becomes_zeros(void **state)
{
    struct cluster *c = *state;
    uint32_t i;

    begin(c, ALL, FAST);
    i = a_follower(c);
    assert_int_equal(read_at(c, i, SEGMENT - 1), 0);
    flip(c, i, SEGMENT - 1);
    assert_int_not_equal(read_at(c, i, SEGMENT - 1), 0);
    cluster_run_until(c, ends_with_zero, i);
    assert_int_equal(status_of(c, i).bad, 0); /* no entry is */
    cluster_check(c);
}

static void a_group_of_one_says_so_and_goes_on(void **state)
{
    struct cluster *c = *state;
    struct rlog_scrub_status s;

    begin(c, 1, FAST);
    flip(c, 0, pos_of(c, 0, 10) + 2000);
    cluster_run_until(c, has_found, of_node(0, 1));
    cluster_propose_all(c, 300, 310, 100);
    cluster_run_until(c, has_passed, of_node(0, (uint32_t)status_of(c, 0).passes + 2));
    s = status_of(c, 0);
    assert_int_equal(s.bad, 1); /* counted once, however often it is seen */
    assert_int_equal(s.open, 1);
    assert_int_equal(s.repaired, 0);
    flip(c, 0, pos_of(c, 0, 10) + 2000);
}

static void it_is_repaired_when_a_member_that_has_it_comes_back(void **state)
{
    struct cluster *c = *state;

    begin(c, ALL, FAST);
    cluster_stop(c, 1);
    cluster_stop(c, 2);
    flip(c, 0, pos_of(c, 0, 20) + 2000);
    cluster_run_until(c, has_found, of_node(0, 1));
    cluster_run_ms(c, 300);
    assert_int_equal(status_of(c, 0).repaired, 0);
    cluster_start(c, 1);
    cluster_run_until(c, is_whole_again, 0);
    cluster_start(c, 2);
    cluster_await_level(c);
    cluster_check(c);
}

/* The other one's copy of the same entry is bad as well: it says so, and looks for help itself. */
static void a_bad_copy_helps_nobody_and_is_repaired_too(void **state)
{
    struct cluster *c = *state;

    begin(c, ALL, FAST);
    flip(c, 0, pos_of(c, 0, 40) + 1000);
    flip(c, 1, pos_of(c, 1, 40) + 1500);
    cluster_run_until(c, is_whole_again, 0);
    cluster_run_until(c, is_whole_again, 1);
    cluster_check(c);
}

static void it_keeps_to_its_rate(void **state)
{
    struct cluster *c = *state;
    uint64_t start = mq_clock_mono_ms();
    uint64_t rate = 1u << 20;

    begin(c, 1, rate);
    assert_int_equal(status_of(c, 0).bytes_per_s, rate);
    while (status_of(c, 0).bytes < rate / 2) {
        (void)uv_run(&c->loop.uv, UV_RUN_ONCE);
        assert_true(status_of(c, 0).bytes <= rate * (mq_clock_mono_ms() + 1 - start) / 1000 + SCRUB_PIECE_BYTES);
    }
    assert_true(status_of(c, 0).pass_started_ms > 0);
}

static void without_a_rate_nothing_is_read(void **state)
{
    struct cluster *c = *state;

    begin(c, 1, 0);
    cluster_run_ms(c, 1500);
    assert_int_equal(status_of(c, 0).bytes, 0);
    assert_int_equal(status_of(c, 0).bytes_per_s, 0);
}

static void a_week_is_the_rate_that_is_not_set(void **state)
{
    struct cluster *c = *state;

    begin(c, 1, RLOG_SCRUB_AUTO);
    assert_int_equal(status_of(c, 0).bytes_per_s, SCRUBBER_BYTES_PER_S); /* that is more */
    cluster_run_until(c, has_passed, of_node(0, 1));
    cluster_run_ms(c, 1500);
    assert_int_equal(status_of(c, 0).passes, 1); /* the next one tomorrow */
}

/* A follower that was away is sent what is bad; it refuses it, and the leader looks at its own copy. The segment is
 * not sealed, and nothing is scrubbed. */
static void a_leader_does_not_send_bad_bytes_for_ever(void **state)
{
    struct cluster *c = *state;
    uint32_t i, away;
    uint64_t first;

    begin(c, ALL, 0);
    i = cluster_await_writable(c)->id - 1;
    away = (i + 1) % ALL;
    cluster_stop(c, away);
    first = commitlog_last_index(c->nodes[i].log->commitlog) + 1;
    cluster_propose_all(c, 300, 330, 300);
    flip(c, i, pos_of(c, i, first + 10) + 200); /* a payload */
    flip(c, i, pos_of(c, i, first + 20) + 20);  /* a header */
    cluster_start(c, away);
    cluster_run_until(c, has_repaired, of_node(i, 2));
    cluster_await_level(c);
    assert_int_equal(cluster_await_writable(c)->id, i + 1); /* and leads still */
    cluster_check(c);
}

static void it_can_be_closed_at_any_moment(void **state)
{
    struct cluster *c = *state;
    uint32_t i;

    begin(c, ALL, FAST);
    i = a_follower(c);
    for (unsigned round = 0; round < 12; round++) {
        for (uint64_t index = 10; index < 40; index += 3) {
            flip(c, i, pos_of(c, i, index) + 200);
        }
        if (round % 2 == 0) {
            cluster_run_until(c, has_found, of_node(i, 1));
        }
        for (unsigned turns = 0; turns < round * 3; turns++) {
            (void)uv_run(&c->loop.uv, UV_RUN_NOWAIT);
        }
        cluster_stop(c, i);
        cluster_start(c, i); /* reads everything, and brings what is bad again */
        cluster_await_level(c);
    }
    cluster_check(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bits_that_flip_in_sealed_segments_are_put_right, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_leader_repairs_its_copy_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_lies_behind_the_last_entry_becomes_zeros, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_of_one_says_so_and_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_is_repaired_when_a_member_that_has_it_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_copy_helps_nobody_and_is_repaired_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_keeps_to_its_rate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_rate_nothing_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_week_is_the_rate_that_is_not_set, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_leader_does_not_send_bad_bytes_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_can_be_closed_at_any_moment, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
