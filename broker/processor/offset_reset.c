/* INVOKE_BROKER_TO_RESET_OFFSET (222).
 *
 * Every queue's target is found (by time: records may have to be read from the disk) -> one item sets the offsets and
 * leaves a pending reset for each queue -> the answer names them -> the next pull of each queue is told (code 21) and
 * takes the reset away (pull.c, reset_taken). With useServerSideResetOffset=false the targets are told to the group's
 * members instead (220), who commit them; then nobody may be offline.
 * Source: RocketMQ's AdminBrokerProcessor, Broker2Client. */
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/store/time_search.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_offset.h"
#include "remoting/protocol/headers.h"

struct reset_job {
    struct context *ctx;
    struct reply_to to; /* with a reference to its channel */
    char group[NAME_TEXT_MAX], topic[NAME_TEXT_MAX];
    int64_t time_ms;
    uint64_t deleted_pos; /* of the topic's name: where it was deleted last when the job began */
    bool tells, force;    /* the old way; also forwards */
    struct time_search search;
    uint32_t n, done;
    int32_t *ids;     /* owned */
    int64_t *offsets; /* owned; the first @done are known */
};

static void reset_free(struct reset_job *job)
{
    reply_to_release(&job->to);
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
    reply_to_keep(to);
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

/* All targets are known. The job is gone, or goes with its entry. */
static void propose_reset(struct reset_job *job)
{
    struct sequencer_pending pending = {.done = on_reset, .data = job};
    Raftmq__OffsetsReset item = RAFTMQ__OFFSETS_RESET__INIT;
    int rc;

    if (topic_table_find_staying(&job->ctx->state->topics, mq_str_of(job->topic)) == NULL ||
        deleted_table_pos(&job->ctx->state->deleted, mq_str_of(job->topic)) > job->deleted_pos) {
        reply_no_topic(&job->to, mq_str_of(job->topic)); /* deleted meanwhile, and perhaps made anew */
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
    offset_note_change(job->ctx, mq_str_of(job->group), mq_str_of(job->topic));
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
        reply_no_group(to, header->group);
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
    job->deleted_pos = deleted_table_pos(&ctx->state->deleted, header.topic);
    job->time_ms = header.timestamp_ms;
    job->tells = !ctx->config->server_side_reset;
    job->force = header.force;
    if (named) {
        job->offsets[job->done++] = header.offset;
    }
    run_reset(job);
}

/* An item that is lost while this node goes on leading must be proposed again: until then the group's offsets stand
 * still. Which one it was does not matter, who is told twice starts anew twice. */
static void on_reset_taken(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct context *ctx = p->data;

    if (outcome->status != 0) {
        reset_table_forget_told(&ctx->state->resets);
    }
}

void reset_taken(struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id, int64_t offset)
{
    const struct sequencer_pending pending = {.done = on_reset_taken, .data = ctx};
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
    if (propose_item(ctx, COMMAND_RESET_TAKEN, &item.base, &pending) == 0) {
        reset_table_note_told(&ctx->state->resets, group, topic, queue_id);
    }
}
