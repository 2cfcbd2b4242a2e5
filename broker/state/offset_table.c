/* Rows by (group, topic); in each row the queues sorted by id. Ids are nearly always 0, 1, 2, ..., so the place to
 * look first is the id itself. */
#include "broker/store/hash.h"

#include "broker/state/offset_table.h"

#include "broker/state/fingerprint.h"
#include "broker/state/joined_key.h"
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
    struct offset_row *row, *next;

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

int offset_table_put(struct offset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                     int64_t offset)
{
    struct joined_key key;
    struct offset_row *row;
    uint32_t place;
    int rc = make_key(&key, group, topic);

    if (rc != 0) {
        return rc;
    }
    HASH_FIND(hh, table->rows, key.at, key.bytes, row);
    if (row == NULL) {
        rc = add_row(table, &key, &row);
    }
    if (rc != 0) {
        return rc;
    }
    place = place_of(row, queue_id);
    if (!is_at(row, place, queue_id)) {
        rc = insert(row, place, queue_id);
    }
    if (rc == 0) {
        row->queues[place].offset = offset;
        table->commits++;
    }
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

uint64_t offset_table_hash(const struct offset_table *table)
{
    uint64_t sum = 0;

    for (const struct offset_row *row = table->rows; row != NULL; row = row->hh.next) {
        uint64_t h = fingerprint_bytes(FINGERPRINT_START, row->key, row->key_bytes);

        for (uint32_t i = 0; i < row->n; i++) {
            h = fingerprint_u64(h, (uint32_t)row->queues[i].queue_id);
            h = fingerprint_u64(h, (uint64_t)row->queues[i].offset);
        }
        sum += fingerprint_end(h);
    }
    return sum;
}
