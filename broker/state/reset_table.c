#include "broker/store/hash.h"

#include "broker/state/reset_table.h"

#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/err.h"

struct reset_row {
    struct table_row row;
    int32_t queue_id; /* also in the key */
    int64_t offset;
    bool told; /* leader's own */
};

static const struct reset_row *reset_of(const struct table_row *row)
{
    return (const struct reset_row *)row;
}

/* The key ends with the queue id in this machine's byte order, so it is not what members compare. */
static uint64_t hash(const struct table_row *row)
{
    uint64_t h = fingerprint_text(FINGERPRINT_START, row_first_name(row));

    h = fingerprint_text(h, row_next_name(row_first_name(row)));
    h = fingerprint_u64(h, (uint32_t)reset_of(row)->queue_id);
    return fingerprint_end(fingerprint_u64(h, (uint64_t)reset_of(row)->offset));
}

static void put(struct table_copy *copy, const struct table_row *row)
{
    Raftmq__ResetRow out = RAFTMQ__RESET_ROW__INIT;

    out.group = row->key;
    out.topic = row->key + strlen(row->key) + 1;
    out.queue_id = reset_of(row)->queue_id;
    out.offset = reset_of(row)->offset;
    table_copy_put(copy, &out.base);
}

static const struct row_kind kind = {sizeof(struct reset_row), hash, put};

void reset_table_init(struct reset_table *table)
{
    row_table_init(&table->rows, &kind);
}

static int make_key(struct joined_key *key, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    const struct mq_str names[] = {group, topic};

    return joined_key_make(key, names, 2, &queue_id, sizeof(queue_id));
}

int reset_table_put(struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                    int64_t offset)
{
    struct joined_key key;
    struct table_row *row;
    int rc = make_key(&key, group, topic, queue_id);

    if (rc == 0) {
        rc = row_table_get(&table->rows, &key, &row);
    }
    if (rc == 0) {
        row_table_changing(&table->rows, row);
        ((struct reset_row *)row)->queue_id = queue_id;
        ((struct reset_row *)row)->offset = offset;
        ((struct reset_row *)row)->told = false;
        row_table_changed(&table->rows, row);
    }
    return rc;
}

static struct table_row *find(const struct reset_table *table, struct mq_str group, struct mq_str topic,
                              int32_t queue_id)
{
    struct joined_key key;

    if (row_table_count(&table->rows) == 0 || make_key(&key, group, topic, queue_id) != 0) {
        return NULL;
    }
    return row_table_find(&table->rows, &key);
}

int64_t reset_table_get(const struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    const struct table_row *row = find(table, group, topic, queue_id);

    return row != NULL ? reset_of(row)->offset : -1;
}

int64_t reset_table_untold(const struct reset_table *table, struct mq_str group, struct mq_str topic,
                           int32_t queue_id)
{
    const struct table_row *row = find(table, group, topic, queue_id);

    return row != NULL && !reset_of(row)->told ? reset_of(row)->offset : -1;
}

void reset_table_note_told(struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    struct table_row *row = find(table, group, topic, queue_id);

    if (row != NULL) {
        ((struct reset_row *)row)->told = true;
    }
}

void reset_table_forget_told(struct reset_table *table)
{
    for (struct table_row *row = table->rows.rows; row != NULL; row = row->hh.next) {
        ((struct reset_row *)row)->told = false;
    }
}

void reset_table_take(struct reset_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                      int64_t offset)
{
    struct table_row *row = find(table, group, topic, queue_id);

    if (row != NULL && reset_of(row)->offset == offset) {
        row_table_remove(&table->rows, row);
    }
}

static bool is_of_topic(const struct table_row *row, const void *topic)
{
    return strcmp(row_next_name(row_first_name(row)), topic) == 0;
}

static bool is_of_group(const struct table_row *row, const void *group)
{
    return strcmp(row_first_name(row), group) == 0;
}

void reset_table_drop_topic(struct reset_table *table, const char *topic)
{
    row_table_remove_if(&table->rows, is_of_topic, topic);
}

void reset_table_drop_group(struct reset_table *table, const char *group)
{
    row_table_remove_if(&table->rows, is_of_group, group);
}

int reset_table_restore(struct reset_table *table, const Raftmq__ResetRows *rows)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        const Raftmq__ResetRow *in = rows->rows[i];
        struct mq_str group = mq_str_of(in->group), topic = mq_str_of(in->topic);

        rc = find(table, group, topic, in->queue_id) == NULL
                 ? reset_table_put(table, group, topic, in->queue_id, in->offset)
                 : MQ_EBADMSG; /* twice */
    }
    return rc == MQ_ETOOBIG ? MQ_EBADMSG : rc;
}
