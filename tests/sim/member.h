/* A member's process: the broker's log, state, store, sequencer and retention, put together as broker.c does it. */
#ifndef SIM_MEMBER_H
#define SIM_MEMBER_H

struct node;

/* main of the process; @data: the struct node. Returns 0 after an orderly stop, MEMBER_REFUSED when the member does
 * not start. */
int member_main(void *data);
#define MEMBER_REFUSED 3

/* Inside: stops in order, handing leadership over first. */
void member_close(struct node *node);

#endif
