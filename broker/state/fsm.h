/* Applies committed entries: records to the store, items to the tables. Deterministic: no clock, no configuration,
 * the same on every member (I6). A record whose queue offset is not the next of its queue, or an item that does not
 * decode or is of an unknown type, stops the process: this member's state can no longer be trusted. */
#ifndef BROKER_STATE_FSM_H
#define BROKER_STATE_FSM_H

#include "broker/state/group_table.h"
#include "broker/state/lock_table.h"
#include "broker/state/offset_table.h"
#include "broker/state/topic_table.h"
#include "broker/store/store.h"
#include "raft-log/include/raftlog/fsm.h"

/* News for the layers above, set at assembly; any may be NULL. Loop thread. */
struct state_news {
    void *data;
    void (*topic_changed)(void *data, struct topic *topic);
    void (*group_changed)(void *data, struct group *group);
};

struct state {
    struct store *store; /* borrowed */
    struct topic_table topics;
    struct group_table groups;
    struct offset_table offsets;
    struct lock_table locks;
    struct state_news news;
    uint64_t applied_index;
    uint64_t records_applied, items_applied;
    struct topic_queues *last_topic; /* borrowed from the store: of the last record, often of the next one too */
};

int state_init(struct state *state, struct store *store);
void state_fini(struct state *state);

/* Applies one entry. Offsets and locks under names longer than any client may use change nothing, on every member. */
void state_apply(struct state *state, const struct rlog_entry *entry);

/* A hash of all replicated tables and of the ends of all queues, which does not depend on the order in which the
 * tables hold their rows: equal on all members at the same index. 64 bits against accidents, not against forgery. */
uint64_t state_hash(const struct state *state);

#endif
