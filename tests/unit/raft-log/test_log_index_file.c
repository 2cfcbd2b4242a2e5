#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/index_file.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"

#include <stdlib.h>

#define SEGMENT 8192u
#define ENTRIES 30u
#define GOLDEN "tests/unit/raft-log/golden/index-block-v1.bin"
#define FIRST "/m/log/00000000000000000000"
#define FIRST_INDEX FIRST ".index"

static void grow(struct log_fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t index = commitlog_last_index(f->log) + 1;
        struct rlog_header header = {.type = index % 4 == 1 ? RLOG_CHANGE : RLOG_COMMAND,
                                     .index = index,
                                     .term = 1 + index / 3,
                                     .store_ms = (int64_t)index * 10,
                                     .commit = index - 1};
        struct rlog_blob *blob;

        assert_int_equal(blob_pool_take(&f->pool, NULL, 600, &blob), 0);
        log_fixture_payload(index, header.term, rlog_blob_payload(blob), 600);
        blob->payload_bytes = 600;
        assert_int_equal(commitlog_append(f->log, &header, blob), 0);
    }
    log_fixture_settle(f);
}

static struct mem_disk *with_entries(struct log_fixture *f)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);

    log_fixture_init(f, &disk->table, "/m", SEGMENT);
    f->verify_bytes = 1;
    log_fixture_open(f);
    grow(f, ENTRIES);
    log_fixture_close(f);
    return disk;
}

static void must_have_all(struct log_fixture *f, uint64_t last)
{
    assert_int_equal(commitlog_last_index(f->log), last);
    assert_int_equal(commitlog_last_store_ms(f->log), (int64_t)last * 10);
    for (uint64_t i = 1; i <= last; i++) {
        log_fixture_check(f, i, 1 + i / 3);
        assert_int_equal(commitlog_change_before(f->log, i), i - (i + 3) % 4);
    }
}

static void block_equals_the_golden_file(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f);
    uint64_t size;
    uint8_t *bytes = mem_disk_file(disk, FIRST_INDEX, &size);

    (void)state;
    assert_non_null(bytes);
    log_check_golden(GOLDEN, bytes, size);
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

static void start_takes_from_the_files_what_it_need_not_read(void **state)
{
    for (int what = 0; what < 3; what++) { /* all files; one is missing; one is damaged */
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f);
        uint64_t size;
        uint8_t *bytes;

        (void)state;
        if (what == 1) {
            assert_int_equal(disk->table.unlink(&disk->table, FIRST_INDEX), 0);
        } else if (what == 2) {
            mem_disk_file(disk, FIRST_INDEX, &size)[size / 2] ^= 1;
        }
        log_fixture_open(&f);
        must_have_all(&f, ENTRIES);
        assert_int_equal(commitlog_proven_commit(f.log), ENTRIES - 1);
        grow(&f, 5);
        log_fixture_close(&f); /* which writes them anew */
        log_fixture_open(&f);
        must_have_all(&f, ENTRIES + 5);
        log_fixture_close(&f);
        bytes = mem_disk_file(disk, FIRST, &size);
        bytes[RLOG_HEADER_BYTES + 3] ^= 1; /* of the payload of entry 1: not read */
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), ENTRIES + 5);
        log_fixture_close(&f);
        f.verify_bytes = 0; /* a small log is read as a whole */
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), 0);
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

static void truncated_entries_do_not_come_back_from_a_file(void **state)
{
    static const uint64_t cuts[] = {2, 7, 12, 13, 25, ENTRIES};

    (void)state;
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        struct mem_disk *disk = mem_disk_new(SEGMENT);
        struct log_fixture f;

        log_fixture_init(&f, &disk->table, "/m", SEGMENT);
        f.verify_bytes = 1;
        log_fixture_open(&f);
        for (unsigned k = 0; k < ENTRIES; k++) {
            assert_int_equal(log_fixture_append(&f, 1, 600), 0);
        }
        log_fixture_settle(&f);
        log_fixture_close(&f);
        log_fixture_open(&f);
        commitlog_truncate(f.log, cuts[i]);
        f.durable_index = cuts[i] - 1;
        log_fixture_close(&f);
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), cuts[i] - 1);
        for (unsigned k = 0; k < 5; k++) {
            assert_int_equal(log_fixture_append(&f, 2, 500), 0);
        }
        log_fixture_settle(&f);
        for (int again = 0; again < 2; again++) {
            log_fixture_close(&f);
            log_fixture_open(&f);
            assert_int_equal(commitlog_last_index(f.log), cuts[i] + 4);
            for (uint64_t k = 1; k <= cuts[i] + 4; k++) {
                log_fixture_check(&f, k, k < cuts[i] ? 1 : 2);
            }
        }
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

/* Any change, with the checksum made to fit: the start believes it or not, but what it shows is the log. */
static void malformed_block_is_not_believed(void **state)
{
    uint64_t random = log_seed();

    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f);
        uint64_t size;
        uint8_t *bytes = mem_disk_file(disk, FIRST_INDEX, &size);
        uint32_t at = i < 64 ? i : log_random(&random) % (uint32_t)size;

        bytes[at] ^= (uint8_t)(1 + log_random(&random) % 255);
        rlog_le32_store(bytes + 4, mq_crc32c(0, bytes + 8, size - 8));
        if (log_fixture_try_open(&f) == 0) {
            assert_true(commitlog_last_index(f.log) <= ENTRIES);
        }
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

static void file_that_cannot_be_written_does_no_harm(void **state)
{
    for (unsigned nth = 1; nth < 40; nth++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f);

        (void)state;
        assert_int_equal(disk->table.unlink(&disk->table, FIRST_INDEX), 0);
        log_fixture_open(&f);
        mem_disk_fail_in(disk, nth, -28);
        log_fixture_close(&f);
        mem_disk_fail_in(disk, 0, 0);
        log_fixture_open(&f);
        must_have_all(&f, ENTRIES);
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

/* The files are read when an old entry is asked for; where they do not say, the log does. */
static void a_file_that_rots_under_an_open_log_does_no_harm(void **state)
{
    for (int what = 0; what < 3; what++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f);
        uint64_t size;
        uint8_t *bytes;

        (void)state;
        log_fixture_open(&f);
        bytes = mem_disk_file(disk, FIRST_INDEX, &size);
        if (what == 0) {
            bytes[size - 12] ^= 1; /* an offset */
        } else if (what == 1) {
            memset(bytes, 0, size);
        } else {
            assert_int_equal(disk->table.unlink(&disk->table, FIRST_INDEX), 0);
        }
        must_have_all(&f, ENTRIES);
        assert_int_equal(commitlog_from_pos(f.log, commitlog_pos_of(f.log, 5) + 1), 6);
        log_fixture_fini(&f);
        mem_disk_free(disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_equals_the_golden_file),
        cmocka_unit_test(start_takes_from_the_files_what_it_need_not_read),
        cmocka_unit_test(truncated_entries_do_not_come_back_from_a_file),
        cmocka_unit_test(malformed_block_is_not_believed),
        cmocka_unit_test(file_that_cannot_be_written_does_no_harm),
        cmocka_unit_test(a_file_that_rots_under_an_open_log_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
