#include "tests/sim/scenarios/scenarios.h"

#include "tests/sim/world/world.h"

/* Entries of many KiB, so that bytes are what fills a pipe. */
static void many_in_flight(struct plan *plan)
{
    plan->inflight_entries_max = 256;
    plan->clients = 8;
    plan->depth = 12;
    plan->think_ms = 0;
    plan->body_max = 64;
    plan->batch_max = 2;
    plan->sync_min_ns = NS_PER_MS;
    plan->sync_max_ns = 2 * NS_PER_MS;
    plan->link_min_ns = plan->link_max_ns = 2 * NS_PER_MS;
}

/* A leader that is alone takes hundreds of entries before it notices. */
static void many_old_entries(struct plan *plan)
{
    plan->election_ms = 1500;
    plan->heartbeat_ms = 200;
    plan->inflight_entries_max = 1000;
}

static void five_members(struct plan *plan)
{
    plan->nodes = 5;
}

/* Their disks keep copies. */
static void two_spares(struct plan *plan)
{
    plan->spares = 2;
}

/* Snapshots on demand; segments go soon. */
static void small_snapshots(struct plan *plan)
{
    plan->segment_bytes = 64u << 10;
    plan->log_bytes_max = 64u << 10;
    plan->retention_s = 1;
    plan->retention_batch = 10;
}

static void late_flush(struct plan *plan)
{
    plan->flush_ms = 400;
}

/* The script sets the size above which segments go. */
static void much_pending(struct plan *plan)
{
    plan->segment_bytes = 64u << 10;
    plan->log_bytes_max = UINT64_C(1) << 30;
    plan->retention_s = 1;
    plan->retention_batch = 10;
    plan->think_ms = 20;
    plan->waiting_percent = 30;
    plan->half_percent = 30;
    plan->pop_percent = 30;
}

static void small_segments(struct plan *plan)
{
    plan->segment_bytes = 64u << 10;
    plan->scrub_bytes_per_s = 1u << 20;
}

const struct scenario scenarios[] = {
    {"figure-8", "an entry of an earlier term is not committed by counting its replicas", scenario_figure_8, 0,
     many_old_entries},
    {"pipelining", "commits go on while proposals arrive faster than answers", scenario_pipelining, 0,
     many_in_flight},
    {"change-in-batch", "changes of the membership among other entries, sent to one that was away",
     scenario_change_in_batch, 0, five_members},
    {"stale-notice", "entries become durable while others are written in their place", scenario_stale_notice, 0,
     NULL},
    {"slow-leader-disk", "a leader whose disk hangs gives way", scenario_slow_leader_disk, 0, NULL},
    {"one-way-flapping", "a member that hears the others now and then disturbs nobody for good",
     scenario_one_way_flapping, 0, NULL},
    {"power-cut-in-turn", "acknowledged by two, one loses power, the other two go on",
     scenario_rejoin_after_power_cut, 0, NULL},
    {"isolated-leader", "a leader cut off with its clients", scenario_isolated_leader, 0, NULL},
    {"restarts", "all members restarted twenty times under load", scenario_restarts, 0, NULL},
    {"disks-full", "all disks full, then space again", scenario_disks_full, 0, NULL},
    {"followers-full", "the disks of two followers are full: the leader refuses, and says whose they are",
     scenario_followers_full, 0, NULL},
    {"low-with-pending", "all disks are low, and the oldest segments hold what is pending: retention goes on",
     scenario_low_with_pending, 0, much_pending},
    {"failed-vote-sync", "a vote whose sync failed is not believed after a restart", scenario_failed_vote_sync, 0,
     NULL},
    {"failed-transfer", "a hand-over that does not come about stops nothing", scenario_failed_transfer, 0, NULL},
    {"stop-in-snapshot", "a member stops in order while a snapshot is being written", scenario_stop_in_snapshot, 0,
     small_snapshots},
    {"state-parted", "a member whose state has parted from the others' ends", scenario_state_parted, 0,
     many_in_flight},
    {"two-wiped", "two of three disks are lost: nothing goes on, and nothing is founded anew", scenario_two_wiped, 0,
     two_spares},
    {"snapshot-evidence", "entries that a snapshot stands for are missing: nobody is elected without them",
     scenario_snapshot_evidence, 0, NULL},
    {"snapshot-late", "with late flush all lose their power behind a snapshot: it stands for nothing that is gone",
     scenario_snapshot_late, 0, late_flush},
    {"scrub", "bits that flip in full segments are put right from another member", scenario_scrub, 0, small_segments},
    {"rotten-leader", "a leader whose copy is bad repairs it before a follower gets it", scenario_rotten_leader, 0,
     NULL},
    {"rotten-waiting", "a message that waits goes bad on the leader: it is delivered as it was sent",
     scenario_rotten_waiting, 0, NULL},
    {NULL, NULL, NULL, 0, NULL},
};

static void quiet_plan(struct plan *plan)
{
    *plan = (struct plan){
        .seed = 1,
        .nodes = 3,
        .election_ms = 300,
        .heartbeat_ms = 50,
        .segment_bytes = 256u << 10,
        .queue_file_units = 300,
        .inflight_entries_max = 64,
        .inflight_bytes_max = 16u << 20,
        .retention_s = 10,
        .sync_min_ns = 200 * NS_PER_US,
        .sync_max_ns = NS_PER_MS,
        .link_min_ns = 100 * NS_PER_US,
        .link_max_ns = 300 * NS_PER_US,
        .clients = 4,
        .depth = 2,
        .think_ms = 50,
        .body_max = 1024,
        .batch_max = 4,
    };
}

void scenario_run(const struct scenario *scenario, struct run_result *out)
{
    struct plan plan;

    if (scenario->script == NULL) {
        run_seed(scenario->seed, out);
        return;
    }
    quiet_plan(&plan);
    if (scenario->change != NULL) {
        scenario->change(&plan);
    }
    run_plan(&plan, scenario->script, out);
}
