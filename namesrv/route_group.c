/* Groups and members as storage: finding, linking, ending. */
#include "namesrv/route_group.h"

#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

void member_free(struct member *member)
{
    if (member != NULL) {
        mq_free(member->ha_addr);
        mq_free(member);
    }
}

void group_free(struct route_group *group)
{
    struct member *member;

    while ((member = group->members) != NULL) {
        group->members = member->next;
        member_free(member);
    }
    mq_free(group->cluster);
    mq_free(group->zone);
    mq_free(group);
}

struct route_group *group_find(const struct route_table *table, struct mq_str name)
{
    struct route_group *group = NULL;

    if (name.len != 0) {
        HASH_FIND(hh, table->groups, name.at, name.len, group);
    }
    return group;
}

struct member *member_by_addr(const struct route_group *group, struct mq_str addr)
{
    struct member *member = group->members;

    while (member != NULL && !mq_str_eq(member_addr(member), addr)) {
        member = member->next;
    }
    return member;
}

struct member *member_by_id(const struct route_group *group, int64_t id)
{
    struct member *member = group->members;

    while (member != NULL && member->id != id) {
        member = member->next;
    }
    return member;
}

bool group_has_live(const struct route_group *group, const struct member *besides)
{
    for (const struct member *member = group->members; member != NULL; member = member->next) {
        if (member != besides && member->state == MEMBER_LIVE) {
            return true;
        }
    }
    return false;
}

void member_unlink(struct route_group *group, struct member *member)
{
    struct member **at = &group->members;

    while (*at != member) {
        at = &(*at)->next;
    }
    *at = member->next;
    group->member_count--;
}

void member_link(struct route_group *group, struct member *member)
{
    struct member **at = &group->members;

    while (*at != NULL && (*at)->id < member->id) {
        at = &(*at)->next;
    }
    member->next = *at;
    *at = member;
    group->member_count++;
}

void member_remove(struct route_group *group, struct member *member, const char *why)
{
    mq_log_info("route", "removed broker=" MQ_STR_FMT " id=%" PRId64 " addr=" MQ_STR_FMT " why=%s",
                MQ_STR_ARG(group_name(group)), member->id, MQ_STR_ARG(member_addr(member)), why);
    member_unlink(group, member);
    member_free(member);
}

void group_settle(struct route_table *table, struct route_group *group)
{
    if (group_has_live(group, NULL)) {
        return;
    }
    while (group->members != NULL) {
        member_remove(group, group->members, "last of its name");
    }
    route_topics_drop_holder(&table->topics, group);
    HASH_DEL(table->groups, group);
    group_free(group);
}

struct route_group *group_new(struct mq_str name, struct mq_str cluster)
{
    struct route_group *group = mq_calloc(1, sizeof(*group) + name.len);

    if (group == NULL) {
        return NULL;
    }
    group->cluster = mq_strndup(cluster.at, cluster.len);
    if (group->cluster == NULL) {
        mq_free(group);
        return NULL;
    }
    group->master_term = INT64_MIN;
    group->name_bytes = name.len;
    memcpy(group->name, name.at, name.len);
    return group;
}

struct member *member_new(struct mq_str addr)
{
    struct member *member = mq_calloc(1, sizeof(*member) + addr.len);

    if (member != NULL) {
        member->addr_bytes = addr.len;
        memcpy(member->addr, addr.at, addr.len);
    }
    return member;
}
