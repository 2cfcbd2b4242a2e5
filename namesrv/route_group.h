/* A broker name with its members: what route_table.c and route_register.c work on together.
 *
 * A member's life:
 *
 *            register                    connection lost, id 0, another member is live
 *   (none) ------------> LIVE ------------------------------------------------------> GRACE
 *      ^                  | ^                register (any connection)                  |
 *      |                  | +-----------------------------------------------------------+
 *      +------------------+------- connection lost, silence, 104, displaced, grace over
 *
 * A group exists while it has a live member; with the last one its topics go too. */
#ifndef NAMESRV_ROUTE_GROUP_H
#define NAMESRV_ROUTE_GROUP_H

#include "namesrv/route_table.h"
#include "namesrv/route_topics.h"
#include "namesrv/table.h"

enum member_state { MEMBER_LIVE, MEMBER_GRACE };

struct member {
    struct member *next; /* in ascending order of id */
    int64_t id;
    enum member_state state;
    uint64_t conn; /* of the latest connection that registered it */
    uint64_t heard_ms;
    uint64_t timeout_ms;
    uint64_t grace_end_ms;             /* in MEMBER_GRACE */
    struct proto_data_version version; /* of the last registration taken */
    char *ha_addr;                     /* owned */
    uint32_t addr_bytes;
    char addr[]; /* without NUL */
};

struct route_group {
    UT_hash_handle hh;
    struct member *members; /* owned */
    uint32_t member_count;
    bool acting_master;
    bool writes_taken;   /* by 205: every topic of this name is shown without write permission */
    int64_t master_term; /* the highest state version that was listed as id 0 */
    char *cluster;       /* owned */
    char *zone;          /* owned; NULL: none */
    uint32_t name_bytes;
    char name[]; /* without NUL */
};

struct route_table {
    struct route_rules rules;
    struct route_group *groups; /* by broker name */
    struct route_topics topics;
};

static inline struct mq_str group_name(const struct route_group *group)
{
    return (struct mq_str){group->name, group->name_bytes};
}

static inline struct mq_str member_addr(const struct member *member)
{
    return (struct mq_str){member->addr, member->addr_bytes};
}

/* Allocated and in no table; NULL when memory is short. */
struct route_group *group_new(struct mq_str name, struct mq_str cluster);
struct member *member_new(struct mq_str addr);

/* Free what is in no table (any more). Only a member may be NULL. */
void group_free(struct route_group *group);
void member_free(struct member *member);

struct route_group *group_find(const struct route_table *table, struct mq_str name); /* or NULL */
struct member *member_by_addr(const struct route_group *group, struct mq_str addr);  /* or NULL */
struct member *member_by_id(const struct route_group *group, int64_t id);            /* or NULL */

/* Whether a member other than @besides (may be NULL) is live. */
bool group_has_live(const struct route_group *group, const struct member *besides);

/* Members are kept in ascending order of id; unlink before an id changes. */
void member_link(struct route_group *group, struct member *member);
void member_unlink(struct route_group *group, struct member *member);

/* Unlinks, frees and logs. Afterwards the caller settles the group. */
void member_remove(struct route_group *group, struct member *member, const char *why);

/* Ends a group without a live member, with its topics. */
void group_settle(struct route_table *table, struct route_group *group);

#endif
