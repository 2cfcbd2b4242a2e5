/* SEND_REPLY_MESSAGE (324), SEND_REPLY_MESSAGE_V2 (325): the answer of a consumer to one message, on its way to who
 * sent that and waits.
 *
 * Happy path: decode -> the checks of a send -> the requester's connection is found by the client id in
 * REPLY_TO_CLIENT -> PUSH_REPLY_MESSAGE_TO_CLIENT (326) goes there, and the reply into the log beside it -> both have
 * ended -> the answer. It says how the push went: storing is for the record, nobody is sent a stored reply. So no
 * body is kept while the requester thinks.
 *
 * Failures: refused as a send is, or with 2 when too many pushes wait: nothing happened. No such requester here, no
 * answer within PUSH_MS, or one that is not 0: 1.
 *
 * Producers beat on the leader, so a follower knows requesters only while they have not noticed that it leads no
 * longer. It passes a reply on to those and does not store it; others are for the leader (14). Source: RocketMQ's
 * ReplyMessageProcessor. */
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/processor/send.h"
#include "broker/session/producer_table.h"
#include "broker/state/bundle.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/message.h"
#include "remoting/protocol/properties.h"

#include <stdio.h>

#define PUSH_MS 10000
#define HOST_TEXT_MAX 64
#define PROBLEM_MAX 400

/* A reply under way, until push and store have both ended. */
struct passing {
    struct context *ctx;
    struct net_channel *from; /* counted; who replied */
    struct reply_to to;
    int32_t queue_id;
    struct net_call call;
    uint32_t waiting; /* for the push, for the log, and while it is being set up */
    bool pushed;
    bool stored, unsure; /* the log took it; the log may have taken it */
    uint64_t pos, qoff;
    char problem[PROBLEM_MAX]; /* why it is not pushed */
};

static void answer(struct passing *passing)
{
    struct context *ctx = passing->ctx;
    char id[PROTO_MSG_ID_MAX] = "0"; /* clients decode what is here */
    uint32_t id_bytes = 1;
    struct proto_writer w;
    char remark[PROBLEM_MAX + 64];
    int n;

    if (!passing->pushed) {
        n = snprintf(remark, sizeof(remark), "%s%s", passing->unsure ? "[UNKNOWN] it may be stored; " : "",
                     passing->problem);
        if (reply_begin(&passing->to, &w, RESP_SYSTEM_ERROR, (struct mq_str){remark, (uint32_t)n})) {
            send_put_region(ctx, &w);
            reply_end(&passing->to, &w, NULL, 0);
        }
        return;
    }
    if (!reply_begin(&passing->to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        return;
    }
    if (passing->stored) {
        id_bytes = (uint32_t)proto_offset_msg_id(&ctx->store_host, (int64_t)passing->pos, id);
    }
    proto_put_str(&w, MQ_STR("msgId"), (struct mq_str){id, id_bytes});
    proto_put_i64(&w, MQ_STR("queueId"), passing->queue_id);
    proto_put_i64(&w, MQ_STR("queueOffset"), passing->stored ? (int64_t)passing->qoff : 0);
    send_put_region(ctx, &w);
    reply_end(&passing->to, &w, NULL, 0);
}

static void part_ended(struct passing *passing)
{
    if (--passing->waiting == 0) {
        answer(passing);
        net_channel_release(passing->from);
        mq_free(passing);
    }
}

/* --- the push --- */

static void on_answered(struct net_call *call, int status, struct proto_command *said)
{
    struct passing *passing = container_of(call, struct passing, call);

    if (status == 0 && said->code == RESP_SUCCESS) {
        passing->pushed = true;
    } else if (status == 0) {
        snprintf(passing->problem, sizeof(passing->problem), "the requester answered %d: " MQ_STR_FMT, said->code,
                 REMARK_ARG(said->remark));
    } else if (status == MQ_ETIMEDOUT) {
        snprintf(passing->problem, sizeof(passing->problem), "the requester gave no answer in %d ms", PUSH_MS);
    } else {
        snprintf(passing->problem, sizeof(passing->problem), "the requester disconnected before it answered");
    }
    part_ended(passing);
}

/* What the requester is sent: the reply's properties, and the broker's own. Returns 0 or MQ_ENOMEM. */
static int make_properties(const struct context *ctx, struct mq_str properties, struct mq_buf *out)
{
    const struct record_property own[] = {
        {PROTO_PROP_MSG_REGION, mq_str_of(ctx->config->region)},
        {PROTO_PROP_TRACE_ON, ctx->config->trace_on ? MQ_STR("true") : MQ_STR("false")},
    };
    struct mq_str name, value;
    char now[MQ_I64_TEXT_MAX];
    int rc = 0;

    while (rc == 0 && proto_properties_next(&properties, &name, &value)) {
        if (!mq_str_eq(name, own[0].name) && !mq_str_eq(name, own[1].name) &&
            !mq_str_eq(name, PROTO_PROP_PUSH_REPLY_TIME)) {
            rc = proto_properties_put(out, 0, name, value);
        }
    }
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(own); i++) {
        rc = proto_properties_put(out, 0, own[i].name, own[i].value);
    }
    if (rc == 0) {
        rc = proto_properties_put(out, 0, PROTO_PROP_PUSH_REPLY_TIME,
                                  (struct mq_str){now, mq_i64_to_text(mq_clock_wall_ms(), now)});
    }
    return rc;
}

/* Sends 326 to @requester. Returns 0, after which on_answered comes once; MQ_EBUSY; or a negative code. */
static int push(struct passing *passing, struct net_channel *requester, const struct proto_send_header *header,
                const struct proto_command *cmd)
{
    struct context *ctx = passing->ctx;
    const uint8_t *ip = ctx->store_host.ip;
    char born_host[HOST_TEXT_MAX], store_host[HOST_TEXT_MAX];
    struct mq_buf properties = {0};
    struct proto_writer w;
    int rc = make_properties(ctx, header->properties, &properties);

    snprintf(born_host, sizeof(born_host), "%s", net_addr_text((const struct sockaddr *)&passing->from->conn.peer));
    snprintf(store_host, sizeof(store_host), "%u.%u.%u.%u:%u", ip[0], ip[1], ip[2], ip[3], ctx->store_host.port);
    if (rc == 0) {
        rc = net_calls_begin(ctx->calls, requester, &w, REQ_PUSH_REPLY_MESSAGE_TO_CLIENT, PROTO_JSON, false);
    }
    if (rc == 0) {
        const struct proto_push_reply_header pushed = {
            .producer_group = header->producer_group,
            .topic = header->topic,
            .default_topic = header->default_topic,
            .default_topic_queues = header->default_topic_queues,
            .queue_id = header->queue_id,
            .sys_flag = header->sys_flag,
            .born_ms = header->born_ms,
            .flag = header->flag,
            .properties = mq_buf_str(&properties),
            .reconsume_times = header->reconsume_times,
            .unit_mode = header->unit_mode,
            .born_host = mq_str_of(born_host),
            .store_host = mq_str_of(store_host),
            .store_ms = mq_clock_wall_ms(),
        };

        proto_push_reply_header_encode(&w, &pushed);
        rc = net_calls_send(ctx->calls, requester, &w, cmd->body, cmd->body_bytes, &passing->call, PUSH_MS,
                            on_answered);
    }
    mq_buf_free(&properties);
    passing->waiting += rc == 0;
    return rc;
}

/* --- the store --- */

static void on_stored(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct passing *passing = p->data;
    struct context *ctx = passing->ctx;

    passing->stored = outcome->status == 0;
    passing->unsure = outcome->status == MQ_EUNSURE;
    passing->qoff = p->qoff;
    passing->pos = outcome->payload_pos + p->at;
    ctx->stats.puts += passing->stored;
    ctx->stats.put_bytes += passing->stored ? p->bytes : 0;
    ctx->stats.put_failed += !passing->stored;
    part_ended(passing);
}

/* A reply that the log does not take is passed on all the same, as the original does. */
static void store(struct passing *passing, struct send_plan *plan)
{
    struct context *ctx = passing->ctx;
    const struct sequencer_pending pending = {.done = on_stored, .data = passing};
    const struct bundle_part part = {.kind = BUNDLE_NEW, .queue = plan->queue, .source = &plan->source, .own = true};

    if (bundle_add(ctx->sequencer, ctx->store, &part, 1, &pending, 0) == 0) {
        passing->waiting++;
    } else {
        ctx->stats.put_failed++;
    }
}

/* --- the request --- */

static struct passing *passing_new(struct context *ctx, struct net_channel *ch, const struct reply_to *to)
{
    struct passing *passing = mq_calloc(1, sizeof(*passing));

    if (passing == NULL) {
        reply_failed(to, MQ_ENOMEM);
        return NULL;
    }
    passing->ctx = ctx;
    passing->from = net_channel_acquire(ch);
    passing->to = *to;
    passing->waiting = 1; /* for pass_on itself */
    return passing;
}

/* @plan NULL: it is not stored. */
static void pass_on(struct context *ctx, struct net_channel *ch, const struct proto_send_header *header,
                    const struct proto_command *cmd, struct send_plan *plan)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct mq_str client_id = proto_properties_get(header->properties, PROTO_PROP_REPLY_TO_CLIENT);
    struct net_channel *requester = client_id.len != 0 ? producer_table_of_client(ctx->producers, client_id) : NULL;
    struct passing *passing = passing_new(ctx, ch, &to);
    int rc = MQ_ENOTFOUND;

    if (passing == NULL) {
        return;
    }
    if (client_id.len == 0) {
        snprintf(passing->problem, sizeof(passing->problem), "the reply has no property REPLY_TO_CLIENT");
    } else if (requester == NULL) {
        snprintf(passing->problem, sizeof(passing->problem),
                 "requester \"" MQ_STR_FMT "\" (REPLY_TO_CLIENT) is not connected here", REMARK_ARG(client_id));
    } else {
        rc = push(passing, requester, header, cmd);
        snprintf(passing->problem, sizeof(passing->problem), "the reply cannot be passed on: %s", mq_strerror(rc));
    }
    if (rc == MQ_EBUSY) { /* the one failure that passes by itself: let the consumer try again */
        reply_error(&to, RESP_SYSTEM_BUSY,
                    "[OVERLOAD] too many requests to clients wait for an answer; nothing was stored");
        passing->to.ch = NULL;
        plan = NULL;
    }
    passing->queue_id = plan != NULL ? plan->queue_id : header->queue_id;
    if (plan != NULL && ctx->config->store_replies) {
        store(passing, plan);
    }
    part_ended(passing);
}

void send_reply(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_send_header header;
    struct proto_problem why;
    struct send_plan plan;
    struct mq_str client_id;
    int rc = cmd->code == REQ_SEND_REPLY_MESSAGE ? proto_send_header_decode(&cmd->fields, &header, &why)
                                                 : proto_send_header_v2_decode(&cmd->fields, &header, &why);

    if (rc != 0) {
        reply_problem(&to, &why);
        return;
    }
    if (context_writable(ctx)) {
        if (send_prepare(ctx, &to, &header, ch, cmd, &plan)) {
            pass_on(ctx, ch, &header, cmd, &plan);
        }
        return;
    }
    client_id = proto_properties_get(header.properties, PROTO_PROP_REPLY_TO_CLIENT);
    if (client_id.len == 0 || producer_table_of_client(ctx->producers, client_id) == NULL) {
        reply_failed(&to, MQ_ENOTLEADER);
        return;
    }
    if (send_check_quota(ctx, &to, ch, header.producer_group, 1, cmd->body_bytes)) {
        pass_on(ctx, ch, &header, cmd, NULL);
    }
}
