#include "tests/lib/cluster.h"

#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_MS 20000
#define READY_BYTES_PER_MS 16000 /* a node that starts may take this much longer for its log */
#define READY_LINE_MS 10000      /* a waiting one is named so often */
#define LEADER_MS 20000
#define STATUS_MS 500
#define FIRST_PORT 20000 /* below the range that the system gives to outgoing connections */
#define LAST_PORT 32000

const char *cluster_bin_dir(void)
{
    const char *bin = getenv("RAFTMQ_BIN");

    return bin != NULL && bin[0] != '\0' ? bin : "build/release/bin";
}

static bool port_is_free(int port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    bool is_free;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    is_free = fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return is_free;
}

int cluster_free_port(void)
{
    static int next;

    if (next == 0) {
        next = FIRST_PORT + (int)((mq_clock_mono_ns() / 1000 + (uint64_t)getpid() * 7919) % (LAST_PORT - FIRST_PORT));
    }
    do {
        next = next + 1 < LAST_PORT ? next + 1 : FIRST_PORT;
    } while (!port_is_free(next));
    return next;
}

static FILE *open_conf(const struct cluster *cluster, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s.conf", cluster->dir, name);
    return fopen(path, "w");
}

static int write_namesrv_conf(const struct cluster *cluster)
{
    FILE *file = open_conf(cluster, "namesrv");

    if (file == NULL) {
        return -errno;
    }
    fprintf(file, "listenPort=%d\nbindAddress=127.0.0.1\nkvConfigPath=%s/kvConfig.json\n", cluster->namesrv_port,
            cluster->dir);
    return fclose(file) == 0 ? 0 : -errno;
}

static int write_node_conf(const struct cluster *cluster, uint32_t i)
{
    char name[16];
    FILE *file;

    snprintf(name, sizeof(name), "n%" PRIu32, i);
    file = open_conf(cluster, name);
    if (file == NULL) {
        return -errno;
    }
    fprintf(file,
            "brokerClusterName=DefaultCluster\nbrokerName=%s\nbrokerIP1=127.0.0.1\nbindAddress=127.0.0.1\n"
            "listenPort=%d\nnamesrvAddr=127.0.0.1:%d\nstorePathRootDir=%s\nmappedFileSizeCommitLog=%u\n"
            "dLegerGroup=%s\ndLegerSelfId=n%" PRIu32 "\ndLegerPeers=",
            cluster->group, cluster->nodes[i].port, cluster->namesrv_port, cluster->nodes[i].dir,
            CLUSTER_SEGMENT_BYTES, cluster->group, i);
    for (uint32_t k = 0; k < cluster->n_nodes; k++) {
        fprintf(file, "%sn%" PRIu32 "-127.0.0.1:%d", k > 0 ? ";" : "", k, cluster->nodes[k].peer_port);
    }
    fprintf(file, "\n");
    return fclose(file) == 0 ? 0 : -errno;
}

int cluster_init(struct cluster *cluster, const char *bin, const char *dir, const char *group, uint32_t n_nodes)
{
    int rc;

    *cluster = (struct cluster){.n_nodes = n_nodes, .namesrv_port = cluster_free_port()};
    snprintf(cluster->bin, sizeof(cluster->bin), "%s", bin);
    snprintf(cluster->dir, sizeof(cluster->dir), "%s", dir);
    snprintf(cluster->group, sizeof(cluster->group), "%s", group);
    for (uint32_t i = 0; i < n_nodes; i++) {
        cluster->nodes[i].port = cluster_free_port();
        cluster->nodes[i].peer_port = cluster_free_port();
        snprintf(cluster->nodes[i].dir, sizeof(cluster->nodes[i].dir), "%s/n%" PRIu32, cluster->dir, i);
    }
    rc = write_namesrv_conf(cluster);
    for (uint32_t i = 0; rc == 0 && i < n_nodes; i++) {
        rc = write_node_conf(cluster, i);
    }
    return rc;
}

void cluster_fini(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->n_nodes; i++) {
        process_kill(&cluster->nodes[i].process);
    }
    process_kill(&cluster->namesrv);
}

/* Starts @through... <bin>/<program> -c <dir>/<name>.conf with its output in <dir>/<name>.log. */
static int launch(struct cluster *cluster, struct process *process, const char *const *through, const char *program,
                  const char *name)
{
    char path[PATH_MAX], conf[PATH_MAX], log[PATH_MAX];
    char option[] = "-c";
    char *argv[CLUSTER_THROUGH_MAX + 4];
    int n = 0, rc;

    while (through != NULL && through[n] != NULL && n < CLUSTER_THROUGH_MAX) {
        argv[n] = (char *)through[n];
        n++;
    }
    argv[n++] = path;
    argv[n++] = option;
    argv[n++] = conf;
    argv[n] = NULL;
    snprintf(path, sizeof(path), "%s/%s", cluster->bin, program);
    snprintf(conf, sizeof(conf), "%s/%s.conf", cluster->dir, name);
    snprintf(log, sizeof(log), "%s/%s.log", cluster->dir, name);
    rc = process_start(process, log, argv);
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-rc));
    }
    return rc;
}

static int64_t wait_ready(struct process *process, const char *text, const char *name, uint32_t limit_ms)
{
    uint64_t until_ms = mq_clock_mono_ms() + limit_ms;
    int64_t ready_ms = -1;

    while (ready_ms < 0 && process_alive(process) && mq_clock_mono_ms() < until_ms) {
        uint64_t left_ms = until_ms - mq_clock_mono_ms();

        ready_ms = process_wait_text(process, text, left_ms < READY_LINE_MS ? (uint32_t)left_ms : READY_LINE_MS);
        if (ready_ms < 0 && process_alive(process)) {
            fprintf(stderr, "%s is not ready after %" PRIu64 " ms, of at most %" PRIu32 "\n", name,
                    mq_clock_mono_ms() - process->started_ms, limit_ms);
        }
    }
    if (ready_ms < 0) {
        fprintf(stderr, "%s did not become ready (%s), see %s\n", name,
                process_alive(process) ? "it runs on" : "it has ended", process->log);
    }
    return ready_ms;
}

/* What the node's log takes of its disk. */
static uint64_t log_bytes(const struct cluster *cluster, uint32_t i)
{
    char path[PATH_MAX];
    struct dirent *entry;
    struct stat st;
    uint64_t bytes = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "%.4000s/raftlog/log", cluster->nodes[i].dir);
    dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode)) {
            bytes += (uint64_t)st.st_blocks * 512u;
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return bytes;
}

int64_t cluster_start_namesrv(struct cluster *cluster)
{
    int rc = launch(cluster, &cluster->namesrv, NULL, "mqnamesrv", "namesrv");

    return rc == 0 ? wait_ready(&cluster->namesrv, "mqnamesrv ready", "namesrv", READY_MS) : -1;
}

int cluster_launch_node(struct cluster *cluster, uint32_t i)
{
    char name[16];

    snprintf(name, sizeof(name), "n%" PRIu32, i);
    return launch(cluster, &cluster->nodes[i].process, cluster->nodes[i].through, "mqbroker", name);
}

int64_t cluster_start_node(struct cluster *cluster, uint32_t i)
{
    uint32_t limit_ms = READY_MS + (uint32_t)(log_bytes(cluster, i) / READY_BYTES_PER_MS);
    char name[16];

    snprintf(name, sizeof(name), "n%" PRIu32, i);
    return cluster_launch_node(cluster, i) == 0
               ? wait_ready(&cluster->nodes[i].process, "mqbroker ready", name, limit_ms)
               : -1;
}

int cluster_start(struct cluster *cluster)
{
    if (cluster_start_namesrv(cluster) < 0) {
        return -1;
    }
    for (uint32_t i = 0; i < cluster->n_nodes; i++) {
        if (cluster_start_node(cluster, i) < 0) {
            return -1;
        }
    }
    return cluster_leader(cluster, LEADER_MS);
}

int cluster_status(struct cluster *cluster, uint32_t i, struct wire_status *out)
{
    if (!process_alive(&cluster->nodes[i].process)) {
        return MQ_ECLOSED;
    }
    return wire_status(cluster->nodes[i].port, STATUS_MS, out);
}

int cluster_leader(struct cluster *cluster, uint32_t timeout_ms)
{
    uint64_t until_ms = mq_clock_mono_ms() + timeout_ms;

    for (;;) {
        struct wire_status status;
        uint64_t term = 0;
        int leader = -1;

        for (uint32_t i = 0; i < cluster->n_nodes; i++) {
            if (cluster_status(cluster, i, &status) == 0 && strcmp(status.role, "leader") == 0 &&
                status.term > term) {
                leader = (int)i;
                term = status.term;
            }
        }
        if (leader >= 0 || mq_clock_mono_ms() >= until_ms) {
            return leader;
        }
        test_sleep_ms(10);
    }
}

static bool is_level(const struct wire_status *nodes, uint32_t n)
{
    uint32_t leaders = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct wire_status *node = &nodes[i];

        leaders += strcmp(node->role, "leader") == 0;
        if (node->last_index != nodes[0].last_index || node->term != nodes[0].term ||
            node->durable_index != node->last_index || node->commit_index != node->last_index ||
            node->applied_index != node->last_index) {
            return false;
        }
    }
    return leaders == 1;
}

int cluster_wait_level(struct cluster *cluster, uint32_t timeout_ms, struct wire_status out[CLUSTER_NODES_MAX])
{
    uint64_t until_ms = mq_clock_mono_ms() + timeout_ms;

    for (;;) {
        bool all = true;

        memset(out, 0, CLUSTER_NODES_MAX * sizeof(out[0]));
        for (uint32_t i = 0; i < cluster->n_nodes; i++) {
            all = cluster_status(cluster, i, &out[i]) == 0 && all;
        }
        if (all && is_level(out, cluster->n_nodes)) {
            return 0;
        }
        if (mq_clock_mono_ms() >= until_ms) {
            break;
        }
        test_sleep_ms(10);
    }
    for (uint32_t i = 0; i < cluster->n_nodes; i++) {
        fprintf(stderr,
                "n%" PRIu32 " is %s: role %s term %" PRIu64 " last %" PRIu64 " durable %" PRIu64 " commit %" PRIu64
                " applied %" PRIu64 "\n",
                i, process_alive(&cluster->nodes[i].process) ? "up" : "down", out[i].role, out[i].term,
                out[i].last_index, out[i].durable_index, out[i].commit_index, out[i].applied_index);
    }
    return MQ_ETIMEDOUT;
}
