/* Topics in a hash by name; the shares of one topic are a short exact-size array, for most topics live on one or two
 * broker names. */
#include "namesrv/route_topics.h"

#include "remoting/base/err.h"

#include <string.h>

void route_topics_init(struct route_topics *table)
{
    *table = (struct route_topics){0};
}

static void topic_free(struct route_topics *table, struct topic *topic)
{
    HASH_DEL(table->by_name, topic);
    mq_free(topic->shares);
    mq_free(topic);
}

void route_topics_fini(struct route_topics *table)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        topic_free(table, topic);
    }
}

uint32_t route_topics_count(const struct route_topics *table)
{
    return HASH_COUNT(table->by_name);
}

struct topic *route_topics_find(const struct route_topics *table, struct mq_str name)
{
    struct topic *topic = NULL;

    if (name.len != 0) {
        HASH_FIND(hh, table->by_name, name.at, name.len, topic);
    }
    return topic;
}

struct topic *route_topics_next(const struct route_topics *table, const struct topic *topic)
{
    return topic == NULL ? table->by_name : topic->hh.next;
}

struct topic_share *topic_share_of(const struct topic *topic, const struct route_group *holder)
{
    for (uint32_t i = 0; i < topic->share_count; i++) {
        if (topic->shares[i].holder == holder) {
            return &topic->shares[i];
        }
    }
    return NULL;
}

static int topic_new(struct route_topics *table, struct mq_str name, const struct topic_share *share)
{
    struct topic *topic;

    if (route_topics_count(table) >= ROUTE_TOPICS_TOPICS_MAX) {
        return MQ_ETOOBIG;
    }
    topic = mq_calloc(1, sizeof(*topic) + name.len);
    if (topic == NULL) {
        return MQ_ENOMEM;
    }
    topic->shares = mq_malloc(sizeof(*share));
    if (topic->shares == NULL) {
        goto err_after_topic;
    }
    topic->shares[0] = *share;
    topic->share_count = 1;
    topic->name_bytes = name.len;
    memcpy(topic->name, name.at, name.len);
    HASH_ADD_KEYPTR(hh, table->by_name, topic->name, topic->name_bytes, topic);
    if (!table_added(topic)) {
        goto err_after_shares;
    }
    return 0;

err_after_shares:
    mq_free(topic->shares);
err_after_topic:
    mq_free(topic);
    return MQ_ENOMEM;
}

static int share_add(struct topic *topic, const struct topic_share *share)
{
    struct topic_share *grown;

    if (topic->share_count >= ROUTE_TOPICS_HOLDERS_MAX) {
        return MQ_ETOOBIG;
    }
    grown = mq_realloc(topic->shares, (topic->share_count + 1) * sizeof(*share));
    if (grown == NULL) {
        return MQ_ENOMEM;
    }
    topic->shares = grown;
    grown[topic->share_count++] = *share;
    return 0;
}

int route_topics_put(struct route_topics *table, struct mq_str name, const struct topic_share *share)
{
    struct topic *topic;
    struct topic_share *old;

    if (name.len == 0) {
        return MQ_EINVAL;
    }
    if (name.len > ROUTE_TOPICS_NAME_MAX) {
        return MQ_ETOOBIG;
    }
    topic = route_topics_find(table, name);
    if (topic == NULL) {
        return topic_new(table, name, share);
    }
    old = topic_share_of(topic, share->holder);
    if (old == NULL) {
        return share_add(topic, share);
    }
    *old = *share;
    return 0;
}

/* Takes one share out. The array keeps its size: it is exact again at the next growth, and a topic rarely loses
 * holders without going altogether. */
static void share_remove(struct route_topics *table, struct topic *topic, struct topic_share *share)
{
    struct topic_share *end = topic->shares + topic->share_count;

    memmove(share, share + 1, (size_t)(end - share - 1) * sizeof(*share));
    topic->share_count--;
    if (topic->share_count == 0) {
        topic_free(table, topic);
    }
}

void route_topics_drop(struct route_topics *table, struct mq_str name, const struct route_group *holder)
{
    struct topic *topic = route_topics_find(table, name);
    struct topic_share *share;

    if (topic == NULL) {
        return;
    }
    if (holder == NULL) {
        topic_free(table, topic);
        return;
    }
    share = topic_share_of(topic, holder);
    if (share != NULL) {
        share_remove(table, topic, share);
    }
}

void route_topics_drop_holder(struct route_topics *table, const struct route_group *holder)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        struct topic_share *share = topic_share_of(topic, holder);

        if (share != NULL) {
            share_remove(table, topic, share);
        }
    }
}

uint32_t route_topics_mark(struct route_topics *table)
{
    return ++table->last_mark;
}

void route_topics_sweep(struct route_topics *table, const struct route_group *holder, uint32_t mark)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        struct topic_share *share = topic_share_of(topic, holder);

        if (share != NULL && share->mark != mark) {
            share_remove(table, topic, share);
        }
    }
}

uint32_t route_topics_held(const struct route_topics *table, const struct route_group *holder)
{
    uint32_t held = 0;

    for (struct topic *topic = NULL; (topic = route_topics_next(table, topic)) != NULL;) {
        held += topic_share_of(topic, holder) != NULL;
    }
    return held;
}
