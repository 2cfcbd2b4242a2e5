/* What a deleted topic leaves behind. Its queues are emptied at once and begin at 0 in a directory of their own (a
 * new life); their maps and their directory become a grave:
 *
 *   deleted -> [pool] unmapped -> a checkpoint begins, whose snapshot knows of the deletion -> that snapshot counts
 *   -> the directory is renamed into consumequeue.old -> [pool] removed
 *
 * Until then a start from an older snapshot finds the files where it looks for them. A crash in between leaves a
 * directory that no queue claims: the next start moves it aside (store_bury_unclaimed). */
#include "broker/store/inside.h"
#include "broker/store/store.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum grave_state { GRAVE_MAPPED, GRAVE_UNMAPPED, GRAVE_GOING };

struct store_grave {
    struct store_grave *next;
    struct store *store;
    uv_work_t work;
    enum grave_state state;
    bool known; /* a checkpoint has begun since */
    char *path; /* owned; NULL: nothing is there to be removed */
    uint32_t n;
    struct consume_queue queues[]; /* owned; checkpoints under way may read their dirs */
};

static void grave_free(struct store_grave *grave)
{
    for (uint32_t i = 0; i < grave->n; i++) {
        consume_queue_fini(&grave->queues[i]);
    }
    mq_free(grave->path);
    mq_free(grave);
}

static void unmap_work(uv_work_t *work)
{
    struct store_grave *grave = container_of(work, struct store_grave, work);

    for (uint32_t i = 0; i < grave->n; i++) {
        consume_queue_unmap(&grave->queues[i]);
    }
}

static void unmap_done(uv_work_t *work, int status)
{
    struct store_grave *grave = container_of(work, struct store_grave, work);

    (void)status;
    grave->state = GRAVE_UNMAPPED;
    store_job_done(grave->store);
}

static void unmap(struct store *store, struct store_grave *grave)
{
    if (store->loop != NULL && uv_queue_work(&store->loop->uv, &grave->work, unmap_work, unmap_done) == 0) {
        store->warming++;
        return;
    }
    unmap_work(&grave->work);
    grave->state = GRAVE_UNMAPPED;
}

static uint32_t count_queues(const struct topic_queues *topic)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < topic->n; i++) {
        n += topic->queues[i] != NULL;
    }
    return n;
}

static bool has_files(const struct topic_queues *topic)
{
    for (uint32_t i = 0; i < topic->n; i++) {
        if (topic->queues[i] != NULL && (topic->queues[i]->cq.n_files != 0 || topic->queues[i]->cq.max != 0)) {
            return true;
        }
    }
    return false;
}

/* A grave for all queues of @topic, each with an empty queue of the new life in its place there until they are
 * exchanged. NULL: no memory. */
static struct store_grave *grave_new(struct store *store, struct topic_queues *topic, uint64_t life)
{
    uint32_t n = count_queues(topic);
    struct store_grave *grave = mq_calloc(1, sizeof(*grave) + n * sizeof(grave->queues[0]));
    struct topic_queues next = *topic;
    struct mq_buf path = {0};

    if (grave == NULL) {
        return NULL;
    }
    grave->store = store;
    next.life = life;
    for (uint32_t i = 0; i < topic->n; i++) {
        char *dir = topic->queues[i] != NULL ? queue_table_queue_dir(&store->queues, &next, (int32_t)i) : NULL;

        if (dir != NULL) {
            consume_queue_init(&grave->queues[grave->n++], dir, store->queues.file_units, &store->queues.maps);
        }
    }
    if (grave->n == n && queue_table_topic_dir(&store->queues, topic, &path) == 0) {
        grave->path = mq_strdup((const char *)path.base);
    }
    mq_buf_free(&path);
    if (grave->path == NULL) {
        grave_free(grave);
        return NULL;
    }
    return grave;
}

static void exchange(struct consume_queue *a, struct consume_queue *b)
{
    const struct consume_queue kept = *a;

    *a = *b;
    *b = kept;
}

int store_begin_life(struct store *store, struct topic_queues *topic, uint64_t life)
{
    struct store_grave *grave;
    uint32_t at = 0;

    if (count_queues(topic) == 0) {
        topic->life = life;
        return 0;
    }
    grave = grave_new(store, topic, life);
    if (grave == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < topic->n; i++) {
        if (topic->queues[i] != NULL) {
            exchange(&topic->queues[i]->cq, &grave->queues[at++]);
            topic->queues[i]->saved_min = 0;
        }
    }
    topic->life = life;
    grave->next = store->graves;
    store->graves = grave;
    unmap(store, grave);
    return 0;
}

int store_delete_topic(struct store *store, struct topic_queues *topic, uint64_t pos)
{
    bool ours = topic->deletions != 0; /* then next counts in the new life already */
    int rc;

    for (uint32_t i = 0; i < topic->n; i++) {
        if (topic->queues[i] != NULL) {
            queue_table_changing(&store->queues, topic->queues[i]);
        }
    }
    rc = has_files(topic) && !RAFTMQ_DEFECT(DELETED_QUEUES_KEPT) ? store_begin_life(store, topic, pos) : 0;
    if (rc != 0) {
        return rc;
    }
    topic->deletions -= ours;
    for (uint32_t i = 0; i < topic->n; i++) {
        struct queue *queue = topic->queues[i];

        if (queue != NULL) {
            queue->next = ours ? queue->next : queue->cq.max;
            if (store->emptied != NULL) {
                store->emptied(store->arrived_data, queue);
            }
        }
    }
    return 0;
}

/* --- the end of the files --- */

static void remove_work(uv_work_t *work)
{
    struct store_grave *grave = container_of(work, struct store_grave, work);
    int rc = grave->path != NULL ? mq_dir_remove(grave->path) : 0;

    if (rc != 0) {
        mq_log_warn("store", "%s is not removed: %s", grave->path, mq_strerror(rc));
    }
}

static void remove_done(uv_work_t *work, int status)
{
    struct store_grave *grave = container_of(work, struct store_grave, work);
    struct store *store = grave->store;
    struct store_grave **at = &store->graves;

    (void)status;
    while (*at != grave) {
        at = &(*at)->next;
    }
    *at = grave->next;
    grave_free(grave);
    store_job_done(store);
}

/* Moves @path to a fresh name below consumequeue.old, which every start empties. Returns the new path, or NULL: it
 * stays, or was not there. */
static char *move_aside(const struct store *store, const char *path)
{
    char *old = mq_path_join(store->dir, "consumequeue.old");
    char name[32], *to = NULL;

    snprintf(name, sizeof(name), "%" PRIu64, mq_clock_mono_ns());
    if (old != NULL && (mkdir(old, 0755) == 0 || errno == EEXIST)) {
        to = mq_path_join(old, name);
    }
    if (to != NULL && rename(path, to) != 0) {
        mq_free(to);
        to = NULL;
    }
    mq_free(old);
    return to;
}

void store_graves_known(struct store *store)
{
    for (struct store_grave *grave = store->graves; grave != NULL; grave = grave->next) {
        grave->known = true;
    }
}

void store_graves_clear(struct store *store)
{
    for (struct store_grave *grave = store->graves; grave != NULL; grave = grave->next) {
        char *path;

        if (!grave->known || grave->state != GRAVE_UNMAPPED || store->loop == NULL || store->drops != 0) {
            continue;
        }
        path = grave->path != NULL ? move_aside(store, grave->path) : NULL;
        mq_free(grave->path);
        grave->path = path;
        grave->state = GRAVE_GOING;
        store->warming++;
        if (uv_queue_work(&store->loop->uv, &grave->work, remove_work, remove_done) != 0) {
            grave->state = GRAVE_UNMAPPED; /* once more with the next checkpoint */
            store_job_done(store);
        }
    }
}

void store_graves_leave(struct store *store)
{
    for (struct store_grave *grave = store->graves; grave != NULL; grave = grave->next) {
        if (grave->state != GRAVE_GOING) {
            mq_free(grave->path);
            grave->path = NULL;
        }
    }
}

void store_graves_free(struct store *store)
{
    while (store->graves != NULL) {
        struct store_grave *grave = store->graves;

        store->graves = grave->next;
        grave_free(grave);
    }
}

/* --- at a start --- */

struct unclaimed {
    struct store *store;
    struct mq_buf names; /* with a NUL behind each */
    int rc;
};

static bool is_claimed(struct store *store, const char *name)
{
    const char *at = strchr(name, '@');
    size_t n = at != NULL ? (size_t)(at - name) : strlen(name);
    const struct topic_queues *topic = queue_table_find(&store->queues, (struct mq_str){name, (uint32_t)n});
    uint64_t life = at != NULL ? strtoull(at + 1, NULL, 10) : 0;
    bool used = false;

    for (uint32_t i = 0; topic != NULL && i < topic->n; i++) {
        used |= topic->queues[i] != NULL && topic->queues[i]->cq.max != 0;
    }
    return used && topic->life == life;
}

static void look_at_name(void *data, const char *name)
{
    struct unclaimed *unclaimed = data;

    if (name[0] != '.' && unclaimed->rc == 0 && !is_claimed(unclaimed->store, name)) {
        unclaimed->rc = mq_buf_put(&unclaimed->names, name, strlen(name) + 1);
    }
}

bool store_bury_unclaimed(struct store *store)
{
    struct unclaimed unclaimed = {.store = store};
    bool moved = false;

    if (mq_dir_each(store->queue_dir, look_at_name, &unclaimed) == 0 && unclaimed.rc == 0) {
        for (size_t at = 0; at < unclaimed.names.len;) {
            const char *name = (const char *)unclaimed.names.base + at;
            char *path = mq_path_join(store->queue_dir, name);
            char *to = path != NULL ? move_aside(store, path) : NULL;

            moved |= to != NULL;
            mq_free(path);
            mq_free(to);
            at += strlen(name) + 1;
        }
    }
    mq_buf_free(&unclaimed.names);
    return moved;
}
