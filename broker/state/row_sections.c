#include "broker/state/row_sections.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "broker/state/snapshot.pb-c.h"

/* The section @noun, of the table state->@noun; @rows: the protobuf message of its bytes. */
#define ROW_SECTION(number, noun, rows_type, rows_name, restore_rows)                                                \
    static void noun##_begin(struct state *state, uint16_t section, struct rlog_sink *sink)                          \
    {                                                                                                                \
        rows_type head;                                                                                              \
                                                                                                                     \
        rows_name##__init(&head);                                                                                    \
        row_table_copy_begin(&state->noun.rows, section, sink, &head.base);                                          \
    }                                                                                                                \
    static bool noun##_step(struct state *state)                                                                     \
    {                                                                                                                \
        return row_table_copy_step(&state->noun.rows);                                                               \
    }                                                                                                                \
    static void noun##_end(struct state *state)                                                                      \
    {                                                                                                                \
        table_copy_end(&state->noun.rows.copy);                                                                      \
    }                                                                                                                \
    static void noun##_clear(struct state *state)                                                                    \
    {                                                                                                                \
        row_table_clear(&state->noun.rows);                                                                          \
    }                                                                                                                \
    static int noun##_restore(struct state *state, const ProtobufCMessage *rows)                                     \
    {                                                                                                                \
        return restore_rows(&state->noun, (const rows_type *)rows);                                                  \
    }                                                                                                                \
    static uint64_t noun##_hash(struct state *state)                                                                 \
    {                                                                                                                \
        return row_table_hash(&state->noun.rows);                                                                    \
    }                                                                                                                \
    static uint64_t noun##_recount(const struct state *state)                                                        \
    {                                                                                                                \
        return row_table_recount(&state->noun.rows);                                                                 \
    }                                                                                                                \
    const struct state_section noun##_section = {                                                                    \
        .id = number,                                                                                                \
        .version = 1,                                                                                                \
        .level = 1,                                                                                                  \
        .name = #noun,                                                                                               \
        .rows = &rows_name##__descriptor,                                                                            \
        .copy_begin = noun##_begin,                                                                                  \
        .copy_step = noun##_step,                                                                                    \
        .copy_end = noun##_end,                                                                                      \
        .clear = noun##_clear,                                                                                       \
        .restore = noun##_restore,                                                                                   \
        .hash = noun##_hash,                                                                                         \
        .recount = noun##_recount,                                                                                   \
    }

ROW_SECTION(7, deleted, Raftmq__DeletedTopicRows, raftmq__deleted_topic_rows, deleted_table_restore);
ROW_SECTION(8, resets, Raftmq__ResetRows, raftmq__reset_rows, reset_table_restore);
ROW_SECTION(9, modes, Raftmq__RequestModeRows, raftmq__request_mode_rows, mode_table_restore);
ROW_SECTION(10, forbidden, Raftmq__ForbiddenRows, raftmq__forbidden_rows, forbidden_table_restore);
ROW_SECTION(14, orders, Raftmq__OrderRows, raftmq__order_rows, order_table_restore);
