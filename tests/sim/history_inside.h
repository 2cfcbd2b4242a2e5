/* Between the files that hold the committed log against what clients asked for: history.c, history_ops.c, waits.c,
 * halves.c, pops.c, orders.c. They run outside of any process. */
#ifndef SIM_HISTORY_INSIDE_H
#define SIM_HISTORY_INSIDE_H

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "remoting/protocol/record.h"
#include "tests/sim/history.h"

#define BODY_HEAD_BYTES 16u
#define IN_FLIGHT_MAX 256u /* entries that a leader may have proposed since it looked at its state */

/* history.c: an operation (or one part of it) is in the log at @index. NULL: it may not be. */
struct op *history_commit_op(uint64_t id, uint64_t index);
/* history.c: which message lies there, as number and part of its operation. */
uint64_t history_message(uint32_t topic, uint32_t queue, uint64_t qoff);

/* history.c: there is no such topic, or it is so young that a leader may have acted on there being none. */
bool history_is_gone(uint32_t topic, uint64_t index);

void ops_reset(void);
/* history_ops.c: @op waits at @pos from now on; which operation of @kind that was committed does so. NULL: none. */
void history_row_is(struct op *op, uint64_t pos);
struct op *history_at_row(enum op_kind kind, uint64_t pos);
/* history_ops.c: all open check points of messages of @topic. */
void history_each_popped(uint32_t topic, void (*each)(struct op *op));

/* waits.c: the record of @op goes to topic @topic, another one than its own: it begins to wait, or waits on at
 * another place. Returns the queue. */
uint32_t waits_record(const struct rlog_header *header, struct op *op, uint32_t topic, uint64_t pos);
/* waits.c: the record of @op, which has waited, goes to its own topic. */
void waits_delivery(const struct rlog_header *header, struct op *op);
/* waits.c: whether a record in @topic with the body of @origin is a copy of it that was sent back; the operation that
 * asked for it (NULL: nobody); and it comes again, or is a dead letter. Returns the queue. */
bool waits_is_copy(const struct op *origin, uint32_t topic);
struct op *waits_owner(const struct rlog_header *header, const struct proto_record *record, const struct op *origin);
uint32_t waits_copy(const struct rlog_header *header, struct op *op, uint32_t topic);
/* waits.c: what comes now does not belong to the record in front. */
void waits_rest(void);

/* halves.c: the record of @op, a prepared message, lies at @pos in topic @topic: where halves lie, where discarded
 * ones are listed, or its own. */
void halves_record(const struct rlog_header *header, struct op *op, uint32_t topic, uint64_t pos);
/* waits.c, halves.c, pops.c, orders.c: whether the item is one of theirs. */
bool waits_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message);
bool halves_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message);
bool pops_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message);
bool orders_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message);

void orders_reset(void);
void orders_deletion(uint32_t topic);
/* The operation was acknowledged. Returns whether that is all there is to hold against it. */
bool orders_acked(const struct op *op);

void halves_reset(void);
void pops_reset(void);
/* An entry begins; a message comes again in its retry topic; a topic was made or deleted. */
void pops_entry(const struct rlog_header *header);
void pops_copy(uint64_t message);
void pops_deletion(uint32_t topic);

#endif
