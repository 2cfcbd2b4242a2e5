/* Offsets that groups were reset to and that no consumer has been told yet: (group, topic, queue) -> offset. The next
 * pull or pop of the queue is told (code 21); until then commits for it are ignored. */
#ifndef BROKER_STATE_RESET_TABLE_H
#define BROKER_STATE_RESET_TABLE_H

#include "broker/state/row_table.h"
#include "remoting/base/text.h"

#define RESETS_MAX 1000000u /* the leader proposes none beyond */

struct Raftmq__ResetRows;

struct reset_table {
    struct row_table rows;
};

void reset_table_init(struct reset_table *table);

/* Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int reset_table_put(struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                    int64_t offset);
/* The offset, or -1. */
int64_t reset_table_get(const struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id);
/* Leader: the same, but -1 also where a consumer was told and the item that says so (RESET_TAKEN) is on its way. */
int64_t reset_table_untold(const struct reset_table *table, struct mq_str group, struct mq_str topic,
                           int32_t queue_id);
void reset_table_note_told(struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id);
/* Leadership gone, or newly won: nobody counts as told. */
void reset_table_forget_told(struct reset_table *table);
/* A consumer was told of @offset: nothing changes when another one is pending by now. */
void reset_table_take(struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                      int64_t offset);
void reset_table_drop_topic(struct reset_table *table, const char *topic);
void reset_table_drop_group(struct reset_table *table, const char *group);

int reset_table_restore(struct reset_table *table, const struct Raftmq__ResetRows *rows);

#endif
