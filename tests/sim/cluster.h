/* A group of members, each the broker's log, state, store and sequencer in a process on a machine of its own, and a
 * supervisor that starts again what has ended. */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "broker/flow/flows.h"
#include "broker/state/fsm.h"
#include "broker/store/sequencer.h"
#include "raft-log/rlog.h"
#include "tests/sim/history.h"
#include "tests/sim/plan.h"
#include "tests/sim/world/machine.h"

#define CLUSTER_PORT 7000
#define CLUSTER_DIR "/data"
#define CLUSTER_LOG_DIR CLUSTER_DIR "/raftlog"

/* A member's process, in its own memory. */
struct member_run {
    struct node *node;
    struct net_loop loop;
    struct store store;
    struct state state;
    struct sequencer *sequencer;
    struct rlog *log;
    struct rlog_fsm fsm;
    struct rlog_role role;
    struct net_turn turn;
    void (*send)(struct rlog_env *env, const struct core_message *message); /* the log's own */
    struct flows flows;
    uv_timer_t second;
    uint32_t seconds;
    uint64_t deleted_in[TOPICS]; /* drafts with their deletions */
    bool stopping, handing_over; /* leadership, before the rest closes */
    struct rlog_transfer stop_transfer;
    uint64_t drain_until_ms;
    uint8_t body[OP_BODY_MAX]; /* of the request at hand, which may wait for its disk while others run */
};

/* What the checks know of a member; invariants.c. Survives its processes. */
struct seen {
    uint32_t *crcs; /* of entries 1 ... last, as this member has them */
    uint64_t *poss;
    uint64_t cap, last, last_term;
    uint64_t base;       /* a snapshot stands for what comes up to here */
    uint64_t loose_pos;  /* what was put before its log ends here, and may not be on its platter yet */
    uint64_t on_platter; /* entries up to here were seen on its platter */
    uint64_t promised_term, vote_term;
    uint32_t vote;
    uint64_t commit, applied; /* of this process, like */
    uint64_t repaired;        /* entries that a scrub put right */
    uint64_t leading_term;
    uint64_t turns;
};

/* What the operator wants of a member. */
enum wish { WISH_NONE, WISH_REPLACE, WISH_ADD, WISH_ADD_LEARNER, WISH_PROMOTE, WISH_REMOVE };

struct node {
    uint32_t id; /* 1, 2, ... */
    struct machine *machine;
    struct process *process; /* NULL: down */
    struct member_run *run;  /* NULL unless the log is open */
    uint64_t instance;       /* counts its processes */
    bool stays_down;         /* the supervisor leaves it alone */
    bool damaged;            /* its disk lost something for good: counts for the minority */
    bool snapshot_flipped;   /* a bit of one of its snapshots was changed */
    bool meta_flipped;       /* one copy of its term and vote was made bad */
    uint64_t room_ns;        /* since then its disk has room again, which is still to be seen; 0: nothing to see */
    uint64_t excused_ns;     /* until then its process may end by itself: its disk was made to fail */
    uint32_t refusals;       /* in a row: starts that ended before the log was open */
    bool lost_end;           /* lost its power while entries were flushed late, and has not caught up since */
    uint64_t lost_pos;       /* up to here it had held the log then */
    bool pulling, filling;   /* fetches a snapshot, or older entries */
    bool fill_interrupted;   /* it ended while it was about older entries */
    bool absent;             /* no member, and not meant to be one: not started */
    uint64_t incarnation;    /* of its directory, once it was opened */
    bool wiped;              /* has an empty disk that is not a voter's yet; operator.c */
    uint64_t wiped_pos;      /* up to here the disk that is gone had held the log ... */
    uint64_t former_incarnation; /* ... in a directory with this one */
    /* operator.c */
    enum wish wish;
    uint64_t ask_ns, began_ns, give_up_ns; /* not before; since; until */
    uint64_t leaves_ns;                    /* then its machine is emptied; 0: it is not to be */
    struct node *asked;
    uint32_t transfer_to;
    struct world_event restart;
    struct seen seen;
};

extern struct node nodes[NODES_MAX];
extern const struct plan *cluster_plan;

/* Makes the machines and starts all members; @plan: borrowed to the end. */
void cluster_open(const struct plan *plan);
/* Frees what the checks remember; before world_close. */
void cluster_close(void);

uint32_t cluster_size(void); /* machines, members or not */
struct node *cluster_of_machine(const struct machine *machine);
/* The member that leads in the highest term and may write, as its process says; NULL: none. */
struct node *cluster_leader(void);
bool cluster_is_up(const struct node *node);
/* More members are out for good than the group can bear. */
bool cluster_is_lost(void);

/* Starts the member now, if it is down and has power. */
void cluster_start(struct node *node);
/* Stops the member in order; it is started again. */
void cluster_stop_in_order(struct node *node);
/* The member's process may end by itself for so long. */
void cluster_excuse(struct node *node, uint64_t ns);
/* No power any more; and whether the group may be expected to bear that now. */
void cluster_power_off(struct node *node);
bool cluster_may_lose_power(const struct node *node);
/* Power for a machine again, and its member. */
void cluster_power_on(struct node *node);

/* Sets a day without faults: links and disks as the plan has them. */
void cluster_good_links(void);
void cluster_good_disk(struct node *node);

/* The half flow's: a producer is asked how the transaction ends. Inside. */
void requests_check_back(void *data, const struct half *half, const struct reader_view *record);

/* Hands an operation to the member; its outcome comes to workload_answered. False: no process that listens. */
bool cluster_submit(struct node *node, struct op *op);

#endif
