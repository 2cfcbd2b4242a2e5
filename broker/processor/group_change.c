/* Consumer groups are deleted (DELETE_SUBSCRIPTIONGROUP, 207), kept from reading topics
 * (UPDATE_AND_GET_GROUP_FORBIDDEN, 353) and told how to ask for them (SET_MESSAGE_REQUEST_MODE, 401). Source:
 * RocketMQ's AdminBrokerProcessor, SubscriptionGroupManager, QueryAssignmentProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/topic_put.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_group.h"
#include "remoting/protocol/body_offset.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

static bool is_anything_left(const struct context *ctx, struct mq_str group)
{
    return group_table_find(&ctx->state->groups, group) != NULL ||
           group_table_is_proposed(&ctx->state->groups, group);
}

void delete_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct sequencer_pending pending = pending_for(&to, names_done, ctx);
    Raftmq__GroupDelete item = RAFTMQ__GROUP_DELETE__INIT;
    struct proto_delete_group_header header;
    struct proto_problem why;
    char name[NAME_TEXT_MAX];
    int rc;

    if (proto_delete_group_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!reply_checked_group(&to, "groupName", header.group)) {
        return;
    }
    item.clean_offsets = header.clean_offset || header.remove_offset;
    if (!item.clean_offsets && !is_anything_left(ctx, header.group)) {
        reply_code(&to, RESP_SUCCESS);
        return;
    }
    rc = name_text(header.group, name) ? 0 : MQ_EINVAL;
    item.name = name;
    rc = rc == 0 ? propose_item(ctx, COMMAND_GROUP_DELETE, &item.base, &pending) : rc;
    if (rc != 0) {
        reply_failed(&to, rc);
        return;
    }
    group_table_note_deletion(&ctx->state->groups, header.group);
}

/* The request of 353 until its entry is applied: the answer says what is so then. */
struct forbidden_job {
    struct context *ctx;
    char group[NAME_TEXT_MAX], topic[NAME_TEXT_MAX];
};

static void answer_forbidden(const struct context *ctx, const struct reply_to *to, struct mq_str group,
                             struct mq_str topic)
{
    const struct proto_forbidden answer = {group, topic, !forbidden_table_has(&ctx->state->forbidden, group, topic)};
    struct mq_buf body = {0};
    int rc = proto_forbidden_encode(&body, &answer);

    reply_built(to, rc, &body);
}

static void on_forbidden(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct reply_to to = reply_to_of_pending(p);
    struct forbidden_job *job = p->data;

    if (outcome->status == 0) {
        answer_forbidden(job->ctx, &to, mq_str_of(job->group), mq_str_of(job->topic));
    } else {
        reply_failed(&to, outcome->status);
    }
    mq_free(job);
}

static int propose_forbidden(struct context *ctx, const struct reply_to *to,
                             const struct proto_group_forbidden_header *header)
{
    struct sequencer_pending pending = pending_for(to, on_forbidden, NULL);
    Raftmq__GroupForbidden item = RAFTMQ__GROUP_FORBIDDEN__INIT;
    struct forbidden_job *job = mq_calloc(1, sizeof(*job));
    int rc;

    if (job == NULL) {
        return MQ_ENOMEM;
    }
    job->ctx = ctx;
    pending.data = job;
    rc = name_text(header->group, job->group) && name_text(header->topic, job->topic) ? 0 : MQ_EINVAL;
    item.group = job->group;
    item.topic = job->topic;
    item.read_forbidden = !mq_str_to_bool(header->readable);
    rc = rc == 0 ? propose_item(ctx, COMMAND_GROUP_FORBIDDEN, &item.base, &pending) : rc;
    if (rc != 0) {
        mq_free(job);
    }
    return rc;
}

void forbid_group(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_group_forbidden_header header;
    struct proto_problem why;
    int rc;

    if (proto_group_forbidden_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!reply_checked_group(&to, "group", header.group)) {
        return;
    }
    if (proto_topic_check(header.topic) != PROTO_NAME_OK) {
        reply_bad_topic(&to, header.topic, proto_topic_check(header.topic));
        return;
    }
    if (header.readable.at == NULL) {
        answer_forbidden(ctx, &to, header.group, header.topic);
        return;
    }
    if (row_table_count(&ctx->state->forbidden.rows) >= FORBIDDEN_MAX && !mq_str_to_bool(header.readable)) {
        reply_error(&to, RESP_SYSTEM_ERROR, "%u topics are forbidden to groups, the most allowed", FORBIDDEN_MAX);
        return;
    }
    rc = propose_forbidden(ctx, &to, &header);
    if (rc != 0) {
        reply_failed(&to, rc);
    }
}

/* Returns false after an answer. */
static bool check_mode(struct context *ctx, const struct reply_to *to, const struct proto_request_mode *mode)
{
    if (mq_str_starts(mode->topic, PROTO_RETRY_PREFIX)) {
        reply_error(to, RESP_NO_PERMISSION, "topic \"" MQ_STR_FMT "\" is a retry topic: it is always pulled",
                    REMARK_ARG(mode->topic));
        return false;
    }
    if (topic_table_find_staying(&ctx->state->topics, mode->topic) == NULL) {
        reply_no_topic(to, mode->topic);
        return false;
    }
    if (!is_anything_left(ctx, mode->group)) {
        reply_no_group(to, mode->group);
        return false;
    }
    if (!mq_str_eq(mode->mode, MQ_STR("POP")) && !mq_str_eq(mode->mode, MQ_STR("PULL"))) {
        reply_error(to, RESP_INVALID_PARAMETER, "mode \"" MQ_STR_FMT "\": must be PULL or POP",
                    REMARK_ARG(mode->mode));
        return false;
    }
    if (row_table_count(&ctx->state->modes.rows) >= REQUEST_MODES_MAX) {
        reply_error(to, RESP_SYSTEM_ERROR, "there are %u request modes, the most allowed", REQUEST_MODES_MAX);
        return false;
    }
    return true;
}

void set_request_mode(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct sequencer_pending pending = pending_for(&to, answer_done, NULL);
    Raftmq__RequestModePut item = RAFTMQ__REQUEST_MODE_PUT__INIT;
    struct proto_request_mode mode = {0};
    char topic[NAME_TEXT_MAX], group[NAME_TEXT_MAX];
    char *json = mq_strndup((const char *)cmd->body, cmd->body_bytes);
    int rc = json != NULL ? proto_request_mode_decode(json, cmd->body_bytes, &mode) : MQ_ENOMEM;

    if (rc != 0) {
        reply_bad_body(&to, cmd, rc);
    } else if (check_mode(ctx, &to, &mode)) {
        rc = name_text(mode.topic, topic) && name_text(mode.group, group) ? 0 : MQ_EINVAL;
        item.topic = topic;
        item.group = group;
        item.pop = mq_str_eq(mode.mode, MQ_STR("POP"));
        item.pop_share_queues = mode.pop_share_queues;
        rc = rc == 0 ? propose_item(ctx, COMMAND_REQUEST_MODE_PUT, &item.base, &pending) : rc;
        if (rc != 0) {
            reply_failed(&to, rc);
        }
    }
    mq_free(json);
}
