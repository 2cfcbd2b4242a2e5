/* Seeds, spread over processes. A process that dies takes down only the seed that it ran. */
#ifndef SIM_WORKERS_H
#define SIM_WORKERS_H

#include "tests/sim/run.h"

struct workers_options {
    uint32_t jobs;
    uint64_t first, n; /* seeds first ... first + n - 1 */
    bool stop_at_failure;
    /* Before the first seed, in the process that runs it; may be NULL. */
    void (*prepare)(void *data);
    /* In this process, one for each seed, in no order. */
    void (*each)(void *data, const struct run_result *result);
    /* In this process, every few seconds; may be NULL. */
    void (*progress)(void *data);
    void *data;
};

/* Returns 0, or -errno when processes cannot be started. */
int workers_run(const struct workers_options *options);

#endif
