/* Every step is a job of its own memory, found again by the half message's position: the row may be gone when the
 * job comes back. A job that meets the end of leadership ends without a word; the next leader finds the row as the
 * log has it. */
#include "broker/flow/half.h"

#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/ensure.h"
#include "broker/store/fetch.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <inttypes.h>

#define JOBS_MAX 64u
#define BATCH 64u       /* asked for by one entry */
#define BUSY_MS 50      /* until another try when the log takes nothing */
#define LACKS_MS 1000   /* and when a record cannot be read here */
#define MOVES_MAX 256u  /* jobs in flight, above which retention begins no further one */
#define LOOK_ROWS 1024u /* that one round of retention looks at */

enum job_kind { JOB_ASK, JOB_DISCARD, JOB_MOVE };

struct half_job {
    struct half_flow *flow;
    enum job_kind kind;
    uint32_t leads; /* half_table's: the mark is of that leadership */
    uint64_t pos;
    struct store_fetch fetch;
};

struct half_batch {
    struct half_flow *flow;
    uint32_t leads;
    uint32_t n;
    uint64_t pos[BATCH];
};

void half_flow_init(struct half_flow *flow, const struct flow_env *env, const struct half_rules *rules)
{
    *flow = (struct half_flow){.env = env, .rules = *rules};
}

void half_flow_lead(struct half_flow *flow)
{
    half_table_forget_marks(&flow->env->state->halves);
    flow->leading = true;
    flow->release_pos = 0;
}

void half_flow_rest(struct half_flow *flow)
{
    flow->leading = false;
}

int64_t half_first_check(const struct half_rules *rules, uint32_t immunity_s, int64_t now_ms)
{
    int64_t wait_ms = (int64_t)immunity_s * 1000;

    return now_ms + (wait_ms > rules->timeout_ms ? wait_ms : rules->timeout_ms);
}

static struct half *find(struct half_flow *flow, uint64_t pos)
{
    return half_table_find(&flow->env->state->halves, pos);
}

static bool is_of_now(const struct half_flow *flow, uint32_t leads)
{
    return flow->env->state->halves.leads == leads;
}

/* Of a leadership that is over nothing is left to be taken back. */
static void unmark(struct half_flow *flow, uint32_t leads, uint64_t pos, enum half_mark mark)
{
    struct half *half = find(flow, pos);

    if (half != NULL && mark != 0 && is_of_now(flow, leads)) {
        half_table_unmark(&flow->env->state->halves, half, mark);
    }
}

/* --- jobs: something that needs the record --- */

static const enum half_mark marks[] = {
    [JOB_ASK] = 0, [JOB_DISCARD] = HALF_MARK_ENDING, [JOB_MOVE] = HALF_MARK_MOVING};

static void end_job(struct half_job *job)
{
    unmark(job->flow, job->leads, job->pos, marks[job->kind]);
    job->flow->in_flight--;
    mq_free(job);
}

/* Nothing came of it this time. Other transactions do not wait for this one, and it is not tried in every turn. */
static void put_off(struct half_job *job, int64_t ms)
{
    struct half_flow *flow = job->flow;
    struct half *half = is_of_now(flow, job->leads) ? find(flow, job->pos) : NULL;
    int64_t at_ms = mq_clock_wall_ms() + ms;

    end_job(job);
    if (half != NULL) {
        half_table_put_off(&flow->env->state->halves, half, at_ms);
    }
}

/* What is missing here is being fetched, what is bad is being repaired. */
static void suspect(struct half_job *job, uint64_t record_pos)
{
    rlog_suspect(job->flow->env->store->log, record_pos);
    put_off(job, LACKS_MS);
}

static void on_job_applied(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct half_job *job = p->data;

    job->flow->discarded += outcome->status == 0 && job->kind == JOB_DISCARD;
    end_job(job);
}

/* The record is gone: nothing can be asked or listed any more. */
static int end_without_record(struct half_job *job, const struct sequencer_pending *pending)
{
    Raftmq__HalfEnd item = RAFTMQ__HALF_END__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_END, .item = &item.base};

    mq_log_error("transaction", "the half message at %" PRIu64 " cannot be read any more: its transaction ends",
                 job->pos);
    item.pos = job->pos;
    item.cause = RAFTMQ__HALF_CAUSE__HALF_DISCARDED;
    return bundle_add(job->flow->env->sequencer, job->flow->env->store, &part, 1, pending, 0);
}

static int propose_discard(struct half_job *job, const struct reader_view *record,
                           const struct sequencer_pending *pending)
{
    const struct flow_env *env = job->flow->env;
    Raftmq__HalfEnd item = RAFTMQ__HALF_END__INIT;
    struct record_copy copy = {
        .record = record->at, .bytes = record->bytes, .topic = HALF_DISCARD_TOPIC, .reconsume_times = -1};
    struct bundle_part parts[2] = {{.kind = BUNDLE_COPY, .copy = &copy},
                                   {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_END, .item = &item.base}};
    int rc = ensure_queue(env->state, env->sequencer, HALF_DISCARD_TOPIC, 1, TOPIC_PERM_READ | TOPIC_PERM_WRITE, 0,
                          &parts[0].queue);

    item.pos = job->pos;
    item.cause = RAFTMQ__HALF_CAUSE__HALF_DISCARDED;
    return rc != 0 ? rc : bundle_add(env->sequencer, env->store, parts, 2, pending, 0);
}

static int propose_move(struct half_job *job, const struct reader_view *record,
                        const struct sequencer_pending *pending)
{
    const struct flow_env *env = job->flow->env;
    Raftmq__HalfMove item = RAFTMQ__HALF_MOVE__INIT;
    struct record_copy copy = {
        .record = record->at, .bytes = record->bytes, .topic = HALF_TOPIC, .reconsume_times = -1};
    struct bundle_part parts[2] = {{.kind = BUNDLE_COPY, .copy = &copy},
                                   {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_MOVE, .item = &item.base}};
    int rc = ensure_queue(env->state, env->sequencer, HALF_TOPIC, 1, TOPIC_PERM_READ | TOPIC_PERM_WRITE, 0,
                          &parts[0].queue);

    item.pos = job->pos;
    return rc != 0 ? rc : bundle_add_again(env->sequencer, env->store, parts, 2, pending, 0);
}

static void ask(struct half_job *job, const struct half *half, const struct reader_view *record)
{
    struct half_flow *flow = job->flow;

    flow->checks++;
    if (flow->ask != NULL) {
        flow->ask(flow->ask_data, half, record);
    }
    end_job(job);
}

/* Dropped by the group, which nothing but a foolish hand does: it was to be kept. */
static bool is_gone(const struct half_flow *flow, const struct half *half)
{
    return half->record_pos < flow->env->state->log_start_pos;
}

/* @status 0 with the record; MQ_ENOTFOUND. */
static void go_on(struct half_job *job, int status, const struct reader_view *record)
{
    const struct sequencer_pending pending = {.done = on_job_applied, .data = job};
    bool goes_on = job->flow->leading && is_of_now(job->flow, job->leads);
    struct half *half = goes_on ? find(job->flow, job->pos) : NULL;
    int rc;

    if (half == NULL) {
        end_job(job);
        return;
    }
    if (status != 0 ? !is_gone(job->flow, half) : !half_is_record(half, record->at, record->bytes)) {
        suspect(job, half->record_pos);
        return;
    }
    if (status != 0) {
        rc = end_without_record(job, &pending);
    } else if (job->kind == JOB_ASK) {
        ask(job, half, record);
        return;
    } else {
        rc = job->kind == JOB_DISCARD ? propose_discard(job, record, &pending) : propose_move(job, record, &pending);
    }
    if (rc == MQ_ECORRUPT || rc == MQ_EBADMSG) {
        suspect(job, half->record_pos);
    } else if (rc != 0) {
        put_off(job, BUSY_MS);
    }
}

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    go_on(container_of(fetch, struct half_job, fetch), status, view);
}

/* Marks the row as the job wants it. Without memory nothing happens: the row stays as it is. */
static void begin(struct half_flow *flow, enum job_kind kind, struct half *half)
{
    struct half_job *job = mq_calloc(1, sizeof(*job));
    struct reader_view view;
    int rc;

    if (job == NULL) {
        return;
    }
    job->flow = flow;
    job->kind = kind;
    job->leads = flow->env->state->halves.leads;
    job->pos = half->pos;
    half_table_mark(&flow->env->state->halves, half, marks[kind]);
    job->fetch.pos = half->record_pos;
    job->fetch.done = on_fetched;
    flow->in_flight++;
    rc = store_fetch(flow->env->store, half->record_pos, &view);
    if (rc == MQ_EAGAIN) {
        rc = store_fetch_start(flow->env->store, &job->fetch);
        if (rc == 0) {
            return;
        }
    } else if (rc == 0) {
        go_on(job, 0, &view);
        net_ref_release(view.ref);
        return;
    }
    go_on(job, rc, NULL);
}

/* --- asking --- */

static void on_checked(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct half_batch *batch = p->data;
    struct half_flow *flow = batch->flow;

    flow->in_flight--;
    for (uint32_t i = 0; i < batch->n && is_of_now(flow, batch->leads); i++) {
        struct half *half = find(flow, batch->pos[i]);

        if (half != NULL) {
            half_table_unmark(&flow->env->state->halves, half, HALF_MARK_CHECKING);
        }
        if (half != NULL && outcome->status == 0 && flow->leading && (half->marks & HALF_MARK_ENDING) == 0) {
            begin(flow, JOB_ASK, half);
        }
    }
    mq_free(batch);
}

static int propose_checks(struct half_batch *batch, int64_t next_ms)
{
    const struct flow_env *env = batch->flow->env;
    const struct sequencer_pending pending = {.done = on_checked, .data = batch};
    Raftmq__HalfChecked item = RAFTMQ__HALF_CHECKED__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_CHECKED, .item = &item.base};
    int rc;

    item.n_pos = batch->n;
    item.pos = batch->pos;
    item.next_ms = next_ms;
    rc = bundle_add(env->sequencer, env->store, &part, 1, &pending, 0);
    batch->flow->in_flight += rc == 0;
    return rc;
}

static void give_back(struct half_batch *batch)
{
    for (uint32_t i = 0; i < batch->n; i++) {
        unmark(batch->flow, batch->leads, batch->pos[i], HALF_MARK_CHECKING);
    }
    mq_free(batch);
}

/* Those that are due are asked for, or have been often enough. Returns false when the log takes nothing. */
static bool work(struct half_flow *flow, int64_t now_ms)
{
    struct half_table *table = &flow->env->state->halves;
    struct half_batch *batch = mq_calloc(1, sizeof(*batch));
    struct half *half;
    uint32_t begun = 0;
    bool busy = false;

    if (batch == NULL) {
        return false;
    }
    batch->flow = flow;
    batch->leads = table->leads;
    while (begun++ < BATCH && flow->in_flight < JOBS_MAX && (half = half_table_first_due(table)) != NULL &&
           half->due.at_ms <= now_ms) {
        if (half->times >= flow->rules.times_max && !flow_has_room(flow->env)) {
            half_table_put_off(table, half, now_ms + LACKS_MS); /* its record has no room now */
        } else if (half->times >= flow->rules.times_max) {
            begin(flow, JOB_DISCARD, half);
            if (half->due.at_ms <= now_ms) { /* neither begun nor put off: no memory */
                busy = true;
                break;
            }
        } else {
            half_table_mark(table, half, HALF_MARK_CHECKING);
            batch->pos[batch->n++] = half->pos;
        }
    }
    if (batch->n == 0) {
        mq_free(batch);
        return !busy;
    }
    if (propose_checks(batch, now_ms + flow->rules.interval_ms) != 0) {
        give_back(batch);
        return false;
    }
    return !busy;
}

void half_flow_turn(struct half_flow *flow)
{
    struct half *half = flow->leading ? half_table_first_due(&flow->env->state->halves) : NULL;
    int64_t now_ms;

    if (half == NULL || half->due.at_ms == INT64_MAX || flow->in_flight >= JOBS_MAX) {
        return; /* the end of a job is a turn, too */
    }
    now_ms = mq_clock_wall_ms();
    if (half->due.at_ms <= now_ms && !work(flow, now_ms)) {
        flow_wake_at(flow->env, mq_clock_mono_ms() + BUSY_MS);
        return;
    }
    half = half_table_first_due(&flow->env->state->halves);
    if (half != NULL && half->due.at_ms != INT64_MAX) {
        flow_wake_at(flow->env,
                     mq_clock_mono_ms() + (uint64_t)(half->due.at_ms > now_ms ? half->due.at_ms - now_ms : 1));
    }
}

/* --- retention --- */

/* A slice of the search, which ends when a whole pass has met none. The slice ends early at a row that is to be moved
 * and cannot be now. */
int half_flow_release_below(struct half_flow *flow, uint64_t pos)
{
    struct half_table *table = &flow->env->state->halves;
    bool may_begin = rlog_reserve_take(flow->env->store->log, 0) == 0;
    struct half *half;

    if (pos != flow->release_pos) {
        half_table_rewind(table);
        flow->release_pos = pos;
        flow->met = false;
    }
    for (uint32_t i = 0; i < LOOK_ROWS && (half = half_table_next(table)) != NULL; i++) {
        if (half->record_pos < pos) {
            flow->met = true;
            if ((half->marks & HALF_MARK_MOVING) == 0) {
                if (!may_begin || flow->in_flight >= MOVES_MAX) {
                    return MQ_EAGAIN;
                }
                half_table_pass(table, half);
                begin(flow, JOB_MOVE, half); /* which may end it */
                continue;
            }
        }
        half_table_pass(table, half);
    }
    if (half_table_next(table) != NULL) {
        return MQ_EAGAIN;
    }
    if (flow->met) {
        half_table_rewind(table);
        flow->met = false;
        return MQ_EAGAIN;
    }
    return 0;
}
