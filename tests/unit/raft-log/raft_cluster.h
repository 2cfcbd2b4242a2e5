/* Members of one group in one process and on one loop, over loopback sockets and directories under /tmp. Each applies
 * numbers; a payload is its number and filler. */
#ifndef TEST_RAFT_CLUSTER_H
#define TEST_RAFT_CLUSTER_H

#include "raft-log/include/raftlog/raftlog.h"
#include "tests/unit/raft-log/held_port.h"

#include <stdbool.h>

#define CLUSTER_SEGMENT_BYTES (4u << 20)

struct cluster;

struct cluster_node {
    struct cluster *cluster;
    uint32_t id;
    char dir[128];
    struct rlog *log; /* NULL while it is down */
    struct rlog_fsm fsm;
    struct rlog_role role;
    uint64_t *applied; /* numbers, in order */
    size_t n_applied, applied_cap;
    struct rlog_sink *sink; /* of a snapshot that is being taken */
    size_t to_put, put;     /* numbers that it holds, and those that were put */
    uint64_t held_from;     /* entries from here on were applied, or told of as older ones */
    uint64_t snapshots;     /* that were taken */
    uint64_t rooms;
    uint64_t skew; /* added to the hash of its state: a member that has gone wrong */
};

struct cluster_proposal {
    struct rlog_proposal proposal;
    struct cluster *cluster;
    uint64_t number;
};

struct cluster {
    struct net_loop loop;
    uint32_t n;
    struct cluster_node nodes[RLOG_MEMBERS_MAX];
    uint32_t
        founders; /* the first so many are named in each other's configurations; a later node knows those before */
    struct rlog_member members[RLOG_MEMBERS_MAX];
    struct held_port ports[RLOG_MEMBERS_MAX];
    char addresses[RLOG_MEMBERS_MAX][32];
    char dir[64];
    uint32_t election_ms, heartbeat_ms;
    uint32_t inflight_entries_max;
    uint32_t flush_ms;
    const struct rlog_disk *disk; /* NULL: the system's */
    uint64_t segment_bytes;
    uint64_t far_bytes;
    uint64_t backfill_bytes_per_s;
    uint64_t scrub_bytes_per_s;
    bool with_state;        /* their numbers are state: snapshots can be taken of them */
    uint64_t *acknowledged; /* numbers */
    size_t n_acknowledged, acknowledged_cap;
    uint64_t unsure;  /* proposals that ended so */
    uint64_t pending; /* proposals without an end */
};

void cluster_init(struct cluster *c, uint32_t n);
void cluster_fini(struct cluster *c); /* stops all, removes the directories */

/* Opens and starts node @i. Returns what the log returned, with @problem filled. */
int cluster_try_start(struct cluster *c, uint32_t i, struct mq_buf *problem);
void cluster_start(struct cluster *c, uint32_t i);
void cluster_start_all(struct cluster *c); /* the founders */
void cluster_stop(struct cluster *c, uint32_t i);
void cluster_wipe(struct cluster *c, uint32_t i); /* removes the directory of a stopped node */

/* Runs the loop until @done says so; fails the test after 20 s. */
void cluster_run_until(struct cluster *c, bool (*done)(struct cluster *c, uint64_t arg), uint64_t arg);
void cluster_run_ms(struct cluster *c, uint64_t ms);

struct cluster_node *cluster_writable(struct cluster *c); /* NULL */
struct cluster_node *cluster_await_writable(struct cluster *c);
/* Proposes @number at @node with @bytes of payload (at least 8). Returns what rlog_propose said. */
int cluster_propose(struct cluster_node *node, uint64_t number, uint32_t bytes);
/* Proposes from..to-1 at whoever is writable, as fast as it goes, and waits until all have an end. */
void cluster_propose_all(struct cluster *c, uint64_t from, uint64_t to, uint32_t bytes);
/* Node @i takes a snapshot now, and it is good. */
void cluster_snapshot(struct cluster *c, uint32_t i);
/* Waits until all running nodes have applied the same log. */
void cluster_await_level(struct cluster *c);
/* Every acknowledged number was applied by all running nodes, all in the same order; their logs are the same bytes
 * from where the last one of them begins. */
void cluster_check(struct cluster *c);

#endif
