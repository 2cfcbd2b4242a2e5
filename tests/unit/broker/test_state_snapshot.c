/* The state into a snapshot and out of it, while it goes on changing; and the hash that is kept up to date. */
#include "broker/state/fsm.h"

#include "broker/state/command.pb-c.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LOG_BYTES (8u << 20)

static uint64_t seed_of_test(void)
{
    const char *text = getenv("RAFTMQ_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 20261121;

    print_message("RAFTMQ_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void apply_item(struct fixture *f, enum command_type type, const ProtobufCMessage *message)
{
    uint8_t payload[1024];

    MQ_ASSERT(command_bytes(message) <= sizeof(payload));
    command_encode(type, message, payload);
    fake_log_append(f->log, payload, command_bytes(message), 0, 1, (int64_t)f->log->index + 1000);
}

static void put_topic(struct fixture *f, uint32_t n, uint32_t queues)
{
    Raftmq__TopicPut put = RAFTMQ__TOPIC_PUT__INIT;
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;
    Raftmq__Attribute attribute = RAFTMQ__ATTRIBUTE__INIT, *list[] = {&attribute};
    char name[32];

    snprintf(name, sizeof(name), "topic-%u", n);
    attribute.key = (char *)"message.type";
    attribute.value = (char *)"NORMAL";
    config.name = name;
    config.read_queues = config.write_queues = queues;
    config.filter_type = (char *)(queues % 2 == 0 ? "SINGLE_TAG" : "MULTI_TAG");
    config.n_attributes = queues % 3 == 0;
    config.attributes = list;
    put.config = &config;
    apply_item(f, COMMAND_TOPIC_PUT, &put.base);
}

static void put_group(struct fixture *f, uint32_t n, int32_t retries)
{
    Raftmq__GroupPut put;
    char name[32];

    snprintf(name, sizeof(name), "group-%u", n);
    group_defaults(&put, name);
    put.retry_max_times = retries;
    apply_item(f, COMMAND_GROUP_PUT, &put.base);
}

static void put_offset(struct fixture *f, uint32_t group, uint32_t topic, int32_t queue_id, int64_t offset)
{
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;
    char names[2][32];

    snprintf(names[0], sizeof(names[0]), "group-%u", group);
    snprintf(names[1], sizeof(names[1]), "topic-%u", topic);
    commit.group = names[0];
    commit.topic = names[1];
    commit.queue_id = queue_id;
    commit.offset = offset;
    apply_item(f, COMMAND_OFFSET_COMMIT, &commit.base);
}

static void put_lock(struct fixture *f, int32_t queue_id, const char *client, bool release)
{
    Raftmq__LockedQueue queue = RAFTMQ__LOCKED_QUEUE__INIT, *queues[] = {&queue};
    Raftmq__LockGrant grant = RAFTMQ__LOCK_GRANT__INIT;
    Raftmq__LockRelease end = RAFTMQ__LOCK_RELEASE__INIT;

    queue.topic = (char *)"Orders";
    queue.broker_name = (char *)"a";
    queue.queue_id = queue_id;
    grant.group = end.group = (char *)"G";
    grant.client_id = end.client_id = (char *)client;
    grant.queues = end.queues = queues;
    grant.n_queues = end.n_queues = 1;
    apply_item(f, release ? COMMAND_LOCK_RELEASE : COMMAND_LOCK_GRANT, release ? &end.base : &grant.base);
}

static void move_start(struct fixture *f, uint64_t pos)
{
    Raftmq__LogStart start = RAFTMQ__LOG_START__INIT;

    start.pos = pos;
    apply_item(f, COMMAND_LOG_START, &start.base);
}

/* A transaction begins; @n chooses one that is open, to end, to ask for or to move. */
static void change_half(struct fixture *f, uint32_t r, uint32_t n)
{
    Raftmq__HalfPut put = RAFTMQ__HALF_PUT__INIT;
    Raftmq__HalfEnd end = RAFTMQ__HALF_END__INIT;
    Raftmq__HalfChecked checked = RAFTMQ__HALF_CHECKED__INIT;
    Raftmq__HalfMove move = RAFTMQ__HALF_MOVE__INIT;
    const struct half *half = f->state.halves.by_pos;
    const struct fixture_message m = {.queue_id = 22, .qoff = fixture_queue(f, 22)->cq.max, .store_ms = 5};
    uint8_t payload[1024];
    uint32_t bytes = fixture_record(&m, payload);

    for (uint32_t i = n % 8; half != NULL && i != 0 && half->hh.next != NULL; i--) {
        half = half->hh.next;
    }
    fixture_set_pos(payload, rlog_place(f->log, 0));
    if (half != NULL && r == 0) {
        end.pos = half->pos;
        apply_item(f, COMMAND_HALF_END, &end.base);
    } else if (half != NULL && r == 1) {
        uint64_t pos = half->pos;

        checked.pos = &pos;
        checked.n_pos = 1;
        checked.next_ms = n;
        apply_item(f, COMMAND_HALF_CHECKED, &checked.base);
    } else if (half != NULL && r == 2) {
        move.pos = half->pos;
        command_encode(COMMAND_HALF_MOVE, &move.base, payload + bytes);
        fake_log_append(f->log, payload, bytes + command_bytes(&move.base), 1, 1, 5);
    } else {
        put.producer_group = (char *)(n % 2 == 0 ? "one" : "two");
        put.born_ms = n;
        put.check_ms = (int64_t)n + 5;
        command_encode(COMMAND_HALF_PUT, &put.base, payload + bytes);
        fake_log_append(f->log, payload, bytes + command_bytes(&put.base), 1, 1, 5);
    }
}

/* Messages are popped; @n chooses a check point whose messages are acknowledged, kept longer, or come again. */
static void change_pop(struct fixture *f, uint32_t r, uint32_t n)
{
    int64_t pop_ms = (int64_t)f->log->index; /* every entry has another */
    Raftmq__PopTake take = RAFTMQ__POP_TAKE__INIT;
    Raftmq__PopAck ack = RAFTMQ__POP_ACK__INIT;
    Raftmq__PopChange change = RAFTMQ__POP_CHANGE__INIT;
    Raftmq__PopRevive revive = RAFTMQ__POP_REVIVE__INIT;
    const struct pop_check *check = f->state.pops.by_key;
    uint32_t offsets[] = {0, 2, 70000};
    char names[2][32];

    for (uint32_t i = n % 8; check != NULL && i != 0 && check->hh.next != NULL; i--) {
        check = check->hh.next;
    }
    if (check == NULL || r > 4) {
        snprintf(names[0], sizeof(names[0]), "group-%u", n % 3);
        snprintf(names[1], sizeof(names[1]), "topic-%u", n % 5);
        take.group = names[0];
        take.topic = names[1];
        take.queue_id = (int32_t)(n % 4);
        take.start = n;
        take.offsets = offsets;
        take.n_offsets = 1 + n % 3;
        take.pop_ms = pop_ms;
        take.until_ms = pop_ms + n;
        take.next = (int64_t)n + 70001;
        put_topic(f, n % 5, 4);
        apply_item(f, COMMAND_POP_TAKE, &take.base);
        return;
    }
    snprintf(names[0], sizeof(names[0]), "%s", check->key.queue->group.at);
    snprintf(names[1], sizeof(names[1]), "%s", check->key.queue->topic.at);
    ack.group = change.group = revive.group = names[0];
    ack.topic = change.topic = revive.topic = names[1];
    ack.queue_id = change.queue_id = revive.queue_id = check->key.queue->queue_id;
    ack.start = change.start = revive.start = (int64_t)check->key.start;
    ack.pop_ms = change.pop_ms = revive.pop_ms = check->key.pop_ms;
    ack.offsets = offsets;
    ack.n_offsets = 1 + n % 2;
    change.offset = offsets[n % 3];
    change.new_pop_ms = pop_ms;
    change.until_ms = pop_ms + n;
    if (r == 0) {
        apply_item(f, COMMAND_POP_REVIVE, &revive.base);
    } else if (r < 3) {
        apply_item(f, COMMAND_POP_ACK, &ack.base);
    } else {
        apply_item(f, COMMAND_POP_CHANGE, &change.base);
    }
}

/* A batch of a queue is handed out in order, the first time or again, or acknowledged, or kept longer. */
static void change_order(struct fixture *f, uint32_t r, uint32_t n)
{
    Raftmq__OrderTake take = RAFTMQ__ORDER_TAKE__INIT;
    Raftmq__OrderAck ack = RAFTMQ__ORDER_ACK__INIT;
    Raftmq__OrderChange change = RAFTMQ__ORDER_CHANGE__INIT;
    const struct order_batch *batch;
    uint32_t offsets[] = {0, 2, 70000};
    char names[2][32];
    uint64_t qoff;

    snprintf(names[0], sizeof(names[0]), "group-%u", n % 3);
    snprintf(names[1], sizeof(names[1]), "topic-%u", n % 2);
    take.group = ack.group = change.group = names[0];
    take.topic = ack.topic = change.topic = names[1];
    take.queue_id = ack.queue_id = change.queue_id = (int32_t)(n % 4);
    put_topic(f, n % 2, 4);
    batch = order_table_find(&f->state.orders, mq_str_of(names[0]), mq_str_of(names[1]), take.queue_id);
    take.pop_ms = (int64_t)f->log->index + 1; /* every entry has another */
    take.until_ms = take.pop_ms + n % 100;
    take.attempt = n % 4;
    take.seen_offset = offset_table_get(&f->state.offsets, mq_str_of(names[0]), mq_str_of(names[1]), take.queue_id);
    take.start = take.seen_offset > 0 ? take.seen_offset : 0;
    take.offsets = offsets;
    if (batch == NULL || r == 0) {
        take.n_offsets = 1 + n % 3;
        take.next = take.start + 70001;
        take.seen_pop_ms = batch != NULL ? batch->pop_ms : 0;
        take.seen_steps = batch != NULL ? batch->steps : 0;
        apply_item(f, COMMAND_ORDER_TAKE, &take.base);
        return;
    }
    qoff = order_qoff(batch, (uint32_t)__builtin_ctz(order_open(batch, -1)));
    ack.pop_ms = change.pop_ms = batch->pop_ms;
    change.offset = qoff;
    change.until_ms = take.until_ms;
    ack.offsets = &qoff;
    ack.n_offsets = 1;
    if (r == 1) {
        take.again = true;
        take.start = (int64_t)qoff;
        take.n_offsets = 1;
        take.next = (int64_t)batch->next;
        take.seen_pop_ms = batch->pop_ms;
        take.seen_steps = batch->steps;
        apply_item(f, COMMAND_ORDER_TAKE, &take.base);
    } else if (r == 2) {
        apply_item(f, COMMAND_ORDER_CHANGE, &change.base);
    } else {
        apply_item(f, COMMAND_ORDER_ACK, &ack.base);
    }
}

/* A message that waits; @n chooses one that waits already, to end or to move. */
static void change_pending(struct fixture *f, uint32_t r, uint32_t n)
{
    Raftmq__PendingPut put = RAFTMQ__PENDING_PUT__INIT;
    Raftmq__PendingEnd end = RAFTMQ__PENDING_END__INIT;
    Raftmq__PendingMove move = RAFTMQ__PENDING_MOVE__INIT;
    const struct fixture_message m = {.queue_id = 21, .qoff = fixture_queue(f, 21)->cq.max, .store_ms = 5};
    const struct pending_table *table = &f->state.pending;
    const struct pending_row *row = table->count != 0 ? pending_table_at(table, n % table->rows) : NULL;
    uint8_t payload[1024];
    uint32_t bytes;

    if (row != NULL && r % 3 == 0) {
        end.pos = row->pos;
        apply_item(f, COMMAND_PENDING_END, &end.base);
        return;
    }
    bytes = fixture_record(&m, payload);
    fixture_set_pos(payload, rlog_place(f->log, 0));
    if (row != NULL && r % 3 == 1) {
        move.pos = row->pos;
        command_encode(COMMAND_PENDING_MOVE, &move.base, payload + bytes);
        bytes += command_bytes(&move.base);
    } else {
        put.due_ms = (int64_t)n;
        put.key_hash = r % 8;
        put.kind = n % 2 == 0 ? PENDING_LEVEL : PENDING_TIMER;
        command_encode(COMMAND_PENDING_PUT, &put.base, payload + bytes);
        bytes += command_bytes(&put.base);
    }
    fake_log_append(f->log, payload, bytes, 1, 1, 5);
}

static void delete_topic(struct fixture *f, uint32_t n)
{
    Raftmq__TopicDelete item = RAFTMQ__TOPIC_DELETE__INIT;
    char name[32];

    snprintf(name, sizeof(name), n == 0 ? "Orders" : "topic-%u", n);
    item.name = name;
    apply_item(f, COMMAND_TOPIC_DELETE, &item.base);
    uv_run(&f->loop.uv, UV_RUN_NOWAIT);
}

static void delete_group(struct fixture *f, uint32_t n, bool clean)
{
    Raftmq__GroupDelete item = RAFTMQ__GROUP_DELETE__INIT;
    char name[32];

    snprintf(name, sizeof(name), "group-%u", n);
    item.name = name;
    item.clean_offsets = clean;
    apply_item(f, COMMAND_GROUP_DELETE, &item.base);
}

/* A reset, one that was taken, a clone, a mode, or what is forbidden. */
static void put_rest(struct fixture *f, uint32_t what, uint32_t n)
{
    Raftmq__OffsetsReset reset = RAFTMQ__OFFSETS_RESET__INIT;
    Raftmq__ResetTaken taken = RAFTMQ__RESET_TAKEN__INIT;
    Raftmq__OffsetsClone clone = RAFTMQ__OFFSETS_CLONE__INIT;
    Raftmq__RequestModePut mode = RAFTMQ__REQUEST_MODE_PUT__INIT;
    Raftmq__GroupForbidden forbidden = RAFTMQ__GROUP_FORBIDDEN__INIT;
    int32_t ids[] = {0, 3};
    int64_t offsets[] = {n % 3, 7};
    char group[32], other[32], topic[32];

    snprintf(group, sizeof(group), "group-%u", n % 7);
    snprintf(other, sizeof(other), "group-%u", n % 5);
    snprintf(topic, sizeof(topic), "topic-%u", n % 11);
    reset.group = taken.group = clone.source = mode.group = forbidden.group = group;
    reset.topic = taken.topic = mode.topic = forbidden.topic = topic;
    clone.target = other;
    clone.topics = (char *[]){topic};
    clone.n_topics = 1;
    reset.queue_ids = ids;
    reset.offsets = offsets;
    reset.n_queue_ids = reset.n_offsets = 2;
    taken.queue_id = 3;
    taken.offset = 7;
    mode.pop = n % 2;
    mode.pop_share_queues = (int32_t)n % 9 - 1;
    forbidden.read_forbidden = n % 3 != 0;
    switch (what % 5) {
    case 0:
        apply_item(f, COMMAND_OFFSETS_RESET, &reset.base);
        break;
    case 1:
        apply_item(f, COMMAND_RESET_TAKEN, &taken.base);
        break;
    case 2:
        apply_item(f, COMMAND_OFFSETS_CLONE, &clone.base);
        break;
    case 3:
        apply_item(f, COMMAND_REQUEST_MODE_PUT, &mode.base);
        break;
    default:
        apply_item(f, COMMAND_GROUP_FORBIDDEN, &forbidden.base);
    }
}

static void change(struct fixture *f, uint64_t *random)
{
    uint32_t r = next_random(random), n = next_random(random);

    switch (r % 13) {
    case 8:
        delete_topic(f, n % 12);
        break;
    case 9:
        delete_group(f, n % 40, n % 2);
        break;
    case 10:
    case 11:
        put_rest(f, r / 13, n);
        break;
    case 0:
        put_topic(f, n % 40, n % 16);
        break;
    case 1:
        put_group(f, n % 40, (int32_t)(n % 16));
        break;
    case 2:
        put_lock(f, (int32_t)(n % 64), n % 2 == 0 ? "one" : "two", n % 3 == 0);
        break;
    case 3:
    case 4:
        fixture_put(f, &(struct fixture_message){.queue_id = (int32_t)(n % 20), .store_ms = 5}, 1);
        break;
    case 5:
        if (n % 50 == 0) {
            move_start(f, n % 1000);
        }
        break;
    case 6:
        change_pending(f, n % 7, next_random(random));
        change_half(f, n % 5, next_random(random));
        change_pop(f, n % 9, next_random(random));
        change_order(f, n % 5, next_random(random));
        break;
    default:
        put_offset(f, n % 37, n % 11, (int32_t)(n % 9), n % 5 == 0 ? 0 : (int64_t)n);
    }
}

static void the_hash_kept_up_to_date_is_that_of_a_recount(void **state)
{
    uint64_t random = seed_of_test();
    struct fixture f;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    for (int i = 0; i < 4000; i++) {
        change(&f, &random);
        if (i % 7 == 0) {
            assert_int_equal(state_hash(&f.state), state_recount(&f.state));
        }
    }
    fixture_close(&f);
}

static const struct rlog_entry *last_entry(struct fixture *f)
{
    static struct rlog_entry entry;

    entry = (struct rlog_entry){.index = f->state.applied_index, .term = 1, .pos = f->log->end_pos};
    return &entry;
}

/* Each section in pieces of one row where @by_row, else in one. */
static int restore(struct fixture *to, const struct rlog_entry *entry, const struct rlog_section *sections,
                   uint32_t n, const struct rlog_sink *sink, struct mq_buf *problem)
{
    int rc = state_restore_begin(&to->state, entry, 7, sections, n, problem);

    for (uint16_t id = 0; rc == 0 && id < FAKE_SECTIONS; id++) {
        if (sink->rows[id].len != 0) {
            rc = state_restore_rows(&to->state, id, sink->rows[id].base, sink->rows[id].len, problem);
        }
    }
    return rc == 0 ? state_restore_end(&to->state, problem) : rc;
}

static void free_sink(struct rlog_sink *sink)
{
    for (uint16_t id = 0; id < FAKE_SECTIONS; id++) {
        mq_buf_free(&sink->rows[id]);
    }
}

static void compare(struct fixture *f, const struct rlog_section *want)
{
    struct rlog_section got[RLOG_SECTIONS_MAX];

    assert_int_equal(state_sections(&f->state, got), state_section_count());
    for (uint32_t i = 0; i < state_section_count(); i++) {
        print_message("%s\n", want[i].name);
        assert_int_equal(got[i].hash, want[i].hash);
    }
    assert_int_equal(state_hash(&f->state), state_recount(&f->state));
}

static void a_snapshot_is_of_the_moment_it_began_whatever_changes_meanwhile(void **state)
{
    uint64_t random = seed_of_test();
    struct fixture f;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    for (int round = 0; round < 12; round++) {
        struct rlog_section sections[RLOG_SECTIONS_MAX];
        struct rlog_sink sink = {0};
        struct rlog_entry entry;
        struct fixture to;
        struct mq_buf problem = {0};
        uint64_t hash;

        for (int i = 0; i < 150; i++) {
            change(&f, &random);
        }
        entry = *last_entry(&f);
        hash = state_hash(&f.state);
        assert_int_equal(state_sections(&f.state, sections), state_section_count());
        state_snapshot_begin(&f.state, &sink);
        do {
            for (int i = 0; i < 10 * round; i++) {
                change(&f, &random);
            }
        } while (state_snapshot_more(&f.state) == 1);
        state_snapshot_end(&f.state);
        assert_int_equal(sink.failed, 0);
        change(&f, &random);

        fixture_open(&to, LOG_BYTES);
        put_topic(&to, 99, 1); /* what was there before is gone */
        put_offset(&to, 99, 99, 0, 5);
        assert_int_equal(restore(&to, &entry, sections, state_section_count(), &sink, &problem), 0);
        compare(&to, sections);
        assert_int_equal(to.state.applied_index, entry.index);
        assert_int_equal(state_hash(&to.state), hash);
        assert_null(topic_table_find(&to.state.topics, MQ_STR("topic-99")));
        fixture_close(&to);
        free_sink(&sink);
        mq_buf_free(&problem);
    }
    fixture_close(&f);
}

/* Rows of a small state, and its sections. */
static void small_snapshot(struct fixture *f, struct rlog_sink *sink, struct rlog_section *sections)
{
    fixture_open(f, LOG_BYTES);
    put_topic(f, 1, 3);
    put_group(f, 1, 3);
    put_offset(f, 1, 1, 0, 77);
    put_lock(f, 1, "one", false);
    change_pending(f, 2, 4);
    change_half(f, 4, 4);
    change_pop(f, 8, 3);
    for (uint32_t what = 0; what < 5; what++) {
        put_rest(f, what, 1);
    }
    change_order(f, 0, 7);
    fixture_put(f, &(struct fixture_message){.queue_id = 1, .store_ms = 5}, 1);
    delete_topic(f, 0);
    uv_run(&f->loop.uv, UV_RUN_DEFAULT);
    fixture_put(f, &(struct fixture_message){.queue_id = 1, .store_ms = 5}, 1);
    assert_int_equal(state_sections(&f->state, sections), state_section_count());
    state_snapshot_begin(&f->state, sink);
    while (state_snapshot_more(&f->state) == 1) {
    }
    state_snapshot_end(&f->state);
}

static void a_section_or_version_that_is_not_known_is_refused_with_its_feature_level(void **state)
{
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    struct rlog_sink sink = {0};
    struct fixture f, to;
    struct mq_buf problem = {0};

    (void)state;
    small_snapshot(&f, &sink, sections);
    fixture_open(&to, LOG_BYTES);
    put_group(&to, 2, 2);
    sections[state_section_count()] = (struct rlog_section){.id = 40, .version = 1, .level = 3};
    assert_int_equal(restore(&to, last_entry(&f), sections, state_section_count() + 1, &sink, &problem), MQ_EVERSION);
    assert_non_null(memmem(problem.base, problem.len, "section 40 in version 1, which needs feature level 3", 52));
    problem.len = 0;
    sections[2].version = 2;
    sections[2].level = 9;
    assert_int_equal(restore(&to, last_entry(&f), sections, state_section_count(), &sink, &problem), MQ_EVERSION);
    assert_non_null(memmem(problem.base, problem.len, "section 3 in version 2, which needs feature level 9", 51));
    assert_int_equal(to.state.groups.count, 1); /* nothing was touched */
    mq_buf_free(&problem);
    free_sink(&sink);
    fixture_close(&to);
    fixture_close(&f);
}

static void rows_that_cannot_be_are_refused(void **state)
{
    static const struct {
        const char *why;
        uint16_t section;
        const char *rows;
        size_t n;
        bool twice;
        int want;
    } cases[] = {
        {"not protobuf", 3, "\x0A\x7F", 2, false, MQ_EBADMSG},
        {"a field of a later version", 3, "\x78\x01", 2, false, MQ_EVERSION},
        {"an offset row without offsets", 3, "\x0A\x06\x0A\x01g\x12\x01t", 8, false, MQ_EBADMSG},
        {"queue 0 of it without an offset", 3, "\x0A\x09\x0A\x01g\x12\x01t\x1A\x01\x00", 11, false, MQ_EBADMSG},
        {"queues not ascending", 3, "\x0A\x0E\x0A\x01g\x12\x01t\x1A\x02\x02\x02\x22\x02\x02\x02", 16, false,
         MQ_EBADMSG},
        {"a queue that ends at 0", 5, "\x0A\x03\x0A\x01t", 5, false, MQ_EBADMSG},
        {"a queue held from behind its end", 5, "\x0A\x07\x0A\x01t\x18\x01\x20\x02", 9, false, MQ_EBADMSG},
        {"a queue with more messages than the log has bytes", 5,
         "\x0A\x0D\x0A\x01t\x18\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", 15, false, MQ_EBADMSG},
        {"a queue id too large", 5, "\x0A\x09\x0A\x01t\x10\xFF\xFF\x03\x18\x01", 11, false, MQ_EBADMSG},
        {"a waiting message of no kind", 11, "\x0A\x02\x08\x07", 4, false, MQ_EBADMSG},
        {"a waiting message of a later kind", 11, "\x0A\x04\x08\x07\x28\x03", 6, false, MQ_EBADMSG},
        {"a waiting message larger than any", 11, "\x0A\x08\x10\x80\x80\x80\x80\x02\x28\x01", 10, false, MQ_EBADMSG},
        {"a waiting message twice", 11, NULL, 0, true, MQ_EBADMSG},
        {"an open transaction twice", 12, NULL, 0, true, MQ_EBADMSG},
        {"a check point twice", 13, NULL, 0, true, MQ_EBADMSG},
        {"a check point without messages", 13, "\x0A\x06\x0A\x01g\x12\x01t", 8, false, MQ_EBADMSG},
        {"a check point whose messages are not ascending", 13, "\x0A\x0A\x0A\x01g\x12\x01t\x2A\x02\x02\x02", 12,
         false, MQ_EBADMSG},
        {"a check point that is over", 13, "\x0A\x0B\x0A\x01g\x12\x01t\x2A\x01\x02\x30\x01", 13, false, MQ_EBADMSG},
        {"a check point with more acknowledged than it has", 13, "\x0A\x0B\x0A\x01g\x12\x01t\x2A\x01\x02\x30\x02", 13,
         false, MQ_EBADMSG},
        {"a check point of a queue id too large", 13, "\x0A\x0D\x0A\x01g\x12\x01t\x18\xFF\xFF\x07\x2A\x01\x02", 15,
         false, MQ_EBADMSG},
        {"a batch twice", 14, NULL, 0, true, MQ_EBADMSG},
        {"a batch without messages", 14, "\x0A\x08\x0A\x01g\x12\x01t\x28\x09", 10, false, MQ_EBADMSG},
        {"a batch with a message that nobody ever held", 14,
         "\x0A\x0E\x0A\x01g\x12\x01t\x28\x09\x32\x01\x02\x4A\x01\x00", 16, false, MQ_EBADMSG},
        {"a batch that was not counted", 14, "\x0A\x0E\x0A\x01g\x12\x01t\x28\x09\x32\x01\x02\x42\x01\x00", 16, false,
         MQ_EBADMSG},
        {"a batch that is over", 14, "\x0A\x13\x0A\x01g\x12\x01t\x28\x09\x32\x01\x02\x38\x01\x42\x01\x00\x4A\x01\x00",
         21, false, MQ_EBADMSG},
        {"a batch that ends before its last message", 14,
         "\x0A\x11\x0A\x01g\x12\x01t\x28\x02\x32\x01\x02\x42\x01\x00\x4A\x01\x00", 19, false, MQ_EBADMSG},
        {"a batch of a queue id too large", 14,
         "\x0A\x15\x0A\x01g\x12\x01t\x18\xFF\xFF\x07\x28\x09\x32\x01\x02\x42\x01\x00\x4A\x01\x00", 23, false,
         MQ_EBADMSG},
        {"a field of a later version in a transaction", 12, "\x0A\x02\x78\x01", 4, false, MQ_EVERSION},
        {"a topic twice", 1, NULL, 0, true, MQ_EBADMSG},
        {"a group twice", 2, NULL, 0, true, MQ_EBADMSG},
        {"an offset row twice", 3, NULL, 0, true, MQ_EBADMSG},
        {"a lock twice", 4, NULL, 0, true, MQ_EBADMSG},
        {"a queue twice", 5, NULL, 0, true, MQ_EBADMSG},
        {"a queue that began behind the log's end", 5, "\x0A\x09\x0A\x01t\x18\x01\x28\xFF\xFF\x7F", 11, false,
         MQ_EBADMSG},
        {"queues of a topic in two lives", 5,
         "\x0A\x07\x0A\x01t\x18\x01\x28\x01\x0A\x09\x0A\x01t\x10\x01\x18\x01\x28\x02", 20, false, MQ_EBADMSG},
        {"a deleted topic twice", 7, NULL, 0, true, MQ_EBADMSG},
        {"a deleted topic without a place", 7, "\x0A\x03\x0A\x01t", 5, false, MQ_EBADMSG},
        {"a reset twice", 8, NULL, 0, true, MQ_EBADMSG},
        {"a request mode twice", 9, NULL, 0, true, MQ_EBADMSG},
        {"what is forbidden twice", 10, NULL, 0, true, MQ_EBADMSG},
        {"a field of a later version in the resets", 8, "\x0A\x02\x78\x01", 4, false, MQ_EVERSION},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct rlog_section sections[RLOG_SECTIONS_MAX];
        struct rlog_sink sink = {0};
        struct fixture f, to;
        struct mq_buf problem = {0};
        struct mq_buf *rows = &sink.rows[cases[i].section];

        print_message("%s\n", cases[i].why);
        small_snapshot(&f, &sink, sections);
        if (cases[i].twice) {
            struct mq_buf again = {0};

            assert_int_equal(mq_buf_put(&again, rows->base, rows->len), 0);
            assert_int_equal(mq_buf_put(rows, again.base, again.len), 0);
            mq_buf_free(&again);
        } else {
            rows->len = 0;
            assert_int_equal(mq_buf_put(rows, cases[i].rows, cases[i].n), 0);
        }
        fixture_open(&to, LOG_BYTES);
        assert_int_equal(restore(&to, last_entry(&f), sections, state_section_count(), &sink, &problem),
                         cases[i].want);
        assert_true(problem.len != 0);
        mq_buf_free(&problem);
        free_sink(&sink);
        fixture_close(&to);
        fixture_close(&f);
    }
}

static void every_failing_allocation_fails_the_snapshot_and_nothing_else(void **state)
{
    int failed = 1;

    (void)state;
    for (unsigned n = 1; failed != 0; n++) {
        struct rlog_sink sink = {0};
        struct fixture f;

        fixture_open(&f, LOG_BYTES);
        put_topic(&f, 1, 3);
        put_offset(&f, 1, 1, 0, 77);
        mq_heap_fail_at(n);
        state_snapshot_begin(&f.state, &sink);
        while (state_snapshot_more(&f.state) == 1) {
        }
        mq_heap_fail_at(0);
        state_snapshot_end(&f.state);
        failed = sink.failed;
        assert_true(failed == 0 || failed == MQ_ENOMEM);
        put_topic(&f, 1, 4);
        assert_int_equal(state_hash(&f.state), state_recount(&f.state));
        free_sink(&sink);
        fixture_close(&f);
    }
}

/* For ever: what a snapshot has of deletions, resets, modes and what is forbidden. */
static void the_rows_of_these_sections_are_these_bytes(void **state)
{
    static const struct {
        uint16_t section;
        const char *bytes;
        size_t n;
    } want[] = {
        {7, "\x0A\x0B\x0A\x06Orders\x10", 13}, /* and the position, which is checked below */
        {8, "\x0A\x14\x0A\x07group-1\x12\x07topic-1\x20\x01", 22},
        {9, "\x0A\x14\x0A\x07group-1\x12\x07topic-1\x18\x01", 22},
        {10, "\x0A\x12\x0A\x07group-1\x12\x07topic-1", 20},
        {12, "\x0A\x14\x08\xF0\x06\x10\xF0\x06\x22\x03one\x28\x08\x30\x12\x4D\x50\xDF\xC3\xDD", 22},
        {13, "\x0A\x1D\x0A\x07group-0\x12\x07topic-3\x18\x03\x20\x03\x2A\x01\x00\x38\x0C\x40\x12", 31},
    };
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    struct rlog_sink sink = {0};
    struct fixture f;
    uint64_t pos;

    (void)state;
    small_snapshot(&f, &sink, sections);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        const struct mq_buf *rows = &sink.rows[want[i].section];

        assert_int_equal(rows->len, want[i].n);
        assert_memory_equal(rows->base, want[i].bytes, want[i].section == 7 ? 11 : want[i].n);
    }
    pos = deleted_table_pos(&f.state.deleted, MQ_STR("Orders"));
    assert_int_equal(sink.rows[7].base[11], (pos & 0x7F) | 0x80);
    assert_int_equal(sink.rows[7].base[12], pos >> 7);
    free_sink(&sink);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_kept_up_to_date_is_that_of_a_recount),
        cmocka_unit_test(a_snapshot_is_of_the_moment_it_began_whatever_changes_meanwhile),
        cmocka_unit_test(a_section_or_version_that_is_not_known_is_refused_with_its_feature_level),
        cmocka_unit_test(rows_that_cannot_be_are_refused),
        cmocka_unit_test(the_rows_of_these_sections_are_these_bytes),
        cmocka_unit_test(every_failing_allocation_fails_the_snapshot_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
