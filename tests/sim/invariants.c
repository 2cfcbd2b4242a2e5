#include "tests/sim/invariants_inside.h"

#include "raft-log/log/meta.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "tests/sim/marks.h"
#include "tests/sim/nemesis.h"
#include "tests/sim/operator.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TERMS_MAX 65536u /* elections of one run, and more */
#define ROOM_NS (5 * NS_PER_S)
#define READ_EVERY 16u /* turns */

static struct {
    uint32_t leaders[TERMS_MAX]; /* by term */
    struct rng rng;
    uint32_t last_leader;
    bool forgiven; /* nothing is looked at any more */
} w;

void invariants_forgive(void)
{
    w.forgiven = true;
}

bool invariants_forgiven(void)
{
    return w.forgiven;
}

void invariants_reset(void)
{
    invariants_state_reset();
    memset(&w, 0, sizeof(w));
    rng_seed(&w.rng, world_seed(), 5);
}

/* ---- commit and leadership ---- */

/* @before: the members, whose last change was entry @index, until now. */
static void check_promoted(const struct membership *before, uint64_t index)
{
    const struct membership *members = history_membership();

    for (uint32_t i = 0; i < members->n; i++) {
        const struct member *member = &members->members[i];
        const struct member *was = membership_find(before, member->id);
        const struct node *node = &nodes[member->id - 1];

        if (member->role == MEMBER_VOTER && was != NULL && was->role != MEMBER_VOTER &&
            was->incarnation == member->incarnation && node->incarnation == member->incarnation &&
            node->seen.last < index) {
            world_fail("promoted: member %u has a vote and its log ends with entry %" PRIu64
                       ", it was taken in with entry %" PRIu64,
                       member->id, node->seen.last, index);
        }
    }
}

static void commit_change(const struct commitlog_entry *entry, uint64_t term)
{
    struct membership before = *history_membership();
    uint64_t index = history_membership_index();

    history_commit(&entry->header, entry->bytes + RLOG_HEADER_BYTES, term);
    check_promoted(&before, index);
}

static void look_at_commit(struct member_run *run)
{
    const struct driver *driver = &run->log->driver;
    struct node *node = run->node;
    struct seen *seen = &node->seen;
    struct commitlog_entry entry;

    if (driver->commit < seen->commit) {
        world_fail("commit-falls: member %u from %" PRIu64 " to %" PRIu64, node->id, seen->commit, driver->commit);
    }
    while (seen->commit < least(driver->commit, seen->last)) {
        uint64_t i = seen->commit + 1;

        if (i <= history_last()) {
            if (history_at(i)->crc != seen->crcs[i] || history_at(i)->pos != seen->poss[i]) {
                world_fail("committed: member %u takes another entry %" PRIu64 " for committed than was committed",
                           node->id, i);
            }
        } else {
            uint64_t term = driver->core != NULL ? core_term(driver->core) : run->log->meta.term;

            if (i > 1 && !majority_holds(&driver->current, i, seen->poss[i], seen->crcs[i])) {
                world_fail("majority: member %u takes entry %" PRIu64
                           " for committed, which is not on the disks of a majority",
                           node->id, i);
            }
            if (commitlog_get(run->log->commitlog, i, &entry) != 0) {
                world_fail("committed: member %u cannot read the committed entry %" PRIu64, node->id, i);
            }
            if (entry.header.type == RLOG_CHANGE) {
                commit_change(&entry, term);
            } else {
                history_commit(&entry.header, entry.bytes + RLOG_HEADER_BYTES, term);
            }
        }
        seen->commit = i;
    }
    if (driver->applied_pos > history_end_pos()) {
        world_fail("visible: member %u shows bytes up to %" PRIu64 ", committed are %" PRIu64, node->id,
                   driver->applied_pos, history_end_pos());
    }
}

static void check_complete(const struct node *node, uint64_t term)
{
    uint64_t i = history_last();

    /* Committed in an earlier term for sure: the term in which it was first seen is not below the true one. */
    while (i > 0 && history_at(i)->seen_in >= term) {
        i--;
    }
    if (i > 0 && (node->seen.last < i || node->seen.crcs[i] != history_at(i)->crc)) {
        world_fail("committed: member %u leads in term %" PRIu64 " without the committed entry %" PRIu64, node->id,
                   term, i);
    }
}

static void look_at_leadership(struct member_run *run)
{
    const struct core *core = run->log->driver.core;
    struct node *node = run->node;
    uint64_t term;

    if (core == NULL || core_role(core) != RLOG_LEADING || core_term(core) == node->seen.leading_term) {
        return;
    }
    term = core_term(core);
    node->seen.leading_term = term;
    if (term >= TERMS_MAX) {
        world_fail("liveness: more than %u elections", TERMS_MAX);
    }
    if (w.leaders[term] != 0 && w.leaders[term] != node->id) {
        world_fail("one-leader: members %u and %u both lead in term %" PRIu64, w.leaders[term], node->id, term);
    }
    w.leaders[term] = node->id;
    world_tracef("member %u leads in term %" PRIu64 " last %" PRIu64 " committed %" PRIu64, node->id, term,
                 node->seen.last, history_last());
    check_complete(node, term);
    nemesis_moment(node, MOMENT_LEAD);
    if (w.last_leader != 0 && w.last_leader != node->id) {
        mark(MARK_ELECTION);
        if (node->seen.last > history_last() + 1) {
            mark(MARK_LEADER_CHANGED_WITH_TAIL);
        }
    }
    w.last_leader = node->id;
}

/* Tries to read what is not committed, as a consumer with a wrong idea would. */
static void read_at_end(struct member_run *run)
{
    uint64_t end = commitlog_end_pos(run->log->commitlog);
    uint64_t pos = end < 4096 ? 0 : end - rng_between(&w.rng, 8, 4096);
    const uint8_t *at;
    struct net_ref *ref;

    if (end < 8 || rlog_view(run->log, pos, 8, &at, &ref) != 0) {
        return;
    }
    net_ref_release(ref);
    if (pos + 8 > history_end_pos()) {
        world_fail("visible: member %u shows position %" PRIu64 ", committed are %" PRIu64, run->node->id, pos,
                   history_end_pos());
    }
}

/* What is applied and held can be read; what is not held cannot. */
static void read_somewhere(struct member_run *run)
{
    uint64_t applied = least(run->log->driver.applied, history_last());
    uint64_t index = applied < 2 ? 0 : rng_between(&w.rng, 1, applied);
    uint64_t start = commitlog_start_pos(run->log->commitlog);
    const struct committed *entry = history_at(index);
    const uint8_t *at;
    struct net_ref *ref;
    bool is_right;
    int rc;

    if (index == 0 || entry->payload_bytes == 0) {
        return;
    }
    rc = rlog_view(run->log, entry->pos + RLOG_HEADER_BYTES, entry->payload_bytes, &at, &ref);
    if (rc != 0) {
        if (entry->pos >= start) {
            world_fail("read: member %u holds from %" PRIu64 " and refuses position %" PRIu64 ": %d", run->node->id,
                       start, entry->pos, rc);
        }
        return;
    }
    is_right = run->node->damaged || mq_crc32c(0, at, entry->payload_bytes) == entry->payload_crc;
    net_ref_release(ref);
    if (!is_right || entry->pos < start) {
        world_fail("read: member %u holds from %" PRIu64 " and shows %s bytes at %" PRIu64, run->node->id, start,
                   is_right ? "dropped" : "wrong", entry->pos);
    }
}

/* A disk that does not end its syncs, or hardly, tells nobody that there is room again. */
static bool is_slow(const struct node *node)
{
    const struct disk_manner *manner = disk_manner(machine_disk(node->machine));

    return manner->hung || manner->sync_max_ns > cluster_plan->sync_max_ns || manner->stall_max_ns > NS_PER_S;
}

static void look_at_room(struct member_run *run)
{
    struct node *node = run->node;

    if (node->room_ns == 0) {
        return;
    }
    if (is_slow(node) || run->log->driver.core == NULL) {
        node->room_ns = world_now();
    } else if (rlog_space_level(run->log) == RLOG_SPACE_ENOUGH && run->log->commitlog != NULL) {
        node->room_ns = 0;
        mark(MARK_ROOM_AGAIN);
    } else if (world_now() - node->room_ns > ROOM_NS) {
        world_fail("room: member %u still refuses %d s after its disk had room again", node->id,
                   (int)(ROOM_NS / NS_PER_S));
    }
}

static void note_catchup(struct node *node, const struct catchup *catchup)
{
    node->pulling = catchup->pull.state != PULL_IDLE;
    if (node->filling && !catchup->lacks && node->fill_interrupted) {
        node->fill_interrupted = false;
        mark(MARK_BACKFILL_RESUMED);
    }
    node->filling = catchup->lacks;
}

static void note_resends(const struct member_run *run)
{
    const struct peers *peers = run->log->peers;

    for (uint32_t i = 0; peers != NULL && i < peers->n; i++) {
        if (peers->list[i].sent.resends != 0) {
            mark(MARK_RESENT);
        }
    }
}

static void look_at_scrub(struct member_run *run)
{
    const struct mender *mender = &run->log->mender;
    struct node *node = run->node;

    if (!run->log->catchup_open) {
        return;
    }
    if (mender->bad > 0 && !node->damaged) {
        world_fail("scrub: member %u calls %" PRIu64 " entries bad, its disk lost nothing", node->id, mender->bad);
    }
    if (mender->repaired == node->seen.repaired) {
        return;
    }
    node->seen.repaired = mender->repaired;
    mark(MARK_SCRUB_REPAIRED);
    for (uint64_t i = mender->repaired_first; i <= mender->repaired_last; i++) {
        if (i > history_last() || !invariants_holds(node, i)) {
            world_fail("scrub: member %u repaired entry %" PRIu64 " with other bytes than were committed", node->id,
                       i);
        }
    }
}

void invariants_look(struct member_run *run)
{
    struct node *node = run->node;

    if (run->log == NULL || run->log->closing || w.forgiven) {
        return;
    }
    look_at_log(node, run->log->commitlog, NULL);
    look_at_commit(run);
    look_at_leadership(run);
    look_at_scrub(run);
    note_catchup(node, &run->log->catchup);
    if (node->lost_end && run->log->driver.core != NULL && run->log->meta.claim.index == 0) {
        node->lost_end = false;
        mark(MARK_LOST_END_FILLED);
    }
    if (++node->seen.turns % READ_EVERY == 0) {
        read_at_end(run);
        read_somewhere(run);
        look_at_room(run);
        note_resends(run);
    }
}

void invariants_opened(struct member_run *run)
{
    struct node *node = run->node;
    struct seen *seen = &node->seen;
    const struct meta *meta = &run->log->meta;

    if (w.forgiven) {
        return;
    }
    if (meta->term < seen->promised_term || (meta->term == seen->vote_term && meta->vote != seen->vote)) {
        world_fail("vote: member %u starts in term %" PRIu64 " with vote %u, and has spoken in term %" PRIu64
                   ", voted for %u in term %" PRIu64,
                   node->id, meta->term, meta->vote, seen->promised_term, seen->vote, seen->vote_term);
    }
    seen->commit = seen->applied = seen->leading_term = seen->loose_pos = seen->repaired = 0;
    node->incarnation = meta->incarnation;
    node->room_ns = node->room_ns != 0 ? world_now() : 0;
    if (meta->claim.index != 0) {
        mark(MARK_CLAIM);
    }
    look_at_log(node, run->log->commitlog, &meta->claim);
    nemesis_moment(node, MOMENT_OPENED);
}

/* ---- apply ---- */

void invariants_apply(struct member_run *run, const struct rlog_entry *entry)
{
    struct node *node = run->node;
    const struct committed *committed;

    if (w.forgiven) {
        return;
    }
    look_at_log(node, run->log->commitlog, NULL);
    look_at_commit(run);
    if (entry->index > history_last()) {
        world_fail("applied: member %u applies entry %" PRIu64 ", committed are %" PRIu64, node->id, entry->index,
                   history_last());
    }
    if (entry->index <= node->seen.applied) {
        world_fail("applied: member %u applies entry %" PRIu64 " after entry %" PRIu64, node->id, entry->index,
                   node->seen.applied);
    }
    committed = history_at(entry->index);
    if (committed->term != entry->term || committed->pos + RLOG_HEADER_BYTES != entry->pos ||
        (!node->damaged && mq_crc32c(0, entry->payload, entry->payload_bytes) != committed->payload_crc)) {
        world_fail("committed: member %u applies an entry %" PRIu64 " with other bytes than were committed", node->id,
                   entry->index);
    }
    if (!own_platter_holds(node, entry->index)) {
        world_fail("applied: member %u applies entry %" PRIu64 ", which is not on its own disk", node->id,
                   entry->index);
    }
    node->seen.applied = entry->index;
}

/* ---- messages ---- */

static void check_vote(struct node *node, uint64_t term, uint32_t vote)
{
    struct seen *seen = &node->seen;
    struct term_and_vote durable = platter_vote(node);

    if (seen->vote_term == term && seen->vote != vote) {
        world_fail("vote: member %u votes for %u in term %" PRIu64 " after it voted for %u", node->id, vote, term,
                   seen->vote);
    }
    if (durable.term < term || (durable.term == term && durable.vote != vote)) {
        world_fail("promise: member %u votes for %u in term %" PRIu64 ", its disk says %u in term %" PRIu64, node->id,
                   vote, term, durable.vote, durable.term);
    }
    if (term > seen->vote_term) {
        seen->vote_term = term;
        seen->vote = vote;
    }
}

static void check_term(struct node *node, uint64_t term)
{
    if (term <= node->seen.promised_term) {
        return;
    }
    if (platter_vote(node).term < term) {
        world_fail("promise: member %u speaks in term %" PRIu64 ", its disk says term %" PRIu64, node->id, term,
                   platter_vote(node).term);
    }
    node->seen.promised_term = term;
}

void invariants_send(struct member_run *run, const struct core_message *message)
{
    struct node *node = run->node;

    if (w.forgiven) {
        return;
    }
    look_at_log(node, run->log->commitlog, NULL);
    switch (message->type) {
    case CORE_VOTE:
        if (!message->vote.pre_vote) {
            check_term(node, message->term);
            check_vote(node, message->term, node->id);
            nemesis_moment(node, MOMENT_STAND);
        }
        break;
    case CORE_VOTE_RESULT:
        if (message->vote_result.granted && !message->vote_result.pre_vote) {
            check_term(node, message->term);
            check_vote(node, message->term, message->peer);
            nemesis_moment(node, MOMENT_VOTE);
        }
        break;
    case CORE_APPEND:
        check_term(node, message->term);
        break;
    case CORE_APPEND_RESULT:
        if (message->append_result.rejected == 0) {
            check_term(node, message->term);
            if (!own_platter_holds(node, message->append_result.last_index)) {
                world_fail("promise: member %u acknowledges entry %" PRIu64 ", entry %" PRIu64 " is not on its disk",
                           node->id, message->append_result.last_index, node->seen.on_platter + 1);
            }
            nemesis_moment(node, MOMENT_ACK);
        }
        break;
    default:
        break;
    }
}

/* ---- ends ---- */

void invariants_ended(struct node *node, enum process_end how, int code)
{
    bool excused = node->damaged || node->excused_ns >= world_now();

    if (node->pulling) {
        mark(MARK_INSTALL_INTERRUPTED);
    }
    node->fill_interrupted |= node->filling;
    node->pulling = false;
    if (how == PROCESS_KILLED || how == PROCESS_LOST || (how == PROCESS_RETURNED && code == 0)) {
        return;
    }
    if (!excused) {
        world_fail("ended: member %u %s with code %d, its disk had no fault", node->id,
                   how == PROCESS_EXITED ? "ended" : "refused to start", code);
        return;
    }
    mark(how == PROCESS_EXITED ? MARK_WRITE_FAILED : MARK_START_FAILED);
}
