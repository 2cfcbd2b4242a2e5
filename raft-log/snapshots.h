/* The snapshots of a member: the newest good one is found at the start; new ones are taken by volume, by time and on
 * demand; two are kept. Owned by the loop's thread.
 *
 * Taking one: the owner's rows come in slices of a millisecond at most on the loop, gather in blocks, and a worker on
 * the pool writes them -> the log is synced up to there -> the last block, the owner's own checkpoint, a sync, the
 * rename, and the file is read again -> it counts, the oldest goes. One that was fetched is followed at once by one
 * of this node's own, so that a log that begins behind it does not hang on one file. What fails on the way (no space,
 * a bad disk, no memory) is one warning: the file is removed, the log is needed from further back, and it is tried
 * again later. The state as of the begin is what the file holds, because the owner puts what changes meanwhile in its
 * old form (fsm.h). */
#ifndef RLOG_SNAPSHOTS_H
#define RLOG_SNAPSHOTS_H

#include "raft-log/log/snapshot_file.h"

#include <uv.h>

#define SNAPSHOTS_KEPT 2u
#define SNAPSHOTS_MAX 4u /* with those that someone holds */

struct snapshots_ops {
    /* Fills index, term, crc, end_pos, store_ms, change_index and membership as of the applied end; index 0 when
     * nothing was applied. */
    void (*as_of)(void *data, struct snapshot_info *out);
    /* Entries up to here are on the disk. One that is taken waits for that before it counts: power that is lost must
     * not leave it ahead of the log, whose missing entries may never come again. NULL: they always are. */
    uint64_t (*synced)(void *data);
    /* A new one counts. May be NULL. */
    void (*taken)(void *data, const struct snapshot_info *info);
};

struct snapshots_options {
    const struct rlog_disk *disk; /* borrowed, as are loop and fsm */
    const char *dir;              /* the member's directory; copied */
    uv_loop_t *loop;
    struct rlog_fsm *fsm;
    uint64_t every_bytes; /* of log behind the last one; 0: 256 MiB */
    uint64_t every_ms;    /* 0: 10 minutes */
    uint32_t slice_calls; /* of snapshot_more in one slice at most; 0: 64 */
    const struct snapshots_ops *ops;
    void *data;
};

struct snapshots_stats {
    uint64_t taken, failed; /* since the start */
    uint64_t last_ms;       /* how long the last one took */
    uint64_t slice_ns_max;  /* the longest slice on the loop so far */
    bool running;
};

struct snapshots;

/* Looks through <dir>/snapshot: what an interrupted write left is removed; the newest file is read and checked; one
 * that is damaged is renamed to <index>.bad with a warning and the next older one is taken. Blocking. Returns 0, with
 * none where there is none; or MQ_EVERSION (written by a later version), MQ_ETOOBIG (the path), MQ_ENOMEM or -errno
 * with a line in @problem. */
int snapshots_open(const struct snapshots_options *options, struct snapshots **out, struct mq_buf *problem);
/* Gives up one that is being taken; @closed comes later on the loop, and the memory is gone before it. */
void snapshots_close(struct snapshots *snapshots, void (*closed)(void *data), void *data);

/* For an open that fails further on, before a start: frees at once. */
void snapshots_drop(struct snapshots *snapshots);

/* The newest one that counts, or NULL. Borrowed until the loop's next turn. */
const struct snapshot_info *snapshots_newest(const struct snapshots *snapshots);
/* All that are kept, the newest first; older ones are known by their headers only. */
uint32_t snapshots_count(const struct snapshots *snapshots);
const struct snapshot_info *snapshots_at(const struct snapshots *snapshots, uint32_t i);
/* The oldest of at least SNAPSHOTS_KEPT: where the newest is bad, one is left at or above it. Else NULL. */
const struct snapshot_info *snapshots_oldest(const struct snapshots *snapshots);

/* Reads the @i-th as a whole, if that was not done at the open; one that is damaged is set aside and no longer among
 * those that are kept. Before a start. Blocking. Returns 0, MQ_ECORRUPT (set aside), or another negative code with a
 * line in @problem. */
int snapshots_verify(struct snapshots *snapshots, uint32_t i, struct mq_buf *problem);

/* Feeds the file of @info to the owner and compares the sections' hashes. Blocking. Returns 0, or a negative code
 * with a line in @problem: the owner's state is not to be used. */
int snapshots_restore(struct snapshots *snapshots, const struct snapshot_info *info, struct mq_buf *problem);

/* Begins to look once a second whether one is due. */
void snapshots_start(struct snapshots *snapshots);
/* The log could begin at @pos, once two stand for what lies before: they are taken as soon as there are entries. */
void snapshots_want(struct snapshots *snapshots, uint64_t pos);
/* Takes one now. Returns 0, MQ_EBUSY (one is being taken, or too many are held), MQ_ENOTFOUND (nothing was applied
 * since the last one), MQ_EUNSUPPORTED (the owner has no state) or MQ_ENOMEM. */
int snapshots_take(struct snapshots *snapshots);

/* Keeps the file of snapshot @index while others read it. acquire returns false when there is none such. */
bool snapshots_acquire(struct snapshots *snapshots, uint64_t index);
void snapshots_release(struct snapshots *snapshots, uint64_t index);

/* Where a file that is being fetched goes: <dir>/snapshot/<index>.part, in @path of SNAPSHOT_PATH_MAX bytes. It
 * outlives a restart. */
void snapshots_part_path(const struct snapshots *snapshots, uint64_t index, char *path);
/* A fetched file becomes the newest one: @info is what snapshot_file_check said of the .part. Blocking (a rename and
 * a sync). Older ones stay until the next is taken, but for one that was fetched, never used, and is one too many.
 * Returns 0, MQ_EBUSY (one is being taken, or too many are held), MQ_EEXIST (the newest is as new) or -errno. */
int snapshots_adopt(struct snapshots *snapshots, const struct snapshot_info *info);

void snapshots_stats_get(const struct snapshots *snapshots, struct snapshots_stats *out);

#endif
