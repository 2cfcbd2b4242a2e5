/* A member's log, compared with what was seen of it and with what was committed. */
#include "tests/sim/invariants_inside.h"

#include "raft-log/log/little.h"
#include "raft-log/log/meta.h"
#include "remoting/base/crc.h"
#include "tests/sim/marks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void reserve_seen(struct seen *seen, uint64_t last)
{
    struct process *before;

    if (last < seen->cap) {
        return;
    }
    before = world_outside_begin();
    seen->cap = seen->cap == 0 ? 8192 : seen->cap;
    while (seen->cap <= last) {
        seen->cap *= 2;
    }
    seen->crcs = realloc(seen->crcs, seen->cap * sizeof(seen->crcs[0]));
    seen->poss = realloc(seen->poss, seen->cap * sizeof(seen->poss[0]));
    world_outside_end(before);
}

/* The last index at which the log has what was seen there; the chain of checksums says the same of all before. */
static uint64_t common_end(const struct commitlog *log, const struct seen *seen)
{
    uint64_t index = least(commitlog_last_index(log), seen->last);
    struct commitlog_entry entry;

    while (index > seen->base && (commitlog_get(log, index, &entry) != 0 || entry.header.crc != seen->crcs[index])) {
        index--;
    }
    return index;
}

/* @claim: of a member that starts: what it may have acknowledged and no longer has. NULL: it runs. */
static void note_truncated(struct node *node, uint64_t common, const struct rlog_claim *claim)
{
    struct seen *seen = &node->seen;

    for (uint64_t i = common + 1; i <= least(seen->last, history_last()); i++) {
        bool was_promised = claim == NULL || i <= seen->on_platter;

        if (claim != NULL && !rlog_is_behind(claim->term, claim->index, history_at(i)->term, i)) {
            continue; /* it votes as if it had it, and fetches it again */
        }

        if (was_promised && seen->crcs[i] == history_at(i)->crc) {
            world_fail("committed: member %u no longer has the committed entry %" PRIu64 " of term %" PRIu64,
                       node->id, i, history_at(i)->term);
        }
    }
    if (common < seen->last && claim == NULL) {
        mark(MARK_TRUNCATED);
        if (seen->last - common >= 2) {
            mark(MARK_TRUNCATED_MANY);
        }
        if (seen->on_platter > common) {
            mark(MARK_TRUNCATED_DURABLE);
        }
        world_tracef("member %u truncated %" PRIu64 " to %" PRIu64, node->id, common + 1, seen->last);
    }
    seen->last = common;
    seen->on_platter = least(seen->on_platter, common);
}

static void note_new(struct node *node, const struct commitlog *log)
{
    struct seen *seen = &node->seen;
    uint64_t last = commitlog_last_index(log);
    struct commitlog_entry entry;

    reserve_seen(seen, last);
    for (uint64_t i = seen->last + 1; i <= last; i++) {
        if (commitlog_get(log, i, &entry) != 0) {
            world_fail("log-matching: member %u cannot read its entry %" PRIu64, node->id, i);
        }
        if (!history_same(&entry.header)) {
            world_fail("log-matching: member %u has an entry %" PRIu64 " of term %" PRIu64
                       " with other bytes than another member",
                       node->id, i, entry.header.term);
        }
        if (entry.header.pos % cluster_plan->segment_bytes == 0 && i > 1) {
            mark(MARK_SEGMENT_ROLLED);
        }
        seen->crcs[i] = entry.header.crc;
        seen->poss[i] = entry.header.pos;
    }
    seen->last = last;
    seen->last_term = commitlog_term_of(log, last);
}

/* ---- where it begins ---- */

/* Up to @index the member stands for what was committed, whatever it had there. */
static void take_committed(struct seen *seen, uint64_t index)
{
    reserve_seen(seen, index);
    for (uint64_t i = 1; i <= index; i++) {
        seen->crcs[i] = history_at(i)->crc;
        seen->poss[i] = history_at(i)->pos;
    }
}

static void note_later_beginning(struct node *node, const struct rlog_base *base, const struct rlog_claim *claim)
{
    struct seen *seen = &node->seen;
    bool trimmed = base->index <= seen->last && seen->crcs[base->index] == base->crc;
    uint32_t wanted = trimmed && claim == NULL ? 2 : 1;
    uint64_t common;

    if (base->index > history_last() || history_at(base->index)->crc != base->crc) {
        world_fail("begin: the log of member %u begins behind entry %" PRIu64 ", which was never committed", node->id,
                   base->index);
    }
    if (snapshots_on_platter(node, base->index) < wanted && !node->snapshot_flipped) {
        world_fail("begin: the log of member %u begins behind entry %" PRIu64
                   ", fewer than %u snapshots stand for it",
                   node->id, base->index, wanted);
    }
    if (trimmed) {
        mark(MARK_TRIMMED);
        if (base->end_pos > history_log_start() && claim == NULL) {
            world_fail("begin: the log of member %u begins at %" PRIu64
                       ", the group has dropped what is below %" PRIu64,
                       node->id, base->end_pos, history_log_start());
        }
        return;
    }
    common = least(seen->last, base->index);
    while (common > 0 && seen->crcs[common] != history_at(common)->crc) {
        common--;
    }
    note_truncated(node, common, claim);
    take_committed(seen, base->index);
    seen->last = base->index;
    seen->last_term = base->term;
}

/* What was put before a log is what was committed. */
static void check_put_before(const struct node *node, const struct commitlog *log, uint64_t from, uint64_t to)
{
    struct commitlog_entry entry;

    for (uint64_t i = from; i <= to; i++) {
        if (commitlog_get(log, i, &entry) != 0 || entry.header.crc != history_at(i)->crc ||
            entry.header.pos != history_at(i)->pos) {
            world_fail("committed: member %u was given another entry %" PRIu64 " than was committed", node->id, i);
            return;
        }
    }
}

static void look_at_base(struct node *node, const struct commitlog *log, const struct rlog_claim *claim)
{
    struct seen *seen = &node->seen;
    struct rlog_base base;

    commitlog_base_get(log, &base);
    if (base.index == seen->base) {
        return;
    }
    world_tracef("member %u: its log begins behind entry %" PRIu64 ", not %" PRIu64, node->id, base.index,
                 seen->base);
    if (base.index > seen->base) {
        note_later_beginning(node, &base, claim);
    } else {
        mark(MARK_BACKFILLED);
        seen->loose_pos = history_at(seen->base)->pos + history_at(seen->base)->bytes;
        check_put_before(node, log, base.index + 1, least(seen->base, seen->last));
    }
    seen->base = base.index;
}

void look_at_log(struct node *node, const struct commitlog *log, const struct rlog_claim *claim)
{
    struct seen *seen = &node->seen;
    uint64_t last = commitlog_last_index(log);
    uint64_t common;

    look_at_base(node, log, claim);
    if (claim == NULL && last == seen->last && commitlog_term_of(log, last) == seen->last_term) {
        return;
    }
    common = common_end(log, seen);
    if (common < seen->last) {
        note_truncated(node, common, claim);
    }
    note_new(node, log);
}
