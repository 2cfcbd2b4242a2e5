/* One hash table for applied and pending topics. A topic keeps its place in memory while it is replaced; who holds on
 * to one beyond a call has to hear of deletions. A topic that is proposed while the deletion of its name is under way
 * waits beside it, as its heir. */
#include "broker/store/hash.h"

#include "broker/state/topic_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
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
    if (topic->heir != NULL) {
        topic_free(topic->heir);
    }
    attributes_free(topic->attributes, topic->n_attributes);
    mq_free(topic->name);
    mq_free(topic);
}

void topic_table_clear(struct topic_table *table)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        HASH_DEL(table->by_name, topic);
        topic_free(topic);
    }
    table->count = 0;
    table->sum = 0;
    table->counter = 0;
    table->changed_ms = 0;
    table_copy_end(&table->copy);
}

void topic_table_fini(struct topic_table *table)
{
    topic_table_clear(table);
}

static struct topic *find_any(const struct topic_table *table, struct mq_str name)
{
    struct topic *topic;

    HASH_FIND(hh, table->by_name, name.at, name.len, topic);
    return topic;
}

struct topic *topic_table_find_for_send(struct topic_table *table, struct mq_str name)
{
    struct topic *topic = find_any(table, name);

    return topic != NULL && topic->leaving ? topic->heir : topic;
}

struct topic *topic_table_find(struct topic_table *table, struct mq_str name)
{
    struct topic *topic = find_any(table, name);

    return topic != NULL && !topic->pending ? topic : NULL;
}

struct topic *topic_table_find_staying(struct topic_table *table, struct mq_str name)
{
    struct topic *topic = topic_table_find(table, name);

    return topic != NULL && !topic->leaving ? topic : NULL;
}

/* A pending topic that stands in no table. */
static int topic_new(struct topic_table *table, const char *name, struct topic **out)
{
    struct topic *topic = mq_calloc(1, sizeof(*topic));

    if (topic == NULL) {
        return MQ_ENOMEM;
    }
    topic->name = mq_strdup(name);
    topic->name_bytes = (uint32_t)strlen(name);
    topic->queues = queue_table_topic(table->queue_table, mq_str_of(name));
    topic->pending = true;
    if (topic->name == NULL || topic->queues == NULL) {
        topic_free(topic);
        return MQ_ENOMEM;
    }
    *out = topic;
    return 0;
}

static int add_topic(struct topic_table *table, const char *name, struct topic **out)
{
    struct topic *topic;
    int rc = topic_new(table, name, &topic);

    if (rc != 0) {
        return rc;
    }
    HASH_ADD_KEYPTR(hh, table->by_name, topic->name, topic->name_bytes, topic);
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
    if (table->copy.next == topic) {
        table->copy.next = topic->hh.next;
    }
    HASH_DEL(table->by_name, topic);
    topic_free(topic);
}

/* The topic called config->name, made pending when there is none, with this configuration; unchanged on error. */
static int put_config(struct topic_table *table, const Raftmq__TopicConfigItem *config, struct topic **out)
{
    struct topic *topic = find_any(table, mq_str_of(config->name));
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

/* The row of a snapshot. */
static void put_row(struct topic_table *table, struct topic *topic)
{
    Raftmq__TopicConfigItem row = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;
    Raftmq__Attribute *attributes = mq_calloc(topic->n_attributes + 1, sizeof(*attributes));
    Raftmq__Attribute **list = mq_calloc(topic->n_attributes + 1, sizeof(*list));

    topic->generation = table->copy.generation;
    if (attributes == NULL || list == NULL) {
        rlog_sink_fail(table->copy.sink, MQ_ENOMEM);
    } else {
        for (uint32_t i = 0; i < topic->n_attributes; i++) {
            raftmq__attribute__init(&attributes[i]);
            attributes[i].key = topic->attributes[i].key;
            attributes[i].value = topic->attributes[i].value;
            list[i] = &attributes[i];
        }
        row.name = topic->name;
        row.read_queues = topic->read_queues;
        row.write_queues = topic->write_queues;
        row.perm = topic->perm;
        row.filter_type = (char *)(topic->multi_tag ? "MULTI_TAG" : "SINGLE_TAG");
        row.sys_flag = topic->sys_flag;
        row.order = topic->order;
        row.n_attributes = topic->n_attributes;
        row.attributes = list;
        table_copy_put(&table->copy, &row.base);
    }
    mq_free(attributes);
    mq_free(list);
}

/* A topic that was applied is about to change, or one to be applied. */
static void before_change(struct topic_table *table, struct topic *topic)
{
    if (topic != NULL && !topic->pending && table_copy_wants(&table->copy, topic->generation)) {
        put_row(table, topic);
    }
}

static void count_applied(struct topic_table *table, struct topic *topic)
{
    if (topic->pending) {
        topic->pending = false;
        topic->generation = table->copy.generation; /* younger than the snapshot that is being taken */
        table->count++;
    } else {
        table->sum -= topic->fingerprint;
    }
    topic->fingerprint = topic_hash(topic);
    table->sum += topic->fingerprint;
}

int topic_table_put(struct topic_table *table, const Raftmq__TopicConfigItem *config, int64_t store_ms)
{
    struct topic *topic;
    int rc;

    before_change(table, find_any(table, mq_str_of(config->name)));
    rc = put_config(table, config, &topic);
    if (rc != 0) {
        return rc;
    }
    count_applied(table, topic);
    table->counter++;
    table->changed_ms = store_ms;
    return 0;
}

/* The pending topic that takes the place of @topic, whose deletion is proposed. */
static int put_heir(struct topic_table *table, struct topic *topic, const Raftmq__TopicConfigItem *config)
{
    struct topic *heir;
    int rc = topic_new(table, config->name, &heir);

    if (rc == 0) {
        rc = set_config(heir, config);
        if (rc != 0) {
            topic_free(heir);
            return rc;
        }
        heir->ticket = table->tickets;
        topic->heir = heir;
    }
    return rc;
}

int topic_table_put_pending(struct topic_table *table, const Raftmq__TopicConfigItem *config)
{
    struct topic *topic = find_any(table, mq_str_of(config->name));
    int rc;

    if (topic == NULL) {
        rc = put_config(table, config, &topic);
        if (rc == 0) {
            topic->ticket = table->tickets;
        }
        return rc;
    }
    return topic->leaving && topic->heir == NULL ? put_heir(table, topic, config) : 0;
}

static void drop_heir(struct topic *topic)
{
    if (topic->heir != NULL) {
        topic_free(topic->heir);
        topic->heir = NULL;
    }
}

bool topic_table_delete(struct topic_table *table, struct mq_str name, int64_t store_ms)
{
    struct topic *topic = find_any(table, name), *heir;

    if (topic == NULL || topic->pending) {
        return false;
    }
    before_change(table, topic);
    heir = topic->heir;
    topic->heir = NULL;
    table->sum -= topic->fingerprint;
    table->count--;
    table->counter++;
    table->changed_ms = store_ms;
    remove_topic(table, topic);
    if (heir != NULL) {
        HASH_ADD_KEYPTR(hh, table->by_name, heir->name, heir->name_bytes, heir);
        if (heir->hh.tbl == NULL) {
            topic_free(heir); /* sends wait until its entry is applied */
        }
    }
    return true;
}

void topic_table_note_deletion(struct topic_table *table, struct mq_str name)
{
    struct topic *topic = find_any(table, name);

    if (topic != NULL) {
        topic->leaving = true;
        topic->leaves_by = table->tickets;
        drop_heir(topic);
    }
}

uint32_t topic_table_ticket(struct topic_table *table)
{
    table->tickets = table->tickets < INT32_MAX ? table->tickets + 1 : 1;
    return table->tickets;
}

void topic_table_forget(struct topic_table *table, uint32_t ticket)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        if (topic->leaving && topic->leaves_by == ticket) {
            topic->leaving = false;
            drop_heir(topic);
        } else if (topic->heir != NULL && topic->heir->ticket == ticket) {
            drop_heir(topic);
        }
        if (topic->pending && topic->ticket == ticket) {
            remove_topic(table, topic);
        }
    }
}

void topic_table_drop_pending(struct topic_table *table)
{
    struct topic *topic, *next;

    HASH_ITER (hh, table->by_name, topic, next) {
        topic->leaving = false;
        drop_heir(topic);
        if (topic->pending) {
            remove_topic(table, topic);
        }
    }
}

static uint64_t finish_hash(const struct topic_table *table, uint64_t sum)
{
    sum = fingerprint_u64(sum, table->count);
    sum = fingerprint_u64(sum, table->counter);
    return fingerprint_end(fingerprint_u64(sum, (uint64_t)table->changed_ms));
}

uint64_t topic_table_hash(const struct topic_table *table)
{
    return finish_hash(table, table->sum);
}

uint64_t topic_table_recount(const struct topic_table *table)
{
    uint64_t sum = 0;

    for (const struct topic *topic = table->by_name; topic != NULL; topic = topic->hh.next) {
        sum += topic->pending ? 0 : topic_hash(topic);
    }
    return finish_hash(table, sum);
}

/* --- snapshots --- */

void topic_table_copy_begin(struct topic_table *table, uint16_t section, struct rlog_sink *sink)
{
    Raftmq__TopicRows head = RAFTMQ__TOPIC_ROWS__INIT;

    head.counter = table->counter;
    head.changed_ms = table->changed_ms;
    table_copy_begin(&table->copy, section, sink, &head.base, table->by_name);
}

bool topic_table_copy_step(struct topic_table *table)
{
    struct topic *topic = table->copy.next;

    for (uint32_t i = 0; topic != NULL && i < TABLE_COPY_ROWS; i++, topic = topic->hh.next) {
        before_change(table, topic);
    }
    table->copy.next = topic;
    return topic != NULL;
}

int topic_table_restore(struct topic_table *table, const Raftmq__TopicRows *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++) {
        struct topic *topic;
        int rc = put_config(table, rows->rows[i], &topic);

        if (rc != 0) {
            return rc;
        }
        if (!topic->pending) {
            return MQ_EBADMSG; /* twice */
        }
        count_applied(table, topic);
    }
    table->counter += rows->counter; /* set in one piece, 0 in the others */
    table->changed_ms += rows->changed_ms;
    return 0;
}
