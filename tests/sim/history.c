#include "tests/sim/history.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/protocol/record.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BODY_HEAD_BYTES 16u
#define OPS_IN_BLOCK 1024u
#define BLOCKS_MAX 1024u

/* A topic between two deletions. */
struct life {
    uint64_t begin; /* position of the deletion in front of it; 0 */
    uint64_t ends[QUEUES];
    uint64_t *record_pos[QUEUES]; /* by offset */
};

/* An entry by index and term, in an open hash table. */
struct known {
    uint64_t index, term, pos;
    uint32_t crc, bytes;
};

static struct {
    struct op *blocks[BLOCKS_MAX];
    uint64_t ops;
    struct committed *log; /* [1 ... last] */
    uint64_t last, cap, end_pos, commands, records;
    struct life *lives[TOPICS];
    uint32_t n_lives[TOPICS]; /* the last one goes on */
    struct op *deletion;      /* its first item was met; the second comes next */
    uint64_t log_start;
    struct membership membership;
    uint64_t membership_index;
    int64_t offsets[GROUPS][TOPICS][QUEUES];
    struct known *known;
    uint64_t known_n, known_cap;
} h;

/* Outside of any process, or in the world's memory. */
static void begin_life(uint32_t topic, uint64_t pos)
{
    h.lives[topic] = realloc(h.lives[topic], (h.n_lives[topic] + 1) * sizeof(struct life));
    h.lives[topic][h.n_lives[topic]++] = (struct life){.begin = pos};
}

/* The life that goes on. */
static struct life *life_now(uint32_t topic)
{
    return &h.lives[topic][h.n_lives[topic] - 1];
}

/* The life that goes on where the log has been applied up to @applied. */
static const struct life *life_at(uint32_t topic, uint64_t applied)
{
    uint32_t i = h.n_lives[topic] - 1;

    while (i != 0 && h.lives[topic][i].begin >= applied) {
        i--;
    }
    return &h.lives[topic][i];
}

void history_reset(void)
{
    for (uint32_t i = 0; i < BLOCKS_MAX && h.blocks[i] != NULL; i++) {
        free(h.blocks[i]);
    }
    for (uint32_t t = 0; t < TOPICS; t++) {
        for (uint32_t i = 0; i < h.n_lives[t] * QUEUES; i++) {
            free(h.lives[t][i / QUEUES].record_pos[i % QUEUES]);
        }
        free(h.lives[t]);
    }
    free(h.log);
    free(h.known);
    memset(&h, 0, sizeof(h));
    memset(h.offsets, 0xFF, sizeof(h.offsets));
    for (uint32_t t = 0; t < TOPICS; t++) {
        begin_life(t, 0);
    }
}

/* ---- operations ---- */

struct op *history_op_new(void)
{
    uint64_t block = h.ops / OPS_IN_BLOCK;
    struct op *op;

    if (block >= BLOCKS_MAX) {
        world_fail("harness: too many operations");
        return NULL;
    }
    if (h.blocks[block] == NULL) {
        struct process *before = world_outside_begin();

        h.blocks[block] = calloc(OPS_IN_BLOCK, sizeof(h.blocks[block][0]));
        world_outside_end(before);
    }
    op = &h.blocks[block][h.ops % OPS_IN_BLOCK];
    op->id = ++h.ops;
    return op;
}

struct op *history_op(uint64_t id)
{
    return id >= 1 && id <= h.ops ? &h.blocks[(id - 1) / OPS_IN_BLOCK][(id - 1) % OPS_IN_BLOCK] : NULL;
}

uint64_t history_ops(void)
{
    return h.ops;
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

/* ---- the committed log ---- */

uint64_t history_last(void)
{
    return h.last;
}

uint64_t history_end_pos(void)
{
    return h.end_pos;
}

const struct committed *history_at(uint64_t index)
{
    return &h.log[index];
}

uint64_t history_commands(void)
{
    return h.commands;
}

uint64_t history_records(void)
{
    return h.records;
}

uint64_t history_queue_end(uint32_t topic, uint32_t queue)
{
    return life_now(topic)->ends[queue];
}

const struct membership *history_membership(void)
{
    return &h.membership;
}

uint64_t history_membership_index(void)
{
    return h.membership_index;
}

uint64_t history_log_start(void)
{
    return h.log_start;
}

uint64_t history_record_pos(uint32_t topic, uint32_t queue, uint64_t qoff, uint64_t applied)
{
    return life_at(topic, applied)->record_pos[queue][qoff];
}

uint64_t history_records_below(uint32_t topic, uint32_t queue, uint64_t pos, uint64_t applied)
{
    const struct life *life = life_at(topic, applied);
    uint64_t low = 0, high = life->ends[queue];

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (life->record_pos[queue][middle] < pos) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

int64_t history_offset(uint32_t group, uint32_t topic, uint32_t queue)
{
    return h.offsets[group][topic][queue];
}

static void reserve_log(void)
{
    if (h.last + 1 >= h.cap) {
        struct process *before = world_outside_begin();

        h.cap = h.cap == 0 ? 4096 : h.cap * 2;
        h.log = realloc(h.log, h.cap * sizeof(h.log[0]));
        world_outside_end(before);
    }
}

/* An operation (or one part of it) is in the log at @index. NULL: it may not be. */
static struct op *commit_op(uint64_t id, uint64_t index)
{
    struct op *op = history_op(id);

    if (op == NULL) {
        world_fail("I4 entry %" PRIu64 ": an operation %" PRIu64 " that nobody asked for", index, id);
        return NULL;
    }
    if (op->outcome == OP_REFUSED) {
        world_fail("refused-but-committed: operation %" PRIu64 " was refused with %s and is in entry %" PRIu64, id,
                   mq_strerror(op->status), index);
        return NULL;
    }
    if (op->parts_committed >= op->parts) {
        world_fail("exactly-once: operation %" PRIu64 " is in entry %" PRIu64 " and again in entry %" PRIu64, id,
                   op->index, index);
        return NULL;
    }
    if (op->parts_committed == 0) {
        op->index = index;
    }
    op->parts_committed++;
    if (op->outcome == OP_UNKNOWN && op->parts_committed == 1) {
        mark(MARK_UNSURE_COMMITTED);
    }
    return op;
}

/* Grows when the number of records reaches a power of two. */
static void note_record(uint32_t topic, uint32_t queue, uint64_t pos)
{
    uint64_t n = life_now(topic)->ends[queue]++;
    uint64_t **list = &life_now(topic)->record_pos[queue];

    if ((n & (n - 1)) == 0) {
        *list = realloc(*list, (n == 0 ? 1 : 2 * n) * sizeof(**list));
    }
    (*list)[n] = pos;
    h.records++;
}

static void commit_record(const struct rlog_header *header, const struct command_block *block)
{
    static uint8_t want[OP_BODY_MAX]; /* too large for a fiber's stack */
    struct proto_record record;
    uint64_t id = 0, pos = header->pos + RLOG_HEADER_BYTES + block->at;
    uint32_t part = 0;
    struct op *op;

    if (proto_record_decode(block->body, block->body_bytes, &record) != 0 || record.body.len < BODY_HEAD_BYTES ||
        record.body.len > OP_BODY_MAX) {
        world_fail("I3 entry %" PRIu64 ": a record that does not decode", header->index);
        return;
    }
    memcpy(&id, record.body.at, 8);
    memcpy(&part, record.body.at + 8, 4);
    op = commit_op(id, header->index);
    if (op == NULL) {
        return;
    }
    if ((op->kind != OP_SEND && op->kind != OP_BATCH) || part != op->parts_committed - 1 ||
        record.body.len != op->body_bytes || (uint32_t)record.queue_id != op->queue) {
        world_fail("order: entry %" PRIu64 " has part %u of operation %" PRIu64 " where part %u belongs",
                   header->index, part, id, op->parts_committed - 1);
        return;
    }
    history_body(op, part, want);
    if (memcmp(want, record.body.at, op->body_bytes) != 0) {
        world_fail("I3 entry %" PRIu64 ": the body of operation %" PRIu64 " has changed", header->index, id);
        return;
    }
    if ((uint64_t)record.pos != pos) {
        world_fail("I3 entry %" PRIu64 ": a record at position %" PRIu64 " says %" PRId64, header->index, pos,
                   record.pos);
        return;
    }
    if ((uint64_t)record.qoff != history_queue_end(op->topic, op->queue)) {
        world_fail("qoff: entry %" PRIu64 ": topic %u queue %u has offset %" PRId64 " where %" PRIu64 " is next",
                   header->index, op->topic, op->queue, record.qoff, history_queue_end(op->topic, op->queue));
        return;
    }
    note_record(op->topic, op->queue, pos);
    if (part == 0) {
        op->committed_qoff = (uint64_t)record.qoff;
        op->committed_pos = pos;
    }
}

static uint64_t number_in(const char *text)
{
    return strtoull(text + 1, NULL, 10);
}

static void commit_log_start(const struct rlog_header *header, uint64_t pos)
{
    if (pos > header->pos) {
        world_fail("retention: entry %" PRIu64 " at position %" PRIu64 " drops what lies below %" PRIu64,
                   header->index, header->pos, pos);
    }
    h.log_start = pos > h.log_start ? pos : h.log_start;
}

/* Two items: the first deletes a topic that says by its name which operation it is, the second what it asked for. */
static void commit_deletion(const struct rlog_header *header, const struct command_block *block, const char *name)
{
    struct op *op = h.deletion;

    if (name[0] == 'd') {
        h.deletion = commit_op(number_in(name), header->index);
        return;
    }
    h.deletion = NULL;
    if (op == NULL || op->kind != OP_DELETE || op->index != header->index || number_in(name) != op->topic) {
        world_fail("order: entry %" PRIu64 " deletes %s, which nobody asked for", header->index, name);
        return;
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        if (history_queue_end(op->topic, i) != 0) {
            mark(MARK_TOPIC_DELETED);
        }
    }
    begin_life(op->topic, header->pos + RLOG_HEADER_BYTES + block->at);
    for (uint32_t g = 0; g < GROUPS; g++) {
        memset(h.offsets[g][op->topic], 0xFF, sizeof(h.offsets[g][op->topic]));
    }
}

static void commit_item(const struct rlog_header *header, const struct command_block *block)
{
    static const ProtobufCMessageDescriptor *const kinds[] = {
        [COMMAND_TOPIC_PUT] = &raftmq__topic_put__descriptor,
        [COMMAND_OFFSET_COMMIT] = &raftmq__offset_commit__descriptor,
        [COMMAND_LOCK_GRANT] = &raftmq__lock_grant__descriptor,
        [COMMAND_LOCK_RELEASE] = &raftmq__lock_release__descriptor,
        [COMMAND_LOG_START] = &raftmq__log_start__descriptor,
        [COMMAND_TOPIC_DELETE] = &raftmq__topic_delete__descriptor,
    };
    ProtobufCMessage *message = NULL;
    struct op *op = NULL;

    if (block->type < sizeof(kinds) / sizeof(kinds[0]) && kinds[block->type] != NULL) {
        message = protobuf_c_message_unpack(kinds[block->type], NULL, block->body_bytes, block->body);
    }
    if (message == NULL) {
        world_fail("I3 entry %" PRIu64 ": an item that does not decode", header->index);
        return;
    }
    switch (block->type) {
    case COMMAND_TOPIC_PUT:
        op = commit_op(((Raftmq__TopicPut *)message)->config->sys_flag, header->index);
        break;
    case COMMAND_OFFSET_COMMIT:
        op = commit_op(history_id_of_offset(((Raftmq__OffsetCommit *)message)->offset), header->index);
        if (op != NULL) {
            h.offsets[op->group][op->topic][op->queue] = ((Raftmq__OffsetCommit *)message)->offset;
        }
        break;
    case COMMAND_LOG_START: /* nobody asked for it */
        commit_log_start(header, ((Raftmq__LogStart *)message)->pos);
        break;
    case COMMAND_TOPIC_DELETE:
        commit_deletion(header, block, ((Raftmq__TopicDelete *)message)->name);
        break;
    case COMMAND_LOCK_GRANT:
        op = commit_op(number_in(((Raftmq__LockGrant *)message)->client_id), header->index);
        break;
    default: /* its client is the grant's, so it names itself as a second topic */
        op = commit_op(number_in(((Raftmq__LockRelease *)message)->queues[1]->topic), header->index);
        break;
    }
    (void)op;
    protobuf_c_message_free_unpacked(message, NULL);
}

void history_commit(const struct rlog_header *header, const uint8_t *payload, uint64_t seen_in)
{
    struct command_block block;
    struct process *before;
    uint32_t offset = 0;
    int rc = 0;

    reserve_log();
    before = world_outside_begin();
    h.last = header->index;
    h.end_pos = header->pos + rlog_entry_bytes(header->payload_bytes);
    h.log[h.last] = (struct committed){
        .term = header->term,
        .pos = header->pos,
        .crc = header->crc,
        .payload_crc = header->payload_crc,
        .bytes = rlog_entry_bytes(header->payload_bytes),
        .payload_bytes = header->payload_bytes,
        .command = header->type == RLOG_COMMAND ? h.last
                   : h.last > 1                 ? h.log[h.last - 1].command
                                                : 0,
        .seen_in = seen_in,
    };
    if (seen_in > header->term) {
        mark(MARK_OLD_TERM_COMMIT);
    }
    if (header->type == RLOG_CHANGE && membership_decode(payload, header->payload_bytes, &h.membership) != 0) {
        rc = -1;
    }
    h.membership_index = header->type == RLOG_CHANGE ? header->index : h.membership_index;
    if (header->type == RLOG_COMMAND) {
        h.commands++;
        while ((rc = command_next(payload, header->payload_bytes, &offset, &block)) == 1 && world_failure() == NULL) {
            if (block.is_record) {
                commit_record(header, &block);
            } else {
                commit_item(header, &block);
            }
        }
    }
    world_outside_end(before);
    if (rc < 0) {
        world_fail("I3 entry %" PRIu64 ": a payload that does not decode", header->index);
    }
}

/* ---- outcomes ---- */

void history_acked(struct op *op)
{
    if (op->parts_committed != op->parts) {
        world_fail("lost: operation %" PRIu64 " was acknowledged with %u of %u parts committed", op->id,
                   op->parts_committed, op->parts);
        return;
    }
    if ((op->kind == OP_SEND || op->kind == OP_BATCH) &&
        (op->qoff != op->committed_qoff || op->pos != op->committed_pos)) {
        world_fail("I7 operation %" PRIu64 ": acknowledged with offset %" PRIu64 " at %" PRIu64
                   ", committed with %" PRIu64 " at %" PRIu64,
                   op->id, op->qoff, op->pos, op->committed_qoff, op->committed_pos);
    }
}

void history_check_end(void)
{
    for (uint64_t id = 1; id <= h.ops && world_failure() == NULL; id++) {
        struct op *op = history_op(id);

        if (op->outcome == OP_ACKED) {
            history_acked(op);
        } else if (op->parts_committed != 0 && op->parts_committed != op->parts) {
            world_fail("batch: operation %" PRIu64 " was committed with %u of %u parts", id, op->parts_committed,
                       op->parts);
        } else if (op->outcome == OP_UNKNOWN && op->parts_committed == 0) {
            mark(MARK_UNSURE_LOST);
        }
    }
}

/* ---- same index and term, same bytes ---- */

static struct known *known_slot(uint64_t index, uint64_t term)
{
    uint64_t at = (index * 0x9E3779B97F4A7C15u ^ term * 0xBF58476D1CE4E5B9u) >> 20;

    for (;; at++) {
        struct known *known = &h.known[at & (h.known_cap - 1)];

        if (known->index == 0 || (known->index == index && known->term == term)) {
            return known;
        }
    }
}

static void grow_known(void)
{
    struct process *before = world_outside_begin();
    struct known *old = h.known;
    uint64_t n = h.known_cap;

    h.known_cap = n == 0 ? 8192 : n * 2;
    h.known = calloc(h.known_cap, sizeof(h.known[0]));
    for (uint64_t i = 0; i < n; i++) {
        if (old[i].index != 0) {
            *known_slot(old[i].index, old[i].term) = old[i];
        }
    }
    free(old);
    world_outside_end(before);
}

bool history_same(const struct rlog_header *header)
{
    struct known *known;

    if (h.known_n * 2 >= h.known_cap) {
        grow_known();
    }
    known = known_slot(header->index, header->term);
    if (known->index == 0) {
        h.known_n++;
        *known = (struct known){header->index, header->term, header->pos, header->crc,
                                rlog_entry_bytes(header->payload_bytes)};
    }
    return known->pos == header->pos && known->crc == header->crc &&
           known->bytes == rlog_entry_bytes(header->payload_bytes);
}
