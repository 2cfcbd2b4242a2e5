#include "raft-log/peer/fetch.h"

#include "raft-log/peer/peers.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
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

/* Sends fetch->ask, whose id is still missing. */
static int start(struct peers *peers, uint32_t id, struct fetch *fetch)
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
    list = &peer->fetches;
    if (list->n >= FETCH_OPEN_MAX) {
        return MQ_EBUSY;
    }
    conn = &peer->out[PEER_RANGE].conn;
    fetch->ask.id = list->last_id + 1;
    if (peer_ask_encode(&fetch->ask, net_conn_out(conn)) != 0) {
        return MQ_ENOMEM;
    }
    fetch->next = NULL;
    fetch->deadline_ms = mq_clock_mono_ms() + FETCH_TIMEOUT_MS;
    *list->end = fetch;
    list->end = &fetch->next;
    list->n++;
    list->last_id++;
    net_conn_out_done(conn); /* if it closes the connection for that, the callback tells */
    return 0;
}

int fetch_entries(struct peers *peers, uint32_t peer, struct fetch *fetch, uint64_t first, uint64_t last,
                  enum fetch_from from, uint32_t bytes_max, fetch_cb cb)
{
    if (first == 0 || last < first || bytes_max == 0 || bytes_max > PEER_RANGE_BYTES) {
        return MQ_EINVAL;
    }
    fetch->cb.entries = cb;
    fetch->ask = (struct peer_ask){.type = PEER_FETCH, .bytes_max = bytes_max};
    fetch->ask.entries.first = first;
    fetch->ask.entries.last = last;
    fetch->ask.entries.from_last = from == FETCH_FROM_LAST;
    return start(peers, peer, fetch);
}

int fetch_entries_before(struct peers *peers, uint32_t peer, struct fetch *fetch, const struct fetch *before,
                         uint32_t bytes_max, fetch_cb cb)
{
    const struct peer *asked = peers_find(peers, peer);

    if (bytes_max == 0 || bytes_max > PEER_RANGE_BYTES || asked == NULL || asked->fetches.n == 0 ||
        asked->fetches.last_id != before->ask.id || before->ask.type != PEER_FETCH ||
        !before->ask.entries.from_last) {
        return MQ_EINVAL;
    }
    fetch->cb.entries = cb;
    fetch->ask = (struct peer_ask){.type = PEER_FETCH, .bytes_max = bytes_max};
    fetch->ask.entries.from_last = true;
    fetch->ask.entries.goes_on_from = before->ask.id;
    return start(peers, peer, fetch);
}

int fetch_snapshot(struct peers *peers, uint32_t peer, struct fetch *fetch, uint64_t index, uint64_t offset,
                   uint32_t bytes_max, fetch_part_cb cb)
{
    if (bytes_max == 0 || bytes_max > PEER_RANGE_BYTES) {
        return MQ_EINVAL;
    }
    fetch->cb.part = cb;
    fetch->ask = (struct peer_ask){.type = PEER_SNAPSHOT_ASK, .bytes_max = bytes_max};
    fetch->ask.snapshot.index = index;
    fetch->ask.snapshot.offset = offset;
    return start(peers, peer, fetch);
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

/* The oldest question has its answer. */
static struct fetch *finish_first(struct fetch_list *list)
{
    struct fetch *fetch = take_first(list);

    if (list->first != NULL) {
        list->first->deadline_ms = mq_clock_mono_ms() + FETCH_TIMEOUT_MS; /* it was not its turn before */
    }
    return fetch;
}

/* What the question is about, now that those before it are answered. */
static void settle_ask(const struct fetch_list *list, struct peer_ask *ask)
{
    if (ask->entries.goes_on_from != 0) {
        ask->entries.first = 1;
        ask->entries.last = ask->entries.goes_on_from == list->went_id ? list->went_to - 1 : 0;
    }
}

/* Whether the answer is one to the question, and its entries are whole. */
static int check_range(const struct peer_ask *ask, const struct peer_range *range, const struct peer_frame *frame)
{
    uint64_t last = range->first + range->n - 1;

    if (range->id != ask->id) {
        return MQ_EBADMSG;
    }
    if (range->status != PEER_RANGE_OK) {
        return 0;
    }
    if (range->first < ask->entries.first || last > ask->entries.last ||
        (ask->entries.from_last ? last != ask->entries.last : range->first != ask->entries.first)) {
        return MQ_EBADMSG;
    }
    return RAFTMQ_DEFECT(SCRUB_WRITES_UNCHECKED)
               ? 0
               : peer_range_check(frame->raw, frame->raw_bytes, range->first, range->n);
}

static int range_answered(struct fetch_list *list, const struct peer_frame *frame, struct net_ref *ref)
{
    struct peer_range range;
    struct fetched got = {0};
    struct fetch *fetch;
    int rc = peer_range_decode(frame, &range);

    if (rc == 0) {
        settle_ask(list, &list->first->ask);
        rc = check_range(&list->first->ask, &range, frame);
    }
    if (rc != 0) {
        return rc; /* closed says so to everyone who waits */
    }
    got.commit = range.commit;
    got.held_first = range.held_first;
    got.held_pos = range.held_pos;
    if (range.status == PEER_RANGE_OK) {
        got.first = range.first;
        got.n = range.n;
        got.raw = frame->raw;
        got.bytes = frame->raw_bytes;
        got.ref = ref;
        got.before = range.before;
    }
    fetch = finish_first(list);
    if (fetch->ask.entries.from_last) {
        list->went_id = fetch->ask.id;
        list->went_to = range.status == PEER_RANGE_OK ? range.first : 1;
    }
    fetch->cb.entries(fetch, status_of(range.status), &got);
    return 0;
}

static bool is_part_of(const struct peer_ask *ask, const struct peer_part *part)
{
    uint64_t left = part->file_bytes - part->offset;

    return part->id == ask->id &&
           (part->status != PEER_RANGE_OK ||
            ((ask->snapshot.index == 0 || part->index == ask->snapshot.index) &&
             part->offset == ask->snapshot.offset && part->bytes == (left < ask->bytes_max ? left : ask->bytes_max)));
}

static int part_answered(struct fetch_list *list, const struct peer_frame *frame, struct net_ref *ref)
{
    struct peer_part part;
    struct fetched_part got = {0};
    struct fetch *fetch;
    int rc = peer_part_decode(frame, &part);

    if (rc == 0 && !is_part_of(&list->first->ask, &part)) {
        rc = MQ_EBADMSG;
    }
    if (rc != 0) {
        return rc;
    }
    if (part.status == PEER_RANGE_OK) {
        got = (struct fetched_part){part.index, part.term, part.file_bytes, part.offset, frame->raw, part.bytes, ref};
    }
    fetch = finish_first(list);
    fetch->cb.part(fetch, status_of(part.status), &got);
    return 0;
}

int fetch_answered(struct peer *peer, const struct peer_frame *frame, struct net_ref *ref)
{
    struct fetch_list *list = &peer->fetches;

    if (list->first == NULL) {
        return MQ_EBADMSG; /* nothing was asked */
    }
    return list->first->ask.type == PEER_FETCH ? range_answered(list, frame, ref) : part_answered(list, frame, ref);
}

static void fail(struct fetch *fetch, int status)
{
    static const struct fetched no_entries;
    static const struct fetched_part no_part;

    if (fetch->ask.type == PEER_FETCH) {
        fetch->cb.entries(fetch, status, &no_entries);
    } else {
        fetch->cb.part(fetch, status, &no_part);
    }
}

void fetch_conn_closed(struct peer *peer, int reason)
{
    struct fetch_list list = peer->fetches;
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
        fail(fetch, status);
    }
}

void fetch_tick(struct peer *peer, uint64_t now_ms)
{
    if (peer->fetches.first != NULL && now_ms >= peer->fetches.first->deadline_ms) {
        peer_conn_close(&peer->out[PEER_RANGE], MQ_ETIMEDOUT);
    }
}
