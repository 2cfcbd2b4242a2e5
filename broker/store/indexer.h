/* The thread that keeps the key index, and where it meets the loop. A send costs the loop nothing but a look at one
 * word in each turn: the thread reads the log itself, in the mapped segments, a few MiB behind what is applied.
 *
 *   loop                                            indexer
 *   the thread asks -> rlog_stretch_get, GIVEN  ->  reads it in steps of 1 MiB, looks into files for finds between
 * them releases the stretch                        <-  ASKING, with the place of the next one indexer_find ->  waits
 * until the index covers what is asked for, looks done                                        <-  wakes the loop
 *
 * Two things are shared: a baton, which one of the two holds, and with it what is in it; and, under a mutex, the
 * finds on their way in either direction. The indexer is woken when there is GIVE_BYTES to read or a while has
 * passed, at once when somebody waits for an answer. Filling a gap takes half a core at most. */
#ifndef BROKER_STORE_INDEXER_H
#define BROKER_STORE_INDEXER_H

#include "broker/store/key_run.h"
#include "broker/store/store.h"

#define INDEXER_FINDS_MAX 1024u
#define INDEXER_WAIT_MS 3000u /* so long a find waits for the index to cover it */

struct indexer;

/* A question, and then its answer. The caller's memory from a successful start until done. */
struct indexer_find {
    void *data; /* caller's */
    struct key_want want;
    void (*done)(struct indexer_find *find, int status); /* loop; 0, MQ_ECLOSED, or what reading files said */
    struct key_found found;                              /* newest first */
    bool more;         /* there may be more below the last one: set want.below to it and ask again */
    bool whole;        /* false: the index was not ready in time for all that was asked for */
    uint64_t last_pos; /* newest record with a key that the index knows, and its store time */
    int64_t last_ms;

    /* Its own. */
    uint64_t target, until_ms;
    int status;
    struct indexer_find *next;
};

/* Starts the thread, which opens the index below @dir. @store: borrowed, its log is open and replayed. Returns 0 or a
 * negative code. */
int indexer_new(struct net_loop *loop, struct store *store, const char *dir, uint64_t segment_bytes,
                struct indexer **out);
/* In every turn of the loop. @group_start: where the group's log begins. */
void indexer_turn(struct indexer *indexer, uint64_t group_start);
/* Before the log is closed: finds under way end with MQ_ECLOSED, what is in memory is written, @closed comes later.
 */
void indexer_close(struct indexer *indexer, void (*closed)(void *data), void *data);

/* want and done are set; everything that is applied now will be covered. Returns 0, after which done comes once and
 * never inside; MQ_EBUSY (INDEXER_FINDS_MAX) or MQ_ECLOSED. */
int indexer_find(struct indexer *indexer, struct indexer_find *find);

/* For people: everything below is in the index, but for gaps that are being filled. */
uint64_t indexer_pos(const struct indexer *indexer);

#endif
