/* The state as sections of a snapshot, into one and out of one; and the hash of queue ends, which changes with every
 * message and is therefore counted only when someone asks: queues that changed are kept in a list. */
#include "broker/state/fsm.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/pending_items.h"
#include "broker/state/row_sections.h"
#include "broker/state/snapshot.pb-c.h"
#include "broker/state/table_sections.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>

enum { SECTION_QUEUES = 5, SECTION_LOG = 6 };

/* --- the ends of queues --- */

static uint64_t end_hash(const struct queue *queue, uint64_t end)
{
    uint64_t h = fingerprint_text(FINGERPRINT_START, queue->topic->topic);

    return fingerprint_end(fingerprint_u64(fingerprint_u64(h, (uint32_t)queue->id), end));
}

uint64_t state_ends_hash(struct state *state)
{
    struct queue *queue = state->changed;

    for (; queue != NULL; queue = queue->next_changed) {
        /* A queue may be made on one member only, by a request; it counts once it holds something. */
        state->ends_sum -= queue->hashed_end != 0 ? end_hash(queue, queue->hashed_end) : 0;
        state->ends_sum += queue->cq.max != 0 ? end_hash(queue, queue->cq.max) : 0;
        queue->hashed_end = queue->cq.max;
        queue->changed = false;
    }
    state->changed = NULL;
    state->store->queues.epoch++;
    return state->ends_sum;
}

uint64_t state_ends_recount(const struct state *state)
{
    uint64_t sum = 0;

    for (const struct topic_queues *topic = state->store->queues.by_topic; topic != NULL; topic = topic->hh.next) {
        for (uint32_t i = 0; i < topic->n; i++) {
            if (topic->queues[i] != NULL && topic->queues[i]->cq.max != 0) {
                sum += end_hash(topic->queues[i], topic->queues[i]->cq.max);
            }
        }
    }
    return sum;
}

static void put_queue(struct state *state, struct queue *queue)
{
    Raftmq__QueueRow row = RAFTMQ__QUEUE_ROW__INIT;

    queue->generation = state->queue_copy.generation;
    if (queue->cq.max == 0) {
        return;
    }
    queue->saved_min = queue->cq.min;
    row.topic = queue->topic->topic;
    row.queue_id = (uint32_t)queue->id;
    row.end = queue->cq.max;
    row.held = queue->cq.min;
    row.life = queue->topic->life;
    table_copy_put(&state->queue_copy, &row.base);
}

void state_queue_changing(void *data, struct queue *queue)
{
    struct state *state = data;

    if (table_copy_wants(&state->queue_copy, queue->generation)) {
        put_queue(state, queue);
    }
    if (!queue->changed) {
        queue->changed = true;
        queue->next_changed = state->changed;
        state->changed = queue;
    }
}

static void queues_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    const Raftmq__QueueRows head = RAFTMQ__QUEUE_ROWS__INIT;

    table_copy_begin(&state->queue_copy, section, sink, &head.base, state->store->queues.by_topic);
    state->queue_next = 0;
    state->store->queues.epoch++; /* the first change of each queue is to be told */
}

static void queues_end(struct state *state)
{
    table_copy_end(&state->queue_copy);
}

static void forget_end(void *data, struct queue *queue)
{
    (void)data;
    queue->changed = false;
    queue->hashed_end = 0;
}

static void queues_clear(struct state *state)
{
    queue_table_walk(&state->store->queues, forget_end, NULL);
    state->changed = NULL;
    state->ends_sum = 0;
    state->store->queues.epoch++;
    state->last_topic = NULL;
}

static bool queues_step(struct state *state)
{
    struct topic_queues *topic = state->queue_copy.next;

    for (uint32_t i = 0; topic != NULL && i < TABLE_COPY_ROWS; i++) {
        struct queue *queue = state->queue_next < topic->n ? topic->queues[state->queue_next] : NULL;

        if (queue != NULL && table_copy_wants(&state->queue_copy, queue->generation)) {
            put_queue(state, queue);
        }
        if (++state->queue_next >= topic->n) {
            state->queue_next = 0;
            topic = topic->hh.next;
        }
    }
    state->queue_copy.next = topic;
    return topic != NULL;
}

static int restore_queues(struct state *state, const ProtobufCMessage *message)
{
    const Raftmq__QueueRows *rows = (const Raftmq__QueueRows *)message;
    struct queue_table *table = &state->store->queues;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < rows->n_rows; i++) {
        const Raftmq__QueueRow *row = rows->rows[i];
        struct topic_queues *topic;
        struct queue *queue;

        /* Each message of a queue has a position of its own in the log, so there are no more of them than that. */
        if (row->queue_id > QUEUE_ID_MAX || row->end == 0 || row->held > row->end ||
            row->end > state->store->restore_end_pos || row->life >= state->store->restore_end_pos) {
            return MQ_EBADMSG;
        }
        topic = queue_table_topic(table, mq_str_of(row->topic));
        rc = topic != NULL ? store_restore_life(state->store, topic, row->life) : MQ_ENOMEM;
        rc = rc == 0 ? topic_queues_get(table, topic, (int32_t)row->queue_id, &queue) : rc;
        if (rc == 0 && queue->cq.max != 0) {
            rc = MQ_EBADMSG; /* twice */
        }
        if (rc == 0) {
            queue_table_changing(table, queue);
            rc = store_restore_queue(state->store, queue, row->end, row->held);
        }
    }
    return rc;
}

/* --- where the log begins --- */

static void log_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    Raftmq__LogRows rows = RAFTMQ__LOG_ROWS__INIT;
    uint8_t bytes[64];
    size_t n;

    rows.start_pos = state->log_start_pos;
    rows.first_store_ms = state->first_store_ms;
    MQ_ASSERT(raftmq__log_rows__get_packed_size(&rows) <= sizeof(bytes));
    n = raftmq__log_rows__pack(&rows, bytes);
    (void)rlog_sink_put(sink, section, bytes, n);
}

static bool nothing_left(struct state *state)
{
    (void)state;
    return false;
}

static void nothing_to_end(struct state *state)
{
    (void)state;
}

static void log_clear(struct state *state)
{
    state->log_start_pos = 0;
    state->first_store_ms = 0;
}

static int restore_log(struct state *state, const ProtobufCMessage *message)
{
    const Raftmq__LogRows *rows = (const Raftmq__LogRows *)message;

    state->log_start_pos = rows->start_pos;
    state->first_store_ms = rows->first_store_ms;
    return 0;
}

static uint64_t log_hash(struct state *state)
{
    uint64_t h = fingerprint_u64(FINGERPRINT_START, state->log_start_pos);

    return fingerprint_end(fingerprint_u64(h, (uint64_t)state->first_store_ms));
}

static const struct state_section queues_section = {
    .id = SECTION_QUEUES,
    .version = 1,
    .level = 1,
    .name = "queues",
    .rows = &raftmq__queue_rows__descriptor,
    .copy_begin = queues_begin,
    .copy_step = queues_step,
    .copy_end = queues_end,
    .clear = queues_clear,
    .restore = restore_queues,
    .hash = state_ends_hash,
    .recount = state_ends_recount,
};

static const struct state_section log_section = {
    .id = SECTION_LOG,
    .version = 1,
    .level = 1,
    .name = "log",
    .rows = &raftmq__log_rows__descriptor,
    .copy_begin = log_begin,
    .copy_step = nothing_left,
    .copy_end = nothing_to_end,
    .clear = log_clear,
    .restore = restore_log,
    .hash = log_hash,
};

/* In the order in which they are put and counted: ascending by id. */
static const struct state_section *const sections[] = {
    &topics_section,  &groups_section,  &offsets_section, &locks_section,  &queues_section,
    &log_section,     &deleted_section, &resets_section,  &modes_section,  &forbidden_section,
    &pending_section, &half_section,    &pop_section,     &orders_section,
};

#define SECTIONS (sizeof(sections) / sizeof(sections[0]))
_Static_assert(SECTIONS <= RLOG_SECTIONS_MAX, "a snapshot has no room for so many sections");

uint32_t state_section_count(void)
{
    return SECTIONS;
}

uint32_t state_sections(struct state *state, struct rlog_section out[RLOG_SECTIONS_MAX])
{
    for (uint32_t i = 0; i < SECTIONS; i++) {
        const struct state_section *s = sections[i];

        out[i] = (struct rlog_section){s->id, s->version, s->level, s->hash(state), s->name};
    }
    return SECTIONS;
}

uint64_t state_hash(struct state *state)
{
    uint64_t h = FINGERPRINT_START;

    for (uint32_t i = 0; i < SECTIONS; i++) {
        h = fingerprint_u64(h, sections[i]->hash(state));
    }
    return fingerprint_end(h);
}

uint64_t state_recount(struct state *state)
{
    uint64_t h = FINGERPRINT_START;

    for (uint32_t i = 0; i < SECTIONS; i++) {
        const struct state_section *s = sections[i];

        h = fingerprint_u64(h, s->recount != NULL ? s->recount(state) : s->hash(state));
    }
    return fingerprint_end(h);
}

/* --- taking one --- */

void state_snapshot_begin(struct state *state, struct rlog_sink *sink)
{
    for (uint32_t i = 0; i < SECTIONS; i++) {
        sections[i]->copy_begin(state, sections[i]->id, sink);
    }
    state->copying = 0;
}

int state_snapshot_more(struct state *state)
{
    if (!sections[state->copying]->copy_step(state)) {
        state->copying++;
    }
    return state->copying < SECTIONS;
}

void state_snapshot_end(struct state *state)
{
    for (uint32_t i = 0; i < SECTIONS; i++) {
        sections[i]->copy_end(state);
    }
}

/* --- loading one --- */

static const struct state_section *find_section(uint16_t id)
{
    for (uint32_t i = 0; i < SECTIONS; i++) {
        if (sections[i]->id == id) {
            return sections[i];
        }
    }
    return NULL;
}

static void clear(struct state *state)
{
    state_snapshot_end(state);
    for (uint32_t i = 0; i < SECTIONS; i++) {
        sections[i]->clear(state);
    }
}

int state_restore_begin(struct state *state, const struct rlog_entry *entry, uint32_t crc,
                        const struct rlog_section *held, uint32_t n, struct mq_buf *problem)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct state_section *section = find_section(held[i].id);

        if (section == NULL || held[i].version > section->version) {
            (void)mq_buf_printf(problem,
                                "the snapshot of entry %" PRIu64 " has section %u in version %u, which needs feature "
                                "level %" PRIu32 "; this program has level %u",
                                entry->index, (unsigned)held[i].id, (unsigned)held[i].version, held[i].level,
                                FEATURE_LEVEL);
            return MQ_EVERSION;
        }
    }
    clear(state);
    state->restored_index = entry->index;
    return store_restore_begin(state->store, entry->index, crc, entry->pos);
}

/* Memory for one piece of rows, all of it freed at once: a piece has tens of thousands of small parts. */
#define ARENA_CHUNK_BYTES (1u << 20)
#define ARENA_BYTES_MAX (512u << 20)

struct arena {
    ProtobufCAllocator allocator;
    struct arena_chunk {
        struct arena_chunk *next;
        size_t used, cap;
        _Alignas(16) uint8_t bytes[];
    } * chunks;
    size_t total;
};

static void *arena_alloc(void *data, size_t n)
{
    struct arena *arena = data;
    struct arena_chunk *chunk = arena->chunks;
    size_t cap = n > ARENA_CHUNK_BYTES ? n : ARENA_CHUNK_BYTES;

    n = (n + 15u) & ~(size_t)15u;
    if (chunk == NULL || n > chunk->cap - chunk->used) {
        cap = (cap + 15u) & ~(size_t)15u;
        chunk = arena->total + cap <= ARENA_BYTES_MAX ? mq_malloc(sizeof(*chunk) + cap) : NULL;
        if (chunk == NULL) {
            return NULL;
        }
        *chunk = (struct arena_chunk){.next = arena->chunks, .cap = cap};
        arena->chunks = chunk;
        arena->total += cap;
    }
    chunk->used += n;
    return chunk->bytes + chunk->used - n;
}

static void arena_free(void *data, void *at)
{
    (void)data;
    (void)at; /* everything goes with the arena */
}

static void arena_fini(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *next = arena->chunks->next;

        mq_free(arena->chunks);
        arena->chunks = next;
    }
}

int state_restore_rows(struct state *state, uint16_t id, const uint8_t *rows, size_t n, struct mq_buf *problem)
{
    const struct state_section *section = find_section(id);
    struct arena arena = {.allocator = {arena_alloc, arena_free, &arena}};
    ProtobufCMessage *message;
    int rc;

    MQ_ASSERT(section != NULL); /* begin has looked */
    message = protobuf_c_message_unpack(section->rows, &arena.allocator, n, rows);
    if (message == NULL) {
        rc = MQ_EBADMSG;
    } else if (state_has_unknown_fields(message)) {
        rc = MQ_EVERSION;
    } else {
        rc = section->restore(state, message);
    }
    arena_fini(&arena);
    if (rc != 0) {
        (void)mq_buf_printf(problem, "the snapshot of entry %" PRIu64 ", section %s: %s", state->restored_index,
                            section->name, mq_strerror(rc));
    }
    return rc;
}

int state_restore_end(struct state *state, struct mq_buf *problem)
{
    int rc = store_restore_end(state->store);

    if (rc != 0) {
        (void)mq_buf_printf(problem, "consume queues: %s", mq_strerror(rc));
        return rc;
    }
    state->applied_index = state->restored_index;
    return 0;
}
