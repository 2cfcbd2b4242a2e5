#include "tests/unit/raft-log/log_fixture.h"

#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <stdio.h>
#include <stdlib.h>

#define SEGMENT 65536u

static int set_up(void **state)
{
    struct log_fixture *f = malloc(sizeof(*f));

    log_fixture_init(f, &rlog_disk_real, log_temp_dir(), SEGMENT);
    log_fixture_open(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct log_fixture *f = *state;
    char *dir = (char *)f->dir;

    log_fixture_fini(f);
    log_temp_dir_remove(dir);
    free(f);
    return 0;
}

static void append_many(struct log_fixture *f, uint64_t term, unsigned n, uint32_t payload_bytes)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(log_fixture_append(f, term, payload_bytes), 0);
    }
}

/* --- tests -------------------------------------------------------------------------------------------------- */

static void fresh_log_is_empty_and_usable_at_once(void **state)
{
    struct log_fixture *f = *state;

    assert_int_equal(commitlog_last_index(f->log), 0);
    assert_int_equal(commitlog_end_pos(f->log), 0);
    assert_int_equal(commitlog_term_of(f->log, 1), 0);
    assert_false(commitlog_writing(f->log));
    append_many(f, 3, 1, 100);
    log_fixture_settle(f);
    assert_int_equal(f->durable_term, 3);
    assert_int_equal(commitlog_end_pos(f->log), rlog_entry_bytes(100));
    assert_int_equal(commitlog_last_store_ms(f->log), 11);
    log_fixture_check(f, 1, 3);
}

static void entry_is_readable_before_and_after_it_is_durable(void **state)
{
    struct log_fixture *f = *state;
    struct commitlog_entry before, after;
    struct net_ref *blob, *segment;

    append_many(f, 1, 3, 999);
    log_fixture_check(f, 2, 1);
    assert_int_equal(commitlog_durable_index(f->log), 0);
    blob = commitlog_hold(f->log, 2);
    assert_int_equal(commitlog_get(f->log, 2, &before), 0);
    assert_false(commitlog_writing(f->log)); /* not kicked yet */
    commitlog_kick(f->log);
    assert_true(commitlog_writing(f->log));
    log_fixture_settle(f);
    segment = commitlog_hold(f->log, 2);
    assert_ptr_not_equal(blob, segment);
    assert_int_equal(commitlog_get(f->log, 2, &after), 0);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.bytes, after.bytes, after.n);
    net_ref_release(blob);
    net_ref_release(segment);
    assert_null(commitlog_hold(f->log, 0));
    assert_null(commitlog_hold(f->log, 4));
    assert_int_equal(commitlog_get(f->log, 4, &after), MQ_ENOTFOUND);
}

static void view_shows_durable_bytes_and_outlives_the_log(void **state)
{
    struct log_fixture *f = *state;
    uint8_t want[500];
    struct net_ref *ref;
    const uint8_t *at;

    append_many(f, 1, 1, 500);
    assert_int_equal(commitlog_view(f->log, RLOG_HEADER_BYTES, 500, &at, &ref), MQ_ENOTFOUND);
    log_fixture_settle(f);
    assert_int_equal(commitlog_view(f->log, RLOG_HEADER_BYTES, 500 + 12, &at, &ref), MQ_ENOTFOUND);
    assert_int_equal(commitlog_view(f->log, UINT64_MAX - 3, 500, &at, &ref), MQ_ENOTFOUND);
    assert_int_equal(commitlog_view(f->log, RLOG_HEADER_BYTES, 500, &at, &ref), 0);
    assert_false(commitlog_is_cold(f->log, RLOG_HEADER_BYTES, 500));
    assert_false(commitlog_is_cold(f->log, 1u << 30, 500));
    log_fixture_close(f);
    log_fixture_payload(1, 1, want, sizeof(want));
    assert_memory_equal(at, want, sizeof(want));
    net_ref_release(ref);
}

static void entry_that_does_not_fit_starts_the_next_segment(void **state)
{
    struct log_fixture *f = *state;
    uint32_t most = SEGMENT - RLOG_HEADER_BYTES;

    append_many(f, 1, 1, 1000);
    assert_int_equal(commitlog_next_pos(f->log, 1000), rlog_entry_bytes(1000));
    assert_int_equal(commitlog_next_pos(f->log, most), SEGMENT);
    append_many(f, 1, 1, most); /* fills a segment to its last byte */
    assert_int_equal(commitlog_end_pos(f->log), 2 * SEGMENT);
    assert_int_equal(commitlog_next_pos(f->log, 0), 2 * SEGMENT);
    append_many(f, 1, 1, 0);
    append_many(f, 1, 1, most - 96 - 88); /* leaves 88 bytes: not even a header fits */
    append_many(f, 1, 1, 0);
    assert_int_equal(commitlog_end_pos(f->log), 3 * SEGMENT + 96);
    assert_int_equal(log_fixture_append(f, 1, most + 1), MQ_ETOOBIG);
    assert_int_equal(log_fixture_append(f, 1, RLOG_ENTRY_BYTES_MAX - RLOG_HEADER_BYTES), MQ_ETOOBIG);
    log_fixture_settle(f);
    log_fixture_close(f);
    log_fixture_open(f);
    assert_int_equal(commitlog_last_index(f->log), 5);
    for (uint64_t i = 1; i <= 5; i++) {
        log_fixture_check(f, i, 1);
    }
    assert_int_equal(commitlog_end_pos(f->log), 3 * SEGMENT + 96);
}

static void without_memory_an_append_changes_nothing(void **state)
{
    struct log_fixture *f = *state;
    struct rlog_header header = {.type = RLOG_COMMAND, .index = 1, .term = 1};
    struct rlog_blob *blob;

    assert_int_equal(blob_pool_take(&f->pool, NULL, 10, &blob), 0);
    blob->payload_bytes = 10;
    memset(rlog_blob_payload(blob), 'x', 10);
    for (unsigned nth = 1;; nth++) {
        int rc;

        mq_heap_fail_at(nth);
        rc = commitlog_append(f->log, &header, blob);
        mq_heap_fail_at(0);
        if (rc == 0) {
            assert_int_equal(nth, 4); /* what an earlier try got is kept, so each gets one step further */
            break;
        }
        assert_int_equal(rc, MQ_ENOMEM);
        assert_int_equal(commitlog_last_index(f->log), 0);
        assert_int_equal(commitlog_end_pos(f->log), 0);
    }
    log_fixture_settle(f);
}

static void commit_fields_prove_commitment(void **state)
{
    struct log_fixture *f = *state;
    static const uint64_t commits[] = {0, 0, 2, 1, 9};

    for (uint64_t i = 1; i <= 5; i++) {
        struct rlog_header header = {.type = RLOG_BARRIER, .index = i, .term = 1, .commit = commits[i - 1]};
        struct rlog_blob *blob;

        assert_int_equal(blob_pool_take(&f->pool, NULL, 0, &blob), 0);
        assert_int_equal(commitlog_append(f->log, &header, blob), 0);
        assert_int_equal(commitlog_proven_commit(f->log), i < 3 ? 0 : i < 5 ? 2 : 5);
    }
    log_fixture_settle(f);
    log_fixture_close(f);
    log_fixture_open(f);
    assert_int_equal(commitlog_proven_commit(f->log), 5);
}

/* --- copies of a peer's entries ----------------------------------------------------------------------------- */

struct frame {
    struct net_ref ref;
    uint8_t bytes[2048];
};

static void on_frame_unused(struct net_ref *ref)
{
    free(ref);
}

static struct frame *frame_of(struct log_fixture *f, uint64_t index, uint32_t *n)
{
    struct frame *frame = malloc(sizeof(*frame));
    struct commitlog_entry entry;

    assert_int_equal(commitlog_get(f->log, index, &entry), 0);
    frame->ref = (struct net_ref){1, on_frame_unused};
    memcpy(frame->bytes + 1, entry.bytes, entry.n); /* not aligned */
    *n = entry.n;
    return frame;
}

static int append_frame(struct log_fixture *f, struct frame *frame, uint32_t n)
{
    struct rlog_header header;

    assert_int_equal(rlog_header_decode(frame->bytes + 1, n, &header), 0);
    return commitlog_append_copy(f->log, &header, frame->bytes + 1, n, &frame->ref);
}

static int append_sound_frame(struct log_fixture *f, struct frame *frame, uint32_t n)
{
    struct rlog_header header;

    assert_int_equal(rlog_header_decode(frame->bytes + 1, n, &header), 0);
    return commitlog_append_sound(f->log, &header, frame->bytes + 1, n, &frame->ref);
}

static void copied_log_is_byte_identical(void **state)
{
    struct log_fixture *f = *state;
    struct log_fixture copy;
    char *dir = log_temp_dir();
    uint64_t end;

    log_fixture_init(&copy, &rlog_disk_real, dir, SEGMENT);
    log_fixture_open(&copy);
    append_many(f, 1, 100, 1001);
    append_many(f, 4, 30, 77);
    log_fixture_settle(f);
    for (uint64_t i = 1; i <= 130; i++) {
        uint32_t n;
        struct frame *frame = frame_of(f, i, &n);

        assert_int_equal(i % 2 == 0 ? append_frame(&copy, frame, n) : append_sound_frame(&copy, frame, n), 0);
        net_ref_release(&frame->ref); /* the log has its own */
    }
    log_fixture_settle(&copy);
    end = commitlog_end_pos(f->log);
    assert_int_equal(commitlog_end_pos(copy.log), end);
    assert_true(end > SEGMENT);
    for (uint64_t pos = 0; pos < end; pos += 8) {
        struct net_ref *a, *b;
        const uint8_t *x, *y;

        assert_int_equal(commitlog_view(f->log, pos, 8, &x, &a), 0);
        assert_int_equal(commitlog_view(copy.log, pos, 8, &y, &b), 0);
        assert_memory_equal(x, y, 8);
        net_ref_release(a);
        net_ref_release(b);
    }
    log_fixture_fini(&copy);
    log_temp_dir_remove(dir);
}

static void copy_that_does_not_follow_or_is_damaged_is_refused(void **state)
{
    static const struct {
        const char *why;
        uint64_t index;
        int flip_at; /* of the whole entry, -1: none; behind the header */
        int longer;
    } cases[] = {
        {"the same index again", 1, -1, 0},
        {"an entry is left out", 3, -1, 0},
        {"the payload is damaged", 2, RLOG_HEADER_BYTES + 3, 0},
        {"the padding is not zero", 2, RLOG_HEADER_BYTES + 101, 0},
        {"there is more than the entry", 2, -1, 8},
    };
    struct log_fixture *f = *state;
    struct log_fixture other;
    struct frame *frame;
    char *dir = log_temp_dir();
    uint32_t n;

    log_fixture_init(&other, &rlog_disk_real, dir, SEGMENT);
    log_fixture_open(&other);
    append_many(f, 1, 4, 101);
    frame = frame_of(f, 1, &n);
    assert_int_equal(append_frame(&other, frame, n), 0);
    net_ref_release(&frame->ref);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        print_message("%s\n", cases[i].why);
        frame = frame_of(f, cases[i].index, &n);
        if (cases[i].flip_at >= 0) {
            frame->bytes[1 + cases[i].flip_at] ^= 1;
        }
        assert_int_equal(append_frame(&other, frame, n + (uint32_t)cases[i].longer), MQ_ECORRUPT);
        if (cases[i].flip_at < 0) { /* what concerns the place is checked for sound ones too */
            assert_int_equal(append_sound_frame(&other, frame, n + (uint32_t)cases[i].longer), MQ_ECORRUPT);
        }
        assert_int_equal(frame->ref.count, 1);
        assert_int_equal(commitlog_last_index(other.log), 1);
        net_ref_release(&frame->ref);
    }
    /* Another history: entry 2 follows another entry 1. */
    assert_int_equal(log_fixture_append(&other, 1, 101), 0);
    commitlog_truncate(other.log, 1);
    assert_int_equal(log_fixture_append(&other, 1, 102), 0);
    frame = frame_of(f, 2, &n);
    assert_int_equal(append_frame(&other, frame, n), MQ_ECORRUPT);
    net_ref_release(&frame->ref);
    log_fixture_settle(&other);
    log_fixture_fini(&other);
    log_temp_dir_remove(dir);
    log_fixture_settle(f);
}

/* --- truncation --------------------------------------------------------------------------------------------- */

static void truncated_entries_are_gone_and_others_take_their_place(void **state)
{
    struct log_fixture *f = *state;
    uint64_t end;

    append_many(f, 1, 5, 300);
    end = commitlog_end_pos(f->log);
    append_many(f, 2, 200, 1000); /* over several segments */
    log_fixture_settle(f);
    commitlog_truncate(f->log, 6);
    assert_int_equal(commitlog_last_index(f->log), 5);
    assert_int_equal(commitlog_durable_index(f->log), 5);
    assert_int_equal(commitlog_end_pos(f->log), end);
    assert_int_equal(commitlog_term_of(f->log, 6), 0);
    assert_int_equal(commitlog_last_store_ms(f->log), 51);
    f->durable_index = 5;
    append_many(f, 3, 2, 40);
    log_fixture_settle(f);
    assert_int_equal(f->durable_term, 3);
    log_fixture_close(f);
    log_fixture_open(f);
    assert_int_equal(commitlog_last_index(f->log), 7);
    log_fixture_check(f, 5, 1);
    log_fixture_check(f, 7, 3);
    commitlog_truncate(f->log, 1);
    assert_int_equal(commitlog_last_index(f->log), 0);
    assert_int_equal(commitlog_end_pos(f->log), 0);
    f->durable_index = 0;
    append_many(f, 4, 1, 8);
    log_fixture_settle(f);
}

static void only_what_survives_a_truncation_is_reported(void **state)
{
    struct log_fixture *f = *state;

    append_many(f, 1, 10, 50);
    commitlog_kick(f->log);
    append_many(f, 2, 10, 50); /* not even kicked */
    commitlog_truncate(f->log, 8);
    assert_int_equal(f->reports, 0); /* never from inside a call */
    log_fixture_settle(f);
    assert_int_equal(f->reports, 1);
    assert_int_equal(f->durable_index, 7);
    assert_int_equal(f->durable_term, 1);
    commitlog_truncate(f->log, 8); /* nothing there */
    assert_int_equal(commitlog_last_index(f->log), 7);
}

/* --- random histories --------------------------------------------------------------------------------------- */

#define MODEL_MAX 4000u

static void check_random_histories(struct log_fixture *f)
{
    uint64_t random = log_seed(), term = 1;
    static uint64_t terms[MODEL_MAX];
    uint64_t last = 0;

    for (unsigned step = 0; step < 1500; step++) {
        switch (log_random(&random) % 16) {
        case 0:
            if (last != 0) {
                uint64_t from = last - log_random(&random) % (last < 30 ? last : 30);

                commitlog_truncate(f->log, from);
                last = from - 1;
                f->durable_index = f->durable_index < last ? f->durable_index : last;
                term++;
            }
            break;
        case 1:
            log_fixture_settle(f);
            break;
        case 2:
            log_fixture_close(f);
            log_fixture_open(f);
            assert_int_equal(f->durable_index, last);
            break;
        case 3:
            commitlog_kick(f->log);
            break;
        case 4:
            uv_run(&f->loop.uv, UV_RUN_NOWAIT);
            break;
        case 5:
            for (unsigned i = 0; i < 5 && last != 0; i++) {
                uint64_t index = 1 + log_random(&random) % last;

                log_fixture_check(f, index, terms[index]);
            }
            break;
        default:
            if (last + 1 < MODEL_MAX) {
                uint32_t n = log_random(&random) % (log_random(&random) % 8 == 0 ? 60000 : 500);

                assert_int_equal(log_fixture_append(f, term, n), 0);
                terms[++last] = term;
            }
        }
        assert_int_equal(commitlog_last_index(f->log), last);
    }
    log_fixture_settle(f);
    for (uint64_t i = 1; i <= last; i++) {
        log_fixture_check(f, i, terms[i]);
    }
}

static void random_histories_agree_with_a_model(void **state)
{
    check_random_histories(*state);
}

static void they_do_so_where_the_index_files_are_believed_to_the_end(void **state)
{
    struct log_fixture *f = *state;

    f->verify_bytes = 1;
    check_random_histories(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fresh_log_is_empty_and_usable_at_once),
        TEST(entry_is_readable_before_and_after_it_is_durable),
        TEST(view_shows_durable_bytes_and_outlives_the_log),
        TEST(entry_that_does_not_fit_starts_the_next_segment),
        TEST(without_memory_an_append_changes_nothing),
        TEST(commit_fields_prove_commitment),
        TEST(copied_log_is_byte_identical),
        TEST(copy_that_does_not_follow_or_is_damaged_is_refused),
        TEST(truncated_entries_are_gone_and_others_take_their_place),
        TEST(only_what_survives_a_truncation_is_reported),
        TEST(random_histories_agree_with_a_model),
        TEST(they_do_so_where_the_index_files_are_believed_to_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
