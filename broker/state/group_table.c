#include "broker/store/hash.h"

#include "broker/state/group_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/retry_policy.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/err.h"

void group_table_init(struct group_table *table)
{
    *table = (struct group_table){0};
}

/* A name that the leader has proposed. */
struct group_name {
    char *name; /* owned; key */
    UT_hash_handle hh;
};

/* Copies that belong to a group. */
static void *details_alloc(void *data, size_t bytes)
{
    (void)data;
    return mq_malloc(bytes);
}

static void details_release(void *data, void *at)
{
    (void)data;
    mq_free(at);
}

static ProtobufCAllocator details_allocator = {details_alloc, details_release, NULL};

static void details_free(Raftmq__GroupDetails *details)
{
    if (details != NULL) {
        raftmq__group_details__free_unpacked(details, &details_allocator);
    }
}

/* Fills @packed with @details as bytes. Returns 0 or MQ_ENOMEM. */
static int details_pack(const Raftmq__GroupDetails *details, struct mq_buf *packed)
{
    int rc = mq_buf_reserve(packed, raftmq__group_details__get_packed_size(details) + 1);

    if (rc == 0) {
        packed->len = raftmq__group_details__pack(details, packed->base);
    }
    return rc;
}

/* Returns 0 with @out a copy, NULL of NULL; or MQ_ENOMEM. */
static int details_copy(const Raftmq__GroupDetails *details, Raftmq__GroupDetails **out)
{
    struct mq_buf packed = {0};
    int rc;

    *out = NULL;
    if (details == NULL) {
        return 0;
    }
    rc = details_pack(details, &packed);
    if (rc == 0) {
        *out = raftmq__group_details__unpack(&details_allocator, packed.len, packed.base);
        rc = *out != NULL ? 0 : MQ_ENOMEM;
    }
    mq_buf_free(&packed);
    return rc;
}

static void group_free(struct group *group)
{
    details_free(group->details);
    mq_free(group->name);
    mq_free(group);
}

void group_table_fini(struct group_table *table)
{
    group_table_clear(table);
}

void group_table_clear(struct group_table *table)
{
    struct group *group, *next;

    HASH_ITER (hh, table->by_name, group, next) {
        HASH_DEL(table->by_name, group);
        group_free(group);
    }
    table->count = 0;
    table->sum = 0;
    table->counter = 0;
    table->changed_ms = 0;
    table_copy_end(&table->copy);
    group_table_drop_proposed(table);
}

static void forget_proposed(struct group_table *table, struct group_name *name)
{
    HASH_DEL(table->proposed, name);
    mq_free(name->name);
    mq_free(name);
}

static struct group_name *find_proposed(const struct group_table *table, struct mq_str name)
{
    struct group_name *found;

    HASH_FIND(hh, table->proposed, name.at, name.len, found);
    return found;
}

void group_table_note_proposed(struct group_table *table, struct mq_str name)
{
    struct group_name *note = mq_calloc(1, sizeof(*note));

    if (note == NULL) {
        return;
    }
    note->name = mq_strndup(name.at, name.len);
    if (note->name != NULL) {
        HASH_ADD_KEYPTR(hh, table->proposed, note->name, name.len, note);
    }
    if (note->hh.tbl == NULL) {
        mq_free(note->name);
        mq_free(note);
    }
}

bool group_table_is_proposed(const struct group_table *table, struct mq_str name)
{
    return find_proposed(table, name) != NULL;
}

void group_table_drop_proposed(struct group_table *table)
{
    struct group_name *note, *next;

    HASH_ITER (hh, table->proposed, note, next) {
        forget_proposed(table, note);
    }
    for (struct group *group = table->by_name; group != NULL; group = group->hh.next) {
        group->leaving = false;
    }
}

uint32_t group_table_size(const struct group_table *table)
{
    return table->count + HASH_COUNT(table->proposed);
}

struct group *group_table_find(struct group_table *table, struct mq_str name)
{
    struct group *group;

    HASH_FIND(hh, table->by_name, name.at, name.len, group);
    return group;
}

static int add_group(struct group_table *table, const char *name, struct group **out)
{
    struct group *group = mq_calloc(1, sizeof(*group));

    if (group == NULL) {
        return MQ_ENOMEM;
    }
    group->name = mq_strdup(name);
    if (group->name != NULL) {
        HASH_ADD_KEYPTR(hh, table->by_name, group->name, strlen(name), group);
    }
    if (group->hh.tbl == NULL) {
        group_free(group);
        return MQ_ENOMEM;
    }
    table->count++;
    group->generation = table->copy.generation; /* younger than the snapshot that is being taken */
    *out = group;
    return 0;
}

/* Field by field, because how protobuf packs is not ours to fix for ever. */
static uint64_t fingerprint_policy(uint64_t h, const Raftmq__RetryPolicy *policy)
{
    h = fingerprint_u64(h, policy->exponential);
    if (policy->exponential_retry != NULL) {
        h = fingerprint_u64(h, (uint64_t)policy->exponential_retry->initial_ms);
        h = fingerprint_u64(h, (uint64_t)policy->exponential_retry->max_ms);
        h = fingerprint_u64(h, (uint64_t)policy->exponential_retry->multiplier);
    }
    if (policy->customized_retry != NULL) {
        h = fingerprint_u64(h, policy->customized_retry->n_next_ms);
        for (size_t i = 0; i < policy->customized_retry->n_next_ms; i++) {
            h = fingerprint_u64(h, (uint64_t)policy->customized_retry->next_ms[i]);
        }
    }
    return h;
}

static uint64_t fingerprint_details(uint64_t h, const Raftmq__GroupDetails *details)
{
    if (details == NULL) {
        return h;
    }
    if (details->retry_policy != NULL) {
        h = fingerprint_policy(h, details->retry_policy);
    }
    for (size_t i = 0; i < details->n_subscriptions; i++) {
        const Raftmq__GroupSubscription *sub = details->subscriptions[i];

        h = fingerprint_text(h, sub->topic);
        h = fingerprint_text(h, sub->expression_type);
        h = fingerprint_text(h, sub->expression);
        h = fingerprint_u64(h, (uint64_t)sub->version);
    }
    return h;
}

static uint64_t group_hash(const struct group *group)
{
    uint64_t h = fingerprint_text(FINGERPRINT_START, group->name);

    h = fingerprint_u64(h, group->consume_enable);
    h = fingerprint_u64(h, group->consume_from_min_enable);
    h = fingerprint_u64(h, group->consume_broadcast_enable);
    h = fingerprint_u64(h, group->consume_message_orderly);
    h = fingerprint_u64(h, group->retry_queues);
    h = fingerprint_u64(h, (uint64_t)group->retry_max_times);
    h = fingerprint_u64(h, (uint64_t)group->broker_id);
    h = fingerprint_u64(h, (uint64_t)group->which_broker_when_slow);
    h = fingerprint_u64(h, group->notify_consumer_ids_changed);
    h = fingerprint_u64(h, group->sys_flag);
    h = fingerprint_u64(h, group->consume_timeout_minutes);
    return fingerprint_end(fingerprint_details(h, group->details));
}

void group_describe(const struct group *group, Raftmq__GroupPut *item)
{
    raftmq__group_put__init(item);
    item->name = group->name;
    item->consume_enable = group->consume_enable;
    item->consume_from_min_enable = group->consume_from_min_enable;
    item->consume_broadcast_enable = group->consume_broadcast_enable;
    item->consume_message_orderly = group->consume_message_orderly;
    item->retry_queues = group->retry_queues;
    item->retry_max_times = group->retry_max_times;
    item->broker_id = group->broker_id;
    item->which_broker_when_slow = group->which_broker_when_slow;
    item->notify_consumer_ids_changed = group->notify_consumer_ids_changed;
    item->sys_flag = group->sys_flag;
    item->consume_timeout_minutes = group->consume_timeout_minutes;
    item->details = group->details;
}

/* The row of a snapshot. */
static void put_row(struct group_table *table, struct group *group)
{
    Raftmq__GroupPut row;

    group_describe(group, &row);
    group->generation = table->copy.generation;
    table_copy_put(&table->copy, &row.base);
}

/* Returns 0, or MQ_ENOMEM: nothing has changed. */
static int set_config(struct group_table *table, struct group *group, const Raftmq__GroupPut *item)
{
    Raftmq__GroupDetails *details;
    int rc = details_copy(item->details, &details);

    if (rc != 0) {
        return rc;
    }
    if (table_copy_wants(&table->copy, group->generation)) {
        put_row(table, group);
    }
    details_free(group->details);
    group->details = details;
    group->consume_enable = item->consume_enable;
    group->consume_from_min_enable = item->consume_from_min_enable;
    group->consume_broadcast_enable = item->consume_broadcast_enable;
    group->consume_message_orderly = item->consume_message_orderly;
    group->retry_queues = item->retry_queues;
    group->retry_max_times = item->retry_max_times;
    group->broker_id = item->broker_id;
    group->which_broker_when_slow = item->which_broker_when_slow;
    group->notify_consumer_ids_changed = item->notify_consumer_ids_changed;
    group->sys_flag = item->sys_flag;
    group->consume_timeout_minutes = item->consume_timeout_minutes;
    table->sum -= group->fingerprint; /* 0 of a new one */
    group->fingerprint = group_hash(group);
    table->sum += group->fingerprint;
    return 0;
}

static void remove_group(struct group_table *table, struct group *group)
{
    if (table->copy.next == group) {
        table->copy.next = group->hh.next;
    }
    table->sum -= group->fingerprint; /* 0 of one that was not set */
    table->count--;
    HASH_DEL(table->by_name, group);
    group_free(group);
}

/* The group called item->name, made when there is none, as @item says; unchanged on error. */
static int put_config(struct group_table *table, const Raftmq__GroupPut *item)
{
    struct group *group = group_table_find(table, mq_str_of(item->name));
    bool is_new = group == NULL;
    int rc = is_new ? add_group(table, item->name, &group) : 0;

    if (rc != 0) {
        return rc;
    }
    rc = set_config(table, group, item);
    if (rc != 0 && is_new) {
        remove_group(table, group);
    }
    return rc;
}

int group_table_put(struct group_table *table, const Raftmq__GroupPut *item, int64_t store_ms)
{
    struct group_name *note = find_proposed(table, mq_str_of(item->name));
    int rc = put_config(table, item);

    if (rc != 0) {
        return rc;
    }
    if (note != NULL) {
        forget_proposed(table, note);
    }
    table->counter++;
    table->changed_ms = store_ms;
    return 0;
}

bool group_table_delete(struct group_table *table, struct mq_str name, int64_t store_ms)
{
    struct group *group = group_table_find(table, name);

    if (group == NULL) {
        return false;
    }
    if (table_copy_wants(&table->copy, group->generation)) {
        put_row(table, group);
    }
    table->counter++;
    table->changed_ms = store_ms;
    remove_group(table, group);
    return true;
}

void group_table_note_deletion(struct group_table *table, struct mq_str name)
{
    struct group *group = group_table_find(table, name);

    if (group != NULL) {
        group->leaving = true;
    }
}

int64_t group_retry_ms(const struct group *group, int32_t times)
{
    bool has_own = group != NULL && group->details != NULL;

    return retry_policy_delay_ms(has_own ? group->details->retry_policy : NULL, times);
}

/* Source: RocketMQ's SubscriptionGroupConfig. */
void group_defaults(Raftmq__GroupPut *item, char *name)
{
    raftmq__group_put__init(item);
    item->name = name;
    item->consume_enable = true;
    item->consume_from_min_enable = true;
    item->consume_broadcast_enable = true;
    item->consume_message_orderly = false;
    item->retry_queues = 1;
    item->retry_max_times = 16;
    item->broker_id = 0;
    item->which_broker_when_slow = 1;
    item->notify_consumer_ids_changed = true;
    item->sys_flag = 0;
    item->consume_timeout_minutes = 15;
}

static uint64_t finish_hash(const struct group_table *table, uint64_t sum)
{
    sum = fingerprint_u64(sum, table->count);
    sum = fingerprint_u64(sum, table->counter);
    return fingerprint_end(fingerprint_u64(sum, (uint64_t)table->changed_ms));
}

uint64_t group_table_hash(const struct group_table *table)
{
    return finish_hash(table, table->sum);
}

uint64_t group_table_recount(const struct group_table *table)
{
    uint64_t sum = 0;

    for (const struct group *group = table->by_name; group != NULL; group = group->hh.next) {
        sum += group_hash(group);
    }
    return finish_hash(table, sum);
}

/* --- snapshots --- */

void group_table_copy_begin(struct group_table *table, uint16_t section, struct rlog_sink *sink)
{
    Raftmq__GroupRows head = RAFTMQ__GROUP_ROWS__INIT;

    head.counter = table->counter;
    head.changed_ms = table->changed_ms;
    table_copy_begin(&table->copy, section, sink, &head.base, table->by_name);
}

bool group_table_copy_step(struct group_table *table)
{
    struct group *group = table->copy.next;

    for (uint32_t i = 0; group != NULL && i < TABLE_COPY_ROWS; i++, group = group->hh.next) {
        if (table_copy_wants(&table->copy, group->generation)) {
            put_row(table, group);
        }
    }
    table->copy.next = group;
    return group != NULL;
}

int group_table_restore(struct group_table *table, const Raftmq__GroupRows *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++) {
        const Raftmq__GroupPut *item = rows->rows[i];
        int rc =
            group_table_find(table, mq_str_of(item->name)) == NULL ? put_config(table, item) : MQ_EBADMSG; /* twice */

        if (rc != 0) {
            return rc;
        }
    }
    table->counter += rows->counter; /* set in one piece, 0 in the others */
    table->changed_ms += rows->changed_ms;
    return 0;
}
