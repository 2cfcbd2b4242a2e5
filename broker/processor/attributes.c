#include "broker/processor/attributes.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text of a client's in a problem: so much of it. */
#define SHOWN_MAX 80
#define ATTRIBUTE_ARG(s) (int)((s).len < SHOWN_MAX ? (s).len : SHOWN_MAX), (s).at != NULL ? (s).at : ""

struct rule {
    const char *key;
    const char *const *values; /* NULL: not to be set in this release */
    bool changeable;
};

static const char *const message_types[] = {"UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", NULL};
static const char *const cleanup_policies[] = {"DELETE", NULL};
static const char *const queue_types[] = {"SimpleCQ", NULL};

static const struct rule rules[] = {
    {"message.type", message_types, true},
    {"cleanup.policy", cleanup_policies, false},
    {"queue.type", queue_types, false},
    {"reserve.time", NULL, true}, /* needs tiered storage, which the original demands too */
};

static const struct rule *rule_of(struct mq_str key)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        if (mq_str_eq(mq_str_of(rules[i].key), key)) {
            return &rules[i];
        }
    }
    return NULL;
}

static bool value_allowed(const struct rule *rule, struct mq_str value)
{
    for (const char *const *v = rule->values; v != NULL && *v != NULL; v++) {
        if (mq_str_eq(mq_str_of(*v), value)) {
            return true;
        }
    }
    return false;
}

static int find(const struct attributes *attributes, struct mq_str key)
{
    for (size_t i = 0; i < attributes->count; i++) {
        if (mq_str_eq(mq_str_of(attributes->items[i].key), key)) {
            return (int)i;
        }
    }
    return -1;
}

static void item_free(Raftmq__Attribute *item)
{
    mq_free(item->key);
    mq_free(item->value);
}

void attributes_free(struct attributes *attributes)
{
    for (size_t i = 0; i < attributes->count; i++) {
        item_free(&attributes->items[i]);
    }
    attributes->count = 0;
}

static int set(struct attributes *attributes, struct mq_str key, struct mq_str value)
{
    int at = find(attributes, key);
    char *text = mq_strndup(value.at, value.len);
    Raftmq__Attribute *item;

    if (text == NULL) {
        return MQ_ENOMEM;
    }
    if (at >= 0) {
        mq_free(attributes->items[at].value);
        attributes->items[at].value = text;
        return 0;
    }
    MQ_ASSERT(attributes->count < ATTRIBUTES_MAX); /* there are fewer keys than that */
    item = &attributes->items[attributes->count];
    raftmq__attribute__init(item);
    item->key = mq_strndup(key.at, key.len);
    item->value = text;
    if (item->key == NULL) {
        mq_free(text);
        return MQ_ENOMEM;
    }
    attributes->count++;
    return 0;
}

static void drop(struct attributes *attributes, int at)
{
    item_free(&attributes->items[at]);
    attributes->items[at] = attributes->items[--attributes->count];
}

/* The key that an item "+key=value" or "-key" names; @item is not empty. */
static struct mq_str key_of(struct mq_str item)
{
    const char *eq = memchr(item.at, '=', item.len);
    const char *end = eq != NULL ? eq : item.at + item.len;

    return (struct mq_str){item.at + 1, end > item.at ? (uint32_t)(end - item.at) - 1 : 0};
}

static bool next_item(struct mq_str *rest, struct mq_str *item)
{
    while (rest->len > 0) {
        const char *comma = memchr(rest->at, ',', rest->len);
        uint32_t n = comma != NULL ? (uint32_t)(comma - rest->at) : rest->len;

        *item = (struct mq_str){rest->at, n};
        n += comma != NULL;
        rest->at += n;
        rest->len -= n;
        if (item->len > 0) {
            return true;
        }
    }
    return false;
}

static bool is_named_again(struct mq_str key, struct mq_str rest)
{
    struct mq_str item;

    while (next_item(&rest, &item)) {
        if (mq_str_eq(key_of(item), key)) {
            return true;
        }
    }
    return false;
}

/* One "+key=value" or "-key". */
static int change_one(struct attributes *attributes, bool is_new, struct mq_str item, char *problem, size_t n)
{
    const char *eq = memchr(item.at, '=', item.len);
    struct mq_str key = key_of(item);
    struct mq_str value = {eq != NULL ? eq + 1 : NULL, eq != NULL ? (uint32_t)(item.at + item.len - eq - 1) : 0};
    const struct rule *rule;
    int at;

    if ((item.at[0] != '+' && item.at[0] != '-') || (eq != NULL) != (item.at[0] == '+') || key.len == 0) {
        snprintf(problem, n, "\"" MQ_STR_FMT "\" is neither +key=value nor -key", ATTRIBUTE_ARG(item));
        return MQ_EINVAL;
    }
    rule = rule_of(key);
    if (rule == NULL) {
        snprintf(problem, n, "unknown key \"" MQ_STR_FMT "\"", ATTRIBUTE_ARG(key));
        return MQ_EINVAL;
    }
    at = find(attributes, key);
    if (eq == NULL && (is_new || at < 0)) {
        snprintf(problem, n, "\"" MQ_STR_FMT "\" is not set: it cannot be deleted", ATTRIBUTE_ARG(key));
        return MQ_EINVAL;
    }
    if (at >= 0 && !rule->changeable && (eq == NULL || !mq_str_eq(mq_str_of(attributes->items[at].value), value))) {
        snprintf(problem, n, "\"" MQ_STR_FMT "\" cannot be changed once the topic exists", ATTRIBUTE_ARG(key));
        return MQ_EINVAL;
    }
    if (eq == NULL) {
        drop(attributes, at);
        return 0;
    }
    if (!value_allowed(rule, value)) {
        snprintf(problem, n, "\"" MQ_STR_FMT "\" may not be \"" MQ_STR_FMT "\" here", ATTRIBUTE_ARG(key),
                 ATTRIBUTE_ARG(value));
        return mq_str_eq(key, MQ_STR("message.type")) && mq_str_eq(value, MQ_STR("MIXED")) ? MQ_EUNSUPPORTED
                                                                                           : MQ_EINVAL;
    }
    return set(attributes, key, value);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const Raftmq__Attribute *)a)->key, ((const Raftmq__Attribute *)b)->key);
}

int attributes_change(const struct topic *topic, struct mq_str change, struct attributes *out, char *problem,
                      size_t problem_bytes)
{
    struct mq_str item;
    int rc = 0;

    out->count = 0;
    for (uint32_t i = 0; rc == 0 && topic != NULL && i < topic->n_attributes; i++) {
        rc = set(out, mq_str_of(topic->attributes[i].key), mq_str_of(topic->attributes[i].value));
    }
    while (rc == 0 && next_item(&change, &item)) {
        if (is_named_again(key_of(item), change)) {
            snprintf(problem, problem_bytes, "\"" MQ_STR_FMT "\" is there twice", ATTRIBUTE_ARG(key_of(item)));
            rc = MQ_EINVAL;
        } else {
            rc = change_one(out, topic == NULL, item, problem, problem_bytes);
        }
    }
    if (rc != 0) {
        attributes_free(out);
        return rc;
    }
    qsort(out->items, out->count, sizeof(out->items[0]), compare_keys);
    for (size_t i = 0; i < out->count; i++) {
        out->list[i] = &out->items[i];
    }
    return 0;
}
