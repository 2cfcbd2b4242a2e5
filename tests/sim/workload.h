/* Clients that send, commit offsets, change and delete topics and take locks, at whoever leads. */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include "tests/sim/cluster.h"

/* Clients begin now. */
void workload_open(const struct plan *plan);
/* No further operations; what is under way ends. */
void workload_stop(void);
uint32_t workload_under_way(void);
void workload_close(void);

uint64_t workload_acked(void);

/* One message from outside the clients, to @node. Its outcome is in the operation. */
struct op *workload_probe(struct node *node);
/* A send of @body_bytes to @node that a scenario asks for. */
struct op *workload_send(struct node *node, uint32_t body_bytes);

/* The same, that is to wait for @delay_ms. */
struct op *workload_wait(struct node *node, uint32_t body_bytes, uint64_t delay_ms);

/* A producer is asked by @node how its transaction ends, and answers, or not. Inside. */
void workload_check_back(struct op *target, struct node *node);

/* From the cluster. The member has an answer (op->status); inside, mostly. */
void workload_answered(struct op *op);
/* The member's process is gone: what it was asked and did not answer is unknown. */
void workload_ended(struct node *node);

#endif
