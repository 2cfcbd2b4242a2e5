/* A heartbeat that brings nothing newer, as nearly all do, only compares two ordered lists. */
#include "broker/session/subscription.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"

#include <stdlib.h>

/* As strcmp, for a name that may hold anything. */
static int compare_topic(struct mq_str topic, const char *with)
{
    size_t bytes = strlen(with);
    int order = memcmp(topic.at != NULL ? topic.at : "", with, topic.len < bytes ? topic.len : bytes);

    return order != 0 ? order : (topic.len > bytes) - (topic.len < bytes);
}

const struct consumer_subscription *subscription_set_find(const struct subscription_set *set, struct mq_str topic)
{
    uint32_t low = 0;
    uint32_t high = set->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = compare_topic(topic, set->items[mid].topic);

        if (order == 0) {
            return &set->items[mid];
        }
        low = order > 0 ? mid + 1 : low;
        high = order < 0 ? mid : high;
    }
    return NULL;
}

/* An expression that does not compile makes the subscription unusable, and its pulls are told so. */
static int compile(struct consumer_subscription *sub, const struct proto_subscription *from)
{
    struct mq_buf problem = {0};
    int rc = message_filter_of_sql(from->expression, &sub->filter, &problem);

    if (rc != 0 && rc != MQ_ENOMEM) {
        mq_log_warn("consumer", "topic " MQ_STR_FMT ": the subscription is no SQL92: %.*s", MQ_STR_ARG(from->topic),
                    (int)problem.len, (const char *)problem.base);
    }
    mq_buf_free(&problem);
    sub->usable = rc == 0;
    return rc == MQ_ENOMEM ? rc : 0;
}

static bool is_same_text(const struct consumer_subscription *old, const struct proto_subscription *from)
{
    return old->type == from->type && mq_str_eq(mq_str_of(old->expression), from->expression);
}

/* What is compiled already is shared. */
static void share_filter(struct consumer_subscription *sub, const struct consumer_subscription *old)
{
    sub->filter = message_filter_acquire(old->filter);
    sub->usable = old->usable;
}

/* Fills @sub from the heartbeat, or from what the group has if that is as new. On an error it is to be freed all the
 * same. */
static int sub_take(const struct consumer_subscription *old, const struct proto_subscription *from,
                    struct consumer_subscription *sub)
{
    bool stays = old != NULL && old->version >= from->version;
    struct mq_str expression = stays ? mq_str_of(old->expression) : from->expression;
    int rc = 0;

    *sub = (struct consumer_subscription){.type = stays ? old->type : from->type,
                                          .version = stays ? old->version : from->version};
    sub->topic = mq_strndup(from->topic.at, from->topic.len);
    sub->expression = mq_strndup(expression.at, expression.len);
    if (sub->topic == NULL || sub->expression == NULL) {
        return MQ_ENOMEM;
    }
    if (stays || (old != NULL && from->type == PROTO_EXPRESSION_SQL92 && is_same_text(old, from))) {
        share_filter(sub, old);
    } else if (from->type == PROTO_EXPRESSION_TAG) {
        rc = message_filter_of_tags(&from->filter, &sub->filter);
        sub->usable = rc == 0;
    } else if (from->type == PROTO_EXPRESSION_SQL92) {
        rc = compile(sub, from);
    }
    return rc;
}

/* By topic; of one topic the newest first. */
static int compare_said(const void *a, const void *b)
{
    const struct proto_subscription *x = *(const struct proto_subscription *const *)a;
    const struct proto_subscription *y = *(const struct proto_subscription *const *)b;
    uint32_t bytes = x->topic.len < y->topic.len ? x->topic.len : y->topic.len;
    int order = bytes != 0 ? memcmp(x->topic.at, y->topic.at, bytes) : 0;

    if (order == 0) {
        order = (x->topic.len > y->topic.len) - (x->topic.len < y->topic.len);
    }
    return order != 0 ? order : (x->version < y->version) - (x->version > y->version);
}

/* What a heartbeat says about a group: each topic once, in order. @out: room for @n. Returns how many. */
static uint32_t sort_said(const struct proto_subscription *items, uint32_t n, const struct proto_subscription **out)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        out[i] = &items[i];
    }
    qsort(out, n, sizeof(*out), compare_said);
    for (uint32_t i = 0; i < n; i++) {
        if (kept == 0 || !mq_str_eq(out[kept - 1]->topic, out[i]->topic)) {
            out[kept++] = out[i];
        }
    }
    return kept;
}

/* Whether the set has all of it, nothing else, and nothing of it older. */
static bool says_nothing_new(const struct subscription_set *set, const struct proto_subscription *const *said,
                             uint32_t n)
{
    if (n != set->count) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (compare_topic(said[i]->topic, set->items[i].topic) != 0 || said[i]->version > set->items[i].version) {
            return false;
        }
    }
    return true;
}

/* Makes the set of the @n that were @said. @n_new: how many topics @set has not. On an error @out is to be freed all
 * the same. */
static int build(const struct subscription_set *set, const struct proto_subscription *const *said, uint32_t n,
                 struct subscription_set *out, uint32_t *n_new)
{
    int rc = 0;

    *n_new = 0;
    *out = (struct subscription_set){.items = mq_calloc(n + 1, sizeof(*out->items))};
    if (out->items == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        const struct consumer_subscription *old = subscription_set_find(set, said[i]->topic);

        *n_new += old == NULL;
        out->count++;
        rc = sub_take(old, said[i], &out->items[i]);
        out->n_sql += out->items[i].type == PROTO_EXPRESSION_SQL92;
    }
    return rc;
}

int subscription_set_take(struct subscription_set *set, const struct proto_subscription *items, uint32_t n,
                          const struct subscription_room *room, bool *changed)
{
    const struct proto_subscription **said = mq_calloc(n + 1, sizeof(const struct proto_subscription *));
    struct subscription_set fresh = {0};
    uint32_t n_new = 0;
    int rc = 0;

    if (said == NULL) {
        return MQ_ENOMEM;
    }
    n = n != 0 ? sort_said(items, n, said) : 0;
    if (n > room->count) {
        rc = MQ_ETOOBIG;
    } else if (!says_nothing_new(set, said, n)) {
        rc = build(set, said, n, &fresh, &n_new);
        rc = rc == 0 && fresh.n_sql > room->n_sql ? MQ_ETOOBIG : rc;
        if (rc == 0) {
            struct subscription_set old = *set;

            *changed = n_new != 0 || n != set->count;
            *set = fresh;
            fresh = old;
        }
        subscription_set_free(&fresh);
    }
    mq_free(said);
    return rc;
}

int subscription_set_list(const struct subscription_set *set, struct proto_subscriptions *out)
{
    for (uint32_t i = 0; i < set->count; i++) {
        struct proto_subscription *sub = proto_subscriptions_add(out);

        if (sub == NULL) {
            return MQ_ENOMEM;
        }
        sub->topic = mq_str_of(set->items[i].topic);
        sub->expression = mq_str_of(set->items[i].expression);
        sub->type = set->items[i].type;
        sub->version = set->items[i].version;
    }
    return 0;
}

void subscription_set_free(struct subscription_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        mq_free(set->items[i].topic);
        mq_free(set->items[i].expression);
        message_filter_release(set->items[i].filter);
    }
    mq_free(set->items);
    *set = (struct subscription_set){0};
}
