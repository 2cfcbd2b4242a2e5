/* Messages that are popped. The operation that popped them, or that kept one of them longer, stands for the check
 * point, whose pop time is its number. Nothing is handed out twice but what comes again, and that is what nobody
 * acknowledged: all of it. */
#include "tests/sim/cluster.h"
#include "tests/sim/history_inside.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <string.h>

#define COPIES_MAX 4096

static uint64_t copies[COPIES_MAX]; /* of this entry, since the last check point that ended */
static uint32_t n_copies;
static int64_t offsets[TOPICS_ALL][QUEUES]; /* of the group that pops */

void pops_reset(void)
{
    memset(offsets, 0, sizeof(offsets));
    n_copies = 0;
}

void pops_entry(const struct rlog_header *header)
{
    if (n_copies != 0) {
        world_fail("exactly-once: the entry before %" PRIu64 " has %u messages come again and ends no check point",
                   header->index, n_copies);
    }
    n_copies = 0;
}

void pops_copy(uint64_t message)
{
    if (n_copies < COPIES_MAX) {
        copies[n_copies++] = message;
    }
}

static struct op *find(int64_t pop_ms)
{
    struct op *op = history_op((uint64_t)pop_ms);

    return op != NULL && (op->kind == OP_POP || op->kind == OP_CHANGE) ? op : NULL;
}

static void end_by_deletion(struct op *op)
{
    op->open = false;
    op->ended = true;
}

void pops_deletion(uint32_t topic)
{
    memset(offsets[topic], 0, sizeof(offsets[topic]));
    history_each_popped(topic, end_by_deletion);
}

static void commit_take(const struct rlog_header *header, const Raftmq__PopTake *item)
{
    struct op *op = history_commit_op((uint64_t)item->pop_ms, header->index);
    uint64_t start = (uint64_t)item->start;
    int64_t *next;

    if (op == NULL) {
        return;
    }
    next = &offsets[op->topic][op->queue];
    if (start < (uint64_t)*next) {
        world_fail("two holders: entry %" PRIu64 " hands out offset %" PRIu64 " of %s %u, and those up to %" PRId64
                   " are others'",
                   header->index, start, history_topic_name(op->topic), op->queue, *next);
        return;
    }
    if (start > (uint64_t)*next &&
        start > history_records_below(op->topic, op->queue, history_log_start(), UINT64_MAX)) {
        world_fail("lost: entry %" PRIu64 " hands out offset %" PRIu64 " of %s %u, and %" PRId64 " is next",
                   header->index, start, history_topic_name(op->topic), op->queue, *next);
        return;
    }
    if ((uint64_t)item->next != start + item->n_offsets ||
        item->offsets[item->n_offsets - 1] != item->n_offsets - 1 ||
        (uint64_t)item->next > history_queue_end(op->topic, op->queue)) {
        world_fail("order: entry %" PRIu64 " hands out what is not there, or not all", header->index);
        return;
    }
    *next = item->next;
    op->first = start;
    op->n = (uint32_t)item->n_offsets;
    op->due_ms = item->until_ms;
    op->open = true;
    mark(op->topic < TOPICS ? MARK_POPPED : MARK_POPPED_AGAIN);
}

/* These are dealt with; a check point without others is over. */
static void settle(struct op *check, uint32_t bits)
{
    check->acked |= bits;
    if (check->acked == (1u << check->n) - 1) {
        check->open = false;
    }
}

static void look_at_time(const struct rlog_header *header, const struct op *check)
{
    if (header->store_ms < check->due_ms && cluster_plan->log_bytes_max == 0) {
        world_fail("early: entry %" PRIu64 " has messages of operation %" PRIu64 " come again %" PRId64
                   " ms before their time",
                   header->index, check->id, check->due_ms - header->store_ms);
    }
}

/* Some of a check point come again, in one entry with what says that they are dealt with. */
static void commit_part(const struct rlog_header *header, struct op *check, const Raftmq__PopAck *item)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < item->n_offsets; i++) {
        uint32_t bit = item->offsets[i];

        if (item->n_offsets != n_copies || (check->acked >> bit & 1) != 0 ||
            copies[i] != history_message(check->topic, check->queue, check->first + bit)) {
            world_fail("exactly-once: entry %" PRIu64
                       " has other messages come again than it ends of operation %" PRIu64,
                       header->index, check->id);
            return;
        }
        bits |= 1u << bit;
    }
    look_at_time(header, check);
    settle(check, bits);
    mark(MARK_POP_REVIVED_PART);
}

static void commit_ack(const struct rlog_header *header, const Raftmq__PopAck *item)
{
    struct op *check = find(item->pop_ms);
    uint32_t bits = 0;

    for (size_t i = 0; i < item->n_offsets; i++) {
        bits |= 1u << item->offsets[i];
    }
    if (n_copies != 0 && check != NULL && check->open) {
        commit_part(header, check, item);
        return;
    }
    if (check == NULL || (bits & ~check->ack_wish) != 0) {
        world_fail("pops: entry %" PRIu64 " acknowledges what nobody has", header->index);
        return;
    }
    if (check->open) {
        settle(check, bits);
        mark(MARK_POP_ACKED);
    }
}

static void commit_change(const struct rlog_header *header, const Raftmq__PopChange *item)
{
    struct op *op = history_commit_op((uint64_t)item->new_pop_ms, header->index), *check = find(item->pop_ms);

    if (op == NULL || check == NULL || op->target != check->id) {
        world_fail("pops: entry %" PRIu64 " changes what nobody asked for", header->index);
        return;
    }
    op->topic = check->topic;
    op->queue = check->queue;
    if (check->open && (check->acked >> item->offset & 1) == 0) {
        op->first = check->first + item->offset;
        op->n = 1;
        op->due_ms = item->until_ms;
        op->open = true;
        settle(check, 1u << item->offset);
        mark(MARK_POP_CHANGED);
    }
}

static void commit_revive(const struct rlog_header *header, const Raftmq__PopRevive *item)
{
    struct op *check = find(item->pop_ms);
    uint32_t j = 0;

    if (check == NULL || !check->open) {
        if (check == NULL || !check->ended) {
            world_fail("exactly-once: entry %" PRIu64 " has messages of operation %" PRIu64 " again come again",
                       header->index, (uint64_t)item->pop_ms);
        }
        return; /* of a topic that was just deleted */
    }
    look_at_time(header, check);
    for (uint32_t i = 0; i < check->n; i++) {
        uint64_t qoff = check->first + i;

        if ((check->acked >> i & 1) != 0) {
            continue;
        }
        if (j < n_copies && copies[j] == history_message(check->topic, check->queue, qoff)) {
            j++;
        } else if (history_record_pos(check->topic, check->queue, qoff, UINT64_MAX) >= history_log_start()) {
            world_fail("lost: entry %" PRIu64 " ends operation %" PRIu64 ", and offset %" PRIu64
                       " was not acknowledged and does not come again",
                       header->index, check->id, qoff);
            return;
        }
    }
    if (j != n_copies) {
        world_fail("exactly-once: entry %" PRIu64 " has %u messages of operation %" PRIu64 " come again, %u are to",
                   header->index, n_copies, check->id, j);
    }
    check->open = false;
    mark(MARK_POP_REVIVED);
}

bool pops_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message)
{
    switch (type) {
    case COMMAND_POP_TAKE:
        commit_take(header, (const Raftmq__PopTake *)message);
        return true;
    case COMMAND_POP_ACK:
        commit_ack(header, (const Raftmq__PopAck *)message);
        n_copies = 0;
        return true;
    case COMMAND_POP_CHANGE:
        commit_change(header, (const Raftmq__PopChange *)message);
        return true;
    case COMMAND_POP_REVIVE:
        commit_revive(header, (const Raftmq__PopRevive *)message);
        n_copies = 0;
        return true;
    default:
        return false;
    }
}
