/* Topics that a group may not read although both are there (353). */
#ifndef BROKER_STATE_FORBIDDEN_TABLE_H
#define BROKER_STATE_FORBIDDEN_TABLE_H

#include "broker/state/row_table.h"
#include "remoting/base/text.h"

#define FORBIDDEN_MAX 200000u /* the leader proposes none beyond */

struct Raftmq__ForbiddenRows;

struct forbidden_table {
    struct row_table rows;
};

void forbidden_table_init(struct forbidden_table *table);

/* Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int forbidden_table_set(struct forbidden_table *table, struct mq_str group, struct mq_str topic, bool forbidden);
bool forbidden_table_has(const struct forbidden_table *table, struct mq_str group, struct mq_str topic);
void forbidden_table_drop_group(struct forbidden_table *table, const char *group);

int forbidden_table_restore(struct forbidden_table *table, const struct Raftmq__ForbiddenRows *rows);

#endif
