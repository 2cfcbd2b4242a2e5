/* SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320).
 *
 * Happy path: decode -> checks in RocketMQ's order -> records are built straight into the next entry ->
 * sequencer_add. A message that is to wait goes under another topic, with an item that says for what
 * (flow/delayed.h). When the entry is applied, send_stored writes the answer. Every failure before sequencer_add is
 * answered at once and nothing is stored; afterwards the outcome says what is known. Source of order and codes:
 * RocketMQ's SendMessageProcessor, HookUtils. */
#include "broker/processor/send.h"

#include "broker/flow/flows.h"
#include "broker/flow/quota.h"
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/processor/retry.h"
#include "broker/processor/send_half.h"
#include "broker/state/bundle.h"
#include "broker/state/ensure.h"
#include "broker/store/record_build.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/recall_handle.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#define BATCH_MESSAGES_MAX 65535
#define BATCH_RECORDS_BYTES_MAX (RLOG_ENTRY_BYTES_MAX / 2)

void send_host_of(const struct sockaddr_storage *addr, struct proto_host *out)
{
    *out = (struct proto_host){.ip_bytes = 4};
    if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            memcpy(out->ip, in6->sin6_addr.s6_addr + 12, 4);
        } else {
            out->ip_bytes = 16;
            memcpy(out->ip, in6->sin6_addr.s6_addr, 16);
        }
        out->port = ntohs(in6->sin6_port);
        return;
    }
    memcpy(out->ip, &((const struct sockaddr_in *)addr)->sin_addr, 4);
    out->port = ntohs(((const struct sockaddr_in *)addr)->sin_port);
}

/* The ids of @records records from @at on, joined by commas, as a batch's msgId. */
static void put_msg_ids(struct context *ctx, struct proto_writer *w, const struct sequencer_pending *p,
                        const struct sequencer_outcome *outcome)
{
    char one[PROTO_MSG_ID_MAX];
    struct mq_buf ids = {0};
    uint32_t at = p->at;

    if (p->kind != SEND_BATCH) {
        size_t n = proto_offset_msg_id(&ctx->store_host, (int64_t)(outcome->payload_pos + at), one);

        proto_put_str(w, MQ_STR("msgId"), (struct mq_str){one, (uint32_t)n});
        return;
    }
    for (uint16_t i = 0; i < p->records; i++) {
        size_t n = proto_offset_msg_id(&ctx->store_host, (int64_t)(outcome->payload_pos + at), one);

        if ((i > 0 && mq_buf_put_u8(&ids, ',') != 0) || mq_buf_put(&ids, one, n) != 0) {
            w->rc = MQ_ENOMEM;
            break;
        }
        at += mq_be32_load(outcome->payload + at);
    }
    proto_put_str(w, MQ_STR("msgId"), mq_buf_str(&ids));
    mq_buf_free(&ids);
}

void send_put_region(struct context *ctx, struct proto_writer *w)
{
    proto_put_str(w, MQ_STR("MSG_REGION"), mq_str_of(ctx->config->region));
    proto_put_str(w, MQ_STR("TRACE_ON"), ctx->config->trace_on ? MQ_STR("true") : MQ_STR("false"));
}

void send_failed(struct context *ctx, const struct reply_to *to, int rc)
{
    struct rlog_space space;
    struct rlog_bound bound;

    ctx->stats.put_failed++;
    if (rc == MQ_EFULL) {
        rlog_space_get(ctx->store->log, &space);
        reply_full(to, &space);
        return;
    }
    if (rc == MQ_EBUSY && ctx->store->log != NULL) {
        struct reply_waiting waiting;

        sequencer_waiting_get(ctx->sequencer, &waiting.bytes, &waiting.bytes_max);
        waiting.ms = sequencer_waiting_ms(ctx->sequencer, mq_clock_wall_ms());
        rlog_bound_get(ctx->store->log, &bound);
        reply_busy(to, &waiting, &bound);
        return;
    }
    reply_failed(to, rc);
}

/* Room for @records records of @queue in the next entry and in the queue, as long as the disk has enough for what
 * comes of them. Returns whether there is; if not, @to is answered. */
static bool reserve(struct context *ctx, const struct reply_to *to, struct queue *queue, uint32_t records,
                    uint32_t bytes, uint8_t **at)
{
    int rc = 0;

    if (ctx->store->log != NULL && rlog_space_level(ctx->store->log) != RLOG_SPACE_ENOUGH) {
        rc = MQ_EFULL;
    }
    if (rc == 0) {
        rc = sequencer_reserve(ctx->sequencer, bytes, at);
    }
    if (rc != 0) {
        send_failed(ctx, to, rc);
        return false;
    }
    rc = consume_queue_reserve(&queue->cq, queue->next + records);
    if (rc != 0) {
        ctx->stats.put_failed++;
        reply_error(to, RESP_SERVICE_NOT_AVAILABLE, "%s cannot grow: %s; nothing was stored", queue->cq.dir,
                    mq_strerror(rc));
    }
    return rc == 0;
}

/* By which the message can be called back. One to a retry topic gets none, as nobody but the broker sends there. */
static void put_recall_handle(struct context *ctx, struct proto_writer *w, struct mq_str properties)
{
    struct proto_recall_handle handle = {.topic = proto_properties_get(properties, PROTO_PROP_REAL_TOPIC),
                                         .broker_name = mq_str_of(ctx->config->broker_name),
                                         .uniq_key = proto_properties_get(properties, PROTO_PROP_UNIQ_KEY)};
    char text[PROTO_RECALL_HANDLE_MAX];
    size_t n;

    if (mq_str_to_i64(proto_properties_get(properties, PROTO_PROP_TIMER_OUT_MS), &handle.out_ms) != 0 ||
        mq_str_starts(handle.topic, PROTO_RETRY_PREFIX)) {
        return;
    }
    handle.out_ms++; /* the time itself lies behind it */
    n = proto_recall_handle_encode(&handle, text);
    if (n != 0) {
        proto_put_str(w, MQ_STR("recallHandle"), (struct mq_str){text, (uint32_t)n});
    }
}

void send_stored(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct context *ctx = p->data;
    struct reply_to to = reply_to_of_pending(p);
    struct proto_writer w;

    if (outcome->status != 0) {
        send_failed(ctx, &to, outcome->status);
        return;
    }
    ctx->stats.puts += p->records;
    ctx->stats.put_bytes += p->bytes;
    if (!reply_begin(&to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        return;
    }
    put_msg_ids(ctx, &w, p, outcome);
    proto_put_i64(&w, MQ_STR("queueId"), p->queue_id);
    proto_put_i64(&w, MQ_STR("queueOffset"), (int64_t)p->qoff);
    if (p->kind != SEND_BATCH) {
        struct mq_str properties = proto_record_properties(outcome->payload + p->at, p->bytes);

        proto_put_str(&w, MQ_STR("transactionId"), proto_properties_get(properties, PROTO_PROP_UNIQ_KEY));
        if (p->kind == SEND_TIMER) {
            put_recall_handle(ctx, &w, properties);
        }
    }
    send_put_region(ctx, &w);
    reply_end(&to, &w, NULL, 0);
}

void send_refuse(struct context *ctx, const struct reply_to *to, int32_t code, const char *fmt, ...)
{
    struct proto_writer w;
    va_list args;
    bool waits;

    ctx->stats.put_failed++;
    va_start(args, fmt);
    waits = reply_begin_printed(to, &w, code, fmt, args);
    va_end(args);
    if (waits) {
        send_put_region(ctx, &w);
        reply_end(to, &w, NULL, 0);
    }
}

/* What the message waits for goes to @plan. False after an answer. */
static bool check_delay(struct context *ctx, const struct reply_to *to, const struct proto_send_header *header,
                        struct delayed_plan *plan)
{
    const char *why;
    int rc = delayed_plan(&ctx->delayed, header->properties, mq_clock_wall_ms(), plan, &why);

    if (rc != 0) {
        send_refuse(ctx, to, rc == MQ_EUNSUPPORTED ? RESP_SYSTEM_ERROR : RESP_MESSAGE_ILLEGAL, "%s", why);
        return false;
    }
    if (header->batch && plan->due_ms != 0) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL,
                    "a batch cannot wait: its properties ask for delay level %u or a time", plan->level);
        return false;
    }
    return true;
}

static bool check_topic(struct context *ctx, const struct reply_to *to, struct mq_str topic)
{
    enum proto_name_problem problem = proto_topic_check(topic);

    if (problem != PROTO_NAME_OK) {
        send_refuse(ctx, to, RESP_INVALID_PARAMETER, "topic \"" MQ_STR_FMT "\" is %s", REMARK_ARG(topic),
                    proto_name_problem_text(problem, false));
        return false;
    }
    if (proto_topic_send_forbidden(topic)) {
        send_refuse(ctx, to, RESP_NO_PERMISSION, "topic \"" MQ_STR_FMT "\" is a system topic that takes no sends",
                    REMARK_ARG(topic));
        return false;
    }
    return true;
}

/* What the message itself may be. */
static bool check_message(struct context *ctx, const struct reply_to *to, const struct proto_send_header *header,
                          const struct proto_command *cmd, struct delayed_plan *plan)
{
    const struct broker_config *config = ctx->config;

    if (cmd->body_bytes == 0) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "the body is empty");
        return false;
    }
    if (cmd->body_bytes > config->body_bytes_max) {
        /* The original answers 1 for a batch and 13 for a message. */
        send_refuse(ctx, to, header->batch ? RESP_SYSTEM_ERROR : RESP_MESSAGE_ILLEGAL,
                    "the body has %u bytes, maxMessageSize is %lld", cmd->body_bytes,
                    (long long)config->body_bytes_max);
        return false;
    }
    if (header->properties.len > PROTO_PROPERTIES_MAX) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "the properties have %u bytes, the limit is %d",
                    header->properties.len, PROTO_PROPERTIES_MAX);
        return false;
    }
    if (send_is_half(header)) {
        if (!send_half_check(ctx, to, header)) {
            return false;
        }
    } else if ((header->sys_flag & PROTO_SYS_TRANSACTION_MASK) != 0) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "sysFlag %d speaks of a transaction, property TRAN_MSG does not",
                    header->sys_flag);
        return false;
    }
    if ((header->sys_flag & PROTO_SYS_INNER_BATCH) != 0) {
        /* Only a queue that holds whole batches could take it; such topics cannot be made here. */
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL,
                    "sysFlag %d has the bit of an inner batch (%d), which is not supported", header->sys_flag,
                    PROTO_SYS_INNER_BATCH);
        return false;
    }
    return check_delay(ctx, to, header, plan);
}

static uint32_t count_messages(const struct proto_send_header *header, const struct proto_command *cmd)
{
    struct mq_str rest = {(const char *)cmd->body, cmd->body_bytes};
    struct proto_batch_item item;
    uint32_t count = 0;

    while (header->batch && proto_batch_next(&rest, &item) == 1) {
        count++;
    }
    return count != 0 ? count : 1;
}

bool send_check_quota(struct context *ctx, const struct reply_to *to, struct net_channel *ch, struct mq_str group,
                      uint32_t messages, uint32_t bytes)
{
    struct quota_refusal why;

    if (ctx->quota == NULL || quota_take(ctx->quota, ch, group, messages, bytes, mq_clock_mono_ms(), &why)) {
        return true;
    }
    send_refuse(ctx, to, RESP_SYSTEM_BUSY,
                "[QUOTA] producerGroup \"" MQ_STR_FMT
                "\": the %s has sent what it may, %lld %s a second; in %llu ms more is "
                "taken; nothing was stored",
                REMARK_ARG(group), why.whose, (long long)why.per_second, why.unit, (unsigned long long)why.wait_ms);
    return false;
}

/* The topic of the send; creates it when that is allowed. Returns NULL after an answer. */
static struct topic *find_topic(struct context *ctx, const struct reply_to *to,
                                const struct proto_send_header *header)
{
    struct topic *topic;
    int rc = topic_for_send(ctx, header->topic, header->default_topic, header->default_topic_queues,
                            header->unit_mode, &topic);

    if (rc == MQ_ENOTFOUND) {
        send_refuse(ctx, to, RESP_TOPIC_NOT_EXIST,
                    "topic \"" MQ_STR_FMT "\" does not exist and may not be created from \"" MQ_STR_FMT "\"",
                    REMARK_ARG(header->topic), REMARK_ARG(header->default_topic));
        return NULL;
    }
    if (rc != 0) {
        send_failed(ctx, to, rc);
        return NULL;
    }
    if ((ctx->config->permission & TOPIC_PERM_WRITE) == 0 && topic->order) {
        send_refuse(ctx, to, RESP_NO_PERMISSION,
                    "brokerPermission is %lld: this broker takes no sends to an order topic",
                    (long long)ctx->config->permission);
        return NULL;
    }
    return topic;
}

/* The queue of the send. Returns NULL after an answer. */
static struct queue *find_queue(struct context *ctx, const struct reply_to *to,
                                const struct proto_send_header *header)
{
    struct topic *topic = find_topic(ctx, to, header);
    struct queue *queue;
    uint32_t queues;
    int32_t id = header->queue_id;
    int rc;

    if (topic == NULL) {
        return NULL;
    }
    queues = topic->write_queues > topic->read_queues ? topic->write_queues : topic->read_queues;
    if (id >= 0 && (uint32_t)id >= queues) {
        send_refuse(ctx, to, RESP_INVALID_PARAMETER,
                    "queueId %d: topic \"" MQ_STR_FMT "\" has %u queues, counted from 0", id,
                    REMARK_ARG(header->topic), queues);
        return NULL;
    }
    if (id < 0) {
        if (topic->write_queues == 0) {
            send_refuse(ctx, to, RESP_NO_PERMISSION, "topic \"" MQ_STR_FMT "\" has no write queue",
                        REMARK_ARG(header->topic));
            return NULL;
        }
        id = (int32_t)(ctx->next_any_queue++ % topic->write_queues); /* any queue: spread them */
    }
    rc = topic_queues_get(&ctx->store->queues, topic->queues, id, &queue);
    if (rc != 0) {
        send_failed(ctx, to, rc);
        return NULL;
    }
    return queue;
}

/* @queue_id: as the answer has it. */
static void add_single(struct context *ctx, const struct reply_to *to, struct queue *queue, int32_t queue_id,
                       struct record_source *source)
{
    struct sequencer_pending pending = pending_for(to, send_stored, ctx);
    uint8_t *at;
    int32_t bytes;

    if (!reserve(ctx, to, queue, 1, record_build_bound(source), &at)) {
        return;
    }
    source->store_ms = sequencer_store_ms(ctx->sequencer);
    bytes = record_build(source, true, at);
    if (bytes < 0) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "the properties pass %d bytes with the broker's own added",
                    PROTO_PROPERTIES_MAX);
        return;
    }
    pending.kind = SEND_SINGLE;
    pending.records = 1;
    pending.queue_id = queue_id;
    sequencer_add(ctx->sequencer, (uint32_t)bytes, queue, 1, 0, &pending);
}

/* Answers a message that was not stored with its item. */
static void fail_delayed(struct context *ctx, const struct reply_to *to, const struct queue *queue, int rc)
{
    if (rc == MQ_ETOOBIG || rc == MQ_EBADMSG) {
        send_refuse(
            ctx, to, RESP_MESSAGE_ILLEGAL,
            "with the broker's own properties added the properties pass %d bytes, or the message an entry of the log",
            PROTO_PROPERTIES_MAX);
    } else if (rc >= MQ_ENOMEM && queue != NULL) {
        send_refuse(ctx, to, RESP_SERVICE_NOT_AVAILABLE, "%s cannot grow: %s; nothing was stored", queue->cq.dir,
                    mq_strerror(rc));
    } else {
        send_failed(ctx, to, rc);
    }
}

/* For what its delivery adds. */
static bool leaves_room(const struct context *ctx, const struct record_source *source)
{
    return record_build_properties_bound(source) <= PROTO_PROPERTIES_MAX - DELAYED_DELIVERY_BYTES &&
           record_build_bound(source) <= rlog_payload_max(ctx->store->log) - 2 * DELAYED_DELIVERY_BYTES;
}

/* A message for @queue that waits first. */
static void add_delayed(struct context *ctx, const struct reply_to *to, const struct queue *queue,
                        struct record_source *source, const struct delayed_plan *plan)
{
    struct sequencer_pending pending = pending_for(to, send_stored, ctx);
    struct bundle_part parts[] = {
        {.kind = BUNDLE_NEW, .source = source, .own = true},
        {.kind = BUNDLE_ITEM, .type = COMMAND_PENDING_PUT},
    };
    struct mq_str uniq_key = proto_properties_get(source->properties, PROTO_PROP_UNIQ_KEY);
    struct delayed_store store;
    int rc;

    delayed_store_make(&store, &ctx->delayed, plan, source->topic, queue->id,
                       uniq_key.at != NULL ? uniq_key : source->uniq_key);
    source->topic = store.topic;
    source->queue_id = store.queue_id;
    source->prepared_pos = store.due_ms;
    source->put = store.put;
    source->n_put = store.n_put;
    source->drop = store.drop;
    source->n_drop = store.n_drop;
    parts[1].item = &store.item.base;
    pending.kind = plan->level != 0 ? SEND_SINGLE : SEND_TIMER;
    pending.records = 1;
    pending.queue_id = queue->id;
    rc = !leaves_room(ctx, source) ? MQ_ETOOBIG
                                   : ensure_queue(ctx->state, ctx->sequencer, store.topic, store.queues,
                                                  DELAYED_TOPIC_PERM, store.queue_id, &parts[0].queue);
    if (rc == 0) {
        rc = bundle_add(ctx->sequencer, ctx->store, parts, ARRAY_SIZE(parts), &pending, 0);
    }
    if (rc != 0) {
        fail_delayed(ctx, to, parts[0].queue, rc);
    }
}

/* One message, which gets a unique key if it has none. */
static void add_message(struct context *ctx, const struct reply_to *to, struct send_plan *plan)
{
    struct record_source *source = &plan->source;
    char uniq_key[32];

    if (proto_properties_get(source->properties, PROTO_PROP_UNIQ_KEY).at == NULL) {
        proto_uniq_key_next(&ctx->uniq_key, mq_clock_wall_ms(), uniq_key);
        source->uniq_key = (struct mq_str){uniq_key, sizeof(uniq_key)};
    }
    if (plan->delayed.due_ms != 0) {
        add_delayed(ctx, to, plan->queue, source, &plan->delayed);
    } else {
        add_single(ctx, to, plan->queue, plan->queue_id, source);
    }
}

/* What one message of a batch may be; NULL when it is fine. */
static const char *batch_item_fault(const struct proto_batch_item *item)
{
    if (item->body.len == 0) {
        return "its body is empty";
    }
    if (item->properties.len > PROTO_PROPERTIES_MAX) {
        return "its properties pass 32767 bytes";
    }
    if (delayed_is_asked(item->properties)) {
        return "it asks for a delay, which a message of a batch cannot have";
    }
    return send_asks_for_transaction(item->properties) ? "property TRAN_MSG: a part of a batch is no transaction"
                                                       : NULL;
}

/* Counts the messages of a batch and bounds the bytes of their records. Returns the number, or -1 after an answer. */
static int measure_batch(struct context *ctx, const struct reply_to *to, struct record_source *source,
                         struct mq_str body, uint32_t *bound)
{
    struct proto_batch_item item;
    struct mq_str rest = body;
    const char *fault = NULL;
    uint64_t total = 0;
    int count = 0;
    int rc;

    while ((rc = proto_batch_next(&rest, &item)) == 1) {
        fault = count == BATCH_MESSAGES_MAX ? "a batch has at most 65535" : batch_item_fault(&item);
        if (fault != NULL) {
            break;
        }
        source->body = item.body;
        source->properties = item.properties;
        total += record_build_bound(source);
        count++;
    }
    if (rc != 0 || count == 0) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "batch body of %u bytes, message %d: %s", body.len, count,
                    fault != NULL ? fault : "does not decode");
        return -1;
    }
    if (total > BATCH_RECORDS_BYTES_MAX) {
        send_refuse(ctx, to, RESP_SYSTEM_ERROR,
                    "the %d messages of the batch take %llu bytes stored, the limit is %u", count,
                    (unsigned long long)total, BATCH_RECORDS_BYTES_MAX);
        return -1;
    }
    *bound = (uint32_t)total;
    return count;
}

static void add_batch(struct context *ctx, const struct reply_to *to, struct queue *queue,
                      struct record_source *source, struct mq_str body)
{
    struct sequencer_pending pending = pending_for(to, send_stored, ctx);
    struct proto_batch_item item;
    struct mq_str rest = body;
    uint32_t bound = 0, used = 0;
    uint8_t *at;
    int count;

    count = measure_batch(ctx, to, source, body, &bound);
    if (count < 0) {
        return;
    }
    if (!reserve(ctx, to, queue, (uint32_t)count, bound, &at)) {
        return;
    }
    source->store_ms = sequencer_store_ms(ctx->sequencer);
    while (proto_batch_next(&rest, &item) == 1) {
        int32_t bytes;

        source->flag = item.flag;
        source->body = item.body;
        source->properties = item.properties;
        bytes = record_build(source, false, at + used);
        MQ_ASSERT(bytes > 0); /* measure_batch has checked the only limit */
        used += (uint32_t)bytes;
    }
    pending.kind = SEND_BATCH;
    pending.records = (uint16_t)count;
    pending.queue_id = queue->id;
    sequencer_add(ctx->sequencer, used, queue, (uint32_t)count, 0, &pending);
}

bool send_prepare(struct context *ctx, const struct reply_to *to, const struct proto_send_header *header,
                  struct net_channel *ch, const struct proto_command *cmd, struct send_plan *plan)
{
    if (!check_topic(ctx, to, header->topic) || !check_message(ctx, to, header, cmd, &plan->delayed) ||
        !send_check_quota(ctx, to, ch, header->producer_group, ctx->quota != NULL ? count_messages(header, cmd) : 1,
                          cmd->body_bytes)) {
        return false;
    }
    plan->queue = find_queue(ctx, to, header);
    if (plan->queue == NULL) {
        return false;
    }
    plan->queue_id = plan->queue->id;
    plan->source = (struct record_source){
        .topic = header->topic,
        .queue_id = plan->queue_id,
        .flag = header->flag,
        .sys_flag = header->sys_flag,
        .born_ms = header->born_ms,
        .store_host = ctx->store_host,
        .reconsume_times = header->reconsume_times,
        .body = {(const char *)cmd->body, cmd->body_bytes},
        .properties = header->properties,
        .region = mq_str_of(ctx->config->region),
        .trace_on = ctx->config->trace_on,
    };
    send_host_of(&ch->conn.peer, &plan->source.born_host);
    return true;
}

/* A send to a retry topic may become a dead letter. Returns false after an answer. */
static bool look_at_retry(struct context *ctx, const struct reply_to *to, const struct proto_send_header *header,
                          int32_t version, struct send_plan *plan)
{
    static const struct record_property spent = {PROTO_PROP_DELAY, MQ_STR("-1")};
    struct mq_str group = retry_group_of(header->topic);
    bool dead;
    int rc;

    if (header->batch) {
        send_refuse(ctx, to, RESP_MESSAGE_ILLEGAL, "topic \"" MQ_STR_FMT "\": a batch to a retry topic is not taken",
                    REMARK_ARG(header->topic));
        return false;
    }
    if (retry_send_check(ctx, header, version, &dead) != 0) {
        send_refuse(ctx, to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "group \"" MQ_STR_FMT "\" does not exist",
                    REMARK_ARG(group));
        return false;
    }
    if (!dead) {
        return true;
    }
    rc = dead_letter_queue(ctx, group, &plan->queue);
    if (rc != 0) {
        send_failed(ctx, to, rc);
        return false;
    }
    plan->delayed.due_ms = 0;
    plan->source.topic = (struct mq_str){plan->queue->topic->topic, plan->queue->topic->topic_bytes};
    plan->source.queue_id = plan->queue->id;
    plan->source.put = &spent;
    plan->source.n_put = 1;
    return true;
}

void send_message(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_send_header header;
    struct proto_problem why;
    struct send_plan plan;
    int rc;

    rc = cmd->code == REQ_SEND_MESSAGE ? proto_send_header_decode(&cmd->fields, &header, &why)
                                       : proto_send_header_v2_decode(&cmd->fields, &header, &why);
    if (rc != 0) {
        ctx->stats.put_failed++;
        reply_problem(&to, &why);
        return;
    }
    if (!send_prepare(ctx, &to, &header, ch, cmd, &plan)) {
        return;
    }
    plan.source.cluster = mq_str_of(ctx->config->cluster);
    if (mq_str_starts(header.topic, PROTO_RETRY_PREFIX) && !look_at_retry(ctx, &to, &header, cmd->version, &plan)) {
        return;
    }
    /* The batch field decides, not the code: C++ clients send batches as 310. */
    if (header.batch) {
        add_batch(ctx, &to, plan.queue, &plan.source, plan.source.body);
    } else if (send_is_half(&header)) {
        send_half_add(ctx, &to, plan.queue, &plan.source);
    } else {
        add_message(ctx, &to, &plan);
    }
}
