/* Consumer offsets: (group, topic, queue) -> the last commit in log order, also a smaller one. */
#ifndef BROKER_STATE_OFFSET_TABLE_H
#define BROKER_STATE_OFFSET_TABLE_H

#include "broker/state/table_copy.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

struct Raftmq__OffsetRows;
struct offset_row;  /* one (group, topic) with its queues */
struct offset_name; /* a group or a topic with its rows */
struct offset_walk;

struct offset_table {
    struct offset_row *rows;
    struct offset_name *groups, *topics;
    struct offset_walk *walk; /* borrowed: the one under way; NULL: none */
    uint64_t commits;         /* applied since the process started */
    uint64_t noted;           /* leader's own: the last draft with a commit of a row that is not there yet */
    uint64_t sum;             /* of the fingerprints of all queues in all rows */
    struct table_copy copy;
};

void offset_table_init(struct offset_table *table);
void offset_table_fini(struct offset_table *table);
/* Returns 0, MQ_ENOMEM, or MQ_ETOOBIG (names that no client may use: state/joined_key.h). */
int offset_table_put(struct offset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                     int64_t offset);
/* The committed offset, or -1. */
int64_t offset_table_get(const struct offset_table *table, struct mq_str group, struct mq_str topic,
                         int32_t queue_id);

/* Leader: offsets of @group in @topic are changed by what was put into draft number @draft (sequencer_drafts_get). */
void offset_table_note(struct offset_table *table, struct mq_str group, struct mq_str topic, uint64_t draft);
/* Leader: whether a commit of @offset would change nothing: it is what is committed, and no change of the row is on
 * its way, as all drafts up to @answered have ended. */
bool offset_table_is_level(const struct offset_table *table, struct mq_str group, struct mq_str topic,
                           int32_t queue_id, int64_t offset, uint64_t answered);

/* All rows of the topic, of the group, go. */
void offset_table_drop_topic(struct offset_table *table, struct mq_str topic);
void offset_table_drop_group(struct offset_table *table, struct mq_str group);
/* The offsets of @source in @topic become those of @target, queue by queue; others of @target stay. Returns 0,
 * MQ_ENOMEM or MQ_ETOOBIG. */
int offset_table_clone(struct offset_table *table, struct mq_str source, struct mq_str target, struct mq_str topic);

/* Calls @each for every topic in which @group has offsets, or for every group with offsets in @topic. Nothing may be
 * changed meanwhile; the names are borrowed. */
void offset_table_topics_of(const struct offset_table *table, struct mq_str group,
                            void (*each)(void *data, const char *topic), void *data);
void offset_table_groups_of(const struct offset_table *table, struct mq_str topic,
                            void (*each)(void *data, const char *group), void *data);

/* A walk over all rows in steps, while the table goes on changing. One at a time. */
struct offset_walk {
    struct offset_table *table; /* borrowed */
    struct offset_row *next;
};

struct offset_loss {
    const char *group, *topic; /* borrowed */
    uint64_t messages;
};

void offset_walk_begin(struct offset_walk *walk, struct offset_table *table);
/* Looks at one row: calls @each if the group has committed less than what @first says its queues begin with. Returns
 * false behind the last row. */
bool offset_walk_step(struct offset_walk *walk, uint64_t (*first)(void *data, const char *topic, int32_t queue_id),
                      void (*each)(void *data, const struct offset_loss *loss), void *data);

/* Equal for equal replicated content, in whatever order it came. In O(1). */
uint64_t offset_table_hash(const struct offset_table *table);
/* The same, counted anew from the rows. */
uint64_t offset_table_recount(const struct offset_table *table);

/* A snapshot: begin, then step until it returns false; table_copy_end on table->copy. */
void offset_table_copy_begin(struct offset_table *table, uint16_t section, struct rlog_sink *sink);
bool offset_table_copy_step(struct offset_table *table);
/* Empties the table, then takes what snapshots hold, piece by piece. Returns 0, MQ_ENOMEM or MQ_EBADMSG. */
void offset_table_clear(struct offset_table *table);
int offset_table_restore(struct offset_table *table, const struct Raftmq__OffsetRows *rows);

#endif
