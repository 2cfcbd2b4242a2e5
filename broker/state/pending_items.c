#include "broker/state/pending_items.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"

/* --- items --- */

int pending_apply_put(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    const Raftmq__PendingPut *item = (const Raftmq__PendingPut *)message;
    struct pending_row row = {.due_ms = item->due_ms, .key_hash = item->key_hash, .kind = item->kind & 3u};

    if (scope->record == NULL || (item->kind != PENDING_LEVEL && item->kind != PENDING_TIMER)) {
        return MQ_EBADMSG;
    }
    row.pos = scope->record->pos;
    row.bytes = scope->record->bytes & PENDING_RECORD_MAX;
    row.crc = mq_crc32c(0, scope->record->at, scope->record->bytes);
    if (RAFTMQ_DEFECT(DUE_FROM_APPLY_CLOCK)) {
        row.due_ms = mq_clock_wall_ms() + item->due_ms - scope->entry->store_ms;
    }
    return pending_table_put(&state->pending, &row);
}

int pending_apply_end(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    (void)scope;
    (void)pending_table_end(&state->pending, ((const Raftmq__PendingEnd *)message)->pos);
    return 0;
}

int pending_apply_move(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    if (scope->record == NULL) {
        return MQ_EBADMSG;
    }
    return pending_table_move(&state->pending, ((const Raftmq__PendingMove *)message)->pos, scope->record->pos,
                              scope->record->bytes, mq_crc32c(0, scope->record->at, scope->record->bytes));
}

/* --- the section --- */

static void copy_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    pending_table_copy_begin(&state->pending, section, sink);
}

static bool copy_step(struct state *state)
{
    return pending_table_copy_step(&state->pending);
}

static void copy_end(struct state *state)
{
    table_copy_end(&state->pending.copy);
}

static void clear(struct state *state)
{
    pending_table_clear(&state->pending);
}

static int restore(struct state *state, const ProtobufCMessage *rows)
{
    return pending_table_restore(&state->pending, (const Raftmq__PendingRows *)rows);
}

static uint64_t hash(struct state *state)
{
    return pending_table_hash(&state->pending);
}

static uint64_t recount(const struct state *state)
{
    return pending_table_recount(&state->pending);
}

const struct state_section pending_section = {
    .id = 11,
    .version = 1,
    .level = 1,
    .name = "pending",
    .rows = &raftmq__pending_rows__descriptor,
    .copy_begin = copy_begin,
    .copy_step = copy_step,
    .copy_end = copy_end,
    .clear = clear,
    .restore = restore,
    .hash = hash,
    .recount = recount,
};
