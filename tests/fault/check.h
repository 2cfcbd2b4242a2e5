/* The checks at the end of a round, with the load paused and all nodes up: every promise that the fault tests make is
 * looked at here. */
#ifndef TESTS_FAULT_CHECK_H
#define TESTS_FAULT_CHECK_H

#include "tests/fault/load.h"
#include "tests/lib/cluster.h"

struct check {
    struct cluster *cluster; /* borrowed, like all below */
    struct load *load;
    const struct load_queue *queues;
    uint32_t n_queues;
    int64_t ends[LOAD_QUEUES_MAX]; /* of the queues, when they were checked last */
    uint64_t end_pos;              /* of the log, then */
    uint64_t last_index;
};

/* Waits until the nodes are level and the readers have come to the end, then compares. @all: from the beginning of
 * everything, and reading from every node; else what is new since the last check, reading from the leader. Returns
 * how many promises were broken, each with a line on standard error. */
int check_run(struct check *check, bool all);

#endif
