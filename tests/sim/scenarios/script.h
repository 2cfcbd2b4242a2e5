/* What scripts share. */
#ifndef SIM_SCRIPT_H
#define SIM_SCRIPT_H

#include "tests/sim/cluster.h"
#include "tests/sim/run.h"
#include "tests/sim/workload.h"
#include "tests/sim/world/world.h"

/* The leader and the others, by id; the run fails when there is none. */
struct three {
    struct node *l, *f, *g;
};
bool script_three(struct three *out);

void script_cut(struct node *a, struct node *b); /* and what is under way between them is lost */
void script_heal(struct node *a, struct node *b);
/* From all others. */
void script_isolate(struct node *node);
void script_heal_all(void);

/* Sends @n small messages to @node, one every @gap_ns. Returns false when the run has failed. */
bool script_send(struct node *node, uint32_t n, uint64_t gap_ns);

/* Whether the member's core leads, and in which term. */
bool script_leads(const struct node *node, uint64_t *term);
/* Event by event until one of the two leads in a term above @term: that one; NULL when the run has failed. */
struct node *script_wait_leading(struct node *a, struct node *b, uint64_t term, uint64_t ns);

/* Heals everything, waits for a leader and a commit, and until all are level. */
void script_end(void);

#endif
