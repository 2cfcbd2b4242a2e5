/* State, queues, and what all members have in the end. */
#include "tests/sim/invariants_inside.h"

#include "raft-log/log/little.h"
#include "raft-log/log/meta.h"
#include "remoting/base/crc.h"
#include "tests/sim/operator.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OFFSETS_EVERY 16u /* entries */

static struct {
    struct state_at {
        uint64_t index, hash;
        uint32_t node;
    } * states; /* by index */
    uint64_t states_cap;
} w;

void invariants_state_reset(void)
{
    free(w.states);
    memset(&w, 0, sizeof(w));
}

static void check_ordered_offsets(const struct member_run *run)
{
    for (uint32_t t = 0; t < TOPICS; t++) {
        for (uint32_t q = 0; q < QUEUES; q++) {
            int64_t is =
                offset_table_get(&run->state.offsets, MQ_STR("o"), mq_str_of(history_topic_name(t)), (int32_t)q);

            if (is != history_ordered_offset(t, q)) {
                world_fail("order: member %u has offset %" PRId64 " of the group that pops in order in t%u %u, the "
                           "first message that is not acknowledged has %" PRId64,
                           run->node->id, is, t, q, history_ordered_offset(t, q));
                return;
            }
        }
    }
}

static void check_offsets(const struct member_run *run)
{
    check_ordered_offsets(run);
    for (uint32_t g = 0; g < GROUPS; g++) {
        char group[16];

        snprintf(group, sizeof(group), "g%u", g);
        for (uint32_t t = 0; t < TOPICS; t++) {
            const char *topic = history_topic_name(t);

            for (uint32_t q = 0; q < QUEUES; q++) {
                int64_t is = offset_table_get(&run->state.offsets, mq_str_of(group), mq_str_of(topic), (int32_t)q);

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
    if (invariants_forgiven()) {
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

    if (invariants_forgiven()) {
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
    if (invariants_forgiven()) {
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
    const char *topic = history_topic_name(t);

    HASH_FIND(hh, run->store.queues.by_topic, topic, strlen(topic), queues);
    return queues != NULL ? topic_queues_find(queues, (int32_t)q) : NULL;
}

/* A queue holds the records of all entries that are applied, from those on that the log holds; and it may have more
 * in front. */
static void check_queue(const struct member_run *run, uint32_t t, uint32_t q)
{
    uint64_t start = commitlog_start_pos(run->log->commitlog), applied = run->log->driver.applied_pos;
    uint64_t end = history_records_below(t, q, applied, applied);
    uint64_t from = history_records_below(t, q, start > history_log_start() ? start : history_log_start(), applied);
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
        if (unit.pos != history_record_pos(t, q, i, applied)) {
            world_fail("queues: member %u finds offset %" PRIu64 " of topic %u queue %u at %" PRIu64
                       ", it is at %" PRIu64,
                       run->node->id, i, t, q, unit.pos, history_record_pos(t, q, i, applied));
            return;
        }
    }
}

void invariants_replayed(struct member_run *run)
{
    if (invariants_forgiven()) {
        return;
    }
    for (uint32_t i = 0; i < TOPICS_ALL * QUEUES; i++) {
        check_queue(run, i / QUEUES, i % QUEUES);
    }
}

/* ---- the end ---- */

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

/* What a kill left unsynced comes to the disk in a while: late flushes, and repairs of what was spoilt. */
static bool may_be_loose(const struct node *node, uint64_t pos)
{
    return node->damaged || pos < node->seen.loose_pos;
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
        const uint8_t *at = disk_bytes(a, may_be_loose(a, pos), pos, n);
        const uint8_t *other = disk_bytes(b, may_be_loose(b, pos), pos, n);

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
    for (uint32_t t = 0; t < TOPICS_ALL; t++) {
        for (uint32_t q = 0; q < QUEUES; q++) {
            const struct queue *queue = find_queue(run, t, q);
            uint64_t min = history_records_below(t, q, history_log_start(), UINT64_MAX);
            uint64_t max = history_queue_end(t, q);

            if (queue == NULL ? max != 0 : queue->cq.max != max || (queue->cq.min != min && min != max)) {
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
        if (!history_waits(NULL) && node->run->state.pending.count != 0) {
            world_fail("waiting: %u messages wait on member %u in the end, none is to",
                       node->run->state.pending.count, node->id);
        }
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
