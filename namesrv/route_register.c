/* Takes registrations (103): first everything is checked, found and allocated, then topics are taken over, and last
 * comes the step that cannot fail. The rules are in README.md. */
#include "namesrv/route_group.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <inttypes.h>
#include <string.h>

/* What a registration works on, found and allocated before anything changes. */
struct registering {
    const struct route_registration *reg;
    struct route_group *group;
    struct member *self;   /* the member of this address; NULL: new */
    struct member *holder; /* another member that has the id now, or NULL */
    struct member *fresh;  /* owned until it is linked; NULL when self is there */
    char *ha_addr, *zone;  /* owned until the member and the group have them */
    bool group_is_new;
};

/* @code, unless the text for it could not be written. */
static int refused(int code, int rc)
{
    return rc != 0 ? rc : code;
}

/* Names end up in log lines and on operators' screens. */
static bool has_control(struct mq_str text)
{
    for (uint32_t i = 0; i < text.len; i++) {
        if ((uint8_t)text.at[i] < 0x20 || text.at[i] == 0x7F) {
            return true;
        }
    }
    return false;
}

static int check_text(struct mq_buf *why, const char *field, struct mq_str value)
{
    if (value.len == 0) {
        return refused(MQ_EINVAL, mq_buf_printf(why, "%s is empty", field));
    }
    if (value.len > ROUTE_NAME_MAX) {
        return refused(MQ_EINVAL,
                       mq_buf_printf(why, "%s has %u bytes, at most %u", field, value.len, ROUTE_NAME_MAX));
    }
    if (has_control(value)) {
        return refused(MQ_EINVAL, mq_buf_printf(why, "%s contains a control character", field));
    }
    return 0;
}

static int check_topics(struct mq_buf *why, const struct proto_topic_table *topics)
{
    for (uint32_t i = 0; i < topics->topics.count; i++) {
        struct mq_str name = topics->topics.items[i].name;

        if (name.len == 0 || name.len > ROUTE_TOPICS_NAME_MAX) {
            return refused(MQ_EINVAL, mq_buf_printf(why, "a topic's name has %u bytes, allowed are 1 to %u", name.len,
                                                    ROUTE_TOPICS_NAME_MAX));
        }
        if (has_control(name)) {
            return refused(MQ_EINVAL, mq_buf_printf(why, "a topic's name contains a control character"));
        }
    }
    return 0;
}

static int check(const struct route_registration *reg, struct mq_buf *why)
{
    const struct {
        const char *field;
        struct mq_str value;
        bool may_be_empty;
    } texts[] = {
        {"brokerName", reg->broker_name, false}, {"brokerAddr", reg->addr, false},
        {"clusterName", reg->cluster, false},    {"haServerAddr", reg->ha_addr, true},
        {"__ZONE_NAME", reg->zone, true},
    };
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(texts) && rc == 0; i++) {
        if (texts[i].value.len != 0 || !texts[i].may_be_empty) {
            rc = check_text(why, texts[i].field, texts[i].value);
        }
    }
    if (rc == 0 && memchr(reg->addr.at, ',', reg->addr.len) != NULL) {
        /* Go cuts the address map of a route at commas. */
        rc = refused(MQ_EINVAL, mq_buf_printf(why, "brokerAddr contains a comma"));
    }
    if (rc == 0 && (reg->broker_id < 0 || reg->broker_id > ROUTE_BROKER_ID_MAX)) {
        rc = refused(MQ_EINVAL, mq_buf_printf(why, "brokerId %" PRId64 " is outside 0..%d", reg->broker_id,
                                              ROUTE_BROKER_ID_MAX));
    }
    return rc != 0 ? rc : check_topics(why, reg->topics);
}

/* Whether somebody holds the id with a newer term. For id 0 the highest term that was ever listed counts, also when
 * its holder is gone: a deposed leader must not come back in the gap. */
static bool outranked(const struct registering *work)
{
    int64_t term = work->reg->topics->version.state_version;

    if (work->group_is_new) {
        return false;
    }
    if (work->reg->broker_id == 0 && term < work->group->master_term) {
        return true;
    }
    return work->holder != NULL && work->holder->state == MEMBER_LIVE && term < work->holder->version.state_version;
}

/* Whether this registration was sent before the one already taken from the same address: an older version over the
 * same connection (two threads of a broker racing) or a former one. Over a later connection any version is news: the
 * broker may have started anew. */
static bool overtaken(const struct registering *work)
{
    const struct member *self = work->self;

    return self != NULL && self->state == MEMBER_LIVE && self->id == work->reg->broker_id &&
           work->reg->conn <= self->conn &&
           proto_data_version_compare(&work->reg->topics->version, &self->version) < 0;
}

static int prepare(struct route_table *table, struct registering *work, struct mq_buf *why)
{
    const struct route_registration *reg = work->reg;

    work->group = group_find(table, reg->broker_name);
    if (work->group == NULL) {
        if (HASH_COUNT(table->groups) >= ROUTE_GROUPS_MAX) {
            return refused(MQ_ETOOBIG, mq_buf_printf(why, "there are %u broker names already", ROUTE_GROUPS_MAX));
        }
        work->group_is_new = true;
        return 0;
    }
    if (!mq_str_eq(mq_str_of(work->group->cluster), reg->cluster)) {
        return refused(MQ_EEXIST,
                       mq_buf_printf(why,
                                     "brokerName " MQ_STR_FMT " is registered in clusterName %s, not " MQ_STR_FMT,
                                     MQ_STR_ARG(reg->broker_name), work->group->cluster, MQ_STR_ARG(reg->cluster)));
    }
    work->self = member_by_addr(work->group, reg->addr);
    work->holder = member_by_id(work->group, reg->broker_id);
    if (work->holder == work->self) {
        work->holder = NULL;
    }
    if (work->self == NULL && work->holder == NULL && work->group->member_count >= ROUTE_MEMBERS_MAX) {
        return refused(MQ_ETOOBIG, mq_buf_printf(why, "brokerName " MQ_STR_FMT " has %u members already",
                                                 MQ_STR_ARG(reg->broker_name), ROUTE_MEMBERS_MAX));
    }
    return 0;
}

/* All memory that taking the registration needs, apart from topics. */
static int allocate(struct route_table *table, struct registering *work)
{
    const struct route_registration *reg = work->reg;

    work->ha_addr = mq_strndup(reg->ha_addr.at != NULL ? reg->ha_addr.at : "", reg->ha_addr.len);
    if (work->ha_addr == NULL) {
        return MQ_ENOMEM;
    }
    if (reg->zone.len != 0 && (work->zone = mq_strndup(reg->zone.at, reg->zone.len)) == NULL) {
        return MQ_ENOMEM;
    }
    if (work->self == NULL && (work->fresh = member_new(reg->addr)) == NULL) {
        return MQ_ENOMEM;
    }
    if (!work->group_is_new) {
        return 0;
    }
    work->group = group_new(reg->broker_name, reg->cluster);
    if (work->group == NULL) {
        return MQ_ENOMEM;
    }
    HASH_ADD_KEYPTR(hh, table->groups, work->group->name, work->group->name_bytes, work->group);
    if (!table_added(work->group)) {
        group_free(work->group);
        work->group = NULL;
        return MQ_ENOMEM;
    }
    return 0;
}

/* Whether this member's word about topics counts: id 0's does; without an id 0 the lowest id of a 5.x broker may name
 * topics that nobody has named yet. */
static bool speaks_for_topics(const struct registering *work)
{
    const struct member *lowest = work->group->members;

    if (work->reg->broker_id == 0) {
        return true;
    }
    if (!work->reg->speaks_acting_master) {
        return false;
    }
    if (lowest == work->self && lowest != NULL) {
        lowest = lowest->next; /* it may be registering under another id */
    }
    return lowest == NULL || lowest->id >= work->reg->broker_id;
}

static int put_topics(struct route_table *table, const struct registering *work, bool only_missing, uint32_t mark)
{
    const struct proto_topic_configs *list = &work->reg->topics->topics;
    int rc = 0;

    for (uint32_t i = 0; i < list->count && rc == 0; i++) {
        const struct proto_topic_config *config = &list->items[i];
        struct topic_share share = {
            .holder = work->group,
            .read_queues = config->read_queues,
            .write_queues = config->write_queues,
            .perm = config->perm,
            .sys_flag = config->sys_flag,
            .mark = mark,
        };
        const struct topic *topic = only_missing ? route_topics_find(&table->topics, config->name) : NULL;

        if (topic == NULL || topic_share_of(topic, work->group) == NULL) {
            rc = route_topics_put(&table->topics, config->name, &share);
        }
    }
    return rc;
}

static int take_topics(struct route_table *table, const struct registering *work, struct mq_buf *why)
{
    const struct member *self = work->self;
    bool master = work->reg->broker_id == 0;
    bool news = master && (self == NULL || self->id != 0 ||
                           proto_data_version_compare(&self->version, &work->reg->topics->version) != 0);
    uint32_t mark;
    int rc;

    if (!speaks_for_topics(work)) {
        return 0;
    }
    mark = route_topics_mark(&table->topics);
    rc = put_topics(table, work, !news, mark);
    if (rc == MQ_ETOOBIG) {
        rc =
            refused(MQ_ETOOBIG, mq_buf_printf(why, "more than %u topics, or more than %u broker names on one of them",
                                              ROUTE_TOPICS_TOPICS_MAX, ROUTE_TOPICS_HOLDERS_MAX));
    }
    if (rc == 0 && news && (work->reg->whole_table || table->rules.whole_tables)) {
        route_topics_sweep(&table->topics, work->group, mark);
    }
    return rc;
}

static uint64_t timeout_of(const struct route_table *table, uint64_t asked_ms)
{
    if (asked_ms == 0) {
        return table->rules.timeout_ms;
    }
    if (asked_ms < ROUTE_TIMEOUT_MIN_MS) {
        return ROUTE_TIMEOUT_MIN_MS;
    }
    return asked_ms > ROUTE_TIMEOUT_MAX_MS ? ROUTE_TIMEOUT_MAX_MS : asked_ms;
}

/* The step that cannot fail: lists the member with everything the registration said. */
static void list_member(struct route_table *table, struct registering *work, uint64_t now_ms)
{
    const struct route_registration *reg = work->reg;
    struct route_group *group = work->group;
    struct member *self = work->self != NULL ? work->self : work->fresh;
    int64_t term = reg->topics->version.state_version;
    bool news = work->self == NULL || self->id != reg->broker_id || self->state != MEMBER_LIVE ||
                self->version.state_version != term;

    if (work->holder != NULL) {
        member_remove(group, work->holder, "its id was taken over");
    }
    if (work->self != NULL) {
        member_unlink(group, self);
    }
    self->id = reg->broker_id;
    self->state = MEMBER_LIVE;
    self->conn = self->conn > reg->conn ? self->conn : reg->conn;
    self->heard_ms = now_ms;
    self->timeout_ms = timeout_of(table, reg->timeout_ms);
    self->version = reg->topics->version;
    mq_free(self->ha_addr);
    self->ha_addr = work->ha_addr;
    member_link(group, self);
    work->ha_addr = NULL;
    work->fresh = NULL;

    mq_free(group->zone);
    group->zone = work->zone;
    work->zone = NULL;
    group->acting_master = reg->acting_master;
    if (reg->broker_id == 0) {
        group->master_term = term;
    }
    if (news) {
        mq_log_info("route", "listed broker=" MQ_STR_FMT " id=%" PRId64 " addr=" MQ_STR_FMT " term=%" PRId64,
                    MQ_STR_ARG(group_name(group)), self->id, MQ_STR_ARG(member_addr(self)), term);
    }
}

static int take(struct route_table *table, struct registering *work, uint64_t now_ms, struct mq_buf *why)
{
    int rc = allocate(table, work);

    if (rc == 0) {
        rc = take_topics(table, work, why);
    }
    if (rc == 0) {
        list_member(table, work, now_ms);
    } else if (work->group_is_new && work->group != NULL) {
        group_settle(table, work->group);
    }
    member_free(work->fresh);
    mq_free(work->ha_addr);
    mq_free(work->zone);
    return rc;
}

int route_table_register(struct route_table *table, const struct route_registration *reg, uint64_t now_ms,
                         enum route_outcome *outcome, struct mq_buf *why)
{
    struct registering work = {.reg = reg};
    int rc = check(reg, why);

    if (rc == 0) {
        rc = prepare(table, &work, why);
    }
    if (rc != 0) {
        return rc;
    }
    if (outranked(&work) || overtaken(&work)) {
        if (work.self != NULL && work.self->state == MEMBER_LIVE) {
            work.self->heard_ms = now_ms;
        }
        *outcome = outranked(&work) ? ROUTE_OUTRANKED : ROUTE_OVERTAKEN;
        return 0;
    }
    rc = take(table, &work, now_ms, why);
    if (rc == 0) {
        *outcome = ROUTE_LISTED;
    }
    return rc;
}
