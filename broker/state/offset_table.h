/* Consumer offsets: (group, topic, queue) -> the last commit in log order, also a smaller one. */
#ifndef BROKER_STATE_OFFSET_TABLE_H
#define BROKER_STATE_OFFSET_TABLE_H

#include "remoting/base/text.h"

#include <stdint.h>
#include <uthash.h>

struct offset_row; /* one (group, topic) with its queues */

struct offset_table {
    struct offset_row *rows;
    uint64_t commits; /* applied */
};

void offset_table_init(struct offset_table *table);
void offset_table_fini(struct offset_table *table);
/* Returns 0, MQ_ENOMEM, or MQ_ETOOBIG (names that no client may use: state/joined_key.h). */
int offset_table_put(struct offset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                     int64_t offset);
/* The committed offset, or -1. */
int64_t offset_table_get(const struct offset_table *table, struct mq_str group, struct mq_str topic,
                         int32_t queue_id);

/* Equal for equal replicated content, in whatever order it came. */
uint64_t offset_table_hash(const struct offset_table *table);

#endif
