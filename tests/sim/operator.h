/* Who looks after the group: hands leadership over, gives a member that lost its disk a new one, and makes the group
 * larger and smaller. */
#ifndef SIM_OPERATOR_H
#define SIM_OPERATOR_H

#include "tests/sim/cluster.h"

void operator_open(const struct plan *plan);
void operator_close(void);
/* Gives up what it was about, but for disks that are to be replaced. */
void operator_rest(void);

/* Asks @leader to hand leadership to @target (0: anybody). */
void operator_transfer(struct node *leader, uint32_t target);

/* The member's disk is replaced by an empty one. From then on whoever leads is asked, until it has been done, to let
 * the new directory take the place of the old one. */
void operator_replace_disk(struct node *node);

/* The same without anybody being asked: for a machine that is no member. */
void operator_empty_disk(struct node *node);

/* Whoever leads is asked, again and again, to take the machine in; @learner: as one that has no vote, which it gets a
 * while later. To put the member out; its machine is emptied a while later. False: the group is not to be made
 * smaller now, or the operator is about something else with that member. */
bool operator_add(struct node *node, bool learner);
bool operator_remove(struct node *node);

/* Whether the directory that the node has now is a member, as was committed last; and with a vote. */
bool operator_is_member(const struct node *node);
bool operator_is_voter(const struct node *node);

#endif
