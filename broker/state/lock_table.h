/* Queue locks of orderly consumers: (group, topic, broker name, queue) -> client id. Replicated; a lock ends only by
 * an item. renewed_ms is the leader's own: monotonic, never replicated, counted anew after an election. */
#ifndef BROKER_STATE_LOCK_TABLE_H
#define BROKER_STATE_LOCK_TABLE_H

#include "broker/state/table_copy.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

struct Raftmq__LockGrant;
struct Raftmq__LockRelease;
struct Raftmq__LockRows;
struct lock_group;

#define LOCK_LEASE_MS 60000

struct lock_key {
    struct mq_str group, topic, broker_name;
    int32_t queue_id;
};

struct lock {
    char *key; /* owned: group, topic, broker name with NULs between, then the queue id in 4 bytes */
    uint32_t key_bytes;
    struct lock_key parts; /* borrowed from key */
    struct lock_group *group;
    char *client_id;     /* owned */
    uint64_t renewed_ms; /* leader: monotonic time of the last lock call or of the election */
    uint32_t releasing;  /* leader: so many releases were proposed and not applied yet: a renewal comes too late */
    uint64_t generation; /* table_copy's */
    TAILQ_ENTRY(lock) by_lease;
    UT_hash_handle hh;
};

TAILQ_HEAD(lock_list, lock);

struct lock_table {
    struct lock *by_key;
    struct lock_group *groups; /* those that hold a lock */
    struct lock_list by_lease; /* leader: ascending by renewed_ms */
    /* Leader: releases under way that may meet a lock which is not there yet. While there are any, a row alone does
     * not tell that its owner keeps it. */
    uint32_t blind_releases;
    uint32_t count;
    uint64_t sum; /* of the fingerprints */
    struct table_copy copy;
};

void lock_table_init(struct lock_table *table);
void lock_table_fini(struct lock_table *table);
struct lock *lock_table_find(const struct lock_table *table, const struct lock_key *key);
/* Somebody of @group holds a queue. */
bool lock_table_group_holds(const struct lock_table *table, struct mq_str group);
/* Returns 0, or MQ_ENOMEM, after which some queues may be granted. Queues under names that are too long are left out.
 */
int lock_table_grant(struct lock_table *table, const struct Raftmq__LockGrant *item);
void lock_table_release(struct lock_table *table, const struct Raftmq__LockRelease *item);
/* A new leader: every lease starts now. */
void lock_table_restart_leases(struct lock_table *table, uint64_t now_ms);
/* Leader: the lease of @lock starts now. */
void lock_table_renew(struct lock_table *table, struct lock *lock, uint64_t now_ms);

/* Equal for equal replicated content (leases left out), in whatever order it came. In O(1). */
uint64_t lock_table_hash(const struct lock_table *table);
/* The same, counted anew from the rows. */
uint64_t lock_table_recount(const struct lock_table *table);

/* A snapshot: begin, then step until it returns false; table_copy_end on table->copy. */
void lock_table_copy_begin(struct lock_table *table, uint16_t section, struct rlog_sink *sink);
bool lock_table_copy_step(struct lock_table *table);
/* Empties the table, then takes what snapshots hold, piece by piece. Returns 0, MQ_ENOMEM or MQ_EBADMSG. */
void lock_table_clear(struct lock_table *table);
int lock_table_restore(struct lock_table *table, const struct Raftmq__LockRows *rows);

#endif
