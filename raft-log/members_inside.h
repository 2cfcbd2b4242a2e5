/* What the files of the membership share. members.c knows who belongs to the group and tells others; member_change.c
 * changes that. */
#ifndef RLOG_MEMBERS_INSIDE_H
#define RLOG_MEMBERS_INSIDE_H

#include "raft-log/rlog.h"

static inline struct driver *driver_of(const struct members *members)
{
    return &members->log->driver;
}

static inline uint64_t now_of(const struct members *members)
{
    return members->log->env.now_ms(&members->log->env);
}

static inline bool is_leader(const struct members *members)
{
    const struct driver *driver = driver_of(members);

    return driver->role.kind == RLOG_WRITABLE && core_role(driver->core) == RLOG_LEADING &&
           core_term(driver->core) == driver->role.term;
}

/* Whom the peers reach, and whose word counts, follows the membership and a change that runs. */
void members_update_peers(struct members *members);
/* As the configuration has it; NULL: it does not name that member. */
const char *members_configured_address(const struct rlog *log, uint32_t id);

/* member_change.c: the next step of the change that runs. */
void member_change_go_on(struct members *members);
/* Makes one voter of those who joined and have caught up. */
void member_change_promote(struct members *members);

#endif
