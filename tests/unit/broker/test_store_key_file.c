#include "broker/store/key_file.h"

#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "tests/unit/broker/fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BEGIN 1000u

struct files {
    char dir[64];
    struct key_run run;
};

static void files_open(struct files *f)
{
    f->run = (struct key_run){0};
    fixture_dir_make(f->dir);
    key_run_begin(&f->run, BEGIN);
}

static void files_close(struct files *f)
{
    key_run_free(&f->run);
    fixture_dir_remove(f->dir);
}

/* An entry with @n keys of one hash, each of a record of its own, 10 bytes apart. */
static void put(struct key_run *run, uint32_t hash, uint32_t n, int64_t store_ms)
{
    uint64_t pos = run->range.end;

    key_run_enter(run, pos, (uint32_t)pos, store_ms);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(key_run_add(run, hash, pos + 10 * i), 0);
    }
    key_run_leave(run, pos + 10 * n, (uint32_t)(pos + 10 * n));
}

static struct key_want want_all(uint32_t hash)
{
    return (struct key_want){.hash = hash, .begin_ms = 0, .end_ms = INT64_MAX, .below = UINT64_MAX};
}

static void a_small_run(struct key_run *run)
{
    key_run_enter(run, 1000, 0x11121314, 0x0102030405);
    assert_int_equal(key_run_add(run, 0x80000001, 1100), 0);
    assert_int_equal(key_run_add(run, 0x00000002, 1100), 0);
    key_run_leave(run, 1200, 0x21222324);
    key_run_enter(run, 1200, 0x21222324, 0x0102030406);
    assert_int_equal(key_run_add(run, 0x80000001, 1300), 0);
    key_run_leave(run, 1400, 0x31323334);
}

static void the_bytes_are_the_golden_ones(void **state)
{
    static const uint8_t want[] = {
        0x52, 0x4D, 0x51, 0x4B, 0xCA, 0x6C, 0x54, 0x0A, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xE8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x78, 0x00, 0x00,
        0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x00, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04, 0x06, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0xB0, 0x11, 0x12, 0x13, 0x14,
        0x31, 0x32, 0x33, 0x34, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x14, 0x00, 0x00, 0x00, 0x01, 0x02,
        0x03, 0x04, 0x06, 0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x01, 0x40, 0x94, 0xD3, 0xC3, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x50, 0xAC, 0xEB, 0x0E,
        0x00, 0x00, 0x00, 0x64, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x64, 0x00,
        0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x64, 0x80, 0x00, 0x00, 0x01, 0x00, 0x00, 0x01, 0x2C,
    };
    struct files f;
    struct key_file file, got;
    struct mq_buf bytes = {0};

    (void)state;
    files_open(&f);
    a_small_run(&f.run);
    assert_int_equal(key_file_encode(&f.run, &file, &bytes), 0);
    assert_int_equal(bytes.len, sizeof(want));
    assert_memory_equal(bytes.base, want, sizeof(want));
    assert_int_equal(key_file_header_decode(want, sizeof(want), &got), 0);
    assert_memory_equal(&got, &file, sizeof(got));
    mq_buf_free(&bytes);
    files_close(&f);
}

static void what_is_no_header_of_this_version_is_refused(void **state)
{
    static const struct {
        const char *why;
        size_t at;
        uint8_t value;
        int want;
    } cases[] = {
        {"a later version", 11, 2, MQ_EVERSION},
        {"more buckets than there can be", 15, 14, MQ_ECORRUPT},
        {"an end before the beginning", 30, 0, MQ_ECORRUPT},
        {"a part of the log that offsets cannot reach", 27, 1, MQ_ECORRUPT},
        {"no entries", 55, 0, MQ_ECORRUPT},
        {"a last entry outside", 62, 0xFF, MQ_ECORRUPT},
        {"times that fall", 44, 0, MQ_ECORRUPT},
        {"more marks than its keys need", 95, 2, MQ_ECORRUPT},
        {"more keys than a file can have", 88, 0xFF, MQ_ECORRUPT},
        {"something where zeros are", 127, 1, MQ_ECORRUPT},
    };
    struct key_file file, got = {.bucket_bits = 77};
    struct mq_buf bytes = {0};
    struct files f;

    (void)state;
    files_open(&f);
    a_small_run(&f.run);
    assert_int_equal(key_file_encode(&f.run, &file, &bytes), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t was = bytes.base[cases[i].at];

        print_message("%s\n", cases[i].why);
        bytes.base[cases[i].at] = cases[i].value;
        assert_int_equal(key_file_header_decode(bytes.base, bytes.len, &got), MQ_ECORRUPT); /* the checksum */
        mq_be32_store(bytes.base + 4, mq_crc32c(0, bytes.base + 8, KEY_FILE_HEADER_BYTES - 8));
        assert_int_equal(key_file_header_decode(bytes.base, bytes.len, &got), cases[i].want);
        bytes.base[cases[i].at] = was;
    }
    mq_be32_store(bytes.base + 4, mq_crc32c(0, bytes.base + 8, KEY_FILE_HEADER_BYTES - 8));
    for (size_t n = 0; n < KEY_FILE_HEADER_BYTES; n++) {
        assert_int_equal(key_file_header_decode(bytes.base, n, &got), MQ_ECORRUPT);
    }
    assert_int_equal(got.bucket_bits, 77);
    assert_int_equal(key_file_header_decode(bytes.base, bytes.len, &got), 0);
    mq_buf_free(&bytes);
    files_close(&f);
}

static void a_file_finds_what_the_run_had(void **state)
{
    static const struct {
        const char *why;
        struct key_want want;
        uint32_t n;
        uint64_t newest;
    } cases[] = {
        {"all", {7, 0, INT64_MAX, UINT64_MAX}, 4, 1000 + 10 * 3003},
        {"below a position", {7, 0, INT64_MAX, 1000 + 10 * 3003}, 3, 1000 + 10 * 3002},
        {"below all", {7, 0, INT64_MAX, 1000}, 0, 0},
        {"of another hash", {8, 0, INT64_MAX, UINT64_MAX}, 0, 0},
        {"of the same bucket, not the same", {7 + (1u << 20), 0, INT64_MAX, UINT64_MAX}, 0, 0},
        {"before all", {7, 0, 99, UINT64_MAX}, 0, 0},
        {"behind all", {7, 301, INT64_MAX, UINT64_MAX}, 0, 0},
        /* Marks are coarse: what is given may be a little too early or too late, never too little. */
        {"early ones", {7, 0, 100, UINT64_MAX}, 2, 1000 + 10 * 1001},
        {"late ones", {7, 300, INT64_MAX, UINT64_MAX}, 2, 1000 + 10 * 3003},
    };
    struct files f;
    struct key_file file;

    (void)state;
    files_open(&f);
    put(&f.run, 1u << 31, 1000, 100);
    put(&f.run, 7, 2, 100);
    put(&f.run, 1u << 30, 2000, 200);
    put(&f.run, 7, 2, 300);
    assert_int_equal(key_file_write(f.dir, &f.run, &file), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct key_found in_file = {0}, in_run = {0};

        print_message("%s\n", cases[i].why);
        assert_true(key_run_find(&f.run, &cases[i].want, &in_run));
        assert_int_equal(key_file_find(f.dir, &file, &cases[i].want, &in_file), 1);
        assert_int_equal(in_file.n, in_run.n);
        assert_memory_equal(in_file.pos, in_run.pos, in_run.n * sizeof(in_run.pos[0]));
        assert_int_equal(in_file.n, cases[i].n);
        assert_true(in_file.n == 0 || in_file.pos[0] == cases[i].newest);
    }
    files_close(&f);
}

static void many_are_given_in_pieces_each_once(void **state)
{
    struct key_want want = want_all(7);
    struct key_found found;
    struct key_file file;
    struct files f;
    uint64_t last = UINT64_MAX;
    uint32_t n = 0;
    int rc;

    (void)state;
    files_open(&f);
    put(&f.run, 7, 200, 100);
    assert_int_equal(key_run_add(&f.run, 7, f.run.offsets[199] + BEGIN), 0); /* twice in one record */
    assert_int_equal(key_file_write(f.dir, &f.run, &file), 0);
    do {
        found.n = 0;
        rc = key_file_find(f.dir, &file, &want, &found);
        assert_true(rc == 0 || rc == 1);
        for (uint32_t i = 0; i < found.n; i++) {
            assert_true(found.pos[i] < last);
            last = found.pos[i];
        }
        n += found.n;
        want.below = last;
    } while (rc == 0);
    assert_int_equal(n, 200);
    files_close(&f);
}

static void a_file_that_is_loaded_goes_on_as_it_was(void **state)
{
    struct key_run again = {0};
    struct key_file file, opened, second;
    struct mq_buf bytes = {0}, bytes_again = {0};
    struct files f;

    (void)state;
    files_open(&f);
    for (uint32_t i = 0; i < 300; i++) {
        put(&f.run, i * 2654435761u, 7, 100 + i);
    }
    assert_int_equal(key_file_write(f.dir, &f.run, &file), 0);
    assert_int_equal(key_file_open(f.dir, BEGIN, &opened), 0);
    assert_memory_equal(&opened, &file, sizeof(file));
    key_run_begin(&again, BEGIN);
    assert_int_equal(key_file_load(f.dir, &opened, &again), 0);
    for (uint32_t i = 300; i < 400; i++) { /* with it, and without the detour over the disk */
        put(&f.run, i * 2654435761u, 7, 100 + i);
        put(&again, i * 2654435761u, 7, 100 + i);
    }
    assert_int_equal(key_file_encode(&f.run, &file, &bytes), 0);
    assert_int_equal(key_file_encode(&again, &second, &bytes_again), 0);
    assert_int_equal(bytes.len, bytes_again.len);
    assert_memory_equal(bytes.base, bytes_again.base, bytes.len);
    mq_buf_free(&bytes);
    mq_buf_free(&bytes_again);
    key_run_free(&again);
    files_close(&f);
}

/* Whatever byte is wrong: what is found is what was there, or the file is known to be bad. */
static void no_damaged_byte_is_believed(void **state)
{
    struct key_found before = {0};
    struct key_file file, got;
    struct files f;
    struct stat st;
    char *path;
    int fd;

    (void)state;
    files_open(&f);
    put(&f.run, 7, 20, 100);
    put(&f.run, 0x80000007, 300, 200);
    put(&f.run, 7, 20, 300);
    assert_true(key_run_find(&f.run, &(struct key_want){7, 150, INT64_MAX, UINT64_MAX}, &before));
    assert_int_equal(key_file_write(f.dir, &f.run, &file), 0);
    path = key_file_path(f.dir, BEGIN, "");
    fd = open(path, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 0; at < st.st_size; at++) {
        const struct key_want wants[] = {{7, 150, INT64_MAX, UINT64_MAX}, {0x80000007, 0, INT64_MAX, UINT64_MAX}};
        struct key_run again = {0};
        uint8_t byte;
        int rc, bad = 0;

        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        rc = key_file_open(f.dir, BEGIN, &got);
        assert_int_equal(rc, at < (off_t)KEY_FILE_HEADER_BYTES ? MQ_ECORRUPT : 0);
        for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
            struct key_found found = {0};

            rc = key_file_find(f.dir, &file, &wants[i], &found);
            bad += rc == MQ_ECORRUPT;
            if (rc != MQ_ECORRUPT && i == 0) {
                assert_int_equal(rc, 1);
                assert_int_equal(found.n, before.n);
                assert_memory_equal(found.pos, before.pos, before.n * sizeof(before.pos[0]));
            }
            if (rc == MQ_ECORRUPT) {
                assert_int_equal(found.n, 0);
            }
        }
        key_run_begin(&again, BEGIN);
        rc = key_file_load(f.dir, &file, &again);
        assert_int_equal(rc, at < (off_t)KEY_FILE_HEADER_BYTES ? 0 : MQ_ECORRUPT);
        key_run_free(&again);
        assert_true(bad != 0 || at < (off_t)KEY_FILE_HEADER_BYTES || rc == MQ_ECORRUPT);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(ftruncate(fd, st.st_size + 1), 0);
    assert_int_equal(key_file_open(f.dir, BEGIN, &got), MQ_ECORRUPT);
    assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
    assert_int_equal(key_file_open(f.dir, BEGIN, &got), MQ_ECORRUPT);
    assert_int_equal(key_file_open(f.dir, BEGIN + 1, &got), -ENOENT);
    close(fd);
    mq_free(path);
    files_close(&f);
}

static void a_lack_of_memory_leaves_no_file_behind(void **state)
{
    struct key_file file = {.bucket_bits = 77};
    struct files f;
    int rc = MQ_ENOMEM;

    (void)state;
    files_open(&f);
    a_small_run(&f.run);
    for (unsigned nth = 1; rc == MQ_ENOMEM; nth++) {
        assert_true(nth < 50);
        mq_heap_fail_at(nth);
        rc = key_file_write(f.dir, &f.run, &file);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || (rc == MQ_ENOMEM && file.bucket_bits == 77));
    }
    assert_int_equal(rc, 0);
    files_close(&f);
}

static void names_are_twenty_digits(void **state)
{
    static const struct {
        const char *name;
        int want;
        uint64_t begin;
    } cases[] = {
        {"00000000000000001000", 0, 1000},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", MQ_EINVAL, 0},
        {"0000000000000000100", MQ_EINVAL, 0},
        {"000000000000000010000", MQ_EINVAL, 0},
        {"0000000000000000100x", MQ_EINVAL, 0},
        {"", MQ_EINVAL, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t begin = 77;

        print_message("%s\n", cases[i].name);
        assert_int_equal(key_file_name_parse(cases[i].name, &begin), cases[i].want);
        assert_int_equal(begin, cases[i].want == 0 ? cases[i].begin : 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_the_golden_ones),
        cmocka_unit_test(what_is_no_header_of_this_version_is_refused),
        cmocka_unit_test(a_file_finds_what_the_run_had),
        cmocka_unit_test(many_are_given_in_pieces_each_once),
        cmocka_unit_test(a_file_that_is_loaded_goes_on_as_it_was),
        cmocka_unit_test(no_damaged_byte_is_believed),
        cmocka_unit_test(a_lack_of_memory_leaves_no_file_behind),
        cmocka_unit_test(names_are_twenty_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
