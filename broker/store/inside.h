/* What the store's files share among themselves. */
#ifndef BROKER_STORE_INSIDE_H
#define BROKER_STORE_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

struct store;
struct topic_queues;

/* Moves <dir>/consumequeue aside, to be removed by the sweeper. Nothing of it may be mapped. Returns 0 or a negative
 * code. */
int store_drop_queues(struct store *store);

/* Starts the sweeper over <dir>/consumequeue.old, if there is something and none runs. Returns 0 or a negative code.
 */
int store_sweep(struct store *store);

/* --- deleted.c --- */

/* The queues of @topic are empty and lie in the directory of @life from here on. Returns 0 or MQ_ENOMEM. */
int store_begin_life(struct store *store, struct topic_queues *topic, uint64_t life);
/* A checkpoint begins: the snapshot that goes with it knows of all graves. */
void store_graves_known(struct store *store);
/* It counts: their files go, on the pool. */
void store_graves_clear(struct store *store);
/* Another snapshot is about to be loaded: their files are no longer theirs. */
void store_graves_leave(struct store *store);
void store_graves_free(struct store *store);
/* Behind a start: moves directories aside that no queue has its units in. Returns whether there were any. */
bool store_bury_unclaimed(struct store *store);

/* A job on the pool has ended, which store->warming counts. */
void store_job_done(struct store *store);

/* Whether a stretch of the log is in memory; what was found so counts for a second. @now_ms: monotonic. */
bool store_is_warm(struct store *store, uint64_t pos, uint32_t bytes, uint64_t now_ms);
void store_remember_warm(struct store *store, uint64_t pos, uint32_t bytes, uint64_t now_ms);

#endif
