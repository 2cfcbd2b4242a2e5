/* A name server and the members of one broker group, played by servers in the test's own loop. What a member answers
 * to a send is set by the test. */
#ifndef MQ_TEST_CLIENT_FAKE_CLUSTER_H
#define MQ_TEST_CLIENT_FAKE_CLUSTER_H

#include "tests/unit/net/fixture.h"

#include "client/include/raftmq/raftmq.h"

#define FAKE_MEMBERS 3

enum fake_answer {
    FAKE_TAKE,     /* 0 with the next offset of the queue */
    FAKE_FOLLOW,   /* 14 */
    FAKE_BUSY,     /* 2 */
    FAKE_UNSURE,   /* 1 with [UNKNOWN] */
    FAKE_ILLEGAL,  /* 13 */
    FAKE_DOUBTFUL, /* 10: stored, not flushed in time */
    FAKE_SILENT,   /* none */
    FAKE_DROP,     /* none, the connection is reset */
    FAKE_PLACELESS /* 0 without queueOffset */
};

struct fake_member {
    struct net_server server;
    struct fake_cluster *cluster;
    enum fake_answer answer;
    uint32_t sends, pulls;
    char addr[32];
    char uniq_key[32]; /* of the last send */
    char body[64];
    int32_t queue_id;                 /* of the last request */
    int32_t sys_flag;                 /* of the last pull */
    struct net_channel *channels[64]; /* that sends came on, in order of their first */
    uint32_t n_channels;
    bool up, down;
};

struct fake_cluster {
    struct fixture *f;
    struct net_server namesrv;
    char namesrv_addr[32];
    struct fake_member members[FAKE_MEMBERS];
    int leader;       /* listed as id 0; -1: none is */
    bool topic_known; /* else only TBW102 has a route */
    bool template_known;
    uint32_t write_queues;
    uint32_t route_asks;
    int64_t next_qoff;
    bool down;
};

void fake_open(struct fake_cluster *cluster, struct fixture *f);
void fake_close(struct fake_cluster *cluster);
/* Closes the member's port and resets its connections, as a killed process does. */
void fake_kill(struct fake_member *member);

/* A client of it. */
struct rmq_client *fake_client(struct fake_cluster *cluster, struct rmq_options options);
void fake_client_close(struct fake_cluster *cluster, struct rmq_client *client);

#endif
