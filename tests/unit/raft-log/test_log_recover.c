#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#define SEGMENT 4096u
#define FIRST "/m/log/00000000000000000000"
#define SECOND "/m/log/00000000000000004096"
#define THIRD "/m/log/00000000000000008192"
#define ENTRIES 5u
#define PAYLOAD 101u

/* --- helpers ------------------------------------------------------------------------------------------------ */

/* A closed log of ENTRIES entries of PAYLOAD bytes, the last of @last_payload bytes. */
static struct mem_disk *with_entries(struct log_fixture *f, uint32_t last_payload)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);

    log_fixture_init(f, &disk->table, "/m", SEGMENT);
    log_fixture_open(f);
    for (unsigned i = 1; i <= ENTRIES; i++) {
        assert_int_equal(log_fixture_append(f, 1, i == ENTRIES ? last_payload : PAYLOAD), 0);
        log_fixture_settle(f);
    }
    log_fixture_close(f);
    return disk;
}

static void done_with(struct log_fixture *f, struct mem_disk *disk)
{
    log_fixture_fini(f);
    mem_disk_free(disk);
}

static uint8_t *file(struct mem_disk *disk, const char *name)
{
    uint64_t size;
    uint8_t *bytes = mem_disk_file(disk, name, &size);

    assert_non_null(bytes);
    assert_int_equal(size, SEGMENT);
    return bytes;
}

static void must_say(struct log_fixture *f, const char *what)
{
    if (memmem(f->problem.base, f->problem.len, what, strlen(what)) == NULL) {
        fail_msg("\"%.*s\" does not say \"%s\"", (int)f->problem.len, (const char *)f->problem.base, what);
    }
}

static struct commitlog_stats stats_of(struct log_fixture *f)
{
    struct commitlog_stats stats;

    commitlog_stats_get(f->log, &stats);
    return stats;
}

/* The log ends behind entry @last, takes one more, and has it after the next start. */
static void must_go_on_from(struct log_fixture *f, uint64_t last)
{
    log_fixture_open(f);
    assert_int_equal(commitlog_last_index(f->log), last);
    for (uint64_t i = 1; i <= last; i++) {
        log_fixture_check(f, i, 1);
    }
    assert_int_equal(log_fixture_append(f, 2, 33), 0);
    log_fixture_settle(f);
    log_fixture_close(f);
    log_fixture_open(f);
    assert_int_equal(commitlog_last_index(f->log), last + 1);
    log_fixture_check(f, last + 1, 2);
    assert_int_equal(stats_of(f).cut_bytes, 0);
    log_fixture_close(f);
}

/* --- torn tails --------------------------------------------------------------------------------------------- */

static void tail_torn_at_any_byte_is_cut(void **state)
{
    uint32_t n = rlog_entry_bytes(PAYLOAD);

    (void)state;
    for (uint32_t kept = 0; kept <= n; kept++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t *last = file(disk, FIRST) + (ENTRIES - 1) * n;
        uint8_t before[256];
        bool whole;

        memcpy(before, last, n);
        memset(last + kept, 0, n - kept);
        whole = memcmp(before, last, n) == 0; /* what is missing was zero anyway */
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), whole ? ENTRIES : ENTRIES - 1);
        if (whole || kept == 0) {
            assert_int_equal(stats_of(&f).cut_bytes, 0);
        } else {
            assert_true(stats_of(&f).cut_bytes != 0);
        }
        log_fixture_close(&f);
        must_go_on_from(&f, whole ? ENTRIES : ENTRIES - 1);
        done_with(&f, disk);
    }
}

static void last_entry_with_a_flipped_bit_is_cut(void **state)
{
    uint32_t n = rlog_entry_bytes(PAYLOAD);

    (void)state;
    for (uint32_t at = 0; at < n; at++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t *last = file(disk, FIRST) + (ENTRIES - 1) * n;

        last[at] ^= 0x10;
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), ENTRIES - 1);
        assert_true(stats_of(&f).cut_bytes != 0);
        log_fixture_close(&f);
        for (uint32_t k = 0; k < n; k++) {
            assert_int_equal(last[k], 0);
        }
        done_with(&f, disk);
    }
}

static void torn_first_entry_of_a_new_segment_is_cut(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    (void)state;
    file(disk, SECOND)[2000] ^= 1;
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), ENTRIES - 1);
    assert_int_equal(stats_of(&f).cut_bytes, 2 * SEGMENT - (ENTRIES - 1) * rlog_entry_bytes(PAYLOAD));
    log_fixture_close(&f);
    must_go_on_from(&f, ENTRIES - 1); /* in the rest of the first one */
    done_with(&f, disk);
}

static void header_inside_a_torn_payload_is_no_entry(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, 500);
    uint64_t pos = (ENTRIES - 1) * rlog_entry_bytes(PAYLOAD);
    struct rlog_header inner = {.type = RLOG_COMMAND, .index = 99, .term = 9, .pos = pos + 200};

    (void)state;
    rlog_header_encode(&inner, file(disk, FIRST) + inner.pos);
    must_go_on_from(&f, ENTRIES - 1);
    done_with(&f, disk);
}

/* --- rot ---------------------------------------------------------------------------------------------------- */

static void bad_entry_with_good_ones_behind_it_is_never_cut(void **state)
{
    static const struct {
        const char *why;
        uint64_t index;
        uint32_t at; /* byte of the entry */
        const char *said;
    } cases[] = {
        {"header", 2, 20,
         "log/00000000000000000000: entry 2 at position 200 is bad (header) but entry 3 at position 400 behind it is "
         "good"},
        {"magic", 4, 0, "entry 4 at position 600 is bad (header) but entry 5 at position 800"},
        {"payload", 3, 150, "entry 3 at position 400 is bad (payload checksum) but entry 4 at position 600"},
        {"padding", 3, 198, "entry 3 at position 400 is bad (padding) but entry 4 at position 600"},
        {"first", 1, 30, "entry 1 at position 0 is bad (header) but entry 2 at position 200"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t before[SEGMENT];

        print_message("%s\n", cases[i].why);
        file(disk, FIRST)[(cases[i].index - 1) * 200 + cases[i].at] ^= 1;
        memcpy(before, file(disk, FIRST), SEGMENT);
        assert_int_equal(log_fixture_try_open(&f), MQ_ECORRUPT);
        must_say(&f, cases[i].said);
        must_say(&f, "see README \"When a node refuses to start\"");
        assert_memory_equal(file(disk, FIRST), before, SEGMENT);
        done_with(&f, disk);
    }
}

static void zeroed_entries_before_a_good_one_in_a_later_segment_are_never_cut(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    (void)state;
    memset(file(disk, FIRST) + 400, 0, SEGMENT - 400);
    assert_int_equal(log_fixture_try_open(&f), MQ_ECORRUPT);
    must_say(&f, "entry 3 at position 400 is bad (header) but entry 5 at position 4096 behind it is good");
    done_with(&f, disk);
}

/* Changes fields of the last entry and makes its checksums fit again. */
static void good_entry_that_does_not_follow_is_refused(void **state)
{
    static const struct {
        const char *why;
        uint32_t at;
        uint8_t flip;
        int want;
        const char *said;
    } cases[] = {
        {"another entry before it", 68, 1, MQ_ECORRUPT, "is bad (chain) but entry 5 at position 800 there is good"},
        {"another index", 16, 7, MQ_ECORRUPT, "is bad (index) but entry 2 at position 800"},
        {"a lower term", 24, 1, MQ_ECORRUPT, "is bad (term)"},
        {"longer than its segment", 13, 0x40, MQ_ECORRUPT, "is bad (length)"},
        {"another format", 8, 3, MQ_EVERSION, "entry 5 at position 800 has format version 2, this program knows 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t *at = file(disk, FIRST) + 800;

        print_message("%s\n", cases[i].why);
        at[cases[i].at] ^= cases[i].flip;
        rlog_le32_store(at + 4, mq_crc32c(0, at + 8, RLOG_HEADER_BYTES - 8));
        assert_int_equal(log_fixture_try_open(&f), cases[i].want);
        must_say(&f, cases[i].said);
        done_with(&f, disk);
    }
}

static void entry_in_the_next_segment_that_would_have_fitted_is_refused(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);
    uint8_t *at = file(disk, SECOND);
    struct rlog_header header;

    (void)state;
    assert_int_equal(rlog_header_decode(at, SEGMENT, &header), 0);
    header.payload_bytes = 8;
    header.payload_crc = mq_crc32c(0, at + RLOG_HEADER_BYTES, 8);
    rlog_header_encode(&header, at);
    memset(at + RLOG_HEADER_BYTES + 8, 0, SEGMENT - RLOG_HEADER_BYTES - 8);
    assert_int_equal(log_fixture_try_open(&f), MQ_ECORRUPT);
    must_say(&f, "entry 5 at position 800 is bad (header) but entry 5 at position 4096 behind it is good");
    done_with(&f, disk);
}

/* --- segments ----------------------------------------------------------------------------------------------- */

static void spare_segments_are_kept_and_rubbish_in_them_is_cut(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);
    uint64_t size;

    (void)state;
    if (mem_disk_file(disk, THIRD, &size) == NULL) {
        log_fixture_open(&f); /* the spare may not have come to it yet: an append makes it */
        assert_int_equal(log_fixture_append(&f, 1, PAYLOAD), 0);
        log_fixture_settle(&f);
        commitlog_truncate(f.log, ENTRIES + 1);
        log_fixture_close(&f);
    }
    file(disk, THIRD)[3000] = 7;
    log_fixture_open(&f);
    assert_true(stats_of(&f).segments >= 3);
    assert_int_equal(stats_of(&f).cut_bytes, 3000 + 8);
    assert_int_equal(file(disk, THIRD)[3000], 0);
    log_fixture_close(&f);
    must_go_on_from(&f, ENTRIES);
    done_with(&f, disk);
}

static void interrupted_making_leaves_nothing(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);
    uint64_t size;

    (void)state;
    assert_true(disk->table.open(&disk->table, "/m/log/00000000000000012288.new", O_CREAT | O_RDWR, 0644) >= 0);
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), ENTRIES);
    assert_null(mem_disk_file(disk, "/m/log/00000000000000012288.new", &size));
    done_with(&f, disk);
}

static void segments_that_do_not_fit_together_are_refused(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    (void)state;
    f.segment_bytes = 2 * SEGMENT;
    assert_int_equal(log_fixture_try_open(&f), MQ_EVERSION);
    must_say(&f, FIRST ": the file does not have the 8192 bytes");
    f.segment_bytes = SEGMENT - 8;
    assert_int_equal(log_fixture_try_open(&f), MQ_EINVAL);
    must_say(&f, "multiple of 4096");
    f.segment_bytes = SEGMENT;
    assert_int_equal(disk->table.rename(&disk->table, SECOND, "/m/log/00000000000000004104"), 0);
    assert_int_equal(log_fixture_try_open(&f), MQ_EVERSION);
    must_say(&f, "not the start of a segment of 4096 bytes");
    assert_int_equal(disk->table.rename(&disk->table, "/m/log/00000000000000004104", "/m/log/00000000000000020480"),
                     0);
    assert_int_equal(log_fixture_try_open(&f), MQ_ECORRUPT);
    must_say(&f, "this segment is missing, but a later one is there");
    done_with(&f, disk);
}

/* --- what the page cache may hide --------------------------------------------------------------------------- */

static bool nothing_unsynced(void *data, size_t change, size_t sector)
{
    (void)data;
    (void)change;
    (void)sector;
    return false;
}

/* Writes a sixth entry behind the closed log as a killed process leaves it: not synced. Returns its segment's
 * descriptor. */
static int write_unsynced(struct mem_disk *disk, uint64_t pos, uint32_t prev_crc)
{
    uint8_t entry[104] = {0};
    struct rlog_header header = {
        .type = RLOG_COMMAND, .payload_bytes = 5, .index = ENTRIES + 1, .term = 1, .pos = pos};
    struct iovec vec = {entry, sizeof(entry)};
    int fd = disk->table.open(&disk->table, FIRST, O_RDWR, 0);

    log_fixture_payload(ENTRIES + 1, 1, entry + RLOG_HEADER_BYTES, 5);
    header.prev_crc = prev_crc;
    header.payload_crc = mq_crc32c(0, entry + RLOG_HEADER_BYTES, 5);
    rlog_header_encode(&header, entry);
    assert_int_equal(rlog_disk_write_all(&disk->table, fd, &vec, 1, pos), 0);
    return fd;
}

static void entry_that_a_killed_process_did_not_sync_is_durable_after_open(void **state)
{
    struct log_fixture f, g;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);
    struct mem_disk *after;
    uint8_t *bytes = file(disk, FIRST);

    (void)state;
    write_unsynced(disk, 1000, rlog_le32_load(bytes + 804));
    log_fixture_open(&f);
    assert_int_equal(commitlog_durable_index(f.log), ENTRIES + 1);
    after = mem_disk_crash(disk, mem_disk_now(disk), nothing_unsynced, NULL);
    log_fixture_init(&g, &after->table, "/m", SEGMENT);
    log_fixture_open(&g);
    assert_int_equal(commitlog_last_index(g.log), ENTRIES + 1);
    done_with(&g, after);
    done_with(&f, disk);
}

static void end_whose_sync_failed_is_not_believed(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);
    int fd;

    (void)state;
    fd = write_unsynced(disk, 1000, rlog_le32_load(file(disk, FIRST) + 804));
    mem_disk_fail_in(disk, 1, -EIO);
    assert_int_equal(disk->table.fdatasync(&disk->table, fd), -EIO);
    assert_int_equal(disk->table.fdatasync(&disk->table, fd), 0); /* which says nothing about the first */
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), ENTRIES);
    done_with(&f, disk);
}

/* --- failing calls ------------------------------------------------------------------------------------------ */

struct open_case {
    unsigned nth;
    bool torn;
};

static void open_with_failure(void *data)
{
    const struct open_case *c = data;
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    if (c->torn) {
        file(disk, SECOND)[2000] ^= 1;
    }
    mem_disk_fail_in(disk, c->nth, -EIO);
    if (log_fixture_try_open(&f) != 0) {
        log_fixture_open(&f); /* the next start finds everything */
        if (commitlog_last_index(f.log) != ENTRIES - (c->torn ? 1 : 0)) {
            _Exit(3);
        }
        done_with(&f, disk);
        _Exit(2);
    }
    if (!mem_disk_has_failed(disk)) {
        done_with(&f, disk);
        _Exit(4); /* no call left that could fail */
    }
    done_with(&f, disk);
}

static void every_failing_call_of_an_open_is_reported_and_does_no_harm(void **state)
{
    (void)state;
    for (int torn = 0; torn < 2; torn++) {
        unsigned refused = 0;
        int rc = 0;

        for (unsigned nth = 1; rc != 4; nth++) {
            struct open_case c = {nth, torn != 0};
            struct mq_buf lines = {0};

            rc = log_run_child(open_with_failure, &c, &lines);
            if (rc == 1) {
                assert_non_null(memmem(lines.base, lines.len, "; the node stops", 16)); /* a thread met it */
            } else {
                assert_true(rc == 0 || rc == 2 || rc == 4);
            }
            refused += rc == 2;
            mq_buf_free(&lines);
        }
        assert_true(refused >= 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tail_torn_at_any_byte_is_cut),
        cmocka_unit_test(last_entry_with_a_flipped_bit_is_cut),
        cmocka_unit_test(torn_first_entry_of_a_new_segment_is_cut),
        cmocka_unit_test(header_inside_a_torn_payload_is_no_entry),
        cmocka_unit_test(bad_entry_with_good_ones_behind_it_is_never_cut),
        cmocka_unit_test(zeroed_entries_before_a_good_one_in_a_later_segment_are_never_cut),
        cmocka_unit_test(good_entry_that_does_not_follow_is_refused),
        cmocka_unit_test(entry_in_the_next_segment_that_would_have_fitted_is_refused),
        cmocka_unit_test(spare_segments_are_kept_and_rubbish_in_them_is_cut),
        cmocka_unit_test(interrupted_making_leaves_nothing),
        cmocka_unit_test(segments_that_do_not_fit_together_are_refused),
        cmocka_unit_test(entry_that_a_killed_process_did_not_sync_is_durable_after_open),
        cmocka_unit_test(end_whose_sync_failed_is_not_believed),
        cmocka_unit_test(every_failing_call_of_an_open_is_reported_and_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
