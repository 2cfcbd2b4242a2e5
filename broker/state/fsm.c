/* One walk over an entry's blocks. A record goes to the store under its own topic's queues; an item to the table that
 * its type names. What cannot be stops the process: going on would let this member's state part from the others'. */
#include "broker/state/fsm.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/items.h"
#include "broker/state/pending_items.h"
#include "remoting/base/clock.h"
#include "remoting/base/crc.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/protocol/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_TEXT_MAX 512

int state_init(struct state *state, struct store *store)
{
    *state = (struct state){.store = store};
    topic_table_init(&state->topics, &store->queues);
    group_table_init(&state->groups);
    offset_table_init(&state->offsets);
    lock_table_init(&state->locks);
    half_table_init(&state->halves);
    pending_table_init(&state->pending);
    pop_table_init(&state->pops);
    order_table_init(&state->orders);
    deleted_table_init(&state->deleted);
    reset_table_init(&state->resets);
    mode_table_init(&state->modes);
    forbidden_table_init(&state->forbidden);
    store->queues.changing = state_queue_changing;
    store->queues.changing_data = state;
    return 0;
}

void state_fini(struct state *state)
{
    table_copy_end(&state->queue_copy);
    topic_table_fini(&state->topics);
    group_table_fini(&state->groups);
    offset_table_fini(&state->offsets);
    lock_table_fini(&state->locks);
    half_table_fini(&state->halves);
    pending_table_fini(&state->pending);
    pop_table_fini(&state->pops);
    order_table_fini(&state->orders);
    row_table_clear(&state->deleted.rows);
    row_table_clear(&state->resets.rows);
    row_table_clear(&state->modes.rows);
    row_table_clear(&state->forbidden.rows);
}

/* --- items --- */

static int on_lock_grant(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    (void)scope;
    return lock_table_grant(&state->locks, (const Raftmq__LockGrant *)message);
}

static int on_lock_release(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    (void)scope;
    lock_table_release(&state->locks, (const Raftmq__LockRelease *)message);
    return 0;
}

static int on_log_start(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope)
{
    uint64_t pos = ((const Raftmq__LogStart *)message)->pos;

    (void)scope;
    if (pos > state->log_start_pos) {
        state->log_start_pos = pos;
        deleted_table_trim(&state->deleted, pos);
        if (state->news.log_start_moved != NULL) {
            state->news.log_start_moved(state->news.data, pos);
        }
    }
    return 0;
}

/* Items by type. */
static const struct item_kind {
    const ProtobufCMessageDescriptor *descriptor;
    apply_item_fn apply;
} item_kinds[] = {
    [COMMAND_TOPIC_PUT] = {&raftmq__topic_put__descriptor, apply_topic_put},
    [COMMAND_GROUP_PUT] = {&raftmq__group_put__descriptor, apply_group_put},
    [COMMAND_OFFSET_COMMIT] = {&raftmq__offset_commit__descriptor, apply_offset_commit},
    [COMMAND_LOCK_GRANT] = {&raftmq__lock_grant__descriptor, on_lock_grant},
    [COMMAND_LOCK_RELEASE] = {&raftmq__lock_release__descriptor, on_lock_release},
    [COMMAND_LOG_START] = {&raftmq__log_start__descriptor, on_log_start},
    [COMMAND_TOPIC_DELETE] = {&raftmq__topic_delete__descriptor, apply_topic_delete},
    [COMMAND_GROUP_DELETE] = {&raftmq__group_delete__descriptor, apply_group_delete},
    [COMMAND_OFFSETS_RESET] = {&raftmq__offsets_reset__descriptor, apply_offsets_reset},
    [COMMAND_OFFSETS_CLONE] = {&raftmq__offsets_clone__descriptor, apply_offsets_clone},
    [COMMAND_REQUEST_MODE_PUT] = {&raftmq__request_mode_put__descriptor, apply_request_mode_put},
    [COMMAND_GROUP_FORBIDDEN] = {&raftmq__group_forbidden__descriptor, apply_group_forbidden},
    [COMMAND_RESET_TAKEN] = {&raftmq__reset_taken__descriptor, apply_reset_taken},
    [COMMAND_HALF_PUT] = {&raftmq__half_put__descriptor, half_apply_put},
    [COMMAND_HALF_END] = {&raftmq__half_end__descriptor, half_apply_end},
    [COMMAND_HALF_CHECKED] = {&raftmq__half_checked__descriptor, half_apply_checked},
    [COMMAND_HALF_MOVE] = {&raftmq__half_move__descriptor, half_apply_move},
    [COMMAND_PENDING_PUT] = {&raftmq__pending_put__descriptor, pending_apply_put},
    [COMMAND_PENDING_END] = {&raftmq__pending_end__descriptor, pending_apply_end},
    [COMMAND_PENDING_MOVE] = {&raftmq__pending_move__descriptor, pending_apply_move},
    [COMMAND_POP_TAKE] = {&raftmq__pop_take__descriptor, pop_apply_take},
    [COMMAND_POP_ACK] = {&raftmq__pop_ack__descriptor, pop_apply_ack},
    [COMMAND_POP_CHANGE] = {&raftmq__pop_change__descriptor, pop_apply_change},
    [COMMAND_POP_REVIVE] = {&raftmq__pop_revive__descriptor, pop_apply_revive},
    [COMMAND_ORDER_TAKE] = {&raftmq__order_take__descriptor, order_apply_take},
    [COMMAND_ORDER_ACK] = {&raftmq__order_ack__descriptor, order_apply_ack},
    [COMMAND_ORDER_CHANGE] = {&raftmq__order_change__descriptor, order_apply_change},
};

static void *heap_alloc(void *data, size_t bytes)
{
    (void)data;
    return mq_malloc(bytes);
}

static void heap_free(void *data, void *ptr)
{
    (void)data;
    mq_free(ptr);
}

static ProtobufCAllocator heap_allocator = {heap_alloc, heap_free, NULL};

/* The message fields of @message that @field describes; none when it is of another kind. */
static bool field_has_unknown(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const uint8_t *at = (const uint8_t *)message + field->offset;

    if (field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return false;
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t n = *(const size_t *)(const void *)((const uint8_t *)message + field->quantifier_offset);
        ProtobufCMessage *const *parts = *(ProtobufCMessage *const *const *)(const void *)at;

        for (size_t i = 0; i < n; i++) {
            if (state_has_unknown_fields(parts[i])) {
                return true;
            }
        }
        return false;
    }
    message = *(ProtobufCMessage *const *)(const void *)at;
    return message != NULL && state_has_unknown_fields(message);
}

/* A field from a later version would be lost here and kept elsewhere. */
bool state_has_unknown_fields(const ProtobufCMessage *message)
{
    if (message->n_unknown_fields != 0) {
        return true;
    }
    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        if (field_has_unknown(message, &message->descriptor->fields[i])) {
            return true;
        }
    }
    return false;
}

static int apply_item(struct state *state, const struct command_block *block, const struct apply_scope *scope)
{
    const struct item_kind *kind = &item_kinds[0];
    ProtobufCMessage *message;
    int rc;

    if (block->type < sizeof(item_kinds) / sizeof(item_kinds[0])) {
        kind = &item_kinds[block->type];
    }
    if (kind->apply == NULL || block->level > FEATURE_LEVEL) {
        return MQ_EUNSUPPORTED;
    }
    message = protobuf_c_message_unpack(kind->descriptor, &heap_allocator, block->body_bytes, block->body);
    if (message == NULL) {
        return MQ_EBADMSG;
    }
    rc = state_has_unknown_fields(message) ? MQ_EUNSUPPORTED : kind->apply(state, message, scope);
    protobuf_c_message_free_unpacked(message, &heap_allocator);
    return rc;
}

/* --- records --- */

/* The queues of the record's topic. */
static int find_queues(struct state *state, const struct command_block *block, struct topic_queues **out)
{
    struct mq_str topic = proto_record_topic(block->body, block->body_bytes);
    struct topic_queues *queues = state->last_topic;

    if (topic.at == NULL) {
        return MQ_EBADMSG;
    }
    if (queues == NULL || !mq_str_eq((struct mq_str){queues->topic, queues->topic_bytes}, topic)) {
        queues = queue_table_topic(&state->store->queues, topic);
        if (queues == NULL) {
            return MQ_ENOMEM;
        }
        state->last_topic = queues;
    }
    *out = queues;
    return 0;
}

/* @out: for the items behind it. */
static int apply_record(struct state *state, const struct command_block *block, uint64_t entry_pos,
                        struct applied_record *out)
{
    struct topic_queues *queues;
    int rc = find_queues(state, block, &queues);

    if (rc != 0) {
        return rc;
    }
    out->at = block->body;
    out->bytes = block->body_bytes;
    out->pos = entry_pos + block->at;
    out->queues = queues;
    return store_index(state->store, queues, block->body, block->body_bytes, out->pos);
}

/* --- entries --- */

#define CACHE_LINE_BYTES 64u
#define TAIL_BYTES 256u /* topic and properties of most records */

/* A record is read at its head and at its tail, and neither is in the cache: so those of the block at @offset, which
 * comes next, are asked for, and the head of the one behind it, whose place is known only from there. */
static void prefetch_next(const struct rlog_entry *entry, uint32_t offset)
{
    const uint8_t *block = entry->payload + offset;
    uint32_t left = entry->payload_bytes - offset;
    uint32_t bytes = left >= COMMAND_HEAD_BYTES ? mq_be32_load(block) : 0;

    if (bytes > left) {
        return; /* command_next will say so */
    }
    for (uint32_t at = bytes > TAIL_BYTES ? bytes - TAIL_BYTES : 0; at < bytes; at += CACHE_LINE_BYTES) {
        __builtin_prefetch(block + at);
    }
    __builtin_prefetch(block + bytes);
    __builtin_prefetch(block + bytes + CACHE_LINE_BYTES);
}

/* The entry was good when it came in or when the log was opened. Bytes that changed since, on the disk or in memory,
 * are this member's own: it ends as for a disk that fails, and its next start reads the log again and has what is bad
 * brought by another member. */
_Noreturn static void stop_damaged(const struct state *state, const struct rlog_entry *entry, uint32_t at,
                                   const char *what)
{
    char path[PATH_TEXT_MAX] = "";

    rlog_segment_path(state->store->log, entry->pos, path, sizeof(path));
    mq_log_error("state",
                 "%s: the bytes of entry %" PRIu64 " at position %" PRIu64
                 " are not those that were written there, found at the %s at position %" PRIu64 "; the node stops",
                 path, entry->index, entry->pos, what, entry->pos + at);
    _exit(1);
}

static bool is_damaged(const struct state *state, const struct rlog_entry *entry)
{
    return state->store->log != NULL && entry->payload_crc != 0 &&
           mq_crc32c(0, entry->payload, entry->payload_bytes) != entry->payload_crc;
}

/* Every member meets the same: there is nothing to go on with. */
_Noreturn static void stop(const struct state *state, const struct rlog_entry *entry, uint32_t at, const char *what,
                           int rc)
{
    if (is_damaged(state, entry)) {
        stop_damaged(state, entry, at, what);
    }
    mq_log_error("state",
                 "entry index=%" PRIu64 " term=%" PRIu64 " pos=%" PRIu64 " at=%" PRIu32 ": %s: %s; this member stops",
                 entry->index, entry->term, entry->pos, at, what, mq_strerror(rc));
    abort();
}

/* The system lacks something: not what the entry says is at fault, and the node can go on from here another time. */
static bool is_lack(int rc)
{
    return rc >= MQ_ENOMEM; /* the codes of the system lie above ours */
}

/* @block describes what was applied; @rc why it could not be. */
_Noreturn static void stop_at(const struct state *state, const struct rlog_entry *entry,
                              const struct command_block *block, int rc)
{
    char what[32];

    if (is_lack(rc)) {
        mq_log_error("state",
                     "entry index=%" PRIu64
                     ": %s%s: %s; the node stops, and goes on with this entry when it is started "
                     "again",
                     entry->index, block->is_record ? "a queue below " : "an item",
                     block->is_record ? state->store->queue_dir : "", mq_strerror(rc));
        _exit(1);
    }
    if (block->is_record) {
        stop(state, entry, block->at, "record", rc);
    }
    snprintf(what, sizeof(what), "item of type %u", (unsigned)block->type);
    if (rc == MQ_EUNSUPPORTED && !is_damaged(state, entry)) {
        mq_log_error(
            "state", "item type %u needs feature level %" PRIu32 ", this program has level %u: a newer one is needed",
            (unsigned)block->type, block->level > FEATURE_LEVEL ? block->level : FEATURE_LEVEL + 1, FEATURE_LEVEL);
    }
    stop(state, entry, block->at, what, rc);
}

void state_apply(struct state *state, const struct rlog_entry *entry)
{
    struct applied_record record;
    struct apply_scope scope = {.entry = entry};
    struct command_block block;
    uint32_t offset = 0, records = 0, items = 0;
    int rc;

    if (entry->index <= state->applied_index) {
        stop(state, entry, 0, "applied before", MQ_ECORRUPT);
    }
    while ((rc = command_next(entry->payload, entry->payload_bytes, &offset, &block)) == 1) {
        prefetch_next(entry, offset);
        if (block.is_record) {
            rc = apply_record(state, &block, entry->pos, &record);
            scope.record = &record;
            records++;
        } else {
            scope.pos = entry->pos + block.at;
            rc = apply_item(state, &block, &scope);
            items++;
        }
        if (rc != 0) {
            stop_at(state, entry, &block, rc);
        }
    }
    if (rc != 0) {
        stop(state, entry, offset, "block", rc);
    }
    if (records != entry->records || items != entry->items) {
        stop(state, entry, offset, "counts of records and items", MQ_ECORRUPT);
    }
    state->records_applied += records;
    state->items_applied += items;
    state->applied_index = entry->index;
    if (state->first_store_ms == 0 && records != 0) {
        state->first_store_ms = entry->store_ms;
    }
}

/* Places of the records in the payload; the caller frees. Returns how many. */
static uint32_t find_records(const struct state *state, const struct rlog_entry *entry, struct command_block **out)
{
    struct command_block *blocks = mq_malloc((entry->records + 1) * sizeof(*blocks));
    uint32_t offset = 0, n = 0;
    int rc = blocks != NULL ? 1 : MQ_ENOMEM;

    while (rc == 1) {
        rc = command_next(entry->payload, entry->payload_bytes, &offset, &blocks[n]);
        if (rc == 1 && blocks[n].is_record && n++ == entry->records) {
            rc = MQ_ECORRUPT;
        }
    }
    if (rc != 0 || n != entry->records) {
        stop(state, entry, offset, "block", rc != 0 ? rc : MQ_ECORRUPT);
    }
    *out = blocks;
    return n;
}

/* The log's beginning has moved meanwhile, and the queues' with it; or the topic was deleted behind the record. */
static bool is_left_out(const struct state *state, const struct command_block *block, uint64_t pos)
{
    if (pos < state->log_start_pos && !RAFTMQ_DEFECT(PUT_BELOW_BEGINNING)) {
        return true;
    }
    return !RAFTMQ_DEFECT(DELETED_PUT_AGAIN) &&
           state_record_is_deleted(state, proto_record_topic(block->body, block->body_bytes), pos);
}

void state_apply_before(struct state *state, const struct rlog_entry *entry)
{
    struct command_block *blocks;
    uint32_t n = find_records(state, entry, &blocks);

    if (entry->index + 1 != state->store->held_index) {
        stop(state, entry, 0, "not the entry in front", MQ_ECORRUPT);
    }
    while (n-- != 0) {
        struct topic_queues *queues;
        int rc;

        if (is_left_out(state, &blocks[n], entry->pos + blocks[n].at)) {
            continue;
        }
        rc = find_queues(state, &blocks[n], &queues);
        if (rc == 0) {
            rc = store_index_before(state->store, queues, blocks[n].body, blocks[n].body_bytes,
                                    entry->pos + blocks[n].at);
        }
        if (rc != 0) {
            stop_at(state, entry, &blocks[n], rc);
        }
    }
    mq_free(blocks);
    state->store->held_index = entry->index;
}
