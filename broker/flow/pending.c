/* A job that reads or is proposed lives until it is called back, also when this node leads no longer: it is stale
 * then, its row was given back, and it only becomes free. */
#include "broker/flow/pending.h"

#include "broker/flow/half.h"
#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#include <inttypes.h>

#define LOOK_MS 100u   /* the clock may be set: it is looked at so often */
#define ROOM_MS 5u     /* until a sequencer that was full is tried again */
#define RETRY_MS 100u  /* what else may pass by itself */
#define UNREAD_MS 1000 /* until a record that could not be read is looked for again */
#define SCAN_ROWS PENDING_PAGE_ROWS

static void wake(struct pending *pending, uint64_t in_ms)
{
    flow_wake_at(pending->env, mq_clock_mono_ms() + in_ms);
}

static struct pending_table *table_of(struct pending *pending)
{
    return &pending->env->state->pending;
}

/* --- jobs --- */

void pending_init(struct pending *pending, const struct flow_env *env)
{
    *pending = (struct pending){.env = env};
    for (uint32_t i = 0; i < PENDING_IN_FLIGHT_MAX; i++) {
        pending->jobs[i].owner = pending;
        pending->jobs[i].next = pending->free;
        pending->free = &pending->jobs[i];
    }
    pending->end = &pending->first;
    pending->moves_end = &pending->moves;
}

static void free_job(struct pending_job *job)
{
    struct pending *pending = job->owner;

    if (job->view.at != NULL) {
        net_ref_release(job->view.ref);
        job->view.at = NULL;
    }
    pending->moving -= job->moves;
    job->state = PENDING_JOB_FREE;
    job->next = pending->free;
    pending->free = job;
}

/* Nothing came of it: the row waits again, for @at_ms if that is later than its time. */
static void give_back(struct pending_job *job, int64_t at_ms)
{
    pending_table_give_back(table_of(job->owner), job->pos, at_ms);
    job->owner->again |= job->moves;
    free_job(job);
}

static struct pending_job *new_job(struct pending *pending, uint64_t pos, bool moves)
{
    struct pending_job *job = pending->free;

    MQ_ASSERT(job != NULL);
    pending->free = job->next;
    job->next = NULL;
    job->pos = pos;
    job->moves = moves;
    job->stale = false;
    pending->moving += moves;
    return job;
}

static void queue_job(struct pending *pending, struct pending_job *job)
{
    struct pending_job ***end = job->moves ? &pending->moves_end : &pending->end;

    **end = job;
    *end = &job->next;
}

static void unqueue_first(struct pending *pending, bool moves)
{
    struct pending_job **first = moves ? &pending->moves : &pending->first;
    struct pending_job *job = *first;

    *first = job->next;
    job->next = NULL;
    if (*first == NULL) {
        *(moves ? &pending->moves_end : &pending->end) = first;
    }
}

/* --- reading --- */

static void on_read(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct pending_read *read = container_of(fetch, struct pending_read, fetch);
    struct pending_job *job = read->job;

    read->job = NULL;
    job->owner->cold--;
    if (job->stale) {
        free_job(job);
        return;
    }
    job->state = PENDING_JOB_READY;
    if (status == 0) {
        job->view = *view;
        net_ref_acquire(view->ref);
    }
    wake(job->owner, 0);
}

/* Returns as store_fetch_start. There is room for it. */
static int read_cold(struct pending_job *job)
{
    struct pending *pending = job->owner;
    struct pending_read *read = pending->reads;
    int rc;

    while (read->job != NULL) {
        read++;
    }
    read->fetch.pos = job->pos;
    read->fetch.done = on_read;
    rc = store_fetch_start(pending->env->store, &read->fetch);
    if (rc == 0) {
        read->job = job;
        pending->cold++;
    }
    return rc;
}

/* Has the record of a row that was taken read. False: nothing more can be begun now. */
static bool begin(struct pending *pending, uint64_t pos, bool moves)
{
    struct pending_job *job = new_job(pending, pos, moves);
    int rc = store_fetch(pending->env->store, pos, &job->view);

    job->state = PENDING_JOB_READY;
    if (rc == MQ_EAGAIN) {
        rc = read_cold(job);
        job->state = rc == 0 ? PENDING_JOB_READS : PENDING_JOB_READY;
    }
    if (rc != 0 && rc != MQ_ENOTFOUND) {
        give_back(job, PENDING_WHEN_DUE);
        pending->not_before_ms = mq_clock_mono_ms() + RETRY_MS;
        return false;
    }
    queue_job(pending, job);
    return true;
}

static bool may_begin(const struct pending *pending)
{
    return pending->free != NULL && pending->cold < PENDING_COLD_MAX;
}

static void take_due(struct pending *pending, int64_t now_ms)
{
    int64_t until_ms = now_ms + (RAFTMQ_DEFECT(DELIVERED_EARLY) ? 100 : 0), at_ms;
    const struct pending_row *row = pending_table_first(table_of(pending), &at_ms);

    while (row != NULL && at_ms <= until_ms && may_begin(pending)) {
        uint64_t pos = row->pos;

        MQ_ASSERT(pending_table_take(table_of(pending), pos));
        if (!begin(pending, pos, false)) {
            return;
        }
        row = pending_table_first(table_of(pending), &at_ms);
    }
}

/* --- proposing --- */

static void on_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct pending_job *job = p->data;
    struct pending *pending = job->owner;

    if (job->stale) {
        free_job(job);
        return;
    }
    if (outcome->status == 0) {
        pending->stats.delivered += !job->moves;
        pending->stats.moved += job->moves;
        if (job->moves) { /* it waits on, at another place */
            pending_table_give_back(table_of(pending), outcome->payload_pos + p->at, PENDING_WHEN_DUE);
        }
        free_job(job);
        wake(pending, 0);
        return;
    }
    if (outcome->status == MQ_EUNSURE) {
        pending->leading = false; /* the role will say so; it is not to be tried again from here */
    }
    if (outcome->status == MQ_ETOOBIG) { /* only this one is at fault */
        give_back(job, mq_clock_wall_ms() + UNREAD_MS);
    } else {
        pending->not_before_ms = mq_clock_mono_ms() + RETRY_MS;
        give_back(job, PENDING_WHEN_DUE);
    }
    wake(pending, RETRY_MS);
}

/* Whether the record is there, as it was written. */
static bool is_whole(const struct pending_job *job, const struct pending_row *row, struct proto_record *rec)
{
    return job->view.at != NULL && job->view.bytes == row->bytes &&
           (RAFTMQ_DEFECT(WAITING_UNCHECKED) || mq_crc32c(0, job->view.at, job->view.bytes) == row->crc) &&
           proto_record_decode(job->view.at, job->view.bytes, rec) == 0;
}

/* This member lacks the record, or its disk has lost it. It was acknowledged, so it is not given up: what is missing
 * is being fetched, what is bad is being repaired, and another leader may have it. Others do not wait for it. */
static void put_off(struct pending_job *job)
{
    struct pending *pending = job->owner;

    mq_log_limited(&pending->unread_log, MQ_LOG_ERROR, "pending",
                   "the waiting message at %" PRIu64 " cannot be read here now; it is tried again", job->pos);
    pending->stats.unread++;
    rlog_suspect(pending->env->store->log, job->pos);
    give_back(job, mq_clock_wall_ms() + UNREAD_MS);
}

/* The row ends, and nobody gets the message. */
static int drop(struct pending_job *job, const char *why)
{
    struct pending *pending = job->owner;
    const struct sequencer_pending done = {.done = on_done, .data = job};
    Raftmq__PendingEnd item = RAFTMQ__PENDING_END__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_END, .item = &item.base};
    int rc;

    item.pos = job->pos;
    rc = bundle_add(pending->env->sequencer, pending->env->store, &part, 1, &done, 0);
    if (rc == 0) {
        pending->stats.dropped++;
        mq_log_limited(&pending->drop_log, MQ_LOG_WARN, "pending",
                       "the waiting message at %" PRIu64 " is dropped: %s (%" PRIu64 " so far)", job->pos, why,
                       pending->stats.dropped);
    }
    return rc;
}

/* Where the message is meant to go. NULL: @why not; when that stays NULL it cannot be said now. */
static struct queue *destination(struct pending *pending, const struct proto_record *rec, struct mq_str *topic,
                                 const char **why)
{
    struct mq_str queue_text = proto_properties_get(rec->properties, PROTO_PROP_REAL_QUEUE_ID);
    struct topic *found;
    struct queue *queue;
    int32_t queue_id;
    int rc;

    *topic = proto_properties_get(rec->properties, PROTO_PROP_REAL_TOPIC);
    if (topic->at == NULL || mq_str_to_i32(queue_text, &queue_id) != 0) {
        *why = "its record does not say where it is to go";
        return NULL;
    }
    if (mq_str_eq(*topic, HALF_TOPIC)) {
        *why = "it would be a half message";
        return NULL;
    }
    found = topic_table_find_for_send(&pending->env->state->topics, *topic);
    if (found == NULL) {
        *why = "its topic is gone";
        return NULL;
    }
    /* A queue that a shrink has left behind takes it all the same. */
    rc = topic_queues_get(&pending->env->store->queues, found->queues, queue_id, &queue);
    if (rc == MQ_EINVAL) {
        *why = "its queue cannot be";
    }
    return rc == 0 ? queue : NULL;
}

static int add_delivery(struct pending_job *job, struct queue *queue, struct record_copy *copy)
{
    const struct flow_env *env = job->owner->env;
    const struct sequencer_pending done = {.done = on_done, .data = job};
    Raftmq__PendingEnd item = RAFTMQ__PENDING_END__INIT;
    const struct bundle_part parts[] = {
        {.kind = BUNDLE_COPY, .queue = queue, .copy = copy},
        {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_END, .item = &item.base},
    };

    item.pos = job->pos;
    if (RAFTMQ_DEFECT(DELIVERED_WITHOUT_END)) {
        return bundle_add(env->sequencer, env->store, parts, 1, &done, 0);
    }
    return bundle_add(env->sequencer, env->store, parts, 2, &done, 0);
}

static int deliver(struct pending_job *job, const struct pending_row *row, const struct proto_record *rec,
                   int64_t now_ms)
{
    struct pending *pending = job->owner;
    char numbers[2][MQ_I64_TEXT_MAX];
    struct record_property put[2];
    struct record_copy copy = {.record = job->view.at, .bytes = job->view.bytes, .reconsume_times = -1, .put = put};
    const char *why = NULL;
    struct queue *queue = destination(pending, rec, &copy.topic, &why);
    int rc;

    if (queue == NULL) {
        return why != NULL ? drop(job, why) : MQ_ENOMEM; /* a lack passes; what was acknowledged is not dropped */
    }
    copy.queue_id = queue->id;
    if (row->kind == PENDING_TIMER) {
        put[0] = (struct record_property){PROTO_PROP_TIMER_ENQUEUE_MS,
                                          {numbers[0], (uint32_t)mq_i64_to_text(rec->store_ms, numbers[0])}};
        put[1] = (struct record_property){PROTO_PROP_TIMER_DEQUEUE_MS,
                                          {numbers[1], (uint32_t)mq_i64_to_text(now_ms, numbers[1])}};
        copy.n_put = 2;
    }
    rc = add_delivery(job, queue, &copy);
    if (rc == MQ_EBADMSG || rc == MQ_ETOOBIG) {
        return drop(job, mq_strerror(rc));
    }
    if (rc == 0 && now_ms - row->due_ms > pending->stats.late_ms_max) {
        pending->stats.late_ms_max = now_ms - row->due_ms;
    }
    return rc;
}

/* Where it was, again. */
static int move(struct pending_job *job, const struct proto_record *rec)
{
    const struct flow_env *env = job->owner->env;
    const struct sequencer_pending done = {.done = on_done, .data = job};
    struct record_copy copy = {.record = job->view.at, .bytes = job->view.bytes, .reconsume_times = -1};
    Raftmq__PendingMove item = RAFTMQ__PENDING_MOVE__INIT;
    struct bundle_part parts[] = {
        {.kind = BUNDLE_COPY, .copy = &copy},
        {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_MOVE, .item = &item.base},
    };
    struct topic_queues *topic;
    int rc;

    copy.queue_id = rec->queue_id;
    copy.prepared_pos = rec->prepared_pos;
    item.pos = job->pos;
    topic = queue_table_topic(&env->store->queues, rec->topic);
    rc = topic != NULL ? topic_queues_get(&env->store->queues, topic, rec->queue_id, &parts[0].queue) : MQ_ENOMEM;
    return rc == 0 ? bundle_add_again(env->sequencer, env->store, parts, 2, &done, 0) : rc;
}

/* Those that wait to be delivered wait in the table again, but for those that are being read still. */
static void give_back_ready(struct pending *pending)
{
    struct pending_job *job = pending->first, *next;

    pending->first = NULL;
    pending->end = &pending->first;
    for (; job != NULL; job = next) {
        next = job->next;
        job->next = NULL;
        if (job->state == PENDING_JOB_READY) {
            give_back(job, PENDING_WHEN_DUE);
        } else {
            queue_job(pending, job);
        }
    }
}

/* Proposes from the front of one list what is ready. The entry that a delivery goes into must not have begun before
 * it was due: its store time is that of its beginning. */
static void propose_ready(struct pending *pending, bool moves, int64_t now_ms)
{
    struct pending_job *job;

    while ((job = moves ? pending->moves : pending->first) != NULL && job->state == PENDING_JOB_READY) {
        const struct pending_row *row = pending_table_find(table_of(pending), job->pos);
        struct proto_record rec;
        int rc;

        MQ_ASSERT(row != NULL); /* who takes it ends it */
        if (!is_whole(job, row, &rec)) {
            unqueue_first(pending, moves);
            put_off(job);
            continue;
        }
        if (!moves && sequencer_store_ms(pending->env->sequencer) < row->due_ms && !RAFTMQ_DEFECT(DELIVERED_EARLY)) {
            wake(pending, 1);
            return;
        }
        rc = moves ? move(job, &rec) : deliver(job, row, &rec, now_ms);
        if (rc != 0) {
            pending->not_before_ms = mq_clock_mono_ms() + (rc == MQ_EBUSY ? ROOM_MS : RETRY_MS);
            if (rc == MQ_EFULL && !moves) {
                give_back_ready(pending);
            }
            return;
        }
        unqueue_first(pending, moves);
        job->state = PENDING_JOB_PROPOSED;
        if (job->view.at != NULL) { /* it was copied */
            net_ref_release(job->view.ref);
            job->view.at = NULL;
        }
        wake(pending, 0); /* the sequencer has had its turn already */
    }
}

/* --- retention --- */

/* A slice of the search for rows below release_pos. */
static void scan(struct pending *pending)
{
    struct pending_table *table = table_of(pending);

    for (uint32_t i = 0; i < SCAN_ROWS && pending->scanned < table->rows; i++) {
        const struct pending_row *row = pending_table_at(table, pending->scanned);

        if (row != NULL && row->pos < pending->release_pos) {
            uint64_t pos = row->pos;

            if (!may_begin(pending) || pending->moving == PENDING_MOVES_MAX) {
                return;
            }
            if (!pending_table_take(table, pos)) {
                pending->again = true; /* it is being delivered or recalled, which may fail */
            } else if (!begin(pending, pos, true)) {
                return;
            }
        }
        pending->scanned++;
    }
    if (pending->scanned < table->rows) {
        wake(pending, 0);
    } else if (pending->moving == 0 && !pending->again) {
        pending->released_pos = pending->release_pos;
    } else if (pending->moving == 0) {
        pending->scanned = 0;
        pending->again = false;
        pending->scan_at_ms = mq_clock_mono_ms() + RETRY_MS;
        wake(pending, RETRY_MS);
    }
}

int pending_release_below(struct pending *pending, uint64_t pos)
{
    if (pos <= pending->released_pos || table_of(pending)->count == 0 || RAFTMQ_DEFECT(WAITING_NOT_MOVED)) {
        return 0;
    }
    if (pos != pending->release_pos) { /* less, too: while the disk is low the oldest segment counts alone */
        pending->release_pos = pos;
        pending->scanned = 0;
        wake(pending, 0);
    }
    return MQ_EAGAIN;
}

/* --- life --- */

void pending_lead(struct pending *pending)
{
    pending_rest(pending);
    pending->leading = true;
    pending->not_before_ms = pending->scan_at_ms = 0;
    pending->release_pos = pending->released_pos = 0;
    pending->stats.late_ms_max = 0;
    wake(pending, 0);
}

void pending_rest(struct pending *pending)
{
    pending->leading = false;
    pending->first = pending->moves = NULL;
    pending->end = &pending->first;
    pending->moves_end = &pending->moves;
    for (uint32_t i = 0; i < PENDING_IN_FLIGHT_MAX; i++) {
        struct pending_job *job = &pending->jobs[i];

        if (job->state == PENDING_JOB_READY) {
            give_back(job, PENDING_WHEN_DUE);
        } else if (job->state != PENDING_JOB_FREE && !job->stale) {
            pending_table_give_back(table_of(pending), job->pos, PENDING_WHEN_DUE);
            job->stale = true;
        }
    }
    pending->again = false;
}

void pending_turn(struct pending *pending)
{
    uint64_t mono_ms;
    int64_t now_ms, at_ms;

    if (!pending->leading || (table_of(pending)->count == 0 && pending->first == NULL && pending->moves == NULL)) {
        return;
    }
    mono_ms = mq_clock_mono_ms();
    if (mono_ms < pending->not_before_ms) {
        flow_wake_at(pending->env, pending->not_before_ms);
        return;
    }
    now_ms = mq_clock_wall_ms();
    if (flow_has_room(pending->env)) {
        take_due(pending, now_ms);
    }
    propose_ready(pending, false, now_ms);
    if (pending->released_pos < pending->release_pos && mono_ms >= pending->scan_at_ms) {
        scan(pending);
    }
    propose_ready(pending, true, now_ms);
    if (pending_table_first(table_of(pending), &at_ms) != NULL) {
        int64_t left_ms = at_ms - now_ms;

        if (left_ms > (int64_t)LOOK_MS || !flow_has_room(pending->env)) {
            left_ms = LOOK_MS;
        }
        flow_wake_at(pending->env, mono_ms + (left_ms < 1 ? 1 : (uint64_t)left_ms));
    }
    if (pending->not_before_ms > mono_ms) {
        flow_wake_at(pending->env, pending->not_before_ms);
    }
}
