#include "tests/sim/scenarios/script.h"

#include <inttypes.h>

bool script_three(struct three *out)
{
    struct node *rest[2];
    uint32_t n = 0;

    out->l = cluster_leader();
    if (out->l == NULL || cluster_plan->nodes != 3) {
        world_fail("harness: the script wants three members and a leader");
        return false;
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (&nodes[i] != out->l) {
            rest[n++] = &nodes[i];
        }
    }
    out->f = rest[0];
    out->g = rest[1];
    return true;
}

void script_cut(struct node *a, struct node *b)
{
    link_cut(net_link(a->machine, b->machine));
    link_cut(net_link(b->machine, a->machine));
    net_reset(a->machine, b->machine);
}

void script_heal(struct node *a, struct node *b)
{
    link_heal(net_link(a->machine, b->machine));
    link_heal(net_link(b->machine, a->machine));
}

void script_isolate(struct node *node)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (&nodes[i] != node) {
            script_cut(node, &nodes[i]);
        }
    }
}

void script_heal_all(void)
{
    for (uint32_t a = 0; a < cluster_size(); a++) {
        for (uint32_t b = 0; b < a; b++) {
            script_heal(&nodes[a], &nodes[b]);
        }
    }
}

bool script_send(struct node *node, uint32_t n, uint64_t gap_ns)
{
    for (uint32_t i = 0; i < n; i++) {
        (void)workload_send(node, 32);
        if (!run_for(gap_ns)) {
            return false;
        }
    }
    return true;
}

bool script_leads(const struct node *node, uint64_t *term)
{
    const struct core *core = cluster_is_up(node) ? node->run->log->driver.core : NULL;

    if (core == NULL || core_role(core) != RLOG_LEADING) {
        return false;
    }
    *term = core_term(core);
    return true;
}

struct node *script_wait_leading(struct node *a, struct node *b, uint64_t term, uint64_t ns)
{
    uint64_t end = world_now() + ns;
    uint64_t is;

    while (world_now() < end) {
        if (script_leads(a, &is) && is > term) {
            return a;
        }
        if (script_leads(b, &is) && is > term) {
            return b;
        }
        if (!world_step()) {
            return NULL;
        }
    }
    world_fail("liveness: neither member %u nor %u leads after %" PRIu64 " ms", a->id, b->id, ns / NS_PER_MS);
    return NULL;
}

void script_end(void)
{
    script_heal_all();
    if (run_until_leader(10 * NS_PER_S) && run_until_committed(10 * NS_PER_S) && run_until_level(30 * NS_PER_S)) {
        history_check_end();
    }
}
