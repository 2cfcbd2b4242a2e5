#include "raft-log/rlog.h"
#include "raft_cluster.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint32_t slot(const struct cluster_node *node)
{
    return node->id - 1;
}

static void a_group_of_one_is_writable_and_applies(void **state)
{
    struct cluster c;

    (void)state;
    cluster_init(&c, 1);
    cluster_start_all(&c);
    cluster_propose_all(&c, 0, 500, 100);
    assert_int_equal(c.n_acknowledged, 500);
    cluster_check(&c);
    cluster_fini(&c);
}

static void a_group_of_one_applies_everything_again_after_a_restart(void **state)
{
    struct cluster c;
    struct rlog_status status;
    uint64_t term;

    (void)state;
    cluster_init(&c, 1);
    cluster_start_all(&c);
    cluster_propose_all(&c, 0, 90, 100);
    cluster_propose_all(&c, 90, 100, 100); /* these say that those before are committed */
    term = c.nodes[0].role.term;
    cluster_stop(&c, 0);
    cluster_start(&c, 0);
    cluster_propose_all(&c, 100, 200, 100);
    cluster_check(&c);
    assert_int_equal(c.nodes[0].n_applied, 200);
    assert_true(c.nodes[0].role.term > term);
    rlog_status_get(c.nodes[0].log, &status);
    assert_true(status.replayed_entries > 50);
    cluster_fini(&c);
}

static void three_members_found_a_group_elect_and_replicate(void **state)
{
    struct cluster c;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    cluster_propose_all(&c, 0, 3000, 200);
    assert_int_equal(c.n_acknowledged, 3000);
    cluster_check(&c);
    cluster_fini(&c);
}

static void large_entries_cross_segments_alike_everywhere(void **state)
{
    struct cluster c;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    cluster_propose_all(&c, 0, 40, 900u << 10);
    cluster_propose_all(&c, 40, 44, (4u << 20) - 104); /* the largest that fits a segment */
    cluster_check(&c);
    cluster_fini(&c);
}

static void lose_leaders(uint32_t n, unsigned rounds)
{
    struct cluster c;
    uint64_t next = 0;

    cluster_init(&c, n);
    cluster_start_all(&c);
    for (unsigned round = 0; round < rounds; round++) {
        struct cluster_node *leader = cluster_await_writable(&c);

        cluster_propose_all(&c, next, next + 500, 128);
        next += 500;
        leader = cluster_await_writable(&c);
        for (unsigned i = 0; i < 100 && cluster_propose(leader, next, 128) == 0; i++) {
            next++; /* in flight when it dies */
        }
        cluster_stop(&c, slot(leader));
        assert_int_equal(c.pending, 0);
        cluster_propose_all(&c, next, next + 500, 128);
        next += 500;
        cluster_start(&c, slot(leader));
        cluster_check(&c);
    }
    print_message("acknowledged=%zu unsure=%" PRIu64 "\n", c.n_acknowledged, c.unsure);
    assert_true(c.n_acknowledged >= rounds * 1000u);
    cluster_fini(&c);
}

static void nothing_is_lost_when_leaders_of_three_die(void **state)
{
    (void)state;
    lose_leaders(3, 4);
}

static void nothing_is_lost_when_leaders_of_five_die(void **state)
{
    (void)state;
    lose_leaders(5, 3);
}

static void a_member_that_was_away_catches_up_from_the_log(void **state)
{
    struct cluster c;
    struct cluster_node *leader;
    uint32_t away;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    leader = cluster_await_writable(&c);
    away = (slot(leader) + 1) % 3;
    cluster_propose_all(&c, 0, 100, 100);
    cluster_stop(&c, away);
    cluster_propose_all(&c, 100, 6000, 700);
    cluster_start(&c, away);
    cluster_propose_all(&c, 6000, 6100, 100); /* meanwhile the group goes on */
    cluster_check(&c);
    assert_int_equal(c.nodes[away].n_applied, 6100);
    cluster_fini(&c);
}

static void a_group_survives_that_all_members_restart(void **state)
{
    struct cluster c;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    cluster_propose_all(&c, 0, 1000, 100);
    for (uint32_t i = 0; i < 3; i++) {
        cluster_stop(&c, i);
    }
    cluster_start_all(&c);
    cluster_propose_all(&c, 1000, 2000, 100);
    assert_int_equal(c.n_acknowledged, 2000);
    cluster_check(&c);
    cluster_fini(&c);
}

static void a_minority_acknowledges_nothing_and_says_unsure(void **state)
{
    struct cluster c;
    struct cluster_node *leader;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    leader = cluster_await_writable(&c);
    cluster_propose_all(&c, 0, 10, 100);
    cluster_stop(&c, (slot(leader) + 1) % 3);
    cluster_stop(&c, (slot(leader) + 2) % 3);
    for (uint64_t i = 10; i < 20; i++) {
        assert_int_equal(cluster_propose(leader, i, 100), 0);
    }
    cluster_run_ms(&c, 3 * c.election_ms);
    assert_int_equal(c.n_acknowledged, 10);
    assert_int_equal(c.unsure, 10);
    assert_int_equal(rlog_can_propose(leader->log), MQ_ENOTLEADER);
    assert_true(leader->role.kind != RLOG_WRITABLE);
    cluster_start(&c, (slot(leader) + 1) % 3);
    cluster_start(&c, (slot(leader) + 2) % 3);
    cluster_check(&c);
    /* What was unsure is committed if its holder was elected again, and gone if it was not. */
    assert_true(c.nodes[0].n_applied == 20 || c.nodes[0].n_applied == 10);
    cluster_fini(&c);
}

static void entries_that_only_a_lost_leader_had_are_replaced(void **state)
{
    struct cluster c;
    struct cluster_node *leader;
    uint32_t a, b, old;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    leader = cluster_await_writable(&c);
    old = slot(leader);
    a = (old + 1) % 3;
    b = (old + 2) % 3;
    cluster_propose_all(&c, 0, 10, 100);
    cluster_await_level(&c);
    cluster_stop(&c, a);
    cluster_stop(&c, b);
    for (uint64_t i = 1000; i < 1300; i++) {
        (void)cluster_propose(leader, i, 100);
    }
    cluster_run_ms(&c, 50); /* they reach its own disk */
    cluster_stop(&c, old);
    cluster_start(&c, a);
    cluster_start(&c, b);
    cluster_propose_all(&c, 10, 20, 100);
    cluster_start(&c, old);
    cluster_propose_all(&c, 20, 30, 100);
    cluster_check(&c);
    assert_int_equal(c.nodes[old].n_applied, 30);
    cluster_fini(&c);
}

/* Closes what @node dialled, or what others dialled there, of one lane. */
static void break_connections(const struct cluster_node *node, enum peer_lane lane, bool dialled)
{
    struct peers *peers = node->log->peers;

    for (uint32_t i = 0; i < peers->n; i++) {
        struct peer *peer = &peers->list[i];

        if (dialled) {
            peer_conn_close(&peer->out[lane], 0);
        } else if (peer->in[lane] != NULL) {
            peer_conn_close(peer->in[lane], 0);
        }
    }
}

/* Also those who do not know yet that they lead no more. */
static void propose_some(struct cluster *c, uint64_t *next)
{
    for (uint32_t i = 0; i < c->n; i++) {
        for (unsigned k = 0; k < 4 && cluster_propose(&c->nodes[i], *next, *next % 50 == 0 ? 200000 : 300) == 0;
             k++) {
            ++*next;
        }
    }
}

static void connections_that_break_all_the_time_lose_nothing(void **state)
{
    uint64_t now, end_ms, break_ms, isolate_ms, next = 0;
    struct cluster_node *isolated = NULL;
    unsigned random = 7;
    struct cluster c;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    cluster_await_writable(&c);
    break_ms = mq_clock_mono_ms();
    isolate_ms = break_ms + c.election_ms;
    end_ms = break_ms + 16 * c.election_ms;
    while ((now = mq_clock_mono_ms()) < end_ms) {
        propose_some(&c, &next);
        if (now >= isolate_ms) { /* by turns a leader is cut off, and everybody is let alone */
            isolated = isolated == NULL ? cluster_writable(&c) : NULL;
            isolate_ms = now + 4 * c.election_ms;
        }
        for (unsigned k = 0; isolated != NULL && k < 4; k++) {
            break_connections(isolated, (enum peer_lane)(k / 2), k % 2 == 0);
        }
        if (now >= break_ms) {
            random = random * 1664525u + 1013904223u;
            break_connections(&c.nodes[(random >> 8) % 3], (enum peer_lane)((random >> 16) & 1), (random >> 17) & 1);
            break_ms = now + (random >> 20) % 30;
        }
        (void)uv_run(&c.loop.uv, UV_RUN_NOWAIT);
    }
    cluster_propose_all(&c, next, next + 10, 100);
    print_message("acknowledged=%zu unsure=%" PRIu64 "\n", c.n_acknowledged, c.unsure);
    cluster_check(&c);
    cluster_fini(&c);
}

static void an_empty_directory_may_not_replace_one_that_took_part(void **state)
{
    struct cluster c;
    struct cluster_node *leader;
    struct rlog_status status;
    uint32_t wiped;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    leader = cluster_await_writable(&c);
    cluster_propose_all(&c, 0, 10, 100);
    wiped = (slot(leader) + 1) % 3;
    cluster_stop(&c, wiped);
    cluster_wipe(&c, wiped);
    cluster_start(&c, wiped);
    cluster_run_ms(&c, 2 * c.election_ms);
    cluster_propose_all(&c, 10, 20, 100);
    rlog_status_get(c.nodes[wiped].log, &status);
    assert_int_equal(status.last_index, 0);
    assert_int_equal(status.role.term, 0);
    /* It is not counted: with only one of the others left nothing is acknowledged. */
    cluster_stop(&c, (slot(leader) + 2) % 3);
    (void)cluster_propose(leader, 20, 100);
    cluster_run_ms(&c, 3 * c.election_ms);
    assert_int_equal(c.n_acknowledged, 20);
    cluster_fini(&c);
}

static void a_member_that_missed_the_founding_joins_it(void **state)
{
    struct cluster c;

    (void)state;
    cluster_init(&c, 3);
    cluster_start(&c, 0);
    cluster_start(&c, 1);
    cluster_run_ms(&c, 300);
    assert_null(cluster_writable(&c)); /* two of three found nothing */
    assert_int_equal(c.nodes[0].role.term, 0);
    cluster_start(&c, 2);
    cluster_propose_all(&c, 0, 10, 100);
    cluster_check(&c);
    cluster_fini(&c);
}

static void other_members_in_the_configuration_than_in_the_log_change_nothing(void **state)
{
    struct cluster c;

    (void)state;
    cluster_init(&c, 3);
    cluster_start_all(&c);
    cluster_propose_all(&c, 0, 10, 100);
    cluster_stop(&c, 0);
    c.members[2].id = 7;
    cluster_start(&c, 0);
    c.members[2].id = 3;
    cluster_propose_all(&c, 10, 20, 100);
    cluster_check(&c);
    cluster_fini(&c);
}

static void a_taken_port_is_named(void **state)
{
    struct cluster c;
    struct mq_buf problem = {0};
    const char *address;

    (void)state;
    cluster_init(&c, 3);
    address = c.members[1].address;
    cluster_start(&c, 0);
    c.members[1].address = c.members[0].address;
    assert_true(cluster_try_start(&c, 1, &problem) < 0);
    print_message("%.*s\n", (int)problem.len, (const char *)problem.base);
    assert_non_null(memmem(problem.base, problem.len, c.members[0].address, strlen(c.members[0].address)));
    mq_buf_free(&problem);
    c.members[1].address = address;
    cluster_fini(&c);
}

static void proposals_are_bounded_in_flight_and_room_is_told(void **state)
{
    struct cluster c;
    struct cluster_node *leader;
    uint64_t rooms, n = 0;

    (void)state;
    cluster_init(&c, 3);
    c.inflight_entries_max = 8;
    cluster_start_all(&c);
    leader = cluster_await_writable(&c);
    while (cluster_propose(leader, n, 64) == 0) {
        n++;
    }
    assert_int_equal(n, 8);
    assert_int_equal(rlog_can_propose(leader->log), MQ_EBUSY);
    rooms = leader->rooms;
    cluster_propose_all(&c, n, n + 100, 64);
    assert_true(leader->rooms > rooms);
    cluster_check(&c);
    cluster_fini(&c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_of_one_is_writable_and_applies),
        cmocka_unit_test(a_group_of_one_applies_everything_again_after_a_restart),
        cmocka_unit_test(three_members_found_a_group_elect_and_replicate),
        cmocka_unit_test(large_entries_cross_segments_alike_everywhere),
        cmocka_unit_test(nothing_is_lost_when_leaders_of_three_die),
        cmocka_unit_test(nothing_is_lost_when_leaders_of_five_die),
        cmocka_unit_test(a_member_that_was_away_catches_up_from_the_log),
        cmocka_unit_test(a_group_survives_that_all_members_restart),
        cmocka_unit_test(a_minority_acknowledges_nothing_and_says_unsure),
        cmocka_unit_test(entries_that_only_a_lost_leader_had_are_replaced),
        cmocka_unit_test(connections_that_break_all_the_time_lose_nothing),
        cmocka_unit_test(an_empty_directory_may_not_replace_one_that_took_part),
        cmocka_unit_test(a_member_that_missed_the_founding_joins_it),
        cmocka_unit_test(other_members_in_the_configuration_than_in_the_log_change_nothing),
        cmocka_unit_test(a_taken_port_is_named),
        cmocka_unit_test(proposals_are_bounded_in_flight_and_room_is_told),
    };

    mq_log_set_level(MQ_LOG_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
