/* A job is one check point, found again by its key: the row may be gone when a record has been fetched. Fetched
 * records are held by reference until the entry is built. */
#include "broker/flow/pop_revive.h"

#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/ensure.h"
#include "broker/store/fetch.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#include <inttypes.h>
#include <stdio.h>

#define JOBS_MAX 64u
#define BUSY_MS 50u
#define EARLY_MAX 256u /* begun in one round of retention */

struct revive_job {
    struct pop_revive *revive;
    struct pop_queue *queue; /* held */
    uint64_t start;
    int64_t pop_ms;
    uint32_t left; /* bits still to be fetched */
    uint32_t n;
    struct reader_view views[POP_MESSAGES_MAX]; /* with references */
    struct store_fetch fetch;
};

void pop_revive_init(struct pop_revive *revive, const struct flow_env *env)
{
    *revive = (struct pop_revive){.env = env};
}

void pop_revive_lead(struct pop_revive *revive)
{
    pop_table_forget_leading(&revive->env->state->pops);
    revive->leading = true;
}

void pop_revive_rest(struct pop_revive *revive)
{
    revive->leading = false;
}

uint32_t pop_retry_topic(struct mq_str group, struct mq_str topic, char out[POP_RETRY_TOPIC_MAX + 1])
{
    uint32_t bytes = PROTO_RETRY_PREFIX.len + group.len + 1 + topic.len;

    if (mq_str_starts(topic, PROTO_RETRY_PREFIX)) {
        bytes = topic.len;
        if (bytes <= POP_RETRY_TOPIC_MAX) {
            memcpy(out, topic.at, bytes);
        }
    } else if (bytes <= POP_RETRY_TOPIC_MAX) {
        snprintf(out, POP_RETRY_TOPIC_MAX + 1, MQ_STR_FMT MQ_STR_FMT "_" MQ_STR_FMT, MQ_STR_ARG(PROTO_RETRY_PREFIX),
                 MQ_STR_ARG(group), MQ_STR_ARG(topic));
    }
    if (bytes > POP_RETRY_TOPIC_MAX) {
        return 0;
    }
    out[bytes] = '\0';
    return bytes;
}

static struct pop_check *check_of(const struct revive_job *job)
{
    return pop_table_find(&job->revive->env->state->pops, job->queue, job->start, job->pop_ms);
}

static void end_job(struct revive_job *job)
{
    struct pop_table *pops = &job->revive->env->state->pops;
    struct pop_check *check = check_of(job);

    if (check != NULL) {
        pop_table_set_reviving(pops, check, false);
    }
    for (uint32_t i = 0; i < job->n; i++) {
        net_ref_release(job->views[i].ref);
    }
    pop_table_release(pops, job->queue);
    job->revive->in_flight--;
    mq_free(job);
}

static void on_revived(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct revive_job *job = p->data;

    job->revive->revived += outcome->status == 0 ? job->n : 0;
    end_job(job);
}

static int propose_end(struct revive_job *job, struct bundle_part *parts, uint32_t n)
{
    const struct flow_env *env = job->revive->env;
    const struct sequencer_pending pending = {.done = on_revived, .data = job};
    Raftmq__PopRevive item = RAFTMQ__POP_REVIVE__INIT;

    item.group = (char *)job->queue->group.at;
    item.topic = (char *)job->queue->topic.at;
    item.queue_id = job->queue->queue_id;
    item.start = (int64_t)job->start;
    item.pop_ms = job->pop_ms;
    parts[n] = (struct bundle_part){.kind = BUNDLE_ITEM, .type = COMMAND_POP_REVIVE, .item = &item.base};
    return bundle_add(env->sequencer, env->store, parts, n + 1, &pending, n);
}

static int32_t times_of(const struct reader_view *view)
{
    struct proto_record rec;

    return proto_record_decode(view->at, view->bytes, &rec) == 0 ? rec.reconsume_times : 0;
}

/* All records are here: they go to the retry topic, and the check point ends. Without a topic or group to come back
 * to it only ends. */
static int propose(struct revive_job *job)
{
    const struct flow_env *env = job->revive->env;
    struct bundle_part parts[POP_MESSAGES_MAX + 1];
    struct record_copy copies[POP_MESSAGES_MAX];
    char pop_text[24], name[POP_RETRY_TOPIC_MAX + 1];
    struct record_property first_pop = {.name = PROTO_PROP_FIRST_POP_TIME};
    uint32_t name_bytes = pop_retry_topic(job->queue->group, job->queue->topic, name);
    struct queue *queue;
    int rc;

    if (job->n == 0 || name_bytes == 0 || topic_table_find(&env->state->topics, job->queue->topic) == NULL ||
        group_table_find(&env->state->groups, job->queue->group) == NULL) {
        return propose_end(job, parts, 0);
    }
    rc = ensure_queue(env->state, env->sequencer, (struct mq_str){name, name_bytes}, 1,
                      TOPIC_PERM_READ | TOPIC_PERM_WRITE, 0, &queue);
    if (rc != 0) {
        return rc;
    }
    snprintf(pop_text, sizeof(pop_text), "%" PRId64, job->pop_ms);
    first_pop.value = mq_str_of(pop_text);
    for (uint32_t i = 0; i < job->n; i++) {
        const struct reader_view *view = &job->views[i];
        struct mq_str properties = proto_record_properties(view->at, view->bytes);

        copies[i] = (struct record_copy){.record = view->at,
                                         .bytes = view->bytes,
                                         .topic = {name, name_bytes},
                                         .reconsume_times = times_of(view) + 1};
        if (proto_properties_get(properties, PROTO_PROP_FIRST_POP_TIME).len == 0) {
            copies[i].put = &first_pop;
            copies[i].n_put = 1;
        }
        parts[i] = (struct bundle_part){.kind = BUNDLE_COPY, .queue = queue, .copy = &copies[i]};
    }
    return propose_end(job, parts, job->n);
}

static void fetch_next(struct revive_job *job);

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct revive_job *job = container_of(fetch, struct revive_job, fetch);

    if (status == 0) {
        job->views[job->n] = *view;
        net_ref_acquire(view->ref);
        job->n++;
    }
    fetch_next(job); /* one that is gone for good is passed over */
}

/* Where the queue's message @qoff lies. */
static int position_of(const struct revive_job *job, uint64_t qoff, uint64_t *pos)
{
    const struct flow_env *env = job->revive->env;
    struct topic_queues *topic;
    struct queue *queue;
    struct consume_unit unit;

    HASH_FIND(hh, env->store->queues.by_topic, job->queue->topic.at, job->queue->topic.len, topic);
    queue = topic != NULL ? topic_queues_find(topic, job->queue->queue_id) : NULL;
    if (queue == NULL || qoff < queue->cq.min || qoff >= queue->cq.max) {
        return MQ_ENOTFOUND;
    }
    consume_queue_get(&queue->cq, qoff, &unit);
    *pos = unit.pos;
    return 0;
}

static void fetch_next(struct revive_job *job)
{
    struct pop_check *check = check_of(job);
    struct reader_view view;

    if (check == NULL || !job->revive->leading) {
        end_job(job);
        return;
    }
    while (job->left != 0) {
        uint32_t i = (uint32_t)__builtin_ctz(job->left);
        int rc;

        job->left &= job->left - 1;
        rc = position_of(job, check->key.start + check->offsets[i], &job->fetch.pos);
        if (rc == 0) {
            rc = store_fetch(job->revive->env->store, job->fetch.pos, &view);
        }
        if (rc == 0) {
            job->views[job->n++] = view; /* with its reference */
        } else if (rc == MQ_EAGAIN && store_fetch_start(job->revive->env->store, &job->fetch) == 0) {
            return;
        }
    }
    if (propose(job) != 0) {
        end_job(job); /* its time is over still: it is found again */
    }
}

static bool begin(struct pop_revive *revive, struct pop_check *check)
{
    struct pop_table *pops = &revive->env->state->pops;
    const struct pop_queue *queue = check->key.queue;
    struct revive_job *job = mq_calloc(1, sizeof(*job));

    if (job == NULL) {
        return false;
    }
    job->revive = revive;
    job->queue = pop_table_hold(pops, queue->group, queue->topic, queue->queue_id);
    MQ_ASSERT(job->queue == queue); /* it is there: nothing is allocated */
    job->start = check->key.start;
    job->pop_ms = check->key.pop_ms;
    job->left = pop_check_all(check) & ~check->acked;
    job->fetch.done = on_fetched;
    pop_table_set_reviving(pops, check, true);
    revive->in_flight++;
    fetch_next(job);
    return true;
}

void pop_revive_turn(struct pop_revive *revive)
{
    struct pop_table *pops = &revive->env->state->pops;
    struct pop_check *check = revive->leading ? pop_table_first_due(pops) : NULL;
    int64_t now_ms;

    if (check == NULL || check->due.at_ms == INT64_MAX) {
        return;
    }
    now_ms = mq_clock_wall_ms();
    while (check != NULL && check->due.at_ms <= now_ms && revive->in_flight < JOBS_MAX) {
        uint32_t before = pops->reviving;

        if (!begin(revive, check) || pops->reviving <= before) {
            flow_wake_at(revive->env, mq_clock_mono_ms() + BUSY_MS); /* nothing was taken */
            return;
        }
        check = pop_table_first_due(pops);
    }
    if (check != NULL && check->due.at_ms != INT64_MAX && check->due.at_ms > now_ms) {
        flow_wake_at(revive->env, mq_clock_mono_ms() + (uint64_t)(check->due.at_ms - now_ms));
    }
}

static bool lies_below(struct pop_revive *revive, const struct pop_check *check, uint64_t pos)
{
    struct revive_job job = {.revive = revive, .queue = check->key.queue};
    uint64_t at;

    return position_of(&job, check->key.start + check->offsets[0], &at) != 0 || at < pos;
}

int pop_revive_release_below(struct pop_revive *revive, uint64_t pos)
{
    uint32_t begun = 0;
    bool any = false;
    struct pop_check *check = revive->env->state->pops.by_key, *next;

    for (; check != NULL && begun < EARLY_MAX; check = next) {
        next = check->hh.next;
        if (!lies_below(revive, check, pos)) {
            continue;
        }
        any = true;
        if (!check->reviving && revive->in_flight < JOBS_MAX) {
            begin(revive, check);
            begun++;
        }
    }
    return any ? MQ_EAGAIN : 0;
}
