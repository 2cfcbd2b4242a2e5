/* Machines, and the supervisor: machine_on_end -> (a while) -> cluster_start -> member_main (member.c). */
#include "tests/sim/cluster.h"

#include "remoting/base/assert.h"
#include "tests/sim/invariants.h"
#include "tests/sim/marks.h"
#include "tests/sim/member.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RESTART_MIN_NS (NS_PER_MS)
#define RESTART_MAX_NS (400 * NS_PER_MS)

struct node nodes[NODES_MAX];
const struct plan *cluster_plan;

static struct rng rng; /* of the supervisor */

/* ---- the supervisor ---- */

static void on_restart(struct world_event *event)
{
    cluster_start(container_of(event, struct node, restart));
}

static void on_end(void *data, struct process *process, enum process_end how, int code)
{
    struct node *node = data;

    if (process != node->process) {
        return;
    }
    world_tracef("member %u ended: %d code %d", node->id, how, code);
    node->process = NULL;
    node->run = NULL;
    invariants_ended(node, how, code);
    node->refusals = how == PROCESS_RETURNED && code != 0 ? node->refusals + 1 : 0;
    workload_ended(node);
    if (!node->stays_down) {
        uint64_t most = rng_below(&rng, 3) == 0 ? RESTART_MIN_NS : RESTART_MAX_NS;
        uint64_t wait = rng_between(&rng, RESTART_MIN_NS, most) * (1 + (node->refusals < 8 ? node->refusals : 8));

        world_at(&node->restart, world_now() + wait, on_restart);
    }
}

void cluster_start(struct node *node)
{
    char name[8];

    if (node->process != NULL || node->absent || !machine_has_power(node->machine)) {
        return;
    }
    world_cancel(&node->restart);
    snprintf(name, sizeof(name), "n%u", node->id);
    node->instance++;
    node->process = process_start(node->machine, name, member_main, node);
}

static void on_stop(void *data)
{
    member_close(data);
}

void cluster_stop_in_order(struct node *node)
{
    if (node->process != NULL) {
        (void)process_call(node->process, on_stop, node);
    }
}

void cluster_excuse(struct node *node, uint64_t ns)
{
    uint64_t until = ns == UINT64_MAX ? ns : world_now() + ns;

    node->excused_ns = until > node->excused_ns ? until : node->excused_ns;
}

void cluster_power_off(struct node *node)
{
    if (cluster_plan->flush_ms != 0 && node->seen.last != 0) {
        node->lost_end = true;
        node->lost_pos = node->seen.poss[node->seen.last];
    }
    machine_power_off(node->machine);
}

/* One at a time, where entries are flushed late: until it has caught up no other one may. */
bool cluster_may_lose_power(const struct node *node)
{
    for (uint32_t i = 0; cluster_plan->flush_ms != 0 && i < cluster_size(); i++) {
        if (nodes[i].lost_end && &nodes[i] != node) {
            return false;
        }
    }
    return machine_has_power(node->machine);
}

void cluster_power_on(struct node *node)
{
    if (!machine_has_power(node->machine)) {
        machine_power_on(node->machine);
    }
    if (!node->stays_down) {
        world_at(&node->restart, world_now() + rng_between(&rng, RESTART_MIN_NS, RESTART_MAX_NS), on_restart);
    }
}

void cluster_good_disk(struct node *node)
{
    struct disk *disk = machine_disk(node->machine);

    *disk_manner(disk) = (struct disk_manner){
        .write_min_ns = 2 * NS_PER_US,
        .write_max_ns = 20 * NS_PER_US,
        .sync_min_ns = cluster_plan->sync_min_ns,
        .sync_max_ns = cluster_plan->sync_max_ns,
        .stall_ppm = cluster_plan->disk_stall_ppm,
        .stall_max_ns = cluster_plan->disk_stall_max_ns,
        .writeback_ppm = cluster_plan->writeback_ppm,
    };
    disk_set_capacity(disk, 0);
}

void cluster_good_links(void)
{
    for (uint32_t a = 0; a < cluster_size(); a++) {
        for (uint32_t b = 0; b < cluster_size(); b++) {
            struct link *link = net_link(nodes[a].machine, nodes[b].machine);

            if (a == b) {
                continue;
            }
            link_heal(link);
            link->latency_min_ns = cluster_plan->link_min_ns;
            link->latency_max_ns = cluster_plan->link_max_ns;
            link->stall_ppm = cluster_plan->link_stall_ppm;
            link->stall_max_ns = cluster_plan->link_stall_max_ns;
            link->bytes_per_s = 0;
            link->corrupt_ppm = 0;
        }
    }
}

/* How a log line of production code begins, and what it says about the run. */
static const struct {
    const char *start;
    enum mark mark;
} told[] = {
    {"finishing an interrupted truncation", MARK_CUT_FINISHED},
    {"cut a torn tail", MARK_TORN_CUT},
    {"a write has not ended", MARK_SILENT},
    {"%s is no member of group", MARK_OUTSIDE},
    {"group %s exists, and %s, which is empty", MARK_EMPTY_OUTSIDE},
    {"has again all that it may", MARK_CLAIM_FULFILLED},
    {"no member holds more than entry", MARK_CLAIM_LOWERED},
    {"%s/%s is bad or missing and is written anew", MARK_META_COPY_BAD},
    {"%s: what was behind entry", MARK_SCRUB_ZEROED},
    {"%.*s: set aside as .bad", MARK_SNAPSHOT_BAD},
    {"%s: the power was lost while entries were flushed late: this", MARK_LOST_END},
};

static void on_line(const char *fmt)
{
    for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
        if (strncmp(fmt, told[i].start, strlen(told[i].start)) == 0) {
            mark(told[i].mark);
        }
    }
    if (process_current() != NULL && strncmp(fmt, "truncate from", strlen("truncate from")) == 0) {
        nemesis_moment(cluster_of_machine(process_machine(process_current())), MOMENT_TRUNCATE);
    }
}

void cluster_open(const struct plan *plan)
{
    cluster_plan = plan;
    world_on_line(on_line);
    rng_seed(&rng, plan->seed, 3);
    memset(nodes, 0, sizeof(nodes));
    for (uint32_t i = 0; i < cluster_size(); i++) {
        struct node *node = &nodes[i];
        char name[16], address[24];

        snprintf(name, sizeof(name), "m%u", i + 1);
        snprintf(address, sizeof(address), "10.0.0.%u", i + 1);
        node->id = i + 1;
        node->absent = i >= plan->nodes;
        node->machine = machine_new(name, address);
        machine_on_end(node->machine, on_end, node);
        cluster_good_disk(node);
    }
    cluster_good_links();
    for (uint32_t i = 0; i < plan->nodes; i++) {
        world_at(&nodes[i].restart, rng_below(&rng, 50 * NS_PER_MS), on_restart);
    }
}

void cluster_close(void)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        world_cancel(&nodes[i].restart);
        free(nodes[i].seen.crcs);
        free(nodes[i].seen.poss);
    }
    memset(nodes, 0, sizeof(nodes));
}

/* ---- questions ---- */

uint32_t cluster_size(void)
{
    return cluster_plan->nodes + cluster_plan->spares;
}

struct node *cluster_of_machine(const struct machine *machine)
{
    return &nodes[machine_number(machine)];
}

bool cluster_is_lost(void)
{
    const struct membership *members = history_membership();
    uint32_t out = 0;

    for (uint32_t i = 0; i < members->n; i++) {
        out += members->members[i].role == MEMBER_VOTER && nodes[members->members[i].id - 1].stays_down;
    }
    return members->n != 0 && out > (membership_voters(members) - 1) / 2;
}

bool cluster_is_up(const struct node *node)
{
    return node->run != NULL && node->process != NULL && process_alive(node->process);
}

struct node *cluster_leader(void)
{
    struct node *best = NULL;

    for (uint32_t i = 0; i < cluster_size(); i++) {
        struct node *node = &nodes[i];

        if (cluster_is_up(node) && node->run->role.kind == RLOG_WRITABLE &&
            (best == NULL || node->run->role.term > best->run->role.term)) {
            best = node;
        }
    }
    return best;
}
