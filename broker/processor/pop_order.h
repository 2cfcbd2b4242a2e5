/* Messages that are popped in order (order=true, and handles with reviveQid 999): what becomes of the batches of
 * state/order_table. Source: RocketMQ's ConsumerOrderInfoManager, AckMessageProcessor, ChangeInvisibleTimeProcessor.
 */
#ifndef BROKER_PROCESSOR_POP_ORDER_H
#define BROKER_PROCESSOR_POP_ORDER_H

#include "broker/processor/pop_handle.h"
#include "broker/processor/pop_look.h"
#include "broker/processor/propose.h"
#include "broker/state/bundle.h"
#include "remoting/protocol/headers.h"

/* One item for each part of the look, in @parts. */
void pop_order_fill(const struct pop_look *look, struct bundle_part parts[POP_PARTS_MAX],
                    Raftmq__OrderTake items[POP_PARTS_MAX]);
/* The items are applied: parts of which something had changed since the look give nothing. Returns whether there were
 * any. */
bool pop_order_settle(struct pop_look *look);
/* orderCountInfo: how often each message was handed out before. Returns 0 or MQ_ENOMEM. */
int pop_order_counts(const struct pop_look *look, struct mq_buf *counts);

/* Of 200051 and 200053: they answer. */
void pop_order_ack(struct context *ctx, const struct reply_to *to, const struct proto_pop_ack_header *header,
                   const struct pop_handle *handle);
void pop_order_change(struct context *ctx, const struct reply_to *to, const struct proto_pop_ack_header *header,
                      const struct pop_handle *handle);
/* Of 200151: proposes the acknowledgement of those messages of which @has says so, by their distance from @start.
 * Returns 1 when something was proposed, 0, or an error. */
struct pop_order_acks {
    struct mq_str group, topic;
    int32_t queue_id;
    int64_t pop_ms, start;
    bool (*has)(void *data, uint32_t bit);
    void *data;
};

int pop_order_ack_many(struct context *ctx, const struct pop_order_acks *acks);

#endif
