/* Topics: made and changed, deleted. */
#include "broker/state/items.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

int apply_topic_put(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__TopicConfigItem *config = ((const Raftmq__TopicPut *)message)->config;
    int rc;

    if (config == NULL) {
        return MQ_EBADMSG;
    }
    rc = topic_table_put(&state->topics, config, scope->entry->store_ms);
    if (rc == 0 && state->news.topic_changed != NULL) {
        state->news.topic_changed(state->news.data, topic_table_find(&state->topics, mq_str_of(config->name)));
    }
    return rc;
}

/* Whether any message of the topic that has the name now was ever applied. */
static bool has_records(const struct topic_queues *queues)
{
    for (uint32_t i = 0; queues != NULL && i < queues->n; i++) {
        if (queues->queues[i] != NULL && queues->queues[i]->cq.max != 0) {
            return true;
        }
    }
    return false;
}

/* Its name may have been used without a configuration, by offsets and by records that a former leader wrote: all of
 * it goes. A leader that has proposed the deletion has numbered what comes behind it from 0 already, so the queues
 * are told of every deletion. */
int apply_topic_delete(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    struct mq_str name = mq_str_of(((const Raftmq__TopicDelete *)message)->name);
    struct topic_queues *queues = queue_table_find(&state->store->queues, name);
    int rc = 0;

    if (has_records(queues)) {
        rc = deleted_table_put(&state->deleted, name, scope->pos);
    }
    if (rc == 0 && queues != NULL) {
        rc = store_delete_topic(state->store, queues, scope->pos);
    }
    if (rc != 0) {
        return rc;
    }
    offset_table_drop_topic(&state->offsets, name);
    reset_table_drop_topic(&state->resets, name.at);
    mode_table_drop_topic(&state->modes, name.at);
    pop_table_drop_topic(&state->pops, name);
    order_table_drop_topic(&state->orders, name.at);
    if (topic_table_delete(&state->topics, name, scope->entry->store_ms) && state->news.topic_deleted != NULL) {
        state->news.topic_deleted(state->news.data, name);
    }
    return 0;
}

bool state_record_is_deleted(const struct state *state, struct mq_str topic, uint64_t pos)
{
    return pos < deleted_table_pos(&state->deleted, topic);
}
