/* Scripts about snapshots and the log's beginning. */
#include "tests/sim/scenarios/scenarios.h"
#include "tests/sim/scenarios/script.h"

#include "tests/sim/history.h"
#include "tests/sim/invariants.h"

#include <inttypes.h>
#include <stdio.h>

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

static bool has_snapshot(void *data)
{
    const struct node *node = data;
    const struct snapshot_info *newest = node->run != NULL ? snapshots_newest(node->run->log->state.snapshots) : NULL;

    return newest != NULL && newest->index == history_last();
}

static void zero(struct node *node, const char *path, uint64_t from, uint64_t to)
{
    struct disk *disk = machine_disk(node->machine);
    uint64_t size = 0;

    for (uint64_t at = from; at < to; at++) {
        const uint8_t *bytes = disk_file(disk, path, &size);

        if (bytes != NULL && at < size && bytes[at] != 0) {
            (void)disk_flip(disk, path, at, bytes[at]);
        }
    }
}

/* What the log has from entry @index on turns to zeros, as if it had never been written, and so does the mark. */
static bool lose_end(struct node *node, uint64_t index)
{
    uint64_t bytes = cluster_plan->segment_bytes;
    uint64_t pos = node->seen.poss[index];
    char path[64];

    if (node->seen.last <= index || node->seen.poss[node->seen.last] / bytes != pos / bytes) {
        world_fail("scenario: nothing to lose");
        return false;
    }
    process_kill(node->process);
    node->damaged = true;
    snprintf(path, sizeof(path), CLUSTER_LOG_DIR "/log/%020" PRIu64, pos - pos % bytes);
    zero(node, path, pos % bytes, bytes);
    zero(node, CLUSTER_LOG_DIR "/commit-mark", 0, 8192);
    return true;
}

/* G is away while L and F commit entries, of which F takes a snapshot. Then L is away, and F's disk has nothing of
 * those entries any more, as after a power cut before their sync. F and G must elect nobody until L is back. */
void scenario_snapshot_evidence(void)
{
    struct three n;
    uint64_t before, last;

    if (!run_until_leader(5 * NS_PER_S) || !script_three(&n) || !run_for(NS_PER_S)) {
        return;
    }
    script_isolate(n.g);
    before = history_last();
    if (!script_send(n.l, 40, NS_PER_MS) || !run_for(NS_PER_S)) {
        return;
    }
    (void)process_call(n.f->process, take_one, n.f);
    if (!run_until(has_snapshot, n.f, 5 * NS_PER_S, "a snapshot of all that is committed")) {
        return;
    }
    last = history_last();
    n.l->stays_down = true;
    process_kill(n.l->process);
    if (!lose_end(n.f, before + 5)) {
        return;
    }
    script_heal_all();
    if (!run_for(20 * NS_PER_S)) {
        return;
    }
    if (cluster_leader() != NULL || history_last() != last) {
        world_fail("lost: a leader without entries that a snapshot stands for");
        return;
    }
    n.l->stays_down = false;
    cluster_start(n.l);
    script_end();
}

static bool all_up(void *data)
{
    (void)data;
    for (uint32_t i = 0; i < cluster_size(); i++) {
        if (!cluster_is_up(&nodes[i]) || nodes[i].run->log->driver.core == NULL ||
            nodes[i].run->log->driver.applied < history_last()) {
            return false;
        }
    }
    return cluster_leader() != NULL;
}

/* Entries are flushed late; all members take a snapshot of the newest ones and lose their power. What only lost ends
 * held is gone, and others take its place. No snapshot may stand for what is gone. */
void scenario_snapshot_late(void)
{
    struct three n;

    for (uint32_t round = 0; round < 25; round++) {
        if (!run_until_leader(30 * NS_PER_S) || !run_for(NS_PER_S) || !script_three(&n) ||
            !script_send(n.l, 30, NS_PER_MS)) {
            return;
        }
        for (uint32_t i = 0; i < cluster_size(); i++) {
            (void)process_call(nodes[i].process, take_one, &nodes[i]);
        }
        if (!run_for(60 * NS_PER_MS)) {
            return;
        }
        invariants_forgive();
        for (uint32_t i = 0; i < cluster_size(); i++) {
            machine_power_off(nodes[i].machine);
        }
        for (uint32_t i = 0; i < cluster_size(); i++) {
            cluster_power_on(&nodes[i]);
        }
        if (!run_until_leader(30 * NS_PER_S) || !script_three(&n) || !script_send(n.l, 100, NS_PER_MS) ||
            !run_for(NS_PER_S)) {
            return;
        }
        for (uint32_t i = 0; i < cluster_size(); i++) {
            process_kill(nodes[i].process);
        }
        if (!run_until(all_up, NULL, 30 * NS_PER_S, "all members after one more start")) {
            return;
        }
    }
}
