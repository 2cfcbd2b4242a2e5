#include "tests/sim/invariants.h"

#include "raft-log/log/little.h"
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
#define READ_EVERY 16u    /* turns */
#define OFFSETS_EVERY 16u /* entries */

static struct {
    uint32_t leaders[TERMS_MAX]; /* by term */
    struct state_at {
        uint64_t index, hash;
        uint32_t node;
    } * states; /* by index */
    uint64_t states_cap;
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
    free(w.states);
    memset(&w, 0, sizeof(w));
    rng_seed(&w.rng, world_seed(), 5);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- platters ---- */

/* @n bytes of the log at @pos as they lie on the platter, or in the page cache; NULL: not all there. */
static const uint8_t *bytes_in(const struct node *node, bool cached, uint64_t pos, uint64_t n)
{
    uint64_t first = pos - pos % cluster_plan->segment_bytes;
    struct disk *disk = machine_disk(node->machine);
    const uint8_t *bytes;
    uint64_t size = 0;
    char path[64];

    snprintf(path, sizeof(path), CLUSTER_LOG_DIR "/log/%020" PRIu64, first);
    bytes = cached ? disk_file(disk, path, &size) : disk_platter(disk, path, &size);
    return bytes != NULL && pos - first + n <= size ? bytes + (pos - first) : NULL;
}

/* Whether the member has entry @pos so that it may say so: on its platter, or written where entries are flushed late.
 */
static bool entry_is_held(const struct node *node, uint64_t pos, uint32_t crc)
{
    bool cached = cluster_plan->flush_ms != 0;
    const uint8_t *at = bytes_in(node, cached, pos, RLOG_HEADER_BYTES);
    struct rlog_header header;

    if (at == NULL || rlog_le32_load(at + 4) != crc || rlog_header_decode(at, RLOG_HEADER_BYTES, &header) != 0 ||
        header.pos != pos) {
        return false;
    }
    at = bytes_in(node, cached, pos, rlog_entry_bytes(header.payload_bytes));
    return at != NULL && rlog_entry_is_sound(&header, at);
}

/* A damaged disk, or one that was taken away, did have it: that it lost something is the one fault that the others
 * stand in for. */
static bool has_held(const struct member *member, uint64_t index, uint64_t pos, uint32_t crc)
{
    const struct node *node = &nodes[member->id - 1];

    if (member->incarnation != node->incarnation) {
        return member->incarnation == node->former_incarnation && pos <= node->wiped_pos;
    }
    return node->damaged || node->seen.base >= index || pos <= node->lost_pos || entry_is_held(node, pos, crc);
}

static bool majority_holds(const struct membership *members, uint64_t index, uint64_t pos, uint32_t crc)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < members->n; i++) {
        const struct member *member = &members->members[i];

        n += member->role == MEMBER_VOTER && has_held(member, index, pos, crc);
    }
    return n > membership_voters(members) / 2;
}

/* Everything up to @index, as the member has it, lies on its own platter. */
static bool own_platter_holds(struct node *node, uint64_t index)
{
    struct seen *seen = &node->seen;

    while (seen->on_platter < index) {
        uint64_t next = seen->on_platter + 1;

        if (next > seen->last ||
            (next > seen->base && !node->damaged && !entry_is_held(node, seen->poss[next], seen->crcs[next]))) {
            return false;
        }
        seen->on_platter = next;
    }
    return true;
}

struct term_and_vote {
    uint64_t term;
    uint32_t vote;
};

/* What the weaker of the two copies on the platter says; where one was made bad, the stronger. */
static struct term_and_vote platter_vote(const struct node *node)
{
    static const char *const paths[2] = {CLUSTER_LOG_DIR "/meta-0", CLUSTER_LOG_DIR "/meta-1"};
    struct term_and_vote out = {node->meta_flipped ? 0 : UINT64_MAX, 0};

    for (int k = 0; k < 2; k++) {
        uint64_t size = 0, term = 0;
        const uint8_t *at = disk_platter(machine_disk(node->machine), paths[k], &size);
        bool good = at != NULL && size >= 64 && rlog_le32_load(at + 4) == mq_crc32c(0, at + 8, 56);

        term = good ? rlog_le64_load(at + 24) : 0;
        if (node->meta_flipped ? term >= out.term : term < out.term) {
            out = (struct term_and_vote){term, good ? rlog_le32_load(at + 12) : 0};
        }
    }
    return out;
}

/* ---- a member's log, as it was seen ---- */

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

/* ---- where a member's log begins ---- */

struct snapshot_files {
    struct disk *disk;
    uint64_t from; /* only those at or above this index */
    uint32_t n;
};

static void count_snapshot(void *data, const char *path, uint64_t bytes)
{
    static const char dir[] = CLUSTER_LOG_DIR "/snapshot/";
    struct snapshot_files *files = data;
    char *end;
    uint64_t index, size;

    (void)bytes;
    if (strncmp(path, dir, sizeof(dir) - 1) != 0) {
        return;
    }
    index = strtoull(path + sizeof(dir) - 1, &end, 10);
    files->n += *end == '\0' && index >= files->from && disk_platter(files->disk, path, &size) != NULL;
}

static uint32_t snapshots_on_platter(const struct node *node, uint64_t from)
{
    struct snapshot_files files = {machine_disk(node->machine), from, 0};

    disk_each(files.disk, count_snapshot, &files);
    return files.n;
}

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

static void look_at_log(struct node *node, const struct commitlog *log, const struct rlog_claim *claim)
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

void invariants_look(struct member_run *run)
{
    struct node *node = run->node;

    if (run->log == NULL || run->log->closing || w.forgiven) {
        return;
    }
    look_at_log(node, run->log->commitlog, NULL);
    look_at_commit(run);
    look_at_leadership(run);
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
    seen->commit = seen->applied = seen->leading_term = seen->loose_pos = 0;
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

bool invariants_holds(const struct node *node, uint64_t index)
{
    return index <= node->seen.base || entry_is_held(node, history_at(index)->pos, history_at(index)->crc);
}

static void check_offsets(const struct member_run *run)
{
    for (uint32_t g = 0; g < GROUPS; g++) {
        for (uint32_t t = 0; t < TOPICS; t++) {
            for (uint32_t q = 0; q < QUEUES; q++) {
                char group[16], topic[16];
                int64_t is;

                snprintf(group, sizeof(group), "g%u", g);
                snprintf(topic, sizeof(topic), "t%u", t);
                is = offset_table_get(&run->state.offsets, mq_str_of(group), mq_str_of(topic), (int32_t)q);
                if (is != history_offset(g, t, q)) {
                    world_fail("offsets: member %u has offset %" PRId64
                               " of %s in %s %u, committed last was %" PRId64,
                               run->node->id, is, group, topic, q, history_offset(g, t, q));
                    return;
                }
            }
        }
    }
}

static void reserve_states(uint64_t slot)
{
    struct process *before;
    uint64_t cap = w.states_cap == 0 ? 1024 : w.states_cap * 2;

    if (slot < w.states_cap) {
        return;
    }
    before = world_outside_begin();
    w.states = realloc(w.states, cap * sizeof(w.states[0]));
    memset(w.states + w.states_cap, 0, (cap - w.states_cap) * sizeof(w.states[0]));
    w.states_cap = cap;
    world_outside_end(before);
}

/* Without the index that was applied last, which a snapshot may give differently from an entry. */
static uint64_t hash_of_sections(struct state *state)
{
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    uint32_t n = state_sections(state, sections);
    uint64_t hash = n;

    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ sections[i].hash ^ sections[i].id) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* The state is as of entry @index. */
static void check_state(struct member_run *run, uint64_t index)
{
    uint64_t hash = hash_of_sections(&run->state);
    struct state_at *at;

    index = history_at(index)->command;
    reserve_states(index + 1);
    at = &w.states[index];
    if (at->index == 0) {
        *at = (struct state_at){index, hash, run->node->id};
    }
    if (at->hash != hash) {
        world_fail("state: members %u and %u differ at index %" PRIu64, at->node, run->node->id, index);
    }
}

void invariants_applied(struct member_run *run, const struct rlog_entry *entry)
{
    if (w.forgiven) {
        return;
    }
    check_state(run, entry->index);
    if (entry->index % OFFSETS_EVERY == 0 && entry->index == history_last()) {
        check_offsets(run);
    }
}

/* ---- snapshots ---- */

void invariants_restore(struct member_run *run, const struct rlog_entry *entry, uint32_t crc)
{
    struct node *node = run->node;

    if (w.forgiven) {
        return;
    }
    if (entry->index > history_last() || history_at(entry->index)->crc != crc ||
        history_at(entry->index)->term != entry->term ||
        history_at(entry->index)->pos + history_at(entry->index)->bytes != entry->pos) {
        world_fail("state: member %u loads a snapshot of entry %" PRIu64 ", which is not what was committed",
                   node->id, entry->index);
    }
    if (entry->index <= node->seen.applied) {
        world_fail("state: member %u loads a snapshot of entry %" PRIu64 ", and has applied %" PRIu64, node->id,
                   entry->index, node->seen.applied);
    }
    node->seen.applied = entry->index;
}

void invariants_restored(struct member_run *run)
{
    if (w.forgiven) {
        return;
    }
    check_state(run, run->node->seen.applied);
    if (state_hash(&run->state) != state_recount(&run->state)) {
        world_fail("state: the hash of what member %u has loaded is not that of its rows", run->node->id);
    }
}

static const struct queue *find_queue(const struct member_run *run, uint32_t t, uint32_t q)
{
    struct topic_queues *queues;
    char topic[16];

    snprintf(topic, sizeof(topic), "t%u", t);
    HASH_FIND(hh, run->store.queues.by_topic, topic, strlen(topic), queues);
    return queues != NULL ? topic_queues_find(queues, (int32_t)q) : NULL;
}

/* A queue holds the records of all entries that are applied, from those on that the log holds; and it may have more
 * in front. */
static void check_queue(const struct member_run *run, uint32_t t, uint32_t q)
{
    uint64_t start = commitlog_start_pos(run->log->commitlog);
    uint64_t end = history_records_below(t, q, run->log->driver.applied_pos);
    uint64_t from = history_records_below(t, q, start > history_log_start() ? start : history_log_start());
    const struct queue *queue = find_queue(run, t, q);
    uint64_t min = queue != NULL ? queue->cq.min : 0, max = queue != NULL ? queue->cq.max : 0;
    struct consume_unit unit;

    if (max != end || (min > from && min != max)) {
        world_fail("queues: member %u has %" PRIu64 " to %" PRIu64 " of topic %u queue %u, there are %" PRIu64
                   " to %" PRIu64,
                   run->node->id, min, max, t, q, from, end);
        return;
    }
    for (uint64_t i = min; i < max; i++) {
        consume_queue_get(&queue->cq, i, &unit);
        if (unit.pos != history_record_pos(t, q, i)) {
            world_fail("queues: member %u finds offset %" PRIu64 " of topic %u queue %u at %" PRIu64
                       ", it is at %" PRIu64,
                       run->node->id, i, t, q, unit.pos, history_record_pos(t, q, i));
            return;
        }
    }
}

void invariants_replayed(struct member_run *run)
{
    if (w.forgiven) {
        return;
    }
    for (uint32_t i = 0; i < TOPICS * QUEUES; i++) {
        check_queue(run, i / QUEUES, i % QUEUES);
    }
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

static void fail_identical(const struct node *a, const struct node *b, uint64_t pos, const uint8_t *at,
                           const uint8_t *other, uint64_t n)
{
    uint64_t k = 0, index = 1;

    while (at != NULL && other != NULL && k < n && at[k] == other[k]) {
        k++;
    }
    while (index < history_last() && history_at(index + 1)->pos <= pos + k) {
        index++;
    }
    world_fail("identical: the disks of members %u and %u differ at %" PRIu64 ", entry %" PRIu64 " from %" PRIu64
               ": %s%s",
               a->id, b->id, pos + k, index, history_at(index)->pos,
               at == NULL || other == NULL ? "not there"
               : at[k] == 0                ? "zeros in the first"
                                           : "",
               at != NULL && other != NULL && other[k] == 0 ? "zeros in the second" : "");
}

/* What both hold is the same. */
static void check_platters(const struct node *a, const struct node *b)
{
    uint64_t segment = cluster_plan->segment_bytes;
    uint64_t a_start = commitlog_start_pos(a->run->log->commitlog);
    uint64_t b_start = commitlog_start_pos(b->run->log->commitlog);
    uint64_t pos = a_start > b_start ? a_start : b_start;

    while (pos < history_end_pos()) {
        uint64_t n = least(segment - pos % segment, history_end_pos() - pos);
        const uint8_t *at = bytes_in(a, pos < a->seen.loose_pos, pos, n);
        const uint8_t *other = bytes_in(b, pos < b->seen.loose_pos, pos, n);

        if (at == NULL || other == NULL || memcmp(at, other, n) != 0) {
            fail_identical(a, b, pos, at, other, n);
            return;
        }
        pos += n;
    }
}

/* At rest the queues begin where the log does. */
static void check_queue_ends(const struct member_run *run)
{
    for (uint32_t t = 0; t < TOPICS; t++) {
        for (uint32_t q = 0; q < QUEUES; q++) {
            const struct queue *queue = find_queue(run, t, q);
            uint64_t min = history_records_below(t, q, history_log_start());
            uint64_t max = history_queue_end(t, q);

            if (max != 0 && (queue == NULL || queue->cq.max != max || (queue->cq.min != min && min != max))) {
                world_fail("queues: member %u has %" PRIu64 " to %" PRIu64 " of topic %u queue %u in the end, there "
                           "are %" PRIu64 " to %" PRIu64,
                           run->node->id, queue != NULL ? queue->cq.min : 0, queue != NULL ? queue->cq.max : 0, t, q,
                           min, max);
                return;
            }
        }
    }
}

void invariants_equal(void)
{
    const struct node *first = NULL;

    for (uint32_t i = 0; i < cluster_size() && world_failure() == NULL; i++) {
        struct node *node = &nodes[i];

        if (!cluster_is_up(node) || node->stays_down || !operator_is_member(node)) {
            continue;
        }
        check_offsets(node->run);
        check_queue_ends(node->run);
        if (first == NULL) {
            first = node;
            continue;
        }
        if (hash_of_sections(&first->run->state) != hash_of_sections(&node->run->state)) {
            world_fail("state: members %u and %u differ in the end", first->id, node->id);
        }
        check_platters(first, node);
    }
}
