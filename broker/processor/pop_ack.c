/* ACK_MESSAGE (200051), BATCH_ACK_MESSAGE (200151), CHANGE_MESSAGE_INVISIBLETIME (200053): what becomes of messages
 * that were popped. The receipt handle names the check point; what it speaks of may be over, which is no error for an
 * acknowledgement. Source: RocketMQ's AckMessageProcessor, ChangeInvisibleTimeProcessor, ExtraInfoUtil, BatchAck. */
#include "broker/flow/pop_revive.h"
#include "broker/processor/pop_check.h"
#include "broker/processor/pop_order.h"
#include "broker/processor/processors.h"
#include "broker/processor/propose.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/json.h"
#include "remoting/protocol/headers.h"

#include <inttypes.h>

#define BATCH_MAX 4096u /* acknowledgements in one request */

/* The queue, when the request may be carried out on message @header->qoff of it. NULL after an answer. @past_end:
 * whether the queue's end itself counts as inside. */
static struct queue *find_queue(struct context *ctx, const struct reply_to *to,
                                const struct proto_pop_ack_header *header, bool past_end)
{
    struct topic *topic = topic_table_find(&ctx->state->topics, header->topic);
    struct queue *queue;
    uint64_t min, max;

    if (topic == NULL) {
        reply_no_topic(to, header->topic);
        return NULL;
    }
    if (header->queue_id < 0 || (uint32_t)header->queue_id >= topic->read_queues) {
        reply_error(to, RESP_MESSAGE_ILLEGAL, "queueId %d: topic \"" MQ_STR_FMT "\" has %u read queues",
                    header->queue_id, REMARK_ARG(header->topic), topic->read_queues);
        return NULL;
    }
    queue = topic_queues_find(topic->queues, header->queue_id);
    min = queue != NULL ? queue->cq.min : 0;
    max = queue != NULL ? queue->cq.max : 0;
    if (queue == NULL || header->qoff < 0 || (uint64_t)header->qoff < min ||
        (uint64_t)header->qoff >= max + (past_end ? 1 : 0)) {
        reply_error(to, RESP_NO_MESSAGE, "offset %" PRId64 ": the queue has %" PRIu64 " to %" PRIu64, header->qoff,
                    min, max);
        return NULL;
    }
    return queue;
}

/* Decodes what 200051 and 200053 share. False after an answer. */
static bool decode(struct context *ctx, const struct reply_to *to, struct proto_command *cmd,
                   struct proto_pop_ack_header *header, struct pop_handle *handle, bool past_end)
{
    struct proto_problem why;

    if (proto_pop_ack_header_decode(&cmd->fields, header, &why) != 0) {
        reply_problem(to, &why);
        return false;
    }
    if (find_queue(ctx, to, header, past_end) == NULL) {
        return false;
    }
    if (!pop_handle_parse(header->handle, handle)) {
        reply_error(to, RESP_SYSTEM_ERROR,
                    "extraInfo \"" MQ_STR_FMT "\": a handle has at least %d fields, the first four numbers",
                    REMARK_ARG(header->handle), POP_HANDLE_FIELDS_MIN);
        return false;
    }
    return true;
}

/* The check point that a handle names; NULL: it is over, which it also is once its messages are on their way back:
 * an acknowledgement that comes then is too late. */
static struct pop_check *check_of(struct context *ctx, struct mq_str group, struct mq_str topic, int32_t queue_id,
                                  int64_t start, int64_t pop_ms)
{
    struct pop_queue *queue = pop_table_queue(&ctx->state->pops, group, topic, queue_id);
    struct pop_check *check =
        queue != NULL && start >= 0 ? pop_table_find(&ctx->state->pops, queue, (uint64_t)start, pop_ms) : NULL;

    return check != NULL && !check->reviving ? check : NULL;
}

void pop_ack(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct sequencer_pending pending = pending_for(&to, answer_done, ctx);
    struct proto_pop_ack_header header;
    Raftmq__PopAck item = RAFTMQ__POP_ACK__INIT;
    struct pop_handle handle;
    struct pop_check *check;
    uint32_t offset;
    int rc;

    if (!decode(ctx, &to, cmd, &header, &handle, true)) {
        return;
    }
    if (handle.revive_queue == POP_REVIVE_ORDERED) {
        pop_order_ack(ctx, &to, &header, &handle);
        return;
    }
    check = check_of(ctx, header.consumer_group, header.topic, header.queue_id, handle.start, handle.pop_ms);
    if (check == NULL || pop_check_bit(check, (uint64_t)header.qoff) == 0) {
        reply_code(&to, RESP_SUCCESS); /* acknowledged before, or it is to come again: nothing to be done */
        return;
    }
    offset = (uint32_t)((uint64_t)header.qoff - check->key.start);
    item.group = (char *)check->key.queue->group.at;
    item.topic = (char *)check->key.queue->topic.at;
    item.queue_id = header.queue_id;
    item.start = handle.start;
    item.pop_ms = handle.pop_ms;
    item.offsets = &offset;
    item.n_offsets = 1;
    rc = propose_item(ctx, COMMAND_POP_ACK, &item.base, &pending);
    if (rc != 0) {
        reply_failed(&to, rc);
    }
}

/* --- 200053 --- */

struct change_job {
    struct context *ctx;
    struct reply_to to;      /* with a reference to its channel */
    struct pop_queue *queue; /* held */
    uint64_t qoff;
    int64_t pop_ms, invisible_ms;
    int32_t revive_queue;
};

static void answer_change(struct change_job *job)
{
    const struct proto_pop_change_response_header header = {
        .pop_ms = job->pop_ms, .invisible_ms = job->invisible_ms, .revive_queue = job->revive_queue};
    struct proto_writer w;

    if (reply_begin(&job->to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_pop_change_response_header_encode(&w, &header);
        reply_end(&job->to, &w, NULL, 0);
    }
}

static void refuse_over(const struct reply_to *to, int64_t qoff)
{
    reply_error(to, RESP_NO_MESSAGE,
                "offset %" PRId64 ": the time of this receipt handle is over, or the message is acknowledged", qoff);
}

static void job_end(struct change_job *job)
{
    pop_table_release(&job->ctx->state->pops, job->queue);
    reply_to_release(&job->to);
    mq_free(job);
}

static void on_changed(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct change_job *job = p->data;

    if (outcome->status != 0) {
        reply_failed(&job->to, outcome->status);
    } else if (pop_table_find(&job->ctx->state->pops, job->queue, job->qoff, job->pop_ms) == NULL) {
        refuse_over(&job->to, (int64_t)job->qoff); /* what was in the log before has ended it */
    } else {
        answer_change(job);
    }
    job_end(job);
}

static void propose_change(struct change_job *job, const struct pop_check *check, int64_t now_ms)
{
    const struct sequencer_pending pending = {.done = on_changed, .data = job};
    Raftmq__PopChange item = RAFTMQ__POP_CHANGE__INIT;
    int rc;

    item.group = (char *)job->queue->group.at;
    item.topic = (char *)job->queue->topic.at;
    item.queue_id = job->queue->queue_id;
    item.start = (int64_t)check->key.start;
    item.pop_ms = check->key.pop_ms;
    item.offset = (uint32_t)(job->qoff - check->key.start);
    item.new_pop_ms = job->pop_ms;
    item.until_ms = now_ms + job->invisible_ms;
    rc = propose_item(job->ctx, COMMAND_POP_CHANGE, &item.base, &pending);
    if (rc != 0) {
        reply_failed(&job->to, rc);
        job_end(job);
    }
}

void pop_change(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct proto_pop_ack_header header;
    struct pop_handle handle;
    struct pop_check *check;
    struct change_job *job;
    int64_t now_ms = mq_clock_wall_ms();

    if (!decode(ctx, &to, cmd, &header, &handle, false)) {
        return;
    }
    if (!pop_check_invisible(&to, header.invisible_ms)) {
        return;
    }
    if (handle.revive_queue == POP_REVIVE_ORDERED) {
        pop_order_change(ctx, &to, &header, &handle);
        return;
    }
    check = check_of(ctx, header.consumer_group, header.topic, header.queue_id, handle.start, handle.pop_ms);
    if (check == NULL || pop_check_bit(check, (uint64_t)header.qoff) == 0) {
        refuse_over(&to, header.qoff);
        return;
    }
    job = mq_calloc(1, sizeof(*job));
    if (job == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    job->ctx = ctx;
    job->to = to;
    reply_to_keep(&to);
    job->queue = pop_table_hold(&ctx->state->pops, check->key.queue->group, check->key.queue->topic, header.queue_id);
    job->qoff = (uint64_t)header.qoff;
    job->invisible_ms = header.invisible_ms;
    job->revive_queue = handle.revive_queue;
    job->pop_ms = pop_table_next_ms(&ctx->state->pops, now_ms);
    propose_change(job, check, now_ms);
}

/* --- 200151 --- */

/* One element of "acks". */
struct batch_ack {
    struct mq_str group, topic, retry, bits;
    int64_t start, pop_ms;
    int32_t queue_id, revive_queue;
};

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

static bool is_base64(struct mq_str text)
{
    uint32_t i = 0;

    while (i < text.len && digit_of(text.at[i]) >= 0) {
        i++;
    }
    return i == text.len || text.at[i] == '=';
}

/* Bit @bit of the bit set that @text is in base64; its first byte has bits 0 to 7. */
static bool has_bit(struct mq_str text, uint32_t bit)
{
    uint32_t at = bit / 8 * 4 / 3, shift = 4 - bit / 8 % 3 * 2;
    int high = at + 1 < text.len ? digit_of(text.at[at]) : -1;
    int low = at + 1 < text.len ? digit_of(text.at[at + 1]) : -1;

    return high >= 0 && low >= 0 && (((uint32_t)high << 6 | (uint32_t)low) >> shift >> bit % 8 & 1) != 0;
}

/* Those messages of @check whose offset, counted from its start, is a set bit. Returns how many. */
static uint32_t named_by(const struct pop_check *check, struct mq_str bits, uint32_t out[POP_MESSAGES_MAX])
{
    uint32_t n = 0;

    for (uint8_t i = 0; i < check->n; i++) {
        if (has_bit(bits, check->offsets[i])) {
            out[n++] = check->offsets[i];
        }
    }
    return n;
}

static int read_ack(struct mq_json *json, struct batch_ack *out)
{
    struct mq_str value;

    *out = (struct batch_ack){.start = -1, .pop_ms = -1, .queue_id = -1};
    while (mq_json_next(json) == MQ_JSON_KEY) {
        struct mq_str key = json->text;

        if (mq_json_scalar(json, &value) != 0) {
            return MQ_EBADMSG;
        }
        if (mq_str_eq(key, MQ_STR("c")) || mq_str_eq(key, MQ_STR("consumerGroup"))) {
            out->group = value;
        } else if (mq_str_eq(key, MQ_STR("t")) || mq_str_eq(key, MQ_STR("topic"))) {
            out->topic = value;
        } else if (mq_str_eq(key, MQ_STR("r")) || mq_str_eq(key, MQ_STR("retry"))) {
            out->retry = value;
        } else if (mq_str_eq(key, MQ_STR("b")) || mq_str_eq(key, MQ_STR("bitSet"))) {
            out->bits = value;
        } else if (mq_str_eq(key, MQ_STR("so")) || mq_str_eq(key, MQ_STR("startOffset"))) {
            (void)mq_str_to_i64(value, &out->start);
        } else if (mq_str_eq(key, MQ_STR("pt")) || mq_str_eq(key, MQ_STR("popTime"))) {
            (void)mq_str_to_i64(value, &out->pop_ms);
        } else if (mq_str_eq(key, MQ_STR("q")) || mq_str_eq(key, MQ_STR("queueId"))) {
            (void)mq_str_to_i32(value, &out->queue_id);
        } else if (mq_str_eq(key, MQ_STR("rq")) || mq_str_eq(key, MQ_STR("reviveQueueId"))) {
            (void)mq_str_to_i32(value, &out->revive_queue);
        }
    }
    return json->kind == MQ_JSON_OBJECT_END ? 0 : MQ_EBADMSG;
}

static bool is_named(void *data, uint32_t bit)
{
    return has_bit(*(const struct mq_str *)data, bit);
}

static int carry_out_in_order(struct context *ctx, const struct batch_ack *ack)
{
    struct mq_str bits = ack->bits;
    const struct pop_order_acks acks = {ack->group, ack->topic, ack->queue_id, ack->pop_ms,
                                        ack->start, is_named,   &bits};

    return is_base64(bits) ? pop_order_ack_many(ctx, &acks) : 0;
}

/* Proposes what is there to acknowledge; @last waits for it. Returns 1 when something was proposed, 0, or an error.
 */
static int carry_out(struct context *ctx, const struct batch_ack *ack, const struct sequencer_pending *p)
{
    Raftmq__PopAck item = RAFTMQ__POP_ACK__INIT;
    char retry[POP_RETRY_TOPIC_MAX + 1];
    uint32_t offsets[POP_MESSAGES_MAX];
    struct mq_str topic = ack->topic;
    struct pop_check *check;
    int rc;

    if (mq_str_eq(ack->retry, MQ_STR("1"))) {
        topic = (struct mq_str){retry, pop_retry_topic(ack->group, ack->topic, retry)};
    }
    if (ack->revive_queue == POP_REVIVE_ORDERED) {
        return carry_out_in_order(ctx, ack);
    }
    check = check_of(ctx, ack->group, topic, ack->queue_id, ack->start, ack->pop_ms);
    item.n_offsets = check != NULL && is_base64(ack->bits) ? named_by(check, ack->bits, offsets) : 0;
    if (item.n_offsets == 0) {
        return 0;
    }
    item.group = (char *)check->key.queue->group.at;
    item.topic = (char *)check->key.queue->topic.at;
    item.queue_id = ack->queue_id;
    item.start = ack->start;
    item.pop_ms = ack->pop_ms;
    item.offsets = offsets;
    rc = propose_item(ctx, COMMAND_POP_ACK, &item.base, p);
    return rc != 0 ? rc : 1;
}

/* Reads the body; calls @each of "acks". Returns how many there are, or MQ_EBADMSG, or what @each said. */
static int read_batch(struct context *ctx, char *body, size_t n, const struct sequencer_pending *p)
{
    struct mq_json json;
    uint32_t acks = 0;

    mq_json_init(&json, body, n);
    if (mq_json_next(&json) != MQ_JSON_OBJECT_BEGIN) {
        return MQ_EBADMSG;
    }
    while (mq_json_next(&json) == MQ_JSON_KEY) {
        if (!mq_str_eq(json.text, MQ_STR("acks"))) {
            if (mq_json_skip(&json) != 0) {
                return MQ_EBADMSG;
            }
            continue;
        }
        if (mq_json_next(&json) != MQ_JSON_ARRAY_BEGIN) {
            return MQ_EBADMSG;
        }
        while (mq_json_next(&json) == MQ_JSON_OBJECT_BEGIN) {
            struct batch_ack ack;
            int rc = read_ack(&json, &ack);

            if (rc == 0) {
                rc = carry_out(ctx, &ack, p);
            }
            if (rc < 0 || ++acks > BATCH_MAX) {
                return rc < 0 ? rc : MQ_ETOOBIG;
            }
        }
        if (json.kind != MQ_JSON_ARRAY_END) {
            return MQ_EBADMSG;
        }
    }
    return json.kind == MQ_JSON_OBJECT_END ? (int)acks : MQ_EBADMSG;
}

void pop_batch_ack(struct context *ctx, struct net_channel *ch, struct proto_command *cmd)
{
    struct reply_to to = reply_to_of(ch, cmd);
    struct sequencer_pending pending = pending_for(&to, answer_done, ctx);
    char *body = mq_strndup((const char *)cmd->body, cmd->body_bytes);
    Raftmq__PopAck nothing = RAFTMQ__POP_ACK__INIT;
    int acks;
    int rc;

    if (body == NULL) {
        reply_failed(&to, MQ_ENOMEM);
        return;
    }
    acks = read_batch(ctx, body, cmd->body_bytes, NULL);
    mq_free(body);
    if (acks == 0) {
        reply_error(&to, RESP_NO_MESSAGE, "acks is empty");
        return;
    }
    if (acks == MQ_EBADMSG || acks == MQ_ETOOBIG) {
        reply_error(&to, RESP_SYSTEM_ERROR, "the body of %u bytes is no batch of up to %u acknowledgements",
                    cmd->body_bytes, BATCH_MAX);
        return;
    }
    if (acks < 0) {
        reply_failed(&to, acks);
        return;
    }
    /* Behind all of them in the log: when this one is applied, so are they. */
    nothing.group = (char *)"";
    nothing.topic = (char *)"";
    rc = propose_item(ctx, COMMAND_POP_ACK, &nothing.base, &pending);
    if (rc != 0) {
        reply_failed(&to, rc);
    }
}
