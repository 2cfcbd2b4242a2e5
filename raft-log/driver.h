/* Carries out what the core decides, in order, and applies what is committed. It touches no socket, clock or timer
 * itself: those come in through struct rlog_env, so that a simulator can run it. Owned by the loop's thread.
 *
 * Every event (a message, a notice from the disk, a time-out, a proposal) is one step of the core, whose update is
 * carried out before the next step: term and vote durable; truncation; entries to the log and to the writer;
 * messages. Only then, outside of any step, comes what may call the owner back: role (role.c), apply, callbacks of
 * proposals, news of the membership, transfer (transfer.c), room. Callbacks may propose. */
#ifndef RLOG_DRIVER_H
#define RLOG_DRIVER_H

#include "raft-log/core/core.h"
#include "raft-log/core/member.h"
#include "raft-log/include/raftlog/raftlog.h"
#include "raft-log/log/blob.h"
#include "raft-log/log/commitlog.h"
#include "raft-log/log/meta.h"

/* What the driver needs of the world. */
struct rlog_env {
    uint64_t (*now_ms)(struct rlog_env *env); /* monotonic */
    int64_t (*wall_ms)(struct rlog_env *env);
    /* driver_timeout is to be called once, at @at_ms or soon after; replaces an earlier wish. */
    void (*wake_at)(struct rlog_env *env, uint64_t at_ms);
    /* driver_continue is to be called from a later turn of the loop. */
    void (*soon)(struct rlog_env *env);
    /* Sends to message->peer or drops. Never calls the driver. */
    void (*send)(struct rlog_env *env, const struct core_message *message);
    /* The membership, what of it is applied, or our role changed. Outside of any step; may call the driver. */
    void (*members)(struct rlog_env *env);
    /* Entry @index was applied, a multiple of STATE_HASH_EVERY; also while replaying. May be NULL. Never calls the
     * driver. */
    void (*checkpoint)(struct rlog_env *env, uint64_t index);
    /* @leader, in @term, says that what comes next is none of its entries any more: a snapshot that stands for at
     * least @index is to be fetched, for driver_install. Said again while that is so. May call driver_install. */
    void (*need_snapshot)(struct rlog_env *env, uint32_t leader, uint64_t term, uint64_t index);
    /* Entry @index, which is committed and durable here, is bad: applying waits for driver_continue, when it was
     * repaired. May be NULL: then the process ends. Never calls the driver. */
    void (*damaged)(struct rlog_env *env, uint64_t index);
};

struct driver_options {
    struct rlog_env *env; /* borrowed, like all below */
    struct commitlog *log;
    struct meta *meta;
    struct blob_pool *blobs;
    struct rlog_fsm *fsm;
    uint32_t self;
    uint32_t seed;
    uint32_t election_ms, heartbeat_ms;
    uint32_t inflight_entries_max;
    uint64_t inflight_bytes_max;
    uint64_t unsynced_bytes_max;
};

struct driver {
    struct driver_options options;
    struct core *core; /* owned; NULL until driver_start */
    bool in_step;      /* an update is being carried out: the core may not be called */
    bool settling;     /* the outer call of settle goes round again */
    bool again;
    bool closing;    /* nothing is applied or told any more */
    bool slice_used; /* applying waits for driver_continue, which was asked for */

    uint64_t commit; /* highest index known to be committed; never falls (I1) */
    uint64_t applied, applied_pos;
    uint64_t durable_index, durable_term; /* not yet told to the core; 0: nothing */
    uint64_t wake_ms;                     /* when env will call driver_timeout; 0: not asked */
    uint64_t disk_ms;                     /* when the writer began or last ended something */
    bool silent;                          /* leading with a disk that hangs */

    /* Who belongs to the group: the last CHANGE entry of the log, applied or not, and the one before, which holds
     * when that is replaced. Index 0: none yet. */
    struct membership current, former;
    uint64_t current_index, former_index;
    bool members_due; /* env->members waits for its turn */
    bool outside;     /* the group goes on without this directory: it stands for no election */

    /* transfer.c */
    struct rlog_transfer *transfer; /* running; NULL */
    uint64_t transfer_term, transfer_half_ms, transfer_end_ms;
    bool transfer_told; /* the core hands over */

    /* role.c */
    struct rlog_role role; /* as told to the owner */
    enum rlog_role_kind core_role_seen;
    uint64_t leading_term; /* 0: not leading */
    uint64_t leading_since_ms;
    uint64_t barrier_index; /* own-term barrier of this leadership; 0: none yet */
    uint64_t elections, leaderships;
    uint64_t leader_ms; /* when a leader was known last */

    /* propose.c */
    struct rlog_proposal *proposals, **proposals_end; /* outstanding, ascending by index */
    uint64_t inflight_entries, inflight_bytes;
    bool full; /* a bound on what is in flight was reached: the owner waits for room */
    bool room_due;

    struct core_entry *stand_ins; /* owned; scratch */
    uint32_t stand_ins_cap;
};

void driver_init(struct driver *driver, const struct driver_options *options);
void driver_fini(struct driver *driver);

/* Before the start: applies what the log itself proves to be committed. Blocking. @progress is called about once a
 * second with the index applied last. */
void driver_replay(struct driver *driver, void (*progress)(void *data, uint64_t index, uint64_t last), void *data);

/* Before driver_replay: the owner's state is that after entry @index, which ends at @end_pos. */
void driver_restored(struct driver *driver, uint64_t index, uint64_t end_pos);
/* The log begins later: whole segments below @pos are dropped, but nothing that was not applied here. Returns 0 or
 * MQ_ENOMEM. */
int driver_trim(struct driver *driver, uint64_t pos);
/* A snapshot that is kept stands for what lies up to @base. Where the core has many terms to remember, it lets those
 * go: a follower that lacks such old entries gets the snapshot then, though the log still has them. */
void driver_forget_terms(struct driver *driver, const struct rlog_base *base);

/* Takes part, also with an empty log, which a leader is to fill. Returns 0, or a negative code. */
int driver_start(struct driver *driver);

/* Nothing is applied, told or sent from now on; outstanding proposals get MQ_EUNSURE here. */
void driver_stop(struct driver *driver);

/* A message. @entries: message->append.n decoded entries inside @ref's memory; message->append.entries is not looked
 * at. Returns 0, MQ_EBADMSG or MQ_ECORRUPT (the sender is not to be believed) or MQ_ENOMEM, with nothing changed. */
int driver_receive(struct driver *driver, struct core_message *message, const struct commitlog_entry *entries,
                   struct net_ref *ref);
void driver_durable(struct driver *driver, uint64_t index, uint64_t term);
void driver_timeout(struct driver *driver);
void driver_continue(struct driver *driver);

/* A snapshot that ends behind @base is here as a whole, because @leader said in @term that it is needed. The log is
 * reset behind @base; @load puts the snapshot into the owner's state, where it must not fail. If this node has all
 * that already, nothing happens. Not from inside a call of the driver but need_snapshot. Blocking. Returns 0; or
 * MQ_EAGAIN (another term by now), MQ_EBADMSG (no membership) or MQ_ECLOSED with nothing changed. */
int driver_install(struct driver *driver, uint32_t leader, uint64_t term, const struct rlog_base *base,
                   void (*load)(void *data), void *data);

/* Stands for no election from now on, or does again. */
void driver_set_passive(struct driver *driver, bool passive);
/* For how long no leader has been known. */
uint64_t driver_leaderless_ms(const struct driver *driver);

/* Appends an entry of this leader and gives it to the core. @blob: taken on success. Returns 0, MQ_ETOOBIG or
 * MQ_ENOMEM. */
int driver_append(struct driver *driver, uint8_t type, struct rlog_blob *blob, int64_t wall_ms, uint32_t records,
                  uint32_t items);

/* Appends a CHANGE entry; @to differs from the present membership by one member. Writable leader whose
 * core_can_change. Returns 0 or MQ_ENOMEM. */
int driver_change(struct driver *driver, const struct membership *to);

/* The core tells @target to take over. Returns 0 or a negative code. */
int driver_hand_over(struct driver *driver, uint32_t target);

/* The membership as applied here, and the index of its entry (0: none). */
const struct membership *driver_applied_membership(const struct driver *driver, uint64_t *index);

/* Everything below is safe to read here: committed and durable on this node. */
uint64_t driver_apply_limit(const struct driver *driver);

/* role.c: tells the owner what changed; answers proposals when leadership is gone; makes the barrier of a new
 * leadership. */
void role_settle(struct driver *driver);

/* transfer.c: goes on with handing over leadership. */
void transfer_settle(struct driver *driver);
void transfer_fail(struct driver *driver);

/* propose.c */
void propose_applied(struct driver *driver, uint64_t index, uint32_t entry_bytes);
void propose_fail_all(struct driver *driver);

#endif
