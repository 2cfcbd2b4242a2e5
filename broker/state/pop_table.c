#include "broker/store/hash.h"

#include "broker/state/pop_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/fsm.h"
#include "broker/state/joined_key.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#define SECTION_POPS 13
#define NEVER INT64_MAX

void pop_table_init(struct pop_table *table)
{
    *table = (struct pop_table){0};
}

/* --- queues --- */

static int make_key(struct joined_key *key, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    const struct mq_str names[] = {group, topic};

    return joined_key_make(key, names, 2, &queue_id, sizeof(queue_id));
}

struct pop_queue *pop_table_queue(const struct pop_table *table, struct mq_str group, struct mq_str topic,
                                  int32_t queue_id)
{
    struct joined_key key;
    struct pop_queue *queue;

    if (make_key(&key, group, topic, queue_id) != 0) {
        return NULL;
    }
    HASH_FIND(hh, table->queues, key.at, key.bytes, queue);
    return queue;
}

static struct pop_queue *get_queue(struct pop_table *table, struct mq_str group, struct mq_str topic,
                                   int32_t queue_id)
{
    struct pop_queue *queue = pop_table_queue(table, group, topic, queue_id);
    struct joined_key key;

    if (queue != NULL || make_key(&key, group, topic, queue_id) != 0) {
        return queue;
    }
    queue = mq_calloc(1, sizeof(*queue));
    if (queue == NULL) {
        return NULL;
    }
    queue->key = mq_strndup(key.at, key.bytes);
    queue->key_bytes = key.bytes;
    if (queue->key != NULL) {
        HASH_ADD_KEYPTR(hh, table->queues, queue->key, queue->key_bytes, queue);
    }
    if (queue->hh.tbl == NULL) {
        mq_free(queue->key);
        mq_free(queue);
        return NULL;
    }
    queue->group = (struct mq_str){queue->key, group.len};
    queue->topic = (struct mq_str){queue->key + group.len + 1, topic.len};
    queue->queue_id = queue_id;
    return queue;
}

static void drop_unused(struct pop_table *table, struct pop_queue *queue)
{
    if (queue->checks == 0 && queue->held == 0) {
        HASH_DEL(table->queues, queue);
        mq_free(queue->key);
        mq_free(queue);
    }
}

struct pop_queue *pop_table_hold(struct pop_table *table, struct mq_str group, struct mq_str topic, int32_t queue_id)
{
    struct pop_queue *queue = get_queue(table, group, topic, queue_id);

    if (queue != NULL) {
        queue->held++;
    }
    return queue;
}

void pop_table_release(struct pop_table *table, struct pop_queue *queue)
{
    MQ_ASSERT(queue->held != 0);
    queue->held--;
    drop_unused(table, queue);
}

/* --- check points --- */

static uint32_t open_messages(const struct pop_check *check)
{
    return (uint32_t)__builtin_popcount(pop_check_all(check) & ~check->acked);
}

static uint64_t check_hash(const struct pop_check *check)
{
    const struct pop_queue *queue = check->key.queue;
    uint64_t h = fingerprint_text(fingerprint_text(FINGERPRINT_START, queue->group.at), queue->topic.at);

    h = fingerprint_u64(fingerprint_u64(h, (uint32_t)queue->queue_id), check->key.start);
    h = fingerprint_u64(fingerprint_u64(h, (uint64_t)check->key.pop_ms), (uint64_t)check->until_ms);
    h = fingerprint_u64(h, check->acked);
    for (uint8_t i = 0; i < check->n; i++) {
        h = fingerprint_u64(h, check->offsets[i]);
    }
    return fingerprint_end(h);
}

static void put_row(struct pop_table *table, struct pop_check *check)
{
    Raftmq__PopRow row = RAFTMQ__POP_ROW__INIT;

    row.group = (char *)check->key.queue->group.at;
    row.topic = (char *)check->key.queue->topic.at;
    row.queue_id = (uint32_t)check->key.queue->queue_id;
    row.start = check->key.start;
    row.offsets = check->offsets;
    row.n_offsets = check->n;
    row.acked = check->acked;
    row.pop_ms = check->key.pop_ms;
    row.until_ms = check->until_ms;
    check->generation = table->copy.generation;
    table_copy_put(&table->copy, &row.base);
}

static void changing(struct pop_table *table, struct pop_check *check)
{
    if (table_copy_wants(&table->copy, check->generation)) {
        put_row(table, check);
    }
    table->sum -= check_hash(check);
    check->key.queue->holds -= open_messages(check);
}

static void changed(struct pop_table *table, struct pop_check *check)
{
    table->sum += check_hash(check);
    check->key.queue->holds += open_messages(check);
}

static void check_free(struct pop_table *table, struct pop_check *check)
{
    due_heap_remove(&table->due, &check->due);
    check->key.queue->checks--;
    drop_unused(table, check->key.queue);
    mq_free(check);
}

static int add(struct pop_table *table, const struct pop_key *key, int64_t until_ms, uint32_t acked,
               const uint32_t *offsets, size_t n)
{
    struct pop_check *check = mq_calloc(1, sizeof(*check) + n * sizeof(check->offsets[0]));

    if (check == NULL) {
        drop_unused(table, key->queue);
        return MQ_ENOMEM;
    }
    check->key = *key;
    check->until_ms = until_ms;
    check->acked = acked;
    check->n = (uint8_t)n;
    memcpy(check->offsets, offsets, n * sizeof(offsets[0]));
    check->due = (struct due){.at_ms = until_ms, .order = key->start};
    key->queue->checks++;
    if (due_heap_put(&table->due, &check->due) == 0) {
        HASH_ADD(hh, table->by_key, key, sizeof(check->key), check);
    }
    if (check->hh.tbl == NULL) {
        check_free(table, check);
        return MQ_ENOMEM;
    }
    check->generation = table->copy.generation; /* younger than the snapshot that is being taken */
    table->count++;
    changed(table, check);
    return 0;
}

static void remove_check(struct pop_table *table, struct pop_check *check)
{
    changing(table, check);
    if (table->copy.next == check) {
        table->copy.next = check->hh.next;
    }
    if (table->looked == check) {
        table->looked = check->hh.prev;
    }
    table->reviving -= check->reviving;
    HASH_DEL(table->by_key, check);
    check_free(table, check);
    table->count--;
}

static void clear(struct pop_table *table)
{
    struct pop_check *check, *next;

    table_copy_end(&table->copy);
    HASH_ITER (hh, table->by_key, check, next) {
        remove_check(table, check);
    }
}

void pop_table_fini(struct pop_table *table)
{
    struct pop_queue *queue, *next;

    clear(table);
    HASH_ITER (hh, table->queues, queue, next) {
        queue->held = 0;
        drop_unused(table, queue);
    }
    due_heap_fini(&table->due);
}

struct pop_check *pop_table_find(const struct pop_table *table, struct pop_queue *queue, uint64_t start,
                                 int64_t pop_ms)
{
    const struct pop_key key = {queue, start, pop_ms};
    struct pop_check *check;

    HASH_FIND(hh, table->by_key, &key, sizeof(key), check);
    return check;
}

uint32_t pop_check_bit(const struct pop_check *check, uint64_t qoff)
{
    for (uint8_t i = 0; i < check->n; i++) {
        if (check->key.start + check->offsets[i] == qoff) {
            return (check->acked & 1u << i) == 0 ? 1u << i : 0;
        }
    }
    return 0;
}

struct pop_check *pop_table_first_due(const struct pop_table *table)
{
    struct due *first = due_heap_first(&table->due);

    return first != NULL ? container_of(first, struct pop_check, due) : NULL;
}

void pop_table_drop_topic(struct pop_table *table, struct mq_str topic)
{
    struct pop_check *check, *next;

    HASH_ITER (hh, table->by_key, check, next) {
        if (mq_str_eq(check->key.queue->topic, topic)) {
            remove_check(table, check);
        }
    }
}

void pop_table_set_reviving(struct pop_table *table, struct pop_check *check, bool reviving)
{
    if (check->reviving != reviving) {
        check->reviving = reviving;
        table->reviving += reviving ? 1 : UINT32_MAX;
        due_heap_move(&table->due, &check->due, reviving ? NEVER : check->until_ms);
    }
}

void pop_table_put_off(struct pop_table *table, struct pop_check *check, int64_t at_ms)
{
    if (!check->reviving && check->due.at_ms < at_ms) {
        due_heap_move(&table->due, &check->due, at_ms);
    }
}

struct pop_check *pop_table_next(const struct pop_table *table)
{
    return table->looked != NULL ? table->looked->hh.next : table->by_key;
}

void pop_table_pass(struct pop_table *table, struct pop_check *check)
{
    table->looked = check;
}

void pop_table_rewind(struct pop_table *table)
{
    table->looked = NULL;
}

void pop_table_forget_leading(struct pop_table *table)
{
    struct pop_queue *queue, *next;

    table->leads++;
    for (struct pop_check *check = table->by_key; check != NULL; check = check->hh.next) {
        pop_table_set_reviving(table, check, false);
        if (check->key.pop_ms > table->last_pop_ms) {
            table->last_pop_ms = check->key.pop_ms; /* of a leader whose clock was ahead */
        }
    }
    HASH_ITER (hh, table->queues, queue, next) {
        queue->taking = 0;
        queue->taken = 0;
    }
}

int64_t pop_table_next_ms(struct pop_table *table, int64_t now_ms)
{
    table->last_pop_ms = now_ms > table->last_pop_ms ? now_ms : table->last_pop_ms + 1;
    return table->last_pop_ms;
}

/* --- items --- */

static struct pop_check *find_named(struct pop_table *table, const char *group, const char *topic, int32_t queue_id,
                                    int64_t start, int64_t pop_ms)
{
    struct pop_queue *queue = pop_table_queue(table, mq_str_of(group), mq_str_of(topic), queue_id);

    return queue != NULL ? pop_table_find(table, queue, (uint64_t)start, pop_ms) : NULL;
}

static bool are_ascending(const uint32_t *offsets, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (offsets[i] <= offsets[i - 1]) {
            return false;
        }
    }
    return n >= 1 && n <= POP_MESSAGES_MAX;
}

/* No leader gives two check points one key, also not another leader or one whose clock goes back: its pop times only
 * grow, and they begin behind those of all check points that there are once everything of former terms is applied
 * (pop_table_forget_leading; a check point that is over is in nobody's way). So a key that is there already is what
 * no leader writes: MQ_EBADMSG. Taking it for done would be worse than stopping: messages that were handed out under
 * it would be in no check point, and be lost without a word when nobody acknowledges them.
 *
 * A topic that was deleted before the item came has nothing to be handed out, and an offset of it would be taken for
 * one of the next topic's under this name. The offset of a reset stands until it was told. */
int pop_apply_take(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__PopTake *item = (const Raftmq__PopTake *)message;
    struct pop_key key = {.start = (uint64_t)item->start, .pop_ms = item->pop_ms};
    struct mq_str group = mq_str_of(item->group), topic = mq_str_of(item->topic);
    int rc = 0;

    (void)scope;
    if (item->start < 0 || !are_ascending(item->offsets, item->n_offsets)) {
        return MQ_EBADMSG;
    }
    if (topic_table_find(&state->topics, topic) == NULL) {
        return 0;
    }
    if (reset_table_get(&state->resets, group, topic, item->queue_id) < 0 && !RAFTMQ_DEFECT(POP_OFFSET_NOT_MOVED)) {
        rc = offset_table_put(&state->offsets, group, topic, item->queue_id, item->next);
    }
    if (rc != 0) {
        return rc == MQ_ETOOBIG ? 0 : rc;
    }
    key.queue = get_queue(&state->pops, group, topic, item->queue_id);
    if (key.queue == NULL) {
        return MQ_ENOMEM;
    }
    if (pop_table_find(&state->pops, key.queue, key.start, key.pop_ms) != NULL) {
        return MQ_EBADMSG;
    }
    return add(&state->pops, &key, item->until_ms, 0, item->offsets, item->n_offsets);
}

/* Acknowledged: one that all are ends. */
static void ack(struct pop_table *table, struct pop_check *check, uint32_t bits)
{
    if ((check->acked | bits) == pop_check_all(check)) {
        remove_check(table, check);
    } else if ((check->acked | bits) != check->acked) {
        changing(table, check);
        check->acked |= bits;
        changed(table, check);
    }
}

int pop_apply_ack(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__PopAck *item = (const Raftmq__PopAck *)message;
    struct pop_check *check =
        find_named(&state->pops, item->group, item->topic, item->queue_id, item->start, item->pop_ms);
    uint32_t bits = 0;

    (void)scope;
    if (check == NULL) {
        return 0; /* acknowledged before, or its time was over */
    }
    for (size_t i = 0; i < item->n_offsets; i++) {
        bits |= pop_check_bit(check, check->key.start + item->offsets[i]);
    }
    ack(&state->pops, check, bits);
    return 0;
}

int pop_apply_change(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__PopChange *item = (const Raftmq__PopChange *)message;
    struct pop_check *check =
        find_named(&state->pops, item->group, item->topic, item->queue_id, item->start, item->pop_ms);
    const uint32_t first = 0;
    struct pop_key key;
    uint32_t bit;
    int rc = 0;

    (void)scope;
    if (check == NULL) {
        return 0;
    }
    key = (struct pop_key){check->key.queue, check->key.start + item->offset, item->new_pop_ms};
    bit = pop_check_bit(check, key.start);
    if (bit == 0) {
        return 0;
    }
    if (pop_table_find(&state->pops, key.queue, key.start, key.pop_ms) != NULL) {
        return MQ_EBADMSG; /* as above */
    }
    rc = add(&state->pops, &key, item->until_ms, 0, &first, 1);
    if (rc == 0) {
        ack(&state->pops, check, bit);
    }
    return rc;
}

int pop_apply_revive(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__PopRevive *item = (const Raftmq__PopRevive *)message;
    struct pop_check *check =
        find_named(&state->pops, item->group, item->topic, item->queue_id, item->start, item->pop_ms);

    (void)scope;
    if (check != NULL) {
        remove_check(&state->pops, check);
    }
    return 0;
}

/* --- the section --- */

static void copy_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    const Raftmq__PopRows head = RAFTMQ__POP_ROWS__INIT;

    table_copy_begin(&state->pops.copy, section, sink, &head.base, state->pops.by_key);
}

static bool copy_step(struct state *state)
{
    struct pop_table *table = &state->pops;
    struct pop_check *check = table->copy.next;

    for (uint32_t i = 0; check != NULL && i < TABLE_COPY_ROWS; i++, check = check->hh.next) {
        if (table_copy_wants(&table->copy, check->generation)) {
            put_row(table, check);
        }
    }
    table->copy.next = check;
    return check != NULL;
}

static void copy_end(struct state *state)
{
    table_copy_end(&state->pops.copy);
}

static void clear_all(struct state *state)
{
    clear(&state->pops);
}

static int restore_row(struct pop_table *table, const Raftmq__PopRow *row)
{
    struct pop_key key = {.start = row->start, .pop_ms = row->pop_ms};

    uint32_t all = row->n_offsets < POP_MESSAGES_MAX ? (1u << row->n_offsets) - 1 : UINT32_MAX;

    if (!are_ascending(row->offsets, row->n_offsets) || row->queue_id > QUEUE_ID_MAX || (row->acked & ~all) != 0 ||
        row->acked == all) {
        return MQ_EBADMSG;
    }
    key.queue = get_queue(table, mq_str_of(row->group), mq_str_of(row->topic), (int32_t)row->queue_id);
    if (key.queue == NULL) {
        return MQ_ENOMEM;
    }
    if (pop_table_find(table, key.queue, key.start, key.pop_ms) != NULL) {
        return MQ_EBADMSG;
    }
    return add(table, &key, row->until_ms, row->acked, row->offsets, row->n_offsets);
}

static int restore(struct state *state, const ProtobufCMessage *message)
{
    const Raftmq__PopRows *rows = (const Raftmq__PopRows *)message;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        rc = restore_row(&state->pops, rows->rows[i]);
    }
    return rc;
}

static uint64_t hash(struct state *state)
{
    return state->pops.sum;
}

static uint64_t recount(const struct state *state)
{
    uint64_t sum = 0;

    for (const struct pop_check *check = state->pops.by_key; check != NULL; check = check->hh.next) {
        sum += check_hash(check);
    }
    return sum;
}

const struct state_section pop_section = {
    .id = SECTION_POPS,
    .version = 1,
    .level = 1,
    .name = "check points",
    .rows = &raftmq__pop_rows__descriptor,
    .copy_begin = copy_begin,
    .copy_step = copy_step,
    .copy_end = copy_end,
    .clear = clear_all,
    .restore = restore,
    .hash = hash,
    .recount = recount,
};
