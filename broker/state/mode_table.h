/* How consumers of a group ask for the messages of a topic, where an administrator has said so (401). */
#ifndef BROKER_STATE_MODE_TABLE_H
#define BROKER_STATE_MODE_TABLE_H

#include "broker/state/row_table.h"
#include "remoting/base/text.h"

#define REQUEST_MODES_MAX 200000u /* the leader proposes none beyond */

struct Raftmq__RequestModeRows;
struct Raftmq__RequestModePut;

struct request_mode {
    bool pop;                 /* else pull */
    int32_t pop_share_queues; /* of how many others a member of the group takes queues, too; see 400 */
};

struct mode_table {
    struct row_table rows;
};

void mode_table_init(struct mode_table *table);

/* Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int mode_table_put(struct mode_table *table, const struct Raftmq__RequestModePut *item);
/* Returns false when nobody has said anything; @out is untouched then. */
bool mode_table_get(const struct mode_table *table, struct mq_str group, struct mq_str topic,
                    struct request_mode *out);
void mode_table_drop_topic(struct mode_table *table, const char *topic);
void mode_table_drop_group(struct mode_table *table, const char *group);

int mode_table_restore(struct mode_table *table, const struct Raftmq__RequestModeRows *rows);

#endif
