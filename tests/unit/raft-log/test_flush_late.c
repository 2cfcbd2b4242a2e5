/* A group whose members acknowledge what they have written and sync it later: what the loss of power of one, two and
 * three of them may do and what not. In one process; the power is lost by taking the end of a stopped member's log
 * away and giving the machine another boot id. */
#include "raft_cluster.h"

#include "raft-log/log/disk.h"
#include "raft-log/log/little.h"
#include "raft-log/rlog.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SEGMENT "log/00000000000000000000"
#define QUIET_MS 1500u /* more than seven election time-outs: in that time somebody leads who can */
#define FLUSH_BYTES 64u

static char boot[16];
static struct rlog_disk disk;

static int boot_id(const struct rlog_disk *d, char *out, size_t max)
{
    (void)d;
    assert_true((size_t)snprintf(out, max, "%s", boot) < max);
    return 0;
}

static int set_up(void **state)
{
    struct cluster *c = malloc(sizeof(*c));

    mq_log_set_level(MQ_LOG_ERROR);
    disk = rlog_disk_real;
    disk.boot_id = boot_id;
    strcpy(boot, "first");
    *state = c;
    return 0;
}

static int tear_down(void **state)
{
    cluster_fini(*state);
    free(*state);
    return 0;
}

static void begin(struct cluster *c, uint32_t n)
{
    cluster_init(c, n);
    c->disk = &disk;
    c->flush_ms = 5;
    cluster_start_all(c);
    (void)cluster_await_writable(c);
}

static void path_of(struct cluster *c, uint32_t i, const char *name, char *out, size_t n)
{
    assert_true((size_t)snprintf(out, n, "%s/%s", c->nodes[i].dir, name) < n);
}

/* The member ends without an orderly close: what says so stays as it was while it ran. */
static void kill_member(struct cluster *c, uint32_t i)
{
    uint8_t used[FLUSH_BYTES];
    char path[256];
    FILE *file;

    path_of(c, i, "flush", path, sizeof(path));
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(used, 1, sizeof(used), file), sizeof(used));
    fclose(file);
    cluster_stop(c, i);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(used, 1, sizeof(used), file), sizeof(used));
    fclose(file);
}

/* The member ends, and entries behind @keep had not reached its disk. The boot is for the caller to change. */
static void lose_power(struct cluster *c, uint32_t i, uint64_t keep)
{
    struct commitlog *log = c->nodes[i].log->commitlog;
    uint64_t end = commitlog_end_pos(log);
    struct commitlog_entry entry;
    char path[256];
    FILE *file;

    assert_true(keep < commitlog_last_index(log) && end < c->segment_bytes);
    assert_int_equal(commitlog_get(log, keep + 1, &entry), 0);
    kill_member(c, i);
    path_of(c, i, SEGMENT, path, sizeof(path));
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)entry.header.pos, SEEK_SET), 0);
    for (uint64_t at = entry.header.pos; at < end; at++) {
        assert_int_equal(fputc(0, file), 0);
    }
    fclose(file);
    path_of(c, i, "commit-mark", path, sizeof(path));
    unlink(path); /* never says more than what was synced */
}

static bool claims(const struct cluster *c, uint32_t i)
{
    return c->nodes[i].log->meta.claim.index != 0;
}

static bool claims_nothing(struct cluster *c, uint64_t i)
{
    return !claims(c, (uint32_t)i);
}

static uint32_t leader_of(struct cluster *c)
{
    return cluster_await_writable(c)->id - 1;
}

static uint64_t last_index(struct cluster *c, uint32_t i)
{
    return commitlog_last_index(c->nodes[i].log->commitlog);
}

static void a_killed_process_keeps_its_vote(void **state)
{
    struct cluster *c = *state;

    begin(c, 3);
    cluster_propose_all(c, 1, 100, 64);
    cluster_await_level(c);
    kill_member(c, 1);
    cluster_start(c, 1);
    assert_false(claims(c, 1));
    cluster_await_level(c);
    cluster_check(c);
}

static void put_cut_of_a_newer_version(struct cluster *c, uint32_t i)
{
    uint8_t record[64] = "RMQT";
    char path[256];
    FILE *file;

    rlog_le16_store(record + 8, 99);
    rlog_le32_store(record + 4, mq_crc32c(0, record + 8, sizeof(record) - 8));
    path_of(c, i, "cut", path, sizeof(path));
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(record, 1, sizeof(record), file), sizeof(record));
    fclose(file);
}

/* What was flushed late is not on the disk because it shall not be flushed late from now on. */
static void a_start_that_never_synced_the_log_forgets_nothing(void **state)
{
    struct cluster *c = *state;
    struct mq_buf problem = {0};
    char path[256];

    begin(c, 3);
    cluster_propose_all(c, 1, 100, 64);
    cluster_await_level(c);
    kill_member(c, 1);
    c->flush_ms = 0;
    put_cut_of_a_newer_version(c, 1); /* any reason not to come as far as the sync */
    assert_int_equal(cluster_try_start(c, 1, &problem), MQ_EVERSION);
    mq_buf_free(&problem);
    path_of(c, 1, "cut", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    strcpy(boot, "second");
    cluster_start(c, 1);
    assert_true(claims(c, 1));
    cluster_run_until(c, claims_nothing, 1);
    cluster_check(c);
}

static void an_orderly_stop_before_a_reboot_keeps_the_vote(void **state)
{
    struct cluster *c = *state;

    begin(c, 3);
    cluster_propose_all(c, 1, 100, 64);
    cluster_stop(c, 1);
    strcpy(boot, "second");
    cluster_start(c, 1);
    assert_false(claims(c, 1));
    cluster_await_level(c);
    cluster_check(c);
}

/* The leader and @lost acknowledged entries that the third member never got; @lost loses them, and the leader is
 * away. The two that are left have a majority and must not elect each other. */
static void one_that_lost_its_power_elects_nobody_who_lacks_what_it_acknowledged(void **state)
{
    struct cluster *c = *state;
    uint32_t leader, lost, third;
    uint64_t keep;

    begin(c, 3);
    cluster_propose_all(c, 1, 50, 64);
    cluster_await_level(c);
    leader = leader_of(c);
    lost = (leader + 1) % 3;
    third = (leader + 2) % 3;
    cluster_stop(c, third);
    keep = last_index(c, lost);
    cluster_propose_all(c, 50, 100, 64);
    cluster_await_level(c);
    cluster_stop(c, leader);
    lose_power(c, lost, keep);
    strcpy(boot, "second");
    cluster_start(c, lost);
    cluster_start(c, third);
    cluster_run_ms(c, QUIET_MS);
    assert_null(cluster_writable(c));
    assert_true(claims(c, lost));
    cluster_start(c, leader);
    (void)cluster_await_writable(c);
    cluster_await_level(c);
    cluster_check(c); /* nothing acknowledged is lost */
    cluster_run_until(c, claims_nothing, lost);
}

/* Without the third nobody leads; with it everything that it holds is there. */
static void two_that_lost_their_power_wait_for_the_third(void **state)
{
    struct cluster *c = *state;
    uint32_t leader;
    uint64_t last;

    begin(c, 3);
    cluster_propose_all(c, 1, 100, 64);
    cluster_await_level(c);
    leader = leader_of(c);
    last = last_index(c, leader);
    cluster_stop(c, leader);
    lose_power(c, (leader + 1) % 3, last - 30);
    lose_power(c, (leader + 2) % 3, last - 10);
    strcpy(boot, "second");
    cluster_start(c, (leader + 1) % 3);
    cluster_start(c, (leader + 2) % 3);
    cluster_run_ms(c, QUIET_MS);
    assert_null(cluster_writable(c));
    cluster_start(c, leader);
    (void)cluster_await_writable(c);
    cluster_await_level(c);
    cluster_check(c);
}

/* The best of what is left counts; that may be less than what was acknowledged. */
static void all_that_lost_their_power_go_on_with_the_longest_log(void **state)
{
    struct cluster *c = *state;
    uint64_t last;

    begin(c, 3);
    cluster_propose_all(c, 1, 100, 64);
    cluster_await_level(c);
    last = last_index(c, 0);
    lose_power(c, 0, last - 30);
    lose_power(c, 1, last - 10);
    lose_power(c, 2, last - 20);
    strcpy(boot, "second");
    cluster_start_all(c);
    (void)cluster_await_writable(c);
    cluster_await_level(c);
    assert_true(last_index(c, 0) > last - 10);
    assert_int_equal(commitlog_term_of(c->nodes[0].log->commitlog, last - 10),
                     commitlog_term_of(c->nodes[1].log->commitlog, last - 10));
}

static void a_second_loss_while_catching_up_is_one_as_well(void **state)
{
    struct cluster *c = *state;
    uint32_t leader, lost;
    uint64_t keep;

    begin(c, 3);
    cluster_propose_all(c, 1, 50, 64);
    cluster_await_level(c);
    leader = leader_of(c);
    lost = (leader + 1) % 3;
    keep = last_index(c, lost) - 20;
    lose_power(c, lost, keep);
    strcpy(boot, "second");
    cluster_start(c, lost);
    assert_true(claims(c, lost));
    cluster_run_until(c, claims_nothing, lost);
    (void)cluster_await_writable(c);
    cluster_propose_all(c, 50, 60, 64);
    cluster_await_level(c);
    lose_power(c, lost, keep);
    strcpy(boot, "third");
    cluster_start(c, lost);
    assert_true(claims(c, lost));
    cluster_run_until(c, claims_nothing, lost);
    (void)cluster_await_writable(c);
    cluster_await_level(c);
    cluster_check(c);
}

static void a_group_of_one_goes_on_with_what_is_there(void **state)
{
    struct cluster *c = *state;

    begin(c, 1);
    cluster_propose_all(c, 1, 50, 64);
    lose_power(c, 0, last_index(c, 0) - 5);
    strcpy(boot, "second");
    cluster_start(c, 0);
    (void)cluster_await_writable(c);
    assert_false(claims(c, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_killed_process_keeps_its_vote, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_start_that_never_synced_the_log_forgets_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_orderly_stop_before_a_reboot_keeps_the_vote, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_lost_its_power_elects_nobody_who_lacks_what_it_acknowledged, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(two_that_lost_their_power_wait_for_the_third, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_that_lost_their_power_go_on_with_the_longest_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_second_loss_while_catching_up_is_one_as_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_of_one_goes_on_with_what_is_there, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
