/* The owner's state beside its log: snapshots taken of it and loaded into it, and how far the log may begin later
 * because of them. */
#ifndef RLOG_RLOG_STATE_H
#define RLOG_RLOG_STATE_H

#include "raft-log/peer/serve.h"
#include "raft-log/snapshots.h"
#include "raft-log/state_hash.h"

struct rlog;
struct rlog_env;

struct rlog_state {
    struct snapshots *snapshots;
    struct serve_snapshots serve;     /* for peers that ask for one */
    uint64_t trim_pos;                /* the owner needs nothing below; snapshots may still */
    const struct snapshot_info *load; /* borrowed until it is loaded; NULL: none is */
    uint64_t loaded_index;            /* of the snapshot that the start began with; 0: none */

    struct state_hash hashes;
    bool parted;        /* our state has parted from the group's: the process is about to end */
    uint64_t parted_ms; /* monotonic; since when */
    uv_timer_t parted_look;
    struct rlog_transfer parted_transfer;
    uint64_t members_index; /* of the membership whose voters are listened to */
    struct mq_log_limit differs_limit;
};

/* What a log begins behind that goes on from snapshot @info, from which it borrows the membership. */
struct rlog_base rlog_base_behind(const struct snapshot_info *info);

/* Finds the snapshots that are on disk. Before the log is opened, for which they are evidence. Returns 0 or a
 * negative code with a line in @problem. */
int rlog_state_find(struct rlog *log, struct mq_buf *problem);
/* Chooses the newest one that the log goes on from. Before the loop turns. Returns 0 or a negative code with a line
 * in
 * @problem: MQ_ECORRUPT where the log begins late and no snapshot stands for what lies before, or where log and
 * snapshot are not of one piece. */
int rlog_state_choose(struct rlog *log, struct mq_buf *problem);
/* Loads it, and what of the log lies before it goes to what the owner derives. Blocking. Returns 0, also when there
 * is none; or a negative code with a line in @problem. */
int rlog_state_load(struct rlog *log, struct mq_buf *problem);
/* env's checkpoint: computes the hashes and tells the others. */
void rlog_state_checkpoint(struct rlog_env *env, uint64_t index);
/* What member @id says. If it shows that our state has parted from the majority's, leadership is handed over and the
 * process ends. */
void rlog_state_heard(struct rlog *log, uint32_t id, const struct state_hashes *hashes);
/* The membership may have changed. */
void rlog_state_members(struct rlog *log);

/* Takes them from now on. */
void rlog_state_start(struct rlog *log);
/* @closed comes later on the loop, not if the open has failed. */
void rlog_state_close(struct rlog *log, void (*closed)(void *data), void *data);

#endif
