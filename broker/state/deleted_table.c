#include "broker/store/hash.h"

#include "broker/state/deleted_table.h"

#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

struct deleted_row {
    struct table_row row;
    uint64_t pos;
};

static const struct deleted_row *deleted_of(const struct table_row *row)
{
    return (const struct deleted_row *)row;
}

static uint64_t hash(const struct table_row *row)
{
    uint64_t h = fingerprint_bytes(FINGERPRINT_START, row->key, row->key_bytes);

    return fingerprint_end(fingerprint_u64(h, deleted_of(row)->pos));
}

static void put(struct table_copy *copy, const struct table_row *row)
{
    Raftmq__DeletedTopicRow out = RAFTMQ__DELETED_TOPIC_ROW__INIT;

    out.name = row->key;
    out.pos = deleted_of(row)->pos;
    table_copy_put(copy, &out.base);
}

static const struct row_kind kind = {sizeof(struct deleted_row), hash, put};

void deleted_table_init(struct deleted_table *table)
{
    row_table_init(&table->rows, &kind);
}

static int make_key(struct joined_key *key, struct mq_str name)
{
    return joined_key_make(key, &name, 1, NULL, 0);
}

int deleted_table_put(struct deleted_table *table, struct mq_str name, uint64_t pos)
{
    struct joined_key key;
    struct table_row *row;
    int rc = make_key(&key, name);

    if (rc == 0) {
        rc = row_table_get(&table->rows, &key, &row);
    }
    if (rc == 0) {
        row_table_changing(&table->rows, row);
        ((struct deleted_row *)row)->pos = pos;
        row_table_changed(&table->rows, row);
    }
    return rc;
}

uint64_t deleted_table_pos(const struct deleted_table *table, struct mq_str name)
{
    struct joined_key key;
    const struct table_row *row;

    if (row_table_count(&table->rows) == 0 || make_key(&key, name) != 0) {
        return 0;
    }
    row = row_table_find(&table->rows, &key);
    return row != NULL ? deleted_of(row)->pos : 0;
}

static bool lies_below(const struct table_row *row, const void *pos)
{
    return deleted_of(row)->pos <= *(const uint64_t *)pos;
}

void deleted_table_trim(struct deleted_table *table, uint64_t pos)
{
    row_table_remove_if(&table->rows, lies_below, &pos);
}

int deleted_table_restore(struct deleted_table *table, const Raftmq__DeletedTopicRows *rows)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        struct mq_str name = mq_str_of(rows->rows[i]->name);

        rc = deleted_table_pos(table, name) == 0 && rows->rows[i]->pos != 0
                 ? deleted_table_put(table, name, rows->rows[i]->pos)
                 : MQ_EBADMSG; /* twice, or nothing */
    }
    return rc == MQ_ETOOBIG ? MQ_EBADMSG : rc;
}
