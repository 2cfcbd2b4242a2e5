/* How items change the state: rows of fsm.c's table, by what they are about. Each is an apply_item_fn. */
#ifndef BROKER_STATE_ITEMS_H
#define BROKER_STATE_ITEMS_H

#include "broker/state/apply.h"

#define ITEM(name) int name(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)

/* topic_items.c */
ITEM(apply_topic_put);
ITEM(apply_topic_delete);
/* group_items.c */
ITEM(apply_group_put);
ITEM(apply_group_delete);
ITEM(apply_group_forbidden);
ITEM(apply_request_mode_put);
/* offset_items.c */
ITEM(apply_offset_commit);
ITEM(apply_offsets_reset);
ITEM(apply_reset_taken);
ITEM(apply_offsets_clone);

#undef ITEM

#endif
