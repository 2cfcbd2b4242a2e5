/* What the files of the snapshots share. snapshots.c owns those that are kept: finding, checking, loading, lending,
 * adopting. snapshot_take.c takes new ones: rows, the worker, the timer. */
#ifndef RLOG_SNAPSHOTS_INSIDE_H
#define RLOG_SNAPSHOTS_INSIDE_H

#include "raft-log/snapshots.h"

struct block {
    struct block *next;
    uint16_t section;
    struct mq_buf rows; /* owned */
};

/* Rows of one section that have not filled a block. */
struct gathering {
    uint16_t section;
    struct mq_buf rows;
};

struct rlog_sink {
    struct snapshots *snapshots;
    struct gathering gathering[RLOG_SECTIONS_MAX];
    uint32_t n;
};

/* One round of the worker: its blocks go to the file, and with @last it is finished. The worker touches this and the
 * writer only. */
struct job {
    uv_work_t work;
    struct snapshots *snapshots;
    struct block *blocks; /* owned */
    bool last;
    bool give_up; /* the file is removed */
    int rc;
    const char *failed; /* what did; static */
    struct mq_buf problem;
};

enum snapshots_state {
    SNAPSHOTS_IDLE,
    SNAPSHOTS_STREAMING, /* rows are coming */
    SNAPSHOTS_ENDING     /* the last job is queued or runs */
};

struct kept {
    struct snapshot_info info;
    bool read; /* as a whole, or written, by this process */
    uint32_t holds;
};

struct snapshots {
    struct snapshots_options options;
    char dir[SNAPSHOT_PATH_MAX]; /* <dir>/snapshot */
    struct kept kept[SNAPSHOTS_MAX];
    uint32_t n_kept; /* newest first */
    uv_timer_t timer;
    bool has_timer, started, closing;
    bool alone; /* the newest was fetched: another one is due */
    uint64_t wanted_pos;

    enum snapshots_state state;
    int failed; /* why the one that is being taken is given up; 0: it is not */
    struct snapshot_info taking;
    char doomed[SNAPSHOTS_MAX][SNAPSHOT_PATH_MAX]; /* go when it counts */
    uint32_t n_doomed;
    struct snapshot_info now;     /* scratch */
    struct snapshot_info written; /* the worker's: what the finished file says */
    struct rlog_sink sink;
    struct block *full, **full_end; /* waiting for the worker */
    uint64_t queued_bytes;
    struct snapshot_writer writer; /* the worker's while a job runs */
    bool writer_open;
    struct job job;
    bool job_runs;
    uint64_t began_ms, look_from_ms, last_taken_ms;

    struct snapshots_stats stats;
    void (*closed)(void *data);
    void *closed_data;
};

/* Where the file of snapshot @index lies, in @path of SNAPSHOT_PATH_MAX bytes. */
void snapshots_path(const struct snapshots *s, uint64_t index, const char *suffix, char *path);
/* A new one is the newest; the @i-th is none of those that are kept any more. */
void snapshots_keep(struct snapshots *s, const struct snapshot_info *info);
void snapshots_forget(struct snapshots *s, uint32_t i);

#endif
