/* Rows by (group, topic); in each row the queues sorted by id. Ids are nearly always 0, 1, 2, ..., so the place to
 * look first is the id itself. The rows of a group, and those of a topic, hang in lists: either can go without a look
 * at all others. */
#include "broker/store/hash.h"

#include "broker/state/offset_table.h"

#include "broker/state/fingerprint.h"
#include "broker/state/joined_key.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/err.h"

struct queue_offset {
    int32_t queue_id;
    int64_t offset;
};

struct offset_name {
    char *name;               /* owned; key */
    struct offset_row *first; /* never NULL: a name goes with its last row */
    UT_hash_handle hh;
};

/* A row's place in the list of a name. */
struct offset_link {
    struct offset_name *of;
    struct offset_row *next, *before;
};

enum { BY_GROUP, BY_TOPIC, LINKS };

struct offset_row {
    struct offset_link links[LINKS];
    uint64_t noted; /* leader's own: the last draft that changes it */
    char *key;      /* owned: group NUL topic NUL */
    uint32_t key_bytes;
    struct queue_offset *queues; /* owned, sorted by id */
    uint32_t n, cap;
    uint64_t seed;       /* of its queues' fingerprints: that of the names */
    uint64_t generation; /* table_copy's */
    UT_hash_handle hh;
};

void offset_table_init(struct offset_table *table)
{
    *table = (struct offset_table){0};
}

static void row_free(struct offset_row *row)
{
    mq_free(row->queues);
    mq_free(row->key);
    mq_free(row);
}

void offset_table_fini(struct offset_table *table)
{
    offset_table_clear(table);
}

static void clear_names(struct offset_name **names)
{
    struct offset_name *name, *next;

    HASH_ITER (hh, *names, name, next) {
        HASH_DEL(*names, name);
        mq_free(name->name);
        mq_free(name);
    }
}

void offset_table_clear(struct offset_table *table)
{
    struct offset_row *row, *next;

    table_copy_end(&table->copy);
    table->sum = 0;
    if (table->walk != NULL) {
        table->walk->next = NULL;
        table->walk = NULL;
    }
    HASH_ITER (hh, table->rows, row, next) {
        HASH_DEL(table->rows, row);
        row_free(row);
    }
    clear_names(&table->groups);
    clear_names(&table->topics);
}

/* --- names --- */

static struct offset_name *find_name(const struct offset_name *names, struct mq_str name)
{
    struct offset_name *found;

    HASH_FIND(hh, names, name.at, name.len, found);
    return found;
}

static int get_name(struct offset_name **names, const char *text, struct offset_name **out)
{
    struct offset_name *name = find_name(*names, mq_str_of(text));

    if (name == NULL) {
        name = mq_calloc(1, sizeof(*name));
        if (name == NULL) {
            return MQ_ENOMEM;
        }
        name->name = mq_strdup(text);
        if (name->name != NULL) {
            HASH_ADD_KEYPTR(hh, *names, name->name, strlen(text), name);
        }
        if (name->hh.tbl == NULL) {
            mq_free(name->name);
            mq_free(name);
            return MQ_ENOMEM;
        }
    }
    *out = name;
    return 0;
}

static struct offset_name **names_of(struct offset_table *table, int by)
{
    return by == BY_GROUP ? &table->groups : &table->topics;
}

static int link_row(struct offset_table *table, struct offset_row *row, int by, const char *text)
{
    struct offset_link *link = &row->links[by];
    int rc = get_name(names_of(table, by), text, &link->of);

    if (rc != 0) {
        return rc;
    }
    link->next = link->of->first;
    if (link->next != NULL) {
        link->next->links[by].before = row;
    }
    link->of->first = row;
    return 0;
}

static void unlink_row(struct offset_table *table, struct offset_row *row, int by)
{
    struct offset_link *link = &row->links[by];
    struct offset_name *name = link->of, **names = names_of(table, by);

    if (link->next != NULL) {
        link->next->links[by].before = link->before;
    }
    if (link->before != NULL) {
        link->before->links[by].next = link->next;
    } else {
        name->first = link->next;
    }
    if (name->first == NULL) {
        HASH_DEL(*names, name);
        mq_free(name->name);
        mq_free(name);
    }
}

static const char *group_of(const struct offset_row *row)
{
    return row->key;
}

static const char *topic_of(const struct offset_row *row)
{
    return row->key + strlen(row->key) + 1;
}

/* --- rows --- */

static int make_key(struct joined_key *key, struct mq_str group, struct mq_str topic)
{
    const struct mq_str names[] = {group, topic};

    return joined_key_make(key, names, 2, NULL, 0);
}

static int add_row(struct offset_table *table, const struct joined_key *key, struct offset_row **out)
{
    struct offset_row *row = mq_calloc(1, sizeof(*row));

    if (row == NULL) {
        return MQ_ENOMEM;
    }
    row->key = mq_strndup(key->at, key->bytes);
    row->key_bytes = key->bytes;
    if (row->key != NULL) {
        HASH_ADD_KEYPTR(hh, table->rows, row->key, row->key_bytes, row);
    }
    if (row->hh.tbl == NULL) {
        row_free(row);
        return MQ_ENOMEM;
    }
    if (link_row(table, row, BY_GROUP, group_of(row)) != 0) {
        HASH_DEL(table->rows, row);
        row_free(row);
        return MQ_ENOMEM;
    }
    if (link_row(table, row, BY_TOPIC, topic_of(row)) != 0) {
        unlink_row(table, row, BY_GROUP);
        HASH_DEL(table->rows, row);
        row_free(row);
        return MQ_ENOMEM;
    }
    row->seed = fingerprint_bytes(FINGERPRINT_START, row->key, row->key_bytes);
    row->generation = table->copy.generation; /* younger than the snapshot that is being taken */
    *out = row;
    return 0;
}

/* The place of queue @id, or where it would have to be put. */
static uint32_t place_of(const struct offset_row *row, int32_t id)
{
    uint32_t low = 0, high = row->n;

    if (id >= 0 && (uint32_t)id < row->n && row->queues[id].queue_id == id) {
        return (uint32_t)id;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (row->queues[middle].queue_id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_at(const struct offset_row *row, uint32_t place, int32_t id)
{
    return place < row->n && row->queues[place].queue_id == id;
}

static int insert(struct offset_row *row, uint32_t place, int32_t id)
{
    if (row->n == row->cap) {
        uint32_t cap = row->cap != 0 ? row->cap * 2 : 8;
        struct queue_offset *queues = mq_realloc(row->queues, cap * sizeof(*queues));

        if (queues == NULL) {
            return MQ_ENOMEM;
        }
        row->queues = queues;
        row->cap = cap;
    }
    memmove(row->queues + place + 1, row->queues + place, (row->n - place) * sizeof(*row->queues));
    row->queues[place] = (struct queue_offset){.queue_id = id};
    row->n++;
    return 0;
}

/* Each queue counts by itself, so that a commit costs the same in a row of any length. */
static uint64_t queue_hash(const struct offset_row *row, const struct queue_offset *queue)
{
    return fingerprint_end(
        fingerprint_u64(fingerprint_u64(row->seed, (uint32_t)queue->queue_id), (uint64_t)queue->offset));
}

static int set_offset(struct offset_table *table, struct offset_row *row, int32_t queue_id, int64_t offset)
{
    uint32_t place = place_of(row, queue_id);

    if (is_at(row, place, queue_id)) {
        table->sum -= queue_hash(row, &row->queues[place]);
    } else {
        int rc = insert(row, place, queue_id);

        if (rc != 0) {
            return rc;
        }
    }
    row->queues[place].offset = offset;
    table->sum += queue_hash(row, &row->queues[place]);
    return 0;
}

static int find_or_add(struct offset_table *table, struct mq_str group, struct mq_str topic, struct offset_row **out)
{
    struct joined_key key;
    int rc = make_key(&key, group, topic);

    if (rc == 0) {
        HASH_FIND(hh, table->rows, key.at, key.bytes, *out);
        rc = *out == NULL ? add_row(table, &key, out) : 0;
    }
    return rc;
}

static void put_row(struct offset_table *table, struct offset_row *row);

int offset_table_put(struct offset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                     int64_t offset)
{
    struct offset_row *row;
    int rc = find_or_add(table, group, topic, &row);

    if (rc != 0) {
        return rc;
    }
    if (table_copy_wants(&table->copy, row->generation)) {
        put_row(table, row);
    }
    rc = set_offset(table, row, queue_id, offset);
    table->commits += rc == 0;
    return rc;
}

int64_t offset_table_get(const struct offset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    struct joined_key key;
    struct offset_row *row;
    uint32_t place;

    if (make_key(&key, group, topic) != 0) {
        return -1; /* never put */
    }
    HASH_FIND(hh, table->rows, key.at, key.bytes, row);
    if (row == NULL) {
        return -1;
    }
    place = place_of(row, queue_id);
    return is_at(row, place, queue_id) ? row->queues[place].offset : -1;
}

static struct offset_row *find_row(const struct offset_table *table, struct mq_str group, struct mq_str topic)
{
    struct offset_row *row = NULL;
    struct joined_key key;

    if (make_key(&key, group, topic) == 0) {
        HASH_FIND(hh, table->rows, key.at, key.bytes, row);
    }
    return row;
}

void offset_table_note(struct offset_table *table, struct mq_str group, struct mq_str topic, uint64_t draft)
{
    struct offset_row *row = find_row(table, group, topic);

    *(row != NULL ? &row->noted : &table->noted) = draft;
}

bool offset_table_is_level(const struct offset_table *table, struct mq_str group, struct mq_str topic,
                           int32_t queue_id, int64_t offset, uint64_t answered)
{
    const struct offset_row *row = find_row(table, group, topic);
    uint32_t place = row != NULL ? place_of(row, queue_id) : 0;

    return row != NULL && row->noted <= answered && table->noted <= answered && is_at(row, place, queue_id) &&
           row->queues[place].offset == offset;
}

static void remove_row(struct offset_table *table, struct offset_row *row)
{
    if (table_copy_wants(&table->copy, row->generation)) {
        put_row(table, row);
    }
    if (table->copy.next == row) {
        table->copy.next = row->hh.next;
    }
    if (table->walk != NULL && table->walk->next == row) {
        table->walk->next = row->hh.next;
    }
    for (uint32_t i = 0; i < row->n; i++) {
        table->sum -= queue_hash(row, &row->queues[i]);
    }
    unlink_row(table, row, BY_GROUP);
    unlink_row(table, row, BY_TOPIC);
    HASH_DEL(table->rows, row);
    row_free(row);
}

static void drop(struct offset_table *table, int by, struct mq_str text)
{
    struct offset_name *name = find_name(*names_of(table, by), text);
    struct offset_row *row = name != NULL ? name->first : NULL, *next;

    for (; row != NULL; row = next) { /* the name goes with the last one */
        next = row->links[by].next;
        remove_row(table, row);
    }
}

void offset_table_drop_topic(struct offset_table *table, struct mq_str topic)
{
    drop(table, BY_TOPIC, topic);
}

void offset_table_drop_group(struct offset_table *table, struct mq_str group)
{
    drop(table, BY_GROUP, group);
}

int offset_table_clone(struct offset_table *table, struct mq_str source, struct mq_str target, struct mq_str topic)
{
    const struct offset_row *row = find_row(table, source, topic);
    int rc = 0;

    if (row == NULL || mq_str_eq(source, target)) {
        return 0;
    }
    for (uint32_t i = 0; rc == 0 && i < row->n; i++) {
        rc = offset_table_put(table, target, topic, row->queues[i].queue_id, row->queues[i].offset);
    }
    return rc;
}

void offset_table_topics_of(const struct offset_table *table, struct mq_str group,
                            void (*each)(void *data, const char *topic), void *data)
{
    const struct offset_name *name = find_name(table->groups, group);

    for (const struct offset_row *row = name != NULL ? name->first : NULL; row != NULL;
         row = row->links[BY_GROUP].next) {
        each(data, topic_of(row));
    }
}

void offset_table_groups_of(const struct offset_table *table, struct mq_str topic,
                            void (*each)(void *data, const char *group), void *data)
{
    const struct offset_name *name = find_name(table->topics, topic);

    for (const struct offset_row *row = name != NULL ? name->first : NULL; row != NULL;
         row = row->links[BY_TOPIC].next) {
        each(data, group_of(row));
    }
}

void offset_walk_begin(struct offset_walk *walk, struct offset_table *table)
{
    *walk = (struct offset_walk){table, table->rows};
    table->walk = walk;
}

bool offset_walk_step(struct offset_walk *walk, uint64_t (*first)(void *data, const char *topic, int32_t queue_id),
                      void (*each)(void *data, const struct offset_loss *loss), void *data)
{
    const struct offset_row *row = walk->next;
    struct offset_loss loss;

    if (row == NULL) {
        walk->table->walk = NULL;
        return false;
    }
    loss = (struct offset_loss){group_of(row), topic_of(row), 0};
    for (uint32_t i = 0; i < row->n; i++) {
        uint64_t begins = first(data, loss.topic, row->queues[i].queue_id);
        uint64_t read = row->queues[i].offset > 0 ? (uint64_t)row->queues[i].offset : 0;

        loss.messages += begins > read ? begins - read : 0;
    }
    if (loss.messages != 0) {
        each(data, &loss);
    }
    walk->next = row->hh.next;
    if (walk->next == NULL) {
        walk->table->walk = NULL;
    }
    return walk->next != NULL;
}

uint64_t offset_table_hash(const struct offset_table *table)
{
    return table->sum;
}

uint64_t offset_table_recount(const struct offset_table *table)
{
    uint64_t sum = 0;

    for (const struct offset_row *row = table->rows; row != NULL; row = row->hh.next) {
        for (uint32_t i = 0; i < row->n; i++) {
            sum += queue_hash(row, &row->queues[i]);
        }
    }
    return sum;
}

/* --- snapshots --- */

static void put_row(struct offset_table *table, struct offset_row *row)
{
    Raftmq__OffsetRow out = RAFTMQ__OFFSET_ROW__INIT;
    int32_t *ids = mq_malloc(row->n * sizeof(*ids));
    int64_t *offsets = mq_malloc(row->n * sizeof(*offsets));

    row->generation = table->copy.generation;
    if (ids == NULL || offsets == NULL) {
        rlog_sink_fail(table->copy.sink, MQ_ENOMEM);
    } else {
        for (uint32_t i = 0; i < row->n; i++) {
            ids[i] = row->queues[i].queue_id;
            offsets[i] = row->queues[i].offset;
        }
        out.group = row->key; /* two names, each with a NUL behind it */
        out.topic = (char *)topic_of(row);
        out.n_queue_ids = out.n_offsets = row->n;
        out.queue_ids = ids;
        out.offsets = offsets;
        table_copy_put(&table->copy, &out.base);
    }
    mq_free(ids);
    mq_free(offsets);
}

void offset_table_copy_begin(struct offset_table *table, uint16_t section, struct rlog_sink *sink)
{
    const Raftmq__OffsetRows head = RAFTMQ__OFFSET_ROWS__INIT;

    table_copy_begin(&table->copy, section, sink, &head.base, table->rows);
}

bool offset_table_copy_step(struct offset_table *table)
{
    struct offset_row *row = table->copy.next;
    uint64_t limit = table->copy.bytes + TABLE_COPY_BYTES;

    for (uint32_t i = 0; row != NULL && i < TABLE_COPY_ROWS && table->copy.bytes < limit; i++) {
        if (table_copy_wants(&table->copy, row->generation)) {
            put_row(table, row);
        }
        row = row->hh.next;
    }
    table->copy.next = row;
    return row != NULL;
}

static int restore_row(struct offset_table *table, const Raftmq__OffsetRow *in)
{
    struct offset_row *row;
    int rc = find_or_add(table, mq_str_of(in->group), mq_str_of(in->topic), &row);

    if (rc != 0) {
        return rc == MQ_ETOOBIG ? MQ_EBADMSG : rc; /* never put under such names */
    }
    if (row->n != 0 || in->n_queue_ids != in->n_offsets || in->n_offsets == 0) {
        return MQ_EBADMSG;
    }
    for (size_t i = 0; rc == 0 && i < in->n_offsets; i++) {
        if (i != 0 && in->queue_ids[i] <= in->queue_ids[i - 1]) {
            return MQ_EBADMSG;
        }
        rc = set_offset(table, row, in->queue_ids[i], in->offsets[i]);
    }
    return rc;
}

int offset_table_restore(struct offset_table *table, const Raftmq__OffsetRows *rows)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        rc = restore_row(table, rows->rows[i]);
    }
    return rc;
}
