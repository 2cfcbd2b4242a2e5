/* One run: a seed or a scenario, from an empty world to its verdict. */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "tests/sim/marks.h"
#include "tests/sim/plan.h"

#define RUN_TEXT_MAX 400

struct run_result {
    uint64_t seed;
    bool ok;
    bool lost;                  /* more members than a minority were out for good: nothing can be said of the rest */
    char failure[RUN_TEXT_MAX]; /* its first word names what was broken */
    uint64_t trace_hash, events, simulated_ns, commits, faults, acked;
    uint64_t marks[MARKS];
};

/* Runs the seed. */
void run_seed(uint64_t seed, struct run_result *out);
/* The same for a plan and a script of its own; @script: called outside with a founded group that has a leader. */
void run_plan(const struct plan *plan, void (*script)(void), struct run_result *out);

/* For scripts. Each returns false when the run has failed. */
bool run_for(uint64_t ns);
/* Until @is(@data), looked at every millisecond, at most @ns; else the run fails, saying @what. */
bool run_until(bool (*is)(void *data), void *data, uint64_t ns, const char *what);
bool run_until_leader(uint64_t ns);
/* Sends to whoever leads until one is acknowledged, at most @ns. */
bool run_until_committed(uint64_t ns);
/* Clocks may have gone any way. They are set behind all that anybody waits for, and it comes. */
bool run_until_delivered(void);
/* All members up and level, and equal. */
bool run_until_level(uint64_t ns);

#endif
