/* Applies committed entries: records to the store, items to the tables. Deterministic: no clock, no configuration,
 * the same on every member (I6). A record whose queue offset is not the next of its queue, or an item that does not
 * decode or is of an unknown type, stops the process: this member's state can no longer be trusted. */
#ifndef BROKER_STATE_FSM_H
#define BROKER_STATE_FSM_H

#include "broker/state/apply.h"
#include "broker/state/deleted_table.h"
#include "broker/state/forbidden_table.h"
#include "broker/state/group_table.h"
#include "broker/state/half_table.h"
#include "broker/state/lock_table.h"
#include "broker/state/mode_table.h"
#include "broker/state/offset_table.h"
#include "broker/state/order_table.h"
#include "broker/state/pending_table.h"
#include "broker/state/pop_table.h"
#include "broker/state/reset_table.h"
#include "broker/state/topic_table.h"
#include "broker/store/store.h"
#include "raft-log/include/raftlog/fsm.h"

/* News for the layers above, set at assembly; any may be NULL. Loop thread. */
struct state_news {
    void *data;
    void (*topic_changed)(void *data, struct topic *topic);
    void (*group_changed)(void *data, struct group *group);
    void (*log_start_moved)(void *data, uint64_t pos);
    void (*topic_deleted)(void *data, struct mq_str name);
    void (*offset_reset)(void *data, struct mq_str topic, int32_t queue_id);
    /* Of a batch that was popped in order all is acknowledged: more of the queue may be handed out. */
    void (*order_freed)(void *data, struct mq_str group, struct mq_str topic, int32_t queue_id);
};

struct state {
    struct store *store; /* borrowed */
    struct topic_table topics;
    struct group_table groups;
    struct offset_table offsets;
    struct lock_table locks;
    struct half_table halves;
    struct pending_table pending;
    struct pop_table pops;
    struct order_table orders;
    struct deleted_table deleted;
    struct reset_table resets;
    struct mode_table modes;
    struct forbidden_table forbidden;
    struct state_news news;
    uint64_t applied_index;
    uint64_t log_start_pos;                  /* the group has dropped what lies below */
    int64_t first_store_ms;                  /* of the first entry with records; 0: none yet */
    uint64_t records_applied, items_applied; /* since the process started */
    struct topic_queues *last_topic; /* borrowed from the store: of the last record, often of the next one too */

    /* state_snapshot.c */
    struct queue *changed; /* queues whose ends are to be counted anew */
    uint64_t ends_sum;     /* of the fingerprints of queue ends */
    struct table_copy queue_copy;
    uint32_t queue_next; /* in the topic at queue_copy.next */
    uint32_t copying;    /* section that the walk is at */
    uint64_t restored_index;
};

int state_init(struct state *state, struct store *store);
void state_fini(struct state *state);

/* Applies one entry. Offsets and locks under names longer than any client may use change nothing, on every member. */
void state_apply(struct state *state, const struct rlog_entry *entry);

/* Whether a record of @topic at @pos is of a topic that was deleted since, also when the name was used again. */
bool state_record_is_deleted(const struct state *state, struct mq_str topic, uint64_t pos);

/* An entry older than all that is held (fsm.h, apply_before): only its records are looked at, the last one first.
 * What cannot be stops the process, as with state_apply. */
void state_apply_before(struct state *state, const struct rlog_entry *entry);

/* A hash of all replicated tables and of the ends of all queues, which does not depend on the order in which the
 * tables hold their rows: equal on all members at the same index, and at
 * later ones that change nothing. 64 bits against accidents, not against forgery. In
 * O(queues changed since the last time). */
uint64_t state_hash(struct state *state);
/* The same, counted anew from every row. */
uint64_t state_recount(struct state *state);

/* --- snapshots: what fsm.h asks for, under the same names; state_snapshot.c --- */

/* How many there are. */
uint32_t state_section_count(void);
uint32_t state_sections(struct state *state, struct rlog_section out[RLOG_SECTIONS_MAX]);
void state_snapshot_begin(struct state *state, struct rlog_sink *sink);
int state_snapshot_more(struct state *state);
void state_snapshot_end(struct state *state);
int state_restore_begin(struct state *state, const struct rlog_entry *entry, uint32_t crc,
                        const struct rlog_section *held, uint32_t n, struct mq_buf *problem);
int state_restore_rows(struct state *state, uint16_t id, const uint8_t *rows, size_t n, struct mq_buf *problem);
int state_restore_end(struct state *state, struct mq_buf *problem);

/* queue_table's changing: @data is the state. */
void state_queue_changing(void *data, struct queue *queue);
/* Parts of state_hash. */
uint64_t state_ends_hash(struct state *state);
uint64_t state_ends_recount(const struct state *state);
/* Whether @message or a part of it has fields that this program does not know. */
bool state_has_unknown_fields(const ProtobufCMessage *message);

#endif
