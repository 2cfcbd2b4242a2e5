/* QUERY_MESSAGE (12): messages of a topic by key and store time.
 *
 * Happy path: the index gives positions, newest first -> each record is looked at: it must lie there still and belong
 * to its queue (of a deleted topic it does not), have the key itself (the index knows hashes) and be of the time
 * asked for -> those that pass go out as they lie in the log, oldest first. A cold record is read on the pool
 * meanwhile, and when positions run out before enough have passed, the index is asked for older ones.
 *
 * Where the index is not ready in time (it is being made anew) and nothing was found, the answer is SYSTEM_BUSY and
 * says so: nobody hears that there is no message when it has only not been looked at. Any member answers from what it
 * has applied. Source: RocketMQ's QueryMessageProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/store/fetch.h"
#include "broker/store/indexer.h"
#include "broker/store/record_keys.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/frame.h"
#include "remoting/protocol/headers.h"

#include <inttypes.h>

#define QUERIES_MAX 256u /* under way */
#define UNIQUE_MAX 32    /* messages, of a query for a unique id */
#define ROUNDS_MAX 256u  /* to the index: so many times KEY_FOUND_MAX candidates may not pass */
#define BYTES_MAX (PROTO_FRAME_MAX - (1 << 16)) /* of an answer's records, so that clients take the frame */

struct key_query {
    struct indexer_find find;
    struct store_fetch fetch;
    struct context *ctx;
    struct reply_to to; /* its channel is counted */
    struct mq_str topic, key;
    uint32_t max;
    uint32_t next; /* of find.found, to be looked at */
    uint32_t rounds;
    bool whole; /* the index covered what was asked for, each time */
    bool full;  /* no more fits the answer */
    uint32_t n;
    uint64_t bytes;
    struct reader_view views[KEY_FOUND_MAX]; /* n of them, newest first; acquired */
    char names[];
};

static void query_free(struct key_query *query)
{
    for (uint32_t i = 0; i < query->n; i++) {
        net_ref_release(query->views[i].ref);
    }
    query->ctx->key_queries--;
    reply_to_release(&query->to);
    mq_free(query);
}

/* --- the answer --- */

static bool begin_answer(const struct key_query *query, struct proto_writer *w, int32_t code, struct mq_str remark)
{
    struct proto_query_message_response_header header = {.last_ms = query->find.last_ms,
                                                         .last_pos = (int64_t)query->find.last_pos};

    if (!reply_begin(&query->to, w, code, remark)) {
        return false;
    }
    proto_query_message_response_header_encode(w, &header);
    return true;
}

static void answer(struct key_query *query)
{
    struct proto_writer w;

    for (uint32_t i = 0; i < query->n / 2; i++) { /* oldest first */
        struct reader_view view = query->views[i];

        query->views[i] = query->views[query->n - 1 - i];
        query->views[query->n - 1 - i] = view;
    }
    if (query->n != 0) {
        if (begin_answer(query, &w, RESP_SUCCESS, (struct mq_str){0})) {
            reply_end_views(&query->to, &w, query->views, query->n, query->bytes);
        }
    } else if (!query->whole) {
        reply_error(&query->to, RESP_SYSTEM_BUSY,
                    "the key index of this node is being made, it has reached position %" PRIu64
                    " of the commit log at its end: try again",
                    indexer_pos(query->ctx->indexer));
    } else if (begin_answer(query, &w, RESP_QUERY_NOT_FOUND, MQ_STR("no message of that topic, key and time"))) {
        reply_end(&query->to, &w, NULL, 0);
    }
    query_free(query);
}

static void fail(struct key_query *query, int rc)
{
    if (rc == MQ_EBUSY) {
        reply_error(&query->to, RESP_SYSTEM_BUSY, "[OVERLOAD] %u queries wait for the key index", INDEXER_FINDS_MAX);
    } else if (rc != MQ_ECLOSED) {
        reply_failed(&query->to, rc);
    }
    query_free(query);
}

/* --- records --- */

static void judge(struct key_query *query, const struct reader_view *view)
{
    int64_t store_ms = store_time(view->at);

    if (store_ms < query->find.want.begin_ms || store_ms > query->find.want.end_ms ||
        !record_has_key(view->at, view->bytes, query->topic, query->key)) {
        return;
    }
    if (query->n != 0 && query->bytes + view->bytes > BYTES_MAX) {
        query->full = true;
        return;
    }
    query->views[query->n] = *view;
    net_ref_acquire(view->ref);
    query->bytes += view->bytes;
    query->full = ++query->n == query->max;
}

static void go_on(struct key_query *query);

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct key_query *query = container_of(fetch, struct key_query, fetch);

    if (status == 0) {
        judge(query, view);
    }
    go_on(query);
}

/* Looks at the next candidate. Returns 0, or MQ_EAGAIN when the pool reads it and the query goes on later. */
static int look_at_next(struct key_query *query)
{
    uint64_t pos = query->find.found.pos[query->next++];
    struct reader_view view;
    int rc = store_fetch(query->ctx->store, pos, &view);

    if (rc == 0) {
        judge(query, &view);
        net_ref_release(view.ref);
        return 0;
    }
    if (rc != MQ_EAGAIN) {
        return 0; /* it is not there any more */
    }
    query->fetch.pos = pos;
    query->fetch.done = on_fetched;
    return store_fetch_start(query->ctx->store, &query->fetch) == 0 ? MQ_EAGAIN : 0;
}

/* Candidates ran out: older ones, if there may be any. */
static void ask_for_older(struct key_query *query)
{
    int rc;

    if (!query->find.more || query->rounds == ROUNDS_MAX) {
        answer(query);
        return;
    }
    query->rounds++;
    query->find.want.below = query->find.found.pos[query->find.found.n - 1];
    rc = indexer_find(query->ctx->indexer, &query->find);
    if (rc != 0) {
        fail(query, rc);
    }
}

static void go_on(struct key_query *query)
{
    if (query->to.ch->dead) {
        query_free(query);
        return;
    }
    while (!query->full && query->next < query->find.found.n) {
        if (look_at_next(query) == MQ_EAGAIN) {
            return;
        }
    }
    if (query->full) {
        answer(query);
    } else {
        ask_for_older(query);
    }
}

static void on_found(struct indexer_find *find, int status)
{
    struct key_query *query = container_of(find, struct key_query, find);

    if (status != 0) {
        fail(query, status);
        return;
    }
    query->whole = query->whole && find->whole;
    query->next = 0;
    query->full = query->max == 0;
    go_on(query);
}

/* --- the request --- */

static struct key_query *query_new(struct context *ctx, const struct reply_to *to,
                                   const struct proto_query_message_header *header)
{
    struct key_query *query = mq_calloc(1, sizeof(*query) + header->topic.len + header->key.len);
    char *key;

    if (query == NULL) {
        return NULL;
    }
    key = query->names + header->topic.len;
    memcpy(query->names, header->topic.at, header->topic.len);
    memcpy(key, header->key.at, header->key.len);
    query->ctx = ctx;
    query->to = *to;
    reply_to_keep(to);
    query->topic = (struct mq_str){query->names, header->topic.len};
    query->key = (struct mq_str){key, header->key.len};
    query->max = (uint32_t)header->max;
    query->whole = true;
    query->find.done = on_found;
    query->find.want = (struct key_want){
        .hash = record_key_hash(record_topic_hash(query->topic), query->key),
        .begin_ms = header->begin_ms,
        .end_ms = header->end_ms,
        .below = UINT64_MAX,
    };
    ctx->key_queries++;
    return query;
}

void query_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_query_message_header header;
    struct proto_problem why;
    struct key_query *query;
    int rc;

    if (to.ch == NULL) {
        return;
    }
    if (proto_query_message_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (ctx->indexer == NULL) {
        reply_error(&to, RESP_SYSTEM_ERROR, "messageIndexEnable is false: no message is found by its key here");
        return;
    }
    if (ctx->key_queries == QUERIES_MAX) {
        reply_error(&to, RESP_SYSTEM_BUSY, "[OVERLOAD] %u queries are under way", QUERIES_MAX);
        return;
    }
    header.max = mq_str_eq(header.unique, MQ_STR("true")) ? UNIQUE_MAX : header.max;
    header.max = header.max < 0 ? 0 : header.max > (int32_t)KEY_FOUND_MAX ? (int32_t)KEY_FOUND_MAX : header.max;
    query = query_new(ctx, &to, &header);
    if (query == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    rc = indexer_find(ctx->indexer, &query->find);
    if (rc != 0) {
        fail(query, rc);
    }
}
