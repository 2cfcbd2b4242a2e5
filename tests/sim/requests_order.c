/* Requests that pop in order, as broker/processor/pop_look.c and pop_order.c propose them. A number of an operation
 * takes the place of the pop time. */
#include "tests/sim/requests_inside.h"

#include "broker/state/bundle.h"
#include "broker/state/command.pb-c.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#define GROUP MQ_STR("o")
#define TAKE_MAX 6u

static struct order_batch *batch_of(struct member_run *run, const struct op *op)
{
    return order_table_find(&run->state.orders, GROUP, mq_str_of(history_topic_name(op->topic)), (int32_t)op->queue);
}

static void end_taking(struct member_run *run, struct op *op)
{
    struct pop_queue *queue =
        pop_table_queue(&run->state.pops, GROUP, mq_str_of(history_topic_name(op->topic)), (int32_t)op->queue);

    if (op->leads == run->state.pops.leads) {
        queue->taking--;
    }
    pop_table_release(&run->state.pops, queue);
}

static void on_taken(struct sequencer_pending *p, const struct sequencer_outcome *outcome)
{
    struct op *op = p->data;
    struct member_run *run = op->node->run;

    if (run != NULL) {
        const struct order_batch *batch = batch_of(run, op);

        op->told = batch != NULL && batch->pop_ms == (int64_t)op->id;
        end_taking(run, op);
    }
    request_answer(op, run, outcome->status);
}

/* What is next in the queue: of the batch that is open, or behind it. Returns 0, or MQ_ENOTFOUND for nothing. */
static int look(struct member_run *run, const struct op *op, struct queue *queue, Raftmq__OrderTake *item)
{
    const struct order_batch *batch = batch_of(run, op);
    uint32_t open = batch != NULL ? order_open(batch, item->seen_offset) : 0;
    uint64_t start = item->seen_offset < 0 ? 0 : (uint64_t)item->seen_offset;

    if (batch != NULL) {
        item->seen_pop_ms = batch->pop_ms;
        item->seen_steps = batch->steps;
        if (order_is_held(batch, open, item->attempt, mq_clock_wall_ms())) {
            return MQ_ENOTFOUND;
        }
    }
    for (; open != 0 && item->n_offsets < TAKE_MAX; open &= open - 1) {
        uint64_t qoff = order_qoff(batch, (uint32_t)__builtin_ctz(open));

        if (qoff < queue->cq.min && !rlog_is_whole(run->log)) {
            return MQ_ENOTFOUND; /* others have it */
        }
        if (qoff >= queue->cq.min) {
            item->start = item->n_offsets == 0 ? (int64_t)qoff : item->start;
            item->offsets[item->n_offsets++] = (uint32_t)(qoff - (uint64_t)item->start);
        }
    }
    item->again = item->n_offsets != 0;
    if (item->again) {
        item->next = (int64_t)batch->next;
        return 0;
    }
    if (start < queue->cq.min && !rlog_is_whole(run->log)) {
        return MQ_ENOTFOUND;
    }
    start = start < queue->cq.min ? queue->cq.min : start;
    start = batch != NULL && start < batch->next ? batch->next : start; /* what is there of it is acknowledged */
    item->start = (int64_t)start;
    while (item->n_offsets < TAKE_MAX && start + item->n_offsets < queue->cq.max) {
        item->offsets[item->n_offsets] = (uint32_t)item->n_offsets;
        item->n_offsets++;
    }
    item->next = (int64_t)(start + item->n_offsets);
    return item->n_offsets != 0 ? 0 : MQ_ENOTFOUND;
}

/* The queue, when something of it may be handed out. */
static struct queue *find_queue(struct member_run *run, const struct op *op)
{
    struct topic *topic = topic_table_find(&run->state.topics, mq_str_of(history_topic_name(op->topic)));
    uint64_t last, answered;

    sequencer_drafts_get(run->sequencer, &last, &answered);
    if (topic == NULL || run->deleted_in[op->topic] > answered) {
        return NULL;
    }
    return topic_queues_find(topic->queues, (int32_t)op->queue);
}

int submit_order(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = on_taken, .data = op};
    uint32_t offsets[POP_MESSAGES_MAX];
    struct queue *queue = find_queue(run, op);
    Raftmq__OrderTake item = RAFTMQ__ORDER_TAKE__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_ORDER_TAKE, .item = &item.base};
    struct pop_queue *pops;
    int rc = run->role.kind == RLOG_WRITABLE ? 0 : MQ_ENOTLEADER;

    if (rc != 0 || queue == NULL) {
        return rc != 0 ? rc : MQ_ENOTFOUND;
    }
    pops = pop_table_hold(&run->state.pops, GROUP, mq_str_of(history_topic_name(op->topic)), (int32_t)op->queue);
    item.group = (char *)pops->group.at;
    item.topic = (char *)pops->topic.at;
    item.queue_id = pops->queue_id;
    item.offsets = offsets;
    item.pop_ms = (int64_t)op->id;
    item.until_ms = mq_clock_wall_ms() + (int64_t)op->delay_ms;
    item.seen_offset = offset_table_get(&run->state.offsets, pops->group, pops->topic, pops->queue_id);
    rc = pops->taking == 0 ? look(run, op, queue, &item) : MQ_EBUSY;
    rc = rc == 0 ? bundle_add(run->sequencer, &run->store, &part, 1, &pending, 0) : rc;
    if (rc != 0) {
        pop_table_release(&run->state.pops, pops);
        return rc;
    }
    op->leads = run->state.pops.leads;
    pops->taking++;
    return 0;
}

/* The batch that the target has, with the message that is meant; NULL: it is over. */
static struct order_batch *held_by(struct member_run *run, const struct op *op, uint64_t *qoff)
{
    const struct op *target = history_op(op->target);
    struct order_batch *batch = batch_of(run, target);
    uint32_t bit;

    *qoff = target->first + op->bit;
    bit = batch != NULL && batch->pop_ms == (int64_t)target->id ? order_bit(batch, *qoff) : 0;
    return bit != 0 && (batch->acked & bit) == 0 ? batch : NULL;
}

int submit_order_ack(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = request_done, .data = op};
    Raftmq__OrderAck item = RAFTMQ__ORDER_ACK__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_ORDER_ACK, .item = &item.base};
    uint64_t qoff;
    struct order_batch *batch = held_by(run, op, &qoff);

    if (run->role.kind != RLOG_WRITABLE || batch == NULL) {
        return run->role.kind == RLOG_WRITABLE ? MQ_ENOTFOUND : MQ_ENOTLEADER;
    }
    item.group = (char *)order_group(batch).at;
    item.topic = (char *)order_topic(batch).at;
    item.queue_id = batch->queue_id;
    item.pop_ms = batch->pop_ms;
    item.offsets = &qoff;
    item.n_offsets = 1;
    return bundle_add(run->sequencer, &run->store, &part, 1, &pending, 0);
}

int submit_order_change(struct member_run *run, struct op *op)
{
    const struct sequencer_pending pending = {.done = request_done, .data = op};
    Raftmq__OrderChange item = RAFTMQ__ORDER_CHANGE__INIT;
    const struct bundle_part part = {.kind = BUNDLE_ITEM, .type = COMMAND_ORDER_CHANGE, .item = &item.base};
    uint64_t qoff;
    struct order_batch *batch = held_by(run, op, &qoff);

    if (run->role.kind != RLOG_WRITABLE || batch == NULL) {
        return run->role.kind == RLOG_WRITABLE ? MQ_ENOTFOUND : MQ_ENOTLEADER;
    }
    item.group = (char *)order_group(batch).at;
    item.topic = (char *)order_topic(batch).at;
    item.queue_id = batch->queue_id;
    item.pop_ms = batch->pop_ms;
    item.offset = qoff;
    item.until_ms = mq_clock_wall_ms() + (int64_t)op->delay_ms;
    return bundle_add(run->sequencer, &run->store, &part, 1, &pending, 0);
}
