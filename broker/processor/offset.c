/* QUERY_CONSUMER_OFFSET (14) and UPDATE_CONSUMER_OFFSET (15): commits go through the log, and the last one in log
 * order counts, also when it is smaller. What is committed already goes nowhere: consumers commit every queue every
 * five seconds, whether they have read or not. Source: RocketMQ's ConsumerManageProcessor, ConsumerOffsetManager. */
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/session/consumer_table.h"
#include "remoting/base/err.h"
#include "remoting/protocol/headers.h"

void offset_note_change(struct context *ctx, struct mq_str group, struct mq_str topic)
{
    uint64_t last, answered;

    sequencer_drafts_get(ctx->sequencer, &last, &answered);
    offset_table_note(&ctx->state->offsets, group, topic, last);
}

static int propose_commit(struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id,
                          int64_t offset, const struct sequencer_pending *p)
{
    Raftmq__OffsetCommit item = RAFTMQ__OFFSET_COMMIT__INIT;
    char group_text[NAME_TEXT_MAX], topic_text[NAME_TEXT_MAX];
    int rc;

    if (!name_text(group, group_text) || !name_text(topic, topic_text)) {
        return MQ_EINVAL;
    }
    item.group = group_text;
    item.topic = topic_text;
    item.queue_id = queue_id;
    item.offset = offset;
    rc = propose_item(ctx, COMMAND_OFFSET_COMMIT, &item.base, p);
    if (rc == 0) {
        offset_note_change(ctx, group, topic);
    }
    return rc;
}

/* Whether a commit would change nothing: it is so already, or a reset waits for the consumer to hear of it. */
static bool is_idle(const struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id,
                    int64_t offset)
{
    uint64_t last, answered;

    sequencer_drafts_get(ctx->sequencer, &last, &answered);
    return offset_table_is_level(&ctx->state->offsets, group, topic, queue_id, offset, answered) ||
           reset_table_untold(&ctx->state->resets, group, topic, queue_id) >= 0;
}

void offset_commit(struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id, int64_t offset)
{
    if (!is_idle(ctx, group, topic, queue_id, offset) &&
        topic_table_find_staying(&ctx->state->topics, topic) != NULL) {
        /* Refused when the log takes nothing now; the client commits again in five seconds. */
        (void)propose_commit(ctx, group, topic, queue_id, offset, NULL);
    }
}

/* The one look-up of a group that does not make it for whoever asks. A group counts whose item lies in the log before
 * this commit, and one that this node knows from heartbeats only, because it led nothing when they came: it is
 * proposed now. */
static bool is_group_known(struct context *ctx, struct mq_str group)
{
    const struct group *known = group_table_find(&ctx->state->groups, group);

    return (known != NULL && !known->leaving) || group_table_is_proposed(&ctx->state->groups, group) ||
           (consumer_table_has_group(ctx->consumers, group) && group_usable(ctx, group));
}

void update_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct sequencer_pending pending = pending_for(&to, answer_done, NULL);
    struct proto_update_offset_header header;
    struct proto_problem why;
    int rc;

    if (proto_update_offset_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!is_group_known(ctx, header.consumer_group)) {
        reply_error(&to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "consumerGroup \"" MQ_STR_FMT "\" does not exist",
                    REMARK_ARG(header.consumer_group));
        return;
    }
    if (topic_table_find_staying(&ctx->state->topics, header.topic) == NULL) {
        reply_no_topic(&to, header.topic);
        return;
    }
    if (header.queue_id < 0 || header.queue_id > QUEUE_ID_MAX) {
        reply_error(&to, RESP_INVALID_PARAMETER, "queueId %d: must be 0 to %d", header.queue_id, QUEUE_ID_MAX);
        return;
    }
    if (header.commit_offset < 0) {
        reply_error(&to, RESP_INVALID_PARAMETER, "commitOffset %lld: must not be negative",
                    (long long)header.commit_offset);
        return;
    }
    if (is_idle(ctx, header.consumer_group, header.topic, header.queue_id, header.commit_offset)) {
        reply_code(&to, RESP_SUCCESS);
        return;
    }
    rc = propose_commit(ctx, header.consumer_group, header.topic, header.queue_id, header.commit_offset, &pending);
    if (rc != 0) {
        reply_failed(&to, rc);
    }
}

/* A group without a commit on a young queue starts at its beginning, whatever it asked for: unit 0 is still there. */
static bool is_young_queue(struct context *ctx, struct mq_str topic, int32_t queue_id)
{
    struct topic *found = topic_table_find(&ctx->state->topics, topic);
    struct queue *queue = found != NULL ? topic_queues_find(found->queues, queue_id) : NULL;

    return queue != NULL && queue->cq.min == 0 && queue->cq.max > 0;
}

void query_offset(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_query_offset_header header;
    struct proto_problem why;
    int64_t offset;

    if (proto_query_offset_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    offset = offset_table_get(&ctx->state->offsets, header.consumer_group, header.topic, header.queue_id);
    if (offset >= 0) {
        reply_offset(&to, offset);
    } else if (header.zero_if_not_found && is_young_queue(ctx, header.topic, header.queue_id)) {
        reply_offset(&to, 0);
    } else {
        reply_error(&to, RESP_QUERY_NOT_FOUND,
                    "consumerGroup \"" MQ_STR_FMT "\" has committed no offset for topic \"" MQ_STR_FMT
                    "\" queueId %d",
                    REMARK_ARG(header.consumer_group), REMARK_ARG(header.topic), header.queue_id);
    }
}
