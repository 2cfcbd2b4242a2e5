/* The queues of all topics. A topic's queues hang together, so that a message costs one look-up by name (in the layer
 * above) and one array access. Queues are made when first needed and live as long as the process. */
#ifndef BROKER_STORE_QUEUE_TABLE_H
#define BROKER_STORE_QUEUE_TABLE_H

#include "broker/store/consume_queue.h"
#include "remoting/base/text.h"

#include <stdint.h>
#include <uthash.h>

struct pull_parked;

#define QUEUE_ID_MAX 65534

struct queue {
    struct topic_queues *topic; /* borrowed: owner */
    int32_t id;
    struct consume_queue cq;     /* units of applied messages: cq.max is the queue's visible end */
    uint64_t next;               /* sequencer's: the queue offset it gives next; == cq.max when nothing is pending */
    struct pull_parked *waiters; /* flow/pull_hold's: requests parked on this queue; NULL when none */
};

struct topic_queues {
    char *topic; /* owned; key */
    uint32_t topic_bytes;
    struct queue **queues; /* owned; by id, NULL where never used */
    uint32_t n;
    UT_hash_handle hh;
};

struct queue_table {
    struct topic_queues *by_topic;
    const char *dir; /* borrowed: where consume queue files lie */
};

/* @dir: borrowed until fini. Returns 0. */
int queue_table_init(struct queue_table *table, const char *dir);
void queue_table_fini(struct queue_table *table);

/* The queues of a topic, made when missing. Returns NULL when there is no memory. */
struct topic_queues *queue_table_topic(struct queue_table *table, struct mq_str topic);

/* Queue @id of a topic: find gives NULL when it was never used, get makes it. get returns 0, MQ_ENOMEM, or MQ_EINVAL
 * for an id outside [0, QUEUE_ID_MAX] or a topic that cannot name a directory. */
struct queue *topic_queues_find(struct topic_queues *topic, int32_t id);
int topic_queues_get(struct queue_table *table, struct topic_queues *topic, int32_t id, struct queue **out);

/* Every queue's next := cq.max (leadership changed). */
void queue_table_reset_next(struct queue_table *table);

#endif
