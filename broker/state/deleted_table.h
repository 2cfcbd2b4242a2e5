/* Names of topics that were deleted, and where in the log. Records of the name below that position are not of the
 * topic that has the name now, if one has: whoever meets them when it goes back through the log passes over them. A
 * row goes when the log's beginning has passed the position. */
#ifndef BROKER_STATE_DELETED_TABLE_H
#define BROKER_STATE_DELETED_TABLE_H

#include "broker/state/row_table.h"
#include "remoting/base/text.h"

#define DELETED_TOPICS_MAX 200000u /* the leader proposes no deletion beyond */

struct Raftmq__DeletedTopicRows;

struct deleted_table {
    struct row_table rows;
};

void deleted_table_init(struct deleted_table *table);

/* The topic was deleted at @pos, which is behind all that is known. Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int deleted_table_put(struct deleted_table *table, struct mq_str name, uint64_t pos);
/* Records of the name below this position are gone; 0: it was never deleted, or so long ago that none is left. */
uint64_t deleted_table_pos(const struct deleted_table *table, struct mq_str name);
/* The log begins at @pos now. */
void deleted_table_trim(struct deleted_table *table, uint64_t pos);

int deleted_table_restore(struct deleted_table *table, const struct Raftmq__DeletedTopicRows *rows);

#endif
