/* Offsets of groups for administrators: GET_CONSUME_STATS (208), INVOKE_BROKER_TO_RESET_OFFSET (222),
 * CLONE_GROUP_OFFSET (314). Source: RocketMQ's AdminBrokerProcessor.
 *
 * A reset: every queue's target is found (by time: records may have to be read from the disk) -> one item sets the
 * offsets and leaves a pending reset for each queue -> the answer names them -> the next pull of each queue is told
 * (code 21) and takes the reset away (pull.c, reset_taken). With useServerSideResetOffset=false the targets are told
 * to the group's members instead (220), who commit them; then nobody may be offline. */
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/session/consumer_table.h"
#include "broker/store/time_search.h"
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

/* --- 222 --- */

struct reset_job {
    struct context *ctx;
    struct reply_to to; /* with a reference to its channel */
    char group[NAME_TEXT_MAX], topic[NAME_TEXT_MAX];
    int64_t time_ms;
    bool tells, force; /* the old way; also forwards */
    struct time_search search;
    uint32_t n, done;
    int32_t *ids;     /* owned */
    int64_t *offsets; /* owned; the first @done are known */
};

static void reset_free(struct reset_job *job)
{
    if (job->to.ch != NULL) {
        net_channel_release(job->to.ch);
    }
    mq_free(job->ids);
    mq_free(job->offsets);
    mq_free(job);
}

/* NULL: no memory. */
static struct reset_job *reset_new(struct context *ctx, const struct reply_to *to, uint32_t n)
{
    struct reset_job *job = mq_calloc(1, sizeof(*job));

    if (job == NULL) {
        return NULL;
    }
    job->ctx = ctx;
    job->n = n;
    job->ids = mq_calloc(n, sizeof(job->ids[0]));
    job->offsets = mq_calloc(n, sizeof(job->offsets[0]));
    if (job->ids == NULL || job->offsets == NULL) {
        reset_free(job);
        return NULL;
    }
    job->to = *to;
    if (to->ch != NULL) {
        (void)net_channel_acquire(to->ch);
    }
    return job;
}

/* Returns 0 with @body, or MQ_ENOMEM. */
static int build_targets(const struct reset_job *job, struct mq_buf *body)
{
    struct proto_queue_offsets offsets = {0};
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < job->n; i++) {
        struct proto_queue_offset *offset = proto_queue_offsets_add(&offsets);

        if (offset == NULL) {
            rc = MQ_ENOMEM;
            break;
        }
        offset->queue.topic = mq_str_of(job->topic);
        offset->queue.broker_name = mq_str_of(job->ctx->config->broker_name);
        offset->queue.queue_id = job->ids[i];
        offset->offset = job->offsets[i];
    }
    rc = rc == 0 ? proto_queue_offsets_encode(body, &offsets) : rc;
    proto_queue_offsets_free(&offsets);
    return rc;
}

static void answer_reset(const struct reset_job *job)
{
    struct mq_buf body = {0};
    int rc = build_targets(job, &body);

    reply_built(&job->to, rc, &body);
}

/* The old way. A target behind what is committed counts only when it is forced. Returns false after an answer. */
static bool hold_back(struct reset_job *job)
{
    for (uint32_t i = 0; i < job->n; i++) {
        int64_t committed =
            offset_table_get(&job->ctx->state->offsets, mq_str_of(job->group), mq_str_of(job->topic), job->ids[i]);

        if (committed < 0) {
            reply_error(&job->to, RESP_SYSTEM_ERROR,
                        "group \"%s\" has committed no offset for topic \"%s\" queueId %d", job->group, job->topic,
                        job->ids[i]);
            return false;
        }
        job->offsets[i] = job->force || job->offsets[i] < committed ? job->offsets[i] : committed;
    }
    return true;
}

static void tell_reset(struct reset_job *job)
{
    const struct proto_reset_client_header header = {.topic = mq_str_of(job->topic),
                                                     .group = mq_str_of(job->group),
                                                     .timestamp_ms = job->time_ms,
                                                     .force = job->force};
    struct mq_buf body = {0};
    int rc;

    if (hold_back(job)) {
        rc = build_targets(job, &body);
        if (rc == 0 && tell_consumers_to_reset(job->ctx, &header, mq_buf_str(&body)) == 0) {
            reply_error(&job->to, RESP_CONSUMER_NOT_ONLINE, "group \"%s\" has no member that could be told",
                        job->group);
            mq_buf_free(&body);
        } else {
            reply_built(&job->to, rc, &body);
        }
    }
    reset_free(job);
}

static void on_reset(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct reset_job *job = p->data;

    if (outcome->status == 0) {
        answer_reset(job);
    } else {
        reply_failed(&job->to, outcome->status);
    }
    reset_free(job);
}

static void note_change(struct context *ctx, struct mq_str group, struct mq_str topic)
{
    uint64_t last, answered;

    sequencer_drafts_get(ctx->sequencer, &last, &answered);
    offset_table_note(&ctx->state->offsets, group, topic, last);
}

/* All targets are known. The job is gone, or goes with its entry. */
static void propose_reset(struct reset_job *job)
{
    struct sequencer_pending pending = {.done = on_reset, .data = job};
    Raftmq__OffsetsReset item = RAFTMQ__OFFSETS_RESET__INIT;
    int rc;

    if (topic_table_find_for_send(&job->ctx->state->topics, mq_str_of(job->topic)) == NULL) {
        reply_no_topic(&job->to, mq_str_of(job->topic)); /* deleted meanwhile */
        reset_free(job);
        return;
    }
    item.group = job->group;
    item.topic = job->topic;
    item.queue_ids = job->ids;
    item.offsets = job->offsets;
    item.n_queue_ids = item.n_offsets = job->n;
    rc = propose_item(job->ctx, COMMAND_OFFSETS_RESET, &item.base, &pending);
    if (rc != 0) {
        reply_failed(&job->to, rc);
        reset_free(job);
        return;
    }
    note_change(job->ctx, mq_str_of(job->group), mq_str_of(job->topic));
}

static void run_reset(struct reset_job *job);

static void on_found(struct time_search *search)
{
    struct reset_job *job = search->data;

    job->offsets[job->done++] = (int64_t)search->found;
    run_reset(job);
}

static void run_reset(struct reset_job *job)
{
    while (job->done < job->n) {
        struct topic *topic = topic_table_find(&job->ctx->state->topics, mq_str_of(job->topic));
        struct queue *queue = topic != NULL ? topic_queues_find(topic->queues, job->ids[job->done]) : NULL;

        if (job->time_ms < 0) {
            job->offsets[job->done++] = queue != NULL ? (int64_t)queue->cq.max : 0;
            continue;
        }
        job->search = (struct time_search){
            .store = job->ctx->store, .queue = queue, .time_ms = job->time_ms, .data = job, .done = on_found};
        if (time_search_start(&job->search) == MQ_EAGAIN) {
            return;
        }
        job->offsets[job->done++] = (int64_t)job->search.found;
    }
    if (job->tells) {
        tell_reset(job);
    } else {
        propose_reset(job);
    }
}

/* Everything about the request that can be wrong. Returns false after an answer. */
static bool check_reset(struct context *ctx, const struct reply_to *to,
                        const struct proto_reset_offset_header *header)
{
    struct topic *topic = topic_table_find(&ctx->state->topics, header->topic);
    uint32_t queues;

    if (topic == NULL) {
        reply_no_topic(to, header->topic);
        return false;
    }
    if (group_table_find(&ctx->state->groups, header->group) == NULL) {
        reply_error(to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "group \"" MQ_STR_FMT "\" does not exist",
                    REMARK_ARG(header->group));
        return false;
    }
    queues = topic->read_queues > topic->write_queues ? topic->read_queues : topic->write_queues;
    if (header->queue_id >= 0 && (uint32_t)header->queue_id >= queues) {
        reply_error(to, RESP_INVALID_PARAMETER, "queueId %d: topic \"" MQ_STR_FMT "\" has %u queues",
                    header->queue_id, REMARK_ARG(header->topic), queues);
        return false;
    }
    if (header->queue_id < 0 && topic->read_queues == 0) {
        reply_error(to, RESP_SYSTEM_ERROR, "topic \"" MQ_STR_FMT "\" has no queues to be read: nothing to reset",
                    REMARK_ARG(header->topic));
        return false;
    }
    if (row_table_count(&ctx->state->resets.rows) + queues > RESETS_MAX) {
        reply_error(to, RESP_SYSTEM_ERROR, "%u resets are pending, at most %u are allowed",
                    row_table_count(&ctx->state->resets.rows), RESETS_MAX);
        return false;
    }
    return true;
}

/* A target that the request names must be in the queue, or right behind it. Returns false after an answer. */
static bool check_target(struct context *ctx, const struct reply_to *to,
                         const struct proto_reset_offset_header *header)
{
    struct topic *topic = topic_table_find(&ctx->state->topics, header->topic);
    struct queue *queue = topic_queues_find(topic->queues, header->queue_id);
    int64_t min = queue != NULL ? (int64_t)queue->cq.min : 0, max = queue != NULL ? (int64_t)queue->cq.max : 0;

    if (header->offset >= min && header->offset <= max + 1) {
        return true;
    }
    reply_error(to, RESP_SYSTEM_ERROR, "offset %lld: queueId %d holds %lld to %lld", (long long)header->offset,
                header->queue_id, (long long)min, (long long)max);
    return false;
}

void reset_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_reset_offset_header header;
    struct proto_problem why;
    struct reset_job *job;
    bool single, named;

    if (proto_reset_offset_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!check_reset(ctx, &to, &header)) {
        return;
    }
    single = header.queue_id >= 0;
    named = single && header.offset != -1;
    if (named && !check_target(ctx, &to, &header)) {
        return;
    }
    job = reset_new(ctx, &to, single ? 1 : topic_table_find(&ctx->state->topics, header.topic)->read_queues);
    if (job == NULL || !name_text(header.group, job->group) || !name_text(header.topic, job->topic)) {
        reply_failed(&to, job == NULL ? MQ_ENOMEM : MQ_EINVAL);
        if (job != NULL) {
            reset_free(job);
        }
        return;
    }
    for (uint32_t i = 0; i < job->n; i++) {
        job->ids[i] = single ? header.queue_id : (int32_t)i;
    }
    job->time_ms = header.timestamp_ms;
    job->tells = !ctx->config->server_side_reset;
    job->force = header.force;
    if (named) {
        job->offsets[job->done++] = header.offset;
    }
    run_reset(job);
}

void reset_taken(struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id, int64_t offset)
{
    Raftmq__ResetTaken item = RAFTMQ__RESET_TAKEN__INIT;
    char group_text[NAME_TEXT_MAX], topic_text[NAME_TEXT_MAX];

    if (!name_text(group, group_text) || !name_text(topic, topic_text)) {
        return;
    }
    item.group = group_text;
    item.topic = topic_text;
    item.queue_id = queue_id;
    item.offset = offset;
    /* Where the log takes nothing now, the next pull is told once more. */
    if (propose_item(ctx, COMMAND_RESET_TAKEN, &item.base, NULL) == 0) {
        reset_table_note_told(&ctx->state->resets, group, topic, queue_id);
    }
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

    if (topic_table_find(&job->ctx->state->topics, mq_str_of(topic)) == NULL || job->rc != 0 ||
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
        note_change(job->ctx, job->target, mq_str_of(job->topics[i]));
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
    int rc = 0;

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
        rc = MQ_EINVAL;
    }
    rc = rc == 0 ? propose_clone(&job, &to) : rc;
    if (rc != 0) {
        reply_failed(&to, rc);
    }
    mq_free(job.topics);
}
