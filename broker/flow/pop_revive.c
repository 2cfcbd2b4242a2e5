/* A job is one check point, found again by its key: the row may be gone when a record has been fetched. Fetched
 * records are held by reference until the entry is built. */
#include "broker/flow/pop_revive.h"

#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/ensure.h"
#include "broker/store/fetch.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#include <inttypes.h>
#include <stdio.h>

#define JOBS_MAX 64u
#define BUSY_MS 50      /* until a check point that the log did not take is looked at again, */
#define LACKS_MS 1000   /* and one whose records cannot be read here */
#define LOOK_ROWS 1024u /* that one round of retention looks at */
#define COPIES_BYTES_MAX (RLOG_ENTRY_BYTES_MAX / 2)
#define EARLY_PART 8u /* of an entry's payload: the reserve gives little at a time */

struct revive_job {
    struct pop_revive *revive;
    struct pop_queue *queue; /* held */
    uint64_t start;
    int64_t pop_ms;
    uint32_t leads;  /* pop_table's: the mark is of that leadership */
    uint64_t behind; /* draft of the sequencer that is to be answered first */
    struct revive_job *next;
    bool early; /* retention is about to drop its records */
    bool lacks; /* a record that this member has not got, and others have */
    uint32_t sent;
    uint32_t left; /* bits still to be fetched */
    uint32_t n;
    uint32_t offsets[POP_MESSAGES_MAX];         /* of views, counted from start */
    struct reader_view views[POP_MESSAGES_MAX]; /* with references */
    struct store_fetch fetch;
};

void pop_revive_init(struct pop_revive *revive, const struct flow_env *env)
{
    *revive = (struct pop_revive){.env = env};
    revive->waiting_end = &revive->waiting;
}

void pop_revive_lead(struct pop_revive *revive)
{
    pop_table_forget_leading(&revive->env->state->pops);
    revive->leading = true;
    revive->release_pos = 0;
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

    if (check != NULL && job->leads == pops->leads) {
        pop_table_set_reviving(pops, check, false);
    }
    for (uint32_t i = 0; i < job->n; i++) {
        net_ref_release(job->views[i].ref);
    }
    pop_table_release(pops, job->queue);
    job->revive->in_flight--;
    mq_free(job);
}

void pop_revive_rest(struct pop_revive *revive)
{
    revive->leading = false;
    while (revive->waiting != NULL) {
        struct revive_job *job = revive->waiting;

        revive->waiting = job->next;
        end_job(job);
    }
    revive->waiting_end = &revive->waiting;
}

/* Nothing came of it this time. Others are not to wait for it, and it is not to be tried in every turn. */
static void put_off(struct revive_job *job)
{
    struct pop_table *pops = &job->revive->env->state->pops;
    struct pop_check *check = job->leads == pops->leads ? check_of(job) : NULL;
    int64_t at_ms = mq_clock_wall_ms() + (job->lacks ? LACKS_MS : BUSY_MS);

    end_job(job);
    if (check != NULL) {
        pop_table_put_off(pops, check, at_ms);
    }
}

static void on_revived(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct revive_job *job = p->data;

    if (outcome->status != 0) {
        put_off(job);
        return;
    }
    job->revive->revived += job->sent;
    end_job(job);
}

/* The first @n of the fetched ones come again. All: the check point ends. Fewer: these are done with, and the others'
 * turn comes at once. */
static int propose_end(struct revive_job *job, struct bundle_part *parts, uint32_t n)
{
    const struct flow_env *env = job->revive->env;
    const struct sequencer_pending pending = {.done = on_revived, .data = job};
    bool defect = RAFTMQ_DEFECT(REVIVED_WITHOUT_END) && n != 0;
    Raftmq__PopRevive end = RAFTMQ__POP_REVIVE__INIT;
    Raftmq__PopAck some = RAFTMQ__POP_ACK__INIT;

    end.group = some.group = (char *)job->queue->group.at;
    end.topic = some.topic = (char *)job->queue->topic.at;
    end.queue_id = some.queue_id = job->queue->queue_id;
    end.start = some.start = (int64_t)job->start;
    end.pop_ms = some.pop_ms = job->pop_ms;
    job->sent = n;
    some.offsets = job->offsets;
    some.n_offsets = n;
    parts[n] = (struct bundle_part){.kind = BUNDLE_ITEM, .type = COMMAND_POP_REVIVE, .item = &end.base};
    if (n != 0 && n < job->n) {
        parts[n].type = COMMAND_POP_ACK;
        parts[n].item = &some.base;
    }
    if (job->early) {
        return bundle_add_again(env->sequencer, env->store, parts, defect ? n : n + 1, &pending, defect ? 0 : n);
    }
    return bundle_add(env->sequencer, env->store, parts, defect ? n : n + 1, &pending, defect ? 0 : n);
}

/* Nothing to come back to, or nothing that could: too long a name. */
static bool is_over(const struct revive_job *job, struct mq_str name)
{
    struct state *state = job->revive->env->state;
    const struct topic *topic = topic_table_find(&state->topics, job->queue->topic);

    return job->n == 0 || name.len == 0 || topic == NULL || topic->leaving ||
           group_table_find(&state->groups, job->queue->group) == NULL;
}

/* @first_pop is put where there is none and room for it. */
static void fill_copy(struct record_copy *copy, const struct reader_view *view, struct mq_str topic,
                      const struct record_property *first_pop)
{
    struct mq_str properties = proto_record_properties(view->at, view->bytes);
    struct proto_record rec;
    int32_t times = proto_record_decode(view->at, view->bytes, &rec) == 0 ? rec.reconsume_times : 0;

    *copy =
        (struct record_copy){.record = view->at, .bytes = view->bytes, .topic = topic, .reconsume_times = times + 1};
    if (proto_properties_get(properties, PROTO_PROP_FIRST_POP_TIME).len == 0 &&
        properties.len + first_pop->name.len + first_pop->value.len + 2 <= PROTO_PROPERTIES_MAX) {
        copy->put = first_pop;
        copy->n_put = 1;
    }
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
    struct mq_str topic = {name, pop_retry_topic(job->queue->group, job->queue->topic, name)};
    uint64_t bytes = 0, bytes_max = job->early ? rlog_payload_max(env->store->log) / EARLY_PART : COPIES_BYTES_MAX;
    struct queue *queue;
    uint32_t n;
    int rc;

    if (is_over(job, topic)) {
        return propose_end(job, parts, 0);
    }
    rc = ensure_queue(env->state, env->sequencer, topic, 1, TOPIC_PERM_READ | TOPIC_PERM_WRITE, 0, &queue);
    if (rc != 0) {
        return rc;
    }
    snprintf(pop_text, sizeof(pop_text), "%" PRId64, job->pop_ms);
    first_pop.value = mq_str_of(pop_text);
    for (n = 0; n < job->n; n++) {
        fill_copy(&copies[n], &job->views[n], topic, &first_pop);
        bytes += record_copy_bound(&copies[n]);
        if (n != 0 && bytes > bytes_max) {
            break;
        }
        parts[n] = (struct bundle_part){.kind = BUNDLE_COPY, .queue = queue, .copy = &copies[n]};
    }
    return propose_end(job, parts, n);
}

static void fetch_next(struct revive_job *job);

static void keep(struct revive_job *job, const struct reader_view *view)
{
    uint32_t i = (uint32_t)__builtin_ctz(job->left);
    const struct pop_check *check = check_of(job);

    if (check != NULL) {
        job->offsets[job->n] = check->offsets[i];
        job->views[job->n++] = *view;
    }
}

/* It cannot be read. What the group has dropped is passed over; the job waits for what this member is still fetching,
 * or has to repair. @pos 0: not known. */
static void pass_over(struct revive_job *job, uint64_t pos)
{
    const struct flow_env *env = job->revive->env;

    if (pos == 0) {
        job->lacks |= !rlog_is_whole(env->store->log);
    } else if (pos >= env->state->log_start_pos) {
        rlog_suspect(env->store->log, pos);
        job->lacks = true;
    }
}

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct revive_job *job = container_of(fetch, struct revive_job, fetch);

    if (status != 0) {
        pass_over(job, fetch->pos);
    } else if (check_of(job) != NULL) {
        net_ref_acquire(view->ref);
        keep(job, view);
    }
    job->left &= job->left - 1;
    fetch_next(job);
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

/* One of the records is not what was written. */
static void suspect(const struct revive_job *job)
{
    for (uint32_t i = 0; i < job->n; i++) {
        rlog_suspect(job->revive->env->store->log, mq_be64_load(job->views[i].at + PROTO_RECORD_POS_AT));
    }
}

static void fetch_next(struct revive_job *job)
{
    struct pop_table *pops = &job->revive->env->state->pops;
    struct store *store = job->revive->env->store;
    struct pop_check *check = check_of(job);
    struct reader_view view;
    int rc;

    if (check == NULL || !job->revive->leading || job->leads != pops->leads) {
        end_job(job);
        return;
    }
    for (; job->left != 0; job->left &= job->left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(job->left);

        if (position_of(job, check->key.start + check->offsets[i], &job->fetch.pos) != 0) {
            pass_over(job, 0);
            continue;
        }
        rc = store_fetch(store, job->fetch.pos, &view);
        if (rc == MQ_EAGAIN) {
            rc = store_fetch_start(store, &job->fetch);
            if (rc == 0) {
                return;
            }
        } else if (rc == 0) {
            keep(job, &view); /* with its reference */
        }
        if (rc != 0) {
            pass_over(job, job->fetch.pos);
        }
    }
    rc = job->lacks ? MQ_EAGAIN : propose(job);
    if (rc == MQ_ECORRUPT || rc == MQ_EBADMSG) {
        suspect(job);
    }
    if (rc != 0) {
        put_off(job);
    }
}

/* The jobs whose earlier proposals have all been answered. */
static void go_on(struct pop_revive *revive)
{
    uint64_t last, answered;

    sequencer_drafts_get(revive->env->sequencer, &last, &answered);
    while (revive->waiting != NULL && (revive->waiting->behind <= answered || RAFTMQ_DEFECT(REVIVED_TOO_SOON))) {
        struct revive_job *job = revive->waiting;
        struct pop_check *check = check_of(job);

        revive->waiting = job->next;
        if (revive->waiting == NULL) {
            revive->waiting_end = &revive->waiting;
        }
        job->left = check != NULL ? pop_check_all(check) & ~check->acked : 0;
        fetch_next(job);
    }
}

static bool begin(struct pop_revive *revive, struct pop_check *check, bool early)
{
    struct pop_table *pops = &revive->env->state->pops;
    const struct pop_queue *queue = check->key.queue;
    struct revive_job *job = mq_calloc(1, sizeof(*job));
    uint64_t answered;

    if (job == NULL) {
        return false;
    }
    job->revive = revive;
    job->queue = pop_table_hold(pops, queue->group, queue->topic, queue->queue_id);
    MQ_ASSERT(job->queue == queue); /* it is there: nothing is allocated */
    job->start = check->key.start;
    job->pop_ms = check->key.pop_ms;
    job->early = early;
    job->leads = pops->leads;
    job->fetch.done = on_fetched;
    sequencer_drafts_get(revive->env->sequencer, &job->behind, &answered);
    pop_table_set_reviving(pops, check, true);
    revive->in_flight++;
    *revive->waiting_end = job;
    revive->waiting_end = &job->next;
    go_on(revive);
    return true;
}

void pop_revive_turn(struct pop_revive *revive)
{
    struct pop_table *pops = &revive->env->state->pops;
    struct pop_check *check;
    uint32_t begun = 0;
    int64_t now_ms;

    if (revive->leading) {
        go_on(revive);
    }
    check = revive->leading ? pop_table_first_due(pops) : NULL;
    if (check == NULL || check->due.at_ms == INT64_MAX) {
        return;
    }
    now_ms = mq_clock_wall_ms();
    if (!flow_has_room(revive->env)) {
        flow_wake_at(revive->env, mq_clock_mono_ms() + LACKS_MS); /* the jobs are left to what retention needs */
        return;
    }
    for (; check != NULL && check->due.at_ms <= now_ms && revive->in_flight < JOBS_MAX && begun < JOBS_MAX; begun++) {
        if (!begin(revive, check, false)) {
            break; /* no memory */
        }
        check = pop_table_first_due(pops); /* what came to nothing at once is due later now */
    }
    if (check != NULL && check->due.at_ms != INT64_MAX) {
        flow_wake_at(revive->env, mq_clock_mono_ms() +
                                      (uint64_t)(check->due.at_ms > now_ms ? check->due.at_ms - now_ms : BUSY_MS));
    }
}

static bool lies_below(struct pop_revive *revive, const struct pop_check *check, uint64_t pos)
{
    struct revive_job job = {.revive = revive, .queue = check->key.queue};
    uint64_t at;

    return position_of(&job, check->key.start + check->offsets[0], &at) != 0 || at < pos;
}

/* A slice of the search, which ends when a whole pass has met none. The slice ends early at a check point that is to
 * end and cannot be ended now. */
int pop_revive_release_below(struct pop_revive *revive, uint64_t pos)
{
    struct pop_table *pops = &revive->env->state->pops;
    bool may_begin = rlog_reserve_take(revive->env->store->log, 0) == 0;
    struct pop_check *check;

    if (pos != revive->release_pos) {
        pop_table_rewind(pops);
        revive->release_pos = pos;
        revive->met = false;
    }
    for (uint32_t i = 0; i < LOOK_ROWS && (check = pop_table_next(pops)) != NULL; i++) {
        bool below = lies_below(revive, check, pos);

        revive->met |= below;
        if (below && !check->reviving && (!may_begin || revive->in_flight >= JOBS_MAX)) {
            return MQ_EAGAIN;
        }
        pop_table_pass(pops, check);
        if (below && !check->reviving && !begin(revive, check, true)) { /* which may end it */
            return MQ_EAGAIN;
        }
    }
    if (pop_table_next(pops) != NULL) {
        return MQ_EAGAIN;
    }
    if (revive->met) {
        pop_table_rewind(pops);
        revive->met = false;
        return MQ_EAGAIN;
    }
    return 0;
}
