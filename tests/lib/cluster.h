/* A name server and one broker group of up to three real processes on loopback, with ports found free, for tests in
 * C. All its files lie in one directory: namesrv.conf, n0.conf ..., n0/ (the node's store), *.log Used by one thread,
 * which the processes die with. */
#ifndef TESTS_LIB_CLUSTER_H
#define TESTS_LIB_CLUSTER_H

#include "tests/lib/process.h"
#include "tests/lib/wire.h"

#define CLUSTER_NODES_MAX 3
#define CLUSTER_THROUGH_MAX 12
#define CLUSTER_SEGMENT_BYTES (16u << 20)

struct cluster_node {
    struct process process;
    int port, peer_port;
    char dir[PATH_MAX];
    const char *const *through; /* borrowed words that its command begins with, NULL behind the last; NULL: none */
};

struct cluster {
    char bin[PATH_MAX / 2], dir[PATH_MAX / 2];
    char group[64];
    struct process namesrv;
    int namesrv_port;
    struct cluster_node nodes[CLUSTER_NODES_MAX];
    uint32_t n_nodes;
};

/* Where the finished programs are: $RAFTMQ_BIN, or build/release/bin below the current directory. */
const char *cluster_bin_dir(void);

/* Takes ports and writes the configuration into the existing directory @dir. Returns 0 or -errno. */
int cluster_init(struct cluster *cluster, const char *bin, const char *dir, const char *group, uint32_t n_nodes);

/* Ends what runs; files stay. */
void cluster_fini(struct cluster *cluster);

/* Each waits until the process says that it is ready, a node longer if its log is long. Return the milliseconds that
 * took, or -1 with the reason on standard error. */
int64_t cluster_start_namesrv(struct cluster *cluster);
int64_t cluster_start_node(struct cluster *cluster, uint32_t i);

/* Starts a node without waiting. Returns 0 or -errno. */
int cluster_launch_node(struct cluster *cluster, uint32_t i);

/* The name server, all nodes, and a writable leader; returns its number, or -1. */
int cluster_start(struct cluster *cluster);

/* The number of the node that says it is a writable leader in the highest term among those that answer; -1 when there
 * is none within the time. */
int cluster_leader(struct cluster *cluster, uint32_t timeout_ms);

int cluster_status(struct cluster *cluster, uint32_t i, struct wire_status *out);

/* Waits until all nodes hold, have committed and have applied the same last entry, with one leader among them. @out
 * gets their status. Returns 0, or MQ_ETIMEDOUT with what is not level on standard error. */
int cluster_wait_level(struct cluster *cluster, uint32_t timeout_ms, struct wire_status out[CLUSTER_NODES_MAX]);

/* A port on 127.0.0.1 that nobody uses now and that is given out once in this process. */
int cluster_free_port(void);

#endif
