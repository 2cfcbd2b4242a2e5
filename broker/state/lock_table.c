#include "broker/store/hash.h"

#include "broker/state/lock_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/joined_key.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

/* How many locks a group holds; without any it is gone. */
struct lock_group {
    char *name; /* owned; key */
    uint32_t locks;
    UT_hash_handle hh;
};

void lock_table_init(struct lock_table *table)
{
    *table = (struct lock_table){0};
    TAILQ_INIT(&table->by_lease);
}

static struct lock_group *find_group(const struct lock_table *table, struct mq_str name)
{
    struct lock_group *group;

    HASH_FIND(hh, table->groups, name.at, name.len, group);
    return group;
}

static struct lock_group *get_group(struct lock_table *table, struct mq_str name)
{
    struct lock_group *group = find_group(table, name);

    if (group != NULL) {
        return group;
    }
    group = mq_calloc(1, sizeof(*group));
    if (group == NULL) {
        return NULL;
    }
    group->name = mq_strndup(name.at, name.len);
    if (group->name != NULL) {
        HASH_ADD_KEYPTR(hh, table->groups, group->name, name.len, group);
    }
    if (group->hh.tbl == NULL) {
        mq_free(group->name);
        mq_free(group);
        return NULL;
    }
    return group;
}

static void drop_group_without_locks(struct lock_table *table, struct lock_group *group)
{
    if (group->locks == 0) {
        HASH_DEL(table->groups, group);
        mq_free(group->name);
        mq_free(group);
    }
}

static void lock_free(struct lock *lock)
{
    mq_free(lock->client_id);
    mq_free(lock->key);
    mq_free(lock);
}

static uint64_t lock_hash(const struct lock *lock)
{
    uint32_t names_bytes = lock->key_bytes - (uint32_t)sizeof(lock->parts.queue_id);
    uint64_t h = fingerprint_bytes(FINGERPRINT_START, lock->key, names_bytes);

    h = fingerprint_u64(h, (uint32_t)lock->parts.queue_id);
    return fingerprint_end(fingerprint_text(h, lock->client_id));
}

/* The row of a snapshot. The names in a lock's key end with NULs. */
static void put_row(struct lock_table *table, struct lock *lock)
{
    Raftmq__LockRow row = RAFTMQ__LOCK_ROW__INIT;

    row.group = (char *)lock->parts.group.at;
    row.topic = (char *)lock->parts.topic.at;
    row.broker_name = (char *)lock->parts.broker_name.at;
    row.queue_id = lock->parts.queue_id;
    row.client_id = lock->client_id;
    lock->generation = table->copy.generation;
    table_copy_put(&table->copy, &row.base);
}

static void remove_lock(struct lock_table *table, struct lock *lock)
{
    if (table_copy_wants(&table->copy, lock->generation)) {
        put_row(table, lock);
    }
    if (table->copy.next == lock) {
        table->copy.next = lock->hh.next;
    }
    table->sum -= lock_hash(lock);
    HASH_DEL(table->by_key, lock);
    TAILQ_REMOVE(&table->by_lease, lock, by_lease);
    lock->group->locks--;
    drop_group_without_locks(table, lock->group);
    lock_free(lock);
    table->count--;
}

void lock_table_fini(struct lock_table *table)
{
    lock_table_clear(table);
}

void lock_table_clear(struct lock_table *table)
{
    struct lock *lock, *next;

    table_copy_end(&table->copy);
    HASH_ITER (hh, table->by_key, lock, next) {
        remove_lock(table, lock);
    }
}

static int make_key(struct joined_key *joined, const struct lock_key *key)
{
    const struct mq_str names[] = {key->group, key->topic, key->broker_name};

    return joined_key_make(joined, names, 3, &key->queue_id, sizeof(key->queue_id));
}

struct lock *lock_table_find(const struct lock_table *table, const struct lock_key *key)
{
    struct joined_key joined;
    struct lock *lock;

    if (make_key(&joined, key) != 0) {
        return NULL; /* never granted */
    }
    HASH_FIND(hh, table->by_key, joined.at, joined.bytes, lock);
    return lock;
}

/* The names lie in the key one behind the other. */
static void set_parts(struct lock *lock, const struct lock_key *key)
{
    const char *at = lock->key;

    lock->parts.group = (struct mq_str){at, key->group.len};
    at += key->group.len + 1;
    lock->parts.topic = (struct mq_str){at, key->topic.len};
    at += key->topic.len + 1;
    lock->parts.broker_name = (struct mq_str){at, key->broker_name.len};
    lock->parts.queue_id = key->queue_id;
}

bool lock_table_group_holds(const struct lock_table *table, struct mq_str group)
{
    return find_group(table, group) != NULL;
}

static int add_lock(struct lock_table *table, const struct lock_key *key, const char *client_id)
{
    struct joined_key joined;
    struct lock_group *group;
    struct lock *lock;

    if (make_key(&joined, key) != 0) {
        return 0; /* too long: not granted, on no member */
    }
    group = get_group(table, key->group);
    if (group == NULL) {
        return MQ_ENOMEM;
    }
    lock = mq_calloc(1, sizeof(*lock));
    if (lock == NULL) {
        drop_group_without_locks(table, group);
        return MQ_ENOMEM;
    }
    lock->key = mq_strndup(joined.at, joined.bytes);
    lock->key_bytes = joined.bytes;
    lock->client_id = mq_strdup(client_id);
    if (lock->key != NULL && lock->client_id != NULL) {
        HASH_ADD_KEYPTR(hh, table->by_key, lock->key, lock->key_bytes, lock);
    }
    if (lock->hh.tbl == NULL) {
        lock_free(lock);
        drop_group_without_locks(table, group);
        return MQ_ENOMEM;
    }
    lock->group = group;
    group->locks++;
    set_parts(lock, key);
    lock->generation = table->copy.generation; /* younger than the snapshot that is being taken */
    TAILQ_INSERT_TAIL(&table->by_lease, lock, by_lease);
    table->sum += lock_hash(lock);
    table->count++;
    return 0;
}

static struct lock_key key_of(const char *group, const Raftmq__LockedQueue *queue)
{
    return (struct lock_key){mq_str_of(group), mq_str_of(queue->topic), mq_str_of(queue->broker_name),
                             queue->queue_id};
}

int lock_table_grant(struct lock_table *table, const Raftmq__LockGrant *item)
{
    for (size_t i = 0; i < item->n_queues; i++) {
        struct lock_key key = key_of(item->group, item->queues[i]);
        int rc = lock_table_find(table, &key) == NULL ? add_lock(table, &key, item->client_id) : 0;

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void lock_table_release(struct lock_table *table, const Raftmq__LockRelease *item)
{
    for (size_t i = 0; i < item->n_queues; i++) {
        struct lock_key key = key_of(item->group, item->queues[i]);
        struct lock *lock = lock_table_find(table, &key);

        if (lock != NULL && strcmp(lock->client_id, item->client_id) == 0) {
            remove_lock(table, lock);
        }
    }
}

void lock_table_restart_leases(struct lock_table *table, uint64_t now_ms)
{
    if (RAFTMQ_DEFECT(STATE_WITHOUT_LOG) && table->by_key != NULL) {
        remove_lock(table, table->by_key);
    }
    for (struct lock *lock = table->by_key; lock != NULL; lock = lock->hh.next) {
        lock->renewed_ms = now_ms;
        lock->releasing = 0;
    }
    table->blind_releases = 0;
}

void lock_table_renew(struct lock_table *table, struct lock *lock, uint64_t now_ms)
{
    lock->renewed_ms = now_ms;
    TAILQ_REMOVE(&table->by_lease, lock, by_lease);
    TAILQ_INSERT_TAIL(&table->by_lease, lock, by_lease);
}

uint64_t lock_table_hash(const struct lock_table *table)
{
    return table->sum;
}

uint64_t lock_table_recount(const struct lock_table *table)
{
    uint64_t sum = 0;

    for (const struct lock *lock = table->by_key; lock != NULL; lock = lock->hh.next) {
        sum += lock_hash(lock);
    }
    return sum;
}

/* --- snapshots --- */

void lock_table_copy_begin(struct lock_table *table, uint16_t section, struct rlog_sink *sink)
{
    const Raftmq__LockRows head = RAFTMQ__LOCK_ROWS__INIT;

    table_copy_begin(&table->copy, section, sink, &head.base, table->by_key);
}

bool lock_table_copy_step(struct lock_table *table)
{
    struct lock *lock = table->copy.next;

    for (uint32_t i = 0; lock != NULL && i < TABLE_COPY_ROWS; i++, lock = lock->hh.next) {
        if (table_copy_wants(&table->copy, lock->generation)) {
            put_row(table, lock);
        }
    }
    table->copy.next = lock;
    return lock != NULL;
}

int lock_table_restore(struct lock_table *table, const Raftmq__LockRows *rows)
{
    for (size_t i = 0; i < rows->n_rows; i++) {
        const Raftmq__LockRow *row = rows->rows[i];
        struct lock_key key = {mq_str_of(row->group), mq_str_of(row->topic), mq_str_of(row->broker_name),
                               row->queue_id};
        int rc = lock_table_find(table, &key) == NULL ? add_lock(table, &key, row->client_id) : MQ_EBADMSG;

        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}
