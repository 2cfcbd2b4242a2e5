/* Reads the sealed part of the log again and again, so that what the disk loses is found, and repaired from another
 * member (mender.h), while other members still have it. Owned by the loop's thread.
 *
 * A pass: piece by piece from the first entry held to the end of the last segment behind which an entry is committed
 * and synced -> rest -> the next pass. A piece is read and judged on a worker (scrub.h), and the next one begins when
 * the rate allows. The first pass after a start begins anywhere, so that a node which is started often is not read
 * at its beginning alone.
 *
 * Without a set rate a pass takes about a week, but reads at least SCRUBBER_BYTES_PER_S, and begins at the earliest a
 * day after the one before did. */
#ifndef RLOG_SCRUBBER_H
#define RLOG_SCRUBBER_H

#include "raft-log/mender.h"

#define SCRUBBER_BYTES_PER_S (1u << 20)
#define SCRUBBER_WAIT_MS 1000u /* between passes; while too much is bad; while nothing is sealed */

struct scrubber_options {
    uv_loop_t *loop;
    struct commitlog *log;
    struct mender *mender; /* borrowed, like all above */
    uint64_t bytes_per_s;  /* 0: nothing is read; RLOG_SCRUB_AUTO: see above */
    uint64_t (*committed)(void *data);
    void *data;
    uint32_t seed; /* of where the first pass begins */
};

struct scrubber {
    struct scrubber_options options;
    struct scrub_job job;
    uv_work_t work;
    uv_timer_t timer;
    bool reading, in_pass, begun; /* begun: there was a pass */
    uint64_t next;                /* entry to go on with */
    bool chained;                 /* the one before is good and has: */
    uint32_t prev_crc;
    uint64_t synced_pos;  /* of the segment that was synced last in this pass; UINT64_MAX: none */
    uint64_t due_ms;      /* monotonic: when the next piece may be read */
    uint64_t pass_ms;     /* when this pass, or the last one, began; monotonic */
    int64_t pass_wall_ms; /* the same for people; 0: never */
    uint64_t passes;      /* that came to the end */
    uint64_t bytes;       /* read since the start */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

void scrubber_init(struct scrubber *scrubber, const struct scrubber_options *options);
/* Before the log is; after the mender, which takes no more then. @closed comes later on the loop. */
void scrubber_close(struct scrubber *scrubber, void (*closed)(void *data), void *data);

/* This node takes part now. */
void scrubber_start(struct scrubber *scrubber);

/* The rate that holds now; bytes a second. */
uint64_t scrubber_rate(const struct scrubber *scrubber);
void scrubber_status_get(const struct scrubber *scrubber, struct rlog_scrub_status *out);

#endif
