/* How much room the members' disks have for the log, taken together. A leader whose own disk has room can append, but
 * what it proposes would wait for ever where a majority cannot be made of members that have room: so it refuses, and
 * names one of those that have none.
 *
 *   every half second, and 100 ms after it changed: a member whose disk is short of room (and once more when it is
 * not any more) tells the leader the leader: with what it heard in the last seconds, the best level that a majority
 * of the voters has
 *
 * A member that says nothing counts as one that has room: for one that is down, proposals wait as they always do.
 *
 * Records that retention has to append again are taken at RLOG_SPACE_LOW, too, or a disk that is low would stay so.
 * The reserve cannot be eaten up by them: between the level at which they end (SCARCE) and the one at which nothing
 * is taken any more (FULL) lies a quarter of commitlog_last_bytes, and before the leader has heard of a member that
 * passed the first one it gives out no more than that: a twelfth in half a second, or two at once when the last ones
 * have left nothing over. What is left is for small entries, the one that drops the segment first of all. Loop's
 * thread.
 */
#ifndef RLOG_ROOM_H
#define RLOG_ROOM_H

#include "raft-log/peer/peers.h"

struct rlog;

struct room_report {
    uint32_t id; /* 0: none */
    uint64_t incarnation;
    uint64_t heard_ms; /* monotonic */
    struct peer_space said;
    char text[PEER_PATH_MAX + 40]; /* the path and whose it is */
};

struct room {
    struct rlog *log; /* borrowed: the owner */
    uv_timer_t tick;
    struct room_report reports[PEERS_MAX]; /* in the order of the peers */
    const struct room_report *short_one;   /* a voter's that has less than the majority needs; NULL */
    enum rlog_space_level others; /* what a majority of the voters has; ENOUGH where this node does not lead */
    uint32_t ticks;
    enum rlog_space_level said; /* to the leader, or would have been */
    bool told;                  /* the leader was told that this disk is short of room */
    uint64_t given;             /* bytes of the reserve, in this half second and what the last ones left over */
};

void room_init(struct room *room, struct rlog *log);
/* This node takes part. */
void room_start(struct room *room);

void room_heard(struct room *room, struct peer *peer, uint64_t incarnation, const struct peer_space *said);

/* The worse of what this node's disk has and what a majority has. */
enum rlog_space_level room_level(const struct room *room);
/* As rlog_reserve_take. */
int room_reserve_take(struct room *room, uint32_t bytes);
/* Of the disk that makes it so. out->path: until the next turn of the loop. */
void room_get(const struct room *room, struct rlog_space *out);

/* The best level that more than half of @n voters have, or better. */
enum rlog_space_level room_of_majority(const enum rlog_space_level *levels, uint32_t n);

#endif
