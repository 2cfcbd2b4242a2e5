#include "broker/store/hash.h"

#include "broker/state/mode_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/err.h"

struct mode_row {
    struct table_row row;
    struct request_mode mode;
};

static const struct request_mode *mode_of(const struct table_row *row)
{
    return &((const struct mode_row *)row)->mode;
}

static uint64_t hash(const struct table_row *row)
{
    uint64_t h = fingerprint_bytes(FINGERPRINT_START, row->key, row->key_bytes);

    h = fingerprint_u64(h, mode_of(row)->pop);
    return fingerprint_end(fingerprint_u64(h, (uint64_t)mode_of(row)->pop_share_queues));
}

static void put(struct table_copy *copy, const struct table_row *row)
{
    Raftmq__RequestModePut out = RAFTMQ__REQUEST_MODE_PUT__INIT;

    out.group = row->key;
    out.topic = row->key + strlen(row->key) + 1;
    out.pop = mode_of(row)->pop;
    out.pop_share_queues = mode_of(row)->pop_share_queues;
    table_copy_put(copy, &out.base);
}

static const struct row_kind kind = {sizeof(struct mode_row), hash, put};

void mode_table_init(struct mode_table *table)
{
    row_table_init(&table->rows, &kind);
}

static int make_key(struct joined_key *key, struct mq_str group, struct mq_str topic)
{
    const struct mq_str names[] = {group, topic};

    return joined_key_make(key, names, 2, NULL, 0);
}

int mode_table_put(struct mode_table *table, const Raftmq__RequestModePut *item)
{
    struct joined_key key;
    struct table_row *row;
    int rc = make_key(&key, mq_str_of(item->group), mq_str_of(item->topic));

    if (rc == 0) {
        rc = row_table_get(&table->rows, &key, &row);
    }
    if (rc == 0) {
        row_table_changing(&table->rows, row);
        ((struct mode_row *)row)->mode = (struct request_mode){item->pop, item->pop_share_queues};
        row_table_changed(&table->rows, row);
    }
    return rc;
}

static const struct table_row *find(const struct mode_table *table, struct mq_str group, struct mq_str topic)
{
    struct joined_key key;

    return make_key(&key, group, topic) == 0 ? row_table_find(&table->rows, &key) : NULL;
}

bool mode_table_get(const struct mode_table *table, struct mq_str group, struct mq_str topic,
                    struct request_mode *out)
{
    const struct table_row *row = find(table, group, topic);

    if (row != NULL) {
        *out = *mode_of(row);
    }
    return row != NULL;
}

static bool is_of_topic(const struct table_row *row, const void *topic)
{
    return strcmp(row_next_name(row_first_name(row)), topic) == 0;
}

static bool is_of_group(const struct table_row *row, const void *group)
{
    return strcmp(row_first_name(row), group) == 0;
}

void mode_table_drop_topic(struct mode_table *table, const char *topic)
{
    row_table_remove_if(&table->rows, is_of_topic, topic);
}

void mode_table_drop_group(struct mode_table *table, const char *group)
{
    row_table_remove_if(&table->rows, is_of_group, group);
}

int mode_table_restore(struct mode_table *table, const Raftmq__RequestModeRows *rows)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        const Raftmq__RequestModePut *in = rows->rows[i];

        rc = find(table, mq_str_of(in->group), mq_str_of(in->topic)) == NULL ? mode_table_put(table, in)
                                                                             : MQ_EBADMSG; /* twice */
    }
    return rc == MQ_ETOOBIG ? MQ_EBADMSG : rc;
}
