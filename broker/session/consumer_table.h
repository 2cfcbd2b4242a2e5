/* Consumer groups as heartbeats describe them: members by connection, and the group's shared subscriptions. Dies with
 * the process; every member of the broker group learns it by itself, because consumers beat on all. Loop thread.
 * Source: RocketMQ's ClientManageProcessor, ConsumerManager, DefaultConsumerIdsChangeListener. */
#ifndef BROKER_SESSION_CONSUMER_TABLE_H
#define BROKER_SESSION_CONSUMER_TABLE_H

#include "broker/session/session.h"
#include "broker/session/subscription.h"

#include <stdbool.h>
#include <stdint.h>

#define CONSUMER_MEMBERS_MAX 200000   /* of all groups together */
#define CONSUMER_SUBS_MAX 500000      /* subscriptions of all groups together */
#define CONSUMER_GROUP_SUBS_MAX 16384 /* of one group */
#define CONSUMER_SQL_MAX 2048         /* SQL92 expressions of all groups together, some 50 KiB each at most */
#define CONSUMER_TELL_EVERY_MS 100    /* a group hears of its changes at most so often */

struct consumer_table;

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

/* Registers or refreshes the member on @ch and replaces the group's subscriptions: topics that are not named any more
 * go, and one that stays keeps what it has unless the version is newer, so that a heartbeat that was overtaken
 * changes nothing. Returns 0, MQ_ENOMEM, or MQ_ETOOBIG (one of the limits above; what was there stays). */
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
/* Whether the group consumes by broadcasting: each member everything. False for one that is not known. */
bool consumer_table_is_broadcasting(const struct consumer_table *table, struct mq_str group);
uint32_t consumer_table_members(const struct consumer_table *table);
/* NULL when the group does not subscribe to the topic. Valid until the next heartbeat of the group. */
const struct consumer_subscription *consumer_table_subscription(const struct consumer_table *table,
                                                                struct mq_str group, struct mq_str topic);
/* Appends the client ids of a group; the slices are borrowed until the table changes. Returns 0 or MQ_ENOMEM. */
int consumer_table_ids(const struct consumer_table *table, struct mq_str group, struct proto_str_list *out);
/* The connection of the member @client_id; of several the one that joined last. NULL when there is none. Borrowed
 * until the loop is next entered. */
struct net_channel *consumer_table_channel(const struct consumer_table *table, struct mq_str group,
                                           struct mq_str client_id);

/* All of a group as its heartbeats had it: connections, how it consumes, subscriptions; slices are borrowed until the
 * table changes. Returns 0, MQ_ENOTFOUND or MQ_ENOMEM; @out is to be freed with consumer_picture_free either way. */
struct consumer_picture {
    struct proto_connections connections;
    struct proto_consumer consumer;
    struct proto_subscriptions subs;
};

int consumer_table_picture(const struct consumer_table *table, struct mq_str group, struct consumer_picture *out);
void consumer_picture_free(struct consumer_picture *picture);

/* Calls @cb for each member. It must not change the table. */
void consumer_table_each(const struct consumer_table *table, struct mq_str group,
                         void (*cb)(void *data, struct net_channel *ch, struct mq_str client_id), void *data);

#endif
