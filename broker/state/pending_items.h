/* What items about waiting messages do to the state. Apply's. */
#ifndef BROKER_STATE_PENDING_ITEMS_H
#define BROKER_STATE_PENDING_ITEMS_H

#include "broker/state/apply.h"
#include "broker/state/section.h"

int pending_apply_put(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int pending_apply_end(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int pending_apply_move(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);

extern const struct state_section pending_section; /* 11 */

#endif
