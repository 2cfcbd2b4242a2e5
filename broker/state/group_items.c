/* Consumer groups: made and changed, deleted; what they may not read, and how they ask. */
#include "broker/state/items.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "remoting/base/err.h"

int apply_group_put(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__GroupPut *item = (const Raftmq__GroupPut *)message;
    int rc = group_table_put(&state->groups, item, scope->entry->store_ms);

    if (rc == 0 && state->news.group_changed != NULL) {
        state->news.group_changed(state->news.data, group_table_find(&state->groups, mq_str_of(item->name)));
    }
    return rc;
}

int apply_group_delete(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__GroupDelete *item = (const Raftmq__GroupDelete *)message;

    group_table_delete(&state->groups, mq_str_of(item->name), scope->entry->store_ms);
    forbidden_table_drop_group(&state->forbidden, item->name);
    if (item->clean_offsets) {
        offset_table_drop_group(&state->offsets, mq_str_of(item->name));
        reset_table_drop_group(&state->resets, item->name);
        mode_table_drop_group(&state->modes, item->name);
        order_table_drop_group(&state->orders, item->name);
    }
    return 0;
}

/* Names longer than any client may use change nothing, on every member. */
static int unless_too_long(int rc)
{
    return rc == MQ_ETOOBIG ? 0 : rc;
}

int apply_group_forbidden(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__GroupForbidden *item = (const Raftmq__GroupForbidden *)message;

    (void)scope;
    return unless_too_long(
        forbidden_table_set(&state->forbidden, mq_str_of(item->group), mq_str_of(item->topic), item->read_forbidden));
}

int apply_request_mode_put(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__RequestModePut *item = (const Raftmq__RequestModePut *)message;

    (void)scope;
    if (topic_table_find(&state->topics, mq_str_of(item->topic)) == NULL) {
        return 0; /* it was of the topic that is deleted in front of this item: offset_items.c */
    }
    return unless_too_long(mode_table_put(&state->modes, item));
}
