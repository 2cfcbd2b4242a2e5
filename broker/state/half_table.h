/* Open transactions: half messages that are neither committed nor rolled back. Replicated; what is finished leaves no
 * trace. Loop thread.
 *
 * A half message is known by the position that its producer got, for ever, even when retention has had the record
 * appended again elsewhere.
 *
 * Exactly one delivery. The copy that consumers get lies in the same entry as the HALF_END that ends the transaction.
 * Apply cannot leave out a record that is in the log, so the leader must not propose two ENDs for one transaction: it
 * marks the row before it proposes, refuses another END while the mark stands, and the row is gone when the first is
 * applied. A mark dies with leadership, and rightly so: before a node takes ENDs, all entries of former terms are
 * applied or lost to it (the barrier of its term), so a row that it still finds has no END under way. A job that was
 * begun before, and still waits for the disk, must not go on: it compares @leads. */
#ifndef BROKER_STATE_HALF_TABLE_H
#define BROKER_STATE_HALF_TABLE_H

#include "broker/state/apply.h"
#include "broker/state/due_heap.h"
#include "broker/state/section.h"
#include "broker/state/table_copy.h"
#include "remoting/base/text.h"

#include <uthash.h>

/* Names are few and halves many: each name is held once. */
struct half_group {
    char *name; /* owned; key */
    uint32_t rows;
    UT_hash_handle hh;
};

/* What the leader has under way for a row; never replicated. */
enum half_mark { HALF_MARK_ENDING = 1, HALF_MARK_CHECKING = 2, HALF_MARK_MOVING = 4 };

struct half {
    uint64_t pos;        /* key */
    uint64_t record_pos; /* where the record lies now */
    uint32_t crc;        /* CRC-32C of that record: what is copied from it is a record of its own */
    uint64_t qoff;       /* in the half topic, as the producer knows it */
    int64_t born_ms;     /* the producer's clock */
    int64_t next_ms;     /* when its producer is to be asked next; the leader's clock */
    struct half_group *group;
    uint32_t immunity_s;
    uint32_t times; /* that its producer was asked */
    uint8_t marks;  /* of enum half_mark */
    struct due due; /* at next_ms, or never while it is being ended or checked */
    uint64_t generation;
    UT_hash_handle hh;
};

struct half_table {
    struct half *by_pos; /* in the order in which they came */
    struct half_group *groups;
    struct due_heap due;
    uint32_t count, marked;
    uint32_t leads; /* how often this member has begun to lead: a job of an earlier time has lost its mark */
    uint64_t sum;   /* of the fingerprints */
    struct table_copy copy;
    struct half *looked; /* the last one that half_table_pass was told of; NULL: none since the last rewind */
};

void half_table_init(struct half_table *table);
void half_table_fini(struct half_table *table);

/* An open transaction, or NULL. */
struct half *half_table_find(const struct half_table *table, uint64_t pos);
/* The first whose producer got @pos or more, or NULL. A walk over all rows unless there is one with @pos, or none
 * below. */
struct half *half_table_from(const struct half_table *table, uint64_t pos);
/* Whether @bytes at @at are the record as it was applied, and not what a bad disk made of it. */
bool half_is_record(const struct half *half, const uint8_t *at, uint32_t bytes);
/* The one whose producer is to be asked next, or NULL; the leader looks at due.at_ms. */
struct half *half_table_first_due(const struct half_table *table);

/* Leader. */
void half_table_mark(struct half_table *table, struct half *half, enum half_mark mark);
void half_table_unmark(struct half_table *table, struct half *half, enum half_mark mark);
/* One without a mark that holds it off comes first at wall time @at_ms, if that is later than its time. Until its
 * marks change; never replicated. */
void half_table_put_off(struct half_table *table, struct half *half, int64_t at_ms);
/* Retention's way through all rows, in the order in which they came: the next one, NULL behind the last one. It stays
 * the next one until it is passed or goes; rows that come later come last. Rewind begins anew. */
struct half *half_table_next(const struct half_table *table);
void half_table_pass(struct half_table *table, struct half *half);
void half_table_rewind(struct half_table *table);
/* Leadership began: what was marked by an earlier one is not any more. */
void half_table_forget_marks(struct half_table *table);

/* Items; see apply.h. */
int half_apply_put(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int half_apply_end(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int half_apply_checked(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);
int half_apply_move(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);

extern const struct state_section half_section;

#endif
