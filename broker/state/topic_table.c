/* One hash table for applied and pending topics. A topic keeps its place in memory while it is replaced, so that
 * others may hold on to it; only pending ones are ever dropped. */
#include "broker/store/hash.h"

#include "broker/state/topic_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "remoting/base/err.h"

void topic_table_init(struct topic_table *table, struct queue_table *queue_table)
{
    *table = (struct topic_table){.queue_table = queue_table};
}

static void attributes_free(struct topic_attribute *attributes, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        mq_free(attributes[i].key);
        mq_free(attributes[i].value);
    }
    mq_free(attributes);
}

static void topic_free(struct topic *topic)
{
    attributes_free(topic->attributes, topic->n_attributes);
    mq_free(topic->name);
    mq_free(topic);
}

void topic_table_fini(struct topic_table *table)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        HASH_DEL(table->by_name, topic);
        topic_free(topic);
    }
    table->count = 0;
}

struct topic *topic_table_find_for_send(struct topic_table *table, struct mq_str name)
{
    struct topic *topic;

    HASH_FIND(hh, table->by_name, name.at, name.len, topic);
    return topic;
}

struct topic *topic_table_find(struct topic_table *table, struct mq_str name)
{
    struct topic *topic = topic_table_find_for_send(table, name);

    return topic != NULL && !topic->pending ? topic : NULL;
}

static int add_topic(struct topic_table *table, const char *name, struct topic **out)
{
    struct topic *topic = mq_calloc(1, sizeof(*topic));

    if (topic == NULL) {
        return MQ_ENOMEM;
    }
    topic->name = mq_strdup(name);
    topic->name_bytes = (uint32_t)strlen(name);
    topic->queues = queue_table_topic(table->queue_table, mq_str_of(name));
    topic->pending = true;
    if (topic->name != NULL && topic->queues != NULL) {
        HASH_ADD_KEYPTR(hh, table->by_name, topic->name, topic->name_bytes, topic);
    }
    if (topic->hh.tbl == NULL) {
        topic_free(topic);
        return MQ_ENOMEM;
    }
    *out = topic;
    return 0;
}

static int copy_attributes(const Raftmq__TopicConfigItem *config, struct topic_attribute **out)
{
    struct topic_attribute *attributes = mq_calloc(config->n_attributes + 1, sizeof(*attributes));
    uint32_t n = (uint32_t)config->n_attributes;

    if (attributes == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        attributes[i].key = mq_strdup(config->attributes[i]->key);
        attributes[i].value = mq_strdup(config->attributes[i]->value);
        if (attributes[i].key == NULL || attributes[i].value == NULL) {
            attributes_free(attributes, i + 1);
            return MQ_ENOMEM;
        }
    }
    *out = attributes;
    return 0;
}

static int set_config(struct topic *topic, const Raftmq__TopicConfigItem *config)
{
    struct topic_attribute *attributes;
    int rc = copy_attributes(config, &attributes);

    if (rc != 0) {
        return rc;
    }
    attributes_free(topic->attributes, topic->n_attributes);
    topic->attributes = attributes;
    topic->n_attributes = (uint32_t)config->n_attributes;
    topic->read_queues = config->read_queues;
    topic->write_queues = config->write_queues;
    topic->perm = config->perm;
    topic->multi_tag = strcmp(config->filter_type, "MULTI_TAG") == 0;
    topic->sys_flag = config->sys_flag;
    topic->order = config->order;
    return 0;
}

static void remove_topic(struct topic_table *table, struct topic *topic)
{
    HASH_DEL(table->by_name, topic);
    topic_free(topic);
}

/* The topic called config->name, made pending when there is none, with this configuration; unchanged on error. */
static int put_config(struct topic_table *table, const Raftmq__TopicConfigItem *config, struct topic **out)
{
    struct topic *topic = topic_table_find_for_send(table, mq_str_of(config->name));
    bool is_new = topic == NULL;
    int rc = is_new ? add_topic(table, config->name, &topic) : 0;

    if (rc != 0) {
        return rc;
    }
    rc = set_config(topic, config);
    if (rc == 0) {
        *out = topic;
    } else if (is_new) {
        remove_topic(table, topic);
    }
    return rc;
}

int topic_table_put(struct topic_table *table, const Raftmq__TopicConfigItem *config, int64_t store_ms)
{
    struct topic *topic;
    int rc = put_config(table, config, &topic);

    if (rc != 0) {
        return rc;
    }
    table->count += topic->pending;
    topic->pending = false;
    table->counter++;
    table->changed_ms = store_ms;
    return 0;
}

int topic_table_put_pending(struct topic_table *table, const Raftmq__TopicConfigItem *config)
{
    struct topic *topic = topic_table_find_for_send(table, mq_str_of(config->name));

    return topic != NULL ? 0 : put_config(table, config, &topic);
}

void topic_table_drop_pending(struct topic_table *table)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        if (topic->pending) {
            remove_topic(table, topic);
        }
    }
}

static uint64_t topic_hash(const struct topic *topic)
{
    uint64_t h = fingerprint_text(FINGERPRINT_START, topic->name);

    h = fingerprint_u64(h, topic->read_queues);
    h = fingerprint_u64(h, topic->write_queues);
    h = fingerprint_u64(h, topic->perm);
    h = fingerprint_u64(h, topic->multi_tag);
    h = fingerprint_u64(h, topic->sys_flag);
    h = fingerprint_u64(h, topic->order);
    for (uint32_t i = 0; i < topic->n_attributes; i++) {
        h = fingerprint_text(h, topic->attributes[i].key);
        h = fingerprint_text(h, topic->attributes[i].value);
    }
    return fingerprint_end(h);
}

uint64_t topic_table_hash(const struct topic_table *table)
{
    uint64_t sum = 0;

    for (const struct topic *topic = table->by_name; topic != NULL; topic = topic->hh.next) {
        sum += topic->pending ? 0 : topic_hash(topic);
    }
    sum = fingerprint_u64(sum, table->count);
    sum = fingerprint_u64(sum, table->counter);
    return fingerprint_end(fingerprint_u64(sum, (uint64_t)table->changed_ms));
}
