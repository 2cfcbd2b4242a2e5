/* Topics, and for each the broker names that hold queues of it. Knows nothing of members, addresses or time.
 *
 * A holder is the owner's object for one broker name; this table compares its address and gives it back, nothing
 * else. The owner removes a holder with topic_table_drop_holder before the object goes. */
#ifndef NAMESRV_TOPIC_TABLE_H
#define NAMESRV_TOPIC_TABLE_H

#include "namesrv/table.h"
#include "remoting/protocol/body_topic.h"

#define TOPIC_TABLE_TOPICS_MAX 65536
#define TOPIC_TABLE_HOLDERS_MAX 4096 /* broker names that share one topic */
#define TOPIC_TABLE_NAME_MAX 255     /* bytes, as the longest %RETRY% topic */

struct route_group;

/* What one broker name holds of a topic, as it was registered. */
struct topic_share {
    struct route_group *holder; /* borrowed */
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm;
    int32_t sys_flag;
    uint32_t mark; /* topic_table_sweep's */
};

struct topic {
    UT_hash_handle hh;
    struct topic_share *shares; /* owned; never empty */
    uint32_t share_count;
    uint32_t name_bytes;
    char name[]; /* without NUL */
};

struct topic_table {
    struct topic *by_name; /* in the order of their first registration */
    uint32_t last_mark;
};

void topic_table_init(struct topic_table *table);
void topic_table_fini(struct topic_table *table);

uint32_t topic_table_count(const struct topic_table *table);
struct topic *topic_table_find(const struct topic_table *table, struct mq_str name); /* or NULL */

/* First (@topic NULL) and next topic, NULL at the end. */
struct topic *topic_table_next(const struct topic_table *table, const struct topic *topic);

static inline struct mq_str topic_name(const struct topic *topic)
{
    return (struct mq_str){topic->name, topic->name_bytes};
}

/* The share of @holder in @topic, or NULL. */
struct topic_share *topic_share_of(const struct topic *topic, const struct route_group *holder);

/* Sets what @share->holder holds of topic @name, which comes into being where needed. Returns 0, MQ_EINVAL
 * (no name), MQ_ETOOBIG (one of the maxima above) or MQ_ENOMEM; after an error nothing has changed. */
int topic_table_put(struct topic_table *table, struct mq_str name, const struct topic_share *share);

/* Takes @holder's share, or all of them (NULL), off topic @name; a topic without shares goes. */
void topic_table_drop(struct topic_table *table, struct mq_str name, const struct route_group *holder);

/* Takes @holder off every topic. */
void topic_table_drop_holder(struct topic_table *table, const struct route_group *holder);

/* Whole tables are taken over in three steps: a mark, puts with that mark, and a sweep that takes @holder off every
 * topic that was not put. */
uint32_t topic_table_mark(struct topic_table *table);
void topic_table_sweep(struct topic_table *table, const struct route_group *holder, uint32_t mark);

/* How many topics @holder has a share in. */
uint32_t topic_table_held(const struct topic_table *table, const struct route_group *holder);

#endif
