/* Members that fell behind what the others still have, in one process over loopback sockets. */
#include "raft-log/rlog.h"
#include "raft_cluster.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES 20000u /* of an entry */
#define MORE 700u    /* entries that reach into the fourth segment */

static struct rlog_status status_of(struct cluster *c, uint32_t i)
{
    struct rlog_status status;

    rlog_status_get(c->nodes[i].log, &status);
    return status;
}

static uint32_t a_follower(struct cluster *c)
{
    const struct cluster_node *leader = cluster_await_writable(c);

    return leader == &c->nodes[0] ? 1 : 0;
}

/* The others drop what lies below @pos; two snapshots stand for it. */
static void drop_below(struct cluster *c, uint32_t behind, uint64_t pos)
{
    for (uint32_t i = 0; i < c->n; i++) {
        if (i != behind) {
            cluster_snapshot(c, i);
        }
    }
    cluster_propose_all(c, 100000, 100010, BYTES);
    cluster_await_level(c);
    for (uint32_t i = 0; i < c->n; i++) {
        if (i != behind) {
            cluster_snapshot(c, i);
            rlog_trim(c->nodes[i].log, pos);
            assert_true(status_of(c, i).start_pos > 0);
            assert_true(status_of(c, i).start_pos <= pos);
        }
    }
}

/* Three members; the one that is returned is down, and what comes next for it is nowhere any more. */
static uint32_t leave_one_behind(struct cluster *c)
{
    uint32_t behind;

    cluster_init(c, 3);
    c->with_state = true;
    cluster_start_all(c);
    cluster_await_writable(c);
    cluster_propose_all(c, 1, 50, BYTES);
    cluster_await_level(c);
    behind = a_follower(c);
    cluster_stop(c, behind);
    cluster_propose_all(c, 1000, 1000 + MORE, BYTES);
    cluster_await_level(c);
    drop_below(c, behind, CLUSTER_SEGMENT_BYTES);
    return behind;
}

static bool lacks_nothing(struct cluster *c, uint64_t i)
{
    struct rlog_status s = status_of(c, (uint32_t)i);

    return s.role.leader != 0 && s.catchup.snapshots_installed > 0 && s.catchup.phase == RLOG_CATCHUP_NONE &&
           !s.catchup.passive;
}

static bool is_filling(struct cluster *c, uint64_t i)
{
    struct rlog_status s = status_of(c, (uint32_t)i);

    return s.catchup.phase == RLOG_CATCHUP_BACKFILL && s.catchup.bytes_done > 0;
}

static bool is_level_with_others(struct cluster *c, uint64_t i)
{
    return status_of(c, (uint32_t)i).applied_index == status_of(c, ((uint32_t)i + 1) % c->n).applied_index;
}

static bool has_marker(const struct cluster *c, uint32_t i)
{
    char path[256];

    (void)snprintf(path, sizeof(path), "%s/backfill", c->nodes[i].dir);
    return access(path, F_OK) == 0;
}

static void a_member_that_fell_behind_gets_a_snapshot_and_then_the_rest(void **state)
{
    struct cluster c;
    uint32_t i = leave_one_behind(&c);

    (void)state;
    cluster_start(&c, i);
    rlog_trim(c.nodes[i].log, CLUSTER_SEGMENT_BYTES); /* its owner knows where the group's log begins */
    cluster_run_until(&c, lacks_nothing, i);
    assert_false(has_marker(&c, i));
    assert_int_equal(status_of(&c, i).catchup.bytes_left, 0);
    assert_true(status_of(&c, i).start_pos <= status_of(&c, (i + 1) % 3).start_pos);
    cluster_propose_all(&c, 5000, 5100, BYTES);
    cluster_check(&c);

    /* It can lead, and starts from what it has. */
    cluster_stop(&c, i);
    cluster_start(&c, i);
    cluster_run_until(&c, is_level_with_others, i);
    assert_int_equal(status_of(&c, i).catchup.phase, RLOG_CATCHUP_NONE);
    cluster_propose_all(&c, 6000, 6010, BYTES);
    cluster_check(&c);
    cluster_fini(&c);
}

static void new_entries_come_while_old_ones_are_missing(void **state)
{
    struct rlog_transfer transfer;
    struct rlog_status s;
    struct cluster c;
    uint32_t i = leave_one_behind(&c);

    (void)state;
    c.backfill_bytes_per_s = 1u << 20; /* this takes seconds */
    cluster_start(&c, i);
    rlog_trim(c.nodes[i].log, CLUSTER_SEGMENT_BYTES);
    cluster_run_until(&c, is_filling, i);
    cluster_propose_all(&c, 5000, 5020, BYTES);
    cluster_run_until(&c, is_level_with_others, i);
    s = status_of(&c, i);
    assert_int_equal(s.catchup.phase, RLOG_CATCHUP_BACKFILL);
    assert_true(s.catchup.passive);
    assert_true(s.catchup.bytes_left > 0);
    assert_int_equal(s.catchup.limit_bytes_per_s, 1u << 20);
    assert_true(s.start_pos > CLUSTER_SEGMENT_BYTES);
    assert_true(has_marker(&c, i));
    assert_int_equal(rlog_transfer(cluster_await_writable(&c)->log, i + 1, 400, &transfer, NULL), MQ_ENOTFOUND);

    /* A restart goes on with it. */
    cluster_stop(&c, i);
    c.backfill_bytes_per_s = 0;
    cluster_start(&c, i);
    rlog_trim(c.nodes[i].log, CLUSTER_SEGMENT_BYTES);
    assert_int_equal(status_of(&c, i).catchup.phase, RLOG_CATCHUP_BACKFILL);
    while (status_of(&c, i).catchup.phase != RLOG_CATCHUP_NONE) {
        cluster_run_ms(&c, 20);
    }
    assert_false(has_marker(&c, i));
    cluster_check(&c);
    cluster_fini(&c);
}

struct replacing {
    struct rlog_change change;
    bool ended;
    int status;
};

static void on_replaced(struct rlog_change *change, int status)
{
    struct replacing *replacing = container_of(change, struct replacing, change);

    replacing->ended = true;
    replacing->status = status;
}

static bool has_ended(struct cluster *c, uint64_t arg)
{
    (void)c;
    return ((const struct replacing *)(uintptr_t)arg)->ended;
}

static bool is_voter(struct cluster *c, uint64_t i)
{
    return status_of(c, (uint32_t)i).own_role == RLOG_VOTER;
}

/* A new directory in the place of member @i's. */
static void replace(struct cluster *c, uint32_t i)
{
    struct replacing replacing;
    int rc;

    cluster_wipe(c, i);
    cluster_start(c, i);
    do {
        memset(&replacing, 0, sizeof(replacing));
        rc = rlog_member_replace(cluster_await_writable(c)->log, i + 1, NULL, &replacing.change, on_replaced);
        if (rc == 0) {
            cluster_run_until(c, has_ended, (uintptr_t)&replacing);
            rc = replacing.status;
        } else {
            cluster_run_ms(c, 10);
        }
    } while (rc == MQ_EBUSY || rc == MQ_ENOTLEADER || rc == MQ_EUNSURE);
    print_message("%s\n", replacing.change.text);
    assert_int_equal(rc, 0);
}

static void a_member_whose_directory_is_gone_is_replaced_and_gets_everything(void **state)
{
    struct cluster c;
    uint32_t i = leave_one_behind(&c);

    (void)state;
    replace(&c, i);
    rlog_trim(c.nodes[i].log, CLUSTER_SEGMENT_BYTES);
    cluster_run_until(&c, lacks_nothing, i);
    cluster_run_until(&c, is_voter, i);
    cluster_propose_all(&c, 5000, 5100, BYTES);
    cluster_check(&c);
    cluster_fini(&c);
}

/* Nothing was trimmed: the leader could send it all, entry by entry. */
static void a_member_that_lacks_most_of_a_long_log_gets_a_snapshot_first(void **state)
{
    static const struct {
        uint64_t far_bytes;
        uint64_t snapshots;
    } cases[] = {{1u << 20, 1}, {1u << 30, 0}};

    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        struct cluster c;
        uint32_t i;

        cluster_init(&c, 3);
        c.with_state = true;
        c.far_bytes = cases[k].far_bytes;
        cluster_start_all(&c);
        cluster_await_writable(&c);
        cluster_propose_all(&c, 1000, 1000 + MORE, BYTES);
        cluster_await_level(&c);
        i = a_follower(&c);
        for (uint32_t other = 0; other < c.n; other++) {
            cluster_snapshot(&c, other);
        }
        cluster_stop(&c, i);
        cluster_propose_all(&c, 5000, 5010, BYTES);
        cluster_start(&c, i); /* what it lacks now is little */
        cluster_run_until(&c, is_level_with_others, i);
        assert_int_equal(status_of(&c, i).catchup.snapshots_installed, 0);
        cluster_stop(&c, i);
        replace(&c, i);
        cluster_run_until(&c, is_voter, i);
        cluster_propose_all(&c, 6000, 6010, BYTES);
        while (status_of(&c, i).catchup.phase != RLOG_CATCHUP_NONE) {
            cluster_run_ms(&c, 20);
        }
        assert_int_equal(status_of(&c, i).catchup.snapshots_installed, cases[k].snapshots);
        assert_int_equal(status_of(&c, i).start_pos, 0);
        cluster_check(&c);
        cluster_fini(&c);
    }
}

static bool is_whole_again(struct cluster *c, uint64_t i)
{
    return c->nodes[i].log->meta.claim.index == 0 && !has_marker(c, (uint32_t)i) && is_level_with_others(c, i);
}

/* What is bad lies below the snapshots, and what they were made from was dropped long ago. */
static void a_member_whose_trimmed_log_rots_goes_on_behind_its_snapshot(void **state)
{
    struct mq_buf problem = {0};
    struct cluster c;
    char path[256];
    uint32_t i;
    FILE *file;

    (void)state;
    cluster_init(&c, 3);
    c.with_state = true;
    cluster_start_all(&c);
    cluster_await_writable(&c);
    cluster_propose_all(&c, 1000, 1000 + MORE, BYTES);
    cluster_await_level(&c);
    i = a_follower(&c);
    drop_below(&c, UINT32_MAX, CLUSTER_SEGMENT_BYTES);
    cluster_stop(&c, i);
    (void)snprintf(path, sizeof(path), "%s/log/%020u", c.nodes[i].dir, CLUSTER_SEGMENT_BYTES);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 30000, SEEK_SET), 0);
    assert_int_not_equal(fputc('!', file), EOF);
    fclose(file);
    assert_int_equal(cluster_try_start(&c, i, &problem), 0);
    assert_true(has_marker(&c, i));
    rlog_trim(c.nodes[i].log, CLUSTER_SEGMENT_BYTES);
    cluster_propose_all(&c, 5000, 5100, BYTES);
    cluster_run_until(&c, is_whole_again, i);
    assert_int_equal(status_of(&c, i).start_pos, status_of(&c, (i + 1) % 3).start_pos);
    cluster_check(&c);
    mq_buf_free(&problem);
    cluster_fini(&c);
}

static bool is_limited(struct cluster *c, uint64_t i)
{
    const struct backfill *fill = &c->nodes[i].log->catchup.fill;

    return fill->state == BACKFILL_RUNNING && strcmp(fill->cause, "limited") == 0;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static bool is_set(struct cluster *c, uint64_t arg)
{
    (void)c;
    return *(const bool *)(uintptr_t)arg;
}

/* Its timer would come when there are no peers any more. */
static void a_member_that_is_closed_asks_for_no_more(void **state)
{
    struct cluster c;
    uint32_t i = leave_one_behind(&c);
    bool closed = false;
    struct rlog *log;

    (void)state;
    c.backfill_bytes_per_s = 1;
    cluster_start(&c, i);
    rlog_trim(c.nodes[i].log, CLUSTER_SEGMENT_BYTES);
    cluster_run_until(&c, is_limited, i);
    log = c.nodes[i].log;
    rlog_close(log, on_closed, &closed);
    while (uv_is_active((uv_handle_t *)&log->check)) { /* until the peers are told to close */
        (void)uv_run(&c.loop.uv, UV_RUN_ONCE);
        assert_false(closed);
    }
    assert_int_equal(log->catchup.fill.state, BACKFILL_IDLE);
    assert_false(uv_is_active((uv_handle_t *)&log->catchup.fill.timer));
    assert_false(uv_is_active((uv_handle_t *)&log->catchup.tick));
    cluster_run_until(&c, is_set, (uint64_t)(uintptr_t)&closed);
    c.nodes[i].log = NULL;
    cluster_fini(&c);
}

static bool leads_alone(struct cluster *c, uint64_t i)
{
    return c->nodes[i].role.kind == RLOG_WRITABLE;
}

static void one_that_lacks_entries_leads_when_nobody_else_can(void **state)
{
    uint32_t other, leader;
    struct cluster c;
    uint32_t i = leave_one_behind(&c);

    (void)state;
    c.backfill_bytes_per_s = 1;
    cluster_start(&c, i);
    rlog_trim(c.nodes[i].log, CLUSTER_SEGMENT_BYTES);
    cluster_run_until(&c, is_level_with_others, i);
    leader = cluster_await_writable(&c) == &c.nodes[(i + 1) % 3] ? (i + 1) % 3 : (i + 2) % 3;
    other = 3 - i - leader;
    cluster_stop(&c, other);
    cluster_propose_all(&c, 5000, 5010, 1000); /* the third one does not have these */
    cluster_run_until(&c, is_level_with_others, i == (other + 2) % 3 ? leader : i);
    cluster_stop(&c, leader);
    cluster_start(&c, other);
    cluster_run_until(&c, leads_alone, i);
    cluster_propose_all(&c, 7000, 7010, 1000);
    cluster_start(&c, leader);
    cluster_check(&c);
    cluster_fini(&c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_that_fell_behind_gets_a_snapshot_and_then_the_rest),
        cmocka_unit_test(new_entries_come_while_old_ones_are_missing),
        cmocka_unit_test(a_member_whose_directory_is_gone_is_replaced_and_gets_everything),
        cmocka_unit_test(a_member_that_lacks_most_of_a_long_log_gets_a_snapshot_first),
        cmocka_unit_test(a_member_whose_trimmed_log_rots_goes_on_behind_its_snapshot),
        cmocka_unit_test(a_member_that_is_closed_asks_for_no_more),
        cmocka_unit_test(one_that_lacks_entries_leads_when_nobody_else_can),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
