/* Whether all members have the same state: each computes a hash per section at fixed indexes and tells the others.
 * Who differs from a majority cannot be trusted any more. Owned by the loop's thread. */
#ifndef RLOG_STATE_HASH_H
#define RLOG_STATE_HASH_H

#include "raft-log/include/raftlog/raftlog.h"

#define STATE_HASH_EVERY 4096u /* entries */
#define STATE_HASH_OWN 64u     /* remembered of our own */
#define STATE_HASH_HEARD 16u   /* of each other member */

/* The sections after entry @index. */
struct state_hashes {
    uint64_t index; /* 0: none */
    uint32_t n;
    struct {
        uint16_t id, version;
        uint64_t hash;
    } sections[RLOG_SECTIONS_MAX]; /* ascending by id */
};

/* What came out of a comparison. */
struct state_difference {
    uint64_t index;
    uint16_t section;
    uint64_t own, theirs;
    uint32_t member;   /* one that differs */
    uint32_t n_theirs; /* members that have said @theirs */
    bool minority;     /* a majority of the voters has: we are wrong */
};

struct state_hash_member {
    uint32_t id; /* 0: free */
    struct state_hashes heard[STATE_HASH_HEARD];
    uint32_t next;
};

struct state_hash {
    uint32_t self, n_voters;
    struct state_hashes own[STATE_HASH_OWN];
    uint32_t next;
    struct state_hash_member members[RLOG_MEMBERS_MAX];
    uint64_t compared; /* pairs of reports about the same index so far */
};

void state_hash_init(struct state_hash *watch, uint32_t self);

/* Who may vote now, ourselves included; what others have said is forgotten. */
void state_hash_voters(struct state_hash *watch, const uint32_t *ids, uint32_t n);

/* Our own after another STATE_HASH_EVERY entries; what a voter has said (others are not listened to). Each compares
 * what is known about that index. Returns true with @out when something differs. */
bool state_hash_own(struct state_hash *watch, const struct state_hashes *own, struct state_difference *out);
bool state_hash_heard(struct state_hash *watch, uint32_t member, const struct state_hashes *hashes,
                      struct state_difference *out);

/* The newest of our own, or NULL. */
const struct state_hashes *state_hash_newest(const struct state_hash *watch);

#endif
