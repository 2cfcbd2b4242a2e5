/* Entries of this log that may be bad, and what is done about them: looked at once more, fetched from another member,
 * written back, looked at again. Owned by the loop's thread.
 *
 *   mender_suspect (the scrubber, who sends, serves or applies an entry) -> a worker reads it from the disk (scrub.h)
 *     good: only memory was bad, and what was read is fresh        -> forgotten, ops.mended
 *     bad: one line with file, entry and position, counted         -> one member after the other is asked
 *   its answer, checked by itself (fetch.h), has to be the entries that the own index has there, and the last one has
 *   to have the header checksum that the next entry here says (commitlog_rewrite)
 *     -> written, synced, read again -> looked at again, until nothing of it is bad -> ops.mended
 *   nobody can help -> again after MENDER_REST_MS, then twice that, up to MENDER_REST_MAX_MS
 *
 * A stretch is mended from its end, so that each piece has a good entry behind it, which proves it. Entries that are
 * not known to be committed cannot be had from others for sure: if one is bad, twice in a row, the process ends, and
 * the next start keeps a claim on it. */
#ifndef RLOG_MENDER_H
#define RLOG_MENDER_H

#include "raft-log/log/commitlog.h"
#include "raft-log/peer/peers.h"

#include <uv.h>

#define MENDER_WOUNDS_MAX 64u /* stretches; the scrubber waits while there is no place for more */
#define MENDER_REST_MS 1000u
#define MENDER_REST_MAX_MS 300000u

struct mender_ops {
    uint64_t (*committed)(void *data);
    /* Something that was suspected is good now. May call the driver. */
    void (*mended)(void *data);
};

struct mender_options {
    uv_loop_t *loop;
    struct commitlog *log;
    struct peers *peers;
    const char *dir; /* the member's, for people; borrowed, like all above */
    const struct mender_ops *ops;
    void *data;
};

/* Entries first ... last, in one segment. Or what lies behind entry last in its segment (rest, first == last). */
struct wound {
    uint64_t first, last;
    bool rest;
    bool said;  /* it is bad indeed, and was counted */
    bool twice; /* not committed, and was bad before */
    uint32_t tries;
    uint64_t next_ms; /* looked at then; monotonic */
};

enum mender_state { MENDER_IDLE, MENDER_LOOKING, MENDER_FETCHING, MENDER_WRITING };

struct mender {
    struct mender_options options;
    enum mender_state state;
    struct wound wounds[MENDER_WOUNDS_MAX]; /* ascending; while one is worked on, none is removed or moved */
    uint32_t n;
    struct wound now; /* the one that is worked on */
    struct scrub_job job;
    uv_work_t work;
    struct scrub_bad target; /* what of it is fetched */
    struct fetch fetch;
    struct commitlog_rewrite rewrite;
    uint32_t peer, failed;                  /* who is asked; how many could not help in a row */
    uint64_t bad, repaired;                 /* entries, since the start */
    uint64_t repaired_first, repaired_last; /* the last ones; 0: none */
    uv_timer_t timer;
    struct mq_log_limit limit;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

void mender_init(struct mender *mender, const struct mender_options *options);
/* In the callback of the closed peers, which are not asked again; before the log is. Suspicions go nowhere from then
 * on. @closed comes later on the loop. */
void mender_close(struct mender *mender, void (*closed)(void *data), void *data);

/* Entries @first to @last, held and in one segment, may be bad. Nothing happens if that is known. Returns 0 or
 * MQ_EBUSY: too many are. */
int mender_suspect(struct mender *mender, uint64_t first, uint64_t last);
/* The same for what lies behind entry @last of its segment, as the one behind it is committed. */
int mender_suspect_rest(struct mender *mender, uint64_t last);

static inline bool mender_is_full(const struct mender *mender)
{
    return mender->n == MENDER_WOUNDS_MAX;
}

#endif
