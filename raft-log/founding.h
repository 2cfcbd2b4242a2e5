/* How a group begins. A node whose log is empty waits until it has heard that all configured members are empty too,
 * and that each of them has heard exactly the same of all others: id, directory (incarnation) and address. Then each
 * writes the same entry 1, which names them. As a member founds only what every other one had said it sees, and says
 * something else only after it has seen a directory replaced, two different foundings cannot happen.
 *
 * If a member says that the group is founded, the node adopts that entry when it names this very directory. If the
 * group has taken it in since, it begins with an empty log, which the leader fills. Otherwise this directory took the
 * place of one that had voted and acknowledged, or is a new member's: it stays outside, and says so. */
#ifndef RLOG_FOUNDING_H
#define RLOG_FOUNDING_H

#include "raft-log/core/member.h"
#include "raft-log/peer/peers.h"

#include <stdbool.h>

struct rlog;

enum founding_state {
    FOUNDING_DONE,    /* entry 1 is on disk, or a leader is to bring it */
    FOUNDING_WAITING, /* for members, or for one that says how the group was founded */
    FOUNDING_WRITING,
    FOUNDING_OUTSIDE /* the group exists without this directory */
};

struct founding {
    struct rlog *log; /* borrowed: the owner */
    enum founding_state state;
    struct membership membership; /* DONE, WRITING: of entry 1; n 0 where it is not here */
    /* What each member said last, in the order of the options; n 0: nothing yet. */
    struct membership heard[RLOG_MEMBERS_MAX];
    uint64_t next_line_ms;
    uv_timer_t tick;
};

/* Reads entry 1, if there is one, and checks that it is of this group. Returns 0,
 * MQ_EVERSION or MQ_ECORRUPT with a line in @problem. */
int founding_open(struct founding *founding, struct rlog *log, struct mq_buf *problem);

/* Starts to talk to the others, unless it is DONE. */
void founding_start(struct founding *founding);

/* A peer said something, or can be reached again. */
void founding_heard(struct founding *founding, struct peer *peer, uint64_t incarnation,
                    const struct peer_founding *said);
void founding_reached(struct founding *founding, struct peer *peer);

/* Entry 1 is durable. */
void founding_written(struct founding *founding);

#endif
