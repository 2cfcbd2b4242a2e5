/* Consume queues over the end of a process.
 *
 * Taking a snapshot: [begin] which files have changed -> [pool] they are synced, queues.checkpoint names the snapshot
 * -> the snapshot counts -> [end] files that hold only what it knows to be trimmed are removed. A crash before the
 * snapshot counts leaves the stamp of the one before in the second place.
 *
 * Starting: the snapshot's stamp is there, for files of this size -> each queue takes up its files, cut to the
 * snapshot's end (what lies behind is written again, with the same bytes). No stamp, or one file that is not as it
 * should be -> all are moved aside, queues begin empty at their ends, and the owner walks the log backwards from the
 * snapshot (store_index_before). */
#include "broker/store/inside.h"

#include "broker/store/store.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <unistd.h>

/* --- loading --- */

static void forget(void *data, struct queue *queue)
{
    (void)data;
    (void)consume_queue_reset(&queue->cq, 0); /* needs no memory for an end of 0 */
    queue->next = 0;
    queue->topic->deletions = 0;
    queue->unsynced = queue->trimmed = false;
    queue->saved_min = 0;
}

static const struct checkpoint_stamp *find_stamp(const struct store *store, uint64_t index, uint32_t crc)
{
    for (uint32_t i = 0; i < CHECKPOINT_STAMPS; i++) {
        if (store->stamps[i].index == index && store->stamps[i].crc == crc) {
            return &store->stamps[i];
        }
    }
    return NULL;
}

int store_restore_begin(struct store *store, uint64_t index, uint32_t crc, uint64_t end_pos)
{
    const struct checkpoint_stamp *stamp;
    int rc = checkpoint_read(store->checkpoint_path, store->queues.file_units, store->stamps);

    if (rc != 0) {
        return rc;
    }
    queue_table_walk(&store->queues, forget, NULL);
    store_graves_leave(store);
    store->queues.unsynced = store->queues.trimmed = NULL;
    store->restoring = true;
    store->restore_end_pos = end_pos;
    store->end_pos = end_pos;
    stamp = find_stamp(store, index, crc);
    store->damaged = stamp == NULL;
    store->held_index = stamp != NULL ? stamp->held_index : index + 1;
    store->next_stamp = (struct checkpoint_stamp){index, crc, index + 1};
    return 0;
}

int store_restore_life(struct store *store, struct topic_queues *topic, uint64_t life)
{
    int rc;

    MQ_ASSERT(store->restoring);
    if (topic->life == life) {
        return 0;
    }
    for (uint32_t i = 0; i < topic->n; i++) {
        if (topic->queues[i] != NULL && topic->queues[i]->cq.max != 0) {
            return MQ_EBADMSG;
        }
    }
    rc = store_begin_life(store, topic, life);
    store_graves_leave(store); /* nothing was in there */
    return rc;
}

int store_restore_queue(struct store *store, struct queue *queue, uint64_t end, uint64_t held)
{
    int rc = store->damaged || held >= end ? MQ_ENOTFOUND
                                           : consume_queue_restore(&queue->cq, held, end, store->restore_end_pos);

    MQ_ASSERT(store->restoring);
    if (rc == MQ_ECORRUPT) {
        mq_log_warn("store", "%s is not as the checkpoint left it: all consume queues are made again from the log",
                    queue->cq.dir);
        store->damaged = true;
    }
    if (rc == MQ_ECORRUPT || rc == MQ_ENOTFOUND) {
        rc = consume_queue_reset(&queue->cq, end);
    }
    queue->next = end;
    queue->saved_min = queue->cq.min;
    return rc;
}

static void empty_at_end(void *data, struct queue *queue)
{
    int *rc = data;

    if (*rc == 0) {
        *rc = consume_queue_reset(&queue->cq, queue->cq.max);
        queue->saved_min = queue->cq.min;
    }
}

int store_restore_end(struct store *store)
{
    int rc = 0;

    store->restoring = false;
    if (!store->damaged) {
        return store_bury_unclaimed(store) ? store_sweep(store) : 0;
    }
    queue_table_walk(&store->queues, empty_at_end, &rc);
    if (rc == 0) {
        rc = store_drop_queues(store);
    }
    store->held_index = store->next_stamp.held_index;
    return rc;
}

/* --- checkpoints --- */

static size_t count_unsynced(const struct queue_table *table)
{
    size_t n = 0;

    for (const struct queue *queue = table->unsynced; queue != NULL; queue = queue->next_unsynced) {
        n++;
    }
    return n;
}

/* Which files of a queue may hold units that are not on the disk. A queue grows at its end, or at its front, or both:
 * all that is mapped is more than enough, and syncing a clean file costs next to nothing. What was unmapped since the
 * last checkpoint may have been written before. */
static struct checkpoint_files files_of(struct queue *queue)
{
    struct checkpoint_files files = {queue->cq.dir, queue->cq.first_file, queue->cq.n_files, queue->cq.file_units,
                                     queue};

    while (!queue->let_go && files.first < files.end && queue->cq.files[files.first] == NULL) {
        files.first++;
    }
    return files;
}

int store_checkpoint_begin(struct store *store)
{
    struct queue_table *table = &store->queues;
    size_t n = count_unsynced(table);

    MQ_ASSERT(store->syncing == NULL);
    store->syncing = mq_malloc((n + 1) * sizeof(store->syncing[0]));
    if (store->syncing == NULL) {
        return MQ_ENOMEM;
    }
    store->n_syncing = 0;
    for (struct queue *queue = table->unsynced; queue != NULL; queue = queue->next_unsynced) {
        store->syncing[store->n_syncing++] = files_of(queue);
        queue->unsynced = false;
        queue->let_go = false;
    }
    table->unsynced = NULL;
    table->epoch++; /* the next change of any puts it into the list again */
    store_graves_known(store);
    store->next_stamp.held_index = store->held_index;
    return 0;
}

int store_checkpoint_work(struct store *store, uint64_t index, uint32_t crc)
{
    struct checkpoint_stamp stamps[CHECKPOINT_STAMPS] = {{index, crc, store->next_stamp.held_index},
                                                         store->stamps[0]};
    int rc;

    if (store->syncing == NULL) {
        return MQ_ENOMEM; /* the begin has failed */
    }
    rc = checkpoint_sync_work(store->syncing, store->n_syncing, store->queue_dir);
    if (rc == -ENOENT) {
        rc = 0; /* no queue has ever held anything */
    }
    if (rc == 0) {
        rc = checkpoint_write(store->checkpoint_path, store->queues.file_units, stamps);
    }
    if (rc == 0) {
        store->next_stamp = stamps[0];
    }
    return rc;
}

/* Files to be removed off the loop. */
struct drop_job {
    uv_work_t work;
    struct store *store;
    size_t n, cap;
    struct checkpoint_files files[];
};

static void drop_work(uv_work_t *work)
{
    struct drop_job *job = container_of(work, struct drop_job, work);
    struct mq_buf path = {0};

    for (size_t i = 0; i < job->n; i++) {
        for (uint32_t number = job->files[i].first; number < job->files[i].end; number++) {
            path.len = 0;
            if (consume_queue_path(job->files[i].dir, number, job->files[i].file_units, &path) == 0) {
                (void)unlink((const char *)path.base); /* what stays is overwritten or removed by a later start */
            }
        }
    }
    mq_buf_free(&path);
}

static void drop_done(uv_work_t *work, int status)
{
    struct drop_job *job = container_of(work, struct drop_job, work);

    (void)status;
    job->store->drops--;
    store_job_done(job->store);
    mq_free(job);
}

/* Queues whose files a snapshot that counts has no use for. */
static void drop_trimmed(struct store *store)
{
    struct queue *queue = store->queues.trimmed;
    struct drop_job *job;
    size_t n = 0;

    for (struct queue *q = queue; q != NULL; q = q->next_trimmed) {
        n++;
    }
    job = n != 0 && store->loop != NULL ? mq_malloc(sizeof(*job) + n * sizeof(job->files[0])) : NULL;
    if (job == NULL) {
        return; /* the next checkpoint sees to it */
    }
    *job = (struct drop_job){.store = store, .cap = n};
    store->queues.trimmed = NULL;
    while (queue != NULL) {
        struct queue *next = queue->next_trimmed;
        struct checkpoint_files *files = &job->files[job->n++];

        files->dir = queue->cq.dir;
        files->file_units = queue->cq.file_units;
        consume_queue_drop(&queue->cq, queue->saved_min, &files->first, &files->end);
        queue->trimmed = false;
        store_trim_queue(store, queue, 0); /* what the snapshot did not know of yet stays in the list */
        queue = next;
    }
    store->warming++;
    store->drops++;
    if (uv_queue_work(&store->loop->uv, &job->work, drop_work, drop_done) != 0) {
        store->drops--;
        store_job_done(store);
        mq_free(job);
    }
}

/* What was not synced is still to be. */
static void take_back(struct store *store)
{
    for (size_t i = 0; i < store->n_syncing; i++) {
        struct queue *queue = store->syncing[i].queue;

        queue->let_go = true; /* which of its files were to be synced is forgotten */
        if (!queue->unsynced) {
            queue->unsynced = true;
            queue->next_unsynced = store->queues.unsynced;
            store->queues.unsynced = queue;
        }
    }
}

void store_checkpoint_end(struct store *store, int status)
{
    if (store->syncing == NULL) {
        return; /* the begin has failed */
    }
    if (status == 0) {
        store->stamps[1] = store->stamps[0];
        store->stamps[0] = store->next_stamp;
        store_graves_clear(store);
        drop_trimmed(store);
    } else {
        take_back(store);
    }
    mq_free(store->syncing);
    store->syncing = NULL;
    store->n_syncing = 0;
}

void store_trim_queue(struct store *store, struct queue *queue, uint64_t pos)
{
    queue_table_bound_maps(&store->queues);
    consume_queue_raise(&queue->cq, pos);
    if (!queue->trimmed && queue->cq.min / queue->cq.file_units > queue->cq.first_file) {
        queue->trimmed = true;
        queue->next_trimmed = store->queues.trimmed;
        store->queues.trimmed = queue;
    }
}
