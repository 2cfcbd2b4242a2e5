/* Groups that grow, shrink and replace their members while they work; and hand leadership over. */
#include "raft-log/include/raftlog/rescue.h"
#include "raft-log/rlog.h"
#include "raft_cluster.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t next_number; /* of proposals */
static uint64_t load_ms;     /* when some were last made */

static uint32_t slot(const struct cluster_node *node)
{
    return node->id - 1;
}

static void init(struct cluster *c, uint32_t n, uint32_t founders)
{
    cluster_init(c, n);
    c->founders = founders;
    cluster_start_all(c);
    next_number = 0;
}

/* Some proposals at who leads, once a millisecond. */
static void load(struct cluster *c)
{
    struct cluster_node *node = cluster_writable(c);
    uint64_t now = mq_clock_mono_ms();

    if (now == load_ms) {
        return;
    }
    load_ms = now;
    for (unsigned k = 0; node != NULL && k < 8 && c->pending < 64 && cluster_propose(node, next_number, 200) == 0;
         k++) {
        next_number++;
    }
}

/* Runs under load until @done says so. */
static void run_until(struct cluster *c, bool (*done)(struct cluster *c, uint64_t arg), uint64_t arg)
{
    uint64_t start = mq_clock_mono_ms();

    while (!done(c, arg)) {
        load(c);
        (void)uv_run(&c->loop.uv, UV_RUN_ONCE);
        if (mq_clock_mono_ms() - start > 20000) {
            fail_msg("what was waited for did not happen");
        }
    }
}

struct asked {
    struct rlog_change change;
    bool ended;
    int status;
};

static void on_changed(struct rlog_change *change, int status)
{
    struct asked *asked = change->data;

    asked->ended = true;
    asked->status = status;
}

static bool has_ended(struct cluster *c, uint64_t asked)
{
    (void)c;
    return ((struct asked *)(uintptr_t)asked)->ended;
}

enum what { ADD, ADD_LEARNER, PROMOTE, REMOVE, REPLACE };

static int ask(struct cluster_node *node, enum what what, uint32_t i, struct asked *asked)
{
    struct cluster *c = node->cluster;

    *asked = (struct asked){.change.data = asked};
    switch (what) {
    case PROMOTE:
        return rlog_member_promote(node->log, i + 1, &asked->change, on_changed);
    case REMOVE:
        return rlog_member_remove(node->log, i + 1, &asked->change, on_changed);
    case REPLACE:
        return rlog_member_replace(node->log, i + 1, NULL, &asked->change, on_changed);
    default:
        return rlog_member_add(node->log, &c->members[i], what == ADD_LEARNER, &asked->change, on_changed);
    }
}

/* Asks who leads, again while leadership moves or another change is not over. Returns how it ended. */
static int change(struct cluster *c, enum what what, uint32_t i)
{
    struct asked asked;
    int rc;

    do {
        rc = ask(cluster_await_writable(c), what, i, &asked);
        if (rc == 0) {
            run_until(c, has_ended, (uintptr_t)&asked);
            rc = asked.status;
        } else {
            load(c);
            (void)uv_run(&c->loop.uv, UV_RUN_ONCE);
        }
    } while (rc == MQ_EBUSY || rc == MQ_ENOTLEADER || rc == MQ_EUNSURE);
    print_message("%" PRIu32 ": %s\n", i + 1, asked.change.text);
    return rc;
}

/* Removes a member of a group in which all are well. On a slow machine a leader may have heard of too few just now:
 * it is asked again. A leader that is refused its own removal is a member still, whatever the code. */
static int remove_among_well(struct cluster *c, uint32_t i)
{
    int rc = change(c, REMOVE, i);

    while (rc == MQ_EINVAL || rc == MQ_ETIMEDOUT || (rc == MQ_ENOTFOUND && cluster_writable(c) == &c->nodes[i])) {
        load(c);
        (void)uv_run(&c->loop.uv, UV_RUN_ONCE);
        rc = change(c, REMOVE, i);
    }
    return rc;
}

static uint32_t voters_seen(struct cluster *c, const struct cluster_node *node)
{
    struct rlog_status s;
    uint32_t n;

    (void)c;
    rlog_status_get(node->log, &s);
    n = s.own_role == RLOG_VOTER;
    for (uint32_t i = 0; i < s.n_peers; i++) {
        n += s.peers[i].role == RLOG_VOTER;
    }
    return n;
}

static bool has_voters(struct cluster *c, uint64_t n)
{
    struct cluster_node *node = cluster_writable(c);
    struct rlog_status s;

    if (node == NULL || voters_seen(c, node) != n) {
        return false;
    }
    rlog_status_get(node->log, &s);
    return s.applied_index >= s.change_index;
}

static bool is_outside(struct cluster *c, uint64_t i)
{
    struct rlog_status s;

    rlog_status_get(c->nodes[i].log, &s);
    return s.outside;
}

static bool none_pending(struct cluster *c, uint64_t arg)
{
    (void)arg;
    return c->pending == 0;
}

static void end_load(struct cluster *c)
{
    cluster_run_until(c, none_pending, 0);
    cluster_propose_all(c, next_number, next_number + 10, 100);
    next_number += 10;
}

/* ---- growing and shrinking ---- */

static void a_group_grows_from_one_to_five_and_shrinks_to_three_under_load(void **state)
{
    struct cluster c;

    (void)state;
    init(&c, 5, 1);
    for (uint32_t i = 1; i < 5; i++) {
        cluster_start(&c, i);
        assert_int_equal(change(&c, ADD, i), 0);
        run_until(&c, has_voters, i + 1);
    }
    end_load(&c);
    cluster_check(&c);
    assert_int_equal(remove_among_well(&c, 0), 0);
    run_until(&c, is_outside, 0);
    cluster_stop(&c, 0);
    assert_int_equal(remove_among_well(&c, 1), 0);
    run_until(&c, is_outside, 1);
    cluster_stop(&c, 1);
    run_until(&c, has_voters, 3);
    end_load(&c);
    cluster_check(&c);
    print_message("acknowledged=%zu unsure=%" PRIu64 "\n", c.n_acknowledged, c.unsure);
    assert_true(c.n_acknowledged > 500);
    cluster_fini(&c);
}

static void all_members_start_again_with_the_membership_of_the_log(void **state)
{
    struct cluster c;

    (void)state;
    init(&c, 3, 1); /* node 1's configuration names itself alone for ever */
    for (uint32_t i = 1; i < 3; i++) {
        cluster_start(&c, i);
        assert_int_equal(change(&c, ADD, i), 0);
        run_until(&c, has_voters, i + 1);
    }
    end_load(&c);
    for (uint32_t i = 0; i < 3; i++) {
        cluster_stop(&c, i);
    }
    for (uint32_t i = 0; i < 3; i++) {
        cluster_start(&c, i);
    }
    end_load(&c);
    cluster_check(&c);
    assert_true(has_voters(&c, 3));
    cluster_fini(&c);
}

static void a_member_that_slept_finds_a_group_whose_leader_it_never_heard_of(void **state)
{
    struct cluster c;

    (void)state;
    init(&c, 5, 3);
    end_load(&c);
    cluster_await_level(&c);
    cluster_stop(&c, 0);
    for (uint32_t i = 3; i < 5; i++) {
        cluster_start(&c, i);
        assert_int_equal(change(&c, ADD, i), 0);
        run_until(&c, has_voters, i + 1);
    }
    assert_int_equal(remove_among_well(&c, 1), 0); /* only 3, 4 and 5 know more than node 1 */
    cluster_stop(&c, 1);
    run_until(&c, has_voters, 4);
    while (slot(cluster_await_writable(&c)) < 3) {
        cluster_stop(&c, slot(cluster_await_writable(&c)));
        cluster_start(&c, 2);
        end_load(&c);
    }
    end_load(&c);
    cluster_start(&c, 0);
    end_load(&c);
    cluster_check(&c);
    cluster_fini(&c);
}

/* ---- other directories ---- */

static void a_wiped_member_is_replaced_by_its_new_directory(void **state)
{
    struct cluster c;
    uint32_t wiped;

    (void)state;
    init(&c, 3, 3);
    end_load(&c);
    wiped = (slot(cluster_await_writable(&c)) + 1) % 3;
    cluster_stop(&c, wiped);
    cluster_wipe(&c, wiped);
    cluster_start(&c, wiped);
    run_until(&c, is_outside, wiped);
    assert_int_equal(change(&c, REPLACE, wiped), 0);
    run_until(&c, has_voters, 3);
    end_load(&c);
    cluster_check(&c);
    assert_int_equal(change(&c, REPLACE, wiped), MQ_EEXIST); /* it is the member by now */
    cluster_stop(&c, wiped);                                 /* and starts again as one */
    cluster_start(&c, wiped);
    cluster_stop(&c, (wiped + 1) % 3);
    end_load(&c); /* it takes two of three, and it is one of them */
    cluster_start(&c, (wiped + 1) % 3);
    end_load(&c);
    cluster_check(&c);
    cluster_fini(&c);
}

static void a_replacement_goes_on_when_the_leader_is_lost(void **state)
{
    struct cluster c;
    struct asked asked;
    struct cluster_node *leader;
    uint32_t wiped;

    (void)state;
    init(&c, 5, 5);
    end_load(&c);
    leader = cluster_await_writable(&c);
    wiped = (slot(leader) + 1) % 5;
    cluster_stop(&c, wiped);
    cluster_wipe(&c, wiped);
    cluster_start(&c, wiped);
    run_until(&c, is_outside, wiped);
    assert_int_equal(ask(leader, REPLACE, wiped, &asked), 0);
    cluster_stop(&c, slot(leader));
    assert_true(asked.ended);
    assert_int_equal(asked.status, MQ_ECLOSED);
    assert_int_equal(change(&c, REPLACE, wiped), 0);
    run_until(&c, has_voters, 5);
    cluster_start(&c, slot(leader));
    end_load(&c);
    cluster_check(&c);
    cluster_fini(&c);
}

static void a_removed_member_says_so_and_can_come_back(void **state)
{
    struct cluster c;
    struct rlog_status s;
    uint32_t gone;

    (void)state;
    init(&c, 3, 3);
    end_load(&c);
    gone = (slot(cluster_await_writable(&c)) + 1) % 3;
    assert_int_equal(change(&c, REMOVE, gone), 0);
    run_until(&c, is_outside, gone);
    cluster_run_ms(&c, 4 * c.election_ms);
    rlog_status_get(c.nodes[gone].log, &s);
    assert_int_equal(s.role.kind, RLOG_FOLLOWER); /* it does not stand */
    assert_int_equal(s.role.leader, 0);
    assert_int_equal(change(&c, REMOVE, gone), MQ_ENOTFOUND);
    assert_int_equal(change(&c, ADD, gone), 0);
    run_until(&c, has_voters, 3);
    end_load(&c);
    cluster_check(&c);
    rlog_status_get(c.nodes[gone].log, &s);
    assert_false(s.outside);
    cluster_fini(&c);
}

/* ---- learners ---- */

static void a_learner_has_no_say_until_it_is_promoted(void **state)
{
    struct cluster c;

    (void)state;
    init(&c, 3, 2);
    cluster_start(&c, 2);
    assert_int_equal(change(&c, ADD_LEARNER, 2), 0);
    end_load(&c);
    cluster_await_level(&c);
    assert_true(has_voters(&c, 2));
    cluster_stop(&c, 2);
    end_load(&c); /* nobody waits for it */
    cluster_run_ms(&c, 3 * c.election_ms);
    assert_int_equal(change(&c, PROMOTE, 2), MQ_EINVAL);
    cluster_start(&c, 2);
    end_load(&c);
    cluster_await_level(&c);
    assert_int_equal(change(&c, PROMOTE, 2), 0);
    assert_true(has_voters(&c, 3));
    end_load(&c);
    cluster_check(&c);
    cluster_fini(&c);
}

/* ---- refusals ---- */

static void what_would_leave_no_majority_is_refused(void **state)
{
    struct cluster c;
    struct cluster_node *leader;
    struct asked asked;
    uint32_t dead, alive;

    (void)state;
    init(&c, 4, 3);
    end_load(&c);
    leader = cluster_await_writable(&c);
    dead = (slot(leader) + 1) % 3;
    alive = (slot(leader) + 2) % 3;
    assert_int_equal(ask(&c.nodes[alive], REMOVE, dead, &asked), MQ_ENOTLEADER);
    assert_int_equal(ask(leader, ADD, alive, &asked), MQ_EEXIST);
    assert_int_equal(ask(leader, PROMOTE, alive, &asked), MQ_EEXIST);
    assert_int_equal(ask(leader, PROMOTE, 8, &asked), MQ_ENOTFOUND);
    assert_int_equal(ask(leader, REPLACE, slot(leader), &asked), MQ_EINVAL);
    cluster_stop(&c, dead);
    cluster_run_ms(&c, 3 * c.election_ms);
    assert_int_equal(ask(leader, REMOVE, alive, &asked), MQ_EINVAL);
    print_message("%s\n", asked.change.text);
    assert_int_equal(change(&c, REPLACE, dead), MQ_ETIMEDOUT); /* nobody there: nothing is removed either */
    assert_int_equal(change(&c, ADD, 3), MQ_ETIMEDOUT);
    assert_true(has_voters(&c, 3));
    assert_int_equal(change(&c, REMOVE, dead), 0);
    assert_true(has_voters(&c, 2));
    assert_int_equal(change(&c, REMOVE, alive), 0); /* a group of one */
    run_until(&c, is_outside, alive);
    cluster_stop(&c, alive);
    assert_int_equal(ask(leader, REMOVE, slot(leader), &asked), MQ_EINVAL);
    end_load(&c);
    cluster_check(&c);
    cluster_fini(&c);
}

/* ---- handing over ---- */

struct handed {
    struct rlog_transfer transfer;
    bool ended;
    int status;
    uint64_t at_ms;
};

static void on_handed(struct rlog_transfer *transfer, int status)
{
    struct handed *handed = transfer->data;

    handed->ended = true;
    handed->status = status;
    handed->at_ms = mq_clock_mono_ms();
}

static bool is_handed(struct cluster *c, uint64_t handed)
{
    (void)c;
    return ((struct handed *)(uintptr_t)handed)->ended;
}

static void leadership_is_handed_over_under_load_without_an_unsure_proposal(void **state)
{
    uint64_t slowest = 0;
    struct cluster c;

    (void)state;
    init(&c, 3, 3);
    c.election_ms = 300;
    for (unsigned i = 0; i < 12; i++) {
        struct cluster_node *leader = cluster_await_writable(&c);
        struct handed handed = {.transfer.data = &handed};
        uint32_t target = i % 2 == 0 ? 0 : (slot(leader) + 1) % 3 + 1;
        uint64_t start;

        cluster_run_ms(&c, 30); /* all have answered this leader */
        load(&c);
        start = mq_clock_mono_ms();
        assert_int_equal(rlog_transfer(leader->log, target, 1000, &handed.transfer, on_handed), 0);
        assert_int_equal(rlog_can_propose(leader->log), MQ_ENOTLEADER);
        assert_int_equal(rlog_transfer(leader->log, target, 1000, &handed.transfer, on_handed), MQ_EBUSY);
        run_until(&c, is_handed, (uintptr_t)&handed);
        assert_int_equal(handed.status, 0);
        assert_true(target == 0 || handed.transfer.target == target);
        assert_int_not_equal(handed.transfer.target, leader->id);
        slowest = handed.at_ms - start > slowest ? handed.at_ms - start : slowest;
    }
    end_load(&c);
    cluster_check(&c);
    print_message("slowest hand-over %" PRIu64 " ms, unsure=%" PRIu64 "\n", slowest, c.unsure);
    assert_int_equal(c.unsure, 0);
    cluster_fini(&c);
}

static void leadership_is_not_handed_to_who_does_not_answer(void **state)
{
    struct handed handed = {.transfer.data = &handed};
    struct cluster_node *leader;
    struct cluster c;

    (void)state;
    init(&c, 3, 3);
    end_load(&c);
    leader = cluster_await_writable(&c);
    assert_int_equal(rlog_transfer(c.nodes[(slot(leader) + 1) % 3].log, 0, 100, &handed.transfer, on_handed),
                     MQ_ENOTLEADER);
    assert_int_equal(rlog_transfer(leader->log, leader->id, 100, &handed.transfer, on_handed), MQ_ENOTFOUND);
    assert_int_equal(rlog_transfer(leader->log, 9, 100, &handed.transfer, on_handed), MQ_ENOTFOUND);
    cluster_stop(&c, (slot(leader) + 1) % 3);
    cluster_run_ms(&c, 3 * c.election_ms);
    assert_int_equal(rlog_transfer(leader->log, (slot(leader) + 1) % 3 + 1, 100, &handed.transfer, on_handed),
                     MQ_ENOTFOUND);
    end_load(&c);
    cluster_check(&c);
    cluster_fini(&c);
}

/* ---- rescue ---- */

static void one_directory_is_made_a_group_of_its_own(void **state)
{
    struct mq_buf problem = {0};
    struct rlog_rescue *rescue;
    struct cluster c;

    (void)state;
    init(&c, 3, 3);
    end_load(&c);
    cluster_await_level(&c);
    assert_int_equal(rlog_rescue_open(c.nodes[1].dir, &rescue, &problem), -EWOULDBLOCK); /* its node runs */
    problem.len = 0;
    assert_int_equal(rlog_rescue_open("/nowhere", &rescue, &problem), -ENOENT);
    for (uint32_t i = 0; i < 3; i++) {
        cluster_stop(&c, i);
    }
    cluster_wipe(&c, 0);
    cluster_wipe(&c, 2);
    assert_int_equal(rlog_rescue_open(c.nodes[1].dir, &rescue, &problem), 0);
    assert_string_equal(rlog_rescue_look(rescue)->group, "group");
    assert_int_equal(rlog_rescue_look(rescue)->self, 2);
    assert_string_equal(rlog_rescue_look(rescue)->role, "voter");
    assert_int_equal(rlog_rescue_look(rescue)->voters, 3);
    assert_true(rlog_rescue_look(rescue)->last_index >= rlog_rescue_look(rescue)->committed);
    rlog_rescue_close(rescue); /* looking changes nothing */
    assert_int_equal(rlog_rescue_open(c.nodes[1].dir, &rescue, &problem), 0);
    assert_int_equal(rlog_rescue_look(rescue)->voters, 3);
    assert_int_equal(rlog_rescue_run(rescue), 0);
    rlog_rescue_close(rescue);
    mq_buf_free(&problem);

    cluster_start(&c, 1);
    end_load(&c);
    cluster_check(&c); /* with all that was acknowledged */
    cluster_start(&c, 0);
    assert_int_equal(change(&c, ADD, 0), 0);
    run_until(&c, has_voters, 2);
    end_load(&c);
    cluster_check(&c);
    cluster_fini(&c);
}

/* One byte of an entry near the end of a stopped member's log. */
static void rot(struct cluster *c, uint32_t i, uint64_t pos)
{
    char path[256];
    FILE *file;

    assert_null(c->nodes[i].log);
    (void)snprintf(path, sizeof(path), "%s/log/%020" PRIu64, c->nodes[i].dir, pos - pos % CLUSTER_SEGMENT_BYTES);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)(pos % CLUSTER_SEGMENT_BYTES), SEEK_SET), 0);
    assert_int_not_equal(fputc('!', file), EOF);
    assert_int_equal(fclose(file), 0);
}

static void stop_and_rot(struct cluster *c, uint32_t i)
{
    struct rlog_status s;

    rlog_status_get(c->nodes[i].log, &s);
    cluster_stop(c, i);
    rot(c, i, s.end_pos - 100); /* inside the payload of the last entry */
}

static bool has_no_claim(struct cluster *c, uint64_t i)
{
    struct rlog_status s;

    rlog_status_get(c->nodes[i].log, &s);
    return s.claim_index == 0;
}

/* Who could bring again what is bad is said by the log, and not by a configuration from the founding. */
static void a_bad_entry_is_claimed_where_the_membership_has_others(void **state)
{
    struct mq_buf problem = {0};
    struct cluster c;

    (void)state;
    init(&c, 3, 1); /* the first one's configuration names itself alone, the last one's all three */
    cluster_start(&c, 1);
    assert_int_equal(change(&c, ADD, 1), 0);
    cluster_start(&c, 2);
    assert_int_equal(change(&c, ADD, 2), 0);
    run_until(&c, has_voters, 3);
    end_load(&c);
    cluster_propose_all(&c, 1000000, 1000020, 300);
    cluster_await_level(&c);
    stop_and_rot(&c, 0);
    if (cluster_try_start(&c, 0, &problem) != 0) {
        fail_msg("%.*s", (int)problem.len, (const char *)problem.base);
    }
    assert_true(c.nodes[0].log->meta.claim.index != 0);
    cluster_propose_all(&c, 1000020, 1000040, 300);
    cluster_run_until(&c, has_no_claim, 0);
    cluster_await_level(&c);
    assert_int_equal(remove_among_well(&c, 0), 0);
    cluster_stop(&c, 0);
    assert_int_equal(remove_among_well(&c, 1), 0);
    cluster_stop(&c, 1);
    end_load(&c);
    cluster_propose_all(&c, 2000000, 2000020, 300);
    stop_and_rot(&c, 2);
    assert_int_equal(cluster_try_start(&c, 2, &problem), MQ_ECORRUPT);
    assert_non_null(memmem(problem.base, problem.len, "no other member", 15));
    mq_buf_free(&problem);
    cluster_fini(&c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_grows_from_one_to_five_and_shrinks_to_three_under_load),
        cmocka_unit_test(all_members_start_again_with_the_membership_of_the_log),
        cmocka_unit_test(a_member_that_slept_finds_a_group_whose_leader_it_never_heard_of),
        cmocka_unit_test(a_wiped_member_is_replaced_by_its_new_directory),
        cmocka_unit_test(a_replacement_goes_on_when_the_leader_is_lost),
        cmocka_unit_test(a_removed_member_says_so_and_can_come_back),
        cmocka_unit_test(a_learner_has_no_say_until_it_is_promoted),
        cmocka_unit_test(what_would_leave_no_majority_is_refused),
        cmocka_unit_test(leadership_is_handed_over_under_load_without_an_unsure_proposal),
        cmocka_unit_test(leadership_is_not_handed_to_who_does_not_answer),
        cmocka_unit_test(one_directory_is_made_a_group_of_its_own),
        cmocka_unit_test(a_bad_entry_is_claimed_where_the_membership_has_others),
    };

    mq_log_set_level(MQ_LOG_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
