/* The index over a log that is made here, entry by entry, in segments as a real one has them. */
#include "broker/store/key_index.h"

#include "broker/store/record_keys.h"
#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/protocol/record.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SEGMENT_BYTES 4096u
#define LOG_BYTES (64u << 20)

struct world {
    char dir[64];
    uint8_t *bytes;      /* positions from 0 */
    uint64_t start, end; /* held and applied */
    uint64_t group_start;
    uint64_t segment_bytes;
    uint32_t last_crc;
    uint64_t entries;
    struct key_index index;
    uint64_t refused_pos; /* what key_index_step did not like last */
};

static void world_open(struct world *w)
{
    *w = (struct world){.segment_bytes = SEGMENT_BYTES};
    fixture_dir_make(w->dir);
    w->bytes = mq_calloc(1, LOG_BYTES);
    assert_non_null(w->bytes);
    assert_int_equal(key_index_open(&w->index, w->dir), 0);
    mq_log_set_level(MQ_LOG_ERROR);
}

static void world_close(struct world *w)
{
    key_index_close(&w->index);
    mq_free(w->bytes);
    fixture_dir_remove(w->dir);
}

static void reopen(struct world *w)
{
    key_index_close(&w->index);
    assert_int_equal(key_index_open(&w->index, w->dir), 0);
}

/* As after kill -9: what is in memory is gone. */
static void kill_index(struct world *w)
{
    w->index.view.room = false; /* nothing can be written */
    reopen(w);
}

/* Appends an entry with @n records that have @key (NULL: one without records). Returns where the first one lies. */
static uint64_t append(struct world *w, const char *key, uint32_t n, int64_t store_ms)
{
    static uint8_t payload[1 << 20];
    char properties[80];
    uint32_t bytes = 0, size;
    struct rlog_header header;
    uint64_t rest = w->segment_bytes - w->end % w->segment_bytes;

    snprintf(properties, sizeof(properties), "KEYS\x01%s\x02", key != NULL ? key : "");
    for (uint32_t i = 0; key != NULL && i < n; i++) {
        struct proto_record record = {.topic = MQ_STR("T"),
                                      .properties = mq_str_of(properties),
                                      .store_ms = store_ms,
                                      .born_host = {.ip_bytes = 4},
                                      .store_host = {.ip_bytes = 4}};

        bytes += (uint32_t)proto_record_encode(&record, payload + bytes);
    }
    size = rlog_entry_bytes(bytes);
    if (rest < size) {
        w->end += rest;
    }
    assert_true(size <= w->segment_bytes && w->end + size <= LOG_BYTES);
    header = (struct rlog_header){.type = RLOG_COMMAND,
                                  .payload_bytes = bytes,
                                  .index = ++w->entries,
                                  .term = 1,
                                  .pos = w->end,
                                  .store_ms = store_ms,
                                  .payload_crc = mq_crc32c(0, payload, bytes),
                                  .prev_crc = w->last_crc,
                                  .records = key != NULL ? n : 0};
    rlog_header_encode(&header, w->bytes + w->end);
    memcpy(w->bytes + w->end + RLOG_HEADER_BYTES, payload, bytes);
    w->last_crc = header.crc;
    w->end += size;
    return header.pos + RLOG_HEADER_BYTES;
}

/* Carries out what the index wants until it wants no more, or is refused. Returns 0 or that. */
static int catch_up(struct world *w)
{
    for (;;) {
        const struct key_view view = {.group_start = w->group_start,
                                      .start = w->start,
                                      .end = w->end,
                                      .segment_bytes = w->segment_bytes,
                                      .room = true};
        struct rlog_stretch stretch = {0};
        enum key_reading reading;
        uint64_t pos, end;
        int rc;

        key_index_see(&w->index, &view);
        reading = key_index_wants(&w->index, &pos);
        if (reading == KEY_READ_TAIL && pos >= w->end && pos >= w->start) {
            return 0;
        }
        if (pos < w->start || pos >= w->end) {
            key_index_absent(&w->index, reading);
            continue;
        }
        end = (pos / w->segment_bytes + 1) * w->segment_bytes;
        stretch = (struct rlog_stretch){.pos = pos, .at = w->bytes + pos, .ends_segment = end <= w->end};
        stretch.n = (end < w->end ? end : w->end) - pos;
        key_index_begin(&w->index, reading, &stretch);
        while ((rc = key_index_step(&w->index)) == 1) {
        }
        if (rc != 0) {
            w->refused_pos = w->index.walk.pos;
            return rc;
        }
    }
}

static uint32_t find_between(struct world *w, const char *key, int64_t begin_ms, int64_t end_ms,
                             struct key_found *found)
{
    struct key_want want = {.hash = record_key_hash(record_topic_hash(MQ_STR("T")), mq_str_of(key)),
                            .begin_ms = begin_ms,
                            .end_ms = end_ms,
                            .below = UINT64_MAX};
    int rc;

    found->n = 0;
    do {
        rc = key_index_find(&w->index, &want, 1, found);
    } while (rc == MQ_EAGAIN);
    assert_true(rc == 0 || rc == 1);
    return found->n;
}

static uint32_t find(struct world *w, const char *key)
{
    struct key_found found;

    return find_between(w, key, 0, INT64_MAX, &found);
}

static bool covers(const struct world *w)
{
    return key_index_covers(&w->index, 0, INT64_MAX, w->end);
}

static void what_was_appended_is_found_newest_first(void **state)
{
    struct key_found found;
    struct world w;
    uint64_t first, second;

    (void)state;
    world_open(&w);
    first = append(&w, "a", 1, 100);
    append(&w, NULL, 0, 100);
    append(&w, "b", 3, 200);
    second = append(&w, "a", 1, 300);
    assert_false(covers(&w));
    assert_int_equal(catch_up(&w), 0);
    assert_true(covers(&w));
    assert_int_equal(find_between(&w, "a", 0, INT64_MAX, &found), 2);
    assert_int_equal(found.pos[0], second);
    assert_int_equal(found.pos[1], first);
    assert_int_equal(find(&w, "b"), 3);
    assert_int_equal(find(&w, "c"), 0);
    world_close(&w);
}

static void entries_in_many_segments_are_all_found(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (uint32_t i = 0; i < 60; i++) {
        append(&w, "a", 1 + i % 10, 100 + i);
        if (i % 7 == 0) {
            assert_int_equal(catch_up(&w), 0);
        }
    }
    append(&w, "b", 1, 1000);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(find(&w, "a"), 64);
    assert_int_equal(find(&w, "b"), 1);
    assert_true(w.end > 4 * SEGMENT_BYTES);
    world_close(&w);
}

static void an_orderly_end_and_a_kill_both_lead_to_the_same_answers(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    for (uint32_t life = 0; life < 6; life++) {
        append(&w, "a", 3, 100 + life);
        append(&w, "b", 1, 100 + life);
        assert_int_equal(catch_up(&w), 0);
        assert_int_equal(find(&w, "a"), 3 * (life + 1));
        assert_int_equal(find(&w, "b"), life + 1);
        if (life % 2 == 0) {
            reopen(&w);
        } else {
            kill_index(&w);
        }
    }
    assert_int_equal(w.index.files.n, 1); /* the small file is carried on, not joined by others */
    world_close(&w);
}

static void a_run_is_sealed_when_it_is_full_or_reaches_too_far(void **state)
{
    struct key_found found;
    struct world w;

    (void)state;
    world_open(&w);
    append(&w, "a", 1, 100);
    append(&w, "a", 1, 100 + (int64_t)UINT32_MAX);
    append(&w, "a", 1, 101 + (int64_t)UINT32_MAX); /* later than a mark can say */
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(w.index.files.n, 1);
    assert_int_equal(find(&w, "a"), 3);
    assert_int_equal(find_between(&w, "a", 101 + (int64_t)UINT32_MAX, INT64_MAX, &found), 1);
    reopen(&w);
    assert_int_equal(w.index.files.n, 2);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(find(&w, "a"), 3);
    world_close(&w);
}

static void a_million_keys_make_a_file_of_eight_bytes_each(void **state)
{
    struct world w;
    uint64_t keys = 0;

    (void)state;
    world_open(&w);
    for (uint32_t i = 0; i <= KEY_RUN_KEYS; i++) { /* without a log: it would be large */
        if (i == 0) {
            append(&w, "a", 1, 100);
            assert_int_equal(catch_up(&w), 0);
        }
        keys = w.index.tail.range.keys;
        if (keys < KEY_RUN_KEYS) {
            assert_int_equal(key_run_add(&w.index.tail, i * 2654435761u, 96), 0);
        }
    }
    append(&w, "b", 1, 200);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(w.index.files.n, 1);
    assert_int_equal(w.index.files.items[0].range.keys, KEY_RUN_KEYS);
    assert_true(key_file_bytes(&w.index.files.items[0]) < KEY_RUN_KEYS * 9ull);
    assert_int_equal(find(&w, "a"), 1);
    assert_int_equal(find(&w, "b"), 1);
    world_close(&w);
}

/* As a node that got a snapshot and fetches what lies before it, backwards. */
static void what_comes_in_front_is_filled_in(void **state)
{
    struct world w;
    uint64_t middle;

    (void)state;
    world_open(&w);
    for (uint32_t i = 0; i < 30; i++) {
        append(&w, "old", 1, 100 + i);
    }
    w.start = middle = w.end;
    append(&w, "new", 2, 500);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(find(&w, "new"), 2);
    assert_int_equal(find(&w, "old"), 0);
    assert_false(covers(&w));
    assert_true(key_index_covers(&w.index, 501, INT64_MAX, w.end)); /* what is asked for is all there */
    assert_true(key_index_covers(&w.index, 501, INT64_MAX, middle));

    w.start = 0;
    assert_int_equal(catch_up(&w), 0);
    assert_true(covers(&w));
    assert_int_equal(find(&w, "old"), 30);
    append(&w, "new", 1, 600);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(find(&w, "new"), 3);
    reopen(&w);
    assert_int_equal(catch_up(&w), 0);
    assert_true(covers(&w));
    assert_int_equal(find(&w, "new"), 3);
    assert_int_equal(find(&w, "old"), 30);
    world_close(&w);
}

/* The log was replaced by a snapshot while the index followed it. */
static void a_log_that_jumps_ahead_leaves_a_gap(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    append(&w, "a", 2, 100);
    assert_int_equal(catch_up(&w), 0);
    append(&w, "lost", 4, 200);
    w.start = w.end;
    append(&w, "b", 3, 300);
    assert_int_equal(catch_up(&w), 0);
    assert_false(covers(&w));
    assert_int_equal(find(&w, "a"), 2);
    assert_int_equal(find(&w, "b"), 3);
    assert_int_equal(find(&w, "lost"), 0);
    w.start = 0;
    assert_int_equal(catch_up(&w), 0);
    assert_true(covers(&w));
    assert_int_equal(find(&w, "lost"), 4);
    world_close(&w);
}

static void files_below_the_beginning_of_the_groups_log_go(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    append(&w, "a", 2, 100);
    append(&w, "a", 1, (int64_t)1 << 33); /* in a file of its own each */
    append(&w, "a", 1, (int64_t)1 << 34);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(w.index.files.n, 2);
    w.start = w.group_start = w.index.files.items[0].range.end - 1;
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(w.index.files.n, 2);
    w.start = w.group_start = w.index.files.items[0].range.end;
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(w.index.files.n, 1);
    assert_true(covers(&w));
    assert_int_equal(find(&w, "a"), 2);
    reopen(&w);
    assert_int_equal(w.index.files.n, 2); /* with the one that closing wrote */
    world_close(&w);
}

static void an_index_of_another_log_is_thrown_away(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    append(&w, "a", 2, 100);
    assert_int_equal(catch_up(&w), 0);
    reopen(&w);
    w.end = 0;
    w.entries = 0;
    w.last_crc = 0;
    append(&w, "b", 2, 111); /* of the same length, at the same place */
    append(&w, "c", 2, 111);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(find(&w, "a"), 0);
    assert_int_equal(find(&w, "b"), 2);
    assert_int_equal(find(&w, "c"), 2);
    reopen(&w);
    w.end = w.start = 0; /* a log that is shorter than the index */
    w.entries = 0;
    w.last_crc = 0;
    append(&w, "d", 1, 100);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(find(&w, "b"), 0);
    assert_int_equal(find(&w, "d"), 1);
    world_close(&w);
}

static void a_file_that_turns_out_to_be_bad_is_made_again(void **state)
{
    struct world w;
    uint8_t *bytes;
    char *path;
    struct mq_buf file = {0};

    (void)state;
    world_open(&w);
    append(&w, "a", 2, 100);
    append(&w, "b", 1, (int64_t)1 << 33);
    assert_int_equal(catch_up(&w), 0);
    assert_int_equal(w.index.files.n, 1);
    path = key_file_path(w.dir, 0, "");
    assert_int_equal(mq_file_read(path, 1 << 20, &file), 0);
    bytes = file.base;
    bytes[file.len - 1] ^= 1;
    assert_int_equal(mq_file_replace(path, bytes, file.len), 0);
    assert_int_equal(find(&w, "a"), 0);
    assert_false(covers(&w)); /* so nobody believes it */
    assert_int_equal(catch_up(&w), 0);
    assert_true(covers(&w));
    assert_int_equal(find(&w, "a"), 2);
    assert_int_equal(find(&w, "b"), 1);
    mq_buf_free(&file);
    mq_free(path);
    world_close(&w);
}

static void bytes_that_rot_hold_it_up_until_they_are_mended(void **state)
{
    static const struct {
        const char *why;
        uint32_t at; /* behind the header of the third entry; of what follows it is another segment */
        bool zeros;  /* the whole header */
    } cases[] = {{"a bit of a header", 20, false}, {"a header of zeros, as if the segment ended", 0, true}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t saved[RLOG_HEADER_BYTES];
        struct world w;
        uint64_t third;

        print_message("%s\n", cases[i].why);
        world_open(&w);
        append(&w, "a", 1, 100);
        append(&w, "a", 20, 100);
        third = append(&w, "a", 1, 100) - RLOG_HEADER_BYTES;
        append(&w, "b", 30, 200); /* in the next segment */
        assert_true(third < SEGMENT_BYTES && w.end > SEGMENT_BYTES);
        memcpy(saved, w.bytes + third, sizeof(saved));
        if (cases[i].zeros) {
            memset(w.bytes + third, 0, sizeof(saved));
        } else {
            w.bytes[third + cases[i].at] ^= 1;
        }
        assert_int_equal(catch_up(&w), MQ_ECORRUPT);
        assert_false(covers(&w));
        assert_int_equal(catch_up(&w), MQ_ECORRUPT);
        memcpy(w.bytes + third, saved, sizeof(saved));
        assert_int_equal(catch_up(&w), 0);
        assert_true(covers(&w));
        assert_int_equal(find(&w, "a"), 22);
        assert_int_equal(find(&w, "b"), 30);
        world_close(&w);
    }
}

static void without_memory_nothing_is_lost(void **state)
{
    struct world w;
    int rc = MQ_ENOMEM;

    (void)state;
    world_open(&w);
    append(&w, "a", 5, 100);
    append(&w, "b", 5, (int64_t)1 << 33);
    append(&w, "c", 5, (int64_t)1 << 34);
    for (unsigned nth = 1; rc != 0; nth++) {
        assert_true(nth < 200);
        mq_heap_fail_at(nth);
        rc = catch_up(&w);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || rc == MQ_ENOMEM);
        if (rc != 0 && nth % 3 == 0) {
            kill_index(&w); /* and from the beginning */
        }
    }
    assert_int_equal(find(&w, "a"), 5);
    assert_int_equal(find(&w, "b"), 5);
    assert_int_equal(find(&w, "c"), 5);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_appended_is_found_newest_first),
        cmocka_unit_test(entries_in_many_segments_are_all_found),
        cmocka_unit_test(an_orderly_end_and_a_kill_both_lead_to_the_same_answers),
        cmocka_unit_test(a_run_is_sealed_when_it_is_full_or_reaches_too_far),
        cmocka_unit_test(a_million_keys_make_a_file_of_eight_bytes_each),
        cmocka_unit_test(what_comes_in_front_is_filled_in),
        cmocka_unit_test(a_log_that_jumps_ahead_leaves_a_gap),
        cmocka_unit_test(files_below_the_beginning_of_the_groups_log_go),
        cmocka_unit_test(an_index_of_another_log_is_thrown_away),
        cmocka_unit_test(a_file_that_turns_out_to_be_bad_is_made_again),
        cmocka_unit_test(bytes_that_rot_hold_it_up_until_they_are_mended),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
