/* What the nodes of a group have on disk, read straight from their files: the log's segments and the consume queues.
 * The nodes may run, if nothing is written meanwhile. */
#ifndef TESTS_FAULT_REPLICA_H
#define TESTS_FAULT_REPLICA_H

#include "tests/fault/load.h"
#include "tests/lib/cluster.h"

struct replica {
    const uint8_t **segments; /* owned maps, by number */
    uint32_t n_segments;
    const char *dir; /* borrowed: the node's store */
};

/* Maps the log's segments up to @end. Returns 0, or a negative code with a line on standard error. */
int replica_open(struct replica *replica, const char *dir, uint64_t end);
void replica_close(struct replica *replica);

/* The first position in [from, to) at which the two logs differ; @to when they are the same. */
uint64_t replica_difference(const struct replica *a, const struct replica *b, uint64_t from, uint64_t to);

/* Checks the units [from, to) of one consume queue: positions ascend, each points to a whole record that says that it
 * is this message of this queue, and its body is the one read before. Returns 0, or a negative code with a line on
 * standard error; wrong bodies are counted in @account. @units: gets the CRC-32C of the units. */
int replica_check_queue(const struct replica *replica, uint64_t end_pos, const struct load_queue *queue,
                        uint16_t queue_number, uint64_t from, uint64_t to, struct account *account, uint32_t *units);

#endif
