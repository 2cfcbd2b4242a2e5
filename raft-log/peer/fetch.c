#include "raft-log/peer/fetch.h"

#include "raft-log/peer/peers.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

void fetch_list_init(struct fetch_list *list)
{
    *list = (struct fetch_list){.end = &list->first};
}

static struct fetch *take_first(struct fetch_list *list)
{
    struct fetch *fetch = list->first;

    list->first = fetch->next;
    if (list->first == NULL) {
        list->end = &list->first;
    }
    list->n--;
    return fetch;
}

int fetch_entries(struct peers *peers, uint32_t id, struct fetch *fetch, uint64_t first, uint64_t last,
                  enum fetch_from from, uint32_t bytes_max, fetch_cb cb)
{
    struct peer *peer = peers_find(peers, id);
    struct fetch_list *list;
    struct net_conn *conn;

    if (peer == NULL) {
        return MQ_ENOTFOUND;
    }
    if (!peer_is_up(peer, PEER_RANGE)) {
        return MQ_ECLOSED;
    }
    if (first == 0 || last < first || bytes_max == 0 || bytes_max > PEER_RANGE_BYTES) {
        return MQ_EINVAL;
    }
    list = &peer->fetches;
    if (list->n >= FETCH_OPEN_MAX) {
        return MQ_EBUSY;
    }
    conn = &peer->out[PEER_RANGE].conn;
    fetch->ask = (struct peer_fetch){list->last_id + 1, first, last, from == FETCH_FROM_LAST, bytes_max};
    if (peer_fetch_encode(&fetch->ask, net_conn_out(conn)) != 0) {
        return MQ_ENOMEM;
    }
    fetch->cb = cb;
    fetch->next = NULL;
    fetch->deadline_ms = mq_clock_mono_ms() + FETCH_TIMEOUT_MS;
    *list->end = fetch;
    list->end = &fetch->next;
    list->n++;
    list->last_id++;
    net_conn_out_done(conn); /* if it closes the connection for that, the callback tells */
    return 0;
}

static int status_of(enum peer_range_status status)
{
    static const int codes[PEER_RANGE_STATUSES] = {
        [PEER_RANGE_OK] = 0,
        [PEER_RANGE_NOT_HELD] = MQ_ENOTFOUND,
        [PEER_RANGE_NOT_MEMBER] = MQ_EVERSION,
        [PEER_RANGE_DAMAGED] = MQ_ECORRUPT,
        [PEER_RANGE_BAD_ASK] = MQ_EINVAL,
    };

    return codes[status];
}

/* Whether the answer is one to the question, and its entries are whole. */
static int check_answer(const struct peer_fetch *ask, const struct peer_range *range, const struct peer_frame *frame)
{
    uint64_t last = range->first + range->n - 1;

    if (range->id != ask->id) {
        return MQ_EBADMSG;
    }
    if (range->status != PEER_RANGE_OK) {
        return 0;
    }
    if (range->first < ask->first || last > ask->last ||
        (ask->from_last ? last != ask->last : range->first != ask->first)) {
        return MQ_EBADMSG;
    }
    return peer_range_check(frame->raw, frame->raw_bytes, range->first, range->n);
}

int fetch_answered(struct peer *peer, const struct peer_frame *frame, struct net_ref *ref)
{
    struct fetch_list *list = &peer->fetches;
    struct fetched got = {0};
    struct peer_range range;
    struct fetch *fetch;
    int status;
    int rc = list->first != NULL ? peer_range_decode(frame, &range) : MQ_EBADMSG;

    if (rc == 0) {
        rc = check_answer(&list->first->ask, &range, frame);
    }
    if (rc != 0) {
        return rc; /* closed says so to everyone who waits */
    }
    status = status_of(range.status);
    got.commit = range.commit;
    got.held_first = range.held_first;
    got.complete = range.complete;
    if (status == 0) {
        got.first = range.first;
        got.n = range.n;
        got.raw = frame->raw;
        got.bytes = frame->raw_bytes;
        got.ref = ref;
    }
    fetch = take_first(list);
    if (list->first != NULL) {
        list->first->deadline_ms = mq_clock_mono_ms() + FETCH_TIMEOUT_MS; /* it was not its turn before */
    }
    fetch->cb(fetch, status, &got);
    return 0;
}

void fetch_conn_closed(struct peer *peer, int reason)
{
    struct fetch_list list = peer->fetches;
    static const struct fetched nothing;
    bool is_oldest = true;

    fetch_list_init(&peer->fetches);
    peer->fetches.last_id = list.last_id;
    for (struct fetch *fetch = list.first, *next; fetch != NULL; fetch = next) {
        int status = MQ_ECLOSED;

        next = fetch->next;
        if (is_oldest && reason == MQ_ETIMEDOUT) {
            status = MQ_ETIMEDOUT;
        } else if (is_oldest && (reason == MQ_EBADMSG || reason == MQ_ECORRUPT || reason == MQ_ETOOBIG)) {
            status = MQ_EBADMSG;
        }
        is_oldest = false;
        fetch->cb(fetch, status, &nothing);
    }
}

void fetch_tick(struct peer *peer, uint64_t now_ms)
{
    if (peer->fetches.first != NULL && now_ms >= peer->fetches.first->deadline_ms) {
        peer_conn_close(&peer->out[PEER_RANGE], MQ_ETIMEDOUT);
    }
}
