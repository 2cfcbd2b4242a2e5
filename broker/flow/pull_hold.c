/* A parked pull hangs in three lists: of its queue, which an arriving message walks; of a slot of a wheel of
 * deadlines, which a timer turns; of its connection, whose end drops them.
 *
 * Arrival happens while an entry is applied; nothing is answered there. Woken requests move to the ready list, and
 * the end of the loop's turn hands them up, after everything that the entry brought has become visible. */
#include "broker/store/hash.h"

#include "broker/flow/pull_hold.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#define TICK_MS 100
#define SLOTS 2048u
_Static_assert(PULL_HOLD_MS_MAX / TICK_MS + 2 < SLOTS, "whoever lies in a slot is due when it comes round");

/* A connection that has parked something. */
struct pull_waiter {
    struct net_channel *ch; /* key; borrowed: each of its requests holds a reference */
    struct pull_parked *first;
    uint32_t count;
    UT_hash_handle hh;
};

struct pull_hold {
    struct store *store;
    pull_wake_cb cb;
    void *data;
    struct pull_waiter *waiters;
    struct pull_parked *ready; /* by next_in_slot */
    uint32_t count;            /* parked, without the ready ones */
    uint64_t tick;             /* the last one swept */
    struct net_turn turn;
    uv_timer_t timer;
    void (*closed)(void *data);
    void *closed_data;
    struct pull_parked *slots[SLOTS]; /* by tick of the deadline */
};

/* --- lists --- */

static void link_queue(struct pull_parked *p)
{
    struct pull_parked **head = &p->queue->waiters;

    p->prev_in_queue = head;
    p->next_in_queue = *head;
    if (*head != NULL) {
        (*head)->prev_in_queue = &p->next_in_queue;
    }
    *head = p;
}

static void link_slot(struct pull_hold *hold, struct pull_parked *p)
{
    /* Not before its time, and never in a slot that was swept already. */
    uint64_t tick = (p->deadline_ms + TICK_MS - 1) / TICK_MS;
    struct pull_parked **head = &hold->slots[(tick > hold->tick ? tick : hold->tick + 1) % SLOTS];

    p->prev_in_slot = head;
    p->next_in_slot = *head;
    if (*head != NULL) {
        (*head)->prev_in_slot = &p->next_in_slot;
    }
    *head = p;
}

static void link_conn(struct pull_waiter *waiter, struct pull_parked *p)
{
    p->waiter = waiter;
    p->prev_of_conn = &waiter->first;
    p->next_of_conn = waiter->first;
    if (waiter->first != NULL) {
        waiter->first->prev_of_conn = &p->next_of_conn;
    }
    waiter->first = p;
    waiter->count++;
}

/* Takes it out of all lists; its connection is forgotten with its last one. */
static void unpark(struct pull_hold *hold, struct pull_parked *p)
{
    struct pull_waiter *waiter = p->waiter;

    *p->prev_in_queue = p->next_in_queue;
    if (p->next_in_queue != NULL) {
        p->next_in_queue->prev_in_queue = p->prev_in_queue;
    }
    *p->prev_in_slot = p->next_in_slot;
    if (p->next_in_slot != NULL) {
        p->next_in_slot->prev_in_slot = p->prev_in_slot;
    }
    *p->prev_of_conn = p->next_of_conn;
    if (p->next_of_conn != NULL) {
        p->next_of_conn->prev_of_conn = p->prev_of_conn;
    }
    if (--waiter->count == 0) {
        HASH_DEL(hold->waiters, waiter);
        mq_free(waiter);
    }
    hold->count--;
}

static void parked_free(struct pull_parked *p)
{
    net_channel_release(p->ch);
    message_filter_release(p->filter);
    mq_free(p);
}

/* --- waking --- */

static void make_ready(struct pull_hold *hold, struct pull_parked *p)
{
    unpark(hold, p);
    p->next_in_slot = hold->ready;
    hold->ready = p;
}

static void wake_ready(struct pull_hold *hold)
{
    struct pull_parked *p = hold->ready;
    struct pull_parked *next;

    hold->ready = NULL;
    for (; p != NULL; p = next) {
        next = p->next_in_slot;
        if (!p->ch->dead) {
            hold->cb(hold->data, p);
        }
        parked_free(p);
    }
}

static bool passes(const struct message_filter *filter, int64_t tags_code, const uint8_t *record, uint32_t bytes)
{
    return message_filter_passes_unit(filter, tags_code) &&
           (!message_filter_reads_records(filter) || message_filter_passes_record(filter, record, bytes));
}

static void on_arrived(void *data, struct queue *queue, int64_t tags_code, const uint8_t *record, uint32_t bytes)
{
    struct pull_hold *hold = data;
    struct pull_parked *p = queue->waiters;
    struct pull_parked *next;

    for (; p != NULL; p = next) {
        next = p->next_in_queue;
        if (queue->cq.max > p->qoff && passes(p->filter, tags_code, record, bytes)) {
            make_ready(hold, p);
        }
    }
}

void pull_hold_wake(struct pull_hold *hold, struct queue *queue)
{
    while (queue->waiters != NULL) {
        make_ready(hold, queue->waiters);
    }
}

static void on_emptied(void *data, struct queue *queue)
{
    pull_hold_wake(data, queue);
}

static void on_turn_end(struct net_turn *turn)
{
    wake_ready(container_of(turn, struct pull_hold, turn));
}

/* A message that the filter refused still moves the consumer on then, as in the original's own sweep: the request is
 * run once more. */
void pull_hold_sweep(struct pull_hold *hold, uint64_t now_ms)
{
    uint64_t last = now_ms / TICK_MS;

    if (last > hold->tick + SLOTS) {
        hold->tick = last - SLOTS; /* we slept for long: every slot once */
    }
    while (hold->tick < last) {
        struct pull_parked **slot = &hold->slots[++hold->tick % SLOTS];

        while (*slot != NULL) {
            make_ready(hold, *slot);
        }
    }
    wake_ready(hold);
}

static void on_timer(uv_timer_t *timer)
{
    pull_hold_sweep(timer->data, mq_clock_mono_ms());
}

/* --- parking --- */

static struct pull_waiter *waiter_find(const struct pull_hold *hold, struct net_channel *ch)
{
    struct pull_waiter *waiter;

    HASH_FIND_PTR(hold->waiters, &ch, waiter);
    return waiter;
}

static struct pull_waiter *waiter_get(struct pull_hold *hold, struct net_channel *ch)
{
    struct pull_waiter *waiter = waiter_find(hold, ch);

    if (waiter != NULL) {
        return waiter;
    }
    waiter = mq_calloc(1, sizeof(*waiter));
    if (waiter == NULL) {
        return NULL;
    }
    waiter->ch = ch;
    HASH_ADD_PTR(hold->waiters, ch, waiter);
    if (waiter->hh.tbl == NULL) {
        mq_free(waiter);
        return NULL;
    }
    return waiter;
}

static struct pull_parked *parked_new(const struct pull_parked *request)
{
    struct pull_parked *p = mq_malloc(sizeof(*p));

    if (p == NULL) {
        return NULL;
    }
    *p = *request;
    message_filter_acquire(p->filter);
    net_channel_acquire(p->ch);
    return p;
}

int pull_hold_park(struct pull_hold *hold, const struct pull_parked *request)
{
    uint64_t latest_ms = mq_clock_mono_ms() + PULL_HOLD_MS_MAX;
    struct pull_waiter *waiter = waiter_find(hold, request->ch);
    struct pull_parked *p;

    if (hold->count >= PULL_HOLD_PARKED_MAX || (waiter != NULL && waiter->count >= PULL_HOLD_CHANNEL_MAX)) {
        return MQ_EBUSY;
    }
    p = parked_new(request);
    if (p == NULL) {
        return MQ_ENOMEM;
    }
    waiter = waiter_get(hold, request->ch);
    if (waiter == NULL) {
        parked_free(p);
        return MQ_ENOMEM;
    }
    p->deadline_ms = p->deadline_ms < latest_ms ? p->deadline_ms : latest_ms;
    link_queue(p);
    link_slot(hold, p);
    link_conn(waiter, p);
    hold->count++;
    return 0;
}

static void drop_all(struct pull_hold *hold, struct pull_waiter *waiter)
{
    /* The last one takes the waiter along. */
    for (uint32_t left = waiter->count; left != 0; left--) {
        struct pull_parked *p = waiter->first;

        unpark(hold, p);
        parked_free(p);
    }
}

void pull_hold_channel_closed(struct pull_hold *hold, struct net_channel *ch)
{
    struct pull_waiter *waiter = waiter_find(hold, ch);

    if (waiter != NULL) {
        drop_all(hold, waiter);
    }
}

uint32_t pull_hold_count(const struct pull_hold *hold)
{
    return hold->count;
}

/* --- life --- */

int pull_hold_new(struct net_loop *loop, struct store *store, pull_wake_cb cb, void *data, struct pull_hold **out)
{
    struct pull_hold *hold = mq_calloc(1, sizeof(*hold));

    if (hold == NULL) {
        return MQ_ENOMEM;
    }
    hold->store = store;
    hold->cb = cb;
    hold->data = data;
    hold->tick = mq_clock_mono_ms() / TICK_MS;
    uv_timer_init(&loop->uv, &hold->timer);
    hold->timer.data = hold;
    uv_timer_start(&hold->timer, on_timer, TICK_MS, TICK_MS);
    net_turn_add(loop, &hold->turn, NET_PHASE_LAST, on_turn_end);
    store->arrived = on_arrived;
    store->emptied = on_emptied;
    store->arrived_data = hold;
    *out = hold;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct pull_hold *hold = handle->data;
    void (*closed)(void *) = hold->closed;
    void *data = hold->closed_data;

    mq_free(hold);
    closed(data);
}

void pull_hold_free(struct pull_hold *hold, void (*closed)(void *data), void *data)
{
    struct pull_waiter *waiter, *next;

    HASH_ITER (hh, hold->waiters, waiter, next) {
        drop_all(hold, waiter);
    }
    while (hold->ready != NULL) {
        struct pull_parked *p = hold->ready;

        hold->ready = p->next_in_slot;
        parked_free(p);
    }
    hold->store->arrived = NULL;
    hold->store->emptied = NULL;
    net_turn_remove(&hold->turn);
    hold->closed = closed;
    hold->closed_data = data;
    uv_close((uv_handle_t *)&hold->timer, on_closed);
}
