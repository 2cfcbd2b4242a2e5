/* Items of batches that are popped in order. Names longer than any client may use change nothing, on every member. */
#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

static bool is_sound(const Raftmq__OrderTake *item)
{
    uint64_t end = (uint64_t)item->start;

    if (item->start < 0 || item->next < item->start || item->n_offsets > POP_MESSAGES_MAX || item->pop_ms == 0 ||
        (item->again && item->n_offsets == 0)) {
        return false;
    }
    for (size_t i = 0; i < item->n_offsets; i++) {
        if ((uint64_t)item->start + item->offsets[i] < end) {
            return false;
        }
        end = (uint64_t)item->start + item->offsets[i] + 1;
    }
    return (uint64_t)item->next >= end;
}

/* Whether everything is as the leader saw it when it chose what to hand out. */
static bool is_as_seen(const Raftmq__OrderTake *item, const struct order_batch *batch, int64_t committed)
{
    if (RAFTMQ_DEFECT(ORDER_TAKEN_UNSEEN)) {
        return item->again == (batch != NULL);
    }
    return item->seen_offset == committed && item->seen_pop_ms == (batch != NULL ? batch->pop_ms : 0) &&
           item->seen_steps == (batch != NULL ? batch->steps : 0);
}

/* A new batch. */
static void begin(struct order_batch *batch, const Raftmq__OrderTake *item)
{
    batch->start = (uint64_t)item->start;
    batch->next = (uint64_t)item->next;
    batch->n = (uint8_t)item->n_offsets;
    batch->acked = 0;
    for (size_t i = 0; i < item->n_offsets; i++) {
        batch->offsets[i] = item->offsets[i];
        batch->until_ms[i] = item->until_ms;
        batch->counts[i] = 0;
    }
}

/* Some of a batch that is there. What lies before them and was open is gone from the log; what lies behind is free.
 */
static void repeat(struct order_batch *batch, const Raftmq__OrderTake *item)
{
    bool same = item->attempt != 0 && item->attempt == batch->attempt;
    uint64_t first = (uint64_t)item->start + item->offsets[0];

    for (uint32_t i = 0; i < batch->n; i++) {
        batch->until_ms[i] = 0;
        if (order_qoff(batch, i) < first) {
            batch->acked |= 1u << i;
        }
    }
    for (size_t k = 0; k < item->n_offsets; k++) {
        uint32_t bit = order_bit(batch, (uint64_t)item->start + item->offsets[k]);
        uint32_t i = (uint32_t)__builtin_ctz(bit);

        batch->until_ms[i] = item->until_ms;
        batch->counts[i] += same ? 0 : 1;
    }
}

static bool has_all(const struct order_batch *batch, const Raftmq__OrderTake *item)
{
    for (size_t i = 0; i < item->n_offsets; i++) {
        uint32_t bit = order_bit(batch, (uint64_t)item->start + item->offsets[i]);

        if (bit == 0 || (batch->acked & bit) != 0) {
            return false;
        }
    }
    return true;
}

static int take(struct state *state, const Raftmq__OrderTake *item)
{
    struct mq_str group = mq_str_of(item->group), topic = mq_str_of(item->topic);
    struct order_batch *batch;
    int rc;

    if (item->n_offsets == 0) { /* the filter left all out */
        order_table_drop_queue(&state->orders, group, topic, item->queue_id);
        return offset_table_put(&state->offsets, group, topic, item->queue_id, item->next);
    }
    rc = order_table_change(&state->orders, group, topic, item->queue_id, &batch);
    if (rc != 0) {
        return rc;
    }
    if (item->again) {
        repeat(batch, item);
    } else {
        begin(batch, item);
    }
    batch->pop_ms = item->pop_ms;
    batch->attempt = item->attempt;
    order_table_changed(&state->orders, batch);
    return offset_table_put(&state->offsets, group, topic, item->queue_id, item->start);
}

/* A topic that was deleted has nothing to be handed out, and the offset of a reset stands until it was told. */
int order_apply_take(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__OrderTake *item = (const Raftmq__OrderTake *)message;
    struct mq_str group = mq_str_of(item->group), topic = mq_str_of(item->topic);
    const struct order_batch *batch = order_table_find(&state->orders, group, topic, item->queue_id);
    int rc;

    (void)scope;
    if (!is_sound(item)) {
        return MQ_EBADMSG;
    }
    if (topic_table_find(&state->topics, topic) == NULL ||
        reset_table_get(&state->resets, group, topic, item->queue_id) >= 0 ||
        !is_as_seen(item, batch, offset_table_get(&state->offsets, group, topic, item->queue_id))) {
        return 0;
    }
    if (item->again && (batch == NULL || !has_all(batch, item))) {
        return RAFTMQ_DEFECT(ORDER_TAKEN_UNSEEN) ? 0 : MQ_EBADMSG;
    }
    rc = take(state, item);
    return rc == MQ_ETOOBIG ? 0 : rc;
}

/* The group's offset follows; it is never moved back, as somebody else may have moved it on. */
static int move_offset(struct state *state, const Raftmq__OrderAck *item, uint64_t to)
{
    struct mq_str group = mq_str_of(item->group), topic = mq_str_of(item->topic);
    int64_t committed = offset_table_get(&state->offsets, group, topic, item->queue_id);

    if (RAFTMQ_DEFECT(ORDER_ACK_MOVES_OFFSET) && item->n_offsets != 0) {
        to = item->offsets[item->n_offsets - 1] + 1;
    }
    return (int64_t)to > committed ? offset_table_put(&state->offsets, group, topic, item->queue_id, (int64_t)to) : 0;
}

int order_apply_ack(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__OrderAck *item = (const Raftmq__OrderAck *)message;
    struct order_batch *batch = order_table_find_popped(&state->orders, mq_str_of(item->group),
                                                        mq_str_of(item->topic), item->queue_id, item->pop_ms);
    uint32_t bits = 0, open;
    int rc;

    (void)scope;
    for (size_t i = 0; batch != NULL && i < item->n_offsets; i++) {
        bits |= order_bit(batch, item->offsets[i]);
    }
    if (batch == NULL || (bits & ~batch->acked) == 0) {
        return 0;
    }
    rc = order_table_change(&state->orders, mq_str_of(item->group), mq_str_of(item->topic), item->queue_id, &batch);
    if (rc != 0) {
        return rc;
    }
    batch->acked |= bits;
    open = order_open(batch, -1);
    rc = move_offset(state, item, open != 0 ? order_qoff(batch, (uint32_t)__builtin_ctz(open)) : batch->next);
    order_table_changed(&state->orders, batch);
    if (open != 0) {
        return rc;
    }
    order_table_drop_queue(&state->orders, mq_str_of(item->group), mq_str_of(item->topic), item->queue_id);
    if (state->news.order_freed != NULL) {
        state->news.order_freed(state->news.data, mq_str_of(item->group), mq_str_of(item->topic), item->queue_id);
    }
    return rc;
}

int order_apply_change(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__OrderChange *item = (const Raftmq__OrderChange *)message;
    struct order_batch *batch = order_table_find_popped(&state->orders, mq_str_of(item->group),
                                                        mq_str_of(item->topic), item->queue_id, item->pop_ms);
    uint32_t bit = batch != NULL ? order_bit(batch, item->offset) & ~batch->acked : 0;
    int rc;

    (void)scope;
    if (bit == 0) {
        return 0;
    }
    rc = order_table_change(&state->orders, mq_str_of(item->group), mq_str_of(item->topic), item->queue_id, &batch);
    if (rc == 0) {
        batch->until_ms[__builtin_ctz(bit)] = item->until_ms;
        order_table_changed(&state->orders, batch);
    }
    return rc;
}
