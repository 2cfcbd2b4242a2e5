/* What store.c and restart.c share. */
#ifndef BROKER_STORE_RESTART_H
#define BROKER_STORE_RESTART_H

struct store;

/* Moves <dir>/consumequeue aside, to be removed by the sweeper. Nothing of it may be mapped. Returns 0 or a negative
 * code. */
int store_drop_queues(struct store *store);

/* A job on the pool has ended, which store->warming counts. */
void store_job_done(struct store *store);

#endif
