/* What clients asked for and were told, and the log that must follow from it: every operation with its outcome, every
 * entry that was ever committed, and what the committed entries make of queues and offsets. The world's memory; may
 * be used from both sides. */
#ifndef SIM_HISTORY_H
#define SIM_HISTORY_H

#include "raft-log/core/member.h"
#include "raft-log/log/entry_codec.h"
#include "remoting/protocol/record.h"
#include "tests/sim/world/world.h"

#include <stdbool.h>
#include <stdint.h>

#define TOPICS 3 /* that clients use */
#define TOPIC_LEVELS 3u
#define TOPIC_TIMERS 4u
#define TOPIC_HALVES 5u
#define TOPIC_DISCARDED 6u
#define TOPIC_RETRY 7u /* of the first, with those of the others behind it */
#define TOPIC_BACK 10u /* where messages come again that the first group sent back; those of the others behind it */
#define TOPIC_DEAD 13u /* its dead letters; the same */
#define TOPICS_ALL 16u /* with those where messages wait, or come again */
#define BACK_QUEUES 2u
#define QUEUES 4 /* of each topic */
#define GROUPS 3
#define OP_BODY_MAX (60u << 10)

enum op_kind {
    OP_SEND,
    OP_BATCH,
    OP_OFFSET,
    OP_TOPIC,
    OP_LOCK,
    OP_UNLOCK,
    OP_DELETE,
    OP_WAIT,
    OP_RECALL,
    OP_PREPARE,
    OP_END,
    OP_POP,
    OP_ACK,
    OP_CHANGE,
    OP_BACK,
    OP_ORDER,
    OP_ORDER_ACK,
    OP_ORDER_CHANGE
};

#define OP_KINDS (OP_ORDER_CHANGE + 1)

#define HALF_TIMES_MAX 15u /* that a producer is asked */

enum half_wish { HALF_WISH_COMMIT = 1, HALF_WISH_ROLLBACK = 2 };

enum op_outcome {
    OP_WAITING,
    OP_ACKED,
    OP_REFUSED, /* definitely: it must never be committed */
    OP_UNKNOWN
};

struct node;
struct client;

struct op {
    uint64_t id; /* 1, 2, ...; in the bodies and items */
    enum op_kind kind;
    enum op_outcome outcome;
    int status; /* as the member answered */
    uint32_t topic, queue, group;
    uint32_t parts;      /* messages of a batch; 1 */
    uint32_t body_bytes; /* of each */
    uint64_t qoff, pos;  /* as acknowledged: of the first record */
    /* of OP_WAIT: a delay level, or a time of its own; OP_RECALL has the message in target; OP_BACK has both */
    uint32_t level;
    uint64_t delay_ms;
    int64_t due_ms;    /* by the clock of the leader that took it */
    uint64_t row_pos;  /* where it waits */
    uint64_t taken_in; /* term of the entry that it is in */
    bool ended, delivered;
    uint64_t ended_in;    /* entry */
    bool dropped;         /* its topic was gone when its time came */
    uint64_t recalled_by; /* the one operation that may */
    uint64_t target;
    bool dead; /* of OP_BACK: it is to become a dead letter */
    /* of OP_PREPARE: how it may end, how often its producer was asked; OP_END: how the one in target is to end */
    uint32_t end_wish, times; /* of enum half_wish */
    bool discarded, commit;
    /* of OP_POP and OP_CHANGE, which stand for their check points, over at due_ms; OP_ACK: a message of target */
    uint64_t first; /* queue offset */
    uint32_t n, acked, ack_wish, bit;
    bool open;
    bool took, told; /* of OP_ORDER: it has messages, by the log, and as it was answered; first and n are of those */
    uint32_t leads;  /* of the member, when it took the request */
    /* as committed */
    uint32_t parts_committed;
    uint64_t index, committed_qoff, committed_pos;
    /* on its way */
    struct client *client;
    struct node *node; /* the member that it was sent to */
    uint64_t instance; /* of its process */
    bool answered;     /* the answer is under way */
    uint32_t leader;   /* whom the member takes for the leader */
    uint64_t sent_ns;
    struct world_event event;
};

/* An entry that was committed. */
struct committed {
    uint64_t term, pos;
    uint32_t crc, payload_crc, bytes; /* of the header, of the payload; whole */
    uint32_t payload_bytes;
    uint64_t command; /* the last entry up to this one that is a command: the state is as of that */
    uint64_t seen_in; /* the term of the member that first knew it committed: not below the true one */
};

void history_reset(void);

struct op *history_op_new(void);
/* What a new operation is to be. Once. */
void history_op_is(struct op *op, enum op_kind kind);
struct op *history_op(uint64_t id); /* NULL */
uint64_t history_ops(void);

uint64_t history_last(void);    /* index of the last committed entry; 0 */
uint64_t history_end_pos(void); /* behind it */
const struct committed *history_at(uint64_t index);
uint64_t history_commands(void); /* committed entries that are no barriers or changes */
uint64_t history_records(void);
const struct membership *history_membership(void); /* as committed last; none before the founding */
uint64_t history_membership_index(void);
uint64_t history_log_start(void); /* position below which the group has dropped everything */
/* "t0" and so on, and the names of the topics where messages wait. */
const char *history_topic_name(uint32_t topic);
/* Whether messages wait, as committed; and the latest time that one of them waits for (may be NULL). */
bool history_waits(int64_t *due_ms);
/* Any that waits for a time of its own, and that nobody has recalled; NULL. @from: where to begin to look. */
struct op *history_recallable(uint64_t from);
/* A message that was acknowledged; NULL. */
struct op *history_sent(uint64_t from);
/* A transaction whose producer knows of it, mostly an open one; messages that somebody popped. NULL. */
struct op *history_prepared(uint64_t from, bool open);
struct op *history_popped(uint64_t from);
struct op *history_ordered(uint64_t from);
/* A topic is deleted and used again, and its queues begin at 0 then. These are of the queue as it is where the log
 * has been applied up to @applied: where the record with offset @qoff lies, and how many records lie below @pos. */
uint64_t history_record_pos(uint32_t topic, uint32_t queue, uint64_t qoff, uint64_t applied);
uint64_t history_records_below(uint32_t topic, uint32_t queue, uint64_t pos, uint64_t applied);
/* How many records the queue has in the end. */
uint64_t history_queue_end(uint32_t topic, uint32_t queue);
int64_t history_ordered_offset(uint32_t topic, uint32_t queue); /* of the group that pops in order; -1: none */
int64_t history_offset(uint32_t group, uint32_t topic, uint32_t queue); /* -1: none */

/* Entry history_last() + 1 is committed: checks its records and items against the operations. @payload is that of
 * @header. */
void history_commit(const struct rlog_header *header, const uint8_t *payload, uint64_t seen_in);

/* An operation was answered with success: it must be there, once, where the answer says. */
void history_acked(struct op *op);
/* At the end: every acknowledged one is there, no refused one is. */
void history_check_end(void);

/* The store address of a copy that operation @id asks for. */
struct proto_host waits_host_of(uint64_t id);

/* The offset that an operation commits, which goes up and down with its number. */
static inline int64_t history_offset_of_id(uint64_t id)
{
    return (int64_t)(id ^ 0x155555);
}

static inline uint64_t history_id_of_offset(int64_t offset)
{
    return (uint64_t)offset ^ 0x155555;
}

/* The body of message @part of an operation. */
void history_body(const struct op *op, uint32_t part, uint8_t *to);

/* Every entry that any member ever had: same index and term, same bytes. Returns whether this one agrees. */
bool history_same(const struct rlog_header *header);

#endif
