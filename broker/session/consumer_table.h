/* Consumer groups as heartbeats describe them: members by connection, and the group's shared subscriptions. Dies with
 * the process; every member of the broker group learns it by itself, because consumers beat on all. Loop thread.
 * Source: RocketMQ's ClientManageProcessor, ConsumerManager, DefaultConsumerIdsChangeListener. */
#ifndef BROKER_SESSION_CONSUMER_TABLE_H
#define BROKER_SESSION_CONSUMER_TABLE_H

#include "broker/session/session.h"
#include "broker/store/message_filter.h"
#include "remoting/protocol/body_client.h"

#include <stdbool.h>
#include <stdint.h>

#define CONSUMER_MEMBERS_MAX 200000  /* of all groups together */
#define CONSUMER_SUBS_MAX 100000     /* subscriptions of all groups together */
#define CONSUMER_GROUP_SUBS_MAX 1024 /* of one group */
#define CONSUMER_SQL_MAX 2048        /* SQL92 expressions of all groups together, some 50 KiB each at most */
#define CONSUMER_TELL_EVERY_MS 100   /* a group hears of its changes at most so often */

struct consumer_table;

struct consumer_subscription {
    char *topic; /* owned */
    enum proto_expression type;
    int64_t version;
    char *expression;              /* owned; of SQL92, else NULL */
    struct message_filter *filter; /* counted; NULL: everything passes, if usable */
    bool usable;                   /* false: an unknown type, or an expression that does not compile */
};

/* Tells one member that its group's members or topics changed (code 40). Must not change the table. */
typedef void (*consumer_changed_cb)(void *data, struct net_channel *member, struct mq_str group);

/* Returns 0 and @out (free with consumer_table_free), or MQ_ENOMEM. */
int consumer_table_new(consumer_changed_cb changed, void *data, struct consumer_table **out);
void consumer_table_free(struct consumer_table *table);

/* One consumer of a heartbeat. */
struct consumer_beat {
    struct mq_str client_id;
    const struct proto_consumer *consumer;
    const struct proto_subscriptions *subs; /* of the heartbeat; NULL: the group keeps those it has */
    bool notify;                            /* the group wants code 40 */
};

/* Registers or refreshes the member on @ch and replaces the group's subscriptions. Returns 0, MQ_ENOMEM, or
 * MQ_ETOOBIG (one of the limits above; what was there stays). */
int consumer_table_beat(struct consumer_table *table, struct net_channel *ch, const struct consumer_beat *beat,
                        uint64_t now_ms);
void consumer_table_leave(struct consumer_table *table, struct net_channel *ch, struct mq_str group);
/* The channel closed: it leaves every group. */
void consumer_table_channel_closed(struct consumer_table *table, struct net_channel *ch);
/* Removes who has not beaten for @expired_ms. Its connection stays: one without traffic ends by itself. */
void consumer_table_expire(struct consumer_table *table, uint64_t now_ms, uint64_t expired_ms);

/* Tells the members of each group that changed since it was told last; to be called once a turn. However many members
 * come or go in a turn, each hears of it once, and no group more often than every CONSUMER_TELL_EVERY_MS. */
void consumer_table_tell(struct consumer_table *table, uint64_t now_ms);

bool consumer_table_has_group(const struct consumer_table *table, struct mq_str group);
uint32_t consumer_table_members(const struct consumer_table *table);
/* NULL when the group does not subscribe to the topic. Valid until the next heartbeat of the group. */
const struct consumer_subscription *consumer_table_subscription(const struct consumer_table *table,
                                                                struct mq_str group, struct mq_str topic);
/* Appends the client ids of a group; the slices are borrowed until the table changes. Returns 0 or MQ_ENOMEM. */
int consumer_table_ids(const struct consumer_table *table, struct mq_str group, struct proto_str_list *out);

#endif
