#include "broker/store/hash.h"

#include "broker/state/row_table.h"

#include "remoting/base/err.h"

void row_table_init(struct row_table *table, const struct row_kind *kind)
{
    *table = (struct row_table){.kind = kind};
}

static void row_free(struct row_table *table, struct table_row *row)
{
    if (table->kind->leave != NULL) {
        table->kind->leave(table, row);
    }
    mq_free(row->key);
    mq_free(row);
}

void row_table_clear(struct row_table *table)
{
    struct table_row *row, *next;

    table_copy_end(&table->copy);
    table->sum = 0;
    HASH_ITER (hh, table->rows, row, next) {
        HASH_DEL(table->rows, row);
        row_free(table, row);
    }
}

struct table_row *row_table_find(const struct row_table *table, const struct joined_key *key)
{
    struct table_row *row;

    HASH_FIND(hh, table->rows, key->at, key->bytes, row);
    return row;
}

int row_table_get(struct row_table *table, const struct joined_key *key, struct table_row **out)
{
    struct table_row *row = row_table_find(table, key);

    if (row != NULL) {
        *out = row;
        return 0;
    }
    row = mq_calloc(1, table->kind->bytes);
    if (row == NULL) {
        return MQ_ENOMEM;
    }
    row->key = mq_strndup(key->at, key->bytes);
    row->key_bytes = key->bytes;
    if (row->key != NULL) {
        HASH_ADD_KEYPTR(hh, table->rows, row->key, row->key_bytes, row);
    }
    if (row->hh.tbl == NULL) {
        row_free(table, row);
        return MQ_ENOMEM;
    }
    row->generation = table->copy.generation; /* younger than the snapshot that is being taken */
    *out = row;
    return 0;
}

static void put_row(struct row_table *table, struct table_row *row)
{
    row->generation = table->copy.generation;
    table->kind->put(&table->copy, row);
}

void row_table_changing(struct row_table *table, struct table_row *row)
{
    if (table_copy_wants(&table->copy, row->generation)) {
        put_row(table, row);
    }
}

void row_table_changed(struct row_table *table, struct table_row *row)
{
    table->sum -= row->fingerprint;
    row->fingerprint = table->kind->hash(row);
    table->sum += row->fingerprint;
}

void row_table_remove(struct row_table *table, struct table_row *row)
{
    row_table_changing(table, row);
    if (table->copy.next == row) {
        table->copy.next = row->hh.next;
    }
    table->sum -= row->fingerprint;
    HASH_DEL(table->rows, row);
    row_free(table, row);
}

void row_table_remove_if(struct row_table *table, bool (*gone)(const struct table_row *row, const void *data),
                         const void *data)
{
    struct table_row *row, *next;

    HASH_ITER (hh, table->rows, row, next) {
        if (gone(row, data)) {
            row_table_remove(table, row);
        }
    }
}

uint64_t row_table_recount(const struct row_table *table)
{
    uint64_t sum = 0;

    for (const struct table_row *row = table->rows; row != NULL; row = row->hh.next) {
        sum += table->kind->hash(row);
    }
    return sum;
}

void row_table_copy_begin(struct row_table *table, uint16_t section, struct rlog_sink *sink,
                          const ProtobufCMessage *head)
{
    table_copy_begin(&table->copy, section, sink, head, table->rows);
}

bool row_table_copy_step(struct row_table *table)
{
    struct table_row *row = table->copy.next;
    uint64_t limit = table->copy.bytes + TABLE_COPY_BYTES;

    for (uint32_t i = 0; row != NULL && i < TABLE_COPY_ROWS && table->copy.bytes < limit; i++) {
        row_table_changing(table, row);
        row = row->hh.next;
    }
    table->copy.next = row;
    return row != NULL;
}
