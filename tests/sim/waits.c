/* Messages that wait: each that was committed is delivered once, when it is due, or recalled. Copies of messages that
 * were sent back wait likewise, and are delivered whatever becomes of their origin's topic; or they are dead letters.
 */
#include "remoting/protocol/record.h"
#include "tests/sim/history_inside.h"
#include "tests/sim/marks.h"

#include <inttypes.h>

static struct op *last;   /* whose record was in front in this entry; NULL */
static uint64_t last_pos; /* of that */

void waits_rest(void)
{
    last = NULL;
}

/* The record of @op goes to topic @topic, another one than its own: it begins to wait, or waits on at another place.
 * Returns the queue. */
uint32_t waits_record(const struct rlog_header *header, struct op *op, uint32_t topic, uint64_t pos)
{
    uint32_t want = op->level != 0 ? TOPIC_LEVELS : TOPIC_TIMERS;

    if ((op->kind != OP_WAIT && op->kind != OP_BACK) || op->dead || topic != want) {
        world_fail("waiting: entry %" PRIu64 " has operation %" PRIu64 " in topic %s", header->index, op->id,
                   history_topic_name(topic));
        return 0;
    }
    if (op->parts_committed == 0) {
        (void)history_commit_op(op->id, header->index);
        history_row_is(op, pos);
        op->taken_in = header->term;
        if (op->kind == OP_BACK) {
            mark(MARK_SENT_BACK);
        }
    } else if (op->ended) {
        world_fail("waiting: entry %" PRIu64 " appends operation %" PRIu64 " again, which waits no longer",
                   header->index, op->id);
    }
    last = op;
    last_pos = pos;
    return op->level != 0 ? op->level - 1 : 0;
}

/* The record of @op, which has waited, goes to its own topic. */
void waits_delivery(const struct rlog_header *header, struct op *op)
{
    if (op->parts_committed == 0 || op->delivered || op->ended) {
        world_fail("exactly-once: entry %" PRIu64 " delivers operation %" PRIu64 ", which %s", header->index, op->id,
                   op->parts_committed == 0 ? "nobody has committed"
                   : op->delivered          ? "was delivered before"
                                            : "was recalled");
        return;
    }
    if (header->store_ms < op->due_ms) {
        world_fail("early: entry %" PRIu64 " delivers operation %" PRIu64 " %" PRId64 " ms before it is due",
                   header->index, op->id, op->due_ms - header->store_ms);
    }
    op->delivered = true;
    mark(header->term == op->taken_in ? MARK_WAITED : MARK_WAITED_LONGER);
}

/* ---- copies ---- */

/* A copy has the number of its operation in the place of its store address. */
struct proto_host waits_host_of(uint64_t id)
{
    return (struct proto_host){
        .ip = {(uint8_t)(id >> 40), (uint8_t)(id >> 32), (uint8_t)(id >> 24), (uint8_t)(id >> 16)},
        .ip_bytes = 4,
        .port = (uint16_t)id};
}

static uint64_t id_of(const struct proto_host *host)
{
    return (uint64_t)host->ip[0] << 40 | (uint64_t)host->ip[1] << 32 | (uint64_t)host->ip[2] << 24 |
           (uint64_t)host->ip[3] << 16 | host->port;
}

bool waits_is_copy(const struct op *origin, uint32_t topic)
{
    return topic >= TOPIC_BACK || (topic == TOPIC_LEVELS && origin->kind != OP_WAIT);
}

struct op *waits_owner(const struct rlog_header *header, const struct proto_record *record, const struct op *origin)
{
    struct op *op = history_op(id_of(&record->store_host));

    if (op == NULL || op->kind != OP_BACK || op->target != origin->id || record->reconsume_times != 1) {
        world_fail("sent back: entry %" PRIu64 " has a copy of operation %" PRIu64 " that nobody asked for",
                   header->index, origin->id);
        return NULL;
    }
    return op;
}

uint32_t waits_copy(const struct rlog_header *header, struct op *op, uint32_t topic)
{
    if (topic != (op->dead ? TOPIC_DEAD : TOPIC_BACK) + op->group) {
        world_fail("sent back: entry %" PRIu64 " has the copy for operation %" PRIu64 " in topic %s", header->index,
                   op->id, history_topic_name(topic));
        return 0;
    }
    if (op->dead) {
        (void)history_commit_op(op->id, header->index);
        op->ended = true;
        mark(MARK_DEAD_LETTER);
        return 0;
    }
    waits_delivery(header, op);
    mark(MARK_CAME_BACK);
    return op->queue % BACK_QUEUES;
}

/* ---- items ---- */

static void commit_put(const struct rlog_header *header, const Raftmq__PendingPut *item)
{
    if (last == NULL || item->due_ms != last->due_ms) {
        world_fail("waiting: entry %" PRIu64 " has a message wait for another time than it asked for", header->index);
    }
}

static void commit_move(const struct rlog_header *header, uint64_t pos)
{
    struct op *op = last;

    if (op == NULL || op->row_pos != pos) {
        world_fail("waiting: entry %" PRIu64 " moves the message at %" PRIu64 ", which is another one", header->index,
                   pos);
        return;
    }
    history_row_is(op, last_pos);
    mark(op->kind == OP_BACK ? MARK_BACK_MOVED : MARK_WAITING_MOVED);
}

/* Its topic is gone, or was when the leader looked. Whether the message was recalled instead nobody can tell. */
static void drop(struct op *op)
{
    op->dropped = true;
    if (op->recalled_by != 0) {
        history_op(op->recalled_by)->parts = 0; /* either answer is right */
        op->recalled_by = 0;
    }
    mark(MARK_WAITED_IN_VAIN);
}

static void commit_end(const struct rlog_header *header, uint64_t pos)
{
    struct op *op = history_at_row(OP_WAIT, pos);

    op = op != NULL ? op : history_at_row(OP_BACK, pos);
    if (op == NULL || op->ended) {
        world_fail("waiting: entry %" PRIu64 " ends the waiting of what lies at %" PRIu64 ", which does not wait",
                   header->index, pos);
        return;
    }
    op->ended = true;
    if (op->delivered) {
        return;
    }
    if (op->kind == OP_WAIT && history_is_gone(op->topic, header->index)) {
        drop(op);
        return;
    }
    if (op->recalled_by == 0) {
        world_fail("lost: entry %" PRIu64 " drops operation %" PRIu64 ", which waited and was not delivered",
                   header->index, op->id);
        return;
    }
    (void)history_commit_op(op->recalled_by, header->index);
    mark(MARK_RECALLED);
}

bool waits_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message)
{
    switch (type) {
    case COMMAND_PENDING_PUT:
        commit_put(header, (const Raftmq__PendingPut *)message);
        return true;
    case COMMAND_PENDING_END:
        commit_end(header, ((const Raftmq__PendingEnd *)message)->pos);
        return true;
    case COMMAND_PENDING_MOVE:
        commit_move(header, ((const Raftmq__PendingMove *)message)->pos);
        return true;
    default:
        return false;
    }
}
