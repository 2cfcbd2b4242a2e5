#include "raft-log/log/snapshot_file.h"

#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATH "n/snapshot/00000000000000000077"
#define FILE_MAX (1u << 16)

static const struct snapshot_info INFO = {
    .index = 77,
    .term = 5,
    .end_pos = 123456,
    .store_ms = 1700000000123,
    .crc = 0xCAFEF00D,
    .level = 2,
    .change_index = 60,
    .membership_bytes = 5,
    .membership = "abcde",
    .n_sections = 2,
    .sections = {{.id = 1, .version = 1, .level = 1, .hash = 0x1122334455667788},
                 {.id = 9, .version = 3, .level = 2, .hash = 7}},
};

/* Two blocks of section 1 around one of section 9. */
static int write_file(struct mem_disk *disk, const char *path)
{
    struct snapshot_writer writer;
    uint64_t bytes = 0, size;
    int rc = snapshot_writer_open(&writer, &disk->table, path, &INFO);

    if (rc != 0) {
        return rc;
    }
    rc = snapshot_writer_put(&writer, 1, "first", 5);
    rc = rc == 0 ? snapshot_writer_put(&writer, 9, "x", 1) : rc;
    rc = rc == 0 ? snapshot_writer_put(&writer, 1, "second row", 10) : rc;
    if (rc != 0) {
        snapshot_writer_abort(&writer);
        return rc;
    }
    rc = snapshot_writer_finish(&writer, &bytes);
    if (rc == 0) {
        assert_non_null(mem_disk_file(disk, path, &size));
        assert_int_equal(bytes, size);
    }
    return rc;
}

static void what_was_written_is_read_back(void **state)
{
    static const struct {
        uint16_t section;
        const char *rows;
    } want[] = {{1, "first"}, {9, "x"}, {1, "second row"}};
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct snapshot_reader reader;
    struct snapshot_info info;
    struct snapshot_block block;
    struct mq_buf problem = {0};

    (void)state;
    assert_int_equal(write_file(disk, PATH), 0);
    assert_int_equal(snapshot_reader_open(&reader, &disk->table, PATH, &info, &problem), 0);
    assert_int_equal(info.index, 77);
    assert_int_equal(info.term, 5);
    assert_int_equal(info.end_pos, 123456);
    assert_int_equal(info.store_ms, 1700000000123);
    assert_int_equal(info.crc, 0xCAFEF00D);
    assert_int_equal(info.level, 2);
    assert_int_equal(info.change_index, 60);
    assert_int_equal(info.membership_bytes, 5);
    assert_memory_equal(info.membership, "abcde", 5);
    assert_int_equal(info.n_sections, 2);
    assert_int_equal(info.sections[0].hash, 0x1122334455667788);
    assert_int_equal(info.sections[1].id, 9);
    assert_int_equal(info.sections[1].version, 3);
    assert_int_equal(info.sections[1].level, 2);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(snapshot_reader_next(&reader, &block), 1);
        assert_int_equal(block.section, want[i].section);
        assert_int_equal(block.n, strlen(want[i].rows));
        assert_memory_equal(block.rows, want[i].rows, block.n);
    }
    assert_int_equal(snapshot_reader_next(&reader, &block), 0);
    assert_true(info.bytes != 0);
    assert_string_equal(info.path, PATH);
    snapshot_reader_close(&reader);
    assert_int_equal(problem.len, 0);
    mem_disk_free(disk);
}

static void the_bytes_are_the_golden_ones(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    uint64_t size;
    uint8_t *bytes;

    (void)state;
    assert_int_equal(write_file(disk, PATH), 0);
    bytes = mem_disk_file(disk, PATH, &size);
    log_check_golden("tests/unit/raft-log/golden/snapshot-v1.bin", bytes, size);
    mem_disk_free(disk);
}

/* What snapshot_file_check says of the file as it is on the disk now. */
static int check(struct mem_disk *disk, struct mq_buf *problem)
{
    struct snapshot_info info;

    mq_buf_free(problem);
    return snapshot_file_check(&disk->table, PATH, &info, problem);
}

static void a_flipped_bit_anywhere_is_found(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct mq_buf problem = {0};
    uint64_t size;
    uint8_t *bytes;

    (void)state;
    assert_int_equal(write_file(disk, PATH), 0);
    bytes = mem_disk_file(disk, PATH, &size);
    assert_int_equal(check(disk, &problem), 0);
    for (uint64_t at = 0; at < size; at++) {
        int rc;

        bytes[at] ^= (uint8_t)(1u << at % 8);
        rc = check(disk, &problem);
        assert_true(rc == MQ_ECORRUPT || (rc == MQ_EVERSION && (at == 8 || at == 9)));
        assert_true(problem.len > strlen(PATH) && memcmp(problem.base, PATH, strlen(PATH)) == 0);
        bytes[at] ^= (uint8_t)(1u << at % 8);
    }
    mq_buf_free(&problem);
    mem_disk_free(disk);
}

static void a_file_that_ends_early_or_late_is_refused(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct mq_buf problem = {0};
    uint64_t size;

    (void)state;
    assert_int_equal(write_file(disk, PATH), 0);
    assert_non_null(mem_disk_file(disk, PATH, &size));
    for (uint64_t n = 0; n <= size + 1; n++) {
        int fd = disk->table.open(&disk->table, PATH, 0, 0);

        assert_int_equal(disk->table.fallocate(&disk->table, fd, n), 0);
        disk->table.close(&disk->table, fd);
        assert_int_equal(check(disk, &problem), n == size ? 0 : MQ_ECORRUPT);
    }
    mq_buf_free(&problem);
    mem_disk_free(disk);
}

/* Sizes are looked at before a checksum vouches for them, and what a checksum vouches for need not make sense. */
static void a_header_or_block_that_cannot_be_is_refused(void **state)
{
    static const struct {
        const char *why;
        uint32_t at;
        uint32_t value;
        bool fit; /* the header's checksum is made to fit */
        int want;
    } cases[] = {
        {"more sections than there may be", 10, RLOG_SECTIONS_MAX + 1, false, MQ_ECORRUPT},
        {"a membership too large", 12, SNAPSHOT_MEMBERSHIP_MAX + 1, false, MQ_ECORRUPT},
        {"a membership larger than the file", 12, SNAPSHOT_MEMBERSHIP_MAX, false, MQ_ECORRUPT},
        {"a later version", 8, 2 | 2 << 16, true, MQ_EVERSION},
        {"a version that a flipped bit made", 8, 0x2001 | 2 << 16, false, MQ_ECORRUPT},
        {"index 0", 16, 0, true, MQ_ECORRUPT},
        {"term 0", 24, 0, true, MQ_ECORRUPT},
        {"a change behind the index", 48, 78, true, MQ_ECORRUPT},
        {"section 0", 64, 1 << 16, true, MQ_ECORRUPT},
        {"sections not ascending", 80, 1 | 3 << 16, true, MQ_ECORRUPT},
        {"a block without magic", 104, 0, false, MQ_ECORRUPT},
        {"a block too large", 104 + 12, SNAPSHOT_BLOCK_MAX + 1, false, MQ_ECORRUPT},
        {"an empty block that is not the last", 104 + 12, 0, false, MQ_ECORRUPT},
    };
    struct mq_buf problem = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mem_disk *disk = mem_disk_new(FILE_MAX);
        uint64_t size;
        uint8_t *bytes;

        print_message("%s\n", cases[i].why);
        assert_int_equal(write_file(disk, PATH), 0);
        bytes = mem_disk_file(disk, PATH, &size);
        rlog_le32_store(bytes + cases[i].at, cases[i].value);
        if (cases[i].fit) {
            rlog_le32_store(bytes + 4, mq_crc32c(0, bytes + 8, 104 - 8));
        }
        assert_int_equal(check(disk, &problem), cases[i].want);
        mem_disk_free(disk);
    }
    mq_buf_free(&problem);
}

static void what_cannot_be_written_is_refused(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct snapshot_info info = INFO;
    struct snapshot_writer writer;
    char path[SNAPSHOT_PATH_MAX + 1];
    uint64_t size;

    (void)state;
    info.sections[1].id = 1;
    assert_int_equal(snapshot_writer_open(&writer, &disk->table, PATH, &info), MQ_EINVAL);
    info = INFO;
    info.n_sections = RLOG_SECTIONS_MAX + 1;
    assert_int_equal(snapshot_writer_open(&writer, &disk->table, PATH, &info), MQ_EINVAL);
    info = INFO;
    info.membership_bytes = SNAPSHOT_MEMBERSHIP_MAX + 1;
    assert_int_equal(snapshot_writer_open(&writer, &disk->table, PATH, &info), MQ_EINVAL);
    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(snapshot_writer_open(&writer, &disk->table, path, &INFO), MQ_ETOOBIG);
    assert_null(mem_disk_file(disk, PATH, &size));
    mem_disk_free(disk);
}

static void every_failing_call_of_the_disk_is_reported_and_leaves_nothing(void **state)
{
    bool failed = true;

    (void)state;
    for (unsigned n = 1; failed; n++) {
        struct mem_disk *disk = mem_disk_new(FILE_MAX);
        uint64_t size;
        int rc;

        mem_disk_fail_in(disk, n, -EIO);
        rc = write_file(disk, PATH);
        failed = mem_disk_has_failed(disk);
        assert_int_equal(rc, failed ? -EIO : 0);
        if (failed && mem_disk_file(disk, PATH, &size) != NULL) {
            /* The sync at the end: whoever renames does not come to it. */
            assert_true(n > 4);
        }
        mem_disk_free(disk);
    }
}

static void short_writes_change_nothing(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct mq_buf problem = {0};

    (void)state;
    disk->write_max = 3;
    assert_int_equal(write_file(disk, PATH), 0);
    assert_int_equal(check(disk, &problem), 0);
    mem_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read_back),
        cmocka_unit_test(the_bytes_are_the_golden_ones),
        cmocka_unit_test(a_flipped_bit_anywhere_is_found),
        cmocka_unit_test(a_file_that_ends_early_or_late_is_refused),
        cmocka_unit_test(a_header_or_block_that_cannot_be_is_refused),
        cmocka_unit_test(what_cannot_be_written_is_refused),
        cmocka_unit_test(every_failing_call_of_the_disk_is_reported_and_leaves_nothing),
        cmocka_unit_test(short_writes_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
