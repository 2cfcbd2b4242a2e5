/* Offsets by position and time, and single messages: 29, 30, 31, 32, 33. Unknown topics and queues answer 0 or -1
 * with SUCCESS, as the original does. Source: RocketMQ's AdminBrokerProcessor, QueryMessageProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/store/fetch.h"
#include "broker/store/time_search.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"

#define VIEWS_MAX 256u /* messages that are read from the disk at a time */

/* NULL when the topic is unknown or the queue was never used. */
static struct queue *queue_of(struct context *ctx, struct mq_str topic, int32_t queue_id)
{
    struct topic *found = topic_table_find(&ctx->state->topics, topic);

    return found != NULL ? topic_queues_find(found->queues, queue_id) : NULL;
}

/* A search by time whose records are read from the disk. */
struct search_job {
    struct time_search search;
    struct reply_to to; /* with a reference to its channel */
};

static void on_found(struct time_search *search)
{
    struct search_job *job = container_of(search, struct search_job, search);

    reply_offset(&job->to, (int64_t)search->found);
    reply_to_release(&job->to);
    mq_free(job);
}

void search_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_queue_time_header header;
    struct proto_problem why;
    struct search_job *job;

    if (proto_queue_time_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (to.ch == NULL) {
        return;
    }
    job = mq_calloc(1, sizeof(*job));
    if (job == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    job->to = to;
    reply_to_keep(&to);
    job->search = (struct time_search){.store = ctx->store,
                                       .queue = queue_of(ctx, header.topic, header.queue_id),
                                       .time_ms = header.timestamp_ms,
                                       .upper = mq_str_eq_nocase(header.boundary, MQ_STR("upper")),
                                       .done = on_found};
    if (time_search_start(&job->search) == 0) {
        on_found(&job->search);
    }
}

/* Decodes the header that 30, 31 and 32 share; @queue may come out NULL. Returns false after an answer. */
static bool find_queue(struct context *ctx, const struct reply_to *to, const struct proto_command *cmd,
                       struct queue **queue)
{
    struct proto_queue_header header;
    struct proto_problem why;

    if (proto_queue_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(to, &why);
        return false;
    }
    *queue = queue_of(ctx, header.topic, header.queue_id);
    return true;
}

void get_max_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct queue *queue;

    if (find_queue(ctx, &to, cmd, &queue)) {
        reply_offset(&to, queue != NULL ? (int64_t)queue->cq.max : 0);
    }
}

void get_min_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct queue *queue;

    if (find_queue(ctx, &to, cmd, &queue)) {
        reply_offset(&to, queue != NULL ? (int64_t)queue->cq.min : 0);
    }
}

void get_earliest_store_time(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_timestamp_response_header answer = {.timestamp_ms = -1};
    struct proto_writer w;
    struct queue *queue;

    if (!find_queue(ctx, &to, cmd, &queue)) {
        return;
    }
    if (queue != NULL && queue->cq.max > queue->cq.min) {
        answer.timestamp_ms = store_time_of(ctx->store, queue, queue->cq.min);
    }
    if (reply_begin(&to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_timestamp_response_header_encode(&w, &answer);
        reply_end(&to, &w, NULL, 0);
    }
}

/* A message that is asked for by its position and lies on the disk. */
struct cold_view {
    struct store_fetch fetch;
    struct context *ctx;
    struct reply_to to; /* its channel is counted */
};

static void refuse_view(const struct reply_to *to, uint64_t pos)
{
    reply_error(to, RESP_SYSTEM_ERROR, "offset %lld: no message begins there in the commit log", (long long)pos);
}

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct cold_view *cold = container_of(fetch, struct cold_view, fetch);

    if (!cold->to.ch->dead && status == 0) {
        reply_body(&cold->to, view->at, view->bytes);
    } else if (!cold->to.ch->dead) {
        refuse_view(&cold->to, fetch->pos);
    }
    cold->ctx->views--;
    reply_to_release(&cold->to);
    mq_free(cold);
}

static void view_cold(struct context *ctx, const struct reply_to *to, uint64_t pos)
{
    struct cold_view *cold = ctx->views < VIEWS_MAX ? mq_malloc(sizeof(*cold)) : NULL;

    if (cold == NULL) {
        reply_error(to, RESP_SYSTEM_BUSY, "[OVERLOAD] %u of at most %u messages are being read from the disk",
                    ctx->views, VIEWS_MAX);
        return;
    }
    *cold = (struct cold_view){.fetch = {.pos = pos, .done = on_fetched}, .ctx = ctx, .to = *to};
    if (store_fetch_start(ctx->store, &cold->fetch) != 0) {
        refuse_view(to, pos);
        mq_free(cold);
        return;
    }
    reply_to_keep(to);
    ctx->views++;
}

void view_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_view_header header;
    struct proto_problem why;
    struct reader_view view;
    int rc;

    if (proto_view_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (to.ch == NULL) {
        return;
    }
    rc = header.pos < 0 ? MQ_ENOTFOUND : store_fetch(ctx->store, (uint64_t)header.pos, &view);
    if (rc == 0) {
        reply_body(&to, view.at, view.bytes);
        net_ref_release(view.ref);
    } else if (rc == MQ_EAGAIN) {
        view_cold(ctx, &to, (uint64_t)header.pos);
    } else {
        refuse_view(&to, (uint64_t)header.pos);
    }
}
