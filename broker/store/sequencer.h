/* The one place that gives numbers. On the leader it gathers records and items into the next entry, gives each record
 * its queue offset in log order, and when the entry closes its position; then proposes the entry and, when it is
 * applied or lost, answers everything in it.
 *
 * An entry closes at the end of a loop turn when this node's disk is idle, when the disk becomes idle, or at
 * RLOG_GATHER_BYTES (self-clocking group commit); an entry holds at least one whole request. What cannot be proposed
 * yet waits in further drafts, at most SEQUENCER_WAITING_BYTES_MAX in all. Loop thread.
 *
 * Numbers follow the order of sequencer_add. A draft that will never be proposed takes all drafts behind it along,
 * and the queues' next offsets go back to before it, so that no number is left out. */
#ifndef BROKER_STORE_SEQUENCER_H
#define BROKER_STORE_SEQUENCER_H

#include "broker/store/store.h"
#include "raft-log/include/raftlog/raftlog.h"
#include "remoting/net/channel.h"

#define SEQUENCER_WAITING_BYTES_MAX (32u << 20) /* unless told otherwise */

struct sequencer;

/* How the entry of a pending operation ended. */
struct sequencer_outcome {
    int status; /* 0 applied; MQ_ENOTLEADER, MQ_EBUSY, MQ_EFULL, MQ_ETOOBIG: nothing was proposed; MQ_EUNSURE */
    const uint8_t *payload; /* of the entry, valid during the call; NULL unless status is 0 */
    uint64_t payload_pos;   /* commit log position of payload[0]; set when status is 0 */
    int64_t store_ms;
};

struct sequencer_pending;
/* Called once, never inside sequencer_add. Answers the client; releases nothing of the pending itself (the sequencer
 * releases the channel). */
typedef void (*sequencer_done_cb)(struct sequencer_pending *p, const struct sequencer_outcome *outcome);

/* One operation waiting for its entry. Held by value in the draft: keep it small. */
struct sequencer_pending {
    sequencer_done_cb done;
    void *data;             /* operation's own */
    struct net_channel *ch; /* counted; NULL for one-way and internal operations */
    int32_t opaque;
    uint8_t encoding; /* of the request, answered in kind */
    uint8_t kind;     /* operation's own */
    uint16_t records; /* of a batch */
    int32_t queue_id;
    uint32_t at, bytes; /* its blocks in the payload; filled by the sequencer */
    uint64_t qoff;      /* of its first record; filled by sequencer_records_added */
};

/* store->log may still be NULL; it must be set before sequencer_set_writable. Sets store->loop. Returns 0 or
 * MQ_ENOMEM. */
int sequencer_new(struct net_loop *loop, struct store *store, struct sequencer **out);
/* What is gathered is answered with MQ_ENOTLEADER. All proposals must have been answered (rlog_close does it). Before
 * the log is closed sequencer_set_writable(false) must be called: drafts hold memory of the log. */
void sequencer_free(struct sequencer *seq);

/* How much may wait to be proposed, and how much does. */
void sequencer_set_waiting_max(struct sequencer *seq, uint64_t bytes);
void sequencer_waiting_get(const struct sequencer *seq, uint64_t *bytes, uint64_t *max);
/* For how long the oldest of it waits at wall time @now_ms; 0 when nothing does. */
int64_t sequencer_waiting_ms(const struct sequencer *seq, int64_t now_ms);

/* The role changed. @writable false: everything gathered is answered with MQ_ENOTLEADER; next offsets are reset. */
void sequencer_set_writable(struct sequencer *seq, bool writable);
/* fsm.room. Full drafts go at once; the one that still gathers goes at the end of the turn, with what the turn
 * brings. */
void sequencer_room(struct sequencer *seq);

/* Room for @bytes of blocks that belong together. Returns 0 with @at writable, MQ_ENOTLEADER, MQ_EBUSY or MQ_ENOMEM,
 * MQ_ETOOBIG. Must be followed by sequencer_add or by nothing. */
int sequencer_reserve(struct sequencer *seq, uint32_t bytes, uint8_t **at);

/* The store time for records built now: of the draft that the last sequencer_reserve gave room in. It is fixed when a
 * draft opens; should the log's store time have passed it when the draft is proposed, or a record carry another one,
 * closing writes the entry's own store time into the records: a record's store time is always its entry's. */
int64_t sequencer_store_ms(struct sequencer *seq);

/* Takes the blocks just written (@bytes of them). For records: @queue is theirs, @records how many lie there one
 * behind the other; they get consecutive queue offsets now and their positions when the entry closes. For items:
 * @queue NULL, @records 0, @items how many.
 * @p is copied; p->ch is acquired when set. p->done NULL: nobody waits. */
void sequencer_add(struct sequencer *seq, uint32_t bytes, struct queue *queue, uint32_t records, uint32_t items,
                   const struct sequencer_pending *p);

/* The @records added last were given room by rlog_reserve_take. An entry in which all are so is taken while the disk
 * is low; together with others they are refused with them (MQ_EFULL). */
void sequencer_from_reserve(struct sequencer *seq, uint32_t records);

/* The item that the next sequencer_add brings deletes @topic when it is applied: records of its queues that are added
 * behind it are numbered from 0. To be called between reserve and add. Returns 0, or MQ_ENOMEM: then the item may not
 * be added. */
int sequencer_restart(struct sequencer *seq, struct topic_queues *topic);

/* Drafts are numbered from 1: the one that takes what is added next, or took it last, and the last one up to which
 * all are answered. */
void sequencer_drafts_get(const struct sequencer *seq, uint64_t *last, uint64_t *answered);

struct sequencer_stats {
    uint64_t entries, records, items;
    uint64_t busy; /* refused with MQ_EBUSY */
    uint64_t waiting_bytes;
};
void sequencer_stats_get(const struct sequencer *seq, struct sequencer_stats *out);

#endif
