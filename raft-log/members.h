/* Who belongs to the group, and changes of that. Every change is a CHANGE entry: proposed by a writable leader alone,
 * one at a time, and differing by one member from what was before, so that any two majorities that follow each other
 * have a member in common.
 *
 * A new member comes as a learner: it gets every entry and has no say. One that is to vote is JOINING; whoever leads
 * makes it a voter once it has caught up. A member's directory is named by its incarnation: another directory under
 * the same id is another member, to be admitted by `replace`.
 *
 * Happy path of a replacement: the new directory is reached (REACHING), the old one is removed (REMOVING), the new
 * one added (ADDING), the caller told; later it is made a voter. Failures: the directory does not answer in time,
 * leadership is lost (every step is in the log: asking the next leader goes on where this one stopped).
 *
 * Members tell each other the membership that they have applied when they connect, and who was removed hears it from
 * those who removed it. A node that hears of a newer membership than its log has listens to those members too: the
 * leader may be one. */
#ifndef RLOG_MEMBERS_H
#define RLOG_MEMBERS_H

#include "raft-log/core/member.h"
#include "raft-log/peer/peers.h"

#include <stdbool.h>

struct rlog;
struct rlog_change;

struct members {
    struct rlog *log;            /* borrowed: the owner */
    struct rlog_change *running; /* NULL: none */
    struct membership heard;     /* newer than what our log has; n 0: none */
    uint64_t heard_index;
    struct membership told; /* as applied when last looked at */
    uint64_t told_index;
    bool outside; /* this directory is no member, as far as we know */
    uint64_t next_line_ms;
    uv_timer_t tick;
};

void members_init(struct members *members, struct rlog *log);

/* The log takes part from now on. */
void members_start(struct members *members);

/* The membership, what of it is applied, or our role changed. */
void members_changed(struct members *members);

/* The newest membership that this node knows of, from its log or from others. */
const struct membership *members_newest(const struct members *members);

/* What this node would say to a member that asks. */
void members_say(const struct members *members, struct peer_founding *out);

/* @peer said who belongs to the group; or it can be reached again. */
void members_heard(struct members *members, struct peer *peer, const struct peer_founding *said);
void members_reached(struct members *members, struct peer *peer);

/* Ends a running change with MQ_ECLOSED. */
void members_stop(struct members *members);

/* What a running change waits for; NULL: none runs. */
const char *members_running(const struct members *members);

#endif
