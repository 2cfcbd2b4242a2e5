/* Messages that are popped in order. The operation that took them stands for their batch, whose pop time is its
 * number. What is given is what is next, always: of a queue nothing twice at a time, nothing out of its order,
 * nothing that was acknowledged, and nothing is passed over. Held here against what the log says, by rules of our
 * own. */
#include "tests/sim/cluster.h"
#include "tests/sim/history_inside.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <string.h>

#define BATCH_MAX 32u

/* A queue as the group pops it. */
static struct line {
    int64_t offset; /* of the first message that is not acknowledged; -1: nobody has popped yet */
    uint64_t batch; /* the operation that took it last; 0: nothing is open */
    uint32_t steps; /* what happened to the batch since there is one */
    uint64_t start;
    uint32_t n, acked;        /* bit i: message start + i */
    int64_t until[BATCH_MAX]; /* 0: nobody holds it */
} lines[TOPICS][QUEUES];

void orders_reset(void)
{
    memset(lines, 0, sizeof(lines));
    for (uint32_t i = 0; i < TOPICS * QUEUES; i++) {
        lines[i / QUEUES][i % QUEUES].offset = -1;
    }
}

void orders_deletion(uint32_t topic)
{
    for (uint32_t q = 0; q < QUEUES; q++) {
        struct op *op = history_op(lines[topic][q].batch);

        if (op != NULL) {
            op->dropped = true; /* maybe by the entry that took it, before anybody was told */
        }
        lines[topic][q] = (struct line){.offset = -1};
    }
}

int64_t history_ordered_offset(uint32_t topic, uint32_t queue)
{
    return lines[topic][queue].offset;
}

static struct op *find(int64_t pop_ms)
{
    struct op *op = history_op((uint64_t)pop_ms);

    return op != NULL && op->kind == OP_ORDER ? op : NULL;
}

static bool is_gone(const struct op *op, uint64_t qoff)
{
    return history_record_pos(op->topic, op->queue, qoff, UINT64_MAX) < history_log_start();
}

/* What the leader had seen is what the log made of it, so the item counts. */
static bool counts(const Raftmq__OrderTake *item, const struct line *line)
{
    return item->seen_offset == line->offset && (uint64_t)item->seen_pop_ms == line->batch &&
           item->seen_steps == (line->batch != 0 ? line->steps : 0);
}

/* What was handed out before, and is not acknowledged, comes before anything else, when nobody holds any of it. */
static void check_again(const struct rlog_header *header, const struct op *op, const Raftmq__OrderTake *item,
                        struct line *line)
{
    int64_t looked_ms = item->until_ms - (int64_t)op->delay_ms; /* the entry may be older: items are added to it */
    size_t k = 0;

    for (uint32_t i = 0; i < line->n; i++) {
        uint64_t qoff = line->start + i;

        if ((line->acked >> i & 1) != 0) {
            continue;
        }
        if (looked_ms < line->until[i]) {
            world_fail("two holders: entry %" PRIu64 " hands out messages of %s %u, and offset %" PRIu64
                       " is another's for %" PRId64 " ms more",
                       header->index, history_topic_name(op->topic), op->queue, qoff, line->until[i] - looked_ms);
            return;
        }
        if (k < item->n_offsets && item->again && (uint64_t)item->start + item->offsets[k] == qoff) {
            k++;
        } else if ((k < item->n_offsets || !item->again) && !is_gone(op, qoff)) {
            world_fail("order: entry %" PRIu64 " hands out messages of %s %u, and not offset %" PRIu64
                       ", which is before them",
                       header->index, history_topic_name(op->topic), op->queue, qoff);
            return;
        }
    }
    if (item->again && k != item->n_offsets) {
        world_fail("order: entry %" PRIu64 " hands out messages of %s %u again that are not open", header->index,
                   history_topic_name(op->topic), op->queue);
    }
}

static void check_fresh(const struct rlog_header *header, const struct op *op, const Raftmq__OrderTake *item,
                        const struct line *line)
{
    uint64_t next = line->batch != 0 ? line->start + line->n : line->offset < 0 ? 0 : (uint64_t)line->offset;
    uint64_t start = (uint64_t)item->start;

    if (start < next || (start > next && !is_gone(op, start - 1)) ||
        (uint64_t)item->next != start + item->n_offsets || item->n_offsets == 0 ||
        item->offsets[item->n_offsets - 1] != item->n_offsets - 1 ||
        (uint64_t)item->next > history_queue_end(op->topic, op->queue)) {
        world_fail("order: entry %" PRIu64 " hands out offsets %" PRIu64 " to %" PRId64 " of %s %u, and %" PRIu64
                   " is next",
                   header->index, start, item->next, history_topic_name(op->topic), op->queue, next);
    }
}

static void commit_take(const struct rlog_header *header, const Raftmq__OrderTake *item)
{
    struct op *op = history_commit_op((uint64_t)item->pop_ms, header->index);
    struct line *line;

    if (op == NULL || op->kind != OP_ORDER) {
        return;
    }
    line = &lines[op->topic][op->queue];
    op->took = counts(item, line);
    if (!op->took) {
        mark(MARK_ORDER_OVERTAKEN);
        return;
    }
    check_again(header, op, item, line);
    if (!item->again) {
        check_fresh(header, op, item, line);
        line->steps = line->batch != 0 ? line->steps : 0;
        line->start = (uint64_t)item->start;
        line->n = (uint32_t)item->n_offsets;
        line->acked = 0;
    }
    memset(line->until, 0, sizeof(line->until));
    for (uint32_t i = 0; line->start + i < (uint64_t)item->start; i++) {
        line->acked |= 1u << i; /* gone */
    }
    for (size_t k = 0; k < item->n_offsets; k++) {
        line->until[(uint64_t)item->start + item->offsets[k] - line->start] = item->until_ms;
    }
    op->first = (uint64_t)item->start;
    op->n = item->offsets[item->n_offsets - 1] + 1;
    line->batch = op->id;
    line->steps++;
    line->offset = item->start;
    mark(item->again ? MARK_ORDER_TAKEN_AGAIN : MARK_ORDER_TAKEN);
}

/* The place of a message in the line of the batch that it is of; NULL: that is over. */
static struct line *line_of(const struct op *target, uint64_t qoff, uint32_t *i)
{
    struct line *line = &lines[target->topic][target->queue];

    if (line->batch != target->id || qoff < line->start || qoff >= line->start + line->n) {
        return NULL;
    }
    *i = (uint32_t)(qoff - line->start);
    return line;
}

static void commit_ack(const struct rlog_header *header, const Raftmq__OrderAck *item)
{
    struct op *target = find(item->pop_ms);
    uint64_t qoff = item->n_offsets == 1 ? item->offsets[0] : UINT64_MAX;
    struct line *line;
    uint32_t i;

    if (target == NULL || qoff < target->first || qoff - target->first >= target->n ||
        (target->ack_wish >> (qoff - target->first) & 1) == 0) {
        world_fail("orders: entry %" PRIu64 " acknowledges what nobody has", header->index);
        return;
    }
    line = line_of(target, qoff, &i);
    if (line == NULL || (line->acked >> i & 1) != 0) {
        return;
    }
    line->acked |= 1u << i;
    line->steps++;
    for (i = 0; i < line->n && (line->acked >> i & 1) != 0; i++) {
    }
    line->offset = (int64_t)(line->start + i);
    if (i == line->n) {
        line->batch = 0;
        line->steps = 0;
    }
    mark(i == line->n ? MARK_ORDER_ENDED : MARK_ORDER_ACKED);
}

static void commit_change(const struct rlog_header *header, const Raftmq__OrderChange *item)
{
    struct op *target = find(item->pop_ms);
    struct line *line;
    uint32_t i;

    if (target == NULL) {
        world_fail("orders: entry %" PRIu64 " changes what nobody has", header->index);
        return;
    }
    line = line_of(target, item->offset, &i);
    if (line != NULL && (line->acked >> i & 1) == 0) {
        line->until[i] = item->until_ms;
        line->steps++;
        mark(MARK_ORDER_CHANGED);
    }
}

bool orders_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message)
{
    switch (type) {
    case COMMAND_ORDER_TAKE:
        commit_take(header, (const Raftmq__OrderTake *)message);
        return true;
    case COMMAND_ORDER_ACK:
        commit_ack(header, (const Raftmq__OrderAck *)message);
        return true;
    case COMMAND_ORDER_CHANGE:
        commit_change(header, (const Raftmq__OrderChange *)message);
        return true;
    default:
        return false;
    }
}

bool orders_acked(const struct op *op)
{
    const struct op *target = history_op(op->target);
    struct line *line;
    uint32_t i;

    if (op->kind == OP_ORDER && op->told != op->took && !op->dropped) {
        world_fail("lost: operation %" PRIu64 " was told that it %s messages, and it %s", op->id,
                   op->told ? "has" : "has no", op->took ? "has" : "has none");
    }
    if (op->kind == OP_ORDER_ACK) {
        line = line_of(target, target->first + op->bit, &i);
        if (line != NULL && (line->acked >> i & 1) == 0) {
            world_fail("lost: operation %" PRIu64 " was told that it has acknowledged a message of %" PRIu64, op->id,
                       target->id);
        }
    }
    return op->kind == OP_ORDER_ACK || op->kind == OP_ORDER_CHANGE;
}
