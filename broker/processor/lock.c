/* LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42). A grant is an entry, so that the next leader knows it; a renewal by
 * the owner needs none: it only moves the lease, which the leader counts by its own monotonic clock.
 *
 * Nobody is told that it holds a lock whose release is in the log already. A row counts the releases that will meet
 * it (releasing). A release may also meet a lock that is not in the table yet, because its grant is still under way
 * in front of it; while there are such releases (blind_releases), the row alone does not tell, and a renewal becomes
 * an entry too: what is held when that entry is applied is held. Source: RocketMQ's RebalanceLockManager. */
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_client.h"
#include "remoting/protocol/names.h"

#define LOCKS_MAX 200000     /* of all groups together */
#define LOCK_EXPIRE_MAX 1000 /* leases that end at a time */

/* A request while its entry is under way: an own copy of the text that the batch points into. */
struct lock_job {
    struct context *ctx;
    char *text; /* owned */
    struct proto_lock_batch batch;
    uint64_t term; /* of a release: when it was proposed; what a former leadership counted is not looked at */
    bool blind;    /* it counts in blind_releases */
};

static void job_free(struct lock_job *job)
{
    proto_lock_batch_free(&job->batch);
    mq_free(job->text);
    mq_free(job);
}

static bool has_nul(struct mq_str text)
{
    return text.len != 0 && memchr(text.at, '\0', text.len) != NULL;
}

/* What is wrong with the request, or NULL. Names are not looked up, as in the original, but they become keys of a
 * table and text of an item. */
static const char *find_fault(const struct proto_lock_batch *batch)
{
    if (proto_group_check(batch->group) != PROTO_NAME_OK) {
        return "consumerGroup is not a legal name";
    }
    if (batch->client_id.len == 0 || batch->client_id.len > CLIENT_ID_MAX || has_nul(batch->client_id)) {
        return "clientId is empty or too long";
    }
    for (uint32_t i = 0; i < batch->queues.count; i++) {
        const struct proto_queue_ref *queue = &batch->queues.items[i];

        if (proto_topic_check(queue->topic) != PROTO_NAME_OK) {
            return "mqSet names an illegal topic";
        }
        if (queue->broker_name.len > PROTO_RETRY_TOPIC_MAX || has_nul(queue->broker_name)) {
            return "mqSet names an illegal brokerName";
        }
        if (queue->queue_id < 0 || queue->queue_id > QUEUE_ID_MAX) {
            return "mqSet has a queueId outside 0 to 65534";
        }
    }
    return NULL;
}

/* Decodes the body into a new job. Returns NULL after an answer. */
static struct lock_job *job_new(struct context *ctx, const struct reply_to *to, const struct proto_command *cmd)
{
    struct lock_job *job = mq_calloc(1, sizeof(*job));
    const char *fault = NULL;
    int rc = MQ_ENOMEM;

    if (job == NULL) {
        reply_failed(to, rc);
        return NULL;
    }
    job->ctx = ctx;
    job->text = mq_strndup((const char *)cmd->body, cmd->body_bytes);
    if (job->text != NULL) {
        rc = proto_lock_batch_decode(job->text, cmd->body_bytes, &job->batch);
    }
    if (rc == 0) {
        fault = find_fault(&job->batch);
    }
    if (rc == 0 && fault == NULL) {
        return job;
    }
    job_free(job);
    reply_error(to, RESP_SYSTEM_ERROR, "lock body of %u bytes: %s", cmd->body_bytes,
                fault != NULL ? fault : mq_strerror(rc));
    return NULL;
}

static struct lock *lock_of(const struct lock_job *job, const struct proto_queue_ref *queue)
{
    struct lock_key key = {job->batch.group, queue->topic, queue->broker_name, queue->queue_id};

    return lock_table_find(&job->ctx->state->locks, &key);
}

static bool is_askers(const struct lock_job *job, const struct lock *lock)
{
    return lock != NULL && mq_str_eq(mq_str_of(lock->client_id), job->batch.client_id);
}

/* A lock whose release lies in the log already is nobody's. */
static bool held_by_asker(const struct lock_job *job, const struct lock *lock)
{
    return is_askers(job, lock) && lock->releasing == 0;
}

/* Answers with what the asker holds now. */
static void answer_locked(const struct lock_job *job, const struct reply_to *to)
{
    struct proto_queue_refs held = {0};
    struct mq_buf body = {0};
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < job->batch.queues.count; i++) {
        const struct proto_queue_ref *queue = &job->batch.queues.items[i];

        if (held_by_asker(job, lock_of(job, queue))) {
            struct proto_queue_ref *ref = proto_queue_refs_add(&held);

            if (ref == NULL) {
                rc = MQ_ENOMEM;
            } else {
                *ref = *queue;
            }
        }
    }
    if (rc == 0) {
        rc = proto_locked_encode(&body, &held);
    }
    reply_built(to, rc, &body);
    proto_queue_refs_free(&held);
}

static void renew(struct lock_job *job, uint64_t now_ms)
{
    for (uint32_t i = 0; i < job->batch.queues.count; i++) {
        struct lock *lock = lock_of(job, &job->batch.queues.items[i]);

        if (held_by_asker(job, lock)) {
            lock_table_renew(&job->ctx->state->locks, lock, now_ms);
        }
    }
}

/* The queues of the job that its item has to name, as protobuf with all text in one arena. */
struct item_text {
    Raftmq__LockedQueue *queues;
    Raftmq__LockedQueue **list;
    char *text; /* owned arena */
    size_t used;
    char *group, *client_id;
};

static char *keep(struct item_text *item, struct mq_str s)
{
    char *at = item->text + item->used;

    memcpy(at, s.at != NULL ? s.at : "", s.len);
    at[s.len] = '\0';
    item->used += s.len + 1;
    return at;
}

static void item_text_free(struct item_text *item)
{
    mq_free(item->queues);
    mq_free(item->list);
    mq_free(item->text);
}

static int item_text_init(struct item_text *item, const struct lock_job *job)
{
    uint32_t n = job->batch.queues.count;
    size_t bytes = job->batch.group.len + job->batch.client_id.len + 2;

    for (uint32_t i = 0; i < n; i++) {
        bytes += job->batch.queues.items[i].topic.len + job->batch.queues.items[i].broker_name.len + 2;
    }
    *item = (struct item_text){
        .queues = mq_calloc(n + 1, sizeof(*item->queues)),
        .list = mq_calloc(n + 1, sizeof(*item->list)),
        .text = mq_malloc(bytes),
    };
    if (item->queues == NULL || item->list == NULL || item->text == NULL) {
        item_text_free(item);
        return MQ_ENOMEM;
    }
    item->group = keep(item, job->batch.group);
    item->client_id = keep(item, job->batch.client_id);
    return 0;
}

static void item_text_add(struct item_text *item, size_t at, const struct proto_queue_ref *queue)
{
    Raftmq__LockedQueue *out = &item->queues[at];

    raftmq__locked_queue__init(out);
    out->topic = keep(item, queue->topic);
    out->broker_name = keep(item, queue->broker_name);
    out->queue_id = queue->queue_id;
    item->list[at] = out;
}

static void on_granted(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct reply_to to = reply_to_of_pending(p);
    struct lock_job *job = p->data;

    if (outcome->status != 0) {
        reply_failed(&to, outcome->status);
    } else {
        renew(job, mq_clock_mono_ms());
        answer_locked(job, &to);
    }
    job_free(job);
}

/* Whether only the log can tell who holds the queue. */
static bool is_open(const struct lock_job *job, const struct lock *lock)
{
    return lock == NULL || lock->releasing != 0 ||
           (is_askers(job, lock) && job->ctx->state->locks.blind_releases != 0);
}

/* Proposes a grant of the queues that are free, or about to be. Returns 0 with @proposed told, or a negative code. */
static int propose_grant(struct lock_job *job, const struct sequencer_pending *p, bool *proposed)
{
    Raftmq__LockGrant grant = RAFTMQ__LOCK_GRANT__INIT;
    struct item_text item;
    int rc = item_text_init(&item, job);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < job->batch.queues.count; i++) {
        const struct lock *lock = lock_of(job, &job->batch.queues.items[i]);

        if (is_open(job, lock)) {
            item_text_add(&item, grant.n_queues++, &job->batch.queues.items[i]);
        }
    }
    *proposed = grant.n_queues != 0;
    if (*proposed && job->ctx->state->locks.count + grant.n_queues > LOCKS_MAX) {
        rc = MQ_ENOMEM;
    } else if (*proposed) {
        grant.group = item.group;
        grant.client_id = item.client_id;
        grant.queues = item.list;
        rc = propose_item(job->ctx, COMMAND_LOCK_GRANT, &grant.base, p);
    }
    item_text_free(&item);
    return rc;
}

void lock_queues(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct lock_job *job = job_new(ctx, &to, cmd);
    struct sequencer_pending pending = pending_for(&to, on_granted, job);
    bool proposed = false;
    int rc;

    if (job == NULL) {
        return;
    }
    renew(job, mq_clock_mono_ms());
    rc = propose_grant(job, &pending, &proposed);
    if (rc == 0 && proposed) {
        return; /* on_granted answers and frees */
    }
    if (rc == 0) {
        answer_locked(job, &to); /* renewals and refusals only */
    } else {
        reply_failed(&to, rc);
    }
    job_free(job);
}

/* The release lies in the log now. */
static void count_release(struct lock_job *job)
{
    job->term = job->ctx->role.term;
    for (uint32_t i = 0; i < job->batch.queues.count; i++) {
        struct lock *lock = lock_of(job, &job->batch.queues.items[i]);

        job->blind = job->blind || lock == NULL || lock->releasing != 0;
        if (is_askers(job, lock)) {
            lock->releasing++;
        }
    }
    job->ctx->state->locks.blind_releases += job->blind;
}

/* It never came into the log, or nobody leads here any more. */
static void uncount_release(struct lock_job *job)
{
    for (uint32_t i = 0; i < job->batch.queues.count; i++) {
        struct lock *lock = lock_of(job, &job->batch.queues.items[i]);

        if (is_askers(job, lock) && lock->releasing != 0) {
            lock->releasing--;
        }
    }
}

static void on_released(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct lock_job *job = p->data;

    if (job->term == job->ctx->role.term) {
        job->ctx->state->locks.blind_releases -= job->blind;
        if (outcome->status != 0) {
            uncount_release(job);
        }
    }
    answer_done(p, outcome);
    job_free(job);
}

/* Proposes the release of what others do not hold. A queue that nobody holds counts too: its grant may be on its way,
 * and so may the release of who holds it. @job: taken when @proposed. Returns 0 or a negative code. */
static int propose_release(struct lock_job *job, const struct reply_to *to, bool *proposed)
{
    struct sequencer_pending pending = pending_for(to, on_released, job);
    Raftmq__LockRelease release = RAFTMQ__LOCK_RELEASE__INIT;
    struct item_text item;
    int rc = item_text_init(&item, job);

    *proposed = false;
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < job->batch.queues.count; i++) {
        const struct lock *lock = lock_of(job, &job->batch.queues.items[i]);

        if (lock == NULL || lock->releasing != 0 || is_askers(job, lock)) {
            item_text_add(&item, release.n_queues++, &job->batch.queues.items[i]);
        }
    }
    if (release.n_queues != 0) {
        release.group = item.group;
        release.client_id = item.client_id;
        release.queues = item.list;
        rc = propose_item(job->ctx, COMMAND_LOCK_RELEASE, &release.base, &pending);
        *proposed = rc == 0;
    }
    item_text_free(&item);
    if (*proposed) {
        count_release(job);
    }
    return rc;
}

void unlock_queues(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct lock_job *job = job_new(ctx, &to, cmd);
    bool proposed;
    int rc;

    if (job == NULL) {
        return;
    }
    rc = propose_release(job, &to, &proposed);
    if (rc == 0 && proposed) {
        return; /* on_released answers and frees */
    }
    if (rc != 0) {
        reply_failed(&to, rc);
    } else {
        reply_code(&to, RESP_SUCCESS);
    }
    job_free(job);
}

/* The release of one lock by its own owner. Returns NULL without memory. */
static struct lock_job *job_of_lock(struct context *ctx, const struct lock *lock)
{
    size_t id_bytes = strlen(lock->client_id);
    struct lock_job *job = mq_calloc(1, sizeof(*job));
    struct proto_queue_ref *queue = job != NULL ? proto_queue_refs_add(&job->batch.queues) : NULL;
    const char *names = lock->parts.group.at; /* one behind the other */

    if (queue != NULL) {
        job->text = mq_malloc(lock->key_bytes + id_bytes);
    }
    if (job == NULL || job->text == NULL) {
        if (job != NULL) {
            job_free(job);
        }
        return NULL;
    }
    memcpy(job->text, names, lock->key_bytes);
    memcpy(job->text + lock->key_bytes, lock->client_id, id_bytes);
    job->ctx = ctx;
    job->batch.group = (struct mq_str){job->text, lock->parts.group.len};
    job->batch.client_id = (struct mq_str){job->text + lock->key_bytes, (uint32_t)id_bytes};
    queue->topic = (struct mq_str){job->text + (lock->parts.topic.at - names), lock->parts.topic.len};
    queue->broker_name =
        (struct mq_str){job->text + (lock->parts.broker_name.at - names), lock->parts.broker_name.len};
    queue->queue_id = lock->parts.queue_id;
    return job;
}

void lock_expire(struct context *ctx, uint64_t now_ms)
{
    const struct reply_to nobody = {0};
    struct lock *lock = TAILQ_FIRST(&ctx->state->locks.by_lease);

    for (uint32_t n = 0; lock != NULL && n < LOCK_EXPIRE_MAX && now_ms - lock->renewed_ms > LOCK_LEASE_MS;
         lock = TAILQ_NEXT(lock, by_lease)) {
        struct lock_job *job;
        bool proposed;

        if (lock->releasing != 0) {
            continue;
        }
        job = job_of_lock(ctx, lock);
        if (job == NULL || propose_release(job, &nobody, &proposed) != 0) {
            if (job != NULL) {
                job_free(job);
            }
            return; /* the log takes nothing now: tried again in a second */
        }
        n++;
    }
}
