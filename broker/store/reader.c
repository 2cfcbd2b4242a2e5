/* Reading a queue: units in order, filtered, records handed out where they lie. Tags are judged by the unit alone;
 * an SQL92 filter looks at each record, and so only as far as records are in memory: at a cold one it stops and hands
 * out what it has, or moves the consumer on to it.
 *
 * Happy path: bounds -> a selection of units (select_next) -> runs of records that lie one behind the other become
 * one view each -> result. A run far behind the log's end may have left memory: then the read is given up with
 * MQ_EAGAIN, store_warm makes the same selection, touches its pages on the pool, and the caller reads again.
 *
 * Whether pages are in memory costs a system call, so the answer is kept for a second for stretches of WINDOW_BYTES;
 * near the end nobody asks. Statuses and limits: RocketMQ's DefaultMessageStore.getMessage. */
#include "broker/store/inside.h"
#include "broker/store/store.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define SCAN_UNITS_MIN 800u       /* examined in one request, or count_max if that is more */
#define SCAN_BYTES_MAX (4u << 20) /* of records that a filter looks at in one request: some milliseconds */
#define WARM_BYTES (512u << 10)   /* of records that a filter will look at, brought into memory at once */
#define HOT_BYTES (64u << 20)     /* so close to the log's end pages are taken to be in memory */
#define WINDOW_BYTES (128u << 10) /* about what the kernel reads ahead */
#define WARM_MS 1000
#define PAGE_BYTES 4096u

/* The walk over the units of one request. */
struct selection {
    const struct consume_queue *cq;
    const struct reader_request *request;
    uint64_t next, end; /* the unit to examine next, and where to stop examining */
    uint32_t count_max;
    uint32_t records;
    uint64_t bytes;
    uint64_t judged_bytes; /* of records that the filter has looked at */
};

/* Adjacent records that become one view. */
struct run {
    uint64_t pos;
    uint32_t bytes, records;
};

static enum reader_status check_bounds(const struct reader_request *request, struct reader_result *out)
{
    const struct queue *queue = request->queue;

    out->min = queue != NULL ? queue->cq.min : 0;
    out->max = queue != NULL ? queue->cq.max : 0;
    out->next = request->qoff;
    if (out->max == 0) {
        out->next = 0;
        return READER_EMPTY;
    }
    if (request->qoff < out->min) {
        out->next = out->min;
        return READER_TOO_SMALL;
    }
    if (request->qoff > out->max) {
        out->next = out->max;
        return READER_BEYOND_END;
    }
    return request->qoff == out->max ? READER_AT_END : READER_FOUND;
}

/* @request lies within the queue's bounds. */
static struct selection select_begin(const struct reader_request *request)
{
    struct selection s = {.cq = &request->queue->cq, .request = request, .next = request->qoff};
    uint64_t scan;

    s.count_max = request->count_max != 0 ? request->count_max : 1;
    scan = s.count_max > SCAN_UNITS_MIN ? s.count_max : SCAN_UNITS_MIN;
    s.end = s.cq->max - s.next < scan ? s.cq->max : s.next + scan;
    return s;
}

/* The next unit that passes as far as units tell; false when the request is satisfied or nothing is left. */
static bool select_next(struct selection *s, struct consume_unit *unit)
{
    while (s->next != s->end && s->records != s->count_max) {
        consume_queue_get(s->cq, s->next, unit);
        if (s->records != 0 && s->bytes + unit->bytes > s->request->bytes_max) {
            return false;
        }
        s->next++;
        if (message_filter_passes_unit(s->request->filter, unit->tags_code)) {
            s->records++;
            s->bytes += unit->bytes;
            return true;
        }
    }
    return false;
}

/* What was selected last does not go out after all. */
static void unselect(struct selection *s, const struct consume_unit *unit)
{
    s->records--;
    s->bytes -= unit->bytes;
}

static struct store_warm_slot *warm_slot(struct store *store, uint64_t window)
{
    return &store->warm[window % STORE_WARM_SLOTS];
}

void store_remember_warm(struct store *store, uint64_t pos, uint32_t bytes, uint64_t now_ms)
{
    for (uint64_t w = pos / WINDOW_BYTES; w <= (pos + bytes - 1) / WINDOW_BYTES; w++) {
        *warm_slot(store, w) = (struct store_warm_slot){w + 1, now_ms + WARM_MS};
    }
}

static bool is_window_warm(struct store *store, uint64_t window, uint64_t now_ms)
{
    const struct store_warm_slot *slot = warm_slot(store, window);

    if (slot->window == window + 1 && now_ms < slot->until_ms) {
        return true;
    }
    if (rlog_is_cold(store->log, window * WINDOW_BYTES, WINDOW_BYTES)) {
        return false;
    }
    store_remember_warm(store, window * WINDOW_BYTES, WINDOW_BYTES, now_ms);
    return true;
}

bool store_is_warm(struct store *store, uint64_t pos, uint32_t bytes, uint64_t now_ms)
{
    if (pos + HOT_BYTES >= store->end_pos) {
        return true;
    }
    for (uint64_t w = pos / WINDOW_BYTES; w <= (pos + bytes - 1) / WINDOW_BYTES; w++) {
        if (!is_window_warm(store, w, now_ms)) {
            /* Something in the window is cold; this stretch may still not be. */
            return !rlog_is_cold(store->log, pos, bytes);
        }
    }
    return true;
}

/* Ends a run: adds its view. Returns 0 or MQ_EAGAIN. */
static int take_run(struct store *store, const struct run *run, uint64_t now_ms, struct reader_result *out)
{
    struct reader_view *view = &out->views[out->n_views];

    if (run->records == 0) {
        return 0;
    }
    if (rlog_view(store->log, run->pos, run->bytes, &view->at, &view->ref) != 0) {
        return 0; /* removed from the log meanwhile: passed over */
    }
    if (!store_is_warm(store, run->pos, run->bytes, now_ms)) {
        net_ref_release(view->ref);
        return MQ_EAGAIN;
    }
    view->bytes = run->bytes;
    out->n_views++;
    out->records += run->records;
    out->bytes += run->bytes;
    return 0;
}

static void drop_views(struct reader_result *out)
{
    while (out->n_views != 0) {
        net_ref_release(out->views[--out->n_views].ref);
    }
}

/* Looks at the record of @unit. Returns 1 when it passes, 0, or MQ_EAGAIN when it is cold. */
static int judge_record(struct store *store, const struct reader_request *request, const struct consume_unit *unit,
                        uint64_t now_ms)
{
    const uint8_t *at;
    struct net_ref *ref;
    int rc = MQ_EAGAIN;

    if (rlog_view(store->log, unit->pos, unit->bytes, &at, &ref) != 0) {
        return 0; /* removed from the log meanwhile: passed over */
    }
    if (store_is_warm(store, unit->pos, unit->bytes, now_ms)) {
        rc = message_filter_passes_record(request->filter, at, unit->bytes);
    }
    net_ref_release(ref);
    return rc;
}

/* As select_next, for a filter that looks at records. Returns 0, also when there is none, or MQ_EAGAIN when the first
 * record of all is cold. */
static int select_judged(struct store *store, struct selection *s, uint64_t now_ms, struct consume_unit *unit,
                         bool *found)
{
    *found = false;
    while (s->judged_bytes < SCAN_BYTES_MAX && select_next(s, unit)) {
        int rc = judge_record(store, s->request, unit, now_ms);

        if (rc == 1) {
            s->judged_bytes += unit->bytes;
            *found = true;
            return 0;
        }
        unselect(s, unit);
        if (rc == MQ_EAGAIN) {
            s->next--;
            s->end = s->next;
            return s->next == s->request->qoff ? MQ_EAGAIN : 0;
        }
        s->judged_bytes += unit->bytes;
    }
    return 0;
}

static int next_of(struct store *store, struct selection *s, uint64_t now_ms, struct consume_unit *unit, bool *found)
{
    if (message_filter_reads_records(s->request->filter)) {
        return select_judged(store, s, now_ms, unit, found);
    }
    *found = select_next(s, unit);
    return 0;
}

static int read_selection(struct store *store, struct selection *s, struct reader_result *out)
{
    struct run run = {0};
    struct consume_unit unit;
    uint64_t now_ms = 0;
    bool found;
    int rc;

    if (s->next < s->cq->max) {
        struct consume_unit first;

        consume_queue_get(s->cq, s->next, &first);
        now_ms = first.pos + HOT_BYTES < store->end_pos ? mq_clock_mono_ms() : 0;
    }
    while (out->n_views + 1 < READER_VIEWS_MAX) {
        rc = next_of(store, s, now_ms, &unit, &found);
        if (rc != 0) {
            return rc;
        }
        if (!found) {
            break;
        }
        if (run.records != 0 && unit.pos == run.pos + run.bytes) {
            run.bytes += unit.bytes;
            run.records++;
            continue;
        }
        rc = take_run(store, &run, now_ms, out);
        if (rc != 0) {
            return rc;
        }
        run = (struct run){unit.pos, unit.bytes, 1};
    }
    return take_run(store, &run, now_ms, out);
}

int store_read(struct store *store, const struct reader_request *request, struct reader_result *out)
{
    struct selection s;
    int rc;

    queue_table_bound_maps(&store->queues);
    out->records = 0;
    out->n_views = 0;
    out->bytes = 0;
    out->status = check_bounds(request, out);
    if (out->status != READER_FOUND) {
        return 0;
    }
    s = select_begin(request);
    rc = read_selection(store, &s, out);
    if (rc != 0) {
        drop_views(out);
        return rc;
    }
    out->next = s.next;
    if (out->records == 0) {
        out->status = READER_NO_MATCH;
    }
    return 0;
}

/* Views to touch on the pool. */
struct warm_job {
    uv_work_t work;
    struct store *store;
    void (*cb)(void *data);
    void *data;
    uint32_t n;
    uint8_t touched; /* keeps the reads of the pool from being optimised away */
    struct warm_range {
        uint64_t pos;
        const uint8_t *at;
        uint32_t bytes;
        struct net_ref *ref; /* acquired */
    } ranges[READER_VIEWS_MAX];
};

static void warm_work(uv_work_t *work)
{
    struct warm_job *job = container_of(work, struct warm_job, work);

    for (uint32_t i = 0; i < job->n; i++) {
        const volatile uint8_t *at = job->ranges[i].at;

        for (uint32_t done = 0; done < job->ranges[i].bytes; done += PAGE_BYTES) {
            job->touched ^= at[done];
        }
        job->touched ^= at[job->ranges[i].bytes - 1];
    }
}

static void release_ranges(struct warm_job *job)
{
    for (uint32_t i = 0; i < job->n; i++) {
        net_ref_release(job->ranges[i].ref);
    }
}

static void warm_done(uv_work_t *work, int status)
{
    struct warm_job *job = container_of(work, struct warm_job, work);
    struct store *store = job->store;
    uint64_t now_ms = mq_clock_mono_ms();

    (void)status;
    for (uint32_t i = 0; i < job->n; i++) {
        store_remember_warm(store, job->ranges[i].pos, job->ranges[i].bytes, now_ms);
    }
    release_ranges(job);
    job->cb(job->data);
    mq_free(job);
    store_job_done(store);
}

static void gather_ranges(struct warm_job *job, const struct reader_request *request)
{
    struct reader_request warmed = *request;
    struct selection s;
    struct consume_unit unit;

    if (message_filter_reads_records(request->filter)) {
        warmed.count_max = READER_VIEWS_MAX; /* every record has to be looked at */
        warmed.bytes_max = WARM_BYTES;
    }
    s = select_begin(&warmed);
    while (job->n != READER_VIEWS_MAX && select_next(&s, &unit)) {
        struct warm_range *range = &job->ranges[job->n];

        if (rlog_view(job->store->log, unit.pos, unit.bytes, &range->at, &range->ref) == 0) {
            range->pos = unit.pos;
            range->bytes = unit.bytes;
            job->n++;
        }
    }
}

int store_warm(struct store *store, const struct reader_request *request, void (*cb)(void *data), void *data)
{
    struct reader_result bounds;
    struct warm_job *job;
    int rc;

    MQ_ASSERT(store->loop != NULL);
    job = mq_malloc(sizeof(*job));
    if (job == NULL) {
        return MQ_ENOMEM;
    }
    job->store = store;
    job->cb = cb;
    job->data = data;
    job->n = 0;
    job->touched = 0;
    if (check_bounds(request, &bounds) == READER_FOUND) {
        gather_ranges(job, request);
    }
    rc = uv_queue_work(&store->loop->uv, &job->work, warm_work, warm_done);
    if (rc != 0) {
        release_ranges(job);
        mq_free(job);
        return rc;
    }
    store->warming++;
    return 0;
}
