/* Topics: replicated configuration, changed only by apply, plus what the leader has proposed and not yet applied
 * (pending), so that a send can follow the creation of its topic in the same entry. */
#ifndef BROKER_STATE_TOPIC_TABLE_H
#define BROKER_STATE_TOPIC_TABLE_H

#include "broker/state/table_copy.h"
#include "broker/store/queue_table.h"
#include "remoting/base/buf.h"
#include "remoting/base/text.h"
#include "remoting/protocol/body_register.h"

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

struct Raftmq__TopicRows;
struct Raftmq__TopicConfigItem; /* generated typedef: Raftmq__TopicConfigItem */

enum { TOPIC_PERM_INHERIT = 1, TOPIC_PERM_WRITE = 2, TOPIC_PERM_READ = 4 };
enum { TOPIC_SYS_FLAG_UNIT = 1, TOPIC_SYS_FLAG_UNIT_SUB = 2 };

#define TOPICS_MAX 50000 /* all of them fit into one registration: PROTO_TOPICS_MAX, and a frame of 16 MiB */
#define TOPIC_QUEUES_MAX 65535

struct topic_attribute {
    char *key, *value; /* owned */
};

struct topic {
    char *name; /* owned; key */
    uint32_t name_bytes;
    uint32_t read_queues, write_queues;
    uint32_t perm;
    bool multi_tag;
    uint32_t sys_flag;
    bool order;
    struct topic_attribute *attributes; /* owned, sorted by key */
    uint32_t n_attributes;
    bool pending;                /* proposed by this leader, not applied: only sends see it */
    bool leaving;                /* this leader has proposed its deletion: sends no longer see it */
    uint32_t ticket, leaves_by;  /* of the proposals that made it pending, and leaving */
    struct topic *heir;          /* owned; a pending topic of this name behind the deletion; NULL: none */
    struct topic_queues *queues; /* borrowed from the store's queue_table */
    uint64_t fingerprint;        /* of an applied one, as it counts in the table's sum */
    uint64_t generation;         /* table_copy's */
    UT_hash_handle hh;
};

struct topic_table {
    struct topic *by_name;
    uint32_t count;                  /* applied ones */
    uint64_t counter;                /* applied changes: DataVersion.counter */
    int64_t changed_ms;              /* store_ms of the last change: DataVersion.timestamp */
    uint32_t tickets;                /* of proposals, given so far */
    struct queue_table *queue_table; /* borrowed */
    uint64_t sum;                    /* of the fingerprints of applied ones */
    struct table_copy copy;
};

void topic_table_init(struct topic_table *table, struct queue_table *queue_table);
void topic_table_fini(struct topic_table *table);

/* An applied topic, or NULL. */
struct topic *topic_table_find(struct topic_table *table, struct mq_str name);
/* As find, but a pending one counts too, and one whose deletion is proposed does not: for sends only. */
struct topic *topic_table_find_for_send(struct topic_table *table, struct mq_str name);

/* As find, but one whose deletion is proposed does not count: an offset of it, proposed now, would lie behind the
 * deletion and be taken for one of the next topic's under this name. */
struct topic *topic_table_find_staying(struct topic_table *table, struct mq_str name);

/* Apply: creates or replaces. Returns 0 or MQ_ENOMEM. */
int topic_table_put(struct topic_table *table, const struct Raftmq__TopicConfigItem *config, int64_t store_ms);

/* Apply: the topic goes; one that was proposed behind the deletion becomes pending. Returns whether there was one. */
bool topic_table_delete(struct topic_table *table, struct mq_str name, int64_t store_ms);
/* Leader: a number for what is proposed next: topics that are made pending, or noted as leaving, until the next
 * number is taken. Never 0. */
uint32_t topic_table_ticket(struct topic_table *table);
/* Leader: the proposal with this number did not reach the log. What it had made pending is forgotten, and what it was
 * to delete stays. */
void topic_table_forget(struct topic_table *table, uint32_t ticket);
/* Leader: the deletion of the topic was just proposed. */
void topic_table_note_deletion(struct topic_table *table, struct mq_str name);

/* Leader: makes a pending topic out of a configuration that was just proposed. Returns 0 or MQ_ENOMEM; a known topic
 * is left alone. */
int topic_table_put_pending(struct topic_table *table, const struct Raftmq__TopicConfigItem *config);
/* Leadership gone, or newly won: pending topics are dropped, and no deletions are under way. */
void topic_table_drop_pending(struct topic_table *table);

/* Equal for equal replicated content (pending ones left out), in whatever order it came. In O(1). */
uint64_t topic_table_hash(const struct topic_table *table);
/* The same, counted anew from the rows. */
uint64_t topic_table_recount(const struct topic_table *table);

/* A snapshot: begin, then step until it returns false; table_copy_end on table->copy. */
void topic_table_copy_begin(struct topic_table *table, uint16_t section, struct rlog_sink *sink);
bool topic_table_copy_step(struct topic_table *table);
/* Empties the table, then takes what snapshots hold, piece by piece. Returns 0, MQ_ENOMEM or MQ_EBADMSG. */
void topic_table_clear(struct topic_table *table);
int topic_table_restore(struct topic_table *table, const struct Raftmq__TopicRows *rows);

#endif
