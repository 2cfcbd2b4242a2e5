/* Offsets of groups for administrators: GET_CONSUME_STATS (208), CLONE_GROUP_OFFSET (314). Source: RocketMQ's
 * AdminBrokerProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/session/consumer_table.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_offset.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

static bool is_blank(struct mq_str text)
{
    return proto_topic_check(text) == PROTO_NAME_BLANK;
}

/* --- 208 --- */

/* The answer while it is put together. */
struct stats_job {
    struct context *ctx;
    struct mq_str group;
    bool check_subscription;
    struct proto_consume_stats stats;
    int rc;
};

static int64_t last_ms_of(struct context *ctx, struct queue *queue, int64_t consumed)
{
    int64_t ms = consumed > 0 ? store_time_of(ctx->store, queue, (uint64_t)consumed - 1) : 0;

    return ms > 0 ? ms : 0;
}

static int add_queue(struct stats_job *job, const struct topic *topic, int32_t id)
{
    struct queue *queue = topic_queues_find(topic->queues, id);
    struct proto_consume_stat *stat = proto_consume_stats_add(&job->stats);
    int64_t consumed = offset_table_get(&job->ctx->state->offsets, job->group, mq_str_of(topic->name), id);

    if (stat == NULL) {
        return MQ_ENOMEM;
    }
    stat->queue.topic = mq_str_of(topic->name);
    stat->queue.broker_name = mq_str_of(job->ctx->config->broker_name);
    stat->queue.queue_id = id;
    stat->broker_offset = queue != NULL ? (int64_t)queue->cq.max : 0;
    stat->consumer_offset = consumed > 0 ? consumed : 0;
    stat->pull_offset = stat->consumer_offset;
    stat->last_ms = last_ms_of(job->ctx, queue, consumed);
    return 0;
}

/* A group that is online may have offsets in topics that it no longer subscribes to. */
static void add_topic_stats(void *data, const char *name)
{
    struct stats_job *job = data;
    struct topic *topic = topic_table_find(&job->ctx->state->topics, mq_str_of(name));

    if (topic == NULL || job->rc != 0 ||
        (job->check_subscription && consumer_table_has_group(job->ctx->consumers, job->group) &&
         consumer_table_subscription(job->ctx->consumers, job->group, mq_str_of(name)) == NULL)) {
        return;
    }
    for (uint32_t id = 0; job->rc == 0 && id < topic->read_queues; id++) {
        job->rc = add_queue(job, topic, (int32_t)id);
    }
}

static void add_named(struct stats_job *job, struct mq_str name)
{
    char text[NAME_TEXT_MAX];

    if (name_text(name, text)) {
        add_topic_stats(job, text);
    }
}

static void add_listed(struct stats_job *job, struct mq_str list)
{
    while (list.len != 0) {
        const char *end = memchr(list.at, ';', list.len);
        uint32_t n = end != NULL ? (uint32_t)(end - list.at) : list.len;

        add_named(job, (struct mq_str){list.at, n});
        n += end != NULL;
        list = (struct mq_str){list.at + n, list.len - n};
    }
}

void get_consume_stats(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_consume_stats_header header;
    struct proto_problem why;
    struct stats_job job = {.ctx = ctx, .check_subscription = true};
    struct mq_buf body = {0};

    if (proto_consume_stats_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    job.group = header.consumer_group;
    if (!is_blank(header.topics)) {
        job.check_subscription = false;
        add_listed(&job, header.topics);
    } else if (!is_blank(header.topic)) {
        add_named(&job, header.topic);
    } else {
        offset_table_topics_of(&ctx->state->offsets, job.group, add_topic_stats, &job);
    }
    /* Rates of single groups are not counted. */
    job.rc = job.rc == 0 ? proto_consume_stats_encode(&body, &job.stats, 0.0) : job.rc;
    reply_built(&to, job.rc, &body);
    proto_consume_stats_free(&job.stats);
}

/* --- 314 --- */

/* Topics whose offsets are to be cloned. */
struct clone_job {
    struct context *ctx;
    struct mq_str source, target;
    bool check_subscription;
    char **topics; /* owned array; texts borrowed from the table, or of the request */
    size_t n, cap;
    int rc;
};

static void add_clone(void *data, const char *topic)
{
    struct clone_job *job = data;
    size_t cap = job->cap != 0 ? job->cap * 2 : 16;
    char **topics = job->topics;

    if (topic_table_find_staying(&job->ctx->state->topics, mq_str_of(topic)) == NULL || job->rc != 0 ||
        (job->check_subscription && consumer_table_has_group(job->ctx->consumers, job->source) &&
         consumer_table_subscription(job->ctx->consumers, job->source, mq_str_of(topic)) == NULL)) {
        return;
    }
    if (job->n == job->cap) {
        topics = mq_realloc(job->topics, cap * sizeof(*topics));
        if (topics == NULL) {
            job->rc = MQ_ENOMEM;
            return;
        }
        job->topics = topics;
        job->cap = cap;
    }
    topics[job->n++] = (char *)topic;
}

static int propose_clone(struct clone_job *job, const struct reply_to *to)
{
    struct sequencer_pending pending = pending_for(to, answer_done, NULL);
    Raftmq__OffsetsClone item = RAFTMQ__OFFSETS_CLONE__INIT;
    char source[NAME_TEXT_MAX], target[NAME_TEXT_MAX];
    int rc = name_text(job->source, source) && name_text(job->target, target) ? job->rc : MQ_EINVAL;

    if (rc != 0) {
        return rc;
    }
    if (job->n == 0) {
        reply_code(to, RESP_SUCCESS);
        return 0;
    }
    item.source = source;
    item.target = target;
    item.topics = job->topics;
    item.n_topics = job->n;
    rc = propose_item(job->ctx, COMMAND_OFFSETS_CLONE, &item.base, &pending);
    for (size_t i = 0; rc == 0 && i < job->n; i++) {
        offset_note_change(job->ctx, job->target, mq_str_of(job->topics[i]));
    }
    return rc;
}

static bool check_clone(const struct reply_to *to, const struct proto_clone_offset_header *header)
{
    if (proto_group_check(header->source) != PROTO_NAME_OK) {
        reply_error(to, RESP_INVALID_PARAMETER, "srcGroup \"" MQ_STR_FMT "\" is %s", REMARK_ARG(header->source),
                    proto_name_problem_text(proto_group_check(header->source), true));
        return false;
    }
    if (proto_group_check(header->target) != PROTO_NAME_OK) {
        reply_error(to, RESP_INVALID_PARAMETER, "destGroup \"" MQ_STR_FMT "\" is %s", REMARK_ARG(header->target),
                    proto_name_problem_text(proto_group_check(header->target), true));
        return false;
    }
    return true;
}

void clone_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_clone_offset_header header;
    struct proto_problem why;
    struct clone_job job = {.ctx = ctx};
    char topic[NAME_TEXT_MAX];
    int rc;

    if (proto_clone_offset_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!check_clone(&to, &header)) {
        return;
    }
    job.source = header.source;
    job.target = header.target;
    job.check_subscription = !header.offline;
    if (is_blank(header.topic)) {
        offset_table_topics_of(&ctx->state->offsets, job.source, add_clone, &job);
    } else if (name_text(header.topic, topic)) {
        add_clone(&job, topic);
    } else {
        reply_no_topic(&to, header.topic);
        return;
    }
    rc = propose_clone(&job, &to);
    if (rc != 0) {
        reply_failed(&to, rc);
    }
    mq_free(job.topics);
}
