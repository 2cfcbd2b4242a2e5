#include "broker/store/indexer.h"

#include "broker/store/key_index.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#define GIVE_BYTES (2u << 20) /* of the log make it worth waking the indexer */
#define GIVE_MS 200u          /* or less after such a while */
#define LOOK_MS 1000u         /* so often it hears of the log's bounds when there is nothing to read */
#define RETRY_MS 1000u        /* after bytes that were not good, or a lack of memory or disk */
#define FINDS_WAIT_MS 20u     /* finds that wait for the index are looked at so often */
#define FILES_A_SLICE 32u
#define NS_PER_MS 1000000u

/* Who may touch the baton. */
enum holder { HELD_BY_NOBODY, HELD_BY_INDEXER, HELD_BY_LOOP };

struct baton {
    /* Written by the indexer, read by the loop. */
    enum key_reading reading;
    uint64_t pos;
    uint64_t not_before_ms; /* monotonic: something was wrong */
    uint64_t tail_end;
    /* Written by the loop, read by the indexer. */
    struct key_view view;
    bool has_stretch, absent;
    struct rlog_stretch stretch;
};

struct find_list {
    struct indexer_find *first, **end;
    uint32_t n;
};

struct indexer {
    /* The loop's. */
    struct net_loop *loop;
    struct store *store; /* borrowed */
    uv_async_t wake;
    uint64_t group_start, segment_bytes;
    uint64_t given_ms;    /* monotonic: when the baton went over last */
    struct net_ref *held; /* of the stretch that was given */
    uint32_t finds;       /* asked and not answered */
    uint64_t tail_end;    /* as the baton said last */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;

    /* The indexer's. */
    struct key_index index;
    bool reading;
    struct find_list waiting;
    uint64_t complained_pos;

    /* Shared. */
    struct baton baton;
    atomic_int holder;
    pthread_t thread;
    char *dir; /* owned; constant */
    pthread_mutex_t lock;
    pthread_cond_t to_indexer;
    struct find_list asked, done;
    bool stop, stopped;
};

static void list_init(struct find_list *list)
{
    *list = (struct find_list){.end = &list->first};
}

static void list_push(struct find_list *list, struct indexer_find *find)
{
    find->next = NULL;
    *list->end = find;
    list->end = &find->next;
    list->n++;
}

static struct indexer_find *list_pop(struct find_list *list)
{
    struct indexer_find *find = list->first;

    if (find != NULL) {
        list->first = find->next;
        list->n--;
        if (list->first == NULL) {
            list->end = &list->first;
        }
    }
    return find;
}

static void list_join(struct find_list *to, struct find_list *from)
{
    struct indexer_find *find;

    while ((find = list_pop(from)) != NULL) {
        list_push(to, find);
    }
}

/* ---- the indexer's side ---- */

static void answer(struct indexer *ix, struct indexer_find *find, int status)
{
    find->status = status < 0 ? status : 0;
    find->more = status == 0;
    key_index_last(&ix->index, &find->last_pos, &find->last_ms);
    pthread_mutex_lock(&ix->lock);
    list_push(&ix->done, find);
    pthread_mutex_unlock(&ix->lock);
    uv_async_send(&ix->wake);
}

/* One look at a find. Returns false when it has to wait on, with @again when there is nothing to wait for. */
static bool serve(struct indexer *ix, struct indexer_find *find, bool *again)
{
    int rc;

    find->whole = key_index_covers(&ix->index, find->want.begin_ms, find->want.end_ms, find->target);
    if (!find->whole && mq_clock_mono_ms() < find->until_ms) {
        return false;
    }
    rc = key_index_find(&ix->index, &find->want, FILES_A_SLICE, &find->found);
    if (rc == MQ_EAGAIN) {
        *again = true;
        return false;
    }
    answer(ix, find, rc);
    return true;
}

/* Returns true when one of them has only been put off. */
static bool serve_all(struct indexer *ix)
{
    bool again = false;

    for (uint32_t n = ix->waiting.n; n != 0; n--) {
        struct indexer_find *find = list_pop(&ix->waiting);

        if (!serve(ix, find, &again)) {
            list_push(&ix->waiting, find);
        }
    }
    return again;
}

/* Passes the baton with the place of the next stretch. */
static void ask(struct indexer *ix, uint64_t not_before_ms)
{
    struct baton *baton = &ix->baton;
    bool hurry = ix->waiting.n != 0;

    ix->reading = false;
    baton->reading = key_index_wants(&ix->index, &baton->pos);
    baton->tail_end = key_index_tail_end(&ix->index);
    baton->not_before_ms = not_before_ms;
    hurry = hurry || baton->reading != KEY_READ_TAIL || baton->pos < baton->view.end;
    atomic_store_explicit(&ix->holder, HELD_BY_LOOP, memory_order_release);
    if (hurry) {
        uv_async_send(&ix->wake);
    }
}

static void begin(struct indexer *ix)
{
    struct baton *baton = &ix->baton;

    key_index_see(&ix->index, &baton->view);
    if (baton->has_stretch) {
        key_index_begin(&ix->index, baton->reading, &baton->stretch);
        ix->reading = true;
        return;
    }
    if (baton->absent) {
        key_index_absent(&ix->index, baton->reading);
    }
    /* The log may be about to get another beginning: not asked again at once. */
    ask(ix, baton->absent && baton->reading != KEY_READ_CHECK ? mq_clock_mono_ms() + GIVE_MS : 0);
}

static void complain(struct indexer *ix, int rc)
{
    uint64_t pos = ix->index.walk.pos;

    if (pos != ix->complained_pos) {
        mq_log_warn("index", "pos=%" PRIu64 ": %s: keys behind it are not found until this can be read", pos,
                    mq_strerror(rc));
        ix->complained_pos = pos;
    }
}

static void pause_ns(uint64_t ns)
{
    struct timespec time = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

    (void)nanosleep(&time, NULL);
}

static void step(struct indexer *ix)
{
    bool patient = ix->index.reading == KEY_READ_PATCH && ix->waiting.n == 0;
    uint64_t began_ns = patient ? mq_clock_mono_ns() : 0;
    int rc = key_index_step(&ix->index);

    if (rc < 0) {
        complain(ix, rc);
        ask(ix, mq_clock_mono_ms() + RETRY_MS);
        return;
    }
    if (patient) {
        uint64_t took_ns = mq_clock_mono_ns() - began_ns;

        pause_ns(took_ns < FINDS_WAIT_MS * NS_PER_MS ? took_ns : FINDS_WAIT_MS * NS_PER_MS);
    }
    if (rc == 0) {
        ask(ix, 0);
    }
}

/* Waits for the baton, a find or the end. The mutex is held. */
static void wait_for_work(struct indexer *ix)
{
    struct timespec until;

    if (ix->waiting.n == 0) {
        pthread_cond_wait(&ix->to_indexer, &ix->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(FINDS_WAIT_MS * NS_PER_MS);
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&ix->to_indexer, &ix->lock, &until);
}

static bool has_baton(struct indexer *ix)
{
    return atomic_load_explicit(&ix->holder, memory_order_acquire) == HELD_BY_INDEXER;
}

/* Takes the finds that were asked. @again: there is something to do anyway. Returns false at the end. */
static bool next_work(struct indexer *ix, bool again)
{
    bool stop;

    pthread_mutex_lock(&ix->lock);
    if (!again && !ix->stop && ix->asked.first == NULL && !has_baton(ix)) {
        wait_for_work(ix);
    }
    list_join(&ix->waiting, &ix->asked);
    stop = ix->stop;
    pthread_mutex_unlock(&ix->lock);
    return !stop;
}

/* The index cannot be opened: finds say why. */
static void refuse_all(struct indexer *ix, int rc)
{
    struct indexer_find *find;

    while ((find = list_pop(&ix->waiting)) != NULL) {
        answer(ix, find, rc);
    }
}

static void *run(void *arg)
{
    struct indexer *ix = arg;
    int rc = key_index_open(&ix->index, ix->dir);
    bool again = false;

    if (rc != 0) {
        mq_log_error("index", "%s: %s: no message is found by its key until the next start", ix->dir,
                     mq_strerror(rc));
    } else {
        atomic_store_explicit(&ix->holder, HELD_BY_LOOP, memory_order_release); /* it does not know the log yet */
    }
    while (next_work(ix, again)) {
        if (rc != 0) {
            refuse_all(ix, rc);
            continue;
        }
        if (has_baton(ix)) {
            if (ix->reading) {
                step(ix);
            } else {
                begin(ix);
            }
        }
        again = serve_all(ix);
    }
    refuse_all(ix, MQ_ECLOSED);
    if (rc == 0) {
        key_index_close(&ix->index);
    }
    pthread_mutex_lock(&ix->lock);
    ix->stopped = true;
    pthread_mutex_unlock(&ix->lock);
    uv_async_send(&ix->wake);
    return NULL;
}

/* ---- the loop's side ---- */

static void on_wake_closed(uv_handle_t *handle)
{
    struct indexer *ix = handle->data;
    void (*closed)(void *data) = ix->closed;
    void *data = ix->closed_data;

    pthread_cond_destroy(&ix->to_indexer);
    pthread_mutex_destroy(&ix->lock);
    mq_free(ix->dir);
    mq_free(ix);
    if (closed != NULL) {
        closed(data);
    }
}

static void let_go(struct indexer *ix)
{
    if (ix->held != NULL) {
        net_ref_release(ix->held);
        ix->held = NULL;
    }
}

static void take_done(struct indexer *ix)
{
    struct find_list done;
    struct indexer_find *find;
    bool stopped;

    list_init(&done);
    pthread_mutex_lock(&ix->lock);
    list_join(&done, &ix->done);
    stopped = ix->stopped;
    pthread_mutex_unlock(&ix->lock);
    while ((find = list_pop(&done)) != NULL) {
        ix->finds--;
        find->done(find, find->status);
    }
    if (stopped) {
        pthread_join(ix->thread, NULL);
        let_go(ix);
        uv_close((uv_handle_t *)&ix->wake, on_wake_closed);
    }
}

static void on_wake(uv_async_t *wake)
{
    struct indexer *ix = wake->data;

    take_done(ix); /* when it has stopped the memory is there until the handle is closed */
}

/* Whether the baton should go over, and with what. */
static bool fill(struct indexer *ix, struct baton *baton, const struct rlog_status *status, uint64_t now_ms)
{
    bool tail = baton->reading == KEY_READ_TAIL;

    baton->has_stretch = baton->absent = false;
    baton->view = (struct key_view){.group_start = ix->group_start,
                                    .start = status->start_pos,
                                    .end = status->applied_pos,
                                    .segment_bytes = ix->segment_bytes,
                                    .room = status->space.level == RLOG_SPACE_ENOUGH};
    if (tail && baton->pos >= baton->view.end && baton->pos >= baton->view.start) {
        return now_ms >= ix->given_ms + LOOK_MS;
    }
    if (baton->reading == KEY_READ_NOTHING) {
        return true;
    }
    if (baton->reading == KEY_READ_PATCH && !rlog_is_whole(ix->store->log)) {
        return now_ms >= ix->given_ms + GIVE_MS; /* what is being fetched has the disk for itself */
    }
    if (baton->reading == KEY_READ_CHECK && baton->pos >= status->applied_pos && baton->pos < status->end_pos) {
        return false; /* after a start an entry counts as committed only when a leader says so again */
    }
    baton->has_stretch = rlog_stretch_get(ix->store->log, baton->pos, &baton->stretch) == 0;
    baton->absent = !baton->has_stretch;
    return true;
}

/* The baton is here. Whether to look at what it asks for now; cheap, because it is asked in every turn. */
static bool is_due(const struct indexer *ix, const struct baton *baton, uint64_t now_ms)
{
    uint64_t end_pos = ix->store->end_pos;

    if (now_ms < baton->not_before_ms) {
        return false;
    }
    if (baton->reading != KEY_READ_TAIL || ix->finds != 0) {
        return true;
    }
    return end_pos >= baton->pos + GIVE_BYTES || now_ms >= ix->given_ms + GIVE_MS;
}

void indexer_turn(struct indexer *ix, uint64_t group_start)
{
    struct baton *baton = &ix->baton;
    struct rlog_status status;

    if (ix->closing || atomic_load_explicit(&ix->holder, memory_order_acquire) != HELD_BY_LOOP) {
        return;
    }
    let_go(ix);
    ix->tail_end = baton->tail_end;
    if (!is_due(ix, baton, ix->loop->now_ms)) {
        return;
    }
    ix->group_start = group_start;
    rlog_status_get(ix->store->log, &status);
    if (!fill(ix, baton, &status, ix->loop->now_ms)) {
        return;
    }
    ix->given_ms = ix->loop->now_ms;
    ix->held = baton->has_stretch ? baton->stretch.ref : NULL;
    pthread_mutex_lock(&ix->lock);
    atomic_store_explicit(&ix->holder, HELD_BY_INDEXER, memory_order_release);
    pthread_mutex_unlock(&ix->lock);
    pthread_cond_signal(&ix->to_indexer);
}

int indexer_find(struct indexer *ix, struct indexer_find *find)
{
    if (ix->closing) {
        return MQ_ECLOSED;
    }
    if (ix->finds == INDEXER_FINDS_MAX) {
        return MQ_EBUSY;
    }
    ix->finds++;
    find->found.n = 0;
    find->target = ix->store->end_pos;
    find->until_ms = mq_clock_mono_ms() + INDEXER_WAIT_MS;
    pthread_mutex_lock(&ix->lock);
    list_push(&ix->asked, find);
    pthread_mutex_unlock(&ix->lock);
    pthread_cond_signal(&ix->to_indexer);
    return 0;
}

uint64_t indexer_pos(const struct indexer *ix)
{
    return ix->tail_end;
}

/* A condition whose time-outs do not depend on the wall clock. */
static int init_condition(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);

    if (rc == 0) {
        rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        if (rc == 0) {
            rc = pthread_cond_init(cond, &attr);
        }
        pthread_condattr_destroy(&attr);
    }
    return -rc;
}

/* Signals are the loop's. */
static int start_thread(struct indexer *ix)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&ix->thread, NULL, run, ix);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) {
        pthread_setname_np(ix->thread, "indexer");
    }
    return -rc;
}

int indexer_new(struct net_loop *loop, struct store *store, const char *dir, uint64_t segment_bytes,
                struct indexer **out)
{
    struct indexer *ix = mq_calloc(1, sizeof(*ix));
    int rc;

    if (ix == NULL) {
        return MQ_ENOMEM;
    }
    ix->loop = loop;
    ix->store = store;
    ix->segment_bytes = segment_bytes;
    ix->dir = mq_strdup(dir);
    list_init(&ix->asked);
    list_init(&ix->done);
    list_init(&ix->waiting);
    pthread_mutex_init(&ix->lock, NULL);
    rc = ix->dir != NULL ? init_condition(&ix->to_indexer) : MQ_ENOMEM;
    if (rc != 0) {
        goto err_after_lock;
    }
    rc = uv_async_init(&loop->uv, &ix->wake, on_wake);
    if (rc != 0) {
        goto err_after_condition;
    }
    ix->wake.data = ix;
    rc = start_thread(ix);
    if (rc != 0) {
        uv_close((uv_handle_t *)&ix->wake, on_wake_closed); /* frees */
        return rc;
    }
    *out = ix;
    return 0;

err_after_condition:
    pthread_cond_destroy(&ix->to_indexer);
err_after_lock:
    pthread_mutex_destroy(&ix->lock);
    mq_free(ix->dir);
    mq_free(ix);
    return rc;
}

void indexer_close(struct indexer *ix, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!ix->closing);
    ix->closing = true;
    ix->closed = closed;
    ix->closed_data = data;
    pthread_mutex_lock(&ix->lock);
    ix->stop = true;
    pthread_mutex_unlock(&ix->lock);
    pthread_cond_signal(&ix->to_indexer);
}
