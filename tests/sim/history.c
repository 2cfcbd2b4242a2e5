#include "tests/sim/history_inside.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/protocol/record.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A topic between two deletions. */
struct life {
    uint64_t begin; /* position of the deletion in front of it; 0 */
    uint64_t ends[QUEUES];
    uint64_t *record_pos[QUEUES]; /* by offset */
    uint64_t *messages[QUEUES];   /* the same: operation and part */
};

/* An entry by index and term, in an open hash table. */
struct known {
    uint64_t index, term, pos;
    uint32_t crc, bytes;
};

static struct {
    struct committed *log; /* [1 ... last] */
    uint64_t last, cap, end_pos, commands, records;
    struct life *lives[TOPICS_ALL];
    uint32_t n_lives[TOPICS_ALL]; /* the last one goes on */
    struct op *deletion;          /* its first item was met; the second comes next */
    bool made[TOPICS];            /* there is such a topic, ... */
    uint64_t made_in[TOPICS];     /* ... since that entry */
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
    for (uint32_t t = 0; t < TOPICS_ALL; t++) {
        for (uint32_t i = 0; i < h.n_lives[t] * QUEUES; i++) {
            free(h.lives[t][i / QUEUES].record_pos[i % QUEUES]);
            free(h.lives[t][i / QUEUES].messages[i % QUEUES]);
        }
        free(h.lives[t]);
    }
    free(h.log);
    free(h.known);
    memset(&h, 0, sizeof(h));
    memset(h.offsets, 0xFF, sizeof(h.offsets));
    ops_reset();
    halves_reset();
    pops_reset();
    orders_reset();
    for (uint32_t t = 0; t < TOPICS_ALL; t++) {
        begin_life(t, 0);
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

struct op *history_commit_op(uint64_t id, uint64_t index)
{
    struct op *op = history_op(id);

    if (op == NULL) {
        world_fail("I4 entry %" PRIu64 ": an operation %" PRIu64 " that nobody asked for", index, id);
        return NULL;
    }
    if (op->outcome == OP_REFUSED) {
        world_fail("refused-but-committed: operation %" PRIu64
                   " (kind %d) was refused with %s and is in entry %" PRIu64,
                   id, (int)op->kind, mq_strerror(op->status), index);
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
static void note_record(uint32_t topic, uint32_t queue, uint64_t pos, uint64_t message)
{
    uint64_t n = life_now(topic)->ends[queue]++;
    uint64_t **list = &life_now(topic)->record_pos[queue], **messages = &life_now(topic)->messages[queue];

    if ((n & (n - 1)) == 0) {
        *list = realloc(*list, (n == 0 ? 1 : 2 * n) * sizeof(**list));
        *messages = realloc(*messages, (n == 0 ? 1 : 2 * n) * sizeof(**messages));
    }
    (*list)[n] = pos;
    (*messages)[n] = message;
    h.records++;
}

const char *history_topic_name(uint32_t topic)
{
    static const char *const names[] = {"t0",
                                        "t1",
                                        "t2",
                                        "SCHEDULE_TOPIC_XXXX",
                                        "rmq_sys_wheel_timer",
                                        "RMQ_SYS_TRANS_HALF_TOPIC",
                                        "TRANS_CHECK_MAX_TIME_TOPIC",
                                        "%RETRY%p_t0",
                                        "%RETRY%p_t1",
                                        "%RETRY%p_t2",
                                        "%RETRY%g0",
                                        "%RETRY%g1",
                                        "%RETRY%g2",
                                        "%DLQ%g0",
                                        "%DLQ%g1",
                                        "%DLQ%g2"};

    return names[topic];
}

static int32_t topic_number(struct mq_str name)
{
    for (uint32_t t = 0; t < TOPICS_ALL; t++) {
        if (mq_str_eq(name, mq_str_of(history_topic_name(t)))) {
            return (int32_t)t;
        }
    }
    return -1;
}

static uint64_t message_of(const struct op *op, uint32_t part)
{
    return op->id << 8 | part;
}

uint64_t history_message(uint32_t topic, uint32_t queue, uint64_t qoff)
{
    return life_now(topic)->messages[queue][qoff];
}

/* Of its own, or a copy. */
static bool has_record(const struct op *op)
{
    return op->kind == OP_SEND || op->kind == OP_BATCH || op->kind == OP_WAIT || op->kind == OP_PREPARE ||
           op->kind == OP_BACK;
}

static void commit_record(const struct rlog_header *header, const struct command_block *block)
{
    static uint8_t want[OP_BODY_MAX]; /* too large for a fiber's stack */
    struct proto_record record;
    uint64_t id = 0, pos = header->pos + RLOG_HEADER_BYTES + block->at;
    uint32_t part = 0, queue;
    const struct op *body_of;
    int32_t topic;
    struct op *op;

    if (proto_record_decode(block->body, block->body_bytes, &record) != 0 || record.body.len < BODY_HEAD_BYTES ||
        record.body.len > OP_BODY_MAX) {
        world_fail("I3 entry %" PRIu64 ": a record that does not decode", header->index);
        return;
    }
    memcpy(&id, record.body.at, 8);
    memcpy(&part, record.body.at + 8, 4);
    topic = topic_number(record.topic);
    op = history_op(id);
    if (topic < 0 || (op == NULL && history_commit_op(id, header->index) == NULL)) {
        world_fail("I4 entry %" PRIu64 ": a record in a topic that nobody has used", header->index);
        return;
    }
    body_of = op;
    if (waits_is_copy(op, (uint32_t)topic)) {
        op = waits_owner(header, &record, op);
    }
    if (op == NULL) {
        return;
    }
    queue = op->queue;
    waits_rest();
    if (topic >= (int32_t)TOPIC_BACK) {
        queue = waits_copy(header, op, (uint32_t)topic);
    } else if (topic >= (int32_t)TOPIC_RETRY) {
        pops_copy(message_of(op, part));
        queue = 0;
    } else if (op->kind == OP_PREPARE) {
        halves_record(header, op, (uint32_t)topic, pos);
        queue = topic < (int32_t)TOPICS ? op->queue : 0;
    } else if (topic >= (int32_t)TOPICS) {
        queue = waits_record(header, op, (uint32_t)topic, pos);
    } else if (op->kind == OP_WAIT) {
        waits_delivery(header, op);
    } else {
        op = history_commit_op(id, header->index);
    }
    if (op == NULL || world_failure() != NULL) {
        return;
    }
    if (!has_record(op) || (part != op->parts_committed - 1 && topic < (int32_t)TOPIC_RETRY) ||
        record.body.len != body_of->body_bytes || (uint32_t)record.queue_id != queue ||
        (topic < (int32_t)TOPICS && (uint32_t)topic != op->topic)) {
        world_fail("order: entry %" PRIu64 " has part %u of operation %" PRIu64 " where part %u belongs",
                   header->index, part, id, op->parts_committed - 1);
        return;
    }
    history_body(body_of, part, want);
    if (memcmp(want, record.body.at, body_of->body_bytes) != 0) {
        world_fail("I3 entry %" PRIu64 ": the body of operation %" PRIu64 " has changed", header->index, id);
        return;
    }
    if ((uint64_t)record.pos != pos) {
        world_fail("I3 entry %" PRIu64 ": a record at position %" PRIu64 " says %" PRId64, header->index, pos,
                   record.pos);
        return;
    }
    if ((uint64_t)record.qoff != history_queue_end((uint32_t)topic, queue)) {
        world_fail("qoff: entry %" PRIu64 ": topic %d queue %u has offset %" PRId64 " where %" PRIu64 " is next",
                   header->index, topic, queue, record.qoff, history_queue_end((uint32_t)topic, queue));
        return;
    }
    note_record((uint32_t)topic, queue, pos, message_of(op, part));
    if (part == 0 && op->index == header->index && !op->delivered &&
        (topic < (int32_t)TOPIC_RETRY || topic >= (int32_t)TOPIC_DEAD)) {
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
        h.deletion = history_commit_op(number_in(name), header->index);
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
    pops_deletion(op->topic);
    orders_deletion(op->topic);
    begin_life(op->topic, header->pos + RLOG_HEADER_BYTES + block->at);
    for (uint32_t g = 0; g < GROUPS; g++) {
        memset(h.offsets[g][op->topic], 0xFF, sizeof(h.offsets[g][op->topic]));
    }
}

static void note_topic(const char *name, bool made, uint64_t index)
{
    int32_t topic = topic_number(mq_str_of(name));

    if (topic >= 0 && topic < TOPICS) {
        h.made_in[topic] = made && !h.made[topic] ? index : h.made_in[topic];
        h.made[topic] = made;
    }
}

bool history_is_gone(uint32_t topic, uint64_t index)
{
    return !h.made[topic] || index - h.made_in[topic] <= IN_FLIGHT_MAX;
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
        [COMMAND_PENDING_PUT] = &raftmq__pending_put__descriptor,
        [COMMAND_PENDING_END] = &raftmq__pending_end__descriptor,
        [COMMAND_PENDING_MOVE] = &raftmq__pending_move__descriptor,
        [COMMAND_GROUP_PUT] = &raftmq__group_put__descriptor,
        [COMMAND_HALF_PUT] = &raftmq__half_put__descriptor,
        [COMMAND_HALF_END] = &raftmq__half_end__descriptor,
        [COMMAND_HALF_CHECKED] = &raftmq__half_checked__descriptor,
        [COMMAND_HALF_MOVE] = &raftmq__half_move__descriptor,
        [COMMAND_POP_TAKE] = &raftmq__pop_take__descriptor,
        [COMMAND_POP_ACK] = &raftmq__pop_ack__descriptor,
        [COMMAND_POP_CHANGE] = &raftmq__pop_change__descriptor,
        [COMMAND_POP_REVIVE] = &raftmq__pop_revive__descriptor,
        [COMMAND_ORDER_TAKE] = &raftmq__order_take__descriptor,
        [COMMAND_ORDER_ACK] = &raftmq__order_ack__descriptor,
        [COMMAND_ORDER_CHANGE] = &raftmq__order_change__descriptor,
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
    if (block->type == COMMAND_GROUP_PUT || waits_item(header, block->type, message) ||
        halves_item(header, block->type, message) || pops_item(header, block->type, message) ||
        orders_item(header, block->type, message)) {
        protobuf_c_message_free_unpacked(message, NULL);
        return;
    }
    switch (block->type) {
    case COMMAND_TOPIC_PUT: /* those made on demand have no number */
        note_topic(((Raftmq__TopicPut *)message)->config->name, true, header->index);
        if (((Raftmq__TopicPut *)message)->config->sys_flag != 0) {
            op = history_commit_op(((Raftmq__TopicPut *)message)->config->sys_flag, header->index);
        }
        break;
    case COMMAND_OFFSET_COMMIT:
        op = history_commit_op(history_id_of_offset(((Raftmq__OffsetCommit *)message)->offset), header->index);
        if (op != NULL) {
            h.offsets[op->group][op->topic][op->queue] = ((Raftmq__OffsetCommit *)message)->offset;
        }
        break;
    case COMMAND_LOG_START: /* nobody asked for it */
        commit_log_start(header, ((Raftmq__LogStart *)message)->pos);
        break;
    case COMMAND_TOPIC_DELETE:
        note_topic(((Raftmq__TopicDelete *)message)->name, false, header->index);
        commit_deletion(header, block, ((Raftmq__TopicDelete *)message)->name);
        break;
    case COMMAND_LOCK_GRANT:
        op = history_commit_op(number_in(((Raftmq__LockGrant *)message)->client_id), header->index);
        break;
    default: /* its client is the grant's, so it names itself as a second topic */
        op = history_commit_op(number_in(((Raftmq__LockRelease *)message)->queues[1]->topic), header->index);
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
        waits_rest();
        pops_entry(header);
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
    const struct op *target = op->kind == OP_END || op->kind == OP_ACK ? history_op(op->target) : NULL;

    if (op->kind == OP_END) {
        if (!target->ended || target->delivered != op->commit || target->discarded) {
            world_fail("lost: operation %" PRIu64 " was told that transaction %" PRIu64 " is %s", op->id, target->id,
                       op->commit ? "committed" : "rolled back");
        }
        return;
    }
    if (op->kind == OP_ACK) {
        if (target->open && (target->acked >> op->bit & 1) == 0) {
            world_fail("lost: operation %" PRIu64 " was told that it has acknowledged a message of %" PRIu64, op->id,
                       target->id);
        }
        return;
    }
    if (orders_acked(op)) {
        return;
    }
    if (op->parts_committed != op->parts) {
        world_fail("lost: operation %" PRIu64 " was acknowledged with %u of %u parts committed", op->id,
                   op->parts_committed, op->parts);
        return;
    }
    if (has_record(op) && (op->qoff != op->committed_qoff || op->pos != op->committed_pos)) {
        world_fail("I7 operation %" PRIu64 ": acknowledged with offset %" PRIu64 " at %" PRIu64
                   ", committed with %" PRIu64 " at %" PRIu64,
                   op->id, op->qoff, op->pos, op->committed_qoff, op->committed_pos);
    }
}

void history_check_end(void)
{
    for (uint64_t id = 1; id <= history_ops() && world_failure() == NULL; id++) {
        struct op *op = history_op(id);

        if (op->outcome == OP_ACKED) {
            history_acked(op);
        } else if (op->parts_committed != 0 && op->parts_committed != op->parts) {
            world_fail("batch: operation %" PRIu64 " was committed with %u of %u parts", id, op->parts_committed,
                       op->parts);
        } else if (op->outcome == OP_UNKNOWN && op->parts_committed == 0) {
            mark(MARK_UNSURE_LOST);
        }
        if (op->kind == OP_BACK && op->parts_committed != 0 && !op->dead && !op->delivered) {
            world_fail("lost: operation %" PRIu64 " sent a message back, which never came again", id);
        }
        if (op->kind == OP_WAIT && op->parts_committed != 0 && !op->dropped &&
            op->delivered == (op->recalled_by != 0) &&
            (op->recalled_by == 0 || history_op(op->recalled_by)->parts_committed != 0)) {
            world_fail("lost: operation %" PRIu64 " waited and was %s", id,
                       op->delivered ? "recalled and delivered" : "never delivered");
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
