/* GET_CONSUMER_CONNECTION_LIST (203), GET_PRODUCER_CONNECTION_LIST (204): who is connected to this node. Consumers
 * beat on every member, so each of them knows all; producers only on the leader. Source: RocketMQ's
 * AdminBrokerProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/session/consumer_table.h"
#include "broker/session/producer_table.h"
#include "remoting/base/err.h"
#include "remoting/protocol/headers.h"

void consumer_connections(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct consumer_picture picture;
    struct proto_group_header header;
    struct proto_problem why;
    struct mq_buf body = {0};
    int rc;

    if (proto_group_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    rc = consumer_table_picture(ctx->consumers, header.consumer_group, &picture);
    if (rc == MQ_ENOTFOUND) {
        reply_error(&to, RESP_CONSUMER_NOT_ONLINE, "consumerGroup \"" MQ_STR_FMT "\" has no member that is connected",
                    REMARK_ARG(header.consumer_group));
    } else {
        rc = rc == 0
                 ? proto_consumer_connections_encode(&body, &picture.connections, &picture.consumer, &picture.subs)
                 : rc;
        reply_built(&to, rc, &body);
    }
    consumer_picture_free(&picture);
}

void producer_connections(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_producer_group_header header;
    struct proto_connections connections = {0};
    struct proto_problem why;
    struct mq_buf body = {0};
    int rc;

    if (proto_producer_group_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (!producer_table_has_group(ctx->producers, header.producer_group)) {
        reply_error(&to, RESP_SYSTEM_ERROR, "producerGroup \"" MQ_STR_FMT "\" has no member that is connected",
                    REMARK_ARG(header.producer_group));
        return;
    }
    rc = producer_table_connections(ctx->producers, header.producer_group, &connections);
    rc = rc == 0 ? proto_connections_encode(&body, &connections) : rc;
    reply_built(&to, rc, &body);
    proto_connections_free(&connections);
}
