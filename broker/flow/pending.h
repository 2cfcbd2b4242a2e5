/* Delivers messages when their time has come, on the leader, by its wall clock: the record is copied to the topic
 * that it is meant for, and its row ends, in one entry; so it is there once, whatever happens in between. Loop
 * thread.
 *
 *   turn: due rows are taken, earliest first -> their records are read (from the disk on the pool) -> in the same
 *   order, [copy][PENDING_END] -> applied: the row is gone; or lost: it is given back
 *
 * What retention would drop is appended again where it was, with PENDING_MOVE. A row is taken by one at a time: by a
 * delivery, by a move, or by a recall. */
#ifndef BROKER_FLOW_PENDING_H
#define BROKER_FLOW_PENDING_H

#include "broker/flow/flow_env.h"
#include "broker/store/fetch.h"

#define PENDING_IN_FLIGHT_MAX 8192u /* 10,000 a second, and a disk that needs half a second for an entry */
#define PENDING_MOVES_MAX 64u       /* of them */
#define PENDING_COLD_MAX 16u        /* records being read from the disk */

struct pending;

/* A row on its way. */
struct pending_job {
    struct pending *owner;
    struct pending_job *next; /* in the order of delivery, or of free ones */
    uint64_t pos;             /* of the row */
    enum pending_job_state {
        PENDING_JOB_FREE,
        PENDING_JOB_READS,   /* its record comes from the disk */
        PENDING_JOB_READY,   /* view is there, or nothing that can be read */
        PENDING_JOB_PROPOSED /* its entry is on its way */
    } state;
    bool moves;              /* retention; else it is delivered */
    bool stale;              /* this node has stopped leading since: nothing follows from how it ends */
    struct reader_view view; /* ref is ours in READY; at NULL: no record */
};

/* A record of a job that comes from the disk. */
struct pending_read {
    struct pending_job *job; /* NULL: free */
    struct store_fetch fetch;
};

struct pending {
    const struct flow_env *env; /* borrowed */
    bool leading;
    struct pending_job jobs[PENDING_IN_FLIGHT_MAX];
    struct pending_read reads[PENDING_COLD_MAX];
    struct pending_job *free;
    struct pending_job *first, **end; /* not yet proposed, in order */
    uint32_t moving, cold;
    uint64_t not_before_ms; /* monotonic: the sequencer or the disk had no room */

    /* Retention: rows below release_pos are being moved; below released_pos there are none. */
    uint64_t release_pos, released_pos;
    uint32_t scanned;    /* rows that this round has looked at */
    bool again;          /* it met a row that could not be moved then ... */
    uint64_t scan_at_ms; /* ... and looks for it later: monotonic */
    struct pending_job *moves, **moves_end;

    struct {
        uint64_t delivered, moved, dropped, unread;
        int64_t late_ms_max; /* of what was proposed, since the node leads */
    } stats;
    struct mq_log_limit drop_log, unread_log;
};

/* @env: borrowed as long as anything may call back, to the end of store and sequencer. */
void pending_init(struct pending *pending, const struct flow_env *env);
void pending_lead(struct pending *pending);
void pending_rest(struct pending *pending);
void pending_turn(struct pending *pending);
/* Returns 0 when no row's record lies below @pos; MQ_EAGAIN: they are being moved, to be asked again. */
int pending_release_below(struct pending *pending, uint64_t pos);

#endif
