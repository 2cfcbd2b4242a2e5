/* The operations: by number, by kind, by where they wait. */
#include "remoting/base/assert.h"
#include "tests/sim/history_inside.h"

#include <stdlib.h>
#include <string.h>

#define OPS_IN_BLOCK 1024u
#define BLOCKS_MAX 1024u

/* Operations of one kind, by their numbers. */
struct ops_list {
    struct op **at;
    uint64_t n, cap;
};

/* Where an operation has waited. */
struct row {
    uint64_t pos;
    struct op *op; /* NULL: a free place */
};

static struct {
    struct op *blocks[BLOCKS_MAX];
    uint64_t ops;
    struct ops_list of_kind[OP_KINDS];
    struct row *rows; /* an open hash table by position */
    uint64_t rows_n, rows_cap;
} o;

void ops_reset(void)
{
    for (uint32_t i = 0; i < BLOCKS_MAX && o.blocks[i] != NULL; i++) {
        free(o.blocks[i]);
    }
    for (uint32_t k = 0; k < OP_KINDS; k++) {
        free(o.of_kind[k].at);
    }
    free(o.rows);
    memset(&o, 0, sizeof(o));
}

struct op *history_op_new(void)
{
    uint64_t block = o.ops / OPS_IN_BLOCK;
    struct op *op;

    if (block >= BLOCKS_MAX) {
        world_fail("harness: too many operations");
        return NULL;
    }
    if (o.blocks[block] == NULL) {
        struct process *before = world_outside_begin();

        o.blocks[block] = calloc(OPS_IN_BLOCK, sizeof(o.blocks[block][0]));
        world_outside_end(before);
    }
    op = &o.blocks[block][o.ops % OPS_IN_BLOCK];
    op->id = ++o.ops;
    return op;
}

void history_op_is(struct op *op, enum op_kind kind)
{
    struct ops_list *list = &o.of_kind[kind];

    op->kind = kind;
    if (list->n == list->cap) {
        struct process *before = world_outside_begin();

        list->cap = list->cap == 0 ? 256 : list->cap * 2;
        list->at = realloc(list->at, list->cap * sizeof(list->at[0]));
        world_outside_end(before);
    }
    list->at[list->n++] = op;
}

struct op *history_op(uint64_t id)
{
    return id >= 1 && id <= o.ops ? &o.blocks[(id - 1) / OPS_IN_BLOCK][(id - 1) % OPS_IN_BLOCK] : NULL;
}

uint64_t history_ops(void)
{
    return o.ops;
}

void history_body(const struct op *op, uint32_t part, uint8_t *to)
{
    uint64_t word = op->id * 0x9E3779B97F4A7C15u + part;

    memcpy(to, &op->id, 8);
    memcpy(to + 8, &part, 4);
    memcpy(to + 12, &op->body_bytes, 4);
    for (uint32_t i = BODY_HEAD_BYTES; i < op->body_bytes; i += 8) {
        uint32_t n = op->body_bytes - i < 8 ? op->body_bytes - i : 8;

        word =
            (i & 0x400) != 0 ? 0 : word * 6364136223846793005u + 1442695040888963407u; /* stretches of zeros, too */
        memcpy(to + i, &word, n);
        word += i + op->id;
    }
}

/* ---- what clients look for ---- */

bool history_waits(int64_t *due_ms)
{
    static const enum op_kind kinds[] = {OP_WAIT, OP_PREPARE, OP_BACK, OP_POP, OP_CHANGE};
    int64_t latest_ms = 0;
    bool waits = false;

    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        const struct ops_list *list = &o.of_kind[kinds[k]];

        for (uint64_t i = 0; i < list->n; i++) {
            const struct op *op = list->at[i];

            if (op->open || (k < 3 && op->parts_committed != 0 && !op->ended)) {
                latest_ms = op->due_ms > latest_ms ? op->due_ms : latest_ms;
                waits = true;
            }
        }
    }
    if (due_ms != NULL) {
        *due_ms = latest_ms;
    }
    return waits;
}

/* The place of the first operation behind number @id. */
static uint64_t place_behind(const struct ops_list *list, uint64_t id)
{
    uint64_t low = 0, high = list->n;

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (list->at[middle]->id <= id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The next one that @fits, round and round; NULL. */
static struct op *next_of_kind(enum op_kind kind, uint64_t from, bool (*fits)(const struct op *op))
{
    const struct ops_list *list = &o.of_kind[kind];
    uint64_t first = o.ops != 0 ? place_behind(list, from % o.ops) : 0;

    for (uint64_t i = 0; i < list->n; i++) {
        struct op *op = list->at[(first + i) % list->n];

        if (fits(op)) {
            return op;
        }
    }
    return NULL;
}

static bool is_recallable(const struct op *op)
{
    return op->level == 0 && op->parts_committed != 0 && !op->ended && op->recalled_by == 0;
}

struct op *history_recallable(uint64_t from)
{
    return next_of_kind(OP_WAIT, from, is_recallable);
}

static bool is_acked(const struct op *op)
{
    return op->outcome == OP_ACKED;
}

struct op *history_sent(uint64_t from)
{
    return next_of_kind(OP_SEND, from, is_acked);
}

static bool is_open(const struct op *op)
{
    return op->outcome == OP_ACKED && !op->ended;
}

struct op *history_prepared(uint64_t from, bool open)
{
    return next_of_kind(OP_PREPARE, from, open ? is_open : is_acked);
}

static bool is_popped(const struct op *op)
{
    return op->outcome == OP_ACKED && op->n != 0;
}

/* How far behind @from an operation comes, round and round. */
static uint64_t distance(uint64_t from, const struct op *op)
{
    return (op->id - 1 + o.ops - from % o.ops) % o.ops;
}

struct op *history_popped(uint64_t from)
{
    struct op *popped = next_of_kind(OP_POP, from, is_popped), *kept = next_of_kind(OP_CHANGE, from, is_popped);

    if (popped == NULL || kept == NULL) {
        return popped != NULL ? popped : kept;
    }
    return distance(from, popped) < distance(from, kept) ? popped : kept;
}

static bool is_ordered(const struct op *op)
{
    return op->outcome == OP_ACKED && op->told;
}

struct op *history_ordered(uint64_t from)
{
    return next_of_kind(OP_ORDER, from, is_ordered);
}

void history_each_popped(uint32_t topic, void (*each)(struct op *op))
{
    static const enum op_kind kinds[] = {OP_POP, OP_CHANGE};

    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        for (uint64_t i = 0; i < o.of_kind[kinds[k]].n; i++) {
            struct op *op = o.of_kind[kinds[k]].at[i];

            if (op->topic == topic && op->open) {
                each(op);
            }
        }
    }
}

/* ---- where they wait ---- */

static struct row *row_slot(uint64_t pos)
{
    uint64_t at = pos * 0x9E3779B97F4A7C15u >> 20;

    for (;; at++) {
        struct row *row = &o.rows[at & (o.rows_cap - 1)];

        if (row->op == NULL || row->pos == pos) {
            return row;
        }
    }
}

static void grow_rows(void)
{
    struct row *old = o.rows;
    uint64_t n = o.rows_cap;

    o.rows_cap = n == 0 ? 1024 : n * 2;
    o.rows = calloc(o.rows_cap, sizeof(o.rows[0]));
    for (uint64_t i = 0; i < n; i++) {
        if (old[i].op != NULL) {
            *row_slot(old[i].pos) = old[i];
        }
    }
    free(old);
}

void history_row_is(struct op *op, uint64_t pos)
{
    struct row *row;

    if (o.rows_n * 2 >= o.rows_cap) {
        grow_rows();
    }
    row = row_slot(pos);
    o.rows_n += row->op == NULL;
    *row = (struct row){pos, op};
    op->row_pos = pos;
}

struct op *history_at_row(enum op_kind kind, uint64_t pos)
{
    struct op *op = o.rows_cap != 0 ? row_slot(pos)->op : NULL;

    return op != NULL && op->kind == kind && op->parts_committed != 0 && op->row_pos == pos ? op : NULL;
}
