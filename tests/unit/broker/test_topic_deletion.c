/* A name that is deleted and used again comes out the same on every way to the state: applied, replayed from the log
 * alone, from a snapshot and what follows it, and with older entries put in front. */
#include "broker/state/command.pb-c.h"
#include "broker/state/fsm.h"
#include "broker/state/items.h"
#include "broker/store/sequencer.h"
#include "broker/store/store.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define LOG_BYTES (4u << 20)
#define CRC 0x12345678u
#define TOPICS 2
#define QUEUES 3
#define ENTRIES_MAX 256

static const char *const names[TOPICS] = {"Orders", "Others"};

/* Every entry that was applied, to be applied again. */
static struct {
    struct rlog_entry entries[ENTRIES_MAX];
    uint8_t *payloads[ENTRIES_MAX]; /* owned */
    uint32_t n;
} journal;

/* What the queues must hold: positions by offset, of the present life. */
static struct {
    uint64_t pos[512];
    uint32_t n;
} model[TOPICS][QUEUES];

static void on_apply(void *data, const struct rlog_entry *entry)
{
    struct fixture *f = data;

    MQ_ASSERT(journal.n < ENTRIES_MAX);
    journal.payloads[journal.n] = mq_malloc(entry->payload_bytes + 1);
    memcpy(journal.payloads[journal.n], entry->payload, entry->payload_bytes);
    journal.entries[journal.n] = *entry;
    journal.entries[journal.n].payload = journal.payloads[journal.n];
    journal.n++;
    state_apply(&f->state, entry);
}

static void open_journal(struct fixture *f)
{
    fixture_open(f, LOG_BYTES);
    memset(model, 0, sizeof(model));
    journal.n = 0;
    f->log->apply = on_apply;
    f->log->apply_data = f;
}

static void close_journal(struct fixture *f)
{
    for (uint32_t i = 0; i < journal.n; i++) {
        mq_free(journal.payloads[i]);
    }
    uv_run(&f->loop.uv, UV_RUN_DEFAULT);
    fixture_close(f);
}

/* An entry that is being put together. */
struct script {
    uint8_t payload[64 << 10];
    uint32_t bytes, records, items;
};

static void add_record(struct fixture *f, struct script *s, uint32_t topic, uint32_t queue)
{
    struct fixture_message m = {.topic = mq_str_of(names[topic]),
                                .queue_id = (int32_t)queue,
                                .qoff = model[topic][queue].n,
                                .tags = "TagA",
                                .body_bytes = 20};
    uint64_t pos = rlog_place(f->log, 0) + s->bytes;
    uint32_t bytes = fixture_record(&m, s->payload + s->bytes);

    fixture_set_pos(s->payload + s->bytes, pos);
    model[topic][queue].pos[model[topic][queue].n++] = pos;
    s->bytes += bytes;
    s->records++;
}

static void add_item(struct script *s, enum command_type type, const ProtobufCMessage *message)
{
    command_encode(type, message, s->payload + s->bytes);
    s->bytes += command_bytes(message);
    s->items++;
}

static void add_deletion(struct script *s, uint32_t topic)
{
    Raftmq__TopicDelete item = RAFTMQ__TOPIC_DELETE__INIT;

    item.name = (char *)names[topic];
    add_item(s, COMMAND_TOPIC_DELETE, &item.base);
    memset(model[topic], 0, sizeof(model[topic]));
}

static void add_topic(struct script *s, uint32_t topic)
{
    Raftmq__TopicConfigItem config = RAFTMQ__TOPIC_CONFIG_ITEM__INIT;
    Raftmq__TopicPut item = RAFTMQ__TOPIC_PUT__INIT;

    config.name = (char *)names[topic];
    config.read_queues = config.write_queues = QUEUES;
    config.perm = 6;
    config.filter_type = (char *)"SINGLE_TAG";
    item.config = &config;
    add_item(s, COMMAND_TOPIC_PUT, &item.base);
}

static void add_offset(struct script *s, const char *group, uint32_t topic, int64_t offset)
{
    Raftmq__OffsetCommit item = RAFTMQ__OFFSET_COMMIT__INIT;

    item.group = (char *)group;
    item.topic = (char *)names[topic];
    item.queue_id = 1;
    item.offset = offset;
    add_item(s, COMMAND_OFFSET_COMMIT, &item.base);
}

static void commit(struct fixture *f, struct script *s)
{
    fake_log_append(f->log, s->payload, s->bytes, s->records, s->items, 1000 + journal.n);
    *s = (struct script){0};
}

static void put_some(struct fixture *f, uint32_t n)
{
    static struct script s;

    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t t = 0; t < TOPICS; t++) {
            add_record(f, &s, t, i % QUEUES);
        }
        commit(f, &s);
    }
}

static void delete_in_the_middle(struct fixture *f, uint32_t topic)
{
    static struct script s;

    add_record(f, &s, topic, 0);
    add_deletion(&s, topic);
    add_topic(&s, topic);
    add_record(f, &s, topic, 0);
    add_record(f, &s, topic, 2);
    commit(f, &s);
}

/* A snapshot of the state as of now, and a checkpoint of the queues with it. */
struct saved {
    struct rlog_entry entry;
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    struct rlog_sink sink;
};

static void save_begin(struct fixture *f, struct saved *saved)
{
    memset(saved, 0, sizeof(*saved));
    uv_run(&f->loop.uv, UV_RUN_DEFAULT);
    saved->entry = (struct rlog_entry){.index = f->state.applied_index, .term = 1, .pos = f->log->end_pos};
    state_sections(&f->state, saved->sections);
    state_snapshot_begin(&f->state, &saved->sink);
    assert_int_equal(store_checkpoint_begin(&f->store), 0);
}

static void save_end(struct fixture *f, struct saved *saved)
{
    while (state_snapshot_more(&f->state) == 1) {
    }
    assert_int_equal(store_checkpoint_work(&f->store, saved->entry.index, CRC), 0);
    store_checkpoint_end(&f->store, 0);
    state_snapshot_end(&f->state);
    assert_int_equal(saved->sink.failed, 0);
    uv_run(&f->loop.uv, UV_RUN_DEFAULT);
}

static void save(struct fixture *f, struct saved *saved)
{
    save_begin(f, saved);
    save_end(f, saved);
}

static void forget(struct saved *saved)
{
    for (size_t i = 0; i < FAKE_SECTIONS; i++) {
        mq_buf_free(&saved->sink.rows[i]);
    }
}

/* The process ends, and the next one loads @saved; NULL: it has only the log. */
static void restart(struct fixture *f, struct saved *saved, uint32_t crc)
{
    struct mq_buf problem = {0};

    uv_run(&f->loop.uv, UV_RUN_DEFAULT);
    state_fini(&f->state);
    store_fini(&f->store);
    assert_int_equal(saved != NULL ? store_init_kept(&f->store, f->dir) : store_init(&f->store, f->dir), 0);
    assert_int_equal(state_init(&f->state, &f->store), 0);
    f->store.log = f->log;
    f->store.loop = &f->loop;
    if (saved == NULL) {
        return;
    }
    assert_int_equal(
        state_restore_begin(&f->state, &saved->entry, crc, saved->sections, state_section_count(), &problem), 0);
    for (uint16_t i = 0; i < FAKE_SECTIONS; i++) {
        if (saved->sink.rows[i].len != 0) {
            assert_int_equal(
                state_restore_rows(&f->state, i, saved->sink.rows[i].base, saved->sink.rows[i].len, &problem), 0);
        }
    }
    assert_int_equal(state_restore_end(&f->state, &problem), 0);
    for (uint32_t i = 0; i < state_section_count(); i++) {
        struct rlog_section now[RLOG_SECTIONS_MAX];

        state_sections(&f->state, now);
        assert_int_equal(now[i].hash, saved->sections[i].hash);
    }
    mq_buf_free(&problem);
}

/* One older entry in front. Returns false when none is missing. */
static bool fill_one(struct fixture *f)
{
    uint64_t index = f->store.held_index - 1;

    if (index == 0) {
        return false;
    }
    state_apply_before(&f->state, &journal.entries[index - 1]);
    return true;
}

static void check(struct fixture *f, uint64_t hash)
{
    for (uint32_t t = 0; t < TOPICS; t++) {
        struct topic_queues *topic = queue_table_find(&f->store.queues, mq_str_of(names[t]));

        for (uint32_t q = 0; q < QUEUES; q++) {
            struct queue *queue = topic != NULL ? topic_queues_find(topic, (int32_t)q) : NULL;
            struct consume_unit unit;

            if (model[t][q].n == 0) {
                assert_true(queue == NULL || (queue->cq.max == 0 && queue->next == 0));
                continue;
            }
            assert_int_equal(queue->cq.max, model[t][q].n);
            assert_int_equal(queue->cq.min, 0);
            assert_int_equal(queue->next, model[t][q].n);
            for (uint32_t i = 0; i < model[t][q].n; i++) {
                consume_queue_get(&queue->cq, i, &unit);
                assert_int_equal(unit.pos, model[t][q].pos[i]);
            }
        }
    }
    assert_int_equal(state_hash(&f->state), hash);
    assert_int_equal(state_recount(&f->state), hash);
}

static void replay_behind(struct fixture *f, uint64_t index, bool filling)
{
    for (uint32_t i = 0; i < journal.n; i++) {
        if (journal.entries[i].index > index) {
            if (filling) {
                (void)fill_one(f); /* older entries come in while new ones are applied */
            }
            state_apply(&f->state, &journal.entries[i]);
        }
    }
    while (fill_one(f)) {
    }
}

static void every_way_to_the_state_is_the_same(void **state)
{
    static struct script s;
    struct saved saved[5];
    struct fixture f;
    uint64_t hash;

    (void)state;
    open_journal(&f);
    add_topic(&s, 0);
    add_topic(&s, 1);
    commit(&f, &s);
    put_some(&f, 20);
    add_offset(&s, "G", 0, 7);
    add_offset(&s, "H", 0, 3);
    add_offset(&s, "H", 1, 3);
    commit(&f, &s);
    save(&f, &saved[0]);
    put_some(&f, 5);
    delete_in_the_middle(&f, 0);
    save(&f, &saved[1]);
    put_some(&f, 11);
    save(&f, &saved[2]);
    delete_in_the_middle(&f, 0);
    put_some(&f, 3);
    add_deletion(&s, 0); /* and nobody makes it again for a while */
    commit(&f, &s);
    save(&f, &saved[3]);
    add_record(&f, &s, 1, 1);
    commit(&f, &s);
    add_topic(&s, 0);
    add_record(&f, &s, 0, 1);
    commit(&f, &s);
    put_some(&f, 4);
    save_begin(&f, &saved[4]); /* a deletion while a snapshot is being taken */
    assert_int_equal(offset_table_get(&f.state.offsets, MQ_STR("H"), MQ_STR("Others"), 1), 3);
    add_deletion(&s, 1);
    commit(&f, &s);
    save_end(&f, &saved[4]);
    put_some(&f, 4);
    hash = state_hash(&f.state);
    check(&f, hash);
    assert_int_equal(offset_table_get(&f.state.offsets, MQ_STR("G"), MQ_STR("Orders"), 1), -1);
    assert_int_equal(offset_table_get(&f.state.offsets, MQ_STR("H"), MQ_STR("Others"), 1), -1);

    restart(&f, NULL, 0);
    replay_behind(&f, 0, false);
    check(&f, hash);
    for (uint32_t i = 0; i < 5; i++) {
        print_message("snapshot %u, made again\n", i);
        restart(&f, &saved[i], CRC + 1);
        replay_behind(&f, saved[i].entry.index, i % 2 == 0);
        check(&f, hash);
    }
    for (uint32_t i = 0; i < 5; i++) {
        forget(&saved[i]);
    }
    close_journal(&f);
}

static bool has_dir(struct fixture *f, const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/consumequeue/%s", f->dir, name);
    return mq_file_exists(path);
}

static void files_of_a_deleted_topic_stay_until_no_snapshot_needs_them(void **state)
{
    struct saved before, after, later;
    char life[64];
    struct fixture f;
    uint64_t hash;

    (void)state;
    open_journal(&f);
    put_some(&f, 9);
    save(&f, &before);
    delete_in_the_middle(&f, 0);
    assert_true(has_dir(&f, "Orders"));
    snprintf(life, sizeof(life), "Orders@%llu",
             (unsigned long long)queue_table_find(&f.store.queues, MQ_STR("Orders"))->life);
    assert_true(has_dir(&f, life));

    restart(&f, &before, CRC); /* the older snapshot finds what it needs ... */
    assert_int_equal(f.store.held_index, 1);
    assert_false(has_dir(&f, life)); /* ... and what is made again is not in the way */
    replay_behind(&f, before.entry.index, false);
    hash = state_hash(&f.state);
    check(&f, hash);
    assert_true(has_dir(&f, life));

    save(&f, &after);
    assert_false(has_dir(&f, "Orders"));
    put_some(&f, 2);
    hash = state_hash(&f.state);
    save(&f, &later);
    restart(&f, &later, CRC);
    assert_int_equal(f.store.held_index, 1);
    check(&f, hash);
    forget(&before);
    forget(&after);
    forget(&later);
    close_journal(&f);
}

static void a_deletion_is_remembered_until_the_log_has_passed_it(void **state)
{
    static struct script s;
    Raftmq__LogStart start = RAFTMQ__LOG_START__INIT;
    struct fixture f;
    uint64_t pos;

    (void)state;
    open_journal(&f);
    add_deletion(&s, 0); /* of nothing */
    commit(&f, &s);
    assert_int_equal(row_table_count(&f.state.deleted.rows), 0);
    put_some(&f, 3);
    pos = model[0][1].pos[0];
    assert_false(state_record_is_deleted(&f.state, MQ_STR("Orders"), pos));
    add_deletion(&s, 0);
    commit(&f, &s);
    assert_true(state_record_is_deleted(&f.state, MQ_STR("Orders"), pos));
    assert_false(state_record_is_deleted(&f.state, MQ_STR("Others"), pos));
    put_some(&f, 1);
    assert_false(state_record_is_deleted(&f.state, MQ_STR("Orders"), model[0][0].pos[0]));
    start.pos = deleted_table_pos(&f.state.deleted, MQ_STR("Orders")) - 1;
    add_item(&s, COMMAND_LOG_START, &start.base);
    commit(&f, &s);
    assert_int_equal(row_table_count(&f.state.deleted.rows), 1);
    start.pos++;
    add_item(&s, COMMAND_LOG_START, &start.base);
    commit(&f, &s);
    assert_int_equal(row_table_count(&f.state.deleted.rows), 0);
    assert_int_equal(state_hash(&f.state), state_recount(&f.state));
    close_journal(&f);
}

/* --- numbers --- */

struct leader {
    struct fixture base;
    struct sequencer *seq;
};

static void open_leader(struct leader *l)
{
    fixture_open(&l->base, LOG_BYTES);
    assert_int_equal(sequencer_new(&l->base.loop, &l->base.store, &l->seq), 0);
    sequencer_set_writable(l->seq, true);
}

static void close_leader(struct leader *l)
{
    sequencer_free(l->seq);
    uv_run(&l->base.loop.uv, UV_RUN_DEFAULT);
    fixture_close(&l->base);
}

static uint64_t send_one(struct leader *l)
{
    struct fixture_message m = {.body_bytes = 10};
    struct queue *queue = fixture_queue(&l->base, 0);
    const struct sequencer_pending nobody = {0};
    uint64_t qoff = queue->next;
    uint8_t *at;

    assert_int_equal(sequencer_reserve(l->seq, 4096, &at), 0);
    sequencer_add(l->seq, fixture_record(&m, at), queue, 1, 0, &nobody);
    return qoff;
}

static void delete_topic(struct leader *l)
{
    Raftmq__TopicDelete item = RAFTMQ__TOPIC_DELETE__INIT;
    const struct sequencer_pending nobody = {0};
    uint8_t *at;

    item.name = (char *)"Orders";
    assert_int_equal(sequencer_reserve(l->seq, command_bytes(&item.base), &at), 0);
    assert_int_equal(sequencer_restart(l->seq, fixture_queue(&l->base, 0)->topic), 0);
    command_encode(COMMAND_TOPIC_DELETE, &item.base, at);
    sequencer_add(l->seq, command_bytes(&item.base), NULL, 0, 1, &nobody);
}

static void numbers_behind_a_deletion_begin_at_0_before_it_is_applied(void **state)
{
    struct leader l;
    struct queue *queue;

    (void)state;
    open_leader(&l);
    queue = fixture_queue(&l.base, 0);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(send_one(&l), i);
    }
    fake_turn(); /* an entry is in flight */
    assert_int_equal(send_one(&l), 5);
    delete_topic(&l);
    assert_int_equal(send_one(&l), 0);
    assert_int_equal(send_one(&l), 1);
    delete_topic(&l);
    assert_int_equal(send_one(&l), 0);
    fake_log_commit(l.base.log);
    assert_int_equal(queue->cq.max, 5);
    assert_int_equal(queue->next, 1);
    fake_turn();
    fake_log_commit_all(l.base.log);
    assert_int_equal(queue->cq.max, 1);
    assert_int_equal(queue->next, 1);
    assert_int_equal(queue->topic->deletions, 0);
    assert_int_equal(send_one(&l), 1);
    fake_turn();
    fake_log_commit_all(l.base.log);
    assert_int_equal(queue->cq.max, 2);
    close_leader(&l);
}

static void a_queue_that_comes_behind_a_deletion_keeps_its_numbers(void **state)
{
    struct leader l;

    (void)state;
    open_leader(&l);
    send_one(&l);
    delete_topic(&l);
    {
        struct fixture_message m = {.body_bytes = 10, .queue_id = 4};
        struct queue *queue = fixture_queue(&l.base, 4);
        const struct sequencer_pending nobody = {0};
        uint8_t *at;

        assert_int_equal(sequencer_reserve(l.seq, 4096, &at), 0);
        sequencer_add(l.seq, fixture_record(&m, at), queue, 1, 0, &nobody);
        fake_turn();
        fake_log_commit_all(l.base.log);
        assert_int_equal(queue->cq.max, 1);
        assert_int_equal(queue->next, 1);
    }
    close_leader(&l);
}

/* The log refuses an entry: what it took of numbers comes back, over deletions in it and behind it. */
static void a_refused_entry_gives_numbers_back_over_a_deletion(void **state)
{
    struct leader l;
    struct queue *queue;

    (void)state;
    open_leader(&l);
    queue = fixture_queue(&l.base, 0);
    send_one(&l);
    send_one(&l);
    fake_turn();
    fake_log_commit_all(l.base.log);
    assert_int_equal(queue->cq.max, 2);
    send_one(&l);
    delete_topic(&l);
    send_one(&l);
    l.base.log->refuse = MQ_ETOOBIG;
    fake_turn();
    assert_int_equal(queue->next, 2);
    assert_int_equal(queue->topic->deletions, 0);
    assert_int_equal(send_one(&l), 2);
    fake_turn();
    fake_log_commit_all(l.base.log);
    assert_int_equal(queue->cq.max, 3);
    close_leader(&l);
}

static void lost_leadership_forgets_deletions(void **state)
{
    struct leader l;
    struct queue *queue;

    (void)state;
    open_leader(&l);
    queue = fixture_queue(&l.base, 0);
    send_one(&l);
    fake_turn();
    fake_log_commit_all(l.base.log);
    delete_topic(&l);
    send_one(&l);
    fake_turn();
    fake_log_lose(l.base.log);
    sequencer_set_writable(l.seq, false);
    assert_int_equal(queue->next, 1);
    assert_int_equal(queue->topic->deletions, 0);
    close_leader(&l);
}

static int64_t offset_of(struct fixture *f, const char *group)
{
    return offset_table_get(&f->state.offsets, mq_str_of(group), MQ_STR("Orders"), 0);
}

static void offsets_behind_the_deletion_of_their_topic_are_not_those_of_the_next_one(void **state)
{
    const struct rlog_entry entry = {.index = 1, .store_ms = 5};
    const struct apply_scope scope = {.entry = &entry, .pos = 1000};
    Raftmq__OffsetCommit commit = RAFTMQ__OFFSET_COMMIT__INIT;
    Raftmq__OffsetsReset reset = RAFTMQ__OFFSETS_RESET__INIT;
    Raftmq__OffsetsClone clone = RAFTMQ__OFFSETS_CLONE__INIT;
    Raftmq__RequestModePut mode = RAFTMQ__REQUEST_MODE_PUT__INIT;
    Raftmq__TopicDelete gone = RAFTMQ__TOPIC_DELETE__INIT;
    char *topics[] = {(char *)"Orders"};
    int32_t queue_id = 0;
    int64_t offset = 7;
    struct fixture f;
    uint64_t hash;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    commit.group = reset.group = clone.source = mode.group = (char *)"g";
    commit.topic = reset.topic = mode.topic = gone.name = topics[0];
    commit.offset = 42;
    clone.target = (char *)"h";
    clone.topics = topics;
    clone.n_topics = 1;
    reset.queue_ids = &queue_id;
    reset.offsets = &offset;
    reset.n_queue_ids = reset.n_offsets = 1;
    fixture_topic(&f, "Orders");
    assert_int_equal(apply_offset_commit(&f.state, &commit.base, &scope), 0);
    assert_int_equal(offset_of(&f, "g"), 42);
    assert_int_equal(apply_topic_delete(&f.state, &gone.base, &scope), 0);
    hash = offset_table_hash(&f.state.offsets);
    /* What was on its way: the same on every member, and no trace of it. */
    assert_int_equal(apply_offset_commit(&f.state, &commit.base, &scope), 0);
    assert_int_equal(apply_offsets_reset(&f.state, &reset.base, &scope), 0);
    assert_int_equal(apply_offsets_clone(&f.state, &clone.base, &scope), 0);
    assert_int_equal(apply_request_mode_put(&f.state, &mode.base, &scope), 0);
    assert_int_equal(offset_table_hash(&f.state.offsets), hash);
    fixture_topic(&f, "Orders");
    assert_int_equal(offset_of(&f, "g"), -1);
    assert_int_equal(offset_of(&f, "h"), -1);
    assert_int_equal(row_table_count(&f.state.resets.rows), 0);
    assert_int_equal(row_table_count(&f.state.modes.rows), 0);
    assert_int_equal(apply_offset_commit(&f.state, &commit.base, &scope), 0);
    assert_int_equal(offset_of(&f, "g"), 42);

    /* A leader that has proposed the deletion proposes no offset behind it, also when the next topic is on its way.
     */
    assert_non_null(topic_table_find_staying(&f.state.topics, MQ_STR("Orders")));
    topic_table_note_deletion(&f.state.topics, MQ_STR("Orders"));
    assert_null(topic_table_find_staying(&f.state.topics, MQ_STR("Orders")));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_the_state_is_the_same),
        cmocka_unit_test(files_of_a_deleted_topic_stay_until_no_snapshot_needs_them),
        cmocka_unit_test(a_deletion_is_remembered_until_the_log_has_passed_it),
        cmocka_unit_test(numbers_behind_a_deletion_begin_at_0_before_it_is_applied),
        cmocka_unit_test(a_queue_that_comes_behind_a_deletion_keeps_its_numbers),
        cmocka_unit_test(a_refused_entry_gives_numbers_back_over_a_deletion),
        cmocka_unit_test(lost_leadership_forgets_deletions),
        cmocka_unit_test(offsets_behind_the_deletion_of_their_topic_are_not_those_of_the_next_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
