/* A fault strikes, lasts a while and ends; several may overlap. The table below has one row for each kind. What takes
 * something from a disk for good strikes at most a minority of members in a run, always the same ones. */
#include "tests/sim/nemesis.h"

#include "remoting/base/assert.h"
#include "tests/sim/operator.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define UNDER_WAY_MAX 8
#define RESERVE_BYTES (UINT64_C(64) << 20) /* what a log keeps free */

/* A fault that goes on. */
struct fault {
    enum fault_kind kind;
    struct node *node;
    uint32_t other, step;
    struct world_event event; /* its end, or its next step */
    uint64_t end_ns;
};

struct kind {
    const char *name;
    enum mark mark;
    uint32_t min_ms, max_ms; /* how long it lasts; 0: an instant */
    /* Begins it; false: not possible now. */
    bool (*begin)(struct fault *fault);
    /* One with steps: the next one, which returns when the one after it comes, in ns. */
    uint64_t (*step)(struct fault *fault);
    void (*end)(struct fault *fault);
    bool (*offered)(void); /* NULL: always */
};

static const struct kind kinds[FAULT_KINDS];
static const struct plan *plan;
static struct rng rng;
static struct fault faults[UNDER_WAY_MAX];
static struct world_event next;
static uint32_t struck;
static bool healing;

static struct node *any_node(void)
{
    struct node *node;

    do {
        node = &nodes[rng_below(&rng, cluster_size())];
    } while (node->absent);
    return node;
}

static struct node *any_up(void)
{
    struct node *node = any_node();

    for (uint32_t i = 0; i < cluster_size() && !cluster_is_up(node); i++) {
        node = &nodes[node->id % cluster_size()];
    }
    return cluster_is_up(node) ? node : NULL;
}

/* The members whose disks may lose something: the first of a minority, rotated by the seed. */
static struct node *victim(void)
{
    uint32_t minority = plan->spares != 0 ? 1 : (plan->nodes - 1) / 2;

    return &nodes[(plan->seed + rng_below(&rng, minority)) % plan->nodes];
}

static struct link *link_of(const struct node *from, const struct node *to)
{
    return net_link(from->machine, to->machine);
}

/* ---- processes and power ---- */

static void do_kill(struct node *node)
{
    process_kill(node->process);
}

static bool kill_begin(struct fault *fault)
{
    struct node *node = any_node();

    (void)fault;
    if (node->process == NULL || !process_alive(node->process)) {
        return false;
    }
    do_kill(node);
    return true;
}

static bool kill_leader_begin(struct fault *fault)
{
    struct node *leader = cluster_leader();

    (void)fault;
    if (leader == NULL) {
        return false;
    }
    do_kill(leader);
    return true;
}

static bool power_one_begin(struct fault *fault)
{
    fault->node = any_node();
    if (!cluster_may_lose_power(fault->node)) {
        return false;
    }
    cluster_power_off(fault->node);
    return true;
}

static void power_one_end(struct fault *fault)
{
    cluster_power_on(fault->node);
}

static bool power_all_begin(struct fault *fault)
{
    (void)fault;
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (machine_has_power(nodes[i].machine)) {
            machine_power_off(nodes[i].machine);
        }
    }
    return true;
}

static void power_all_end(struct fault *fault)
{
    (void)fault;
    for (uint32_t i = 0; i < cluster_size(); i++) {
        cluster_power_on(&nodes[i]);
    }
}

static bool pause_begin(struct fault *fault)
{
    fault->node = rng_below(&rng, 2) == 0 ? cluster_leader() : any_up();
    if (fault->node == NULL || process_paused(fault->node->process)) {
        return false;
    }
    process_pause(fault->node->process);
    return true;
}

static void pause_end(struct fault *fault)
{
    if (fault->node->process != NULL && process_alive(fault->node->process) && process_paused(fault->node->process)) {
        process_resume(fault->node->process);
        fault->node->room_ns = fault->node->room_ns != 0 ? world_now() : 0;
    }
}

static bool restart_begin(struct fault *fault)
{
    fault->node = any_up();
    if (fault->node == NULL) {
        return false;
    }
    cluster_stop_in_order(fault->node);
    return true;
}

/* The process is killed, or its machine loses power, right behind the step that was chosen. */
static struct {
    bool set, power;
    enum moment moment;
    uint32_t left;
    struct node *node;
    struct world_event event;
} trap;

static bool at_moment_begin(struct fault *fault)
{
    (void)fault;
    if (trap.set || trap.event.slot != 0) {
        return false;
    }
    trap.set = true;
    trap.power = rng_below(&rng, 3) == 0;
    trap.moment = (enum moment)rng_below(&rng, MOMENTS);
    trap.left = trap.moment == MOMENT_ACK ? (uint32_t)rng_between(&rng, 1, 200) : (uint32_t)rng_between(&rng, 1, 3);
    return true;
}

static void on_trap(struct world_event *event)
{
    struct node *node = trap.node;

    (void)event;
    if (node->process == NULL || !process_alive(node->process)) {
        return;
    }
    mark(MARK_AT_MOMENT);
    world_tracef("fault: member %u at moment %d", node->id, trap.moment);
    if (trap.power && cluster_may_lose_power(node)) {
        cluster_power_off(node);
        cluster_power_on(node);
    } else {
        do_kill(node);
    }
}

void nemesis_moment(struct node *node, enum moment moment)
{
    if (trap.set && trap.moment == moment && --trap.left == 0) {
        trap.set = false;
        trap.node = node;
        /* At once, or while the step's writes are on their way. */
        world_at(&trap.event, world_now() + (rng_below(&rng, 2) == 0 ? 0 : rng_below(&rng, 6 * plan->sync_max_ns)),
                 on_trap);
    }
}

static bool slow_processor_begin(struct fault *fault)
{
    fault->node = any_up();
    if (fault->node == NULL) {
        return false;
    }
    process_set_slowness(fault->node->process, (uint32_t)rng_between(&rng, 10, 400));
    return true;
}

static void slow_processor_end(struct fault *fault)
{
    if (fault->node->process != NULL && process_alive(fault->node->process)) {
        process_set_slowness(fault->node->process, 1);
    }
}

/* ---- links ---- */

static void cut_between(struct node *a, struct node *b)
{
    link_cut(link_of(a, b));
    link_cut(link_of(b, a));
}

static void heal_between(struct node *a, struct node *b)
{
    link_heal(link_of(a, b));
    link_heal(link_of(b, a));
}

static void for_rest(struct node *node, void (*each)(struct node *a, struct node *b))
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (&nodes[i] != node) {
            each(node, &nodes[i]);
        }
    }
}

static bool partition_begin(struct fault *fault)
{
    uint32_t size = cluster_size();

    /* A set of members by bits, neither empty nor whole; often a minority, sometimes the majority is the other side.
     */
    fault->other = (uint32_t)rng_between(&rng, 1, (1u << size) - 2);
    for (uint32_t a = 0; a < size; a++) {
        for (uint32_t b = 0; b < size; b++) {
            if ((fault->other >> a & 1) != (fault->other >> b & 1)) {
                link_cut(link_of(&nodes[a], &nodes[b]));
            }
        }
    }
    return true;
}

static void all_links_end(struct fault *fault)
{
    (void)fault;
    for (uint32_t a = 0; a < cluster_size(); a++) {
        for_rest(&nodes[a], heal_between);
    }
}

static bool leader_cut_begin(struct fault *fault)
{
    fault->node = cluster_leader();
    if (fault->node == NULL) {
        return false;
    }
    for_rest(fault->node, cut_between);
    return true;
}

static void leader_cut_end(struct fault *fault)
{
    for_rest(fault->node, heal_between);
}

static bool pick_link(struct fault *fault)
{
    fault->node = any_node();
    fault->other = (uint32_t)rng_below(&rng, cluster_size());
    return fault->other != fault->node->id - 1 && !nodes[fault->other].absent;
}

static bool one_way_begin(struct fault *fault)
{
    if (rng_below(&rng, 3) == 0) { /* a member that hears nobody, or is heard by nobody */
        bool deaf = rng_below(&rng, 2) == 0;

        fault->node = any_node();
        for (uint32_t i = 0; i < cluster_size(); i++) {
            if (i != fault->node->id - 1) {
                link_cut(deaf ? link_of(&nodes[i], fault->node) : link_of(fault->node, &nodes[i]));
            }
        }
        fault->other = fault->node->id % cluster_size();
        return true;
    }
    if (!pick_link(fault)) {
        return false;
    }
    link_cut(link_of(fault->node, &nodes[fault->other]));
    return true;
}

static uint64_t flapping_step(struct fault *fault)
{
    struct link *link = link_of(fault->node, &nodes[fault->other]);

    if (link->cut) {
        link_heal(link);
    } else {
        link_cut(link);
    }
    return rng_between(&rng, 5 * NS_PER_MS, 300 * NS_PER_MS);
}

static void one_way_end(struct fault *fault)
{
    for_rest(fault->node, heal_between);
}

static bool slow_links_begin(struct fault *fault)
{
    uint64_t low = rng_between(&rng, NS_PER_MS, 40 * NS_PER_MS);
    bool all = rng_below(&rng, 2) == 0;

    fault->node = any_node();
    for (uint32_t a = 0; a < cluster_size(); a++) {
        for (uint32_t b = 0; b < cluster_size(); b++) {
            if (a != b && (all || a == fault->node->id - 1 || b == fault->node->id - 1)) {
                struct link *link = link_of(&nodes[a], &nodes[b]);

                link->latency_min_ns = low;
                link->latency_max_ns = low * 4;
                link->stall_ppm = (uint32_t)rng_below(&rng, 100000);
                link->stall_max_ns = 500 * NS_PER_MS;
                link->bytes_per_s = rng_below(&rng, 2) == 0 ? 0 : rng_between(&rng, 200000, 5000000);
            }
        }
    }
    return true;
}

static void links_good_end(struct fault *fault)
{
    (void)fault;
    cluster_good_links();
}

static uint64_t resets_step(struct fault *fault)
{
    struct node *a = any_node();
    struct node *b = &nodes[a->id % cluster_size()];

    (void)fault;
    net_reset(a->machine, b->machine);
    return rng_between(&rng, 10 * NS_PER_MS, 500 * NS_PER_MS);
}

static bool always(struct fault *fault)
{
    (void)fault;
    return true;
}

static bool corrupt_begin(struct fault *fault)
{
    if (!pick_link(fault)) {
        return false;
    }
    link_of(fault->node, &nodes[fault->other])->corrupt_ppm = (uint32_t)rng_between(&rng, 1000, 200000);
    return true;
}

static void corrupt_end(struct fault *fault)
{
    link_of(fault->node, &nodes[fault->other])->corrupt_ppm = 0;
}

static bool accepts_begin(struct fault *fault)
{
    (void)fault;
    net_fail_accepts(any_node()->machine, (uint32_t)rng_between(&rng, 1, 10));
    return true;
}

/* ---- disks ---- */

static bool hung_begin(struct fault *fault)
{
    fault->node = rng_below(&rng, 2) == 0 ? cluster_leader() : any_node();
    if (fault->node == NULL) {
        return false;
    }
    disk_manner(machine_disk(fault->node->machine))->hung = true;
    return true;
}

static void hung_end(struct fault *fault)
{
    disk_manner(machine_disk(fault->node->machine))->hung = false;
}

static bool slow_disk_begin(struct fault *fault)
{
    struct disk_manner *manner;

    fault->node = rng_below(&rng, 2) == 0 ? cluster_leader() : any_node();
    if (fault->node == NULL) {
        return false;
    }
    manner = disk_manner(machine_disk(fault->node->machine));
    manner->sync_min_ns = rng_between(&rng, NS_PER_MS, 50 * NS_PER_MS);
    manner->sync_max_ns = manner->sync_min_ns * rng_between(&rng, 2, 10);
    manner->stall_ppm = (uint32_t)rng_below(&rng, 100000);
    manner->stall_max_ns = 2 * NS_PER_S;
    return true;
}

static void disk_good_end(struct fault *fault)
{
    bool hung = disk_manner(machine_disk(fault->node->machine))->hung;

    cluster_good_disk(fault->node);
    disk_manner(machine_disk(fault->node->machine))->hung = hung;
}

static bool write_fails_begin(struct fault *fault)
{
    enum disk_call call = rng_below(&rng, 3) == 0 ? DISK_WRITE : DISK_SYNC;

    fault->node = any_node();
    /* It may strike much later, or only when the process starts again. */
    cluster_excuse(fault->node, UINT64_MAX);
    disk_fail_in(machine_disk(fault->node->machine), call, (uint32_t)rng_between(&rng, 1, 40), -EIO);
    return true;
}

static void fill_disk(struct node *node)
{
    struct disk *disk = machine_disk(node->machine);
    uint64_t most = rng_below(&rng, 2) == 0 ? 2 * plan->segment_bytes : RESERVE_BYTES + 4 * plan->segment_bytes;

    cluster_excuse(node, UINT64_MAX); /* the writer may find that there is none left at all */
    disk_set_capacity(disk, disk_used(disk) + rng_below(&rng, most));
    node->room_ns = 0;
}

/* One disk, or all of them; the room that is left may shrink and grow on the way. */
static bool full_begin(struct fault *fault)
{
    fault->node = any_node();
    fault->other = rng_below(&rng, 3) == 0;
    return true;
}

static uint64_t full_step(struct fault *fault)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (fault->other != 0 || &nodes[i] == fault->node) {
            fill_disk(&nodes[i]);
        }
    }
    return rng_between(&rng, 500 * NS_PER_MS, 4 * NS_PER_S);
}

static void full_end(struct fault *fault)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (fault->other != 0 || &nodes[i] == fault->node) {
            disk_set_capacity(machine_disk(nodes[i].machine), 0);
            nodes[i].room_ns = world_now();
        }
    }
}

static bool meta_flip_begin(struct fault *fault)
{
    static const char *const copies[] = {CLUSTER_LOG_DIR "/meta-0", CLUSTER_LOG_DIR "/meta-1"};

    fault->node = victim();
    if (fault->node->meta_flipped || fault->node->damaged || fault->node->wiped ||
        disk_flip(machine_disk(fault->node->machine), copies[rng_below(&rng, 2)], rng_below(&rng, 40),
                  (uint8_t)(1u << rng_below(&rng, 8))) != 0) {
        return false;
    }
    fault->node->meta_flipped = true;
    if (fault->node->process != NULL) { /* before it writes both copies anew */
        do_kill(fault->node);
    }
    return true;
}

static bool log_flip_begin(struct fault *fault)
{
    struct seen *seen;
    char path[64];
    uint64_t index, pos;

    fault->node = victim();
    seen = &fault->node->seen;
    if (fault->node->damaged || fault->node->wiped || seen->last < 200 || history_last() < 200) {
        return false;
    }
    /* Deep enough to be called committed by later entries of this very log. */
    index = rng_between(&rng, 2, (seen->last < history_last() ? seen->last : history_last()) - 150);
    pos = seen->poss[index] + rng_below(&rng, seen->poss[index + 1] - seen->poss[index]);
    snprintf(path, sizeof(path), CLUSTER_LOG_DIR "/log/%020" PRIu64, pos - pos % plan->segment_bytes);
    fault->node->damaged = true;
    return disk_flip(machine_disk(fault->node->machine), path, pos % plan->segment_bytes,
                     (uint8_t)(1u << rng_below(&rng, 8))) == 0;
}

struct pick {
    uint64_t from; /* only those that stand for what the log lacks */
    uint32_t n;
    char path[128];
    uint64_t bytes;
};

static void pick_snapshot(void *data, const char *path, uint64_t bytes)
{
    static const char dir[] = CLUSTER_LOG_DIR "/snapshot/";
    struct pick *pick = data;

    if (strncmp(path, dir, sizeof(dir) - 1) == 0 && strspn(path + sizeof(dir) - 1, "0123456789") == 20 &&
        path[sizeof(dir) + 19] == '\0' && strtoull(path + sizeof(dir) - 1, NULL, 10) >= pick->from &&
        rng_below(&rng, ++pick->n) == 0) {
        snprintf(pick->path, sizeof(pick->path), "%s", path);
        pick->bytes = bytes;
    }
}

/* Another one stands for it, as long as that is whole: so one at most in a member's life. */
static bool snapshot_flip_begin(struct fault *fault)
{
    struct pick pick = {0};

    fault->node = victim();
    pick.from = fault->node->seen.base;
    disk_each(machine_disk(fault->node->machine), pick_snapshot, &pick);
    if (fault->node->snapshot_flipped || fault->node->wiped || pick.n < 2 ||
        disk_flip(machine_disk(fault->node->machine), pick.path, rng_below(&rng, pick.bytes),
                  (uint8_t)(1u << rng_below(&rng, 8))) != 0) {
        return false;
    }
    fault->node->snapshot_flipped = true;
    cluster_excuse(fault->node,
                   NS_PER_S); /* a start that has just read it whole may end; the next one takes the other */
    if (fault->node->process != NULL && rng_below(&rng, 2) == 0) {
        do_kill(fault->node);
    }
    return true;
}

static bool misdirect_begin(struct fault *fault)
{
    fault->node = victim();
    if (fault->node->process == NULL || fault->node->wiped) {
        return false;
    }
    disk_manner(machine_disk(fault->node->machine))->misdirect_ppm = PPM / 4;
    /* From now on what it says of its disk is worth nothing; when its process ends somebody takes it away. */
    fault->node->damaged = true;
    fault->node->stays_down = true;
    return true;
}

/* Somewhere in the segments that are full, the zeros behind their last entries included. Sometimes what the others
 * send to help comes garbled for a while. */
static bool sealed_flip_begin(struct fault *fault)
{
    struct node *node = victim();
    struct seen *seen = &node->seen;
    uint64_t known = seen->last < history_last() ? seen->last : history_last();
    uint64_t first, end, pos;
    char path[64];

    if (node->wiped || node->stays_down || known <= seen->base + 1) {
        return false;
    }
    first = seen->poss[seen->base + 1];
    end = seen->poss[known] - seen->poss[known] % plan->segment_bytes;
    if (first >= end) {
        return false;
    }
    fault->node = node;
    pos = rng_between(&rng, first, end - 1);
    if (seen->applied < known && pos >= seen->poss[seen->applied + 1]) {
        return false; /* a member that applies what has just gone bad stops, and rightly so */
    }
    snprintf(path, sizeof(path), CLUSTER_LOG_DIR "/log/%020" PRIu64, pos - pos % plan->segment_bytes);
    if (disk_flip(machine_disk(node->machine), path, pos % plan->segment_bytes,
                  (uint8_t)(1u << rng_below(&rng, 8))) != 0) {
        return false; /* its log begins later */
    }
    node->damaged = true;
    fault->other = rng_below(&rng, 3) == 0;
    for (uint32_t i = 0; fault->other && i < cluster_size(); i++) {
        if (&nodes[i] != node) {
            link_of(&nodes[i], node)->corrupt_ppm = (uint32_t)rng_between(&rng, 100000, 500000);
        }
    }
    return true;
}

static void sealed_flip_end(struct fault *fault)
{
    for (uint32_t i = 0; fault->other && i < cluster_size(); i++) {
        if (&nodes[i] != fault->node) {
            link_of(&nodes[i], fault->node)->corrupt_ppm = 0;
        }
    }
}

/* ---- clocks ---- */

static bool jump_begin(struct fault *fault)
{
    int64_t by = (int64_t)rng_below(&rng, 7200 * NS_PER_S) - (int64_t)(3600 * NS_PER_S);

    (void)fault;
    machine_jump_wall(any_node()->machine, by);
    return true;
}

static bool drift_begin(struct fault *fault)
{
    fault->node = any_node();
    machine_set_drift(fault->node->machine, (int32_t)rng_below(&rng, 100000) - 50000);
    return true;
}

static void drift_end(struct fault *fault)
{
    machine_set_drift(fault->node->machine, 0);
}

/* ---- members ---- */

static bool transfer_begin(struct fault *fault)
{
    struct node *leader = cluster_leader();

    (void)fault;
    if (leader == NULL || process_paused(leader->process)) {
        return false;
    }
    operator_transfer(leader, rng_below(&rng, 2) == 0 ? 0 : any_node()->id);
    return true;
}

static uint64_t transfer_step(struct fault *fault)
{
    (void)transfer_begin(fault);
    return rng_between(&rng, NS_PER_MS, 600 * NS_PER_MS);
}

/* Members whose directory is not the one that the group counts on, or will not come back. */
static uint32_t members_out(void)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < cluster_size(); i++) {
        n += nodes[i].wiped || nodes[i].damaged || nodes[i].stays_down;
    }
    return n;
}

/* One of a minority loses its disk as a whole, or two at once where they are a minority. */
static bool wipe_begin(struct fault *fault)
{
    struct node *node = victim();
    uint32_t minority = plan->spares != 0 ? 1 : (plan->nodes - 1) / 2;

    (void)fault;
    if (members_out() >= minority || !machine_has_power(node->machine) || history_last() < 2 || node->wiped ||
        node->damaged || node->stays_down || node->wish != WISH_NONE || !operator_is_voter(node)) {
        return false;
    }
    operator_replace_disk(node);
    if (members_out() > 1) {
        mark(MARK_WIPED_TWO);
    }
    return true;
}

static bool add_begin(struct fault *fault)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (nodes[i].absent && operator_add(&nodes[i], rng_below(&rng, 2) == 0)) {
            fault->node = &nodes[i];
            return true;
        }
    }
    return false;
}

static bool remove_begin(struct fault *fault)
{
    fault->node = rng_below(&rng, 3) == 0 ? cluster_leader() : any_node();
    return fault->node != NULL && operator_remove(fault->node);
}

/* ---- the table ---- */

static const struct kind kinds[FAULT_KINDS] = {
    [FAULT_KILL] = {"kill", MARK_KILL, 0, 0, kill_begin},
    [FAULT_KILL_LEADER] = {"kill-leader", MARK_KILL_LEADER, 0, 0, kill_leader_begin},
    [FAULT_POWER_ONE] = {"power-one", MARK_POWER_ONE, 100, 8000, power_one_begin, NULL, power_one_end},
    [FAULT_POWER_ALL] = {"power-all", MARK_POWER_ALL, 100, 2000, power_all_begin, NULL, power_all_end},
    [FAULT_PAUSE] = {"pause", MARK_PAUSE, 20, 6000, pause_begin, NULL, pause_end},
    [FAULT_RESTART] = {"restart", MARK_RESTART, 0, 0, restart_begin},
    [FAULT_AT_MOMENT] = {"at-moment", MARK_TRAP_SET, 0, 0, at_moment_begin},
    [FAULT_PARTITION] = {"partition", MARK_PARTITION, 100, 8000, partition_begin, NULL, all_links_end},
    [FAULT_LEADER_CUT_OFF] = {"leader-cut-off", MARK_LEADER_CUT_OFF, 100, 8000, leader_cut_begin, NULL,
                              leader_cut_end},
    [FAULT_ONE_WAY] = {"one-way", MARK_ONE_WAY, 100, 8000, one_way_begin, NULL, one_way_end},
    [FAULT_FLAPPING] = {"flapping", MARK_FLAPPING, 500, 8000, pick_link, flapping_step, one_way_end},
    [FAULT_SLOW_LINKS] = {"slow-links", MARK_SLOW_LINKS, 500, 8000, slow_links_begin, NULL, links_good_end},
    [FAULT_RESETS] = {"resets", MARK_RESETS, 100, 4000, always, resets_step, NULL},
    [FAULT_CORRUPT_LINK] = {"corrupt-link", MARK_CORRUPT_LINK, 200, 4000, corrupt_begin, NULL, corrupt_end},
    [FAULT_ACCEPTS] = {"accepts", MARK_ACCEPTS_FAILED, 0, 0, accepts_begin},
    [FAULT_DISK_HUNG] = {"disk-hung", MARK_DISK_HUNG, 100, 9000, hung_begin, NULL, hung_end},
    [FAULT_DISK_SLOW] = {"disk-slow", MARK_DISK_SLOW, 500, 9000, slow_disk_begin, NULL, disk_good_end},
    [FAULT_WRITE_FAILS] = {"write-fails", MARK_WRITE_FAILED, 0, 0, write_fails_begin},
    [FAULT_DISK_FULL] = {"disk-full", MARK_DISK_FULL, 500, 9000, full_begin, full_step, full_end},
    [FAULT_META_FLIP] = {"meta-flip", MARK_META_FLIPPED, 0, 0, meta_flip_begin},
    [FAULT_LOG_FLIP] = {"log-flip", MARK_LOG_FLIPPED, 0, 0, log_flip_begin},
    [FAULT_SNAPSHOT_FLIP] = {"snapshot-flip", MARK_SNAPSHOT_FLIPPED, 0, 0, snapshot_flip_begin},
    [FAULT_MISDIRECT] = {"misdirect", MARK_MISDIRECTED, 0, 0, misdirect_begin},
    [FAULT_CLOCK_JUMP] = {"clock-jump", MARK_CLOCK_JUMPED, 0, 0, jump_begin},
    [FAULT_CLOCK_DRIFT] = {"clock-drift", MARK_CLOCK_DRIFTED, 1000, 20000, drift_begin, NULL, drift_end},
    [FAULT_SLOW_PROCESSOR] = {"slow-processor", MARK_SLOW_PROCESSOR, 500, 8000, slow_processor_begin, NULL,
                              slow_processor_end},
    [FAULT_TRANSFER] = {"transfer", MARK_TRANSFER, 0, 0, transfer_begin},
    [FAULT_TRANSFER_STORM] = {"transfer-storm", MARK_TRANSFER_STORM, 500, 6000, always, transfer_step, NULL},
    [FAULT_ADD] = {"add", MARK_ADD, 0, 0, add_begin},
    [FAULT_REMOVE] = {"remove", MARK_REMOVE, 0, 0, remove_begin},
    [FAULT_WIPE] = {"wipe", MARK_WIPED, 0, 0, wipe_begin},
    [FAULT_SEALED_FLIP] = {"sealed-flip", MARK_SEALED_FLIPPED, 500, 5000, sealed_flip_begin, NULL, sealed_flip_end},
};

bool fault_is_offered(enum fault_kind kind)
{
    return kinds[kind].begin != NULL && (kinds[kind].offered == NULL || kinds[kind].offered());
}

bool fault_repeats(enum fault_kind kind)
{
    return kind != FAULT_META_FLIP && kind != FAULT_LOG_FLIP && kind != FAULT_WIPE && kind != FAULT_ADD &&
           kind != FAULT_REMOVE && kind != FAULT_MISDIRECT && kind != FAULT_AT_MOMENT;
}

const char *fault_name(enum fault_kind kind)
{
    return kinds[kind].name;
}

/* ---- striking ---- */

static void end_fault(struct fault *fault)
{
    world_cancel(&fault->event);
    world_tracef("fault ends: %s", kinds[fault->kind].name);
    if (kinds[fault->kind].end != NULL) {
        kinds[fault->kind].end(fault);
    }
    fault->end_ns = 0;
}

static void on_event(struct world_event *event)
{
    struct fault *fault = container_of(event, struct fault, event);
    uint64_t wait;

    if (world_now() >= fault->end_ns || kinds[fault->kind].step == NULL) {
        end_fault(fault);
        return;
    }
    wait = kinds[fault->kind].step(fault);
    world_at(&fault->event, world_now() + wait < fault->end_ns ? world_now() + wait : fault->end_ns, on_event);
}

void nemesis_strike(enum fault_kind kind)
{
    const struct kind *of = &kinds[kind];
    struct fault *fault = NULL;

    for (uint32_t i = 0; i < UNDER_WAY_MAX; i++) {
        fault = faults[i].end_ns == 0 ? &faults[i] : fault;
    }
    if (fault == NULL) {
        return;
    }
    *fault = (struct fault){.kind = kind};
    if (!of->begin(fault)) {
        return;
    }
    struck++;
    if (kind != FAULT_WRITE_FAILS) {
        mark(of->mark);
    }
    world_tracef("fault: %s at member %u", of->name, fault->node != NULL ? fault->node->id : 0);
    if (of->max_ms != 0) {
        /* Short ones are as likely as long ones. */
        uint64_t long_ms = rng_between(&rng, of->min_ms, of->max_ms);
        uint64_t ms = rng_below(&rng, 2) == 0 ? long_ms : of->min_ms + (long_ms - of->min_ms) / 8;

        fault->end_ns = world_now() + ms * NS_PER_MS;
        world_at(&fault->event, of->step != NULL ? world_now() : fault->end_ns, on_event);
    }
}

static void on_next(struct world_event *event)
{
    uint32_t n = 0, chosen;
    uint32_t kind;

    for (uint32_t k = 0; k < FAULT_KINDS; k++) {
        n += plan->faults[k];
    }
    if (healing || n == 0) {
        return;
    }
    chosen = (uint32_t)rng_below(&rng, n);
    for (kind = 0; !plan->faults[kind] || chosen-- > 0; kind++) {
    }
    nemesis_strike(kind);
    world_at(event, world_now() + rng_below(&rng, 2 * plan->fault_gap_ms * NS_PER_MS), on_next);
}

void nemesis_open(const struct plan *of)
{
    plan = of;
    struck = 0;
    healing = false;
    memset(faults, 0, sizeof(faults));
    rng_seed(&rng, plan->seed, 6);
    world_at(&next, world_now() + plan->fault_gap_ms * NS_PER_MS, on_next);
}

uint32_t nemesis_faults(void)
{
    return struck;
}

void nemesis_heal(void)
{
    healing = true;
    trap.set = false;
    world_cancel(&trap.event);
    world_cancel(&next);
    for (uint32_t i = 0; i < UNDER_WAY_MAX; i++) {
        if (faults[i].end_ns != 0) {
            end_fault(&faults[i]);
        }
    }
    cluster_good_links();
    operator_rest();
    for (uint32_t i = 0; i < cluster_size(); i++) {
        struct disk *disk = machine_disk(nodes[i].machine);

        cluster_good_disk(&nodes[i]);
        disk_fail_in(disk, DISK_WRITE, 0, 0);
        disk_fail_in(disk, DISK_SYNC, 0, 0);
        cluster_power_on(&nodes[i]);
        /* A start finds what is rotten and fetches it; what was written to another place is not always found. */
        if (nodes[i].damaged && nodes[i].process != NULL && process_alive(nodes[i].process)) {
            process_kill(nodes[i].process);
        }
    }
}

void nemesis_close(void)
{
    world_cancel(&next);
    trap.set = false;
    world_cancel(&trap.event);
    for (uint32_t i = 0; i < UNDER_WAY_MAX; i++) {
        world_cancel(&faults[i].event);
    }
    struck = 0;
}
