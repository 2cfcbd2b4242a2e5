/* Offsets of groups: committed, reset, cloned. The last one in log order counts, also when it is smaller; a reset
 * stands until a consumer was told of it. Names longer than any client may use change nothing, on every member.
 *
 * Nor does an offset of a topic that is not there: it was one of the topic that is deleted in front of it in the log,
 * and would count for the next one under the name, which begins at 0. Behind the item that makes the next one no
 * offset of the former one can lie: a leader that has proposed a deletion proposes none for the name until it has
 * applied the deletion (topic_table_find_staying), and the next leader has applied it before it proposes anything. */
#include "broker/state/items.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

static bool is_there(struct state *state, struct mq_str topic)
{
    return topic_table_find(&state->topics, topic) != NULL;
}

static int unless_too_long(int rc)
{
    return rc == MQ_ETOOBIG ? 0 : rc;
}

int apply_offset_commit(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__OffsetCommit *item = (const Raftmq__OffsetCommit *)message;
    struct mq_str group = mq_str_of(item->group), topic = mq_str_of(item->topic);

    (void)scope;
    if (RAFTMQ_DEFECT(APPLY_ON_CLOCK) && mq_clock_mono_ms() % 16 == 0) {
        return 0;
    }
    if (RAFTMQ_DEFECT(OFFSET_ONLY_FORWARD) &&
        item->offset < offset_table_get(&state->offsets, group, topic, item->queue_id)) {
        return 0;
    }
    if (!is_there(state, topic)) {
        return 0;
    }
    if (reset_table_get(&state->resets, group, topic, item->queue_id) >= 0) {
        return 0; /* of a consumer that does not know of the reset yet */
    }
    return unless_too_long(offset_table_put(&state->offsets, group, topic, item->queue_id, item->offset));
}

int apply_offsets_reset(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__OffsetsReset *item = (const Raftmq__OffsetsReset *)message;
    struct mq_str group = mq_str_of(item->group), topic = mq_str_of(item->topic);
    int rc = item->n_queue_ids == item->n_offsets ? 0 : MQ_EBADMSG;

    (void)scope;
    for (size_t i = 0; rc == 0 && i < item->n_offsets; i++) {
        if (item->offsets[i] < 0) {
            return MQ_EBADMSG;
        }
        if (!is_there(state, topic)) {
            continue;
        }
        rc = reset_table_put(&state->resets, group, topic, item->queue_ids[i], item->offsets[i]);
        if (rc == 0) {
            rc = offset_table_put(&state->offsets, group, topic, item->queue_ids[i], item->offsets[i]);
        }
        order_table_drop_queue(&state->orders, group, topic, item->queue_ids[i]);
        if (rc == 0 && state->news.offset_reset != NULL) {
            state->news.offset_reset(state->news.data, topic, item->queue_ids[i]);
        }
        if (rc == 0 && state->news.order_freed != NULL) {
            state->news.order_freed(state->news.data, group, topic, item->queue_ids[i]);
        }
    }
    return unless_too_long(rc);
}

int apply_reset_taken(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__ResetTaken *item = (const Raftmq__ResetTaken *)message;

    (void)scope;
    reset_table_take(&state->resets, mq_str_of(item->group), mq_str_of(item->topic), item->queue_id, item->offset);
    return 0;
}

int apply_offsets_clone(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__OffsetsClone *item = (const Raftmq__OffsetsClone *)message;
    int rc = 0;

    (void)scope;
    for (size_t i = 0; rc == 0 && i < item->n_topics; i++) {
        struct mq_str topic = mq_str_of(item->topics[i]);

        if (is_there(state, topic)) {
            rc = unless_too_long(
                offset_table_clone(&state->offsets, mq_str_of(item->source), mq_str_of(item->target), topic));
        }
    }
    return rc;
}
