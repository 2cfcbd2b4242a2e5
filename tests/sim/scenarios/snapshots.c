/* Scripts about snapshots and the log's beginning. */
#include "tests/sim/scenarios/scenarios.h"
#include "tests/sim/scenarios/script.h"

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
