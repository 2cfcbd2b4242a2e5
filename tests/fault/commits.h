/* A consumer group's offset, committed over and over with growing numbers, one commit at a time: what is read later
 * must be the last one acknowledged, or one behind it whose outcome is unknown. Lives on the load's loop, under its
 * lock. */
#ifndef TESTS_FAULT_COMMITS_H
#define TESTS_FAULT_COMMITS_H

#include "client/include/raftmq/raftmq.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define COMMITS_GROUP "FAULT_READERS" /* exists from the first pull on */
#define COMMITS_UNKNOWN_MAX 4096

struct commits {
    struct rmq_client *client; /* borrowed */
    pthread_mutex_t *lock;     /* borrowed: taken by the callback */
    const char *topic;         /* borrowed; its queue 0 */
    const int *ports;          /* borrowed: of the nodes, one of which leads */
    uint32_t n_ports, turn;
    bool open;
    uint64_t retry_ms;                    /* not before */
    int64_t last_sent, last_acked;        /* 0: none; numbers begin with 1 */
    int64_t unknown[COMMITS_UNKNOWN_MAX]; /* since the last acknowledged one */
    uint32_t n_unknown;
    uint64_t acked;
};

/* Begins the next commit if none is under way. */
void commits_run(struct commits *commits, uint64_t now_ms);

/* Whether the group's offset may be @offset (0: never committed). */
bool commits_allow(const struct commits *commits, int64_t offset);

#endif
