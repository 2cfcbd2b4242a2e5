/* Between requests.c and requests_flows.c. Inside a member's process. */
#ifndef SIM_REQUESTS_INSIDE_H
#define SIM_REQUESTS_INSIDE_H

#include "broker/flow/delayed.h"
#include "tests/sim/cluster.h"

/* requests.c: the answer; and that of what is in the log, or not. */
void request_answer(struct op *op, struct member_run *run, int status);
void request_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome);

/* requests_flows.c: return 0, after which the answer comes, or why nothing was proposed. */
int submit_prepare(struct member_run *run, struct op *op);
int submit_end(struct member_run *run, struct op *op);
int submit_pop(struct member_run *run, struct op *op);
int submit_ack(struct member_run *run, struct op *op);
int submit_change(struct member_run *run, struct op *op);
int submit_back(struct member_run *run, struct op *op);

/* The delay levels of the simulated brokers. */
extern const struct delayed_rules request_delayed_rules;
/* requests_order.c: likewise */
int submit_order(struct member_run *run, struct op *op);
int submit_order_ack(struct member_run *run, struct op *op);
int submit_order_change(struct member_run *run, struct op *op);

#endif
