#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/base_file.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <errno.h>
#include <stdlib.h>

#define GOLDEN "tests/unit/raft-log/golden/base-v1.bin"

static struct rlog_base example(uint64_t index)
{
    return (struct rlog_base){.index = index,
                              .term = 0x1112131415161718,
                              .crc = 0x21222324,
                              .end_pos = 0x3132333435363738,
                              .store_ms = 1700000000456,
                              .change_index = 7,
                              .change = (const uint8_t *)"members",
                              .change_bytes = 7};
}

static void must_equal(const struct rlog_base *a, const struct rlog_base *b)
{
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->term, b->term);
    assert_int_equal(a->crc, b->crc);
    assert_int_equal(a->end_pos, b->end_pos);
    assert_int_equal(a->store_ms, b->store_ms);
    assert_int_equal(a->change_index, b->change_index);
    assert_int_equal(a->change_bytes, b->change_bytes);
    if (a->change_bytes != 0) {
        assert_memory_equal(a->change, b->change, a->change_bytes);
    }
}

/* ---- format ---- */

static void encoded_base_equals_the_golden_file(void **state)
{
    static uint8_t bytes[BASE_FILE_BYTES_MAX];
    struct rlog_base base = example(0x0102030405060708);

    (void)state;
    log_check_golden(GOLDEN, bytes, base_file_encode(&base, true, 0x4142434445464748, bytes));
    assert_memory_equal(bytes, "RMQB", 4);
}

static void decoded_base_has_every_field(void **state)
{
    static uint8_t bytes[BASE_FILE_BYTES_MAX + 100];
    static uint8_t change[RLOG_BASE_CHANGE_MAX];
    static struct base_kept back;
    struct rlog_base base = example(5);
    uint64_t sequence;
    uint32_t n;
    bool reset;

    (void)state;
    n = base_file_encode(&base, true, 9, bytes);
    memset(bytes + n, 0xFF, 100); /* what an older, longer one left */
    assert_int_equal(base_file_decode(bytes, n + 100, &back, &reset, &sequence), 0);
    must_equal(&back.base, &base);
    assert_true(reset);
    assert_int_equal(sequence, 9);
    memset(change, 'c', sizeof(change));
    base.change = change;
    base.change_bytes = sizeof(change);
    n = base_file_encode(&base, false, UINT64_MAX, bytes);
    assert_true(n <= BASE_FILE_BYTES_MAX);
    assert_int_equal(base_file_decode(bytes, n, &back, &reset, &sequence), 0);
    must_equal(&back.base, &base);
    assert_false(reset);
    base = (struct rlog_base){0};
    n = base_file_encode(&base, false, 1, bytes);
    assert_int_equal(base_file_decode(bytes, n, &back, &reset, &sequence), 0);
    must_equal(&back.base, &base);
}

static void fix_crc(uint8_t *bytes, size_t n)
{
    rlog_le32_store(bytes + 4, mq_crc32c(0, bytes + 8, n - 8));
}

static void malformed_base_is_refused(void **state)
{
    static const struct {
        const char *why;
        uint32_t at;
        uint8_t flip;
        bool fix;
        int want;
    } cases[] = {
        {"another magic", 0, 1, true, MQ_ECORRUPT},
        {"a wrong checksum", 4, 1, false, MQ_ECORRUPT},
        {"another version", 8, 2, true, MQ_EVERSION},
        {"a length beyond the file", 12, 0x80, true, MQ_ECORRUPT},
        {"a length beyond any file", 15, 0x80, true, MQ_ECORRUPT},
        {"a flipped bit in the body", 40, 4, false, MQ_ECORRUPT},
        {"a body that is not protobuf", 24, 0xFF, true, MQ_ECORRUPT},
    };
    static uint8_t bytes[BASE_FILE_BYTES_MAX];
    static struct base_kept back;
    uint64_t sequence = 77;
    bool reset = true;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rlog_base base = example(5);
        uint32_t n = base_file_encode(&base, false, 9, bytes);

        print_message("%s\n", cases[i].why);
        bytes[cases[i].at] ^= cases[i].flip;
        if (cases[i].fix) {
            fix_crc(bytes, n);
        }
        assert_int_equal(base_file_decode(bytes, n, &back, &reset, &sequence), cases[i].want);
        assert_int_equal(sequence, 77);
        assert_true(reset);
    }
    for (uint32_t n = 0; n < 60; n++) {
        struct rlog_base base = example(5);

        base_file_encode(&base, false, 9, bytes);
        assert_int_equal(base_file_decode(bytes, n, &back, &reset, &sequence), MQ_ECORRUPT);
    }
}

static void base_that_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *why;
        struct rlog_base base;
    } cases[] = {
        {"nothing with a term", {.term = 1}},
        {"nothing with an end", {.end_pos = 8}},
        {"nothing with a checksum", {.crc = 8}},
        {"an entry without a term", {.index = 1, .end_pos = 96}},
        {"an entry that ends nowhere", {.index = 1, .term = 1}},
        {"an entry that ends between words", {.index = 1, .term = 1, .end_pos = 97}},
    };
    static uint8_t bytes[BASE_FILE_BYTES_MAX];
    static struct base_kept back;
    uint64_t sequence;
    bool reset;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t n = base_file_encode(&cases[i].base, false, 1, bytes);

        print_message("%s\n", cases[i].why);
        assert_int_equal(base_file_decode(bytes, n, &back, &reset, &sequence), MQ_ECORRUPT);
    }
}

/* ---- files ---- */

struct fixture {
    struct mem_disk *disk;
    struct base_file file;
    struct base_kept base;
    bool reset;
    struct mq_buf problem;
};

static int open_on(struct fixture *f, struct mem_disk *disk)
{
    mq_buf_free(&f->problem);
    f->disk = disk;
    return base_file_open(&f->file, &disk->table, "/m", &f->base, &f->reset, &f->problem);
}

static void stored_base_is_there_after_a_restart(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct rlog_base none = {0}, base;

    (void)state;
    assert_int_equal(open_on(f, mem_disk_new(BASE_FILE_BYTES_MAX)), 0);
    must_equal(&f->base.base, &none);
    assert_false(f->reset);
    for (uint64_t i = 1; i < 5; i++) {
        base = example(i);
        base.change_bytes = (uint32_t)(7 - i); /* shorter and shorter */
        assert_int_equal(base_file_store(&f->file, &base, i % 2 == 0), 0);
        base_file_close(&f->file);
        assert_int_equal(open_on(f, f->disk), 0);
        must_equal(&f->base.base, &base);
        assert_int_equal(f->reset, i % 2 == 0);
    }
    base.change_bytes = RLOG_BASE_CHANGE_MAX + 1;
    assert_int_equal(base_file_store(&f->file, &base, false), MQ_ETOOBIG);
    base_file_close(&f->file);
    mem_disk_free(f->disk);
    free(f);
}

static void flip(struct mem_disk *disk, const char *name)
{
    uint64_t size;
    uint8_t *bytes = mem_disk_file(disk, name, &size);

    bytes[size / 2] ^= 1;
}

static void one_bad_copy_is_written_anew_and_two_are_refused(void **state)
{
    static const char *const names[] = {"/m/base-0", "/m/base-1"};
    struct fixture *f = calloc(1, sizeof(*f));
    struct rlog_base base = example(3);
    uint64_t size;

    (void)state;
    assert_int_equal(open_on(f, mem_disk_new(BASE_FILE_BYTES_MAX)), 0);
    assert_int_equal(base_file_store(&f->file, &base, false), 0);
    base_file_close(&f->file);
    for (int k = 0; k < 2; k++) {
        flip(f->disk, names[k]);
        assert_int_equal(open_on(f, f->disk), 0);
        must_equal(&f->base.base, &base);
        base_file_close(&f->file);
        assert_int_equal(f->disk->table.unlink(&f->disk->table, names[k]), 0);
        assert_int_equal(open_on(f, f->disk), 0);
        must_equal(&f->base.base, &base);
        base_file_close(&f->file);
        assert_non_null(mem_disk_file(f->disk, names[k], &size));
    }
    flip(f->disk, names[0]);
    flip(f->disk, names[1]);
    assert_int_equal(open_on(f, f->disk), MQ_ECORRUPT);
    assert_non_null(memmem(f->problem.base, f->problem.len, "both bad", 8));
    mq_buf_free(&f->problem);
    mem_disk_free(f->disk);
    free(f);
}

static bool by_mask(void *data, size_t change, size_t sector)
{
    return (*(uint64_t *)data >> ((change * 7 + sector) % 64) & 1) != 0;
}

static void crash_during_a_store_shows_the_old_base_or_the_new_one(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f)), *g = calloc(1, sizeof(*g));
    uint64_t random = log_seed();
    size_t marks[5] = {0};

    (void)state;
    assert_int_equal(open_on(f, mem_disk_new(BASE_FILE_BYTES_MAX)), 0);
    for (uint64_t i = 1; i < 5; i++) {
        struct rlog_base base = example(i);

        assert_int_equal(base_file_store(&f->file, &base, false), 0);
        marks[i] = mem_disk_now(f->disk);
    }
    for (size_t until = 0; until <= marks[4]; until++) {
        uint64_t least = 0;

        while (least < 4 && marks[least + 1] <= until) {
            least++;
        }
        for (int k = 0; k < 16; k++) {
            uint64_t mask = (uint64_t)log_random(&random) << 33 ^ log_random(&random);
            struct mem_disk *after = mem_disk_crash(f->disk, until, by_mask, &mask);

            assert_int_equal(open_on(g, after), 0);
            assert_true(g->base.base.index == least || g->base.base.index == least + 1);
            base_file_close(&g->file);
            mem_disk_free(after);
        }
    }
    base_file_close(&f->file);
    mem_disk_free(f->disk);
    free(f);
    free(g);
}

static void every_failing_call_is_reported(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct rlog_base base = example(3);
    unsigned nth = 1;
    int rc;

    (void)state;
    do {
        assert_int_equal(open_on(f, mem_disk_new(BASE_FILE_BYTES_MAX)), 0);
        mem_disk_fail_in(f->disk, nth++, -EIO);
        rc = base_file_store(&f->file, &base, false);
        assert_true(rc == 0 || rc == -EIO);
        mem_disk_fail_in(f->disk, 0, 0);
        base_file_close(&f->file);
        assert_int_equal(open_on(f, f->disk), 0);
        assert_true(rc != 0 || f->base.base.index == 3);
        base_file_close(&f->file);
        mem_disk_free(f->disk);
    } while (rc != 0);
    assert_true(nth > 8);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoded_base_equals_the_golden_file),
        cmocka_unit_test(decoded_base_has_every_field),
        cmocka_unit_test(malformed_base_is_refused),
        cmocka_unit_test(base_that_cannot_be_is_refused),
        cmocka_unit_test(stored_base_is_there_after_a_restart),
        cmocka_unit_test(one_bad_copy_is_written_anew_and_two_are_refused),
        cmocka_unit_test(crash_during_a_store_shows_the_old_base_or_the_new_one),
        cmocka_unit_test(every_failing_call_is_reported),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
