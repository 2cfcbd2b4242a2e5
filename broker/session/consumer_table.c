/* A member hangs in two lists: that of its group and that of its connection; a hash finds it by both. A group without
 * members is gone. */
#include "broker/store/hash.h"

#include "broker/session/consumer_table.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

struct member_key {
    struct consumer_group *group; /* borrowed: owner */
    struct net_channel *ch;       /* counted */
};

struct member {
    struct member_key key;
    char *client_id; /* owned */
    uint64_t beat_ms;
    struct member *next, **prev;                 /* of the same group */
    struct member *next_of_conn, **prev_of_conn; /* of the same connection */
    UT_hash_handle hh;
};

struct consumer_group {
    char *name; /* owned; key */
    uint32_t name_bytes;
    struct member *members;
    struct subscription_set subs;
    enum proto_consume_type consume_type;
    enum proto_message_model model;
    enum proto_from_where from_where;
    bool notify;
    bool changed;     /* in the table's list of changed groups */
    uint64_t told_ms; /* monotonic; 0 never */
    struct consumer_group *next_changed, **prev_changed;
    UT_hash_handle hh;
};

struct consumer_table {
    struct consumer_group *by_name;
    struct member *by_key;
    struct consumer_group *changed_groups;
    uint32_t n_members, n_subs, n_sql; /* of all groups */
    consumer_changed_cb changed;
    void *data;
};

int consumer_table_new(consumer_changed_cb changed, void *data, struct consumer_table **out)
{
    struct consumer_table *table = mq_calloc(1, sizeof(*table));

    if (table == NULL) {
        return MQ_ENOMEM;
    }
    table->changed = changed;
    table->data = data;
    *out = table;
    return 0;
}

/* --- groups --- */

static void mark_changed(struct consumer_table *table, struct consumer_group *group)
{
    if (group->changed) {
        return;
    }
    group->changed = true;
    group->prev_changed = &table->changed_groups;
    group->next_changed = table->changed_groups;
    if (group->next_changed != NULL) {
        group->next_changed->prev_changed = &group->next_changed;
    }
    table->changed_groups = group;
}

static void unmark_changed(struct consumer_group *group)
{
    if (!group->changed) {
        return;
    }
    group->changed = false;
    *group->prev_changed = group->next_changed;
    if (group->next_changed != NULL) {
        group->next_changed->prev_changed = group->prev_changed;
    }
}

static struct consumer_group *group_find(const struct consumer_table *table, struct mq_str name)
{
    struct consumer_group *group;

    HASH_FIND(hh, table->by_name, name.at, name.len, group);
    return group;
}

static struct consumer_group *group_get(struct consumer_table *table, struct mq_str name)
{
    struct consumer_group *group = group_find(table, name);

    if (group != NULL) {
        return group;
    }
    group = mq_calloc(1, sizeof(*group));
    if (group == NULL) {
        return NULL;
    }
    group->name = mq_strndup(name.at, name.len);
    group->name_bytes = name.len;
    if (group->name != NULL) {
        HASH_ADD_KEYPTR(hh, table->by_name, group->name, name.len, group);
    }
    if (group->hh.tbl == NULL) {
        mq_free(group->name);
        mq_free(group);
        return NULL;
    }
    return group;
}

static void free_without_members(struct consumer_table *table, struct consumer_group *group)
{
    if (group->members != NULL) {
        return;
    }
    HASH_DEL(table->by_name, group);
    unmark_changed(group);
    table->n_subs -= group->subs.count;
    table->n_sql -= group->subs.n_sql;
    subscription_set_free(&group->subs);
    mq_free(group->name);
    mq_free(group);
}

/* --- members --- */

static struct member *member_find(const struct consumer_table *table, struct consumer_group *group,
                                  struct net_channel *ch)
{
    const struct member_key key = {group, ch};
    struct member *member;

    HASH_FIND(hh, table->by_key, &key, sizeof(key), member);
    return member;
}

static void link_member(struct member *member, struct consumer_group *group, struct session *session)
{
    member->prev = &group->members;
    member->next = group->members;
    if (member->next != NULL) {
        member->next->prev = &member->next;
    }
    group->members = member;
    member->prev_of_conn = &session->memberships;
    member->next_of_conn = session->memberships;
    if (member->next_of_conn != NULL) {
        member->next_of_conn->prev_of_conn = &member->next_of_conn;
    }
    session->memberships = member;
}

static int member_add(struct consumer_table *table, struct consumer_group *group, struct net_channel *ch,
                      struct mq_str client_id, struct member **out)
{
    struct session *session = session_get(ch);
    struct member *member;

    if (table->n_members >= CONSUMER_MEMBERS_MAX) {
        return MQ_ETOOBIG;
    }
    member = session != NULL ? mq_calloc(1, sizeof(*member)) : NULL;
    if (member == NULL) {
        return MQ_ENOMEM;
    }
    member->key.group = group;
    member->key.ch = ch;
    member->client_id = mq_strndup(client_id.at, client_id.len);
    if (member->client_id != NULL) {
        HASH_ADD(hh, table->by_key, key, sizeof(member->key), member);
    }
    if (member->hh.tbl == NULL) {
        mq_free(member->client_id);
        mq_free(member);
        return MQ_ENOMEM;
    }
    net_channel_acquire(ch);
    link_member(member, group, session);
    table->n_members++;
    mark_changed(table, group);
    *out = member;
    return 0;
}

/* A connection that beats under another id than before is another member to the rest of its group. */
static int member_rename(struct consumer_table *table, struct member *member, struct mq_str client_id)
{
    char *fresh;

    if (mq_str_eq(mq_str_of(member->client_id), client_id)) {
        return 0;
    }
    fresh = mq_strndup(client_id.at, client_id.len);
    if (fresh == NULL) {
        return MQ_ENOMEM;
    }
    mq_free(member->client_id);
    member->client_id = fresh;
    mark_changed(table, member->key.group);
    return 0;
}

/* The group may be gone afterwards. */
static void member_remove(struct consumer_table *table, struct member *member)
{
    struct consumer_group *group = member->key.group;

    HASH_DEL(table->by_key, member);
    *member->prev = member->next;
    if (member->next != NULL) {
        member->next->prev = member->prev;
    }
    *member->prev_of_conn = member->next_of_conn;
    if (member->next_of_conn != NULL) {
        member->next_of_conn->prev_of_conn = member->prev_of_conn;
    }
    table->n_members--;
    net_channel_release(member->key.ch);
    mq_free(member->client_id);
    mq_free(member);
    mark_changed(table, group);
    free_without_members(table, group);
}

void consumer_table_free(struct consumer_table *table)
{
    struct consumer_group *group, *tmp;

    HASH_ITER (hh, table->by_name, group, tmp) {
        struct member *member = group->members;

        while (member != NULL) { /* the last one takes the group along */
            struct member *next = member->next;

            member_remove(table, member);
            member = next;
        }
    }
    MQ_ASSERT(table->n_members == 0 && table->n_subs == 0 && table->n_sql == 0);
    mq_free(table);
}

/* Takes the subscriptions of the latest heartbeat. @changed: a topic came or went. Returns 0, or MQ_ENOMEM or
 * MQ_ETOOBIG with the old ones kept. */
static int subs_replace(struct consumer_table *table, struct consumer_group *group,
                        const struct proto_consumer *consumer, const struct proto_subscriptions *subs, bool *changed)
{
    const uint32_t had = group->subs.count, had_sql = group->subs.n_sql;
    const struct subscription_room room = {CONSUMER_SUBS_MAX - (table->n_subs - had),
                                           CONSUMER_SQL_MAX - (table->n_sql - had_sql)};
    int rc;

    if (consumer->sub_count > CONSUMER_GROUP_SUBS_MAX) {
        return MQ_ETOOBIG;
    }
    rc = subscription_set_take(&group->subs, &subs->items[consumer->sub_first], consumer->sub_count, &room, changed);
    table->n_subs += group->subs.count - had;
    table->n_sql += group->subs.n_sql - had_sql;
    return rc;
}

/* --- what clients do --- */

int consumer_table_beat(struct consumer_table *table, struct net_channel *ch, const struct consumer_beat *beat,
                        uint64_t now_ms)
{
    const struct proto_consumer *consumer = beat->consumer;
    struct consumer_group *group = group_get(table, consumer->group);
    struct member *member;
    bool changed = false;
    int rc = 0;

    if (group == NULL) {
        return MQ_ENOMEM;
    }
    member = member_find(table, group, ch);
    if (member == NULL) {
        rc = member_add(table, group, ch, beat->client_id, &member);
    } else {
        rc = member_rename(table, member, beat->client_id);
    }
    if (rc != 0) {
        free_without_members(table, group);
        return rc;
    }
    member->beat_ms = now_ms;
    group->notify = beat->notify;
    group->consume_type = consumer->consume_type;
    group->model = consumer->model;
    group->from_where = consumer->from_where;
    if (beat->subs != NULL) {
        rc = subs_replace(table, group, consumer, beat->subs, &changed);
    }
    if (changed) {
        mark_changed(table, group);
    }
    return rc;
}

void consumer_table_leave(struct consumer_table *table, struct net_channel *ch, struct mq_str name)
{
    struct consumer_group *group = group_find(table, name);
    struct member *member = group != NULL ? member_find(table, group, ch) : NULL;

    if (member != NULL) {
        member_remove(table, member);
    }
}

void consumer_table_channel_closed(struct consumer_table *table, struct net_channel *ch)
{
    struct session *session = session_find(ch);

    while (session != NULL && session->memberships != NULL) {
        member_remove(table, session->memberships);
    }
}

void consumer_table_expire(struct consumer_table *table, uint64_t now_ms, uint64_t expired_ms)
{
    struct consumer_group *group, *tmp;

    HASH_ITER (hh, table->by_name, group, tmp) {
        struct member *member = group->members;

        while (member != NULL) {
            struct member *next = member->next; /* none behind the last one, with which the group goes */

            if (now_ms - member->beat_ms > expired_ms) {
                member_remove(table, member);
            }
            member = next;
        }
    }
}

void consumer_table_tell(struct consumer_table *table, uint64_t now_ms)
{
    struct consumer_group *group = table->changed_groups;
    struct consumer_group *next;

    for (; group != NULL; group = next) {
        next = group->next_changed;
        if (group->told_ms != 0 && now_ms - group->told_ms < CONSUMER_TELL_EVERY_MS) {
            continue;
        }
        unmark_changed(group);
        if (!group->notify || group->model == PROTO_BROADCASTING) {
            continue; /* broadcasting groups have nothing to share out */
        }
        group->told_ms = now_ms;
        for (struct member *member = group->members; member != NULL; member = member->next) {
            table->changed(table->data, member->key.ch, (struct mq_str){group->name, group->name_bytes});
        }
    }
}

/* --- what the broker asks --- */

bool consumer_table_has_group(const struct consumer_table *table, struct mq_str group)
{
    return group_find(table, group) != NULL;
}

bool consumer_table_is_broadcasting(const struct consumer_table *table, struct mq_str name)
{
    const struct consumer_group *group = group_find(table, name);

    return group != NULL && group->model == PROTO_BROADCASTING;
}

uint32_t consumer_table_members(const struct consumer_table *table)
{
    return table->n_members;
}

const struct consumer_subscription *consumer_table_subscription(const struct consumer_table *table,
                                                                struct mq_str name, struct mq_str topic)
{
    const struct consumer_group *group = group_find(table, name);

    return group != NULL ? subscription_set_find(&group->subs, topic) : NULL;
}

int consumer_table_ids(const struct consumer_table *table, struct mq_str name, struct proto_str_list *out)
{
    const struct consumer_group *group = group_find(table, name);

    for (struct member *member = group != NULL ? group->members : NULL; member != NULL; member = member->next) {
        struct mq_str *id = proto_str_list_add(out);

        if (id == NULL) {
            return MQ_ENOMEM;
        }
        *id = mq_str_of(member->client_id);
    }
    return 0;
}

struct net_channel *consumer_table_channel(const struct consumer_table *table, struct mq_str name,
                                           struct mq_str client_id)
{
    const struct consumer_group *group = group_find(table, name);

    for (struct member *member = group != NULL ? group->members : NULL; member != NULL; member = member->next) {
        if (mq_str_eq(mq_str_of(member->client_id), client_id) && !member->key.ch->conn.closing) {
            return member->key.ch;
        }
    }
    return NULL;
}

void consumer_table_each(const struct consumer_table *table, struct mq_str name,
                         void (*cb)(void *data, struct net_channel *ch, struct mq_str client_id), void *data)
{
    const struct consumer_group *group = group_find(table, name);

    for (struct member *member = group != NULL ? group->members : NULL; member != NULL; member = member->next) {
        cb(data, member->key.ch, mq_str_of(member->client_id));
    }
}

int consumer_table_picture(const struct consumer_table *table, struct mq_str name, struct consumer_picture *out)
{
    const struct consumer_group *group = group_find(table, name);
    int rc = 0;

    *out = (struct consumer_picture){0};
    if (group == NULL) {
        return MQ_ENOTFOUND;
    }
    out->consumer = (struct proto_consumer){.group = {group->name, group->name_bytes},
                                            .consume_type = group->consume_type,
                                            .model = group->model,
                                            .from_where = group->from_where,
                                            .sub_count = group->subs.count};
    for (struct member *member = group->members; rc == 0 && member != NULL; member = member->next) {
        rc = session_describe(member->key.ch, mq_str_of(member->client_id), &out->connections);
    }
    return rc == 0 ? subscription_set_list(&group->subs, &out->subs) : rc;
}

void consumer_picture_free(struct consumer_picture *picture)
{
    proto_connections_free(&picture->connections);
    proto_subscriptions_free(&picture->subs);
}
