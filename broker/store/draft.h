/* One entry while it gathers, and until it is answered: its blob, and who waits for it. The sequencer's. */
#ifndef BROKER_STORE_DRAFT_H
#define BROKER_STORE_DRAFT_H

#include "broker/store/sequencer.h"

struct draft {
    struct draft *next;      /* in the sequencer's list of waiting or of idle ones */
    struct sequencer *owner; /* borrowed */
    struct rlog_blob *blob;  /* counted: ours until the draft is answered; NULL in an idle one */
    struct rlog_proposal proposal;
    int64_t wall_ms;  /* when it opened */
    int64_t store_ms; /* of the entry: as foreseen when it opened, final when it is stamped */
    uint64_t pos;     /* of payload[0]; set when it is stamped */
    uint32_t records, items;
    struct sequencer_pending *pendings; /* owned */
    uint32_t n_pendings, cap_pendings;
};

/* Drafts that rest, with their arrays, so that an entry costs no allocation. */
struct draft_pool {
    struct draft *idle;
    uint32_t n_idle;
};

void draft_pool_fini(struct draft_pool *pool);

/* An empty draft with a blob that has room for @bytes, opened now. Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int draft_new(struct draft_pool *pool, struct rlog *log, uint32_t bytes, struct draft **out);
/* Releases the blob; the rest goes back to the pool. */
void draft_recycle(struct draft_pool *pool, struct draft *draft);

static inline uint32_t draft_bytes(const struct draft *draft)
{
    return draft->blob->payload_bytes;
}

/* Room for @bytes more of payload and for one more pending. Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int draft_reserve(struct draft *draft, uint32_t bytes);

/* Writes queue offsets into the @records records that lie at @at one behind the other, @qoff the first, and checks
 * that they fill
 * @bytes. */
void draft_number(uint8_t *at, uint32_t bytes, uint32_t records, uint64_t qoff);

/* Settles position and store time of the entry and writes both into every record. To be called right before
 * proposing. */
void draft_stamp(struct draft *draft, struct rlog *log);

/* For what an entry in front of this one leaves behind when it is given up. take_back sets the next offset of every
 * queue that has a record in here back to the first of them, unless it is lower; renumber gives the records the next
 * offsets anew. */
void draft_take_back(struct draft *draft, struct queue_table *queues);
void draft_renumber(struct draft *draft, struct queue_table *queues);

/* Calls all who wait, in order, and lets go of their channels. */
void draft_answer(struct draft *draft, int status);

#endif
