/* Who looks after the group: hands leadership over, and gives a member that lost its disk a new one. */
#ifndef SIM_OPERATOR_H
#define SIM_OPERATOR_H

#include "tests/sim/cluster.h"

void operator_open(const struct plan *plan);
void operator_close(void);

/* Asks @leader to hand leadership to @target (0: anybody). */
void operator_transfer(struct node *leader, uint32_t target);

/* The member's disk is replaced by an empty one. From then on whoever leads is asked, until it has been done, to let
 * the new directory take the place of the old one. */
void operator_replace_disk(struct node *node);
/* Whether the directory that the member has now is a voter, as whoever leads sees it. */
bool operator_is_voter(const struct node *node);

#endif
