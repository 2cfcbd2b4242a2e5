/* The beginning of the log: what it begins behind (the base), and how that moves.
 *
 * Trim (up, at the start of a segment). The new base counts at once; the spare makes it durable; then the segments
 * below it are old: one becomes the next segment, others are removed. A segment that somebody looks at waits until
 * nobody does. crash before the base is durable: the log begins where it did      after: the next start removes what
 * is below
 *
 * Reset (anywhere; a snapshot took the place of the whole log). Blocking:
 *   1. the base is stored with "reset"              crash before: the old log
 *   2. all segments are removed                     crash from here: the next start repeats 2 to 4
 *   3. the segment that holds base.end_pos is made
 *   4. the base is stored without "reset"           crash from here: an empty log behind the base
 *
 * Put (down: back-fill): put.h.
 *
 * After a reset the base usually lies in the middle of a segment, whose bytes before it are absent until then.
 *
 * Belongs to the loop's thread; what belongs to the spare is marked. */
#ifndef RLOG_LOG_FRONT_H
#define RLOG_LOG_FRONT_H

#include "raft-log/log/base_file.h"
#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"
#include "raft-log/log/put_stage.h"

struct commitlog_put;

/* Entries that were put and may not be on the disk yet, and the base that stands for them. */
struct put_unsettled {
    struct put_stage stage;
    uint64_t bytes; /* since a base was stored */
    bool has_base;  /* base stands for entries that were put since then; they may be synced already */
    struct base_kept base;
};

struct front {
    struct handover *h; /* borrowed, like the index */
    struct entry_index *index;
    struct base_kept base; /* what the log begins behind */
    uint64_t serial;       /* of the beginning: raised by trim and reset, so that a put for an older one is void */
    uint32_t resets;
    struct segment *dropped;   /* owned, linked by next: below the base, but somebody may look at them, or ... */
    uint32_t trims;            /* ... so many jobs have not made their base durable yet, and an older one counts */
    struct commitlog_put *put; /* running, or NULL */
    bool closing;

    /* The spare's; the loop's before it runs, while it rests, and after it is gone. */
    struct base_file file;
    struct put_unsettled unsettled;
};

/* Reads the base and finishes a reset that was interrupted. @h: empty. Returns 0, or a negative code with a line in
 * @problem. */
int front_open(struct front *front, struct handover *h, struct entry_index *index, struct mq_buf *problem);
/* The threads are gone and all jobs are handled. */
void front_fini(struct front *front);

/* Makes the segment that holds @end_pos, where the base ends, if the row begins behind it: for a log that is empty
 * behind its base, whose next entry may belong there. Returns 0, MQ_ENOMEM or -errno. */
int front_make_room(struct handover *h, uint64_t end_pos);
/* Loop, while the spare rests, before a segment of the log is made at @first_pos: a dropped one of that name must not
 * take the new file with it when it goes. */
void front_lose_name(struct front *front, uint64_t first_pos);

/* Drops whole segments below @pos, but never the one that holds the last byte before @durable_pos. Returns 0 or
 * MQ_ENOMEM. */
int front_trim(struct front *front, uint64_t pos, uint64_t durable_pos);

/* Steps 1 to 4, and an empty index. The writer is idle, the spare rests. A failure ends the process. */
void front_reset(struct front *front, const struct rlog_base *base);

/* Gives segments up that nobody looks at any more. */
void front_sweep(struct front *front);

/* Makes a base durable; spare. A failure ends the process. */
void front_store(struct front *front, const struct rlog_base *base, bool reset);

#endif
