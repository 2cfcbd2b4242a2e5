/* Start, end, and the way in: one unit for each committed record.
 *
 * Consume queues of the process before that no checkpoint vouches for are worthless, but there may be a hundred
 * thousand files of them. They are renamed into <dir>/consumequeue.old, which a thread removes while the node starts;
 * a crash meanwhile leaves the rest to the next start. */
#include "broker/store/store.h"
#include "broker/store/inside.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* Thread of its own; @arg: the path, owned. */
static void *sweep_work(void *arg)
{
    int rc = mq_dir_remove(arg);

    if (rc != 0) {
        mq_log_warn("store", "%s is not removed: %s", (const char *)arg, mq_strerror(rc));
    }
    mq_free(arg);
    return NULL;
}

/* Moves the old consume queues to a fresh name below @old. */
static int move_aside(const struct store *store, const char *old)
{
    struct mq_buf name = {0};
    int rc;

    rc = mq_dir_make(old);
    if (rc == 0) {
        rc = mq_buf_printf(&name, "%s/%" PRIu64, old, mq_clock_mono_ns());
    }
    if (rc == 0 && rename(store->queue_dir, (const char *)name.base) != 0) {
        rc = -errno;
    }
    mq_buf_free(&name);
    return rc;
}

int store_sweep(struct store *store)
{
    char *old = mq_path_join(store->dir, "consumequeue.old");
    int rc;

    if (old == NULL) {
        return MQ_ENOMEM;
    }
    if (store->sweeping || !mq_file_exists(old)) {
        mq_free(old); /* a sweep under way leaves the rest to the next start */
        return 0;
    }
    rc = pthread_create(&store->sweeper, NULL, sweep_work, old);
    if (rc != 0) {
        mq_free(old);
        return -rc;
    }
    store->sweeping = true;
    return 0;
}

int store_drop_queues(struct store *store)
{
    char *old = mq_path_join(store->dir, "consumequeue.old");
    int rc = 0;

    if (old == NULL) {
        return MQ_ENOMEM;
    }
    /* Nothing may vouch for what is made in their place before it was synced. */
    memset(store->stamps, 0, sizeof(store->stamps));
    if (unlink(store->checkpoint_path) == 0) {
        rc = mq_dir_sync(store->dir);
    }
    if (rc == 0 && mq_file_exists(store->queue_dir)) {
        rc = move_aside(store, old);
    }
    mq_free(old);
    return rc != 0 ? rc : store_sweep(store);
}

int store_init_kept(struct store *store, const char *dir)
{
    int rc;

    *store = (struct store){.dir = mq_strdup(dir),
                            .queue_dir = mq_path_join(dir, "consumequeue"),
                            .checkpoint_path = mq_path_join(dir, "queues.checkpoint"),
                            .held_index = 1};
    rc = store->dir != NULL && store->queue_dir != NULL && store->checkpoint_path != NULL ? mq_dir_make(dir)
                                                                                          : MQ_ENOMEM;
    if (rc == 0) {
        rc = queue_table_init(&store->queues, store->queue_dir);
    }
    if (rc != 0) {
        store_fini(store);
    }
    return rc;
}

int store_init(struct store *store, const char *dir)
{
    int rc = store_init_kept(store, dir);

    if (rc == 0) {
        rc = store_drop_queues(store);
        if (rc != 0) {
            store_fini(store);
        }
    }
    return rc;
}

void store_fini(struct store *store)
{
    MQ_ASSERT(store->warming == 0);
    if (store->sweeping) {
        pthread_join(store->sweeper, NULL);
    }
    store_graves_free(store);
    queue_table_fini(&store->queues);
    mq_free(store->syncing);
    mq_free(store->checkpoint_path);
    mq_free(store->queue_dir);
    mq_free(store->dir);
    *store = (struct store){0};
}

void store_job_done(struct store *store)
{
    void (*drained)(void *data) = store->drained;

    store->warming--;
    if (store->warming == 0 && drained != NULL) {
        store->drained = NULL;
        drained(store->drained_data);
    }
}

bool store_drain(struct store *store, void (*cb)(void *data), void *data)
{
    MQ_ASSERT(store->drained == NULL);
    if (store->warming == 0) {
        return true;
    }
    store->drained = cb;
    store->drained_data = data;
    return false;
}

/* The unit of a message that waits for a delay level has the time when it is due in the place of its tag, as
 * RocketMQ's has. The record says it where a committed half message has its position: nothing else may depend on
 * what levels there are. */
static int64_t tags_code(const struct topic_queues *queues, const uint8_t *record, uint32_t bytes,
                         struct mq_str properties)
{
    struct proto_record rec;

    if (queues->scheduled && proto_record_decode(record, bytes, &rec) == 0 && rec.prepared_pos != 0) {
        return rec.prepared_pos;
    }
    return proto_tags_code(properties);
}

/* What @record says of itself: its queue, its offset there, and the unit that finds it. */
static int read_record(struct store *store, struct topic_queues *queues, const uint8_t *record, uint32_t bytes,
                       uint64_t pos, struct queue **queue, struct consume_unit *unit)
{
    struct mq_str properties = proto_record_properties(record, bytes);
    int rc;

    if (properties.at == NULL || mq_be32_load(record + PROTO_RECORD_SIZE_AT) != bytes) {
        return MQ_EBADMSG;
    }
    rc = topic_queues_get(&store->queues, queues, (int32_t)mq_be32_load(record + PROTO_RECORD_QUEUE_ID_AT), queue);
    if (rc != 0) {
        return rc;
    }
    *unit = (struct consume_unit){pos, bytes, tags_code(queues, record, bytes, properties)};
    return mq_be64_load(record + PROTO_RECORD_POS_AT) == pos ? 0 : MQ_ECORRUPT;
}

int store_index(struct store *store, struct topic_queues *queues, const uint8_t *record, uint32_t bytes, uint64_t pos)
{
    struct consume_unit unit;
    struct queue *queue;
    int rc = read_record(store, queues, record, bytes, pos, &queue, &unit);

    if (rc != 0) {
        return rc;
    }
    if (mq_be64_load(record + PROTO_RECORD_QOFF_AT) != queue->cq.max) {
        return MQ_ECORRUPT;
    }
    queue_table_changing(&store->queues, queue);
    rc = consume_queue_append(&queue->cq, &unit);
    if (rc != 0) {
        return rc;
    }
    if (queue->next < queue->cq.max && queues->deletions == 0) {
        queue->next = queue->cq.max; /* not ours: a follower, or a start */
    }
    store->messages++;
    store->end_pos = pos + bytes;
    if (store->arrived != NULL) {
        store->arrived(store->arrived_data, queue, unit.tags_code, record, bytes);
    }
    if (queue->topic->pops != NULL && store->popped != NULL) {
        store->popped(store->popped_data, queue, unit.tags_code);
    }
    return 0;
}

int store_index_before(struct store *store, struct topic_queues *queues, const uint8_t *record, uint32_t bytes,
                       uint64_t pos)
{
    struct consume_unit unit;
    struct queue *queue;
    int rc = read_record(store, queues, record, bytes, pos, &queue, &unit);

    if (rc != 0) {
        return rc;
    }
    if (queue->cq.min == 0 || mq_be64_load(record + PROTO_RECORD_QOFF_AT) != queue->cq.min - 1) {
        return MQ_ECORRUPT;
    }
    queue_table_changing(&store->queues, queue); /* its files do */
    return consume_queue_prepend(&queue->cq, &unit);
}
