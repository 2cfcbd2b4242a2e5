/* What a member does about entries that it may have acknowledged and that its disk no longer has.
 *
 *   the log is opened -> repair_keep_claim: the claim goes into meta, then the bad end is cut
 *   the node takes part as a follower; the core votes as if it held the claim, and does not stand for election
 *   a leader brings everything again -> the log has reached the claim -> it is dropped          (the rule)
 *   nobody leads, because nobody holds what is claimed: a power cut of all members, each with a claim on entries that
 *     only looked written -> all voters say what they hold (PEER_CLAIM) -> the claim is lowered to the best of that
 *   one voter does not answer -> a line every 10 s names it
 *   entries that were committed are nowhere -> a line every 10 s says so: people must decide
 *
 * Only when ALL voters have said what they hold can nobody hold more; and what one says who leads in a term before
 * ours does not count, because it may make an entry committed with an acknowledgement that we gave. Loop's thread. */
#ifndef RLOG_REPAIR_H
#define RLOG_REPAIR_H

#include "raft-log/peer/peers.h"

struct rlog;

struct repair_report {
    uint32_t id;          /* who said it: a place of the peers' list may change hands */
    uint64_t incarnation; /* and of which directory: a number may change hands, too */
    uint64_t heard_ms;    /* monotonic; 0: never */
    struct peer_claim said;
};

struct repair {
    struct rlog *log;                        /* borrowed: the owner */
    uv_timer_t tick;                         /* while a claim is open */
    struct repair_report reports[PEERS_MAX]; /* in the order of the peers */
    uint64_t next_line_ms;
};

void repair_init(struct repair *repair, struct rlog *log);

/* Adds @claim to what is claimed; durable on return. */
void repair_keep_claim(struct rlog *log, const struct rlog_claim *claim);

/* The core runs. */
void repair_start(struct repair *repair);

/* More is durable: the claim may have been reached. */
void repair_durable(struct repair *repair);

/* @incarnation: of the directory that says it. */
void repair_heard(struct repair *repair, struct peer *peer, uint64_t incarnation, const struct peer_claim *said);

#endif
