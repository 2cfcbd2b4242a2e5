/* Replicated rows under a joined key: what a table needs beside the meaning of its rows. Each row counts in a sum of
 * fingerprints and goes into snapshots in the form that it had when the snapshot began.
 *
 * A kind of rows embeds struct table_row as its first member. Who changes a row calls row_table_changing, changes it,
 * and calls row_table_changed. */
#ifndef BROKER_STATE_ROW_TABLE_H
#define BROKER_STATE_ROW_TABLE_H

#include "broker/state/joined_key.h"
#include "broker/state/table_copy.h"

#include <uthash.h>

struct table_row {
    char *key; /* owned: the names, each with a NUL behind it, and what else belongs to the key */
    uint32_t key_bytes;
    uint64_t fingerprint; /* as it counts in the sum; 0 of a row that was not changed yet */
    uint64_t generation;  /* table_copy's */
    UT_hash_handle hh;
};

struct row_table;

struct row_kind {
    size_t bytes; /* of a row */
    uint64_t (*hash)(const struct table_row *row);
    /* The row of a snapshot: with table_copy_put. */
    void (*put)(struct table_copy *copy, const struct table_row *row);
    /* The row is about to be freed: it leaves what else it is in. NULL: nothing. */
    void (*leave)(struct row_table *table, struct table_row *row);
};

struct row_table {
    const struct row_kind *kind;
    struct table_row *rows;
    uint64_t sum;
    struct table_copy copy;
};

void row_table_init(struct row_table *table, const struct row_kind *kind);
/* Frees all rows; a snapshot that is being taken is forgotten. */
void row_table_clear(struct row_table *table);

static inline uint32_t row_table_count(const struct row_table *table)
{
    return HASH_COUNT(table->rows);
}

struct table_row *row_table_find(const struct row_table *table, const struct joined_key *key);
/* The row with this key, made (zeroes) when missing: it has to be changed then. Returns 0 or MQ_ENOMEM. */
int row_table_get(struct row_table *table, const struct joined_key *key, struct table_row **out);
void row_table_changing(struct row_table *table, struct table_row *row);
void row_table_changed(struct row_table *table, struct table_row *row);
void row_table_remove(struct row_table *table, struct table_row *row);
/* Removes the rows of which @gone says so, in a walk over all. */
void row_table_remove_if(struct row_table *table, bool (*gone)(const struct table_row *row, const void *data),
                         const void *data);

static inline uint64_t row_table_hash(const struct row_table *table)
{
    return table->sum;
}
/* The same, counted anew. */
uint64_t row_table_recount(const struct row_table *table);

/* A snapshot: begin (@head: an empty message of the section), then step until it returns false; table_copy_end on
 * table->copy. */
void row_table_copy_begin(struct row_table *table, uint16_t section, struct rlog_sink *sink,
                          const ProtobufCMessage *head);
bool row_table_copy_step(struct row_table *table);

/* The first name of a row's key, and the one behind @name. */
static inline const char *row_first_name(const struct table_row *row)
{
    return row->key;
}

static inline const char *row_next_name(const char *name)
{
    return name + strlen(name) + 1;
}

#endif
