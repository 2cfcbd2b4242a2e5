/* The state as sections of a snapshot, into one and out of one; and the hash of queue ends, which changes with every
 * message and is therefore counted only when someone asks: queues that changed are kept in a list. */
#include "broker/state/fsm.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/fingerprint.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>

enum section_id {
    SECTION_TOPICS = 1,
    SECTION_GROUPS = 2,
    SECTION_OFFSETS = 3,
    SECTION_LOCKS = 4,
    SECTION_QUEUES = 5,
    SECTION_LOG = 6
};

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

static void queues_begin(struct state *state, struct rlog_sink *sink)
{
    const Raftmq__QueueRows head = RAFTMQ__QUEUE_ROWS__INIT;

    table_copy_begin(&state->queue_copy, SECTION_QUEUES, sink, &head.base, state->store->queues.by_topic);
    state->queue_next = 0;
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
            row->end > state->store->restore_end_pos) {
            return MQ_EBADMSG;
        }
        topic = queue_table_topic(table, mq_str_of(row->topic));
        rc = topic != NULL ? topic_queues_get(table, topic, (int32_t)row->queue_id, &queue) : MQ_ENOMEM;
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

static void put_log(struct rlog_sink *sink, const struct state *state)
{
    Raftmq__LogRows rows = RAFTMQ__LOG_ROWS__INIT;
    uint8_t bytes[64];
    size_t n;

    rows.start_pos = state->log_start_pos;
    rows.first_store_ms = state->first_store_ms;
    MQ_ASSERT(raftmq__log_rows__get_packed_size(&rows) <= sizeof(bytes));
    n = raftmq__log_rows__pack(&rows, bytes);
    (void)rlog_sink_put(sink, SECTION_LOG, bytes, n);
}

static int restore_log(struct state *state, const ProtobufCMessage *message)
{
    const Raftmq__LogRows *rows = (const Raftmq__LogRows *)message;

    state->log_start_pos = rows->start_pos;
    state->first_store_ms = rows->first_store_ms;
    return 0;
}

static uint64_t log_hash(const struct state *state)
{
    uint64_t h = fingerprint_u64(FINGERPRINT_START, state->log_start_pos);

    return fingerprint_end(fingerprint_u64(h, (uint64_t)state->first_store_ms));
}

/* --- the tables --- */

static bool topics_step(struct state *state)
{
    return topic_table_copy_step(&state->topics);
}

static bool groups_step(struct state *state)
{
    return group_table_copy_step(&state->groups);
}

static bool offsets_step(struct state *state)
{
    return !RAFTMQ_DEFECT(SNAPSHOT_WITHOUT_OFFSETS) && offset_table_copy_step(&state->offsets);
}

static bool locks_step(struct state *state)
{
    return lock_table_copy_step(&state->locks);
}

static bool nothing_left(struct state *state)
{
    (void)state;
    return false;
}

static int restore_topics(struct state *state, const ProtobufCMessage *rows)
{
    return topic_table_restore(&state->topics, (const Raftmq__TopicRows *)rows);
}

static int restore_groups(struct state *state, const ProtobufCMessage *rows)
{
    return group_table_restore(&state->groups, (const Raftmq__GroupRows *)rows);
}

static int restore_offsets(struct state *state, const ProtobufCMessage *rows)
{
    return offset_table_restore(&state->offsets, (const Raftmq__OffsetRows *)rows);
}

static int restore_locks(struct state *state, const ProtobufCMessage *rows)
{
    return lock_table_restore(&state->locks, (const Raftmq__LockRows *)rows);
}

static const struct section_kind {
    uint16_t id, version;
    uint32_t level;
    const char *name;
    const ProtobufCMessageDescriptor *rows;
    bool (*step)(struct state *state);
    int (*restore)(struct state *state, const ProtobufCMessage *rows);
} kinds[STATE_SECTIONS] = {
    {SECTION_TOPICS, 1, 1, "topics", &raftmq__topic_rows__descriptor, topics_step, restore_topics},
    {SECTION_GROUPS, 1, 1, "groups", &raftmq__group_rows__descriptor, groups_step, restore_groups},
    {SECTION_OFFSETS, 1, 1, "offsets", &raftmq__offset_rows__descriptor, offsets_step, restore_offsets},
    {SECTION_LOCKS, 1, 1, "locks", &raftmq__lock_rows__descriptor, locks_step, restore_locks},
    {SECTION_QUEUES, 1, 1, "queues", &raftmq__queue_rows__descriptor, queues_step, restore_queues},
    {SECTION_LOG, 1, 1, "log", &raftmq__log_rows__descriptor, nothing_left, restore_log},
};

uint32_t state_sections(struct state *state, struct rlog_section out[RLOG_SECTIONS_MAX])
{
    const uint64_t hashes[STATE_SECTIONS] = {
        topic_table_hash(&state->topics), group_table_hash(&state->groups), offset_table_hash(&state->offsets),
        lock_table_hash(&state->locks),   state_ends_hash(state),           log_hash(state)};

    for (uint32_t i = 0; i < STATE_SECTIONS; i++) {
        out[i] = (struct rlog_section){kinds[i].id, kinds[i].version, kinds[i].level, hashes[i], kinds[i].name};
    }
    return STATE_SECTIONS;
}

/* --- taking one --- */

void state_snapshot_begin(struct state *state, struct rlog_sink *sink)
{
    topic_table_copy_begin(&state->topics, SECTION_TOPICS, sink);
    group_table_copy_begin(&state->groups, SECTION_GROUPS, sink);
    offset_table_copy_begin(&state->offsets, SECTION_OFFSETS, sink);
    lock_table_copy_begin(&state->locks, SECTION_LOCKS, sink);
    queues_begin(state, sink);
    put_log(sink, state);
    state->store->queues.epoch++; /* the first change of each queue is to be told */
    state->copying = 0;
}

int state_snapshot_more(struct state *state)
{
    if (!kinds[state->copying].step(state)) {
        state->copying++;
    }
    return state->copying < STATE_SECTIONS;
}

void state_snapshot_end(struct state *state)
{
    table_copy_end(&state->topics.copy);
    table_copy_end(&state->groups.copy);
    table_copy_end(&state->offsets.copy);
    table_copy_end(&state->locks.copy);
    table_copy_end(&state->queue_copy);
}

/* --- loading one --- */

static const struct section_kind *find_kind(uint16_t id)
{
    for (uint32_t i = 0; i < STATE_SECTIONS; i++) {
        if (kinds[i].id == id) {
            return &kinds[i];
        }
    }
    return NULL;
}

static void forget_end(void *data, struct queue *queue)
{
    (void)data;
    queue->changed = false;
    queue->hashed_end = 0;
}

static void clear(struct state *state)
{
    state_snapshot_end(state);
    topic_table_clear(&state->topics);
    group_table_clear(&state->groups);
    offset_table_clear(&state->offsets);
    lock_table_clear(&state->locks);
    queue_table_walk(&state->store->queues, forget_end, NULL);
    state->changed = NULL;
    state->ends_sum = 0;
    state->store->queues.epoch++;
    state->log_start_pos = 0;
    state->first_store_ms = 0;
    state->last_topic = NULL;
}

int state_restore_begin(struct state *state, const struct rlog_entry *entry, uint32_t crc,
                        const struct rlog_section *sections, uint32_t n, struct mq_buf *problem)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct section_kind *kind = find_kind(sections[i].id);

        if (kind == NULL || sections[i].version > kind->version) {
            (void)mq_buf_printf(problem,
                                "the snapshot of entry %" PRIu64 " has section %u in version %u, which needs feature "
                                "level %" PRIu32 "; this program has level %u",
                                entry->index, (unsigned)sections[i].id, (unsigned)sections[i].version,
                                sections[i].level, FEATURE_LEVEL);
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

int state_restore_rows(struct state *state, uint16_t section, const uint8_t *rows, size_t n, struct mq_buf *problem)
{
    const struct section_kind *kind = find_kind(section);
    struct arena arena = {.allocator = {arena_alloc, arena_free, &arena}};
    ProtobufCMessage *message;
    int rc;

    MQ_ASSERT(kind != NULL); /* begin has looked */
    message = protobuf_c_message_unpack(kind->rows, &arena.allocator, n, rows);
    if (message == NULL) {
        rc = MQ_EBADMSG;
    } else if (state_has_unknown_fields(message)) {
        rc = MQ_EVERSION;
    } else {
        rc = kind->restore(state, message);
    }
    arena_fini(&arena);
    if (rc != 0) {
        (void)mq_buf_printf(problem, "the snapshot of entry %" PRIu64 ", section %s: %s", state->restored_index,
                            kind->name, mq_strerror(rc));
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
