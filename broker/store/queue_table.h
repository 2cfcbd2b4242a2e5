/* The queues of all topics. A topic's queues hang together, so that a message costs one look-up by name (in the layer
 * above) and one array access. Queues are made when first needed and live as long as the process: when their topic is
 * deleted they are emptied, and begin at 0 again. */
#ifndef BROKER_STORE_QUEUE_TABLE_H
#define BROKER_STORE_QUEUE_TABLE_H

#include "broker/store/consume_queue.h"
#include "remoting/base/text.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

struct mq_buf;
struct pop_group;
struct pull_parked;

#define QUEUE_ID_MAX 65534

/* Maps of consume queue files. The kernel gives a process 65,530 in all (vm.max_map_count), and the log needs some.
 */
#define QUEUE_MAPS_MAX 16384u

struct queue {
    struct topic_queues *topic; /* borrowed: owner */
    int32_t id;
    struct consume_queue cq;     /* units of applied messages: cq.max is the queue's visible end */
    uint64_t next;               /* sequencer's: the queue offset it gives next; == cq.max when nothing is pending */
    struct pull_parked *waiters; /* flow/pull_hold's: requests parked on this queue; NULL when none */
    uint64_t epoch;              /* of the table, when it last changed */
    uint64_t undone;             /* sequencer's: the table's round in which next was last taken back */

    /* The store's: what a checkpoint has to sync, and what retention left on disk. */
    struct queue *next_unsynced, *next_trimmed;
    bool unsynced, trimmed;
    bool let_go;        /* some of its files were unmapped since the last checkpoint */
    uint64_t saved_min; /* cq.min as the last snapshot has it */

    /* The state's. */
    struct queue *next_changed;
    bool changed;        /* in the list of ends to be counted anew */
    uint64_t hashed_end; /* as it counts in the sum; 0: not */
    uint64_t generation; /* table_copy's */
};

struct topic_queues {
    char *topic; /* owned; key */
    uint32_t topic_bytes;
    bool scheduled;        /* SCHEDULE_TOPIC_XXXX: units say when a message is due, not its tag */
    struct queue **queues; /* owned; by id, NULL where never used */
    uint32_t n;
    struct pop_group *pops; /* flow/pop_hold's: groups with pops parked here; NULL when none */
    /* Sequencer's: deletions of the topic that this leader has proposed and not seen applied. While there are any,
     * next counts in the life behind the last of them, and cq.max in the one before. */
    uint32_t deletions;
    uint64_t life; /* position of the deletion behind which its queues began at 0; 0: it never was deleted */
    UT_hash_handle hh;
};

struct queue_table {
    struct topic_queues *by_topic;
    const char *dir;     /* borrowed: where consume queue files lie */
    uint32_t file_units; /* of each; may be changed before the first queue is made */
    /* Told of the first change of a queue's end in each epoch, before it changes. May be NULL. The state's, which
     * begins an epoch whenever it has dealt with all it was told of. */
    void (*changing)(void *data, struct queue *queue);
    void *changing_data;
    uint64_t epoch;                   /* from 1 */
    uint64_t undo_round;              /* sequencer's */
    struct queue *unsynced;           /* changed since the last checkpoint */
    struct queue *trimmed;            /* have files below cq.min */
    _Atomic uint32_t maps;            /* files that are mapped; any thread */
    uint32_t maps_max;                /* of the process; above it queues let go of theirs, each in its turn */
    struct topic_queues *let_go_next; /* whose turn it is; NULL: the first one's */
};

/* @dir: borrowed until fini. Returns 0. */
int queue_table_init(struct queue_table *table, const char *dir);
void queue_table_fini(struct queue_table *table);

/* The queues of a topic, made when missing. Returns NULL when there is no memory. */
struct topic_queues *queue_table_topic(struct queue_table *table, struct mq_str topic);
/* The same, or NULL when there are none. */
struct topic_queues *queue_table_find(const struct queue_table *table, struct mq_str topic);

/* Where the files of a topic's queues lie: <dir>/<topic>, or <dir>/<topic>@<life> behind a deletion, so that the
 * files of an earlier life can stay until no snapshot needs them. No topic's name has an '@'. Appended to @out with a
 * NUL. Returns 0 or MQ_ENOMEM. */
int queue_table_topic_dir(const struct queue_table *table, const struct topic_queues *topic, struct mq_buf *out);
/* And those of one queue, as an allocated string, or NULL. Free with mq_free. */
char *queue_table_queue_dir(const struct queue_table *table, const struct topic_queues *topic, int32_t id);

/* Queue @id of a topic: find gives NULL when it was never used, get makes it. get returns 0, MQ_ENOMEM, or MQ_EINVAL
 * for an id outside [0, QUEUE_ID_MAX] or a topic that cannot name a directory. */
struct queue *topic_queues_find(struct topic_queues *topic, int32_t id);
int topic_queues_get(struct queue_table *table, struct topic_queues *topic, int32_t id, struct queue **out);

/* Keeps the number of maps below maps_max. To be called before a queue is read or written, while nobody holds on to
 * what lies in a map: any queue may lose its own. */
void queue_table_let_go(struct queue_table *table);
static inline void queue_table_bound_maps(struct queue_table *table)
{
    if (atomic_load_explicit(&table->maps, memory_order_relaxed) > table->maps_max) {
        queue_table_let_go(table);
    }
}

/* To be called before cq.max changes. */
void queue_table_told(struct queue_table *table, struct queue *queue);
static inline void queue_table_changing(struct queue_table *table, struct queue *queue)
{
    if (queue->epoch != table->epoch) {
        queue_table_told(table, queue);
    }
}

/* Calls @each for every queue there is. */
void queue_table_walk(struct queue_table *table, void (*each)(void *data, struct queue *queue), void *data);

/* Every queue's next := cq.max, and no deletions are under way (leadership changed). */
void queue_table_reset_next(struct queue_table *table);

#endif
