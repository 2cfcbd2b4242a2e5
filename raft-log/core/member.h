/* Who belongs to a group, as CHANGE entries carry it (member.proto). */
#ifndef RLOG_CORE_MEMBER_H
#define RLOG_CORE_MEMBER_H

#include "raft-log/include/raftlog/raftlog.h"
#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMBER_TEXT_MAX 255 /* bytes of a group's name or an address */

/* As in member.proto. */
enum member_role { MEMBER_VOTER, MEMBER_LEARNER, MEMBER_JOINING };

struct member {
    uint32_t id;
    uint64_t incarnation;
    enum member_role role;
    bool added; /* by a change, not at the founding */
    char address[MEMBER_TEXT_MAX + 1];
};

struct membership {
    char group[MEMBER_TEXT_MAX + 1];
    uint32_t n;
    struct member members[RLOG_MEMBERS_MAX]; /* ascending by id */
};

/* Starts an empty membership. Returns 0 or MQ_ETOOBIG (the name). */
int membership_init(struct membership *membership, const char *group);

/* Adds a founding member, a voter, in its place. Returns 0, MQ_ETOOBIG (too many, address too long), MQ_EEXIST, or
 * MQ_EINVAL (id 0 or above 2^31). */
int membership_add(struct membership *membership, uint32_t id, const char *address, uint64_t incarnation);

/* The same for any member: role and added as given. */
int membership_put(struct membership *membership, const struct member *member);

/* Takes a member out. Returns 0 or MQ_ENOTFOUND. */
int membership_remove(struct membership *membership, uint32_t id);

/* NULL when not a member. */
const struct member *membership_find(const struct membership *membership, uint32_t id);

/* Whether the directory @incarnation takes part as @id. */
bool membership_has(const struct membership *membership, uint32_t id, uint64_t incarnation);

uint32_t membership_voters(const struct membership *membership);

/* "voter", "learner", "joining". */
const char *member_role_name(enum member_role role);

/* Everything is the same. */
bool membership_equal(const struct membership *a, const struct membership *b);

/* Appends the encoding, the same bytes for equal memberships. Returns 0 or MQ_ENOMEM. */
int membership_encode(const struct membership *membership, struct mq_buf *out);

/* Returns 0, or MQ_EBADMSG (not a membership, no voters, not ascending, a role that is not ours) with @out untouched.
 */
int membership_decode(const uint8_t *bytes, size_t n, struct membership *out);

#endif
