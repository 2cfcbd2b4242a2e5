/* Between the files that hold the committed log against what clients asked for: history.c, halves.c, pops.c. They
 * run outside of any process. */
#ifndef SIM_HISTORY_INSIDE_H
#define SIM_HISTORY_INSIDE_H

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "tests/sim/history.h"

#define IN_FLIGHT_MAX 256u /* entries that a leader may have proposed since it looked at its state */

/* history.c: an operation (or one part of it) is in the log at @index. NULL: it may not be. */
struct op *history_commit_op(uint64_t id, uint64_t index);
/* history.c: which message lies there, as number and part of its operation. */
uint64_t history_message(uint32_t topic, uint32_t queue, uint64_t qoff);

/* history.c: @op waits at @pos from now on; which operation of @kind that was committed does so. NULL: none. */
void history_row_is(struct op *op, uint64_t pos);
struct op *history_at_row(enum op_kind kind, uint64_t pos);
/* history.c: all open check points of messages of @topic. */
void history_each_popped(uint32_t topic, void (*each)(struct op *op));

/* halves.c: the record of @op, a prepared message, lies at @pos in topic @topic: where halves lie, where discarded
 * ones are listed, or its own. */
void halves_record(const struct rlog_header *header, struct op *op, uint32_t topic, uint64_t pos);
/* halves.c, pops.c: whether the item is one of theirs. */
bool halves_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message);
bool pops_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message);

void pops_reset(void);
/* An entry begins; a message comes again in its retry topic; a topic was made or deleted. */
void pops_entry(const struct rlog_header *header);
void pops_copy(uint64_t message);
void pops_deletion(uint32_t topic);

#endif
