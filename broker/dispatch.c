#include "broker/dispatch.h"

#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <stdlib.h>

enum {
    ANY_NODE = 0,
    LEADER = 1 /* only the leader may serve it: its answer must be current, or it goes through the log */
};

#define VERSION_5_0_0 413 /* in RocketMQ's MQVersion */

struct row {
    int32_t code;
    int rule;
    processor_fn run;
};

/* Ascending by code. Leader only: what changes state, and what makes clients choose where to read when it is
 * stale. */
static const struct row rows[] = {
    {REQ_SEND_MESSAGE, LEADER, send_message},
    {REQ_PULL_MESSAGE, ANY_NODE, pull_message},
    {REQ_QUERY_MESSAGE, ANY_NODE, query_message},
    {REQ_QUERY_CONSUMER_OFFSET, LEADER, query_offset},
    {REQ_UPDATE_CONSUMER_OFFSET, LEADER, update_offset},
    {REQ_UPDATE_AND_CREATE_TOPIC, LEADER, create_topic},
    {REQ_UPDATE_AND_CREATE_TOPIC_LIST, LEADER, create_topics},
    {REQ_GET_ALL_TOPIC_CONFIG, ANY_NODE, get_all_topics},
    {REQ_UPDATE_BROKER_CONFIG, ANY_NODE, refuse_config_update},
    {REQ_GET_BROKER_CONFIG, ANY_NODE, get_broker_config},
    {REQ_GET_BROKER_RUNTIME_INFO, ANY_NODE, get_runtime_info},
    {REQ_SEARCH_OFFSET_BY_TIMESTAMP, LEADER, search_offset},
    {REQ_GET_MAX_OFFSET, LEADER, get_max_offset},
    {REQ_GET_MIN_OFFSET, LEADER, get_min_offset},
    {REQ_GET_EARLIEST_MSG_STORETIME, ANY_NODE, get_earliest_store_time},
    {REQ_VIEW_MESSAGE_BY_ID, ANY_NODE, view_message},
    {REQ_HEART_BEAT, ANY_NODE, client_heartbeat},
    {REQ_UNREGISTER_CLIENT, ANY_NODE, client_unregister},
    {REQ_CONSUMER_SEND_MSG_BACK, LEADER, send_back},
    {REQ_END_TRANSACTION, LEADER, end_transaction},
    {REQ_GET_CONSUMER_LIST_BY_GROUP, ANY_NODE, consumer_list},
    {REQ_LOCK_BATCH_MQ, LEADER, lock_queues},
    {REQ_UNLOCK_BATCH_MQ, LEADER, unlock_queues},
    {REQ_CHECK_CLIENT_CONFIG, ANY_NODE, check_client},
    {REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, LEADER, put_group},
    {REQ_GET_ALL_SUBSCRIPTIONGROUP_CONFIG, ANY_NODE, get_all_groups},
    {REQ_GET_TOPIC_STATS_INFO, ANY_NODE, get_topic_stats},
    {REQ_GET_CONSUMER_CONNECTION_LIST, ANY_NODE, consumer_connections},
    {REQ_GET_PRODUCER_CONNECTION_LIST, LEADER, producer_connections},
    {REQ_DELETE_SUBSCRIPTIONGROUP, LEADER, delete_group},
    {REQ_GET_CONSUME_STATS, ANY_NODE, get_consume_stats},
    {REQ_DELETE_TOPIC_IN_BROKER, ANY_NODE, delete_topic},
    {REQ_INVOKE_BROKER_TO_RESET_OFFSET, LEADER, reset_offset},
    {REQ_INVOKE_BROKER_TO_GET_CONSUMER_STATUS, ANY_NODE, ask_consumer_status},
    {REQ_UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, LEADER, put_group_list},
    {REQ_GET_CONSUMER_RUNNING_INFO, ANY_NODE, ask_running_info},
    {REQ_CONSUME_MESSAGE_DIRECTLY, ANY_NODE, ask_to_consume},
    {REQ_SEND_MESSAGE_V2, LEADER, send_message},
    {REQ_CLONE_GROUP_OFFSET, LEADER, clone_offset},
    {REQ_SEND_BATCH_MESSAGE, LEADER, send_message},
    {REQ_QUERY_CONSUME_QUEUE, ANY_NODE, query_consume_queue},
    {REQ_RESUME_CHECK_HALF_MESSAGE, LEADER, resume_check},
    {REQ_SEND_REPLY_MESSAGE, ANY_NODE, send_reply},
    {REQ_SEND_REPLY_MESSAGE_V2, ANY_NODE, send_reply},
    {REQ_GET_TOPIC_CONFIG, ANY_NODE, get_topic},
    {REQ_GET_SUBSCRIPTIONGROUP_CONFIG, ANY_NODE, get_group},
    {REQ_UPDATE_AND_GET_GROUP_FORBIDDEN, LEADER, forbid_group},
    {REQ_LITE_PULL_MESSAGE, ANY_NODE, pull_message},
    {REQ_RECALL_MESSAGE, LEADER, recall_message},
    {REQ_QUERY_ASSIGNMENT, ANY_NODE, query_assignment},
    {REQ_SET_MESSAGE_REQUEST_MODE, LEADER, set_request_mode},
    {REQ_RAFTMQ_GROUP_STATUS, ANY_NODE, group_status},
    {REQ_RAFTMQ_MEMBER_ADD, LEADER, change_group},
    {REQ_RAFTMQ_MEMBER_PROMOTE, LEADER, change_group},
    {REQ_RAFTMQ_MEMBER_REMOVE, LEADER, change_group},
    {REQ_RAFTMQ_MEMBER_REPLACE, LEADER, change_group},
    {REQ_RAFTMQ_TRANSFER, LEADER, transfer_leadership},
    {REQ_RAFTMQ_TRANSACTION_LIST, LEADER, list_transactions},
    {REQ_POP_MESSAGE, LEADER, pop_message},
    {REQ_ACK_MESSAGE, LEADER, pop_ack},
    {REQ_PEEK_MESSAGE, LEADER, peek_message},
    {REQ_CHANGE_MESSAGE_INVISIBLETIME, LEADER, pop_change},
    {REQ_NOTIFICATION, LEADER, notify_message},
    {REQ_POLLING_INFO, LEADER, polling_info},
    {REQ_BATCH_ACK_MESSAGE, LEADER, pop_batch_ack},
};

static int compare_code(const void *key, const void *element)
{
    int32_t code = *(const int32_t *)key;
    const struct row *row = element;

    return (code > row->code) - (code < row->code);
}

/* Java clients before 5.0 take every answer but SUCCESS for "the group has no offset here" and begin at the queue's
 * first or last message, of which the one comes again and the others are passed over. Where there is no answer they
 * ask again. Source: RocketMQ 4.9, RemoteBrokerOffsetStore.readOffset, RebalancePushImpl. */
static bool is_misread(const struct proto_command *cmd)
{
    return cmd->code == REQ_QUERY_CONSUMER_OFFSET && cmd->language == PROTO_LANGUAGE_JAVA &&
           cmd->version < VERSION_5_0_0;
}

static void refuse_not_leader(struct context *ctx, struct net_channel *ch, const struct proto_command *cmd)
{
    const struct reply_to answer = reply_to_of(ch, cmd), *to = &answer;
    uint32_t leader = ctx->role.leader;

    if (is_misread(cmd)) {
        net_channel_close(ch, MQ_ENOTLEADER, true);
        return;
    }
    /* 14 is the one code that every stock client retries; nothing was proposed. */
    if (ctx->role.kind == RLOG_LEADING) {
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE, "elected leader of term %llu, not ready yet: try again",
                    (unsigned long long)ctx->role.term);
    } else if (leader != 0) {
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE, "this node follows: n%u leads group %s in term %llu", leader - 1,
                    ctx->config->group, (unsigned long long)ctx->role.term);
    } else {
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE, "group %s has no leader known here (term %llu): try again",
                    ctx->config->group, (unsigned long long)ctx->role.term);
    }
}

void dispatch(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    const struct row *row;

    if ((cmd->flag & PROTO_FLAG_RESPONSE) != 0) {
        net_calls_take(ctx->calls, ch, cmd); /* to what we asked; there may be nobody who waits */
        return;
    }
    row = bsearch(&cmd->code, rows, ARRAY_SIZE(rows), sizeof(rows[0]), compare_code);
    if (row == NULL) {
        struct reply_to to = reply_to_of(ch, cmd);

        reply_error(&to, RESP_REQUEST_CODE_NOT_SUPPORTED, " request type %d not supported", cmd->code);
        return;
    }
    if (row->rule == LEADER && !context_writable(ctx)) {
        refuse_not_leader(ctx, ch, cmd);
        return;
    }
    row->run(ctx, ch, cmd);
}
