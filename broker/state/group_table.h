/* Consumer groups: replicated configuration. A group that is not in the table may still be used where the broker's
 * configuration lets groups be made on first use; then the leader proposes it with the defaults. */
#ifndef BROKER_STATE_GROUP_TABLE_H
#define BROKER_STATE_GROUP_TABLE_H

#include "broker/state/table_copy.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

struct Raftmq__GroupPut;
struct Raftmq__GroupDetails;
struct Raftmq__GroupRows;
struct group_name;

#define GROUPS_MAX 100000

struct group {
    char *name; /* owned; key */
    bool consume_enable, consume_from_min_enable, consume_broadcast_enable, consume_message_orderly;
    uint32_t retry_queues;
    int32_t retry_max_times;
    int64_t broker_id, which_broker_when_slow;
    bool notify_consumer_ids_changed;
    uint32_t sys_flag;
    uint32_t consume_timeout_minutes;
    struct Raftmq__GroupDetails *details; /* owned; retry policy and subscriptions; NULL: none */
    bool leaving;                         /* this leader has proposed its deletion */
    uint64_t fingerprint;                 /* as it counts in the table's sum */
    uint64_t generation;                  /* table_copy's */
    UT_hash_handle hh;
};

struct group_table {
    struct group *by_name;
    uint32_t count;
    uint64_t counter; /* applied changes */
    int64_t changed_ms;
    struct group_name *proposed; /* leader's own: names it has proposed and not yet applied */
    uint64_t sum;                /* of the fingerprints */
    struct table_copy copy;
};

void group_table_init(struct group_table *table);
void group_table_fini(struct group_table *table);
struct group *group_table_find(struct group_table *table, struct mq_str name);
int group_table_put(struct group_table *table, const struct Raftmq__GroupPut *item, int64_t store_ms);
/* Returns whether there was one. */
bool group_table_delete(struct group_table *table, struct mq_str name, int64_t store_ms);
/* Leader: the deletion of the group was just proposed. */
void group_table_note_deletion(struct group_table *table, struct mq_str name);

/* Leader: remembers that a group was proposed, so that its next use does not propose it again. put forgets the name;
 * drop forgets all, deletions too (leadership gone or newly won). Nothing is remembered when memory is short: then it
 * is proposed twice. */
void group_table_note_proposed(struct group_table *table, struct mq_str name);
bool group_table_is_proposed(const struct group_table *table, struct mq_str name);
void group_table_drop_proposed(struct group_table *table);
/* Applied groups and proposed names: what GROUPS_MAX bounds. */
uint32_t group_table_size(const struct group_table *table);

/* The row as an item; everything in it is borrowed from @group. */
void group_describe(const struct group *group, struct Raftmq__GroupPut *item);

/* How long a message that failed for the @times-th time (from 0) waits for its next delivery, by the group's retry
 * policy;
 * @group NULL: by the one that all begin with. */
int64_t group_retry_ms(const struct group *group, int32_t times);

/* Fills @item with RocketMQ's defaults for a group called @name (borrowed, NUL-terminated). */
void group_defaults(struct Raftmq__GroupPut *item, char *name);

/* Equal for equal replicated content, in whatever order it came. In O(1). */
uint64_t group_table_hash(const struct group_table *table);
/* The same, counted anew from the rows. */
uint64_t group_table_recount(const struct group_table *table);

/* A snapshot: begin, then step until it returns false; table_copy_end on table->copy. */
void group_table_copy_begin(struct group_table *table, uint16_t section, struct rlog_sink *sink);
bool group_table_copy_step(struct group_table *table);
/* Empties the table, then takes what snapshots hold, piece by piece. Returns 0, MQ_ENOMEM or MQ_EBADMSG. */
void group_table_clear(struct group_table *table);
int group_table_restore(struct group_table *table, const struct Raftmq__GroupRows *rows);

#endif
