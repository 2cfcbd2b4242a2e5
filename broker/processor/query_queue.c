/* QUERY_CONSUME_QUEUE (321): units of a consume queue, for people who look for a message. Any member answers from
 * what it has applied. Source: RocketMQ's AdminBrokerProcessor.queryConsumeQueue. */
#include "broker/processor/processors.h"
#include "broker/processor/reply.h"
#include "broker/session/consumer_table.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_queue.h"
#include "remoting/protocol/headers.h"

#define UNITS_MAX 4096u /* of one answer; the original gives what is left of a file, up to 300,000 */

static struct queue *asked_queue(const struct context *ctx, const struct proto_query_queue_header *header)
{
    struct topic *topic = header->topic.len != 0 ? topic_table_find(&ctx->state->topics, header->topic) : NULL;

    return topic != NULL ? topic_queues_find(topic->queues, header->queue_id) : NULL;
}

/* @units has UNITS_MAX of room. */
static void read_units(const struct queue *queue, uint64_t index, int32_t count, struct proto_queue_unit *units,
                       struct proto_queue_page *page)
{
    uint64_t wanted = count > 0 ? (uint64_t)count : 0;
    uint64_t left = queue->cq.max - index;

    wanted = wanted < left ? wanted : left;
    page->n = wanted < UNITS_MAX ? (uint32_t)wanted : UNITS_MAX;
    page->units = units;
    for (uint32_t i = 0; i < page->n; i++) {
        struct consume_unit unit;

        consume_queue_get(&queue->cq, index + i, &unit);
        units[i] = (struct proto_queue_unit){(int64_t)unit.pos, (int32_t)unit.bytes, unit.tags_code};
    }
}

static int encode_page(const struct context *ctx, const struct proto_query_queue_header *header,
                       const struct queue *queue, struct mq_buf *body)
{
    struct proto_queue_page page = {.min = (int64_t)queue->cq.min, .max = (int64_t)queue->cq.max};
    struct proto_queue_unit *units = mq_malloc(UNITS_MAX * sizeof(*units));
    const struct consumer_subscription *found = NULL;
    struct proto_subscription sub;
    struct mq_buf note = {0};
    int rc = units != NULL ? 0 : MQ_ENOMEM;

    if (rc == 0 && header->consumer_group.at != NULL) {
        found = consumer_table_subscription(ctx->consumers, header->consumer_group, header->topic);
        rc = found != NULL ? mq_buf_put_str(&note, MQ_STR("null"))
                           : mq_buf_printf(&note, MQ_STR_FMT "@" MQ_STR_FMT " is not online!",
                                           REMARK_ARG(header->consumer_group), REMARK_ARG(header->topic));
        page.filter_data = mq_buf_str(&note);
    }
    if (found != NULL && found->type != PROTO_EXPRESSION_UNKNOWN) {
        sub = (struct proto_subscription){.topic = header->topic,
                                          .expression = mq_str_of(found->expression),
                                          .type = found->type,
                                          .version = found->version};
        page.subscription = &sub;
    }
    if (rc == 0) {
        read_units(queue, (uint64_t)header->index, header->count, units, &page);
        rc = proto_queue_page_encode(body, &page);
    }
    mq_buf_free(&note);
    mq_free(units);
    return rc;
}

void query_consume_queue(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_query_queue_header header;
    struct proto_problem why;
    struct queue *queue;
    struct mq_buf body = {0};
    int rc;

    if (proto_query_queue_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&to, &why);
        return;
    }
    queue = asked_queue(ctx, &header);
    if (queue == NULL) {
        reply_error(&to, RESP_SYSTEM_ERROR, "queueId %d of topic \"" MQ_STR_FMT "\" does not exist", header.queue_id,
                    REMARK_ARG(header.topic));
        return;
    }
    if (header.index < (int64_t)queue->cq.min || header.index >= (int64_t)queue->cq.max) {
        reply_error(&to, RESP_SUCCESS, "Index %lld of %d@" MQ_STR_FMT " is not exist!", (long long)header.index,
                    header.queue_id, REMARK_ARG(header.topic));
        return;
    }
    rc = encode_page(ctx, &header, queue, &body);
    reply_built(&to, rc, &body);
}
