/* Routes (105) and cluster info (106). Written in the one form that every client reads: compact, quoted keys in
 * ascending order, all tables present. Read with quoted and with unquoted keys. Source:
 * RocketMQ's TopicRouteData, DefaultRequestProcessor of the name server. */
#ifndef MQ_PROTOCOL_BODY_ROUTE_H
#define MQ_PROTOCOL_BODY_ROUTE_H

#include "remoting/base/buf.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_ROUTE_BROKERS_MAX 4096 /* broker names in one route or cluster table */
#define PROTO_ROUTE_QUEUES_MAX 4096  /* brokers that hold queues of one topic */
#define PROTO_BROKER_ADDRS_MAX 16    /* members of one broker name */

struct proto_broker_addr {
    int64_t id; /* 0: the one that takes sends */
    struct mq_str addr;
};

/* One broker name and its members. */
struct proto_broker_data {
    struct mq_str cluster;
    struct mq_str name;
    struct mq_str zone; /* left out when absent */
    bool acting_master; /* enableActingMaster */
    uint32_t addr_count;
    struct proto_broker_addr addrs[PROTO_BROKER_ADDRS_MAX]; /* in any order */
};

PROTO_LIST(brokers, struct proto_broker_data)

/* What one broker name holds of a topic. */
struct proto_queue_data {
    struct mq_str broker_name;
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm;
    int32_t topic_sys_flag;
};

PROTO_LIST(queues, struct proto_queue_data)

struct proto_route {
    struct proto_brokers brokers;
    struct proto_queues queues;
    struct mq_str order_conf; /* orderTopicConf; left out when absent */
};

/* Adds a member. Returns 0, or MQ_ETOOBIG when there are PROTO_BROKER_ADDRS_MAX already. */
int proto_broker_add_addr(struct proto_broker_data *broker, int64_t id, struct mq_str addr);

/* The address of member @id; absent when there is none. */
struct mq_str proto_broker_addr_of(const struct proto_broker_data *broker, int64_t id);

int proto_route_encode(struct mq_buf *buf, const struct proto_route *route); /* 0 or MQ_ENOMEM */

/* Decodes the body of 105, which is changed in place; the slices of @out point into it. Returns 0, MQ_EBADMSG,
 * MQ_ETOOBIG (a named maximum above) or MQ_ENOMEM. Free @out with proto_route_free, also after an error. */
int proto_route_decode(char *json, size_t n, struct proto_route *out);
void proto_route_free(struct proto_route *route);

/* The body of 106. The clusters' lists of names are made from the brokers. 0 or MQ_ENOMEM. */
int proto_cluster_encode(struct mq_buf *buf, const struct proto_brokers *brokers);

/* The reverse, as proto_route_decode; free with proto_brokers_free. */
int proto_cluster_decode(char *json, size_t n, struct proto_brokers *out);

#endif
