/* Half messages. Source: RocketMQ's SendMessageProcessor, TransactionalMessageBridge. */
#include "broker/processor/send_half.h"

#include "broker/flow/flows.h"
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/ensure.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"

#include <stdio.h>

bool send_asks_for_transaction(struct mq_str properties)
{
    return mq_str_to_bool(proto_properties_get(properties, PROTO_PROP_TRAN_MSG));
}

bool send_is_half(const struct proto_send_header *header)
{
    return send_asks_for_transaction(header->properties) && !mq_str_starts(header->topic, PROTO_RETRY_PREFIX);
}

bool send_half_check(struct context *ctx, const struct reply_to *to, const struct proto_send_header *header)
{
    char group[NAME_TEXT_MAX];

    if (ctx->config->reject_transactions) {
        send_refuse(ctx, to, RESP_NO_PERMISSION,
                    "rejectTransactionMessage is true: this broker takes no transactions");
        return false;
    }
    if (header->batch) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "property TRAN_MSG: a batch is no transaction");
        return false;
    }
    if (delayed_is_asked(header->properties)) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "property DELAY or TIMER_*: a transaction is not delayed as well");
        return false;
    }
    if (!name_text(proto_properties_get(header->properties, PROTO_PROP_PRODUCER_GROUP), group)) {
        send_refuse(
            ctx, to, RESP_MESSAGE_ILLEGAL,
            "property PGROUP has to name the group whose producers can be asked how the transaction ends, in up "
            "to %d bytes",
            NAME_TEXT_MAX - 1);
        return false;
    }
    return true;
}

static uint32_t immunity_of(struct mq_str properties)
{
    int32_t seconds;

    if (mq_str_to_i32(proto_properties_get(properties, PROTO_PROP_CHECK_IMMUNITY), &seconds) != 0 || seconds < 0) {
        return 0; /* as the original: what is no number counts as not there */
    }
    return (uint32_t)seconds;
}

void send_half_add(struct context *ctx, const struct reply_to *to, const struct queue *queue,
                   struct record_source *source)
{
    struct sequencer_pending pending = pending_for(to, send_stored, ctx);
    char uniq_key[32], group[NAME_TEXT_MAX], queue_id[16];
    struct mq_str id = proto_properties_get(source->properties, PROTO_PROP_UNIQ_KEY);
    struct record_property put[3];
    int64_t now_ms = mq_clock_wall_ms();
    Raftmq__HalfPut item = RAFTMQ__HALF_PUT__INIT;
    struct bundle_part parts[2] = {{.kind = BUNDLE_NEW, .source = source, .own = true},
                                   {.kind = BUNDLE_ITEM, .type = COMMAND_HALF_PUT, .item = &item.base}};
    int rc;

    if (id.len == 0) {
        proto_uniq_key_next(&ctx->uniq_key, now_ms, uniq_key);
        id = source->uniq_key = (struct mq_str){uniq_key, sizeof(uniq_key)};
    }
    snprintf(queue_id, sizeof(queue_id), "%d", source->queue_id);
    put[0] = (struct record_property){PROTO_PROP_REAL_TOPIC, source->topic};
    put[1] = (struct record_property){PROTO_PROP_REAL_QUEUE_ID, mq_str_of(queue_id)};
    put[2] = (struct record_property){PROTO_PROP_TRANSACTION_ID, id};
    source->put = put;
    source->n_put = ARRAY_SIZE(put);
    source->topic = HALF_TOPIC;
    source->queue_id = 0;
    source->sys_flag &= ~PROTO_SYS_TRANSACTION_MASK;
    (void)name_text(proto_properties_get(source->properties, PROTO_PROP_PRODUCER_GROUP),
                    group); /* send_half_check has */
    item.producer_group = group;
    item.born_ms = source->born_ms;
    item.immunity_s = immunity_of(source->properties);
    item.check_ms = half_first_check(&ctx->flows->half.rules, item.immunity_s, now_ms);
    pending.kind = SEND_SINGLE;
    pending.records = 1;
    pending.queue_id = queue->id;
    rc = ensure_queue(ctx->state, ctx->sequencer, HALF_TOPIC, 1, TOPIC_PERM_READ | TOPIC_PERM_WRITE, 0,
                      &parts[0].queue);
    if (rc == 0) {
        rc = bundle_add(ctx->sequencer, ctx->store, parts, 2, &pending, 0);
    }
    if (rc == MQ_ETOOBIG) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "the properties pass %d bytes with the broker's own added",
                    PROTO_PROPERTIES_MAX);
    } else if (rc != 0) {
        send_failed(ctx, to, rc);
    }
}
