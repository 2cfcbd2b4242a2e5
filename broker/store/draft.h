/* One entry while it gathers, and until it is answered: its blob, and who waits for it. The sequencer's. */
#ifndef BROKER_STORE_DRAFT_H
#define BROKER_STORE_DRAFT_H

#include "broker/store/sequencer.h"

/* Where numbers begin at 0 again: the item at @at deletes the topic. */
struct draft_restart {
    struct draft_restart *next;
    uint32_t at;
    struct topic_queues *topic; /* borrowed */
    uint32_t n;
    uint64_t before[]; /* next offsets of its first @n queues as they were in front of it */
};

struct draft {
    struct draft *next;      /* in the sequencer's list of waiting or of idle ones */
    struct sequencer *owner; /* borrowed */
    struct rlog_blob *blob;  /* counted: ours until the draft is answered; NULL in an idle one */
    struct rlog_proposal proposal;
    uint64_t number;  /* of the sequencer's drafts */
    int64_t wall_ms;  /* when it opened */
    int64_t store_ms; /* of the entry: as foreseen when it opened, final when it is stamped */
    uint64_t pos;     /* of payload[0]; set when it is stamped */
    uint32_t records, items;
    uint32_t from_reserve; /* of the records: those that were given room in the disk's reserve */
    struct draft_restart *restarts, **last_restart; /* owned, in the order of at */
    struct sequencer_pending *pendings;             /* owned */
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

/* The item that will be put where the payload ends now deletes @topic: its queues' next offsets are 0 from here on.
 * Returns 0 or MQ_ENOMEM. */
int draft_restart(struct draft *draft, struct topic_queues *topic);

/* For what an entry in front of this one leaves behind when it is given up. Take back, for all drafts from the first
 * on in one round (queues->undo_round, raised before), sets the next offsets of their queues to what they were in
 * front of the first of them; renumber gives the records the next offsets anew. */
void draft_take_back(struct draft *draft, struct queue_table *queues);
void draft_renumber(struct draft *draft, struct queue_table *queues);

/* Calls all who wait, in order, and lets go of their channels. */
void draft_answer(struct draft *draft, int status);

#endif
