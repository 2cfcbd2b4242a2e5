/* How a member that lacks what the group has gets it back. Owned by the loop's thread.
 *
 * Far behind or empty:
 *   leader: CORE_INSTALL -> catchup_need -> a snapshot is pulled (snapshot_pull.h), unless one is here that is new
 *   enough -> it becomes this node's newest -> ops.install: log and state begin with it -> new entries are
 * acknowledged
 *
 * From then on, and after every start, as long as the log begins later than the group's:
 *   older entries are put before it (backfill.h) -> done
 *
 * That a log begins late because of a snapshot, and not because the group dropped older entries, is remembered by a
 * file without content, <dir>/backfill: made before a fetched snapshot becomes the newest one, removed when nothing
 * is missing and the log has reached that snapshot. As long as it is there, snapshots are no evidence of what this
 * log held (evidence.h).
 *
 * A member that lacks entries stands for no election, so that those who can serve everything lead, unless no leader
 * has been known for CATCHUP_LEADERLESS_ELECTIONS election time-outs: perhaps nobody else can. Progress is one line
 * every 10 s, and in rlog_status. */
#ifndef RLOG_CATCHUP_H
#define RLOG_CATCHUP_H

#include "raft-log/backfill.h"
#include "raft-log/snapshot_pull.h"
#include "raft-log/snapshots.h"

#define CATCHUP_LEADERLESS_ELECTIONS 10u
#define CATCHUP_LINE_MS 10000u

struct catchup_ops {
    /* Puts a snapshot of this node's shelf in the place of log and state, because @leader asked for that in @term.
     * Returns 0; MQ_EAGAIN (another term by now: that one's leader will ask again) or another code of
     * driver_install. */
    int (*install)(void *data, uint32_t leader, uint64_t term, const struct snapshot_info *info);
    /* Whether this node is to stand for elections. */
    void (*passive)(void *data, bool passive);
    /* For how long no leader has been known. */
    uint64_t (*leaderless_ms)(void *data);
    /* Nothing below this position is in the group's log any more. */
    uint64_t (*log_start_pos)(void *data);
};

struct catchup_options {
    uv_loop_t *loop;
    struct peers *peers;
    struct commitlog *log;
    struct snapshots *snapshots; /* NULL: the owner has no state, and the group no snapshots */
    const struct rlog_disk *disk;
    const char *dir;      /* the member's directory */
    struct rlog_fsm *fsm; /* borrowed, like all above */
    uint64_t backfill_bytes_per_s;
    uint32_t election_ms;
    const struct catchup_ops *ops;
    void *data;
};

struct catchup {
    struct catchup_options options;
    struct snapshot_pull pull;
    struct backfill fill;
    uv_timer_t tick; /* while something is missing */
    uint32_t leader; /* who asked for a snapshot, in which term, and from where on one is of use */
    uint64_t term, index_min;
    struct snapshot_info *pulled; /* owned; index 0: none. Is here, but this node takes one of its own right now */
    char *marker;                 /* owned: the path of <dir>/backfill */
    bool lacks;                   /* it is there */
    bool passive;
    struct commitlog_settle settle;
    bool settling;               /* all is there, and is being made durable */
    uint64_t line_ms, line_done; /* of the last line about progress */
    uint64_t installed;          /* snapshots, since the start */
    uint32_t open;               /* parts that are not closed yet */
    bool stopped;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

/* Returns 0, MQ_ENOMEM, or -errno (the directory cannot be read). */
int catchup_init(struct catchup *catchup, const struct catchup_options *options);
/* Before the peers are closed: nothing is asked of them any more. */
void catchup_stop(struct catchup *catchup);
/* After the peers are closed, and before log and snapshots are. @closed comes later on the loop. */
void catchup_close(struct catchup *catchup, void (*closed)(void *data), void *data);

/* A fetched snapshot is about to be the newest in @dir, and the log to begin late: durable on return. Returns 0,
 * MQ_ENOMEM or -errno. */
int catchup_set_marker(const struct rlog_disk *disk, const char *dir);
/* Whether that is so. Returns 0 and sets @has, MQ_ENOMEM or -errno. */
int catchup_has_marker(const struct rlog_disk *disk, const char *dir, bool *has);

/* This node takes part now: what it lacks is fetched. */
void catchup_start(struct catchup *catchup);
/* A leader says that what comes next is no entry of its log. May be said again and again. */
void catchup_need(struct catchup *catchup, uint32_t leader, uint64_t term, uint64_t index_min);

void catchup_status_get(const struct catchup *catchup, struct rlog_catchup_status *out);

#endif
