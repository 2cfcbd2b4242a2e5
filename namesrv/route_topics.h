/* Topics, and for each the broker names that hold queues of it. Knows nothing of members, addresses or time.
 *
 * A holder is the owner's object for one broker name; this table compares its address and gives it back, nothing
 * else. The owner removes a holder with route_topics_drop_holder before the object goes. */
#ifndef NAMESRV_ROUTE_TOPICS_H
#define NAMESRV_ROUTE_TOPICS_H

#include "namesrv/table.h"
#include "remoting/protocol/body_topic.h"

#define ROUTE_TOPICS_TOPICS_MAX 65536
#define ROUTE_TOPICS_HOLDERS_MAX 4096 /* broker names that share one topic */
#define ROUTE_TOPICS_NAME_MAX 255     /* bytes, as the longest %RETRY% topic */

struct route_group;

/* What one broker name holds of a topic, as it was registered. */
struct topic_share {
    struct route_group *holder; /* borrowed */
    int32_t read_queues;
    int32_t write_queues;
    int32_t perm;
    int32_t sys_flag;
    uint32_t mark; /* route_topics_sweep's */
};

struct topic {
    UT_hash_handle hh;
    struct topic_share *shares; /* owned; never empty */
    uint32_t share_count;
    uint32_t name_bytes;
    char name[]; /* without NUL */
};

struct route_topics {
    struct topic *by_name; /* in the order of their first registration */
    uint32_t last_mark;
};

void route_topics_init(struct route_topics *table);
void route_topics_fini(struct route_topics *table);

uint32_t route_topics_count(const struct route_topics *table);
struct topic *route_topics_find(const struct route_topics *table, struct mq_str name); /* or NULL */

/* First (@topic NULL) and next topic, NULL at the end. */
struct topic *route_topics_next(const struct route_topics *table, const struct topic *topic);

static inline struct mq_str topic_name(const struct topic *topic)
{
    return (struct mq_str){topic->name, topic->name_bytes};
}

/* The share of @holder in @topic, or NULL. */
struct topic_share *topic_share_of(const struct topic *topic, const struct route_group *holder);

/* Sets what @share->holder holds of topic @name, which comes into being where needed. Returns 0, MQ_EINVAL
 * (no name), MQ_ETOOBIG (one of the maxima above) or MQ_ENOMEM; after an error nothing has changed. */
int route_topics_put(struct route_topics *table, struct mq_str name, const struct topic_share *share);

/* Takes @holder's share, or all of them (NULL), off topic @name; a topic without shares goes. */
void route_topics_drop(struct route_topics *table, struct mq_str name, const struct route_group *holder);

/* Takes @holder off every topic. */
void route_topics_drop_holder(struct route_topics *table, const struct route_group *holder);

/* Whole tables are taken over in three steps: a mark, puts with that mark, and a sweep that takes @holder off every
 * topic that was not put. */
uint32_t route_topics_mark(struct route_topics *table);
void route_topics_sweep(struct route_topics *table, const struct route_group *holder, uint32_t mark);

/* How many topics @holder has a share in. */
uint32_t route_topics_held(const struct route_topics *table, const struct route_group *holder);

#endif
