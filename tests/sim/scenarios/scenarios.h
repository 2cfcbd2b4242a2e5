/* Runs with a script of their own instead of a seed's. */
#ifndef SIM_SCENARIOS_H
#define SIM_SCENARIOS_H

#include "tests/sim/run.h"

struct scenario {
    const char *name, *text;
    void (*script)(void);
    uint64_t seed;                     /* of a run that once failed; then there is no script */
    void (*change)(struct plan *plan); /* NULL: the quiet plan as it is */
};

extern const struct scenario scenarios[]; /* up to one without a name */

void scenario_run(const struct scenario *scenario, struct run_result *out);

/* scripts */
void scenario_figure_8(void);
void scenario_pipelining(void);
void scenario_stale_notice(void);
void scenario_change_in_batch(void);
void scenario_slow_leader_disk(void);
void scenario_one_way_flapping(void);
void scenario_rejoin_after_power_cut(void);
void scenario_isolated_leader(void);
void scenario_restarts(void);
void scenario_disks_full(void);
void scenario_low_with_pending(void);
void scenario_failed_vote_sync(void);
void scenario_followers_full(void);
void scenario_failed_transfer(void);
void scenario_scrub(void);
void scenario_rotten_leader(void);
void scenario_rotten_waiting(void);
void scenario_stop_in_snapshot(void);
void scenario_state_parted(void);
void scenario_two_wiped(void);
void scenario_snapshot_evidence(void);
void scenario_snapshot_late(void);

#endif
