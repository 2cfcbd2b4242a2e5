#include "broker/store/time_search.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

/* The first message stored at this time or later is looked for. Going for the last one that is not later means to
 * look for the first one that is, and to step back. */
static int64_t bound_of(const struct time_search *search)
{
    return search->upper && search->time_ms != INT64_MAX ? search->time_ms + 1 : search->time_ms;
}

static void finish(struct time_search *search)
{
    const struct consume_queue *cq = &search->queue->cq;

    search->found = search->low;
    if (search->upper) {
        search->found = search->time_ms == INT64_MAX ? cq->max : search->found;
        search->found -= search->found > cq->min;
    }
    search->found = search->found < cq->min ? cq->min : search->found > cq->max ? cq->max : search->found;
}

static void step(struct time_search *search, int64_t stored_ms)
{
    if (stored_ms < bound_of(search)) {
        search->low = search->middle + 1;
    } else {
        search->high = search->middle;
    }
}

static int run(struct time_search *search);

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct time_search *search = fetch->data;

    step(search, status == 0 ? store_time(view->at) : INT64_MIN);
    if (run(search) == 0) {
        search->done(search);
    }
}

/* Begins to bring the record at @pos into memory. Returns MQ_EAGAIN, or 0 when that cannot be: then it counts as
 * early. */
static int fetch_later(struct time_search *search, uint64_t pos)
{
    search->fetch = (struct store_fetch){.pos = pos, .data = search, .done = on_fetched};
    if (store_fetch_start(search->store, &search->fetch) == 0) {
        return MQ_EAGAIN;
    }
    step(search, INT64_MIN);
    return 0;
}

static int look_at_middle(struct time_search *search)
{
    struct consume_unit unit;
    struct reader_view view;
    int rc;

    search->middle = search->low + (search->high - search->low) / 2;
    consume_queue_get(&search->queue->cq, search->middle, &unit);
    rc = store_fetch(search->store, unit.pos, &view);
    if (rc == MQ_EAGAIN) {
        return fetch_later(search, unit.pos);
    }
    step(search, rc == 0 ? store_time(view.at) : INT64_MIN);
    if (rc == 0) {
        net_ref_release(view.ref);
    }
    return 0;
}

/* The queue may have lost its beginning, or all it held, while a record was fetched. */
static int run(struct time_search *search)
{
    const struct consume_queue *cq = &search->queue->cq;

    for (;;) {
        search->low = search->low < cq->min ? cq->min : search->low;
        search->high = search->high > cq->max ? cq->max : search->high;
        if (search->low >= search->high) {
            finish(search);
            return 0;
        }
        if (look_at_middle(search) != 0) {
            return MQ_EAGAIN;
        }
    }
}

int time_search_start(struct time_search *search)
{
    if (search->queue == NULL) {
        search->found = 0;
        return 0;
    }
    search->low = search->queue->cq.min;
    search->high = search->queue->cq.max;
    return run(search);
}
