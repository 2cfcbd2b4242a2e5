/* A seed: the group is founded -> clients and faults -> everything is healed -> a leader, a commit, all members level
 * and equal, every outcome accounted for. */
#include "tests/sim/run.h"

#include "tests/sim/invariants.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/operator.h"
#include "tests/sim/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FOUNDING_NS (30 * NS_PER_S)
#define LEADER_NS (10 * NS_PER_S)
#define COMMIT_NS (10 * NS_PER_S)
#define FAULTS_NS_MAX (600 * NS_PER_S)
#define MORE_NS (240 * NS_PER_S)
#define DELIVERY_NS (30 * NS_PER_S)
#define LEVEL_NS (60 * NS_PER_S)
#define STEP_NS (NS_PER_S)
#define REST_NS (20 * NS_PER_MS) /* for what follows from the last entry */

bool run_for(uint64_t ns)
{
    return world_run_until(world_now() + ns);
}

bool run_until(bool (*is)(void *data), void *data, uint64_t ns, const char *what)
{
    uint64_t end = world_now() + ns;

    while (!is(data)) {
        if (cluster_is_lost()) {
            return false;
        }
        if (world_now() >= end) {
            world_fail("liveness: not in %" PRIu64 " ms: %s", ns / NS_PER_MS, what);
            return false;
        }
        if (!run_for(10 * NS_PER_MS)) {
            return false;
        }
    }
    return world_failure() == NULL;
}

static bool has_leader(void *data)
{
    (void)data;
    return cluster_leader() != NULL;
}

bool run_until_leader(uint64_t ns)
{
    return run_until(has_leader, NULL, ns, "a leader that may write");
}

struct probe {
    struct op *op;
    uint64_t since_ns;
};

static bool is_committed(void *data)
{
    struct probe *probe = data;
    struct node *leader = cluster_leader();

    if (probe->op != NULL && probe->op->outcome == OP_ACKED) {
        return true;
    }
    if (leader != NULL &&
        (probe->op == NULL || probe->op->outcome != OP_WAITING || world_now() - probe->since_ns > 2 * NS_PER_S)) {
        *probe = (struct probe){workload_probe(leader), world_now()};
    }
    return false;
}

bool run_until_committed(uint64_t ns)
{
    struct probe probe = {0};

    return run_until(is_committed, &probe, ns, "an acknowledged message");
}

/* Everybody who is a member: has all that is committed, applied and on its disk, from where the group's log begins.
 */
static bool is_level_node(const struct node *node)
{
    const struct driver *driver;

    if (!cluster_is_up(node) || !operator_is_member(node) || node->wish != WISH_NONE) {
        return false;
    }
    driver = &node->run->log->driver;
    return commitlog_start_pos(driver->options.log) <= history_log_start() && driver->applied == history_last() &&
           commitlog_synced_index(driver->options.log) == history_last();
}

static bool is_level(void *data)
{
    const struct membership *members = history_membership();
    uint32_t voters = 0;

    (void)data;
    for (uint32_t i = 0; i < members->n; i++) {
        const struct node *node = &nodes[members->members[i].id - 1];

        if (node->stays_down) {
            continue;
        }
        if (!is_level_node(node)) {
            return false;
        }
        voters += members->members[i].role == MEMBER_VOTER;
    }
    return voters > membership_voters(members) / 2;
}

bool run_until_level(uint64_t ns)
{
    /* What is not sure to be committed gets an end by a message behind it. */
    if (!run_until(is_level, NULL, ns, "all members level") || !run_for(REST_NS) ||
        !run_until(is_level, NULL, ns, "all members level still")) {
        return false;
    }
    invariants_equal();
    return world_failure() == NULL;
}

static bool is_quiet(void *data)
{
    (void)data;
    return workload_under_way() == 0;
}

static bool has_commits(void *data)
{
    const struct plan *plan = data;

    return history_commands() >= plan->commits_min;
}

/* ---- power of several at once, with late flush: what is promised then is that the best of what is left counts ----
 */

/* How far a machine still has what was committed, without a gap. */
static uint64_t end_of(const struct node *node)
{
    uint64_t end = history_last();

    for (uint64_t index = end; index > node->seen.base; index--) {
        if (!invariants_holds(node, index)) {
            end = index - 1;
        }
    }
    return end;
}

static bool all_agree(void *data)
{
    uint64_t best = *(const uint64_t *)data;
    const struct node *leader = cluster_leader();
    uint64_t last = leader != NULL ? commitlog_last_index(leader->run->log->commitlog) : 0;

    for (uint32_t i = 0; leader != NULL && i < cluster_size(); i++) {
        const struct node *node = &nodes[i];
        struct commitlog_entry entry;

        if (!operator_is_member(node) || node->stays_down) {
            continue;
        }
        if (!cluster_is_up(node) || node->run->log->meta.claim.index != 0 || node->run->log->driver.applied != last ||
            commitlog_durable_index(node->run->log->commitlog) != last) {
            return false;
        }
        if (best >= commitlog_first_index(node->run->log->commitlog) &&
            (commitlog_get(node->run->log->commitlog, best, &entry) != 0 ||
             entry.header.crc != history_at(best)->crc)) {
            world_fail("lost: entry %" PRIu64
                       " was held by a member behind a loss of power, member %u does not have it",
                       best, node->id);
            return true;
        }
    }
    return leader != NULL;
}

/* Sends so many messages to whoever leads. */
static bool send_some(uint32_t n)
{
    for (uint32_t k = 0; k < n; k++) {
        struct node *leader = cluster_leader();

        if (leader != NULL) {
            (void)workload_probe(leader);
        }
        if (!run_for(NS_PER_MS)) {
            return false;
        }
    }
    return true;
}

static void take_snapshot(void *data)
{
    const struct node *node = data;

    if (node->run != NULL) {
        (void)rlog_snapshot(node->run->log);
    }
}

/* In every other seed they are of entries that were just written. */
static void take_snapshots(const struct plan *plan)
{
    for (uint32_t i = 0; plan->seed % 2 == 0 && i < cluster_size(); i++) {
        if (nodes[i].process != NULL) {
            (void)process_call(nodes[i].process, take_snapshot, &nodes[i]);
        }
    }
}

/* What else is on the disks must be of one piece with the entries that took the place of the lost ones. */
static bool start_again(uint64_t best)
{
    if (!send_some(100)) {
        return false;
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (nodes[i].process != NULL && operator_is_member(&nodes[i])) {
            process_kill(nodes[i].process);
        }
    }
    return run_until(all_agree, &best, LEVEL_NS, "all members agree after one more start");
}

static bool lose_many(const struct plan *plan)
{
    uint64_t best = 0, last;
    uint32_t n = 0;

    if (!send_some(20)) {
        return false;
    }
    take_snapshots(plan);
    if (!send_some(20)) {
        return false;
    }
    invariants_forgive();
    last = history_last();
    for (uint32_t i = 0; i < cluster_size() && n < plan->lost_last; i++) {
        if (operator_is_member(&nodes[i])) {
            machine_power_off(nodes[i].machine);
            n++;
        }
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        uint64_t end = operator_is_voter(&nodes[i]) ? end_of(&nodes[i]) : 0;

        best = end > best ? end : best;
    }
    if (best < last) {
        mark(MARK_LOST_ENTRIES);
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        struct node *node = &nodes[i];

        /* A learner that kept more than any voter stops as soon as the voters go on without it, and rightly so. */
        node->stays_down = node->stays_down || (operator_is_member(node) && !operator_is_voter(node) && best < last &&
                                                end_of(node) > best);
        if (node->stays_down) {
            machine_power_off(node->machine);
        } else {
            cluster_power_on(node);
        }
    }
    if (!run_until(all_agree, &best, LEVEL_NS, "all members agree behind a loss of power")) {
        return false;
    }
    mark(MARK_LOST_MANY);
    return start_again(best);
}

static bool none_waits(void *data)
{
    (void)data;
    return !history_waits(NULL);
}

bool run_until_delivered(void)
{
    int64_t due_ms;

    if (!history_waits(&due_ms)) {
        return true;
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        int64_t wall_ns = machine_wall_ns(nodes[i].machine);

        if (wall_ns < due_ms * (int64_t)NS_PER_MS) {
            machine_jump_wall(nodes[i].machine, due_ms * (int64_t)NS_PER_MS - wall_ns);
        }
    }
    return run_until(none_waits, NULL, DELIVERY_NS, "all messages that waited are delivered");
}

static void seed_script(void)
{
    const struct plan *plan = cluster_plan;

    workload_open(plan);
    nemesis_open(plan);
    while (world_now() < plan->faults_until_ns || nemesis_faults() < plan->faults_min) {
        if (!run_for(STEP_NS) || cluster_is_lost() || world_now() >= FAULTS_NS_MAX) {
            return; /* too_short says so */
        }
    }
    nemesis_heal();
    if (run_until_leader(LEADER_NS) && run_until_committed(COMMIT_NS) &&
        run_until(has_commits, (void *)plan, MORE_NS, "as many commits as the plan wants")) {
        workload_stop();
        if (run_until(is_quiet, NULL, LEVEL_NS, "all operations ended") && run_until_committed(COMMIT_NS) &&
            run_until_delivered() && run_until_committed(COMMIT_NS) && run_until_level(LEVEL_NS)) {
            history_check_end();
            if (plan->lost_last != 0 && world_failure() == NULL) {
                (void)lose_many(plan);
            }
        }
    }
}

static void note_disks(void)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        const struct disk_stats *stats = disk_stats(machine_disk(nodes[i].machine));

        if (stats->sectors_lost != 0) {
            mark(MARK_SECTORS_LOST);
        }
        if (stats->sectors_kept != 0) {
            mark(MARK_SECTORS_KEPT);
        }
        if (stats->zeroed != 0) {
            mark(MARK_RECYCLED);
        }
        if (stats->names_lost != 0) {
            mark(MARK_NAMES_LOST);
        }
    }
}

/* What a leader thinks of the others. */
static void trace_peers(const struct node *node)
{
    const struct rlog *log = node->run->log;

    for (uint32_t i = 0; log->peers != NULL && i < log->peers->n; i++) {
        const struct peer *peer = &log->peers->list[i];

        world_tracef("   member %u: control %d bulk %d match %" PRIu64 " sent %" PRIu64 " to %" PRIu64
                     " wanted %" PRIu64,
                     peer->id, peer_is_up(peer, PEER_CONTROL), peer_is_up(peer, PEER_BULK),
                     core_match(log->driver.core, peer->id), peer->sent.first, peer->sent.next, peer->sent.wanted);
    }
}

/* Behind a failure: what each member was about. */
static void trace_members(void)
{
    for (uint32_t i = 0; i < cluster_size(); i++) {
        const struct node *node = &nodes[i];
        const struct driver *driver;

        if (!cluster_is_up(node)) {
            world_tracef("member %u: down%s", node->id, node->damaged ? ", its disk lost something" : "");
            continue;
        }
        driver = &node->run->log->driver;
        world_tracef("member %u: role %d term %" PRIu64 " leader %u last %" PRIu64 " of term %" PRIu64
                     " durable %" PRIu64 " commit %" PRIu64 " applied %" PRIu64 "%s",
                     node->id, driver->core != NULL ? (int)core_role(driver->core) : -1,
                     driver->core != NULL ? core_term(driver->core) : 0,
                     driver->core != NULL ? core_leader(driver->core) : 0, node->seen.last, node->seen.last_term,
                     commitlog_durable_index(driver->options.log), driver->commit, driver->applied,
                     process_paused(node->process) ? ", paused"
                     : driver->transfer != NULL    ? ", hands over"
                     : driver->core != NULL && core_role(driver->core) == RLOG_LEADING &&
                             !core_can_submit(driver->core)
                         ? ", its core hands over"
                         : "");
        if (driver->core != NULL && core_role(driver->core) == RLOG_LEADING) {
            trace_peers(node);
        }
        world_tracef("   waiting %u, %u of them not taken, unread %" PRIu64 ", clock %" PRId64 " ms",
                     node->run->state.pending.count, node->run->state.pending.heaped,
                     node->run->flows.pending.stats.unread, machine_wall_ns(node->machine) / (int64_t)NS_PER_MS);
        world_tracef("   a member %d, wish %d, holds from %" PRIu64 ", synced %" PRIu64, operator_is_member(node),
                     (int)node->wish, commitlog_start_pos(driver->options.log),
                     commitlog_synced_index(driver->options.log));
    }
    world_tracef("committed %" PRIu64 ", the log begins at %" PRIu64, history_last(), history_log_start());
}

void run_plan(const struct plan *plan, void (*script)(void), struct run_result *out)
{
    memset(out, 0, sizeof(*out));
    out->seed = plan->seed;
    world_open(plan->seed);
    history_reset();
    invariants_reset();
    marks_reset();
    cluster_open(plan);
    operator_open(plan);
    if (run_until_leader(FOUNDING_NS)) {
        script();
    }
    note_disks();
    out->ok = world_failure() == NULL;
    if (!out->ok) {
        trace_members();
    }
    snprintf(out->failure, sizeof(out->failure), "%s", out->ok ? "" : world_failure());
    out->lost = cluster_is_lost();
    out->trace_hash = world_trace_hash();
    out->events = world_events();
    out->simulated_ns = world_now();
    out->commits = history_commands();
    out->faults = nemesis_faults();
    out->acked = workload_acked();
    for (uint32_t i = 0; i < MARKS; i++) {
        out->marks[i] = mark_count(i);
    }
    nemesis_close();
    operator_close();
    workload_close();
    cluster_close();
    world_close();
}

/* What a seed shows is worth as much as what happened in it. */
static void check_size(const struct plan *plan, struct run_result *out)
{
    if (!out->ok || (out->simulated_ns >= plan->faults_until_ns && out->commits >= plan->commits_min &&
                     out->faults >= plan->faults_min)) {
        return;
    }
    out->ok = false;
    snprintf(out->failure, sizeof(out->failure),
             "short: %.1f s, %" PRIu64 " committed entries, %" PRIu64 " faults; a seed has %.0f s, %" PRIu64
             " and %u at least%s",
             (double)out->simulated_ns / 1e9, out->commits, out->faults, (double)plan->faults_until_ns / 1e9,
             plan->commits_min, plan->faults_min, out->lost ? ": a majority of the disks is out for good" : "");
}

void run_seed(uint64_t seed, struct run_result *out)
{
    struct plan plan;

    plan_draw(&plan, seed);
    run_plan(&plan, seed_script, out);
    check_size(&plan, out);
}
