/* What the store's files share among themselves. */
#ifndef BROKER_STORE_INSIDE_H
#define BROKER_STORE_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/* Moves <dir>/consumequeue aside, to be removed by the sweeper. Nothing of it may be mapped. Returns 0 or a negative
 * code. */
int store_drop_queues(struct store *store);

/* A job on the pool has ended, which store->warming counts. */
void store_job_done(struct store *store);

/* Whether a stretch of the log is in memory; what was found so counts for a second. @now_ms: monotonic. */
bool store_is_warm(struct store *store, uint64_t pos, uint32_t bytes, uint64_t now_ms);
void store_remember_warm(struct store *store, uint64_t pos, uint32_t bytes, uint64_t now_ms);

#endif
