#include "tests/sim/plan.h"

#include "tests/sim/history.h"
#include "tests/sim/nemesis.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void draw_group(struct plan *plan, struct rng *rng)
{
    static const uint32_t sizes[] = {3, 3, 3, 3, 3, 3, 5, 5, 4};
    static const uint32_t elections[] = {150, 300, 300, 500, 1000};
    static const uint32_t inflights[] = {4, 16, 64, 256, 256};

    plan->nodes = sizes[rng_below(rng, 9)];
    plan->spares = rng_below(rng, 2) == 0 ? 0 : (uint32_t)rng_between(rng, 1, 2);
    plan->election_ms = elections[rng_below(rng, 5)];
    plan->heartbeat_ms = plan->election_ms / (uint32_t)rng_between(rng, 3, 8);
    plan->segment_bytes = (UINT64_C(64) << 10) * rng_between(rng, 1, 4);
    plan->inflight_entries_max = inflights[rng_below(rng, 5)];
    if (rng_below(rng, 3) != 0) {
        plan->snapshot_bytes = rng_between(rng, 32u << 10, 1u << 20);
        plan->snapshot_ms = rng_between(rng, 500, 60000);
    }
    plan->inflight_bytes_max = rng_below(rng, 3) == 0 ? 256u << 10 : 16u << 20;
    plan->retention_s = (uint32_t)rng_between(rng, 1, 10);
    plan->retention_batch = (uint32_t)rng_between(rng, 1, 10);
    if (plan->snapshot_bytes != 0 && rng_below(rng, 4) != 0) {
        plan->log_bytes_max = plan->segment_bytes * rng_between(rng, 1, 8);
    }
}

/* The faults that one lost power may come on top of: those that take nothing from a disk. */
static bool goes_with_late_flush(enum fault_kind kind)
{
    return kind != FAULT_POWER_ALL && kind != FAULT_WRITE_FAILS && kind != FAULT_LOG_FLIP &&
           kind != FAULT_MISDIRECT && kind != FAULT_META_FLIP && kind != FAULT_WIPE;
}

static void draw_flush(struct plan *plan, struct rng *rng)
{
    if (rng_below(rng, 4) != 0) {
        return;
    }
    plan->flush_ms = (uint32_t)rng_between(rng, 1, rng_below(rng, 3) == 0 ? 20 : 400);
    plan->lost_last = rng_below(rng, 4) == 0 ? 0 : rng_below(rng, 3) != 0 ? NODES_MAX : 2;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        plan->faults[kind] = plan->faults[kind] && goes_with_late_flush(kind);
    }
    plan->faults[FAULT_POWER_ONE] = plan->faults[FAULT_KILL] = true;
}

static void draw_world(struct plan *plan, struct rng *rng)
{
    plan->sync_min_ns = rng_between(rng, 20 * NS_PER_US, 3 * NS_PER_MS);
    plan->sync_max_ns = plan->sync_min_ns * rng_between(rng, 1, 6);
    plan->disk_stall_ppm = rng_below(rng, 2) == 0 ? 0 : (uint32_t)rng_below(rng, 5000);
    plan->disk_stall_max_ns = rng_between(rng, 10 * NS_PER_MS, 400 * NS_PER_MS);
    plan->writeback_ppm = rng_below(rng, 2) == 0 ? 0 : (uint32_t)rng_below(rng, 300000);
    plan->link_min_ns = rng_between(rng, 30 * NS_PER_US, 2 * NS_PER_MS);
    plan->link_max_ns = plan->link_min_ns * rng_between(rng, 1, 8);
    plan->link_stall_ppm = rng_below(rng, 2) == 0 ? 0 : (uint32_t)rng_below(rng, 10000);
    plan->link_stall_max_ns = rng_between(rng, 10 * NS_PER_MS, 300 * NS_PER_MS);
}

static void draw_clients(struct plan *plan, struct rng *rng)
{
    static const uint32_t depths[] = {1, 1, 2, 8, 32};
    uint32_t largest = (uint32_t)plan->segment_bytes / 8;

    plan->clients = (uint32_t)rng_between(rng, 2, 8);
    plan->depth = depths[rng_below(rng, 5)];
    /* About 24 operations a second in all, less where faults take time from them. */
    plan->think_ms = plan->clients * (uint32_t)rng_between(rng, 35, 50);
    plan->body_max = (uint32_t)rng_between(rng, 64, largest < OP_BODY_MAX ? largest : OP_BODY_MAX);
    plan->batch_max = (uint32_t)rng_between(rng, 2, 6);
}

/* From a generator of its own, so that older seeds stay what they were. */
static void draw_scrub(struct plan *plan)
{
    struct rng rng;

    rng_seed(&rng, plan->seed, 8);
    if (rng_below(&rng, 4) != 0) {
        plan->scrub_bytes_per_s = rng_between(&rng, 64u << 10, 1u << 20);
    }
}

static void draw_waiting(struct plan *plan)
{
    struct rng rng;

    rng_seed(&rng, plan->seed, 9);
    if (rng_below(&rng, 4) != 0) {
        plan->waiting_percent = (uint32_t)rng_between(&rng, 2, 40);
    }
    rng_seed(&rng, plan->seed, 11);
    if (rng_below(&rng, 3) != 0) {
        plan->half_percent = (uint32_t)rng_between(&rng, 2, 40);
    }
    if (rng_below(&rng, 3) != 0) {
        plan->pop_percent = (uint32_t)rng_between(&rng, 2, 50);
    }
    rng_seed(&rng, plan->seed, 14);
    if (rng_below(&rng, 3) != 0) {
        plan->back_percent = (uint32_t)rng_between(&rng, 2, 20);
    }
    rng_seed(&rng, plan->seed, 13);
    if (rng_below(&rng, 3) != 0) {
        plan->order_percent = (uint32_t)rng_between(&rng, 2, 50);
    }
}

/* A queue seldom has more than some hundred messages. */
static void draw_queue_files(struct plan *plan)
{
    struct rng rng;

    rng_seed(&rng, plan->seed, 13);
    plan->queue_file_units = rng_below(&rng, 4) == 0 ? 3000 : (uint32_t)rng_between(&rng, 20, 300);
}

static void draw_faults(struct plan *plan, struct rng *rng)
{
    uint32_t share = (uint32_t)rng_between(rng, 10, 60);
    uint32_t n = 0;

    while (n < 2) {
        n = 0;
        for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
            plan->faults[kind] = fault_is_offered(kind) && rng_below(rng, 100) < share;
            if (kind == FAULT_ADD || kind == FAULT_REMOVE) {
                plan->faults[kind] = plan->spares != 0;
            }
            n += plan->faults[kind] && fault_repeats(kind);
        }
    }
    plan->fault_gap_ms = (uint32_t)rng_between(rng, 500, 5000);
    plan->faults_until_ns = 120 * NS_PER_S;
    plan->faults_min = 10;
    plan->commits_min = 2000;
}

void plan_draw(struct plan *plan, uint64_t seed)
{
    struct rng rng;

    memset(plan, 0, sizeof(*plan));
    plan->seed = seed;
    rng_seed(&rng, seed, 2);
    draw_group(plan, &rng);
    draw_world(plan, &rng);
    draw_clients(plan, &rng);
    draw_faults(plan, &rng);
    draw_flush(plan, &rng);
    draw_scrub(plan);
    draw_waiting(plan);
    draw_queue_files(plan);
}

void plan_print(const struct plan *plan)
{
    printf("seed %" PRIu64 ": %u members and %u spare, election %u ms, heartbeat %u ms, segments of %" PRIu64
           " KiB, in flight %u, sync %.2f to %.2f ms, links %.2f to %.2f ms, %u clients of depth %u, faults every %u "
           "ms, snapshots every %" PRIu64 " KiB or %" PRIu64 " ms, log of %" PRIu64 " KiB, flushed after %u ms:",
           plan->seed, plan->nodes, plan->spares, plan->election_ms, plan->heartbeat_ms, plan->segment_bytes >> 10,
           plan->inflight_entries_max, (double)plan->sync_min_ns / 1e6, (double)plan->sync_max_ns / 1e6,
           (double)plan->link_min_ns / 1e6, (double)plan->link_max_ns / 1e6, plan->clients, plan->depth,
           plan->fault_gap_ms, plan->snapshot_bytes >> 10, plan->snapshot_ms, plan->log_bytes_max >> 10,
           plan->flush_ms);
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        if (plan->faults[kind]) {
            printf(" %s", fault_name(kind));
        }
    }
    printf("\n");
}
