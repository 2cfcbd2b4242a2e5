#include "broker/store/hash.h"

#include "broker/state/half_table.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/fsm.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

#define SECTION_HALVES 12
#define NEVER INT64_MAX
#define HOLDS_OFF (HALF_MARK_ENDING | HALF_MARK_CHECKING) /* marks of a row whose turn does not come */

void half_table_init(struct half_table *table)
{
    *table = (struct half_table){0};
}

/* --- rows --- */

static uint64_t half_hash(const struct half *half)
{
    uint64_t h = fingerprint_u64(FINGERPRINT_START, half->pos);

    h = fingerprint_u64(fingerprint_u64(h, half->record_pos), half->qoff);
    h = fingerprint_u64(fingerprint_u64(h, (uint64_t)half->born_ms), (uint64_t)half->next_ms);
    h = fingerprint_u64(fingerprint_u64(h, half->immunity_s), half->times);
    h = fingerprint_u64(h, half->crc);
    return fingerprint_end(fingerprint_text(h, half->group->name));
}

static void put_row(struct half_table *table, struct half *half)
{
    Raftmq__HalfRow row = RAFTMQ__HALF_ROW__INIT;

    row.pos = half->pos;
    row.record_pos = half->record_pos;
    row.qoff = half->qoff;
    row.producer_group = half->group->name;
    row.born_ms = half->born_ms;
    row.next_ms = half->next_ms;
    row.immunity_s = half->immunity_s;
    row.times = half->times;
    row.crc = half->crc;
    half->generation = table->copy.generation;
    table_copy_put(&table->copy, &row.base);
}

/* To be called before the row changes or goes; changed behind it. */
static void changing(struct half_table *table, struct half *half)
{
    if (table_copy_wants(&table->copy, half->generation)) {
        put_row(table, half);
    }
    table->sum -= half_hash(half);
}

static void changed(struct half_table *table, struct half *half)
{
    int64_t at_ms = (half->marks & HOLDS_OFF) != 0 ? NEVER : half->next_ms;

    table->sum += half_hash(half);
    if (half->due.at_ms != at_ms) {
        due_heap_move(&table->due, &half->due, at_ms);
    }
}

static struct half_group *hold_group(struct half_table *table, const char *name)
{
    struct half_group *group;

    HASH_FIND_STR(table->groups, name, group);
    if (group == NULL) {
        group = mq_calloc(1, sizeof(*group));
        if (group == NULL) {
            return NULL;
        }
        group->name = mq_strdup(name);
        if (group->name != NULL) {
            HASH_ADD_KEYPTR(hh, table->groups, group->name, strlen(group->name), group);
        }
        if (group->hh.tbl == NULL) {
            mq_free(group->name);
            mq_free(group);
            return NULL;
        }
    }
    group->rows++;
    return group;
}

static void release_group(struct half_table *table, struct half_group *group)
{
    if (--group->rows == 0) {
        HASH_DEL(table->groups, group);
        mq_free(group->name);
        mq_free(group);
    }
}

static void half_free(struct half_table *table, struct half *half)
{
    due_heap_remove(&table->due, &half->due);
    release_group(table, half->group);
    mq_free(half);
}

/* @from: borrowed; its group is @group. */
static int add(struct half_table *table, const struct half *from, const char *group)
{
    struct half *half = mq_malloc(sizeof(*half));

    if (half == NULL) {
        return MQ_ENOMEM;
    }
    *half = *from;
    half->due = (struct due){.at_ms = half->next_ms, .order = half->pos};
    half->group = hold_group(table, group);
    if (half->group == NULL) {
        mq_free(half);
        return MQ_ENOMEM;
    }
    if (due_heap_put(&table->due, &half->due) == 0) {
        HASH_ADD(hh, table->by_pos, pos, sizeof(half->pos), half);
    }
    if (half->hh.tbl == NULL) {
        half_free(table, half);
        return MQ_ENOMEM;
    }
    half->generation = table->copy.generation; /* younger than the snapshot that is being taken */
    table->sum += half_hash(half);
    table->count++;
    return 0;
}

static void remove_half(struct half_table *table, struct half *half)
{
    changing(table, half);
    if (table->copy.next == half) {
        table->copy.next = half->hh.next;
    }
    if (table->looked == half) {
        table->looked = half->hh.prev;
    }
    table->marked -= half->marks != 0;
    HASH_DEL(table->by_pos, half);
    half_free(table, half);
    table->count--;
}

static void clear(struct half_table *table)
{
    struct half *half, *next;

    table_copy_end(&table->copy);
    HASH_ITER (hh, table->by_pos, half, next) {
        remove_half(table, half);
    }
}

void half_table_fini(struct half_table *table)
{
    clear(table);
    due_heap_fini(&table->due);
}

struct half *half_table_find(const struct half_table *table, uint64_t pos)
{
    struct half *half;

    HASH_FIND(hh, table->by_pos, &pos, sizeof(pos), half);
    return half;
}

struct half *half_table_from(const struct half_table *table, uint64_t pos)
{
    struct half *half = half_table_find(table, pos);

    if (half == NULL) {
        half = table->by_pos;
        while (half != NULL && half->pos < pos) {
            half = half->hh.next;
        }
    }
    return half;
}

bool half_is_record(const struct half *half, const uint8_t *at, uint32_t bytes)
{
    return mq_crc32c(0, at, bytes) == half->crc;
}

struct half *half_table_first_due(const struct half_table *table)
{
    struct due *first = due_heap_first(&table->due);

    return first != NULL ? container_of(first, struct half, due) : NULL;
}

struct half *half_table_next(const struct half_table *table)
{
    return table->looked != NULL ? table->looked->hh.next : table->by_pos;
}

void half_table_pass(struct half_table *table, struct half *half)
{
    table->looked = half;
}

void half_table_rewind(struct half_table *table)
{
    table->looked = NULL;
}

/* --- the leader's marks --- */

static void set_marks(struct half_table *table, struct half *half, uint8_t marks)
{
    int64_t at_ms = (marks & HOLDS_OFF) != 0 ? NEVER : half->next_ms;

    table->marked += (marks != 0) - (half->marks != 0);
    half->marks = marks;
    if (half->due.at_ms != at_ms) {
        due_heap_move(&table->due, &half->due, at_ms);
    }
}

void half_table_mark(struct half_table *table, struct half *half, enum half_mark mark)
{
    set_marks(table, half, (uint8_t)(half->marks | mark));
}

void half_table_unmark(struct half_table *table, struct half *half, enum half_mark mark)
{
    set_marks(table, half, (uint8_t)(half->marks & ~(unsigned)mark));
}

void half_table_put_off(struct half_table *table, struct half *half, int64_t at_ms)
{
    if ((half->marks & HOLDS_OFF) == 0 && half->due.at_ms < at_ms) {
        due_heap_move(&table->due, &half->due, at_ms);
    }
}

void half_table_forget_marks(struct half_table *table)
{
    table->leads++;
    for (struct half *half = table->by_pos; half != NULL && table->marked != 0; half = half->hh.next) {
        set_marks(table, half, 0);
    }
}

/* --- items --- */

int half_apply_put(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__HalfPut *item = (const Raftmq__HalfPut *)message;
    struct half half = {.born_ms = item->born_ms, .next_ms = item->check_ms, .immunity_s = item->immunity_s};

    if (scope->record == NULL || half_table_find(&state->halves, scope->record->pos) != NULL) {
        return MQ_EBADMSG;
    }
    half.pos = half.record_pos = scope->record->pos;
    half.qoff = applied_qoff(scope->record);
    half.crc = mq_crc32c(0, scope->record->at, scope->record->bytes);
    return add(&state->halves, &half, item->producer_group);
}

int half_apply_end(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    struct half *half = half_table_find(&state->halves, ((const Raftmq__HalfEnd *)message)->pos);

    (void)scope;
    if (half != NULL && !RAFTMQ_DEFECT(HALF_END_IGNORED)) {
        remove_half(&state->halves, half);
    }
    return 0;
}

int half_apply_checked(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__HalfChecked *item = (const Raftmq__HalfChecked *)message;

    (void)scope;
    for (size_t i = 0; i < item->n_pos; i++) {
        struct half *half = half_table_find(&state->halves, item->pos[i]);

        if (half != NULL) {
            changing(&state->halves, half);
            half->times++;
            half->next_ms = item->next_ms;
            changed(&state->halves, half);
        }
    }
    return 0;
}

int half_apply_move(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    struct half *half = half_table_find(&state->halves, ((const Raftmq__HalfMove *)message)->pos);

    if (scope->record == NULL) {
        return MQ_EBADMSG;
    }
    if (half != NULL) {
        changing(&state->halves, half);
        half->record_pos = scope->record->pos;
        half->crc = mq_crc32c(0, scope->record->at, scope->record->bytes);
        changed(&state->halves, half);
    }
    return 0;
}

/* --- the section --- */

static void copy_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    const Raftmq__HalfRows head = RAFTMQ__HALF_ROWS__INIT;

    table_copy_begin(&state->halves.copy, section, sink, &head.base, state->halves.by_pos);
}

static bool copy_step(struct state *state)
{
    struct half_table *table = &state->halves;
    struct half *half = table->copy.next;

    for (uint32_t i = 0; half != NULL && i < TABLE_COPY_ROWS; i++, half = half->hh.next) {
        if (table_copy_wants(&table->copy, half->generation)) {
            put_row(table, half);
        }
    }
    table->copy.next = half;
    return half != NULL;
}

static void copy_end(struct state *state)
{
    table_copy_end(&state->halves.copy);
}

static void clear_all(struct state *state)
{
    clear(&state->halves);
}

static int restore(struct state *state, const ProtobufCMessage *message)
{
    const Raftmq__HalfRows *rows = (const Raftmq__HalfRows *)message;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        const Raftmq__HalfRow *row = rows->rows[i];
        const struct half half = {.pos = row->pos,
                                  .record_pos = row->record_pos,
                                  .qoff = row->qoff,
                                  .born_ms = row->born_ms,
                                  .next_ms = row->next_ms,
                                  .immunity_s = row->immunity_s,
                                  .times = row->times,
                                  .crc = row->crc};

        rc = half_table_find(&state->halves, row->pos) == NULL ? add(&state->halves, &half, row->producer_group)
                                                               : MQ_EBADMSG;
    }
    return rc;
}

static uint64_t hash(struct state *state)
{
    return state->halves.sum;
}

static uint64_t recount(const struct state *state)
{
    uint64_t sum = 0;

    for (const struct half *half = state->halves.by_pos; half != NULL; half = half->hh.next) {
        sum += half_hash(half);
    }
    return sum;
}

const struct state_section half_section = {
    .id = SECTION_HALVES,
    .version = 1,
    .level = 1,
    .name = "half messages",
    .rows = &raftmq__half_rows__descriptor,
    .copy_begin = copy_begin,
    .copy_step = copy_step,
    .copy_end = copy_end,
    .clear = clear_all,
    .restore = restore,
    .hash = hash,
    .recount = recount,
};
