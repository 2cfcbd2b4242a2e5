/* A member whose state has parted from the others': it says so and its process ends, a leader's after another leads.
 * Each case runs in a child, as the group of the test lives in one process. */
#include "raft-log/rlog.h"
#include "raft-log/state_hash.h"
#include "raft_cluster.h"
#include "tests/unit/raft-log/log_fixture.h"

#include <string.h>

struct plan {
    uint32_t members;
    bool leader; /* who goes wrong: the leader, or a follower */
};

static bool never(struct cluster *c, uint64_t arg)
{
    (void)c;
    (void)arg;
    return false;
}

static void run_group(void *data)
{
    const struct plan *plan = data;
    struct cluster c;

    cluster_init(&c, plan->members);
    cluster_start_all(&c);
    cluster_propose_all(&c, 0, 100, 64);
    for (uint32_t i = 0; i < c.n; i++) {
        if ((c.nodes[i].role.kind == RLOG_WRITABLE) == plan->leader) {
            c.nodes[i].skew = 7;
            break;
        }
    }
    cluster_propose_all(&c, 100, STATE_HASH_EVERY + 100, 64);
    if (plan->members > 2) {
        cluster_run_until(&c, never, 0); /* until the process ends */
    }
    cluster_run_ms(&c, 500);
}

static bool holds(const struct mq_buf *lines, const char *text)
{
    return memmem(lines->base, lines->len, text, strlen(text)) != NULL;
}

static void a_follower_that_parted_names_the_section_and_ends(void **state)
{
    struct plan plan = {3, false};
    struct mq_buf lines = {0};

    (void)state;
    assert_int_equal(log_run_child(run_group, &plan, &lines), 1);
    assert_true(holds(&lines, "section numbers has hash"));
    assert_true(holds(&lines, "this member stops"));
    assert_true(holds(&lines, "its state is not the group's"));
    mq_buf_free(&lines);
}

static void a_leader_that_parted_hands_over_first(void **state)
{
    struct plan plan = {3, true};
    struct mq_buf lines = {0};
    const char *stops, *follower, *ends;

    (void)state;
    assert_int_equal(log_run_child(run_group, &plan, &lines), 1);
    assert_int_equal(mq_buf_put_u8(&lines, 0), 0);
    stops = strstr((const char *)lines.base, "this member stops");
    assert_non_null(stops);
    follower = strstr(stops, "follower term=");
    ends = strstr(stops, "its state is not the group's");
    assert_non_null(follower);
    assert_non_null(ends);
    assert_true(follower < ends);
    mq_buf_free(&lines);
}

static void without_a_majority_both_go_on_and_say_so(void **state)
{
    struct plan plan = {2, false};
    struct mq_buf lines = {0};

    (void)state;
    assert_int_equal(log_run_child(run_group, &plan, &lines), 0);
    assert_true(holds(&lines, "no majority of the members against this one"));
    assert_false(holds(&lines, "this member stops"));
    mq_buf_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_follower_that_parted_names_the_section_and_ends),
        cmocka_unit_test(a_leader_that_parted_hands_over_first),
        cmocka_unit_test(without_a_majority_both_go_on_and_say_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
