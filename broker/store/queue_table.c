/* Topics in a hash table by name, the queues of each in an array by id. */
#include "broker/store/hash.h"

#include "broker/store/queue_table.h"
#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/protocol/names.h"

#include <inttypes.h>
#include <stdio.h>

#define LET_GO_AT_ONCE 64u /* maps: some tenths of a millisecond */

int queue_table_init(struct queue_table *table, const char *dir)
{
    *table = (struct queue_table){
        .dir = dir, .file_units = CONSUME_QUEUE_FILE_UNITS, .epoch = 1, .maps_max = QUEUE_MAPS_MAX};
    return 0;
}

static void topic_free(struct topic_queues *topic)
{
    for (uint32_t i = 0; i < topic->n; i++) {
        if (topic->queues[i] != NULL) {
            consume_queue_fini(&topic->queues[i]->cq);
            mq_free(topic->queues[i]);
        }
    }
    mq_free(topic->queues);
    mq_free(topic->topic);
    mq_free(topic);
}

void queue_table_fini(struct queue_table *table)
{
    struct topic_queues *topic, *next;

    HASH_ITER (hh, table->by_topic, topic, next) {
        HASH_DEL(table->by_topic, topic);
        topic_free(topic);
    }
}

struct topic_queues *queue_table_find(const struct queue_table *table, struct mq_str name)
{
    struct topic_queues *topic;

    HASH_FIND(hh, table->by_topic, name.at, name.len, topic);
    return topic;
}

struct topic_queues *queue_table_topic(struct queue_table *table, struct mq_str name)
{
    struct topic_queues *topic = queue_table_find(table, name);

    if (topic != NULL) {
        return topic;
    }
    topic = mq_calloc(1, sizeof(*topic));
    if (topic == NULL) {
        return NULL;
    }
    topic->topic = mq_strndup(name.at, name.len);
    topic->topic_bytes = name.len;
    topic->scheduled = mq_str_eq(name, PROTO_TOPIC_SCHEDULE);
    if (topic->topic != NULL) {
        HASH_ADD_KEYPTR(hh, table->by_topic, topic->topic, name.len, topic);
    }
    if (topic->hh.tbl == NULL) {
        topic_free(topic);
        return NULL;
    }
    return topic;
}

struct queue *topic_queues_find(struct topic_queues *topic, int32_t id)
{
    return id >= 0 && (uint32_t)id < topic->n ? topic->queues[id] : NULL;
}

/* Names reach here from clients by way of the log. They were checked before they were proposed; a path made of one
 * that was not must still stay below our directory. */
static bool is_safe_name(const struct topic_queues *topic)
{
    return topic->topic_bytes != 0 && topic->topic[0] != '.' && strlen(topic->topic) == topic->topic_bytes &&
           strchr(topic->topic, '/') == NULL;
}

static int make_slot(struct topic_queues *topic, uint32_t id)
{
    struct queue **queues;

    if (id < topic->n) {
        return 0;
    }
    queues = mq_realloc(topic->queues, (id + 1) * sizeof(*queues));
    if (queues == NULL) {
        return MQ_ENOMEM;
    }
    memset(queues + topic->n, 0, (id + 1 - topic->n) * sizeof(*queues));
    topic->queues = queues;
    topic->n = id + 1;
    return 0;
}

int queue_table_topic_dir(const struct queue_table *table, const struct topic_queues *topic, struct mq_buf *out)
{
    int rc = topic->life == 0 ? mq_buf_printf(out, "%s/%s", table->dir, topic->topic)
                              : mq_buf_printf(out, "%s/%s@%" PRIu64, table->dir, topic->topic, topic->life);

    return rc != 0 ? rc : mq_buf_put_u8(out, 0);
}

char *queue_table_queue_dir(const struct queue_table *table, const struct topic_queues *topic, int32_t id)
{
    struct mq_buf dir = {0};
    char name[16], *path = NULL;

    if (queue_table_topic_dir(table, topic, &dir) == 0) {
        snprintf(name, sizeof(name), "%d", (int)id);
        path = mq_path_join((const char *)dir.base, name);
    }
    mq_buf_free(&dir);
    return path;
}

static int make_queue(struct queue_table *table, struct topic_queues *topic, int32_t id, struct queue **out)
{
    struct queue *queue = mq_calloc(1, sizeof(*queue));
    char *dir = queue_table_queue_dir(table, topic, id);

    if (queue == NULL || dir == NULL) {
        mq_free(queue);
        mq_free(dir);
        return MQ_ENOMEM;
    }
    consume_queue_init(&queue->cq, dir, table->file_units, &table->maps);
    queue->topic = topic;
    queue->id = id;
    *out = queue;
    return 0;
}

static uint32_t let_go_of(struct topic_queues *topic)
{
    uint32_t gone = 0;

    for (uint32_t i = 0; i < topic->n; i++) {
        struct queue *queue = topic->queues[i];
        uint32_t n = queue != NULL ? consume_queue_let_go(&queue->cq) : 0;

        if (n != 0) {
            queue->let_go = true;
            gone += n;
        }
    }
    return gone;
}

/* Nobody holds on to a map for longer than a call. Which queue is in use is not looked at: one that is maps its file
 * again, and in its turn only. */
void queue_table_let_go(struct queue_table *table)
{
    struct topic_queues *first = table->let_go_next != NULL ? table->let_go_next : table->by_topic;
    struct topic_queues *topic = first;
    uint32_t gone = 0;

    while (topic != NULL && gone < LET_GO_AT_ONCE) {
        gone += let_go_of(topic);
        topic = topic->hh.next != NULL ? topic->hh.next : table->by_topic;
        if (topic == first) {
            break;
        }
    }
    table->let_go_next = topic;
}

int topic_queues_get(struct queue_table *table, struct topic_queues *topic, int32_t id, struct queue **out)
{
    struct queue *queue = topic_queues_find(topic, id);
    int rc;

    queue_table_bound_maps(table);
    if (queue == NULL) {
        if (id < 0 || id > QUEUE_ID_MAX || !is_safe_name(topic)) {
            return MQ_EINVAL;
        }
        rc = make_slot(topic, (uint32_t)id);
        if (rc == 0) {
            rc = make_queue(table, topic, id, &queue);
        }
        if (rc != 0) {
            return rc;
        }
        topic->queues[id] = queue;
    }
    *out = queue;
    return 0;
}

void queue_table_told(struct queue_table *table, struct queue *queue)
{
    queue->epoch = table->epoch;
    if (!queue->unsynced) {
        queue->unsynced = true;
        queue->next_unsynced = table->unsynced;
        table->unsynced = queue;
    }
    if (table->changing != NULL) {
        table->changing(table->changing_data, queue);
    }
}

void queue_table_walk(struct queue_table *table, void (*each)(void *data, struct queue *queue), void *data)
{
    for (struct topic_queues *topic = table->by_topic; topic != NULL; topic = topic->hh.next) {
        for (uint32_t i = 0; i < topic->n; i++) {
            if (topic->queues[i] != NULL) {
                each(data, topic->queues[i]);
            }
        }
    }
}

static void reset_next(void *data, struct queue *queue)
{
    (void)data;
    queue->next = queue->cq.max;
    queue->topic->deletions = 0;
}

void queue_table_reset_next(struct queue_table *table)
{
    queue_table_walk(table, reset_next, NULL);
}
