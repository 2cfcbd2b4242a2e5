/* What a fault test plays on: a name server and three brokers as processes, topics, the load on them, and the checks.
 * Used by one thread. */
#ifndef TESTS_FAULT_STAGE_H
#define TESTS_FAULT_STAGE_H

#include "tests/fault/check.h"

struct stage {
    struct cluster cluster;
    struct load_queue queues[LOAD_QUEUES_MAX];
    uint32_t n_queues;
    struct load *load; /* owned; NULL until stage_start */
    struct check check;
};

/* Writes the configuration of a group named @group into the existing directory @dir. Returns 0 or -errno. */
int stage_init(struct stage *stage, const char *dir, const char *group);

/* Starts everything; returns once a send was acknowledged, with the load running. False: it did not come to that, and
 * standard error says why. */
bool stage_start(struct stage *stage, uint32_t rate, uint64_t seed);

/* Ends the load and all processes; files stay. */
void stage_stop(struct stage *stage);

#endif
