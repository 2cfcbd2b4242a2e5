/* Transactions: a committed one is delivered once, a rolled back one never, one that nobody ends is asked for at most
 * so often and listed then; nothing else ends one. */
#include "remoting/base/err.h"
#include "tests/sim/history_inside.h"
#include "tests/sim/marks.h"

#include <inttypes.h>

static struct op *last; /* whose record lies in front in the log */
static uint64_t last_pos;

void halves_reset(void)
{
    last = NULL;
}

static void commit_half(const struct rlog_header *header, struct op *op, uint64_t pos)
{
    if (op->parts_committed == 0) {
        (void)history_commit_op(op->id, header->index);
        history_row_is(op, pos);
        op->taken_in = header->term;
    } else if (op->ended && header->index - op->ended_in > IN_FLIGHT_MAX) { /* else it was proposed before */
        world_fail("halves: entry %" PRIu64 " appends operation %" PRIu64 " again, which has ended", header->index,
                   op->id);
    }
}

static void commit_delivery(const struct rlog_header *header, struct op *op)
{
    if (op->parts_committed == 0 || op->ended || op->delivered || (op->end_wish & HALF_WISH_COMMIT) == 0) {
        world_fail("exactly-once: entry %" PRIu64 " delivers operation %" PRIu64 ", which %s", header->index, op->id,
                   op->parts_committed == 0                 ? "nobody has prepared"
                   : op->delivered                          ? "was delivered before"
                   : (op->end_wish & HALF_WISH_COMMIT) == 0 ? "nobody has committed"
                                                            : "was rolled back");
        return;
    }
    op->delivered = true;
    mark(header->term == op->taken_in ? MARK_HALF_COMMITTED : MARK_HALF_COMMITTED_LATER);
}

void halves_record(const struct rlog_header *header, struct op *op, uint32_t topic, uint64_t pos)
{
    if (op->kind != OP_PREPARE || (topic < TOPICS && topic != op->topic)) {
        world_fail("halves: entry %" PRIu64 " has operation %" PRIu64 " in topic %s", header->index, op->id,
                   history_topic_name(topic));
        return;
    }
    last = op;
    last_pos = pos;
    if (topic == TOPIC_HALVES) {
        commit_half(header, op, pos);
    } else if (topic == TOPIC_DISCARDED) {
        op->discarded = true;
    } else {
        commit_delivery(header, op);
    }
}

static struct op *find(uint64_t pos)
{
    return history_at_row(OP_PREPARE, pos);
}

static void commit_end(const struct rlog_header *header, const Raftmq__HalfEnd *item)
{
    struct op *op = find(item->pos);
    bool fits = false;

    if (op == NULL || op->ended) {
        world_fail("exactly-once: entry %" PRIu64 " ends the transaction at %" PRIu64 ", which %s", header->index,
                   item->pos, op == NULL ? "is none" : "has ended before");
        return;
    }
    switch (item->cause) {
    case RAFTMQ__HALF_CAUSE__HALF_COMMITTED:
        fits = last == op && op->delivered;
        break;
    case RAFTMQ__HALF_CAUSE__HALF_ROLLED_BACK:
        fits = !op->delivered && (op->end_wish & HALF_WISH_ROLLBACK) != 0;
        mark(MARK_HALF_ROLLED_BACK);
        break;
    default:
        fits = last == op && op->discarded && !op->delivered && op->times >= HALF_TIMES_MAX;
        mark(MARK_HALF_DISCARDED);
        break;
    }
    if (!fits) {
        world_fail("halves: entry %" PRIu64 " ends operation %" PRIu64 " by cause %d, for which there is none",
                   header->index, op->id, (int)item->cause);
    }
    op->ended = true;
    op->ended_in = header->index;
}

static void commit_checked(const struct rlog_header *header, const Raftmq__HalfChecked *item)
{
    for (size_t i = 0; i < item->n_pos; i++) {
        struct op *op = find(item->pos[i]);

        if (op == NULL || (!op->ended && ++op->times > HALF_TIMES_MAX)) {
            world_fail("halves: entry %" PRIu64 " asks for the transaction at %" PRIu64 " %s", header->index,
                       item->pos[i], op == NULL ? "which is none" : "too often");
            return;
        }
        op->due_ms = item->next_ms;
        mark(MARK_HALF_ASKED);
    }
}

bool halves_item(const struct rlog_header *header, uint32_t type, const ProtobufCMessage *message)
{
    switch (type) {
    case COMMAND_HALF_PUT:
        if (last == NULL || last->row_pos != last_pos) {
            world_fail("halves: entry %" PRIu64 " begins a transaction without a record", header->index);
            return true;
        }
        last->due_ms = ((const Raftmq__HalfPut *)message)->check_ms;
        return true;
    case COMMAND_HALF_END:
        commit_end(header, (const Raftmq__HalfEnd *)message);
        return true;
    case COMMAND_HALF_CHECKED:
        commit_checked(header, (const Raftmq__HalfChecked *)message);
        return true;
    case COMMAND_HALF_MOVE:
        if (last == NULL || last->row_pos != ((const Raftmq__HalfMove *)message)->pos) {
            world_fail("halves: entry %" PRIu64 " moves another record than the one in front", header->index);
        }
        mark(MARK_HALF_MOVED);
        return true;
    default:
        return false;
    }
}
