/* Producer groups as heartbeats describe them: which connections can be asked about a transaction, and on which one a
 * requester waits for its reply. Dies with the process; producers beat on the leader only, so a follower knows none.
 * Loop thread. Source: RocketMQ's ClientManageProcessor, ProducerManager, ClientHousekeepingService. */
#ifndef BROKER_SESSION_PRODUCER_TABLE_H
#define BROKER_SESSION_PRODUCER_TABLE_H

#include "broker/session/session.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define PRODUCERS_MAX 200000 /* (group, connection) pairs */

struct producer_table;

/* Returns 0 and @out (free with producer_table_free), or MQ_ENOMEM. */
int producer_table_new(struct producer_table **out);
void producer_table_free(struct producer_table *table);

/* A heartbeat of @group from @ch: registers or refreshes. Returns 0, MQ_ENOMEM, or MQ_ETOOBIG (PRODUCERS_MAX, or a
 * name longer than any legal one). */
int producer_table_beat(struct producer_table *table, struct net_channel *ch, struct mq_str client_id,
                        struct mq_str group, uint64_t now_ms);
void producer_table_leave(struct producer_table *table, struct net_channel *ch, struct mq_str group);
/* The channel closed: it leaves every group. */
void producer_table_channel_closed(struct producer_table *table, struct net_channel *ch);
/* Removes who has not beaten for @expired_ms. Its connection stays: one without traffic ends by itself. */
void producer_table_expire(struct producer_table *table, uint64_t now_ms, uint64_t expired_ms);
uint32_t producer_table_count(const struct producer_table *table);

/* A connection of @group that can be asked, each one in its turn; NULL when there is none. Borrowed until the loop is
 * next entered. */
struct net_channel *producer_table_pick(struct producer_table *table, struct mq_str group);
/* The connection on which a producer with that client id beat last, or NULL. Borrowed likewise. */
struct net_channel *producer_table_of_client(const struct producer_table *table, struct mq_str client_id);

bool producer_table_has_group(const struct producer_table *table, struct mq_str group);
/* Appends the connections of a group; their client ids are borrowed until the table changes. Returns 0 or MQ_ENOMEM.
 */
int producer_table_connections(const struct producer_table *table, struct mq_str group,
                               struct proto_connections *out);

#endif
