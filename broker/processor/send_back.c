/* CONSUMER_SEND_MSG_BACK (36): a consumer could not deal with a message, which names it by its place in the log.
 *
 * Happy path: decode -> the group's numbers -> its retry topic may be written to -> the record is read, on the pool
 * when it is not in memory -> retry_add -> when the entry is applied, the answer. Failures before retry_add: nothing
 * was stored. Afterwards: reply_failed says what is known; whoever asks again after [UNKNOWN] may make a second copy,
 * and stock clients do.
 *
 * Source of order and codes: RocketMQ's AbstractSendMessageProcessor.consumerSendMsgBack. */
#include "broker/flow/flows.h"
#include "broker/flow/quota.h"
#include "broker/flow/retry.h"
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "broker/processor/retry.h"
#include "broker/processor/send.h"
#include "broker/store/fetch.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/headers.h"
#include "remoting/protocol/names.h"

#define COLD_MAX 1024u /* requests whose record comes from the disk */

/* What is asked for; also kept while the record comes from the disk. */
struct back {
    struct context *ctx;
    struct reply_to to;
    struct retry_order order;
    bool unit_mode;
    uint64_t pos;
    struct store_fetch fetch;
    char group[PROTO_GROUP_MAX];
};

static void refuse_record(const struct back *back, int rc)
{
    if (rc == MQ_ENOTFOUND) {
        reply_error(&back->to, RESP_SYSTEM_ERROR, "offset %llu: no message lies there, or no longer",
                    (unsigned long long)back->pos);
    } else if (rc == MQ_ECORRUPT) {
        reply_error(&back->to, RESP_SYSTEM_ERROR,
                    "offset %llu: the message is damaged on this node's disk; nothing was stored",
                    (unsigned long long)back->pos);
    } else {
        reply_failed(&back->to, rc);
    }
}

/* The retry topic, when it is there already: others are made with the copy. Returns false after an answer. */
static bool check_retry_topic(const struct back *back)
{
    char room[PROTO_RETRY_TOPIC_MAX];
    struct mq_str name = proto_group_topic(PROTO_RETRY_PREFIX, back->order.group, room);
    const struct topic *topic = topic_table_find_for_send(&back->ctx->state->topics, name);

    if (topic != NULL && (topic->perm & TOPIC_PERM_WRITE) == 0) {
        reply_error(&back->to, RESP_NO_PERMISSION, "topic \"" MQ_STR_FMT "\" has perm %u: it takes no messages",
                    REMARK_ARG(name), topic->perm);
        return false;
    }
    return true;
}

/* The original makes the retry topic also for a dead letter. */
static int make_retry_topic(const struct back *back)
{
    char room[PROTO_RETRY_TOPIC_MAX];
    struct topic *topic;

    return topic_make(back->ctx, proto_group_topic(PROTO_RETRY_PREFIX, back->order.group, room), back->order.queues,
                      TOPIC_PERM_READ | TOPIC_PERM_WRITE, back->unit_mode ? TOPIC_SYS_FLAG_UNIT_SUB : 0, &topic);
}

/* The record is there. */
static void store_again(struct back *back, const struct reader_view *view)
{
    struct context *ctx = back->ctx;
    const struct sequencer_pending pending = pending_for(&back->to, answer_done, ctx);
    int rc = make_retry_topic(back);

    back->order.now_ms = mq_clock_wall_ms();
    back->order.turn = ctx->next_any_queue++;
    if (rc == 0) {
        rc = retry_add(&ctx->flows->env, &ctx->delayed, &back->order, view->at, view->bytes, &pending);
    }
    if (rc == 0) {
        bool is_there = back->to.ch != NULL && !back->to.ch->dead; /* a closed one has no account any more */

        quota_charge(ctx->quota, is_there ? back->to.ch : NULL, back->order.group, view->bytes, mq_clock_mono_ms());
    } else if (rc == MQ_ETOOBIG) {
        reply_error(&back->to, RESP_SYSTEM_ERROR,
                    "offset %llu: the message's properties pass %d bytes with those of a retry, or it no longer fits "
                    "into an entry; nothing was stored",
                    (unsigned long long)back->pos, PROTO_PROPERTIES_MAX);
    } else {
        refuse_record(back, rc);
    }
}

static void on_fetched(struct store_fetch *fetch, int status, const struct reader_view *view)
{
    struct back *back = fetch->data;

    back->ctx->backs_cold--;
    if (status != 0) {
        refuse_record(back, status);
    } else if (!context_writable(back->ctx)) {
        reply_failed(&back->to, MQ_ENOTLEADER);
    } else if (check_retry_topic(back)) { /* it may have changed meanwhile */
        store_again(back, view);
    }
    reply_to_release(&back->to);
    mq_free(back);
}

/* Takes @back along to the pool. */
static void fetch(const struct back *back)
{
    struct context *ctx = back->ctx;
    struct back *kept;
    int rc;

    if (ctx->backs_cold >= COLD_MAX) {
        reply_error(&back->to, RESP_SYSTEM_BUSY,
                    "[OVERLOAD] %u messages that failed are being read from the disk; nothing was stored", COLD_MAX);
        return;
    }
    kept = mq_malloc(sizeof(*kept));
    if (kept == NULL) {
        reply_failed(&back->to, MQ_ENOMEM);
        return;
    }
    *kept = *back;
    memcpy(kept->group, back->order.group.at, back->order.group.len);
    kept->order.group.at = kept->group;
    kept->fetch.pos = back->pos;
    kept->fetch.data = kept;
    kept->fetch.done = on_fetched;
    rc = store_fetch_start(ctx->store, &kept->fetch);
    if (rc != 0) {
        refuse_record(kept, rc);
        mq_free(kept);
        return;
    }
    ctx->backs_cold++;
    reply_to_keep(&kept->to);
}

/* Reads the record and goes on with it. */
static void find_record(struct back *back)
{
    struct reader_view view;
    int rc = store_fetch(back->ctx->store, back->pos, &view);

    if (rc == MQ_EAGAIN) {
        fetch(back);
    } else if (rc != 0) {
        refuse_record(back, rc);
    } else {
        store_again(back, &view);
        net_ref_release(view.ref);
    }
}

void send_back(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct back back = {.ctx = ctx, .to = reply_to_of(ch, cmd)};
    struct proto_send_back_header header;
    struct retry_limits limits;
    struct proto_problem why;

    if (proto_send_back_header_decode(&cmd->fields, &header, &why) != 0) {
        reply_problem(&back.to, &why);
        return;
    }
    if (!group_usable(ctx, header.group)) {
        reply_error(&back.to, RESP_SUBSCRIPTION_GROUP_NOT_EXIST, "group \"" MQ_STR_FMT "\" does not exist",
                    REMARK_ARG(header.group));
        return;
    }
    if ((ctx->config->permission & TOPIC_PERM_WRITE) == 0) {
        reply_error(&back.to, RESP_NO_PERMISSION, "brokerPermission is %lld: this broker takes no sends",
                    (long long)ctx->config->permission);
        return;
    }
    limits = retry_limits_of(ctx, header.group, cmd->version, header.max_reconsume_times);
    if (limits.queues == 0) { /* the group wants no retries: the message is given up */
        reply_code(&back.to, RESP_SUCCESS);
        return;
    }
    back.order = (struct retry_order){.group = header.group,
                                      .delay_level = header.delay_level,
                                      .max_times = limits.max_times,
                                      .queues = limits.queues,
                                      .store_host = &ctx->store_host};
    back.unit_mode = header.unit_mode;
    back.pos = (uint64_t)header.pos; /* nothing lies at one below 0 */
    /* The message counts now, and its bytes when it was read. */
    if (check_retry_topic(&back) && send_check_quota(ctx, &back.to, ch, header.group, 1, 0)) {
        find_record(&back);
    }
}
