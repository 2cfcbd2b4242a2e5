#include "broker/store/hash.h"

#include "broker/state/order_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
#include "broker/store/queue_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#define NEVER INT64_MAX

static struct order_batch *batch_of(struct table_row *row)
{
    return (struct order_batch *)row;
}

static uint64_t hash(const struct table_row *row)
{
    const struct order_batch *batch = (const struct order_batch *)row;
    uint64_t h = fingerprint_text(FINGERPRINT_START, row_first_name(row));

    h = fingerprint_text(h, row_next_name(row_first_name(row)));
    h = fingerprint_u64(fingerprint_u64(h, (uint32_t)batch->queue_id), batch->start);
    h = fingerprint_u64(fingerprint_u64(h, batch->next), (uint64_t)batch->pop_ms);
    h = fingerprint_u64(fingerprint_u64(h, batch->attempt), batch->steps);
    h = fingerprint_u64(h, batch->acked);
    for (uint8_t i = 0; i < batch->n; i++) {
        h = fingerprint_u64(fingerprint_u64(h, batch->offsets[i]), (uint64_t)batch->until_ms[i]);
        h = fingerprint_u64(h, batch->counts[i]);
    }
    return fingerprint_end(h);
}

static void put(struct table_copy *copy, const struct table_row *row)
{
    const struct order_batch *batch = (const struct order_batch *)row;
    Raftmq__OrderRow out = RAFTMQ__ORDER_ROW__INIT;

    out.group = (char *)row_first_name(row);
    out.topic = (char *)row_next_name(row_first_name(row));
    out.queue_id = (uint32_t)batch->queue_id;
    out.start = batch->start;
    out.next = batch->next;
    out.n_offsets = out.n_until_ms = out.n_counts = batch->n;
    out.offsets = (uint32_t *)batch->offsets;
    out.until_ms = (int64_t *)batch->until_ms;
    out.counts = (uint32_t *)batch->counts;
    out.acked = batch->acked;
    out.pop_ms = batch->pop_ms;
    out.attempt = batch->attempt;
    out.steps = batch->steps;
    table_copy_put(copy, &out.base);
}

static void leave(struct row_table *rows, struct table_row *row)
{
    due_heap_remove(&container_of(rows, struct order_table, rows)->due, &batch_of(row)->due);
}

static const struct row_kind kind = {sizeof(struct order_batch), hash, put, leave};

void order_table_init(struct order_table *table)
{
    *table = (struct order_table){0};
    row_table_init(&table->rows, &kind);
}

void order_table_fini(struct order_table *table)
{
    row_table_clear(&table->rows);
    due_heap_fini(&table->due);
}

static int make_key(struct joined_key *key, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    const struct mq_str names[] = {group, topic};

    return joined_key_make(key, names, 2, &queue_id, sizeof(queue_id));
}

struct order_batch *order_table_find(const struct order_table *table, struct mq_str group, struct mq_str topic,
                                     int32_t queue_id)
{
    struct joined_key key;

    if (row_table_count(&table->rows) == 0 || make_key(&key, group, topic, queue_id) != 0) {
        return NULL;
    }
    return batch_of(row_table_find(&table->rows, &key));
}

struct order_batch *order_table_find_popped(const struct order_table *table, struct mq_str group, struct mq_str topic,
                                            int32_t queue_id, int64_t pop_ms)
{
    struct order_batch *batch = order_table_find(table, group, topic, queue_id);

    return batch != NULL && batch->pop_ms == pop_ms ? batch : NULL;
}

/* --- a batch --- */

static uint32_t all_of(const struct order_batch *batch)
{
    return batch->n == 32 ? UINT32_MAX : (1u << batch->n) - 1;
}

uint32_t order_open(const struct order_batch *batch, int64_t committed)
{
    uint32_t open = all_of(batch) & ~batch->acked;

    for (uint32_t left = open; left != 0; left &= left - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(left);

        if (committed >= 0 && order_qoff(batch, i) < (uint64_t)committed) {
            open &= ~(1u << i);
        }
    }
    return open;
}

uint32_t order_bit(const struct order_batch *batch, uint64_t qoff)
{
    for (uint32_t i = 0; i < batch->n; i++) {
        if (order_qoff(batch, i) == qoff) {
            return 1u << i;
        }
    }
    return 0;
}

static int64_t free_ms(const struct order_batch *batch, uint32_t open)
{
    int64_t last = 0;

    for (; open != 0; open &= open - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(open);

        last = batch->until_ms[i] > last ? batch->until_ms[i] : last;
    }
    return last;
}

bool order_is_held(const struct order_batch *batch, uint32_t open, uint64_t attempt, int64_t now_ms)
{
    if ((attempt != 0 && attempt == batch->attempt) || RAFTMQ_DEFECT(ORDER_HELD_IGNORED)) {
        return false;
    }
    return free_ms(batch, open) > now_ms;
}

uint64_t order_attempt(struct mq_str id)
{
    uint64_t h;

    if (id.len == 0) {
        return 0;
    }
    h = fingerprint_end(fingerprint_bytes(FINGERPRINT_START, id.at, id.len));
    return h != 0 ? h : 1;
}

/* --- who waits for it --- */

struct order_batch *order_table_first_due(const struct order_table *table)
{
    struct due *first = due_heap_first(&table->due);

    return first != NULL ? container_of(first, struct order_batch, due) : NULL;
}

void order_table_note_told(struct order_table *table, struct order_batch *batch)
{
    due_heap_move(&table->due, &batch->due, NEVER);
}

void order_table_forget_told(struct order_table *table)
{
    for (struct table_row *row = table->rows.rows; row != NULL; row = row->hh.next) {
        struct order_batch *batch = batch_of(row);

        due_heap_move(&table->due, &batch->due, free_ms(batch, all_of(batch) & ~batch->acked));
    }
}

int64_t order_table_last_pop_ms(const struct order_table *table)
{
    int64_t last = 0;

    for (struct table_row *row = table->rows.rows; row != NULL; row = row->hh.next) {
        last = batch_of(row)->pop_ms > last ? batch_of(row)->pop_ms : last;
    }
    return last;
}

/* --- changes --- */

int order_table_change(struct order_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id,
                       struct order_batch **out)
{
    struct joined_key key;
    struct table_row *row;
    int rc = make_key(&key, group, topic, queue_id);

    rc = rc == 0 ? row_table_get(&table->rows, &key, &row) : rc;
    if (rc != 0) {
        return rc;
    }
    if (batch_of(row)->due.place == 0) {
        batch_of(row)->due.at_ms = NEVER;
        rc = due_heap_put(&table->due, &batch_of(row)->due);
        if (rc != 0) {
            row_table_remove(&table->rows, row);
            return rc;
        }
    }
    row_table_changing(&table->rows, row);
    batch_of(row)->queue_id = queue_id;
    *out = batch_of(row);
    return 0;
}

void order_table_changed(struct order_table *table, struct order_batch *batch)
{
    batch->steps++;
    row_table_changed(&table->rows, &batch->row);
    due_heap_move(&table->due, &batch->due, free_ms(batch, all_of(batch) & ~batch->acked));
}

static bool is_of_topic(const struct table_row *row, const void *topic)
{
    return strcmp(row_next_name(row_first_name(row)), topic) == 0;
}

static bool is_of_group(const struct table_row *row, const void *group)
{
    return strcmp(row_first_name(row), group) == 0;
}

void order_table_drop_topic(struct order_table *table, const char *topic)
{
    row_table_remove_if(&table->rows, is_of_topic, topic);
}

void order_table_drop_group(struct order_table *table, const char *group)
{
    row_table_remove_if(&table->rows, is_of_group, group);
}

void order_table_drop_queue(struct order_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    struct order_batch *batch = order_table_find(table, group, topic, queue_id);

    if (batch != NULL) {
        row_table_remove(&table->rows, &batch->row);
    }
}

/* --- out of a snapshot --- */

static bool is_sound(const Raftmq__OrderRow *row)
{
    size_t n = row->n_offsets;
    uint32_t all = n < POP_MESSAGES_MAX ? (1u << n) - 1 : UINT32_MAX;

    if (n < 1 || n > POP_MESSAGES_MAX || row->n_until_ms != n || row->n_counts != n || row->queue_id > QUEUE_ID_MAX ||
        (row->acked & ~all) != 0 || row->acked == all || row->start > INT64_MAX || row->next > INT64_MAX) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        if (row->offsets[i] <= row->offsets[i - 1]) {
            return false;
        }
    }
    return row->next > row->start + row->offsets[n - 1];
}

static int restore_row(struct order_table *table, const Raftmq__OrderRow *row)
{
    struct mq_str group = mq_str_of(row->group), topic = mq_str_of(row->topic);
    struct order_batch *batch;
    int rc;

    if (!is_sound(row) || order_table_find(table, group, topic, (int32_t)row->queue_id) != NULL) {
        return MQ_EBADMSG;
    }
    rc = order_table_change(table, group, topic, (int32_t)row->queue_id, &batch);
    if (rc != 0) {
        return rc == MQ_ETOOBIG ? MQ_EBADMSG : rc;
    }
    batch->start = row->start;
    batch->next = row->next;
    batch->pop_ms = row->pop_ms;
    batch->attempt = row->attempt;
    batch->acked = row->acked;
    batch->n = (uint8_t)row->n_offsets;
    memcpy(batch->offsets, row->offsets, row->n_offsets * sizeof(row->offsets[0]));
    memcpy(batch->until_ms, row->until_ms, row->n_offsets * sizeof(row->until_ms[0]));
    memcpy(batch->counts, row->counts, row->n_offsets * sizeof(row->counts[0]));
    batch->steps = row->steps - 1;
    order_table_changed(table, batch);
    return 0;
}

int order_table_restore(struct order_table *table, const Raftmq__OrderRows *rows)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        rc = restore_row(table, rows->rows[i]);
    }
    return rc;
}
