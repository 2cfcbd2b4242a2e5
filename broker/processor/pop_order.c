#include "broker/processor/pop_order.h"

#include "broker/processor/processors.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>

/* --- taking --- */

void pop_order_fill(const struct pop_look *look, struct bundle_part parts[POP_PARTS_MAX],
                    Raftmq__OrderTake items[POP_PARTS_MAX])
{
    for (uint32_t i = 0; i < look->n_parts; i++) {
        struct pop_part *part = &look->parts[i];
        Raftmq__OrderTake *item = &items[i];

        *item = (Raftmq__OrderTake)RAFTMQ__ORDER_TAKE__INIT;
        item->group = (char *)part->queue->group.at;
        item->topic = (char *)part->queue->topic.at;
        item->queue_id = part->queue->queue_id;
        item->start = (int64_t)part->start;
        item->offsets = part->offsets;
        item->n_offsets = part->n;
        item->next = (int64_t)part->next;
        item->pop_ms = look->pop_ms;
        item->until_ms = look->until_ms;
        item->attempt = look->attempt;
        item->again = part->again;
        item->seen_offset = part->seen_offset;
        item->seen_pop_ms = part->seen_pop_ms;
        item->seen_steps = part->seen_steps;
        parts[i] = (struct bundle_part){.kind = BUNDLE_ITEM, .type = COMMAND_ORDER_TAKE, .item = &item->base};
    }
}

/* What the part's item has made; NULL: nothing. A pop time is given once. */
static const struct order_batch *batch_of(const struct pop_look *look, const struct pop_part *part)
{
    return order_table_find_popped(&look->ctx->state->orders, part->queue->group, part->queue->topic,
                                   part->queue->queue_id, look->pop_ms);
}

bool pop_order_settle(struct pop_look *look)
{
    bool any = false;

    for (uint32_t i = 0; i < look->n_parts; i++) {
        struct pop_part *part = &look->parts[i];

        if (part->n != 0 && batch_of(look, part) == NULL) {
            pop_look_drop(look, part);
            any = true;
        }
    }
    return any;
}

int pop_order_counts(const struct pop_look *look, struct mq_buf *counts)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < look->n_parts; i++) {
        const struct pop_part *part = &look->parts[i];
        const struct order_batch *batch = part->n != 0 ? batch_of(look, part) : NULL;
        uint32_t least = UINT32_MAX;

        for (uint32_t k = 0; batch != NULL && rc == 0 && k < part->n; k++) {
            uint64_t qoff = part->start + part->offsets[k];
            uint32_t bit = order_bit(batch, qoff);
            uint32_t count = bit != 0 ? batch->counts[__builtin_ctz(bit)] : 0;

            least = count < least ? count : least;
            if (count != 0) {
                rc = mq_buf_printf(counts, "%s0 qo%d%%%" PRIu64 " %" PRIu32, counts->len != 0 ? ";" : "",
                                   part->queue->queue_id, qoff, count);
            }
        }
        if (batch != NULL && rc == 0) {
            rc = mq_buf_printf(counts, "%s0 %d %" PRIu32, counts->len != 0 ? ";" : "", part->queue->queue_id, least);
        }
    }
    return rc;
}

/* --- acknowledging --- */

static void fill_ack(Raftmq__OrderAck *item, const struct order_batch *batch, uint64_t *offsets, size_t n)
{
    *item = (Raftmq__OrderAck)RAFTMQ__ORDER_ACK__INIT;
    item->group = (char *)order_group(batch).at;
    item->topic = (char *)order_topic(batch).at;
    item->queue_id = batch->queue_id;
    item->pop_ms = batch->pop_ms;
    item->offsets = offsets;
    item->n_offsets = n;
}

void pop_order_ack(struct context *ctx, const struct reply_to *to, const struct proto_pop_ack_header *header,
                   const struct pop_handle *handle)
{
    struct sequencer_pending pending = pending_for(to, answer_done, ctx);
    const struct order_batch *batch = order_table_find_popped(&ctx->state->orders, header->consumer_group,
                                                              header->topic, header->queue_id, handle->pop_ms);
    uint64_t qoff = (uint64_t)header->qoff;
    Raftmq__OrderAck item;
    int rc;

    if (batch == NULL || header->qoff < offset_table_get(&ctx->state->offsets, header->consumer_group, header->topic,
                                                         header->queue_id)) {
        reply_code(to, RESP_SUCCESS); /* acknowledged before, or it is somebody else's by now */
        return;
    }
    if (order_bit(batch, qoff) == 0) {
        reply_error(to, RESP_MESSAGE_ILLEGAL,
                    "offset %" PRId64 ": it is not among the %u messages of this receipt handle's batch",
                    header->qoff, batch->n);
        return;
    }
    if ((batch->acked & order_bit(batch, qoff)) != 0) {
        reply_code(to, RESP_SUCCESS);
        return;
    }
    fill_ack(&item, batch, &qoff, 1);
    rc = propose_item(ctx, COMMAND_ORDER_ACK, &item.base, &pending);
    if (rc != 0) {
        reply_failed(to, rc);
    }
}

int pop_order_ack_many(struct context *ctx, const struct pop_order_acks *acks)
{
    const struct order_batch *batch =
        order_table_find_popped(&ctx->state->orders, acks->group, acks->topic, acks->queue_id, acks->pop_ms);
    uint64_t offsets[POP_MESSAGES_MAX];
    Raftmq__OrderAck item;
    size_t n = 0;
    int rc;

    for (uint32_t i = 0; batch != NULL && acks->start >= 0 && i < batch->n; i++) {
        uint64_t qoff = order_qoff(batch, i), away = qoff - (uint64_t)acks->start;

        if ((batch->acked >> i & 1) == 0 && qoff >= (uint64_t)acks->start && away <= UINT32_MAX &&
            acks->has(acks->data, (uint32_t)away)) {
            offsets[n++] = qoff;
        }
    }
    if (n == 0) {
        return 0;
    }
    fill_ack(&item, batch, offsets, n);
    rc = propose_item(ctx, COMMAND_ORDER_ACK, &item.base, NULL);
    return rc != 0 ? rc : 1;
}

/* --- keeping longer --- */

struct order_change {
    struct context *ctx;
    struct reply_to to;  /* with a reference to its channel */
    char *group, *topic; /* owned */
    int32_t queue_id;
    uint64_t qoff;
    int64_t pop_ms, until_ms;
};

static void change_end(struct order_change *job)
{
    reply_to_release(&job->to);
    mq_free(job->group);
    mq_free(job->topic);
    mq_free(job);
}

static void refuse_over(const struct reply_to *to, uint64_t qoff)
{
    reply_error(to, RESP_NO_MESSAGE,
                "offset %" PRIu64 ": this receipt handle is over, or the message is acknowledged", qoff);
}

static void answer_change(const struct order_change *job)
{
    const struct proto_pop_change_response_header header = {
        .pop_ms = job->pop_ms, .invisible_ms = job->until_ms - job->pop_ms, .revive_queue = POP_REVIVE_ORDERED};
    struct proto_writer w;

    if (reply_begin(&job->to, &w, RESP_SUCCESS, (struct mq_str){0})) {
        proto_pop_change_response_header_encode(&w, &header);
        reply_end(&job->to, &w, NULL, 0);
    }
}

static void on_changed(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct order_change *job = p->data;
    const struct order_batch *batch = order_table_find_popped(&job->ctx->state->orders, mq_str_of(job->group),
                                                              mq_str_of(job->topic), job->queue_id, job->pop_ms);
    uint32_t bit = batch != NULL ? order_bit(batch, job->qoff) & ~batch->acked : 0;

    if (outcome->status != 0) {
        reply_failed(&job->to, outcome->status);
    } else if (bit == 0 || batch->until_ms[__builtin_ctz(bit)] != job->until_ms) {
        refuse_over(&job->to, job->qoff); /* what was in the log before has ended it */
    } else {
        answer_change(job);
    }
    change_end(job);
}

static int propose_change(struct order_change *job)
{
    const struct sequencer_pending pending = {.done = on_changed, .data = job};
    Raftmq__OrderChange item = RAFTMQ__ORDER_CHANGE__INIT;

    item.group = job->group;
    item.topic = job->topic;
    item.queue_id = job->queue_id;
    item.pop_ms = job->pop_ms;
    item.offset = job->qoff;
    item.until_ms = job->until_ms;
    return propose_item(job->ctx, COMMAND_ORDER_CHANGE, &item.base, &pending);
}

void pop_order_change(struct context *ctx, const struct reply_to *to, const struct proto_pop_ack_header *header,
                      const struct pop_handle *handle)
{
    const struct order_batch *batch = order_table_find_popped(&ctx->state->orders, header->consumer_group,
                                                              header->topic, header->queue_id, handle->pop_ms);
    struct order_change *job;
    int rc;

    if (batch == NULL || (order_bit(batch, (uint64_t)header->qoff) & ~batch->acked) == 0) {
        refuse_over(to, (uint64_t)header->qoff);
        return;
    }
    job = mq_calloc(1, sizeof(*job));
    if (job == NULL) {
        reply_failed(to, MQ_ENOMEM);
        return;
    }
    job->ctx = ctx;
    job->to = *to;
    reply_to_keep(to);
    job->group = mq_strndup(header->consumer_group.at, header->consumer_group.len);
    job->topic = mq_strndup(header->topic.at, header->topic.len);
    job->queue_id = header->queue_id;
    job->qoff = (uint64_t)header->qoff;
    job->pop_ms = handle->pop_ms;
    job->until_ms = mq_clock_wall_ms() + header->invisible_ms;
    rc = job->group != NULL && job->topic != NULL ? propose_change(job) : MQ_ENOMEM;
    if (rc != 0) {
        reply_failed(to, rc);
        change_end(job);
    }
}
