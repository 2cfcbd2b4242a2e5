/* Scripts about disks and power. */
#include "tests/sim/scenarios/scenarios.h"
#include "tests/sim/scenarios/script.h"

#include "tests/sim/history.h"
#include "tests/sim/operator.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static bool other_leads(void *data)
{
    const struct node *leader = cluster_leader();

    return leader != NULL && leader != data;
}

/* The leader's disk ends no sync any more. It may go on a while, as the others are a majority, but it must give way.
 */
void scenario_slow_leader_disk(void)
{
    struct three n;

    workload_open(cluster_plan);
    if (!run_for(2 * NS_PER_S) || !run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    disk_manner(machine_disk(n.l->machine))->hung = true;
    if (!run_until(other_leads, n.l, 20 * NS_PER_S, "another leader than the one whose disk hangs") ||
        !run_until_committed(5 * NS_PER_S) || !run_for(5 * NS_PER_S)) {
        return;
    }
    disk_manner(machine_disk(n.l->machine))->hung = false;
    workload_stop();
    script_end();
}

/* G is away; L and F acknowledge; F loses power and comes back; L is away, G is back: F and G must still have all. */
void scenario_rejoin_after_power_cut(void)
{
    struct three n;

    for (uint32_t round = 0; round < 5; round++) {
        if (!run_until_leader(10 * NS_PER_S) || !script_three(&n)) {
            return;
        }
        process_pause(n.g->process);
        if (!script_send(n.l, 100, NS_PER_MS)) {
            return;
        }
        machine_power_off(n.f->machine);
        cluster_power_on(n.f);
        process_pause(n.l->process);
        process_resume(n.g->process);
        if (!run_until(other_leads, n.l, 30 * NS_PER_S, "a leader of the two that are left") ||
            !run_for(2 * NS_PER_S)) {
            return;
        }
        process_resume(n.l->process);
        if (!run_until_committed(20 * NS_PER_S) || !run_until_level(30 * NS_PER_S)) {
            return;
        }
    }
    script_end();
}

void scenario_restarts(void)
{
    workload_open(cluster_plan);
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < cluster_size(); i++) {
            if (round % 2 == 0) {
                cluster_stop_in_order(&nodes[i]);
            } else if (nodes[i].process != NULL) {
                process_kill(nodes[i].process);
            }
        }
        if (!run_for(NS_PER_S)) {
            return;
        }
    }
    if (run_until_leader(10 * NS_PER_S) && run_for(2 * NS_PER_S)) {
        workload_stop();
        script_end();
    }
}

/* Sends are refused or end unknown while there is no space; nothing acknowledged is lost; space heals it. */
void scenario_disks_full(void)
{
    workload_open(cluster_plan);
    if (!run_for(3 * NS_PER_S)) {
        return;
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        struct disk *disk = machine_disk(nodes[i].machine);

        cluster_excuse(&nodes[i], UINT64_MAX);
        disk_set_capacity(disk, disk_used(disk) + 64u * 1024 * i);
    }
    if (!run_for(20 * NS_PER_S)) {
        return;
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        disk_set_capacity(machine_disk(nodes[i].machine), 0);
        nodes[i].room_ns = world_now();
    }
    if (run_until_committed(5 * NS_PER_S) && run_for(6 * NS_PER_S)) {
        workload_stop();
        script_end();
    }
}

static void set_room(struct node *node, uint64_t free_bytes)
{
    struct disk *disk = machine_disk(node->machine);

    disk_set_capacity(disk, free_bytes == 0 ? 0 : disk_used(disk) + free_bytes);
    node->room_ns = free_bytes == 0 ? world_now() : 0;
}

static uint64_t start_wanted;

/* The group's log begins there, and the segments in front are gone from all disks. */
static bool starts_late(void *data)
{
    (void)data;
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (!cluster_is_up(&nodes[i]) || commitlog_start_pos(nodes[i].run->log->commitlog) < start_wanted) {
            return false;
        }
    }
    return true;
}

/* Whether something of each kind lies below. */
static bool is_pending(const struct state *state, uint64_t pos)
{
    uint32_t waiting = 0, halves = 0;

    for (uint32_t i = 0; i < state->pending.rows; i++) {
        const struct pending_row *row = pending_table_at(&state->pending, i);

        waiting += row != NULL && row->pos < pos;
    }
    for (const struct half *half = state->halves.by_pos; half != NULL; half = half->hh.next) {
        halves += half->record_pos < pos;
    }
    return waiting != 0 && halves != 0 && state->pops.count != 0;
}

/* Records are refused, and only retention can make room. What it has to append again for that it gets from the
 * reserve, so the log becomes as short as it may be while the disks stay low; and nothing that is pending is lost. */
void scenario_low_with_pending(void)
{
    uint64_t end_pos;
    struct three n;
    struct op *op;

    for (uint32_t i = 0; i < cluster_size(); i++) {
        nodes[i].run->flows.half.rules.timeout_ms = 60000; /* those whose producers have vanished stay open */
    }
    workload_open(cluster_plan);
    if (!run_for(20 * NS_PER_S) || !run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        set_room(&nodes[i], 40u << 20);
        nodes[i].run->flows.retention.rules.bytes_max = 2 * cluster_plan->segment_bytes;
    }
    end_pos = n.l->run->log->driver.applied_pos;
    start_wanted = end_pos - end_pos % cluster_plan->segment_bytes - cluster_plan->segment_bytes;
    if (end_pos < 6 * cluster_plan->segment_bytes || !is_pending(&n.l->run->state, start_wanted)) {
        world_fail("scenario: the log is short, or nothing is pending");
        return;
    }
    if (!run_for(3 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    op = workload_send(n.l, 32);
    if (!run_until(starts_late, NULL, 120 * NS_PER_S, "a log that begins where retention wants it to")) {
        return;
    }
    if (op == NULL || op->outcome != OP_REFUSED || rlog_space_level(n.l->run->log) != RLOG_SPACE_LOW) {
        world_fail("scenario: the disks were not low");
        return;
    }
    for (uint32_t i = 0; i < cluster_size(); i++) {
        set_room(&nodes[i], 0);
    }
    if (run_until_committed(5 * NS_PER_S) && run_for(6 * NS_PER_S)) {
        workload_stop();
        if (run_until_delivered()) {
            script_end();
        }
    }
}

static void follower_disk(struct node *node, uint64_t capacity)
{
    struct disk *disk = machine_disk(node->machine);

    cluster_excuse(node, UINT64_MAX);
    disk_set_capacity(disk, capacity == 0 ? 0 : disk_used(disk) + capacity);
    node->room_ns = capacity == 0 ? world_now() : 0;
}

/* With room on the leader's disk alone nothing can be committed: what is sent is refused at once, and not left
 * waiting for those that cannot take it. */
void scenario_followers_full(void)
{
    struct rlog_space space;
    struct three n;
    struct op *op;

    if (!run_until_leader(5 * NS_PER_S) || !script_three(&n) || !script_send(n.l, 20, NS_PER_MS)) {
        return;
    }
    follower_disk(n.f, 1u << 20);
    if (!run_for(3 * NS_PER_S) || !script_three(&n) || !run_until_committed(5 * NS_PER_S)) {
        return; /* one may be full */
    }
    follower_disk(n.g, 1u << 20);
    follower_disk(n.f, 1u << 20);
    if (!run_for(3 * NS_PER_S) || cluster_leader() != n.l) {
        world_fail("scenario: another leader");
        return;
    }
    op = workload_send(n.l, 32);
    if (!run_for(100 * NS_PER_MS)) {
        return;
    }
    rlog_space_get(n.l->run->log, &space);
    if (op == NULL || op->outcome != OP_REFUSED || space.member == n.l->id || space.level == RLOG_SPACE_ENOUGH) {
        world_fail("room: a message that no majority has room for is not refused");
        return;
    }
    follower_disk(n.f, 0);
    follower_disk(n.g, 0);
    if (run_until_committed(5 * NS_PER_S)) {
        script_end();
    }
}

/* The sync of a vote fails, the process ends and starts again: what it then reads may be in the page cache alone. It
 * must not speak in that term before its disk has it. */
void scenario_failed_vote_sync(void)
{
    struct three n;

    for (uint32_t round = 0; round < 12; round++) {
        struct node *node;

        if (!run_until_leader(10 * NS_PER_S) || !script_three(&n)) {
            return;
        }
        node = round % 2 == 0 ? n.f : n.g;
        cluster_excuse(node, UINT64_MAX);
        disk_fail_in(machine_disk(node->machine), DISK_SYNC, 1 + round / 2 % 3, -EIO);
        process_kill(n.l->process);
        if (!run_for(2 * NS_PER_S)) {
            return;
        }
        disk_fail_in(machine_disk(node->machine), DISK_SYNC, 0, 0);
        machine_power_off(node->machine);
        cluster_power_on(node);
        if (!run_for(NS_PER_S)) {
            return;
        }
    }
    script_end();
}

/* Takes the member down; its disk lies on @copy's machine from then on, and it has an empty one. */
static void lose_disk(struct node *node, struct node *copy)
{
    node->stays_down = true;
    process_kill(node->process);
    disk_copy(machine_disk(copy->machine), machine_disk(node->machine));
    operator_empty_disk(node);
    node->stays_down = false;
    cluster_start(node);
}

static bool stands_still(const struct node *a, const struct node *b, uint64_t last)
{
    if (history_last() != last || cluster_leader() != NULL) {
        world_fail("majority: the group goes on without two of its three directories");
        return false;
    }
    if (!cluster_is_up(a) || !cluster_is_up(b) || commitlog_last_index(a->run->log->commitlog) != 0 ||
        commitlog_last_index(b->run->log->commitlog) != 0) {
        world_fail("founding: an empty directory took part in a group that exists");
        return false;
    }
    return true;
}

/* Two of three members lose their disks at once. Nobody can lead, and the empty ones found nothing among themselves,
 * until one of the old directories is back; then the other member is replaced. */
void scenario_two_wiped(void)
{
    uint64_t last;
    struct node *a = &nodes[0], *b = &nodes[1];

    workload_open(cluster_plan);
    if (!run_for(3 * NS_PER_S)) {
        return;
    }
    workload_stop();
    if (!run_until_committed(5 * NS_PER_S) || !run_until_level(10 * NS_PER_S)) {
        return;
    }
    last = history_last();
    lose_disk(a, &nodes[3]);
    lose_disk(b, &nodes[4]);
    if (!run_for(30 * NS_PER_S) || !stands_still(a, b, last)) {
        return;
    }
    a->stays_down = true;
    process_kill(a->process);
    disk_copy(machine_disk(a->machine), machine_disk(nodes[3].machine));
    a->stays_down = false;
    cluster_start(a);
    operator_replace_disk(b);
    script_end();
}

static bool flip(struct node *node, uint64_t pos)
{
    char path[64];

    snprintf(path, sizeof(path), CLUSTER_LOG_DIR "/log/%020" PRIu64, pos - pos % cluster_plan->segment_bytes);
    node->damaged = true;
    return disk_flip(machine_disk(node->machine), path, pos % cluster_plan->segment_bytes, 0x10) == 0;
}

static uint64_t repaired_want;

static bool has_repaired(void *data)
{
    const struct node *node = data;

    return node->run != NULL && node->run->log->mender.repaired >= repaired_want && node->run->log->mender.n == 0;
}

/* A header, the ends of payloads, two neighbours, and the zeros behind the last entry of a segment. No process ends.
 */
void scenario_scrub(void)
{
    struct three n;
    uint64_t instance;
    struct seen *seen;

    workload_open(cluster_plan);
    if (!run_for(20 * NS_PER_S) || !run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    seen = &n.f->seen;
    instance = n.f->instance;
    if (seen->last < 200 || !flip(n.f, seen->poss[20] + 20) || !flip(n.f, seen->poss[31] - 9) ||
        !flip(n.f, seen->poss[50] - 9) || !flip(n.f, seen->poss[50] + 70) ||
        !flip(n.f, cluster_plan->segment_bytes - 1)) {
        world_fail("scenario: nothing to flip");
        return;
    }
    repaired_want = 4;
    if (!run_until(has_repaired, n.f, 20 * NS_PER_S, "all that was flipped is right again")) {
        return;
    }
    if (n.f->instance != instance) {
        world_fail("scrub: the member was started again");
        return;
    }
    workload_stop();
    script_end();
}

/* F is away while entries come; then one of them goes bad in the leader's copy. F refuses what it is sent, and the
 * leader has it from G. */
void scenario_rotten_leader(void)
{
    struct three n;
    uint64_t before, instance;

    if (!run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    script_isolate(n.f);
    before = n.l->seen.last;
    instance = n.l->instance;
    if (!script_send(n.l, 100, NS_PER_MS) || !run_for(NS_PER_S)) {
        return;
    }
    if (n.l->seen.last < before + 60 || !flip(n.l, n.l->seen.poss[before + 40] - 9) ||
        !flip(n.l, n.l->seen.poss[before + 50] + 20)) {
        world_fail("scenario: nothing to flip");
        return;
    }
    script_heal_all();
    repaired_want = 2;
    if (!run_until(has_repaired, n.l, 20 * NS_PER_S, "the leader has repaired its copy")) {
        return;
    }
    if (n.l->instance != instance) {
        world_fail("scrub: the leader was started again");
        return;
    }
    script_end();
}

#define BODY_AT 88 /* in a record */

static bool has_ended(void *data)
{
    return ((const struct op *)data)->ended;
}

/* A message waits, and its body goes bad in the leader's copy: it is not delivered until the leader has it from
 * another member. That it is whole then is held against what was sent. */
void scenario_rotten_waiting(void)
{
    struct three n;
    struct op *op;

    if (!run_until_leader(5 * NS_PER_S) || !script_three(&n)) {
        return;
    }
    op = workload_wait(n.l, 256, 2000);
    if (!run_for(NS_PER_S)) {
        return;
    }
    if (op == NULL || op->outcome != OP_ACKED || op->ended || !flip(n.l, op->committed_pos + BODY_AT + 100)) {
        world_fail("scenario: nothing to flip");
        return;
    }
    repaired_want = 1;
    if (run_until(has_repaired, n.l, 20 * NS_PER_S, "the leader has repaired its copy") &&
        run_until(has_ended, op, 20 * NS_PER_S, "the message is delivered")) {
        script_end();
    }
}
