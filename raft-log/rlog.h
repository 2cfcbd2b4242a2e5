/* A log and its parts, for the files of this folder. */
#ifndef RLOG_RLOG_H
#define RLOG_RLOG_H

#include "raft-log/catchup.h"
#include "raft-log/driver.h"
#include "raft-log/founding.h"
#include "raft-log/log/blob.h"
#include "raft-log/log/commit_mark.h"
#include "raft-log/log/commitlog.h"
#include "raft-log/log/flush_state.h"
#include "raft-log/log/meta.h"
#include "raft-log/members.h"
#include "raft-log/mender.h"
#include "raft-log/peer/peers.h"
#include "raft-log/repair.h"
#include "raft-log/rlog_state.h"
#include "raft-log/room.h"
#include "raft-log/scrubber.h"

struct rlog {
    struct net_loop *loop;
    struct rlog_options options; /* its strings and members are ours */
    struct rlog_member members[RLOG_MEMBERS_MAX];
    struct rlog_fsm *fsm;
    struct meta meta;
    struct commit_mark mark;
    struct flush_state flush;
    bool claimed_before; /* a claim was open when the log was opened */
    struct commitlog *commitlog;
    struct blob_pool blobs;
    struct driver driver;
    struct founding founding;
    struct repair repair;
    struct members changes;
    struct rlog_state state;
    struct room room;
    struct peers *peers; /* NULL until rlog_start */
    struct catchup catchup;
    struct mender mender;
    struct scrubber scrubber;
    bool catchup_open; /* and the two above */
    struct rlog_env env;
    /* The core's time-out is handled only after the loop has looked for input once more (check, with idle so that it
     * does not wait): after a stall, what has arrived meanwhile counts before the clock does. */
    uv_timer_t timer;
    uv_idle_t idle;
    uv_check_t check;
    bool timer_due, soon_due;
    bool has_replayed, started, closing;
    uint32_t open_handles;
    uint64_t opened_ms, replayed;
    void (*closed)(void *data);
    void *closed_data;
};

/* rlog_env.c: what the driver needs of the loop and the peers. */
void rlog_env_init(struct rlog *log);
/* @cb comes when the loop has looked for input once more. */
void rlog_come_back(struct rlog *log, uv_check_cb cb);
uint32_t rlog_random_seed(void);

/* rlog_news.c: what the log's parts tell. */
extern const struct peers_ops rlog_peers_ops;
extern const struct mender_ops rlog_mender_ops;
void rlog_on_durable(void *data, uint64_t index, uint64_t term);
uint64_t rlog_on_mark(void *data);   /* what is committed and synced: commit_mark_start */
uint64_t rlog_committed(void *data); /* what is known to be committed */
/* Somebody who needs entry @index found it bad. */
void rlog_on_damaged(void *data, uint64_t index);

/* rlog_open.c */
void rlog_free_options(struct rlog *log);

/* rlog_catchup.c: with the peers, before this node takes part. Returns 0, MQ_ENOMEM or -errno. */
int rlog_catchup_open(struct rlog *log);

/* Entry 1 is on disk, or a leader is to bring it: the core starts. */
void rlog_take_part(struct rlog *log);

#endif
