/* How much room the log has left to grow, judged before it is needed.
 *
 * What is allocated in segments behind the end of the log and what the file system has free must together be a
 * segment and the reserve. The reserve is for what was taken already when it became too little: entries on their way,
 * what their application writes, small entries, and what retention has to append again before it can drop a segment.
 * If the next segment could not be made, only what is allocated counts: half a segment of it, so that retention can
 * empty one of which less than that is needed still.
 *
 * The spare asks the file system five times a second and after each segment it makes, and tries a segment that it
 * could not make again once a second; the loop judges. */
#ifndef RLOG_LOG_SPACE_H
#define RLOG_LOG_SPACE_H

#include "raft-log/include/raftlog/raftlog.h"

#include <stdatomic.h>

#define SPACE_RESERVE_BYTES (64u << 20)
#define SPACE_PERIOD_MS 1000u
#define SPACE_ASKS 5u /* in a period: who fills the disk has to be noticed before what is allocated is used up */
#define SPACE_UNKNOWN UINT64_MAX

struct rlog_disk;

struct space {
    uint64_t reserve; /* bytes; set before the threads run */
    uint64_t period_ms;
    atomic_uint_fast64_t total, free; /* written by the spare */
    atomic_bool stuck;                /* the next segment could not be made */
};

void space_init(struct space *space);

/* Spare: asks the file system that holds @dir. */
void space_ask(struct space *space, const struct rlog_disk *disk, const char *dir);

/* @ahead: allocated behind the end of the log. @before: the level until now; what was low needs a little more to be
 * enough. Fills all of @out but path. Any thread. */
void space_judge(const struct space *space, uint64_t segment_bytes, uint64_t ahead, enum rlog_space_level before,
                 struct rlog_space *out);

/* The reserve, or a segment if that is less: where no segment can be made, RLOG_SPACE_SCARCE begins with half of it
 * allocated ahead, and RLOG_SPACE_FULL with a quarter. */
uint64_t space_last_bytes(const struct space *space, uint64_t segment_bytes);

/* Whether entries may be taken for which the next segment would have to be made. */
bool space_can_grow(const struct space *space, uint64_t segment_bytes);

#endif
