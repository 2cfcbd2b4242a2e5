/* Putting the entries that a log lacks at its beginning before it, newest first, as other members give them. Owned by
 * the loop's thread.
 *
 * A member is asked for what ends right before the beginning, and for what lies in front of that -> each answer,
 * checked (fetch.h), waits its turn, and the next question goes out -> commitlog_put_before checks what waits against
 * the beginning and writes it -> the owner is told of its entries, newest first -> again, until the log begins where
 * the group's does -> done.
 *
 * A member that does not have them, or fails, is left for the next one; when all have failed it rests
 * BACKFILL_REST_MS. Where it was is where the log begins, so it goes on after a restart. The owner is told of an
 * entry that it knows already (fsm.held_from) no more.
 *
 * Speed. Bytes are taken from a bucket that fills at the rate that was set. Where none was set there is no limit
 * while this node has little else to write, and BACKFILL_LOADED_BYTES_PER_S otherwise. */
#ifndef RLOG_BACKFILL_H
#define RLOG_BACKFILL_H

#include "raft-log/log/commitlog.h"
#include "raft-log/peer/peers.h"

#include <uv.h>

#define BACKFILL_DEPTH 16u            /* pieces that were asked for and are not in the log */
#define BACKFILL_HELD_MAX (16u << 20) /* bytes of them that have come: no more is asked for */
/* Of them on their way, so that the member reads one while it sends another; 1 with a limit. */
#define BACKFILL_ASKED_MAX 3u
#define BACKFILL_REST_MS 1000u
#define BACKFILL_BUSY_BYTES (1u << 20) /* new entries a second: this node is at work */
#define BACKFILL_LOADED_BYTES_PER_S (32u << 20)

struct backfill;

struct backfill_options {
    uv_loop_t *loop;
    struct peers *peers;
    struct commitlog *log;
    struct rlog_fsm *fsm; /* borrowed, like all above */
    uint64_t bytes_per_s; /* 0: see above */
    /* Nothing below this position is in the group's log any more. */
    uint64_t (*log_start_pos)(void *data);
    /* The log begins where the group's does. May start it again. */
    void (*done)(void *data);
    void *data;
};

enum backfill_state {
    BACKFILL_IDLE,
    BACKFILL_RUNNING,
    BACKFILL_RESTING /* until the timer; before it, until nothing is on its way any more */
};

struct backfill_piece {
    struct backfill *fill;
    struct fetch fetch;
    struct net_ref *ref; /* counted; NULL until it came */
    const uint8_t *raw;
    uint32_t bytes, n;
    uint64_t first;
    struct peer_before before;
};

struct backfill {
    struct backfill_options options;
    uint64_t segment_bytes;
    enum backfill_state state;
    uint32_t peer;   /* who is asked */
    uint32_t failed; /* members that failed in a row */

    struct backfill_piece pieces[BACKFILL_DEPTH]; /* ring, newest entries first */
    uint32_t first_piece, n_pieces;
    uint64_t held_bytes; /* of the pieces that have come */
    uint32_t n_asked;    /* the last pieces of the ring have no answer yet */
    uint32_t n_void;     /* pieces in front of those, whose answers brought nothing: nothing is asked for until ... */
    bool draining;       /* ... all answers are here */
    uint32_t n_putting;  /* the first pieces of the ring are being put */
    struct commitlog_put put;
    uint32_t *offsets; /* owned; of the entries of a piece, while it runs */

    int64_t tokens; /* bytes that may be asked for; below zero: too many were */
    uint64_t tokens_ms;
    uint64_t load_ms, load_pos; /* when and where the window for the load began */
    bool loaded;
    uv_timer_t timer;

    uint64_t held_pos; /* where the log of the member that is asked begins */
    uint64_t bytes_done, entries_done;
    uint64_t started_ms;
    const char *cause; /* static */
    struct mq_log_limit limit;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

void backfill_init(struct backfill *fill, const struct backfill_options *options);
/* After the peers are closed and before the log is. @closed comes later on the loop; then the memory is the caller's
 * again. */
void backfill_close(struct backfill *fill, void (*closed)(void *data), void *data);

/* Whether the log begins where the group's does. */
bool backfill_is_complete(const struct backfill *fill);
/* Starts if there is something to do; else, or when it runs, nothing happens. */
void backfill_start(struct backfill *fill);
/* Before the log gets another beginning. */
void backfill_stop(struct backfill *fill);

/* Bytes that are still missing, as far as can be told. */
uint64_t backfill_left(const struct backfill *fill);
/* The limit that holds now; 0: none. */
uint64_t backfill_limit(const struct backfill *fill);

#endif
