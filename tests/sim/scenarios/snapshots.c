/* Scripts about snapshots and the log's beginning. */
#include "tests/sim/scenarios/scenarios.h"
#include "tests/sim/scenarios/script.h"

#include "tests/sim/invariants.h"

static void take_one(void *data)
{
    const struct node *node = data;

    if (node->run != NULL) {
        (void)rlog_snapshot(node->run->log);
    }
}

/* At each of many places between the first row and the name of the file. */
void scenario_stop_in_snapshot(void)
{
    workload_open(cluster_plan);
    for (uint32_t round = 0; round < 60; round++) {
        struct node *node = &nodes[round % cluster_size()];

        if (!run_for(NS_PER_S / 2)) {
            return;
        }
        if (node->process != NULL) {
            (void)process_call(node->process, take_one, node);
        }
        if (!run_for(round * NS_PER_MS / 3)) {
            return;
        }
        cluster_stop_in_order(node);
    }
    workload_stop();
    script_end();
}

static void spoil_state(void *data)
{
    struct node *node = data;

    if (node->run != NULL) {
        (void)offset_table_put(&node->run->state.offsets, MQ_STR("gx"), MQ_STR("t0"), 0, 1);
    }
}

static bool has_ended(void *data)
{
    const struct node *node = data;

    return node->process == NULL;
}

/* Its state is changed behind its back; the others tell it at the next index at which all compare. */
void scenario_state_parted(void)
{
    struct three n;

    workload_open(cluster_plan);
    if (!run_for(NS_PER_S) || !run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    invariants_forgive();
    cluster_excuse(n.f, UINT64_MAX);
    (void)process_call(n.f->process, spoil_state, n.f);
    (void)run_until(has_ended, n.f, 10 * NS_PER_S, "the end of a member whose state has parted");
}
