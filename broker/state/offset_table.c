/* Rows by (group, topic); in each row the queues sorted by id. Ids are nearly always 0, 1, 2, ..., so the place to
 * look first is the id itself. */
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

struct offset_row {
    char *key; /* owned: group NUL topic NUL */
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

void offset_table_clear(struct offset_table *table)
{
    struct offset_row *row, *next;

    table_copy_end(&table->copy);
    table->sum = 0;
    HASH_ITER (hh, table->rows, row, next) {
        HASH_DEL(table->rows, row);
        row_free(row);
    }
}

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

void offset_walk_begin(struct offset_walk *walk, struct offset_table *table)
{
    *walk = (struct offset_walk){table, table->rows};
}

bool offset_walk_step(struct offset_walk *walk, uint64_t (*first)(void *data, const char *topic, int32_t queue_id),
                      void (*each)(void *data, const struct offset_loss *loss), void *data)
{
    const struct offset_row *row = walk->next;
    struct offset_loss loss;

    if (row == NULL || walk->table->rows == NULL) {
        return false;
    }
    loss = (struct offset_loss){row->key, row->key + strlen(row->key) + 1, 0};
    for (uint32_t i = 0; i < row->n; i++) {
        uint64_t begins = first(data, loss.topic, row->queues[i].queue_id);
        uint64_t read = row->queues[i].offset > 0 ? (uint64_t)row->queues[i].offset : 0;

        loss.messages += begins > read ? begins - read : 0;
    }
    if (loss.messages != 0) {
        each(data, &loss);
    }
    walk->next = row->hh.next;
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
        out.topic = row->key + strlen(row->key) + 1;
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
