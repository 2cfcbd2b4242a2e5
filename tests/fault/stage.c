#include "tests/fault/stage.h"

#include "remoting/base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROUTE_MS 10000u

static const struct {
    const char *name;
    uint32_t queues;
} topics[] = {{"FaultWide", 8}, {"FaultNarrow", 1}, {"FaultFour", 4}};

int stage_init(struct stage *stage, const char *dir, const char *group)
{
    int rc;

    *stage = (struct stage){.load = NULL};
    rc = cluster_init(&stage->cluster, cluster_bin_dir(), dir, group, 3);
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", dir, strerror(-rc));
    }
    return rc;
}

static bool make_topics(struct stage *stage, int leader)
{
    for (size_t t = 0; t < sizeof(topics) / sizeof(topics[0]); t++) {
        int rc = wire_create_topic(stage->cluster.nodes[leader].port, topics[t].name, topics[t].queues);

        if (rc != 0) {
            fprintf(stderr, "topic %s cannot be created: answer %d\n", topics[t].name, rc);
            return false;
        }
        for (uint32_t q = 0; q < topics[t].queues; q++) {
            stage->queues[stage->n_queues++] = (struct load_queue){topics[t].name, (int32_t)q};
        }
    }
    return true;
}

static bool start_load(struct stage *stage, uint32_t rate, uint64_t seed)
{
    static int ports[CLUSTER_NODES_MAX];
    static char namesrv[32];
    struct load_options options = {
        .namesrv = namesrv,
        .broker_name = stage->cluster.group,
        .ports = ports,
        .n_ports = stage->cluster.n_nodes,
        .queues = stage->queues,
        .n_queues = stage->n_queues,
        .rate = rate,
        .seed = seed,
        .tag = (uint16_t)seed,
    };
    int rc;

    snprintf(namesrv, sizeof(namesrv), "127.0.0.1:%d", stage->cluster.namesrv_port);
    for (uint32_t i = 0; i < stage->cluster.n_nodes; i++) {
        ports[i] = stage->cluster.nodes[i].port;
    }
    rc = load_start(&options, &stage->load);
    if (rc != 0) {
        fprintf(stderr, "the load does not start: %s\n", mq_strerror(rc));
        return false;
    }
    stage->check = (struct check){
        .cluster = &stage->cluster, .load = stage->load, .queues = stage->queues, .n_queues = stage->n_queues};
    load_mark(stage->load);
    load_resume(stage->load);
    if (load_wait_ack(stage->load, ROUTE_MS) < 0) {
        fprintf(stderr, "no send is acknowledged\n");
        return false;
    }
    return true;
}

bool stage_start(struct stage *stage, uint32_t rate, uint64_t seed)
{
    int leader = cluster_start(&stage->cluster);

    if (leader < 0) {
        fprintf(stderr, "the group does not start, see %s\n", stage->cluster.dir);
        return false;
    }
    return make_topics(stage, leader) && start_load(stage, rate, seed);
}

void stage_stop(struct stage *stage)
{
    if (stage->load != NULL) {
        load_stop(stage->load);
        stage->load = NULL;
    }
    cluster_fini(&stage->cluster);
}
