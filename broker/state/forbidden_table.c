/* A row is all there is to say: its key names group and topic. */
#include "broker/store/hash.h"

#include "broker/state/forbidden_table.h"

#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/err.h"

static uint64_t hash(const struct table_row *row)
{
    return fingerprint_end(fingerprint_bytes(FINGERPRINT_START, row->key, row->key_bytes));
}

static void put(struct table_copy *copy, const struct table_row *row)
{
    Raftmq__ForbiddenRow out = RAFTMQ__FORBIDDEN_ROW__INIT;

    out.group = row->key;
    out.topic = row->key + strlen(row->key) + 1;
    table_copy_put(copy, &out.base);
}

static const struct row_kind kind = {sizeof(struct table_row), hash, put};

void forbidden_table_init(struct forbidden_table *table)
{
    row_table_init(&table->rows, &kind);
}

static int make_key(struct joined_key *key, struct mq_str group, struct mq_str topic)
{
    const struct mq_str names[] = {group, topic};

    return joined_key_make(key, names, 2, NULL, 0);
}

int forbidden_table_set(struct forbidden_table *table, struct mq_str group, struct mq_str topic, bool forbidden)
{
    struct joined_key key;
    struct table_row *row;
    int rc = make_key(&key, group, topic);

    if (rc != 0) {
        return rc;
    }
    if (!forbidden) {
        row = row_table_find(&table->rows, &key);
        if (row != NULL) {
            row_table_remove(&table->rows, row);
        }
        return 0;
    }
    rc = row_table_get(&table->rows, &key, &row);
    if (rc == 0) {
        row_table_changed(&table->rows, row);
    }
    return rc;
}

bool forbidden_table_has(const struct forbidden_table *table, struct mq_str group, struct mq_str topic)
{
    struct joined_key key;

    return row_table_count(&table->rows) != 0 && make_key(&key, group, topic) == 0 &&
           row_table_find(&table->rows, &key) != NULL;
}

static bool is_of_group(const struct table_row *row, const void *group)
{
    return strcmp(row_first_name(row), group) == 0;
}

void forbidden_table_drop_group(struct forbidden_table *table, const char *group)
{
    row_table_remove_if(&table->rows, is_of_group, group);
}

int forbidden_table_restore(struct forbidden_table *table, const Raftmq__ForbiddenRows *rows)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        struct mq_str group = mq_str_of(rows->rows[i]->group), topic = mq_str_of(rows->rows[i]->topic);

        rc = forbidden_table_has(table, group, topic) ? MQ_EBADMSG /* twice */
                                                      : forbidden_table_set(table, group, topic, true);
    }
    return rc == MQ_ETOOBIG ? MQ_EBADMSG : rc;
}
