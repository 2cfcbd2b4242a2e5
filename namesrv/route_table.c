/* The life of the table, who is alive, and what clients and administrators ask. Registrations are taken in
 * route_register.c. */
#include "namesrv/route_group.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>

int route_table_new(const struct route_rules *rules, struct route_table **out)
{
    struct route_table *table = mq_calloc(1, sizeof(*table));

    if (table == NULL) {
        return MQ_ENOMEM;
    }
    table->rules = *rules;
    route_topics_init(&table->topics);
    *out = table;
    return 0;
}

void route_table_free(struct route_table *table)
{
    struct route_group *group, *next;

    route_topics_fini(&table->topics);
    HASH_ITER (hh, table->groups, group, next) {
        HASH_DEL(table->groups, group);
        group_free(group);
    }
    mq_free(table);
}

static struct member *find(const struct route_table *table, const struct route_identity *who,
                           struct route_group **group)
{
    *group = group_find(table, who->broker_name);
    if (*group == NULL || !mq_str_eq(mq_str_of((*group)->cluster), who->cluster)) {
        return NULL;
    }
    return member_by_addr(*group, who->addr);
}

/* -- Liveness ------------------------------------------------------------------------------------------------ */

void route_table_unregister(struct route_table *table, const struct route_identity *who, uint64_t conn)
{
    struct route_group *group;
    struct member *member = find(table, who, &group);

    if (member != NULL && member->conn <= conn) {
        member_remove(group, member, "unregistered");
        group_settle(table, group);
    }
}

/* The members of one group that registered over @conn go; id 0 last, because its grace depends on who remains. */
static bool group_disconnected(const struct route_table *table, struct route_group *group, uint64_t conn,
                               uint64_t now_ms)
{
    struct member *master = NULL;
    bool changed = false;

    for (struct member *member = group->members, *next; member != NULL; member = next) {
        next = member->next;
        if (member->conn != conn || member->state != MEMBER_LIVE) {
            continue;
        }
        changed = true;
        if (member->id == 0) {
            master = member;
        } else {
            member_remove(group, member, "connection closed");
        }
    }
    if (master != NULL && group_has_live(group, master)) {
        master->state = MEMBER_GRACE;
        master->grace_end_ms = now_ms + table->rules.grace_ms;
        mq_log_info("route", "grace broker=" MQ_STR_FMT " id=0 addr=" MQ_STR_FMT " ms=%" PRIu64,
                    MQ_STR_ARG(group_name(group)), MQ_STR_ARG(member_addr(master)), table->rules.grace_ms);
    } else if (master != NULL) {
        member_remove(group, master, "connection closed");
    }
    return changed;
}

void route_table_disconnected(struct route_table *table, uint64_t conn, uint64_t now_ms)
{
    struct route_group *group, *next;

    HASH_ITER (hh, table->groups, group, next) {
        if (group_disconnected(table, group, conn, now_ms)) {
            group_settle(table, group);
        }
    }
}

void route_table_touch(struct route_table *table, const struct route_identity *who, uint64_t now_ms)
{
    struct route_group *group;
    struct member *member = find(table, who, &group);

    if (member != NULL) {
        member->heard_ms = now_ms;
    }
}

bool route_table_outdated(struct route_table *table, const struct route_identity *who, uint64_t conn,
                          const struct proto_data_version *version, uint64_t now_ms,
                          struct proto_data_version *stored, bool *has_stored)
{
    struct route_group *group;
    struct member *member = find(table, who, &group);

    *has_stored = member != NULL;
    if (member == NULL) {
        return true;
    }
    *stored = member->version;
    member->heard_ms = now_ms;
    return member->state != MEMBER_LIVE || member->conn != conn ||
           proto_data_version_compare(&member->version, version) != 0;
}

/* Removes at most one member of @group that is due at @now_ms; false when there is none. */
static bool group_expire_one(struct route_group *group, uint64_t now_ms, uint64_t *silent_conn)
{
    *silent_conn = 0;
    for (struct member *member = group->members; member != NULL; member = member->next) {
        if (member->state == MEMBER_GRACE && now_ms >= member->grace_end_ms) {
            member_remove(group, member, "grace is over");
            return true;
        }
        if (member->state == MEMBER_LIVE && now_ms >= member->heard_ms + member->timeout_ms) {
            *silent_conn = member->conn;
            member_remove(group, member, "silent for too long");
            return true;
        }
    }
    return false;
}

void route_table_expire(struct route_table *table, uint64_t now_ms, void (*silent)(void *data, uint64_t conn),
                        void *data)
{
    struct route_group *group, *next;

    HASH_ITER (hh, table->groups, group, next) {
        uint64_t conns[ROUTE_MEMBERS_MAX];
        uint32_t conn_count = 0;
        bool changed = false;
        uint64_t conn;

        while (group_expire_one(group, now_ms, &conn)) {
            changed = true;
            if (conn != 0) {
                conns[conn_count++] = conn;
            }
        }
        if (changed) {
            group_settle(table, group);
        }
        for (uint32_t i = 0; i < conn_count && silent != NULL; i++) {
            silent(data, conns[i]);
        }
    }
}

/* -- Queries ------------------------------------------------------------------------------------------------- */

static void fill_broker(const struct route_group *group, struct proto_broker_data *out)
{
    *out = (struct proto_broker_data){
        .cluster = mq_str_of(group->cluster),
        .name = group_name(group),
        .zone = mq_str_of(group->zone),
        .acting_master = group->acting_master,
    };
    for (const struct member *member = group->members; member != NULL; member = member->next) {
        int rc = proto_broker_add_addr(out, member->id, member_addr(member));

        MQ_ASSERT(rc == 0);
    }
}

/* Source of the rule: RocketMQ's ZoneRouteRPCHook. */
static bool in_zone(const struct route_group *group, struct mq_str zone)
{
    return zone.len == 0 || member_by_id(group, 0) == NULL || mq_str_eq_nocase(mq_str_of(group->zone), zone);
}

static int add_share(struct proto_route *out, const struct topic_share *share)
{
    struct proto_broker_data *broker = proto_brokers_add(&out->brokers);
    struct proto_queue_data *queues = broker != NULL ? proto_queues_add(&out->queues) : NULL;

    if (queues == NULL) {
        return MQ_ENOMEM;
    }
    fill_broker(share->holder, broker);
    *queues = (struct proto_queue_data){
        .broker_name = group_name(share->holder),
        .read_queues = share->read_queues,
        .write_queues = share->write_queues,
        .perm = share->holder->writes_taken ? share->perm & ~PROTO_PERM_WRITE : share->perm,
        .topic_sys_flag = share->sys_flag,
    };
    return 0;
}

int route_table_route(const struct route_table *table, struct mq_str topic, struct mq_str zone,
                      struct proto_route *out)
{
    const struct topic *found = route_topics_find(&table->topics, topic);
    int rc = 0;

    if (found == NULL) {
        return MQ_ENOTFOUND;
    }
    for (uint32_t i = 0; i < found->share_count && rc == 0; i++) {
        if (in_zone(found->shares[i].holder, zone)) {
            rc = add_share(out, &found->shares[i]);
        }
    }
    return rc;
}

int route_table_brokers(const struct route_table *table, struct proto_brokers *out)
{
    for (const struct route_group *group = table->groups; group != NULL; group = group->hh.next) {
        struct proto_broker_data *broker = proto_brokers_add(out);

        if (broker == NULL) {
            return MQ_ENOMEM;
        }
        fill_broker(group, broker);
    }
    return 0;
}

int route_table_broker(const struct route_table *table, struct mq_str cluster, struct mq_str broker_name,
                       struct proto_broker_data *out)
{
    const struct route_group *group = group_find(table, broker_name);

    if (group == NULL || !mq_str_eq(mq_str_of(group->cluster), cluster)) {
        return MQ_ENOTFOUND;
    }
    fill_broker(group, out);
    return 0;
}

static bool held_in(const struct topic *topic, struct mq_str cluster)
{
    for (uint32_t i = 0; i < topic->share_count; i++) {
        if (mq_str_eq(mq_str_of(topic->shares[i].holder->cluster), cluster)) {
            return true;
        }
    }
    return false;
}

int route_table_topics(const struct route_table *table, struct mq_str cluster, struct proto_str_list *out)
{
    for (struct topic *topic = NULL; (topic = route_topics_next(&table->topics, topic)) != NULL;) {
        struct mq_str *name;

        if (cluster.at != NULL && !held_in(topic, cluster)) {
            continue;
        }
        name = proto_str_list_add(out);
        if (name == NULL) {
            return MQ_ENOMEM;
        }
        *name = topic_name(topic);
    }
    return 0;
}

void route_table_master(const struct route_table *table, struct mq_str broker_name, struct mq_str *addr,
                        struct mq_str *ha_addr)
{
    const struct route_group *group = group_find(table, broker_name);
    const struct member *master = group != NULL ? member_by_id(group, 0) : NULL;
    bool live = master != NULL && master->state == MEMBER_LIVE;

    *addr = live ? member_addr(master) : (struct mq_str){0};
    *ha_addr = live ? mq_str_of(master->ha_addr) : (struct mq_str){0};
}

/* -- What administrators change -------------------------------------------------------------------------------- */

uint32_t route_table_allow_writes(struct route_table *table, struct mq_str broker_name, bool allowed)
{
    struct route_group *group = group_find(table, broker_name);

    if (group == NULL) {
        return 0;
    }
    group->writes_taken = !allowed;
    mq_log_info("route", "writes broker=" MQ_STR_FMT " allowed=%d", MQ_STR_ARG(broker_name), allowed);
    return route_topics_held(&table->topics, group);
}

void route_table_delete_topic(struct route_table *table, struct mq_str topic, struct mq_str cluster)
{
    if (cluster.len == 0) {
        route_topics_drop(&table->topics, topic, NULL);
        return;
    }
    for (const struct route_group *group = table->groups; group != NULL; group = group->hh.next) {
        if (mq_str_eq(mq_str_of(group->cluster), cluster)) {
            route_topics_drop(&table->topics, topic, group);
        }
    }
}

int route_table_put_topic(struct route_table *table, struct mq_str topic, const struct proto_queues *queues)
{
    int rc = 0;

    for (uint32_t i = 0; i < queues->count; i++) {
        if (group_find(table, queues->items[i].broker_name) == NULL) {
            return MQ_ENOTFOUND;
        }
    }
    for (uint32_t i = 0; i < queues->count && rc == 0; i++) {
        const struct proto_queue_data *data = &queues->items[i];
        struct topic_share share = {
            .holder = group_find(table, data->broker_name),
            .read_queues = data->read_queues,
            .write_queues = data->write_queues,
            .perm = data->perm,
            .sys_flag = data->topic_sys_flag,
        };

        rc = route_topics_put(&table->topics, topic, &share);
    }
    return rc;
}
