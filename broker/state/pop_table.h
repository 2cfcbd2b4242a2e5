/* Check points of POP consumption: which messages of a queue were handed out to whom, until when, and which of them
 * were acknowledged. Replicated: whoever leads next hands nothing out again before its time and forgets nothing.
 * Loop thread.
 *
 * The group's offset moves when messages are handed out, in the same item; from then on the check point alone knows
 * of those that are not acknowledged. A pop is answered when its item is applied, so nobody holds a message that the
 * log does not know of. */
#ifndef BROKER_STATE_POP_TABLE_H
#define BROKER_STATE_POP_TABLE_H

#include "broker/state/apply.h"
#include "broker/state/due_heap.h"
#include "broker/state/section.h"
#include "broker/state/table_copy.h"
#include "remoting/base/text.h"

#include <uthash.h>

#define POP_MESSAGES_MAX 32u /* of one check point: as many as a handle's bit set has */

/* A queue as one group pops it. Lives as long as it has check points or pops under way. */
struct pop_queue {
    char *key; /* owned: group NUL topic NUL queue id in 4 bytes */
    uint32_t key_bytes;
    struct mq_str group, topic; /* borrowed from key; a NUL follows each */
    int32_t queue_id;
    uint32_t checks, held;
    /* The leader's: while there are pops whose items are not applied yet, the next one begins at @taken. */
    uint32_t taking;
    uint64_t taken;
    uint64_t holds; /* messages handed out and not acknowledged */
    UT_hash_handle hh;
};

struct pop_key {
    struct pop_queue *queue;
    uint64_t start; /* queue offset */
    int64_t pop_ms;
};

struct pop_check {
    struct pop_key key;
    int64_t until_ms;
    uint32_t acked; /* bit i: offsets[i] */
    uint8_t n;
    bool reviving;  /* leader: it is under way */
    struct due due; /* at until_ms; never while it is being revived */
    uint64_t generation;
    UT_hash_handle hh;
    uint32_t offsets[]; /* counted from start, ascending */
};

struct pop_table {
    struct pop_check *by_key; /* in the order in which they came */
    struct pop_queue *queues;
    struct due_heap due;
    uint32_t count, reviving;
    uint64_t sum; /* of the fingerprints */
    struct table_copy copy;
    struct pop_check *looked; /* the last one that pop_table_pass was told of; NULL: none since the last rewind */
    /* The leader's: how often this member has begun to lead, and the pop time given last. What a job of an earlier
     * leadership had marked is not its own any more. */
    uint32_t leads;
    int64_t last_pop_ms;
};

void pop_table_init(struct pop_table *table);
void pop_table_fini(struct pop_table *table);

/* A queue of a group; hold makes it and keeps it until release. NULL: none, or no memory, or names too long. */
struct pop_queue *pop_table_queue(const struct pop_table *table, struct mq_str group, struct mq_str topic,
                                  int32_t queue_id);
struct pop_queue *pop_table_hold(struct pop_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id);
void pop_table_release(struct pop_table *table, struct pop_queue *queue);

struct pop_check *pop_table_find(const struct pop_table *table, struct pop_queue *queue, uint64_t start,
                                 int64_t pop_ms);
/* Bit of the message at queue offset @qoff; 0: the check point is of others, or this one is acknowledged. */
uint32_t pop_check_bit(const struct pop_check *check, uint64_t qoff);
static inline uint32_t pop_check_all(const struct pop_check *check)
{
    return check->n == 32 ? UINT32_MAX : (1u << check->n) - 1;
}

/* The one whose time is over next, or NULL. */
struct pop_check *pop_table_first_due(const struct pop_table *table);
/* Apply: the topic is deleted, and what is made under its name again begins at 0: its check points are over. */
void pop_table_drop_topic(struct pop_table *table, struct mq_str topic);
/* Leader. */
void pop_table_set_reviving(struct pop_table *table, struct pop_check *check, bool reviving);
/* One that is not being revived is due at wall time @at_ms, if that is later, and not when its time is over. Until
 * the next change of its being revived; never replicated. */
void pop_table_put_off(struct pop_table *table, struct pop_check *check, int64_t at_ms);
/* Retention's way through all check points, in the order in which they came: the next one, NULL behind the last one.
 * It stays the next one until it is passed or goes; those that come later come last. Rewind begins anew. */
struct pop_check *pop_table_next(const struct pop_table *table);
void pop_table_pass(struct pop_table *table, struct pop_check *check);
void pop_table_rewind(struct pop_table *table);
/* Leadership began: what an earlier one had under way is not any more. */
void pop_table_forget_leading(struct pop_table *table);
/* A pop time that no check point has, from the wall clock or a little later. */
int64_t pop_table_next_ms(struct pop_table *table, int64_t now_ms);

/* Items; see apply.h. */
int pop_apply_take(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int pop_apply_ack(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int pop_apply_change(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int pop_apply_revive(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);

extern const struct state_section pop_section;

#endif
