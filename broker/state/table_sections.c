/* Topics, groups, offsets and locks as sections of a snapshot: what their tables do, by the state's name for it. */
#include "broker/state/table_sections.h"

#include "broker/state/fsm.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/defect.h"

enum { SECTION_TOPICS = 1, SECTION_GROUPS = 2, SECTION_OFFSETS = 3, SECTION_LOCKS = 4 };

static void topics_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    topic_table_copy_begin(&state->topics, section, sink);
}

static bool topics_step(struct state *state)
{
    return topic_table_copy_step(&state->topics);
}

static void topics_end(struct state *state)
{
    table_copy_end(&state->topics.copy);
}

static void topics_clear(struct state *state)
{
    topic_table_clear(&state->topics);
}

static int topics_restore(struct state *state, const ProtobufCMessage *rows)
{
    return topic_table_restore(&state->topics, (const Raftmq__TopicRows *)rows);
}

static uint64_t topics_hash(struct state *state)
{
    return topic_table_hash(&state->topics);
}

static uint64_t topics_recount(const struct state *state)
{
    return topic_table_recount(&state->topics);
}

static void groups_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    group_table_copy_begin(&state->groups, section, sink);
}

static bool groups_step(struct state *state)
{
    return group_table_copy_step(&state->groups);
}

static void groups_end(struct state *state)
{
    table_copy_end(&state->groups.copy);
}

static void groups_clear(struct state *state)
{
    group_table_clear(&state->groups);
}

static int groups_restore(struct state *state, const ProtobufCMessage *rows)
{
    return group_table_restore(&state->groups, (const Raftmq__GroupRows *)rows);
}

static uint64_t groups_hash(struct state *state)
{
    return group_table_hash(&state->groups);
}

static uint64_t groups_recount(const struct state *state)
{
    return group_table_recount(&state->groups);
}

static void offsets_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    offset_table_copy_begin(&state->offsets, section, sink);
}

static bool offsets_step(struct state *state)
{
    return !RAFTMQ_DEFECT(SNAPSHOT_WITHOUT_OFFSETS) && offset_table_copy_step(&state->offsets);
}

static void offsets_end(struct state *state)
{
    table_copy_end(&state->offsets.copy);
}

static void offsets_clear(struct state *state)
{
    offset_table_clear(&state->offsets);
}

static int offsets_restore(struct state *state, const ProtobufCMessage *rows)
{
    return offset_table_restore(&state->offsets, (const Raftmq__OffsetRows *)rows);
}

static uint64_t offsets_hash(struct state *state)
{
    return offset_table_hash(&state->offsets);
}

static uint64_t offsets_recount(const struct state *state)
{
    return offset_table_recount(&state->offsets);
}

static void locks_begin(struct state *state, uint16_t section, struct rlog_sink *sink)
{
    lock_table_copy_begin(&state->locks, section, sink);
}

static bool locks_step(struct state *state)
{
    return lock_table_copy_step(&state->locks);
}

static void locks_end(struct state *state)
{
    table_copy_end(&state->locks.copy);
}

static void locks_clear(struct state *state)
{
    lock_table_clear(&state->locks);
}

static int locks_restore(struct state *state, const ProtobufCMessage *rows)
{
    return lock_table_restore(&state->locks, (const Raftmq__LockRows *)rows);
}

static uint64_t locks_hash(struct state *state)
{
    return lock_table_hash(&state->locks);
}

static uint64_t locks_recount(const struct state *state)
{
    return lock_table_recount(&state->locks);
}

const struct state_section topics_section = {
    .id = SECTION_TOPICS,
    .version = 1,
    .level = 1,
    .name = "topics",
    .rows = &raftmq__topic_rows__descriptor,
    .copy_begin = topics_begin,
    .copy_step = topics_step,
    .copy_end = topics_end,
    .clear = topics_clear,
    .restore = topics_restore,
    .hash = topics_hash,
    .recount = topics_recount,
};

const struct state_section groups_section = {
    .id = SECTION_GROUPS,
    .version = 1,
    .level = 1,
    .name = "groups",
    .rows = &raftmq__group_rows__descriptor,
    .copy_begin = groups_begin,
    .copy_step = groups_step,
    .copy_end = groups_end,
    .clear = groups_clear,
    .restore = groups_restore,
    .hash = groups_hash,
    .recount = groups_recount,
};

const struct state_section offsets_section = {
    .id = SECTION_OFFSETS,
    .version = 1,
    .level = 1,
    .name = "offsets",
    .rows = &raftmq__offset_rows__descriptor,
    .copy_begin = offsets_begin,
    .copy_step = offsets_step,
    .copy_end = offsets_end,
    .clear = offsets_clear,
    .restore = offsets_restore,
    .hash = offsets_hash,
    .recount = offsets_recount,
};

const struct state_section locks_section = {
    .id = SECTION_LOCKS,
    .version = 1,
    .level = 1,
    .name = "locks",
    .rows = &raftmq__lock_rows__descriptor,
    .copy_begin = locks_begin,
    .copy_step = locks_step,
    .copy_end = locks_end,
    .clear = locks_clear,
    .restore = locks_restore,
    .hash = locks_hash,
    .recount = locks_recount,
};
