/* Who serves what: broker names (groups), their members, and the topics they hold. Pure data: no sockets, no files,
 * and time is a parameter (monotonic milliseconds). The rules are told in README.md.
 *
 * A connection is a number that the owner gives, greater for every later connection and never 0. */
#ifndef NAMESRV_ROUTE_TABLE_H
#define NAMESRV_ROUTE_TABLE_H

#include "remoting/base/buf.h"
#include "remoting/protocol/body_route.h"
#include "remoting/protocol/body_topic.h"

#include <stdbool.h>
#include <stdint.h>

#define ROUTE_GROUPS_MAX PROTO_ROUTE_BROKERS_MAX
#define ROUTE_MEMBERS_MAX PROTO_BROKER_ADDRS_MAX /* of one broker name */
#define ROUTE_NAME_MAX 255                       /* bytes of a cluster, broker name, address or zone */
#define ROUTE_BROKER_ID_MAX INT32_MAX
#define ROUTE_TIMEOUT_MIN_MS 1000u
#define ROUTE_TIMEOUT_MAX_MS 3600000u

struct route_rules {
    uint64_t timeout_ms; /* of a broker that does not name its own */
    uint64_t grace_ms;   /* how long id 0 stays listed after its connection closed, while others are registered */
    bool whole_tables;   /* deleteTopicWithBrokerRegistration: take every registration as the broker's whole table */
};

struct route_table;

/* Returns 0 and an empty table (free with route_table_free), or MQ_ENOMEM. */
int route_table_new(const struct route_rules *rules, struct route_table **out);
void route_table_free(struct route_table *table);

/* What a registration says. Everything is borrowed until the call returns. */
struct route_registration {
    struct mq_str cluster, broker_name, addr;
    struct mq_str ha_addr; /* may be empty */
    struct mq_str zone;    /* absent: none */
    int64_t broker_id;
    uint64_t timeout_ms;       /* 0: the rules' */
    bool acting_master;        /* enableActingMaster */
    bool speaks_acting_master; /* the field was there: a broker of 5.0 or later */
    bool whole_table;          /* the topics are all that the broker has */
    uint64_t conn;
    const struct proto_topic_table *topics;
};

enum route_outcome {
    ROUTE_LISTED,    /* the member is listed under the id it asked for */
    ROUTE_OVERTAKEN, /* a newer registration of the same address was here first; nothing changed */
    ROUTE_OUTRANKED  /* another term, or another member with a newer one, holds the id; nothing changed */
};

/* Takes a registration. All three outcomes are a success to the broker. Returns 0, or with a text for the broker
 * appended to @why and nothing listed: MQ_EINVAL (a field), MQ_EEXIST (the name belongs to another cluster),
 * MQ_ETOOBIG (a maximum above or in route_topics.h) or MQ_ENOMEM. */
int route_table_register(struct route_table *table, const struct route_registration *reg, uint64_t now_ms,
                         enum route_outcome *outcome, struct mq_buf *why);

/* How a broker names itself in 104, 322 and 904. */
struct route_identity {
    struct mq_str cluster, broker_name, addr;
};

/* Removes the member, unless it has registered over a later connection than @conn since. */
void route_table_unregister(struct route_table *table, const struct route_identity *who, uint64_t conn);

/* Connection @conn is gone, and with it the members that registered over it; id 0 with a grace. */
void route_table_disconnected(struct route_table *table, uint64_t conn, uint64_t now_ms);

/* A light heartbeat: the member is alive. Unknown members are passed over. */
void route_table_touch(struct route_table *table, const struct route_identity *who, uint64_t now_ms);

/* Whether the member has to register (again): it is unknown, lost its connection, registered over another one than
 * @conn, or with another version. @stored gets the version held, if there is one (@has_stored). Touches the member.
 */
bool route_table_outdated(struct route_table *table, const struct route_identity *who, uint64_t conn,
                          const struct proto_data_version *version, uint64_t now_ms,
                          struct proto_data_version *stored, bool *has_stored);

/* Removes members that were silent for too long, and ends graces. @silent (may be NULL) is called with the connection
 * of each silent member, after the table has changed. */
void route_table_expire(struct route_table *table, uint64_t now_ms, void (*silent)(void *data, uint64_t conn),
                        void *data);

/* Queries fill lists with slices that live until the table changes; free the lists, also after an error. */

/* The route of @topic. With @zone (present and not empty) only brokers of that zone and those without id 0.
 * Returns 0, MQ_ENOTFOUND or MQ_ENOMEM. */
int route_table_route(const struct route_table *table, struct mq_str topic, struct mq_str zone,
                      struct proto_route *out);
int route_table_brokers(const struct route_table *table, struct proto_brokers *out); /* 0 or MQ_ENOMEM */
/* All members of one broker name. Returns 0 or MQ_ENOTFOUND. */
int route_table_broker(const struct route_table *table, struct mq_str cluster, struct mq_str broker_name,
                       struct proto_broker_data *out);
/* Names of all topics, or of those that brokers of @cluster (present) hold. 0 or MQ_ENOMEM. */
int route_table_topics(const struct route_table *table, struct mq_str cluster, struct proto_str_list *out);

/* The addresses the answer to a registration carries: those of the live id 0. Absent when there is none. */
void route_table_master(const struct route_table *table, struct mq_str broker_name, struct mq_str *addr,
                        struct mq_str *ha_addr);

/* Takes the write permission from all topics of a broker name, also from those to come, or gives back what was
 * taken. Returns how many topics the name holds; 0 for an unknown one. */
uint32_t route_table_allow_writes(struct route_table *table, struct mq_str broker_name, bool allowed);

/* Removes a topic everywhere, or (@cluster present) from the brokers of one cluster. */
void route_table_delete_topic(struct route_table *table, struct mq_str topic, struct mq_str cluster);

/* Sets a topic on the brokers named. Returns 0, MQ_ENOTFOUND with nothing changed when one of them is unknown,
 * MQ_EINVAL, MQ_ETOOBIG or MQ_ENOMEM. */
int route_table_put_topic(struct route_table *table, struct mq_str topic, const struct proto_queues *queues);

#endif
