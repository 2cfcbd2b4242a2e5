/* Getting a snapshot's file from another member. Owned by the loop's thread.
 *
 *   snapshot_pull_start -> a member says which snapshot it has -> what a former attempt left of that file is measured
 *   -> the rest is asked for, PULL_DEPTH parts at a time, and a worker of the pool appends what comes
 *   -> all is there: synced, and read as a whole by snapshot_file_check -> got
 *
 * A member that fails is left for the next one after PULL_REST_MS; the file goes on where it is if the next one has
 * the same snapshot. A file that is whole and bad is removed. Parts are checked one by one as they come (fetch.h), so
 * a bad whole means a bad file over there, or here. The file grows in order, so its length is what is there; it
 * outlives a restart under the name that snapshots_part_path gives it. */
#ifndef RLOG_SNAPSHOT_PULL_H
#define RLOG_SNAPSHOT_PULL_H

#include "raft-log/log/snapshot_file.h"
#include "raft-log/peer/peers.h"

#include <uv.h>

#define PULL_DEPTH 4u /* parts that were asked for and are not written */
#define PULL_REST_MS 500u

struct snapshot_pull;

struct snapshot_pull_options {
    uv_loop_t *loop;
    struct peers *peers;
    const struct rlog_disk *disk; /* borrowed, like all above */
    /* Where the file of snapshot @index goes: @path of SNAPSHOT_PATH_MAX bytes. */
    void (*part_path)(void *data, uint64_t index, char *path);
    /* The file at info->path is whole and sound. Called from the loop; may start another pull. @info: borrowed. */
    void (*got)(void *data, const struct snapshot_info *info);
    void *data;
};

enum pull_state {
    PULL_IDLE,
    PULL_ASKING,   /* which snapshot there is */
    PULL_OPENING,  /* on the pool: what is there of it */
    PULL_RUNNING,  /* parts come and are written */
    PULL_CHECKING, /* on the pool */
    PULL_RESTING,  /* until the timer; before it, until nothing is on its way any more */
};

struct pull_part {
    struct snapshot_pull *pull;
    struct fetch fetch;
    struct net_ref *ref; /* counted; NULL until it came */
    const uint8_t *raw;
    uint32_t bytes;
    bool asked;
};

struct snapshot_pull {
    struct snapshot_pull_options options;
    enum pull_state state;
    uint64_t index_min; /* an older one is of no use */
    uint32_t peer;      /* who is asked */
    bool same_index;    /* ASKING: for the snapshot that was begun, not for the newest */

    /* The file; index 0: none was begun. */
    uint64_t index, term, file_bytes;
    int fd; /* -1: closed */
    uint64_t asked, written;
    char path[SNAPSHOT_PATH_MAX];

    struct pull_part parts[PULL_DEPTH]; /* ring: first_part ... are on their way, in order */
    uint32_t first_part, n_parts;
    uint32_t n_asked; /* of them: no answer yet */
    uv_work_t work;
    bool working;
    struct iovec vec[PULL_DEPTH]; /* of the write that runs */
    uint32_t n_writing;           /* parts in it */
    uint64_t write_at;
    int work_rc;
    uint64_t measured;          /* OPENING: what is there of the file */
    struct snapshot_info *info; /* owned; CHECKING */
    struct mq_buf problem;
    uv_timer_t timer;
    struct mq_log_limit limit;
    const char *cause; /* what it is doing, for people; static */
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* Returns 0 or MQ_ENOMEM. */
int snapshot_pull_init(struct snapshot_pull *pull, const struct snapshot_pull_options *options);
/* After the peers are closed. @closed comes later on the loop; then the memory is the caller's again. */
void snapshot_pull_close(struct snapshot_pull *pull, void (*closed)(void *data), void *data);

/* A snapshot of at least @index_min is needed; @peer has one. While one is being pulled that is new enough, nothing
 * changes. */
void snapshot_pull_start(struct snapshot_pull *pull, uint32_t peer, uint64_t index_min);
/* It is not needed any more. */
void snapshot_pull_stop(struct snapshot_pull *pull);

#endif
