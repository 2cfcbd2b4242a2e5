/* Scripts about who leads, and what becomes of what the one before had not committed. */
#include "tests/sim/scenarios/scenarios.h"
#include "tests/sim/scenarios/script.h"

#include "tests/sim/history.h"
#include "tests/sim/operator.h"

#include <inttypes.h>

#define OLD_ENTRIES 300u /* more than the core puts into one message: the first part is answered before the rest */

/* L alone appends A. G is elected by F and alone appends B, in a higher term. L is elected by F and copies A to it;
 * as soon as F has some of it, though nothing of L's new term, L is cut off. G is elected by F: B replaces A. Had
 * anybody called A committed when two of three held it, that would be broken now. */
void scenario_figure_8(void)
{
    struct three n;
    struct node *g, *f;
    uint64_t term = 0, base, end;

    if (!script_three(&n) || !run_until_committed(5 * NS_PER_S) || !run_until_level(5 * NS_PER_S)) {
        return;
    }
    script_leads(n.l, &term);
    base = history_last();
    script_isolate(n.l);
    if (!script_send(n.l, OLD_ENTRIES, 1500 * NS_PER_US)) {
        return;
    }
    g = script_wait_leading(n.f, n.g, term, 20 * NS_PER_S);
    if (g == NULL) {
        return;
    }
    f = g == n.f ? n.g : n.f;
    script_cut(g, f);
    if (!run_for(100 * NS_PER_MS)) { /* B reaches G's own disk */
        return;
    }
    script_heal(n.l, f);
    net_link(n.l->machine, f->machine)->bytes_per_s = 1000000; /* the second part comes well after the first */
    script_leads(g, &term);
    if (script_wait_leading(n.l, f, term, 20 * NS_PER_S) != n.l) {
        world_fail("harness: the other member was elected");
        return;
    }
    end = world_now() + 5 * NS_PER_S;
    while (f->seen.on_platter < base + 100) {
        if (world_now() > end) {
            world_fail("harness: nothing was copied");
            return;
        }
        if (!world_step()) {
            return;
        }
    }
    /* The answer is on its way to L. */
    end = world_now() + 3 * cluster_plan->link_max_ns;
    while (world_now() < end && f->seen.on_platter < base + OLD_ENTRIES) {
        if (!world_step()) {
            return;
        }
    }
    script_isolate(n.l);
    cluster_good_links();
    script_isolate(n.l);
    if (run_until_committed(20 * NS_PER_S)) {
        script_end();
    }
}

/* Proposals without a pause: every second has to bring commits. */
void scenario_pipelining(void)
{
    workload_open(cluster_plan);
    for (uint32_t s = 0; s < 6; s++) {
        uint64_t before = history_commands();

        if (!run_for(NS_PER_S)) {
            return;
        }
        if (s > 0 && history_commands() < before + 50) {
            world_fail("liveness: %" PRIu64 " commits in second %u of steady load", history_commands() - before, s);
            return;
        }
    }
    workload_stop();
    script_end();
}

/* L alone appends while its disk is slow, and hears of a new leader with other entries while they are being written:
 * the notice that they are on the disk must not count for those in their place. */
void scenario_stale_notice(void)
{
    struct three n;
    struct disk_manner *manner;

    for (uint32_t round = 0; round < 10; round++) {
        if (!run_until_leader(10 * NS_PER_S) || !script_three(&n)) {
            return;
        }
        manner = disk_manner(machine_disk(n.l->machine));
        script_isolate(n.l);
        if (!script_send(n.l, 5, 2 * NS_PER_MS)) {
            return;
        }
        manner->sync_min_ns = 300 * NS_PER_MS;
        manner->sync_max_ns = 1500 * NS_PER_MS;
        if (!script_send(n.l, 10, 5 * NS_PER_MS) || script_wait_leading(n.f, n.g, 0, 20 * NS_PER_S) == NULL ||
            !run_until_committed(20 * NS_PER_S)) {
            return;
        }
        script_heal_all();
        for (uint32_t i = 0; i < 20; i++) {
            struct node *leader = cluster_leader();

            if (leader != NULL && !script_send(leader, 2, 20 * NS_PER_MS)) {
                return;
            }
        }
        cluster_good_disk(n.l);
        if (!run_for(3 * NS_PER_S)) {
            return;
        }
    }
    script_end();
}

/* A leader cut off with its clients: what it could not finish is unknown, never refused; what the others take is
 * kept. */
void scenario_isolated_leader(void)
{
    struct three n;

    workload_open(cluster_plan);
    if (!run_for(3 * NS_PER_S) || !run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    script_isolate(n.l);
    for (uint32_t i = 0; i < 200; i++) {
        if (!script_send(n.l, 1, 5 * NS_PER_MS)) {
            return;
        }
    }
    if (run_until_committed(20 * NS_PER_S) && run_for(10 * NS_PER_S)) {
        workload_stop();
        script_end();
    }
}

/* The link from the leader to a member goes and comes; the others go on, and nobody calls elections for ever. */
void scenario_one_way_flapping(void)
{
    struct three n;
    struct link *link;

    workload_open(cluster_plan);
    if (!run_for(2 * NS_PER_S) || !run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    link = net_link(n.l->machine, n.f->machine);
    for (uint32_t i = 0; i < 30; i++) {
        uint64_t before = history_commands();

        link_cut(link);
        if (!run_for((100 + i * 40) * NS_PER_MS)) {
            return;
        }
        link_heal(link);
        if (!run_for((1300 - i * 40) * NS_PER_MS)) {
            return;
        }
        if (history_commands() < before + 5) {
            world_fail("liveness: %" PRIu64 " commits in 1.4 s with one link flapping", history_commands() - before);
            return;
        }
    }
    workload_stop();
    script_end();
}

/* The leader hands over to a member that does not hear it: it stays, and goes on at once, with the numbers that its
 * queues had. */
void scenario_failed_transfer(void)
{
    struct three n;

    workload_open(cluster_plan);
    for (uint32_t round = 0; round < 10; round++) {
        uint64_t before;

        if (!run_for(2 * NS_PER_S) || !run_until_leader(10 * NS_PER_S) || !script_three(&n)) {
            return;
        }
        link_cut(net_link(n.l->machine, n.f->machine));
        operator_transfer(n.l, n.f->id);
        if (!run_for(450 * NS_PER_MS)) {
            return;
        }
        script_heal_all();
        before = history_commands();
        if (!run_for(2 * NS_PER_S)) {
            return;
        }
        if (history_commands() < before + 5) {
            world_fail("liveness: %" PRIu64 " commits in 2 s after a hand-over that failed",
                       history_commands() - before);
            return;
        }
    }
    workload_stop();
    script_end();
}

static bool is_replaced(void *data)
{
    const struct node *node = data;
    struct node *leader = cluster_leader();

    if (leader != NULL && world_now() / (10 * NS_PER_MS) % 2 == 0) {
        (void)workload_send(leader, 64); /* so that the changes have entries around them */
    }
    return !node->wiped;
}

/* F is away while another member's disk is replaced, which takes three changes of the membership; when F is back it
 * gets all that in a few messages, and must know each change under its own index. */
void scenario_change_in_batch(void)
{
    for (uint32_t round = 0; round < 4; round++) {
        struct node *leader, *f, *w;

        if (!run_until_leader(10 * NS_PER_S)) {
            return;
        }
        leader = cluster_leader();
        f = &nodes[leader->id % cluster_size()];
        w = &nodes[(leader->id + 1) % cluster_size()];
        script_isolate(f);
        operator_replace_disk(w);
        if (!run_until(is_replaced, w, 30 * NS_PER_S, "the new disk's directory a voter")) {
            return;
        }
        script_heal_all();
        if (!run_until_committed(10 * NS_PER_S) || !run_until_level(30 * NS_PER_S)) {
            return;
        }
    }
    script_end();
}
