/* Batches of messages that were popped in order: of a queue one batch at a time, and nothing behind it while somebody
 * holds a part of it. What is not acknowledged in time is handed out again, in its order and before anything else.
 * Replicated; loop thread.
 *
 * The group's offset of the queue is that of the first message of the batch that is not acknowledged. A batch of
 * which all is acknowledged is gone. */
#ifndef BROKER_STATE_ORDER_TABLE_H
#define BROKER_STATE_ORDER_TABLE_H

#include "broker/state/apply.h"
#include "broker/state/due_heap.h"
#include "broker/state/pop_table.h"
#include "broker/state/row_table.h"
#include "broker/state/section.h"

struct Raftmq__OrderRows;

struct order_batch {
    struct table_row row; /* key: group, topic, queue id */
    int32_t queue_id;
    uint64_t start, next; /* what the group's offset was when it was handed out first; where what is behind begins */
    int64_t pop_ms;       /* of the last time that some of it was handed out */
    uint64_t attempt;     /* who got it then; 0: nobody said */
    uint32_t steps;       /* changes of this row: a leader sees by it whether it is as it was */
    uint32_t acked;       /* bit i: message i */
    uint8_t n;
    uint32_t offsets[POP_MESSAGES_MAX]; /* counted from start, ascending */
    int64_t until_ms[POP_MESSAGES_MAX]; /* held until then; 0: nobody holds it */
    uint32_t counts[POP_MESSAGES_MAX];  /* how often it was handed out before */
    struct due due;                     /* when nobody holds any of it; never once that was told */
};

struct order_table {
    struct row_table rows;
    struct due_heap due;
};

void order_table_init(struct order_table *table);
void order_table_fini(struct order_table *table);

/* NULL: none. */
struct order_batch *order_table_find(const struct order_table *table, struct mq_str group, struct mq_str topic,
                                     int32_t queue_id);

/* The same, of the batch that a handle with @pop_ms is of; NULL, too, when that is over. */
struct order_batch *order_table_find_popped(const struct order_table *table, struct mq_str group, struct mq_str topic,
                                            int32_t queue_id, int64_t pop_ms);

static inline struct mq_str order_group(const struct order_batch *batch)
{
    return mq_str_of(row_first_name(&batch->row));
}

static inline struct mq_str order_topic(const struct order_batch *batch)
{
    return mq_str_of(row_next_name(row_first_name(&batch->row)));
}

static inline uint64_t order_qoff(const struct order_batch *batch, uint32_t i)
{
    return batch->start + batch->offsets[i];
}

/* Bits of the messages that are still to be acknowledged: where the group's offset @committed was moved over some
 * from outside, those are not. */
uint32_t order_open(const struct order_batch *batch, int64_t committed);
/* Bit of message @qoff, acknowledged or not; 0: not of this batch. */
uint32_t order_bit(const struct order_batch *batch, uint64_t qoff);
/* Whether somebody holds one of @open at wall time @now_ms, and is not who makes @attempt (0: nobody is). */
bool order_is_held(const struct order_batch *batch, uint32_t open, uint64_t attempt, int64_t now_ms);
/* An attempt id as it is compared; 0 for none. */
uint64_t order_attempt(struct mq_str id);

/* Leader: the batch that is free next, or NULL; that it was told of; all are to be told of anew. */
struct order_batch *order_table_first_due(const struct order_table *table);
void order_table_note_told(struct order_table *table, struct order_batch *batch);
void order_table_forget_told(struct order_table *table);
/* The latest pop time of any batch, 0 without one. */
int64_t order_table_last_pop_ms(const struct order_table *table);

/* Apply. */
void order_table_drop_topic(struct order_table *table, const char *topic);
void order_table_drop_group(struct order_table *table, const char *group);
void order_table_drop_queue(struct order_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id);
/* The row, made when missing: changing is called. Returns 0, MQ_ENOMEM, or MQ_ETOOBIG (names too long). */
int order_table_change(struct order_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                       struct order_batch **out);
/* It was changed: one more step. */
void order_table_changed(struct order_table *table, struct order_batch *batch);

int order_table_restore(struct order_table *table, const struct Raftmq__OrderRows *rows);

/* Items; see apply.h. order_items.c */
int order_apply_take(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int order_apply_ack(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int order_apply_change(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);

#endif
