/* Consume queues over restarts: taken up as the checkpoint left them, or made again; in front and from behind. */
#include "broker/store/store.h"

#include "broker/state/fsm.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define LOG_BYTES (1u << 20)
#define CRC 0x12345678u

/* A snapshot of the state as of now, and a checkpoint of the queues with it. */
struct saved {
    struct rlog_entry entry;
    struct rlog_section sections[RLOG_SECTIONS_MAX];
    struct rlog_sink sink;
};

static void save(struct fixture *f, struct saved *saved)
{
    *saved = (struct saved){.entry = {.index = f->state.applied_index, .term = 1, .pos = f->log->end_pos}};
    state_sections(&f->state, saved->sections);
    state_snapshot_begin(&f->state, &saved->sink);
    assert_int_equal(store_checkpoint_begin(&f->store), 0);
    while (state_snapshot_more(&f->state) == 1) {
    }
    assert_int_equal(store_checkpoint_work(&f->store, saved->entry.index, CRC), 0);
    store_checkpoint_end(&f->store, 0);
    state_snapshot_end(&f->state);
    assert_int_equal(saved->sink.failed, 0);
}

static void forget(struct saved *saved)
{
    for (size_t i = 0; i < FAKE_SECTIONS; i++) {
        mq_buf_free(&saved->sink.rows[i]);
    }
}

/* The process ends without a word, and the next one loads @saved. */
static void restart(struct fixture *f, struct saved *saved, uint32_t crc)
{
    struct mq_buf problem = {0};

    uint32_t file_units = f->store.queues.file_units;

    state_fini(&f->state);
    store_fini(&f->store);
    assert_int_equal(store_init_kept(&f->store, f->dir), 0);
    f->store.queues.file_units = file_units;
    assert_int_equal(state_init(&f->state, &f->store), 0);
    f->store.log = f->log;
    f->store.loop = &f->loop;
    assert_int_equal(
        state_restore_begin(&f->state, &saved->entry, crc, saved->sections, state_section_count(), &problem), 0);
    for (uint16_t i = 0; i < FAKE_SECTIONS; i++) {
        if (saved->sink.rows[i].len != 0) {
            assert_int_equal(
                state_restore_rows(&f->state, i, saved->sink.rows[i].base, saved->sink.rows[i].len, &problem), 0);
        }
    }
    assert_int_equal(state_restore_end(&f->state, &problem), 0);
    mq_buf_free(&problem);
}

static void put(struct fixture *f, int32_t queue_id, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        fixture_put(f, &(struct fixture_message){.queue_id = queue_id, .tags = "TagA", .body_bytes = i % 50}, 1);
    }
}

static void compare_unit(struct fixture *f, int32_t queue_id, uint64_t qoff)
{
    struct consume_unit unit;
    const uint8_t *record;

    consume_queue_get(&fixture_queue(f, queue_id)->cq, qoff, &unit);
    record = f->log->bytes + unit.pos;
    assert_int_equal(mq_be32_load(record), unit.bytes);
    assert_int_equal(mq_be64_load(record + PROTO_RECORD_QOFF_AT), qoff);
    assert_int_equal(unit.tags_code, 2598919);
}

static void queues_are_taken_up_as_they_were_cut_to_the_snapshot(void **state)
{
    struct fixture f;
    struct saved saved;
    struct queue *queue;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    put(&f, 0, 20);
    put(&f, 3, 1);
    save(&f, &saved);
    put(&f, 0, 7);
    put(&f, 5, 1);
    restart(&f, &saved, CRC);
    queue = fixture_queue(&f, 0);
    assert_int_equal(f.store.held_index, 1);
    assert_int_equal(queue->cq.min, 0);
    assert_int_equal(queue->cq.max, 20);
    assert_int_equal(queue->next, 20);
    assert_int_equal(fixture_queue(&f, 3)->cq.max, 1);
    assert_int_equal(fixture_queue(&f, 5)->cq.max, 0);
    assert_null(queue->cq.files[0]); /* not even mapped before someone looks */
    for (uint64_t i = 0; i < 20; i++) {
        compare_unit(&f, 0, i);
    }
    f.log->index = saved.entry.index; /* the entries behind it come again */
    put(&f, 0, 9);
    compare_unit(&f, 0, 28);
    forget(&saved);
    fixture_close(&f);
}

static void what_no_checkpoint_vouches_for_is_made_again_from_the_log(void **state)
{
    enum { FOREIGN, GONE, NO_STAMP, SHORT, ZEROS, CASES };
    static const char *const why[] = {"another group's", "a queue's directory is gone", "no checkpoint",
                                      "a file is too short", "the last unit is zeros"};

    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct fixture f;
        struct saved saved;
        char path[160];
        uint8_t zeros[20] = {0};
        FILE *file;

        print_message("%s\n", why[i]);
        fixture_open(&f, LOG_BYTES);
        put(&f, 0, 20);
        put(&f, 3, 1);
        save(&f, &saved);
        snprintf(path, sizeof(path), "%s/consumequeue/Orders/%d/%020d", f.dir, i == GONE ? 3 : 0, 0);
        if (i == GONE) {
            assert_int_equal(unlink(path), 0);
        } else if (i == SHORT) {
            assert_int_equal(truncate(path, 399), 0);
        } else if (i == ZEROS) {
            file = fopen(path, "r+");
            assert_non_null(file);
            assert_int_equal(fseek(file, 380, SEEK_SET), 0);
            assert_int_equal(fwrite(zeros, 1, sizeof(zeros), file), sizeof(zeros));
            fclose(file);
        } else if (i == NO_STAMP) {
            snprintf(path, sizeof(path), "%s/queues.checkpoint", f.dir);
            assert_int_equal(unlink(path), 0);
        }
        restart(&f, &saved, i == FOREIGN ? CRC + 1 : CRC);
        assert_int_equal(f.store.held_index, saved.entry.index + 1);
        assert_int_equal(fixture_queue(&f, 0)->cq.min, 20);
        assert_int_equal(fixture_queue(&f, 0)->cq.max, 20);
        assert_int_equal(fixture_queue(&f, 3)->cq.min, 1);
        snprintf(path, sizeof(path), "%s/consumequeue", f.dir);
        assert_false(mq_file_exists(path));
        snprintf(path, sizeof(path), "%s/queues.checkpoint", f.dir);
        assert_false(mq_file_exists(path)); /* or it would vouch for what is made now */
        forget(&saved);
        fixture_close(&f);
    }
}

/* Entry of one record that lies at @pos with its payload. */
static struct rlog_entry entry_at(struct fixture *f, uint64_t index, uint64_t pos)
{
    return (struct rlog_entry){.index = index,
                               .term = 1,
                               .pos = pos,
                               .payload = f->log->bytes + pos,
                               .payload_bytes = mq_be32_load(f->log->bytes + pos),
                               .records = 1};
}

static void older_entries_go_in_front_newest_first(void **state)
{
    enum { N = 30 };
    uint64_t pos[N];
    struct fixture f;
    struct saved saved;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    for (int i = 0; i < N; i++) {
        pos[i] = rlog_place(f.log, 0);
        put(&f, i % 3, 1);
    }
    save(&f, &saved);
    restart(&f, &saved, CRC + 1);
    for (int i = N; i-- > 10;) {
        struct rlog_entry entry = entry_at(&f, (uint64_t)i + 1, pos[i]);

        state_apply_before(&f.state, &entry);
    }
    assert_int_equal(f.store.held_index, 11);
    assert_int_equal(fixture_queue(&f, 0)->cq.min, 4);
    assert_int_equal(fixture_queue(&f, 1)->cq.min, 3);
    for (uint64_t i = 4; i < 10; i++) {
        compare_unit(&f, 0, i);
    }
    /* While that goes on, new ones come, and a checkpoint is made: the next start goes on from there. */
    put(&f, 0, 1);
    compare_unit(&f, 0, 10);
    forget(&saved);
    save(&f, &saved);
    restart(&f, &saved, CRC);
    assert_int_equal(f.store.held_index, 11);
    assert_int_equal(fixture_queue(&f, 0)->cq.min, 4);
    for (int i = 10; i-- > 0;) {
        struct rlog_entry entry = entry_at(&f, (uint64_t)i + 1, pos[i]);

        state_apply_before(&f.state, &entry);
    }
    assert_int_equal(fixture_queue(&f, 0)->cq.min, 0);
    for (uint64_t i = 0; i <= 10; i++) {
        compare_unit(&f, 0, i);
    }
    forget(&saved);
    fixture_close(&f);
}

static void a_record_that_does_not_belong_in_front_is_refused(void **state)
{
    struct fixture f;
    struct topic_queues *topic;
    uint8_t record[512];
    uint32_t bytes;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    topic = queue_table_topic(&f.store.queues, FIXTURE_TOPIC);
    bytes = fixture_record(&(struct fixture_message){.queue_id = 1, .qoff = 4}, record);
    fixture_set_pos(record, 96);
    assert_int_equal(store_index_before(&f.store, topic, record, bytes, 96), MQ_ECORRUPT); /* the queue begins at 0 */
    assert_int_equal(consume_queue_reset(&fixture_queue(&f, 1)->cq, 6), 0);
    assert_int_equal(store_index_before(&f.store, topic, record, bytes, 96), MQ_ECORRUPT); /* 5 is wanted */
    assert_int_equal(consume_queue_reset(&fixture_queue(&f, 1)->cq, 5), 0);
    assert_int_equal(store_index_before(&f.store, topic, record, bytes, 97), MQ_ECORRUPT);
    assert_int_equal(store_index_before(&f.store, topic, record, bytes - 1, 96), MQ_EBADMSG);
    assert_int_equal(store_index_before(&f.store, topic, record, bytes, 96), 0);
    assert_int_equal(fixture_queue(&f, 1)->cq.min, 4);
    assert_int_equal(fixture_queue(&f, 1)->cq.max, 5);
    fixture_close(&f);
}

static void a_checkpoint_that_failed_is_made_up_for_by_the_next(void **state)
{
    struct fixture f;
    struct saved saved;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    put(&f, 0, 20);
    assert_int_equal(store_checkpoint_begin(&f.store), 0);
    assert_int_equal(f.store.n_syncing, 1);
    put(&f, 0, 1);
    put(&f, 1, 1);
    store_checkpoint_end(&f.store, MQ_EBUSY);
    assert_int_equal(store_checkpoint_begin(&f.store), 0);
    assert_int_equal(f.store.n_syncing, 2);
    store_checkpoint_end(&f.store, MQ_EBUSY);
    save(&f, &saved);
    assert_int_equal(store_checkpoint_begin(&f.store), 0);
    assert_int_equal(f.store.n_syncing, 0);
    store_checkpoint_end(&f.store, MQ_EBUSY);
    restart(&f, &saved, CRC);
    assert_int_equal(fixture_queue(&f, 0)->cq.max, 21);
    assert_int_equal(f.store.held_index, 1);
    forget(&saved);
    fixture_close(&f);
}

/* The snapshot before the newest one is good for a start, too. */
static void the_stamp_before_counts_as_well(void **state)
{
    struct fixture f;
    struct saved first, second;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    put(&f, 0, 5);
    save(&f, &first);
    put(&f, 0, 5);
    save(&f, &second);
    restart(&f, &first, CRC);
    assert_int_equal(fixture_queue(&f, 0)->cq.max, 5);
    assert_int_equal(f.store.held_index, 1);
    forget(&first);
    forget(&second);
    fixture_close(&f);
}

static void trimmed_files_go_when_a_snapshot_knows_of_it(void **state)
{
    struct fixture f;
    struct saved saved;
    struct queue *queue;
    char paths[2][160];

    (void)state;
    fixture_open(&f, LOG_BYTES);
    queue = fixture_queue(&f, 0);
    for (uint64_t i = 0; i < 2 * CONSUME_QUEUE_FILE_UNITS + 10; i++) {
        const struct consume_unit unit = {i * 100, 91, 0};

        queue_table_changing(&f.store.queues, queue);
        assert_int_equal(consume_queue_append(&queue->cq, &unit), 0);
    }
    f.log->end_pos = queue->cq.max * 100;
    snprintf(paths[0], sizeof(paths[0]), "%s/%020d", queue->cq.dir, 0);
    snprintf(paths[1], sizeof(paths[1]), "%s/%020d", queue->cq.dir, 6000000);
    store_trim_queue(&f.store, queue, 301 * 100 - 99);
    assert_int_equal(queue->cq.min, 301);
    store_trim_queue(&f.store, queue, (CONSUME_QUEUE_FILE_UNITS + 7) * 100ull);
    assert_int_equal(queue->cq.min, CONSUME_QUEUE_FILE_UNITS + 7);
    assert_true(mq_file_exists(paths[0]));
    save(&f, &saved);
    assert_false(store_drain(&f.store, (void (*)(void *))uv_stop, &f.loop.uv));
    uv_run(&f.loop.uv, UV_RUN_DEFAULT);
    assert_false(mq_file_exists(paths[0]));
    assert_true(mq_file_exists(paths[1]));
    restart(&f, &saved, CRC);
    queue = fixture_queue(&f, 0);
    assert_int_equal(queue->cq.min, CONSUME_QUEUE_FILE_UNITS + 7);
    assert_int_equal(f.store.held_index, 1);
    store_trim_queue(&f.store, queue, UINT64_MAX);
    assert_int_equal(queue->cq.min, queue->cq.max);
    forget(&saved);
    fixture_close(&f);
}

/* Files of one size are never taken for those of another. */
static void queues_are_made_again_when_their_files_are_to_have_another_size(void **state)
{
    static const uint32_t sizes[] = {7, 24, CONSUME_QUEUE_FILE_UNITS, 5};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct fixture f;
        struct saved first, second;
        char path[160];

        print_message("10 units, then %u\n", sizes[i]);
        fixture_open(&f, LOG_BYTES);
        f.store.queues.file_units = 10;
        put(&f, 0, 24);
        save(&f, &first);
        restart(&f, &first, CRC);
        assert_int_equal(f.store.held_index, 1);
        assert_int_equal(fixture_queue(&f, 0)->cq.min, 0);
        snprintf(path, sizeof(path), "%s/%020d", fixture_queue(&f, 0)->cq.dir, 0);
        assert_true(mq_file_exists(path));

        f.store.queues.file_units = sizes[i];
        restart(&f, &first, CRC);
        assert_int_equal(f.store.held_index, first.entry.index + 1); /* the log is to be walked */
        assert_int_equal(fixture_queue(&f, 0)->cq.min, 24);
        assert_int_equal(fixture_queue(&f, 0)->cq.max, 24);
        assert_false(mq_file_exists(path));

        put(&f, 0, 24);
        save(&f, &second);
        restart(&f, &second, CRC);
        assert_int_equal(fixture_queue(&f, 0)->cq.min, 24);
        assert_int_equal(fixture_queue(&f, 0)->cq.max, 48);
        restart(&f, &first, CRC); /* what vouched for the files of the other size is forgotten */
        assert_int_equal(fixture_queue(&f, 0)->cq.min, 24);
        assert_int_equal(fixture_queue(&f, 0)->cq.max, 24);
        forget(&first);
        forget(&second);
        fixture_close(&f);
    }
}

/* More queues than maps: their files come and go, and neither reading nor the checkpoint may tell. */
static void queues_share_a_bounded_number_of_maps(void **state)
{
    struct fixture_message m = {.body_bytes = 10, .store_ms = 1000};
    struct saved saved;
    struct fixture f;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    f.store.queues.maps_max = 4;
    for (int round = 0; round < 3; round++) {
        for (int id = 0; id < 40; id++) {
            m.queue_id = id;
            m.qoff = (uint64_t)round;
            fixture_put(&f, &m, 1);
            assert_true(f.store.queues.maps <= 5);
        }
    }
    for (int id = 0; id < 40; id++) {
        struct consume_unit unit;

        assert_int_equal(fixture_queue(&f, id)->cq.max, 3);
        consume_queue_get(&fixture_queue(&f, id)->cq, 1, &unit);
        assert_true(unit.bytes != 0);
    }
    (void)fixture_queue(&f, 0);
    save(&f, &saved);
    assert_int_equal(f.store.n_syncing, 0);
    restart(&f, &saved, CRC);
    for (int id = 0; id < 40; id++) {
        assert_int_equal(fixture_queue(&f, id)->cq.max, 3);
        assert_int_equal(fixture_queue(&f, id)->cq.min, 0);
    }
    forget(&saved);
    fixture_close(&f);
}

static void a_checkpoint_syncs_what_was_unmapped_before_it(void **state)
{
    struct fixture_message m = {.body_bytes = 10, .store_ms = 1000};
    struct fixture f;

    (void)state;
    fixture_open(&f, LOG_BYTES);
    for (int id = 0; id < 8; id++) {
        m.queue_id = id;
        fixture_put(&f, &m, 1);
    }
    f.store.queues.maps_max = 1;
    m.queue_id = 0;
    m.qoff = 1;
    fixture_put(&f, &m, 1);
    for (int turn = 0; turn < 2; turn++) { /* again behind one that failed */
        assert_int_equal(store_checkpoint_begin(&f.store), 0);
        assert_int_equal(f.store.n_syncing, 8);
        for (size_t i = 0; i < f.store.n_syncing; i++) {
            assert_int_equal(f.store.syncing[i].first, 0);
            assert_int_equal(f.store.syncing[i].end, 1);
        }
        store_checkpoint_end(&f.store, MQ_ENOMEM);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queues_are_taken_up_as_they_were_cut_to_the_snapshot),
        cmocka_unit_test(what_no_checkpoint_vouches_for_is_made_again_from_the_log),
        cmocka_unit_test(older_entries_go_in_front_newest_first),
        cmocka_unit_test(a_record_that_does_not_belong_in_front_is_refused),
        cmocka_unit_test(a_checkpoint_that_failed_is_made_up_for_by_the_next),
        cmocka_unit_test(the_stamp_before_counts_as_well),
        cmocka_unit_test(trimmed_files_go_when_a_snapshot_knows_of_it),
        cmocka_unit_test(queues_are_made_again_when_their_files_are_to_have_another_size),
        cmocka_unit_test(queues_share_a_bounded_number_of_maps),
        cmocka_unit_test(a_checkpoint_syncs_what_was_unmapped_before_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
