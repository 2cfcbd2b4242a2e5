/* A member hangs in two lists: that of its group and that of its connection. A group without members is gone. */
#include "broker/store/hash.h"

#include "broker/session/consumer_table.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

struct member {
    struct consumer_group *group; /* borrowed: owner */
    struct net_channel *ch;       /* counted */
    char *client_id;              /* owned */
    uint64_t beat_ms;
    struct member *next, **prev;                 /* of the same group */
    struct member *next_of_conn, **prev_of_conn; /* of the same connection */
};

struct consumer_group {
    char *name; /* owned; key */
    uint32_t name_bytes;
    struct member *members;
    struct consumer_subscription *subs; /* owned array */
    uint32_t n_subs;
    enum proto_message_model model;
    bool notify;
    bool changed;     /* in the table's list of changed groups */
    uint64_t told_ms; /* monotonic; 0 never */
    struct consumer_group *next_changed, **prev_changed;
    UT_hash_handle hh;
};

struct consumer_table {
    struct consumer_group *by_name;
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

static void subs_free(struct consumer_subscription *subs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        mq_free(subs[i].topic);
        mq_free(subs[i].expression);
        message_filter_release(subs[i].filter);
    }
    mq_free(subs);
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
    table->n_subs -= group->n_subs;
    subs_free(group->subs, group->n_subs);
    mq_free(group->name);
    mq_free(group);
}

/* --- members --- */

static struct member *member_find(const struct consumer_group *group, const struct net_channel *ch)
{
    const struct session *session = session_find(ch);
    struct member *member = session != NULL ? session->memberships : NULL;

    while (member != NULL && member->group != group) {
        member = member->next_of_conn;
    }
    return member;
}

static void link_member(struct member *member, struct consumer_group *group, struct session *session)
{
    member->group = group;
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
    member->client_id = mq_strndup(client_id.at, client_id.len);
    if (member->client_id == NULL) {
        mq_free(member);
        return MQ_ENOMEM;
    }
    member->ch = net_channel_acquire(ch);
    link_member(member, group, session);
    table->n_members++;
    mark_changed(table, group);
    *out = member;
    return 0;
}

/* The group may be gone afterwards. */
static void member_remove(struct consumer_table *table, struct member *member)
{
    struct consumer_group *group = member->group;

    *member->prev = member->next;
    if (member->next != NULL) {
        member->next->prev = member->prev;
    }
    *member->prev_of_conn = member->next_of_conn;
    if (member->next_of_conn != NULL) {
        member->next_of_conn->prev_of_conn = member->prev_of_conn;
    }
    table->n_members--;
    net_channel_release(member->ch);
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
    MQ_ASSERT(table->n_members == 0 && table->n_subs == 0);
    mq_free(table);
}

/* --- subscriptions --- */

static const struct consumer_subscription *sub_find(const struct consumer_subscription *subs, uint32_t n,
                                                    struct mq_str topic)
{
    for (uint32_t i = 0; i < n; i++) {
        if (mq_str_eq(mq_str_of(subs[i].topic), topic)) {
            return &subs[i];
        }
    }
    return NULL;
}

/* An expression that does not compile makes the subscription unusable, and its pulls are told so. */
static int compile(struct consumer_subscription *sub, const struct proto_subscription *from)
{
    struct mq_buf problem = {0};
    int rc;

    sub->expression = mq_strndup(from->expression.at, from->expression.len);
    if (sub->expression == NULL) {
        return MQ_ENOMEM;
    }
    rc = message_filter_of_sql(from->expression, &sub->filter, &problem);
    if (rc != 0 && rc != MQ_ENOMEM) {
        mq_log_warn("consumer", "topic " MQ_STR_FMT ": the subscription is no SQL92: %.*s", MQ_STR_ARG(from->topic),
                    (int)problem.len, (const char *)problem.base);
    }
    mq_buf_free(&problem);
    sub->usable = rc == 0;
    return rc == MQ_ENOMEM ? rc : 0;
}

/* What is compiled already is shared, as every heartbeat says it again. */
static int copy_filter(struct consumer_subscription *sub, const struct consumer_subscription *old)
{
    sub->filter = message_filter_acquire(old->filter);
    sub->usable = old->usable;
    if (old->expression != NULL) {
        sub->expression = mq_strdup(old->expression);
    }
    return old->expression == NULL || sub->expression != NULL ? 0 : MQ_ENOMEM;
}

/* Fills @sub from the heartbeat, or from what the group has of a newer version. On an error it is to be freed all the
 * same. */
static int sub_take(const struct consumer_group *group, const struct proto_subscription *from,
                    struct consumer_subscription *sub, bool *is_new)
{
    const struct consumer_subscription *old = sub_find(group->subs, group->n_subs, from->topic);
    int rc = 0;

    *is_new = old == NULL;
    *sub = (struct consumer_subscription){.type = from->type, .version = from->version};
    sub->topic = mq_strndup(from->topic.at, from->topic.len);
    if (old != NULL && old->version > from->version) {
        sub->type = old->type;
        sub->version = old->version;
        rc = copy_filter(sub, old);
    } else if (from->type == PROTO_EXPRESSION_TAG) {
        rc = message_filter_of_tags(&from->filter, &sub->filter);
        sub->usable = rc == 0;
    } else if (old != NULL && old->expression != NULL && from->type == old->type &&
               mq_str_eq(mq_str_of(old->expression), from->expression)) {
        rc = copy_filter(sub, old);
    } else if (from->type == PROTO_EXPRESSION_SQL92) {
        rc = compile(sub, from);
    }
    return sub->topic != NULL ? rc : MQ_ENOMEM;
}

static uint32_t count_sql(const struct consumer_subscription *subs, uint32_t n)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < n; i++) {
        count += subs[i].expression != NULL;
    }
    return count;
}

/* Replaces the group's subscriptions by those of the latest heartbeat; a topic that stays keeps the newer version.
 * @changed: a topic came or went. Returns 0, or MQ_ENOMEM or MQ_ETOOBIG with the old ones kept. */
static int subs_replace(struct consumer_table *table, struct consumer_group *group,
                        const struct proto_consumer *consumer, const struct proto_subscriptions *subs, bool *changed)
{
    uint32_t n = consumer->sub_count;
    struct consumer_subscription *fresh;
    uint32_t n_new = 0;
    uint32_t n_sql;
    int rc = 0;

    if (n > CONSUMER_GROUP_SUBS_MAX || table->n_subs - group->n_subs + n > CONSUMER_SUBS_MAX) {
        return MQ_ETOOBIG;
    }
    fresh = mq_calloc(n + 1, sizeof(*fresh));
    if (fresh == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        bool is_new;

        rc = sub_take(group, &subs->items[consumer->sub_first + i], &fresh[i], &is_new);
        if (rc != 0) {
            subs_free(fresh, n);
            return rc;
        }
        n_new += is_new;
    }
    n_sql = table->n_sql - count_sql(group->subs, group->n_subs) + count_sql(fresh, n);
    if (n_sql > CONSUMER_SQL_MAX) {
        subs_free(fresh, n);
        return MQ_ETOOBIG;
    }
    table->n_sql = n_sql;
    *changed = n_new != 0 || n != group->n_subs;
    table->n_subs += n - group->n_subs;
    subs_free(group->subs, group->n_subs);
    group->subs = fresh;
    group->n_subs = n;
    return 0;
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
    member = member_find(group, ch);
    if (member == NULL) {
        rc = member_add(table, group, ch, beat->client_id, &member);
    }
    if (rc != 0) {
        free_without_members(table, group);
        return rc;
    }
    member->beat_ms = now_ms;
    group->notify = beat->notify;
    group->model = consumer->model;
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
    struct member *member = group != NULL ? member_find(group, ch) : NULL;

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
            table->changed(table->data, member->ch, (struct mq_str){group->name, group->name_bytes});
        }
    }
}

/* --- what the broker asks --- */

bool consumer_table_has_group(const struct consumer_table *table, struct mq_str group)
{
    return group_find(table, group) != NULL;
}

uint32_t consumer_table_members(const struct consumer_table *table)
{
    return table->n_members;
}

const struct consumer_subscription *consumer_table_subscription(const struct consumer_table *table,
                                                                struct mq_str name, struct mq_str topic)
{
    const struct consumer_group *group = group_find(table, name);

    return group != NULL ? sub_find(group->subs, group->n_subs, topic) : NULL;
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
