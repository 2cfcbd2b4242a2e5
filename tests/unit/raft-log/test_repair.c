/* What members do about entries that their disks no longer have: in one process, with files that were damaged while
 * the member was down. */
#include "raft_cluster.h"

#include "raft-log/log/disk.h"
#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "raft-log/rlog.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <inttypes.h>
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

/* --- files of a stopped member ------------------------------------------------------------------------------ */

static void path_of(struct cluster *c, uint32_t i, const char *name, char *out, size_t n)
{
    assert_null(c->nodes[i].log);
    assert_true((size_t)snprintf(out, n, "%s/%s", c->nodes[i].dir, name) < n);
}

static void write_at(struct cluster *c, uint32_t i, const char *name, uint64_t at, const void *bytes, size_t n)
{
    char path[256];
    FILE *file;

    path_of(c, i, name, path, sizeof(path));
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static uint8_t read_at(struct cluster *c, uint32_t i, const char *name, uint64_t at)
{
    char path[256];
    FILE *file;
    int byte;

    path_of(c, i, name, path, sizeof(path));
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fclose(file), 0);
    return (uint8_t)byte;
}

static void flip(struct cluster *c, uint32_t i, const char *name, uint64_t at)
{
    uint8_t byte = read_at(c, i, name, at) ^ 0x20;

    write_at(c, i, name, at, &byte, 1);
}

static void forget_mark(struct cluster *c, uint32_t i)
{
    char path[256];

    path_of(c, i, "commit-mark", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
}

static bool has_file(struct cluster *c, uint32_t i, const char *name)
{
    char path[256];

    assert_true((size_t)snprintf(path, sizeof(path), "%s/%s", c->nodes[i].dir, name) < sizeof(path));
    return access(path, F_OK) == 0;
}

/* Header of entry @index, or of the last one for UINT64_MAX, on the disk of a stopped member. */
static struct rlog_header entry_of(struct cluster *c, uint32_t i, uint64_t index)
{
    struct mq_buf bytes = {0};
    struct rlog_header header = {0}, next;
    char path[256];
    uint64_t at = 0;

    path_of(c, i, SEGMENT, path, sizeof(path));
    assert_int_equal(mq_file_read(path, CLUSTER_SEGMENT_BYTES, &bytes), 0);
    while (header.index != index && rlog_header_decode(bytes.base + at, bytes.len - at, &next) == 0) {
        header = next;
        at += rlog_entry_bytes(header.payload_bytes);
    }
    assert_true(index == UINT64_MAX || header.index == index);
    mq_buf_free(&bytes);
    return header;
}

static uint64_t end_of(struct cluster *c, uint32_t i)
{
    struct rlog_header last = entry_of(c, i, UINT64_MAX);

    return last.pos + rlog_entry_bytes(last.payload_bytes);
}

static void stop_all(struct cluster *c)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->nodes[i].log != NULL) {
            cluster_stop(c, i);
        }
    }
}

static uint64_t claim_of(struct cluster *c, uint64_t i)
{
    struct rlog_status status;

    rlog_status_get(c->nodes[i].log, &status);
    return status.claim_index;
}

static bool has_no_claim(struct cluster *c, uint64_t i)
{
    return claim_of(c, i) == 0;
}

/* --- a group of one ----------------------------------------------------------------------------------------- */

/* Puts the first @n bytes of what would be the next entry behind the end of a stopped member's log. */
static void begin_entry(struct cluster *c, uint32_t i, uint32_t payload_bytes, size_t n)
{
    struct rlog_header last = entry_of(c, i, UINT64_MAX);
    struct rlog_header next = {.type = RLOG_COMMAND,
                               .payload_bytes = payload_bytes,
                               .index = last.index + 1,
                               .term = last.term,
                               .pos = end_of(c, i),
                               .prev_crc = last.crc,
                               .records = 1};
    uint8_t *entry = malloc(RLOG_HEADER_BYTES + payload_bytes);

    memset(entry, 'x', RLOG_HEADER_BYTES + payload_bytes);
    rlog_header_encode(&next, entry);
    write_at(c, i, SEGMENT, next.pos, entry, n);
    free(entry);
}

static void a_group_of_one_goes_on_after_a_write_that_was_not_synced(void **state)
{
    struct cluster *c = *state;
    uint64_t end;

    cluster_init(c, 1);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    cluster_stop(c, 0);
    end = end_of(c, 0);
    begin_entry(c, 0, 3000, (end / 512 + 3) * 512 - end);
    cluster_start_all(c);
    cluster_propose_all(c, 50, 60, 300);
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 60);
}

static void a_group_of_one_does_not_cut_what_it_may_have_acknowledged(void **state)
{
    struct cluster *c = *state;
    struct mq_buf problem = {0};
    uint64_t at;

    cluster_init(c, 1);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    cluster_stop(c, 0);
    forget_mark(c, 0);
    at = end_of(c, 0) - 20;
    flip(c, 0, SEGMENT, at);
    assert_int_equal(cluster_try_start(c, 0, &problem), MQ_ECORRUPT);
    assert_non_null(
        memmem(problem.base, problem.len, "may have been acknowledged; this group has no other member", 58));
    mq_buf_free(&problem);
    flip(c, 0, SEGMENT, at);
    cluster_start_all(c);
    cluster_check(c);
}

/* --- a group of three --------------------------------------------------------------------------------------- */

static void a_member_that_lost_an_acknowledged_entry_elects_nobody_without_it(void **state)
{
    struct cluster *c = *state;

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    cluster_await_level(c);
    cluster_stop(c, 2);
    cluster_propose_all(c, 50, 60, 300); /* members 1 and 2 have it, member 3 does not */
    stop_all(c);
    forget_mark(c, 0);
    flip(c, 0, SEGMENT, end_of(c, 0) - 200);
    cluster_start(c, 0);
    cluster_start(c, 2);
    assert_true(claim_of(c, 0) != 0);
    cluster_run_ms(c, QUIET_MS);
    assert_null(cluster_writable(c)); /* two of three are up, and neither may lead */
    cluster_start(c, 1);
    cluster_propose_all(c, 60, 70, 300);
    cluster_run_until(c, has_no_claim, 0);
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 70);
}

/* From entry @index on the disk of a stopped member reads as if nothing had ever been written there. */
static void lose_end(struct cluster *c, uint32_t i, uint64_t index)
{
    uint64_t from = entry_of(c, i, index).pos, end = end_of(c, i);
    uint8_t *zeros = calloc(1, end - from);

    write_at(c, i, SEGMENT, from, zeros, end - from);
    free(zeros);
}

static void what_a_snapshot_stands_for_is_missed_when_it_is_not_there(void **state)
{
    struct cluster *c = *state;
    uint64_t last;

    cluster_init(c, ALL);
    c->with_state = true;
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    cluster_await_level(c);
    cluster_stop(c, 2);
    cluster_propose_all(c, 50, 60, 300); /* members 1 and 2 have it, member 3 does not */
    cluster_await_level(c);
    cluster_snapshot(c, 0);
    stop_all(c);
    forget_mark(c, 0);
    last = entry_of(c, 0, UINT64_MAX).index;
    lose_end(c, 0, last - 3);
    cluster_start(c, 0);
    assert_int_equal(claim_of(c, 0), last);
    assert_int_equal(c->nodes[0].log->meta.claim.committed, last);
    cluster_start(c, 2);
    cluster_run_ms(c, QUIET_MS);
    assert_null(cluster_writable(c)); /* two of three are up, and neither may lead */
    cluster_start(c, 1);
    cluster_propose_all(c, 60, 70, 300);
    cluster_run_until(c, has_no_claim, 0);
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 70);
}

/* A snapshot that was fetched and not yet installed is ahead of a log that never had its entries. */
static void a_fetched_snapshot_is_no_evidence(void **state)
{
    struct cluster *c = *state;
    char from[256], to[256], *name = NULL;
    struct mq_buf bytes = {0};
    FILE *file;

    cluster_init(c, ALL);
    c->with_state = true;
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    cluster_await_level(c);
    cluster_stop(c, 2);
    cluster_propose_all(c, 50, 60, 300);
    cluster_await_level(c);
    cluster_snapshot(c, 0);
    name = strrchr(snapshots_newest(c->nodes[0].log->state.snapshots)->path, '/') + 1;
    (void)snprintf(from, sizeof(from), "%s/snapshot/%s", c->nodes[0].dir, name);
    (void)snprintf(to, sizeof(to), "%s/snapshot/%s", c->nodes[2].dir, name);
    assert_int_equal(mq_file_read(from, 1u << 20, &bytes), 0);
    file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.base, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
    mq_buf_free(&bytes);
    assert_int_equal(catchup_set_marker(&rlog_disk_real, c->nodes[2].dir), 0);
    cluster_start(c, 2);
    assert_int_equal(claim_of(c, 2), 0);
    assert_true(has_file(c, 2, "backfill")); /* as long as it is ahead */
    cluster_propose_all(c, 60, 70, 300);
    cluster_await_level(c);
    while (has_file(c, 2, "backfill")) {
        cluster_run_ms(c, 20);
    }
    cluster_check(c);
}

static void claims_outlive_a_restart(void **state)
{
    struct cluster *c = *state;

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 20, 300);
    cluster_await_level(c);
    cluster_stop(c, 2);
    cluster_propose_all(c, 20, 30, 300);
    stop_all(c);
    flip(c, 0, SEGMENT, end_of(c, 0) - 200);
    cluster_start(c, 0);
    cluster_stop(c, 0); /* the bad entry is cut, its claim is not */
    assert_true(has_file(c, 0, "meta-0"));
    cluster_start(c, 0);
    cluster_start(c, 2);
    cluster_run_ms(c, QUIET_MS);
    assert_null(cluster_writable(c));
    cluster_start(c, 1);
    cluster_await_writable(c);
    cluster_run_until(c, has_no_claim, 0);
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 30);
}

/* What was cut under a claim is missing at the next start, as the commit mark says. That is no news. */
static void a_claim_does_not_grow_with_each_start(void **state)
{
    struct cluster *c = *state;
    struct rlog_claim claim;

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 30, 300);
    cluster_await_level(c);
    stop_all(c);
    flip(c, 0, SEGMENT, end_of(c, 0) - 200);
    cluster_start(c, 0);
    claim = c->nodes[0].log->meta.claim;
    assert_int_not_equal(claim.committed, 0);
    for (int i = 0; i < 3; i++) {
        cluster_stop(c, 0);
        cluster_start(c, 0);
        assert_memory_equal(&c->nodes[0].log->meta.claim, &claim, sizeof(claim));
    }
    cluster_start(c, 1); /* which has everything: these two are enough */
    cluster_await_writable(c);
    cluster_run_until(c, has_no_claim, 0);
    cluster_check(c);
}

static void rotten_entries_come_back_from_the_others(uint64_t index, uint32_t at)
{
    struct cluster cluster, *c = &cluster;
    char aside[64];
    uint64_t pos;

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 200, 700);
    cluster_await_level(c);
    cluster_stop(c, 1);
    pos = entry_of(c, 1, index).pos;
    flip(c, 1, SEGMENT, pos + at);
    cluster_start(c, 1);
    (void)snprintf(aside, sizeof(aside), "aside-%020" PRIu64, pos);
    assert_true(has_file(c, 1, aside));
    cluster_run_until(c, has_no_claim, 1);
    assert_false(has_file(c, 1, aside));
    cluster_propose_all(c, 200, 210, 700);
    cluster_check(c);
    cluster_stop(c, 1);
    assert_int_equal(entry_of(c, 1, index).index, index);
    cluster_start(c, 1); /* which reads and checks everything */
    assert_int_equal(claim_of(c, 1), 0);
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 210);
    cluster_fini(c);
}

static void rotten_entries_are_brought_again(void **state)
{
    (void)state;
    mq_log_set_level(MQ_LOG_ERROR);
    rotten_entries_come_back_from_the_others(40, 20);  /* a header in the middle */
    rotten_entries_come_back_from_the_others(3, 200);  /* a payload near the beginning */
    rotten_entries_come_back_from_the_others(1, 30);   /* the founding */
    rotten_entries_come_back_from_the_others(150, 90); /* the end of a header */
}

static void leader_that_lost_entries_while_it_was_down_comes_back_as_a_follower(void **state)
{
    struct cluster *c = *state;
    uint32_t leader;

    cluster_init(c, ALL);
    cluster_start_all(c);
    leader = cluster_await_writable(c)->id - 1;
    cluster_propose_all(c, 0, 100, 300);
    stop_all(c);
    flip(c, leader, SEGMENT, entry_of(c, leader, 30).pos + 150);
    cluster_start_all(c);
    cluster_propose_all(c, 100, 110, 300);
    cluster_run_until(c, has_no_claim, leader);
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 110);
}

/* What a power cut of all members leaves may look like anything behind the last entry. */
static void members_that_all_claim_what_nobody_holds_go_on_when_all_are_there(void **state)
{
    struct cluster *c = *state;
    uint8_t rubbish[700];

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    stop_all(c);
    memset(rubbish, 0xA5, sizeof(rubbish));
    for (uint32_t i = 0; i < ALL; i++) {
        write_at(c, i, SEGMENT, end_of(c, i), rubbish, 200 * (i + 1));
    }
    cluster_start(c, 0);
    cluster_start(c, 1);
    cluster_run_ms(c, QUIET_MS);
    assert_null(cluster_writable(c)); /* member 3 may hold what these two claim */
    cluster_start(c, 2);
    cluster_propose_all(c, 50, 60, 300);
    for (uint32_t i = 0; i < ALL; i++) {
        cluster_run_until(c, has_no_claim, i);
    }
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 60);
}

static void a_power_cut_with_torn_tails_everywhere_heals_at_once(void **state)
{
    struct cluster *c = *state;

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    stop_all(c);
    for (uint32_t i = 0; i < ALL; i++) {
        uint64_t end = end_of(c, i);

        begin_entry(c, i, 3000, (end / 512 + 2 + i) * 512 - end);
    }
    for (uint32_t i = 0; i < ALL; i++) {
        cluster_start(c, i);
        assert_int_equal(claim_of(c, i), 0);
    }
    cluster_propose_all(c, 50, 60, 300);
    cluster_check(c);
    assert_int_equal(c->n_acknowledged, 60);
}

static uint64_t incarnation_of(struct cluster *c, uint32_t id)
{
    return membership_find(&c->nodes[0].log->driver.current, id)->incarnation;
}

/* A leader may have the claimed entry on its way to its disk, and counts the acknowledgement of it that it got from
 * this member before: until it has stepped down, what it holds says nothing. */
static void a_claim_is_not_lowered_while_one_leads_in_an_earlier_term(void **state)
{
    struct peer_claim said = {.ask = false};
    struct cluster *c = *state;
    uint8_t rubbish[700];
    struct rlog *log;

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    cluster_await_level(c);
    stop_all(c);
    memset(rubbish, 0xA5, sizeof(rubbish));
    write_at(c, 0, SEGMENT, end_of(c, 0), rubbish, sizeof(rubbish));
    cluster_start(c, 0);
    log = c->nodes[0].log;
    said.last_index = commitlog_last_index(log->commitlog);
    said.last_term = commitlog_term_of(log->commitlog, said.last_index);
    said.leading_term = core_term(log->driver.core) - 1;
    repair_heard(&log->repair, peers_find(log->peers, 2), incarnation_of(c, 2), &said);
    said.leading_term = 0;
    repair_heard(&log->repair, peers_find(log->peers, 3), incarnation_of(c, 3), &said);
    cluster_run_ms(c, 500);
    assert_true(log->meta.claim.index > said.last_index);
    repair_heard(&log->repair, peers_find(log->peers, 2), incarnation_of(c, 2) ^ 1, &said); /* once a member's */
    repair_heard(&log->repair, peers_find(log->peers, 3), incarnation_of(c, 3), &said);
    cluster_run_ms(c, 500);
    assert_true(log->meta.claim.index > said.last_index);
    repair_heard(&log->repair, peers_find(log->peers, 2), incarnation_of(c, 2), &said);
    repair_heard(&log->repair, peers_find(log->peers, 3), incarnation_of(c, 3), &said);
    cluster_run_until(c, has_no_claim, 0);
}

static void what_was_committed_and_is_nowhere_is_not_passed_over(void **state)
{
    struct cluster *c = *state;
    uint64_t at[ALL];

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 50, 300);
    cluster_await_level(c);
    stop_all(c);
    for (uint32_t i = 0; i < ALL; i++) {
        at[i] = entry_of(c, i, UINT64_MAX).pos + 100;
        flip(c, i, SEGMENT, at[i]);
    }
    cluster_start_all(c);
    cluster_run_ms(c, QUIET_MS);
    assert_null(cluster_writable(c));
    for (uint32_t i = 0; i < ALL; i++) {
        assert_true(c->nodes[i].log->meta.claim.committed != 0);
    }
}

static void both_bad_copies_of_meta_are_refused_with_a_way_back(void **state)
{
    struct cluster *c = *state;
    struct mq_buf problem = {0};

    cluster_init(c, ALL);
    cluster_start_all(c);
    cluster_propose_all(c, 0, 10, 300);
    cluster_stop(c, 1);
    flip(c, 1, "meta-0", 30);
    flip(c, 1, "meta-1", 20);
    assert_int_equal(cluster_try_start(c, 1, &problem), MQ_ECORRUPT);
    assert_non_null(memmem(problem.base, problem.len, "meta-0 and meta-1 are both bad", 30));
    assert_non_null(memmem(problem.base, problem.len, "the group takes this node in as a new one", 41));
    mq_buf_free(&problem);
    cluster_propose_all(c, 10, 20, 300); /* the others go on */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_group_of_one_goes_on_after_a_write_that_was_not_synced, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_group_of_one_does_not_cut_what_it_may_have_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_member_that_lost_an_acknowledged_entry_elects_nobody_without_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_a_snapshot_stands_for_is_missed_when_it_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fetched_snapshot_is_no_evidence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(claims_outlive_a_restart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_claim_does_not_grow_with_each_start, set_up, tear_down),
        cmocka_unit_test(rotten_entries_are_brought_again),
        cmocka_unit_test_setup_teardown(leader_that_lost_entries_while_it_was_down_comes_back_as_a_follower, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(members_that_all_claim_what_nobody_holds_go_on_when_all_are_there, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_power_cut_with_torn_tails_everywhere_heals_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_claim_is_not_lowered_while_one_leads_in_an_earlier_term, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_committed_and_is_nowhere_is_not_passed_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_bad_copies_of_meta_are_refused_with_a_way_back, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
