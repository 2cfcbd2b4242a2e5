/* What is found when sealed segments are read again, and what is put back. */
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT 8192u
#define LARGE_SEGMENT (4u << 20)
#define ENTRIES 40u
#define DIR "/m"

static struct mem_disk *disk;
static struct rlog_disk table; /* the disk's, where a test has a say */
static uint64_t unreadable_from, unreadable_to;
static struct log_fixture f;

static ssize_t pread_or_fail(const struct rlog_disk *t, int fd, void *to, size_t n, uint64_t at)
{
    if (at < unreadable_to && at + n > unreadable_from) {
        return -EIO;
    }
    return disk->table.pread(t, fd, to, n, at);
}

/* Of what is written from this memory. */
static const void *watched;
static enum failing { FAIL_NOTHING, FAIL_WRITE, FAIL_SYNC, FORGET_WRITE } fails;
static bool was_written;

static ssize_t pwritev_or_fail(const struct rlog_disk *t, int fd, const struct iovec *vec, int n, uint64_t at)
{
    if (watched == NULL || vec->iov_base != watched) {
        return disk->table.pwritev(t, fd, vec, n, at);
    }
    was_written = true;
    return fails == FAIL_WRITE     ? -EIO
           : fails == FORGET_WRITE ? (ssize_t)vec->iov_len
                                   : disk->table.pwritev(t, fd, vec, n, at);
}

static int fdatasync_or_fail(const struct rlog_disk *t, int fd)
{
    return was_written && fails == FAIL_SYNC ? -EIO : disk->table.fdatasync(t, fd);
}

static uint64_t term_at(uint64_t index)
{
    return 1 + index / 13;
}

static void open_log(uint64_t segment_bytes)
{
    disk = mem_disk_new(segment_bytes);
    table = disk->table;
    table.pread = pread_or_fail;
    table.pwritev = pwritev_or_fail;
    table.fdatasync = fdatasync_or_fail;
    watched = NULL;
    was_written = false;
    fails = FAIL_NOTHING;
    unreadable_from = unreadable_to = 0;
    log_fixture_init(&f, &table, DIR, segment_bytes);
    log_fixture_open(&f);
}

static void close_log(void)
{
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

/* Two and more segments of small entries. */
static void open_filled(void)
{
    open_log(SEGMENT);
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        assert_int_equal(log_fixture_append(&f, term_at(i), (uint32_t)(i * 97 % 900)), 0);
    }
    log_fixture_settle(&f);
    assert_true(commitlog_sealed_before(f.log, ENTRIES) > 10);
}

static uint64_t sealed(void)
{
    return commitlog_sealed_before(f.log, ENTRIES);
}

/* The byte at @pos of the log, as the disk has it. */
static uint8_t *byte_at(uint64_t pos)
{
    uint64_t size;
    char name[64];
    uint8_t *file;

    (void)snprintf(name, sizeof(name), DIR "/log/%020llu", (unsigned long long)(pos - pos % f.segment_bytes));
    file = mem_disk_file(disk, name, &size);
    assert_non_null(file);
    return file + pos % f.segment_bytes;
}

static uint64_t pos_of(uint64_t index)
{
    return commitlog_pos_of(f.log, index);
}

static void read_from(struct scrub_job *job, uint64_t first, uint64_t last, bool look)
{
    memset(job, 0, sizeof(*job));
    assert_int_equal(commitlog_scrub(f.log, job, first, last, look), 0);
    job->rest = commitlog_sealed_before(f.log, job->last + 1) == job->last;
    scrub_read(job);
}

/* ---- reading ---- */

static void a_sound_log_is_found_sound(void **state)
{
    uint64_t next = 1, jobs = 0;
    uint32_t crc = 0;

    (void)state;
    open_filled();
    while (next <= sealed()) {
        struct scrub_job job = {0};
        struct rlog_base before;

        assert_int_equal(commitlog_scrub(f.log, &job, next, sealed(), false), 0);
        job.chained = true;
        job.prev_crc = crc;
        job.rest = commitlog_sealed_before(f.log, job.last + 1) == job.last;
        assert_true(job.rest); /* a job ends with its segment at the latest, and these are small */
        scrub_read(&job);
        assert_int_equal(job.n_bad, 0);
        assert_false(job.before_bad || job.bad_rest || job.unreadable);
        assert_true(job.last_good);
        assert_int_equal(commitlog_before(f.log, job.last + 1, &before), 0);
        assert_int_equal(job.last_crc, before.crc);
        next = job.last + 1;
        crc = job.last_crc;
        jobs++;
        scrub_end(&job);
    }
    assert_true(jobs >= 2);
    close_log();
}

static void bad_bytes_are_found_where_they_are(void **state)
{
    static const struct {
        const char *why;
        uint64_t index;
        uint32_t at; /* in the entry */
        uint64_t first, last;
    } cases[] = {
        {"magic", 5, 0, 5, 5},
        {"index", 5, 16, 5, 5},
        {"chain field", 5, 68, 5, 5},
        {"end mark", 5, 92, 5, 5},
        {"first byte of the payload", 5, RLOG_HEADER_BYTES, 5, 5},
        {"last byte of the payload", 5, RLOG_HEADER_BYTES + 5 * 97 - 1, 5, 5},
        {"padding", 5, RLOG_HEADER_BYTES + 5 * 97, 5, 5},
        {"the first entry of all", 1, 20, 1, 1},
        {"length", 5, 12, 5, 5},
    };

    (void)state;
    open_filled();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t *byte = byte_at(pos_of(cases[i].index) + cases[i].at);
        struct scrub_job job;
        struct rlog_base before;

        print_message("%s\n", cases[i].why);
        assert_int_equal(commitlog_before(f.log, cases[i].index + 1, &before), 0);
        *byte ^= 0x40;
        read_from(&job, 1, sealed(), false);
        assert_int_equal(job.n_bad, 1);
        assert_int_equal(job.bad[0].first, cases[i].first);
        assert_int_equal(job.bad[0].last, cases[i].last);
        assert_int_equal(job.bad[0].pos, pos_of(cases[i].first));
        assert_true(job.bad[0].has_crc);
        assert_int_equal(job.bad[0].crc, before.crc);
        scrub_end(&job);
        *byte ^= 0x40;
    }
    close_log();
}

static void neighbours_are_one_stretch_and_others_are_not(void **state)
{
    struct scrub_job job;

    (void)state;
    open_filled();
    *byte_at(pos_of(4) + 20) ^= 1;
    *byte_at(pos_of(5) + 100) ^= 1;
    *byte_at(pos_of(6) + 70) ^= 1;
    *byte_at(pos_of(9) + 70) ^= 1;
    read_from(&job, 1, sealed(), false);
    assert_int_equal(job.n_bad, 2);
    assert_int_equal(job.bad[0].first, 4);
    assert_int_equal(job.bad[0].last, 6);
    assert_true(job.bad[0].has_crc);
    assert_int_equal(job.bad[1].first, 9);
    assert_int_equal(job.bad[1].last, 9);
    scrub_end(&job);
    close_log();
}

/* A sector that was never rewritten: an entry of an earlier term, sound by itself. */
static void an_entry_of_another_term_is_bad(void **state)
{
    struct rlog_header header;
    struct scrub_job job;

    (void)state;
    open_filled();
    assert_int_equal(rlog_header_decode(byte_at(pos_of(14)), RLOG_HEADER_BYTES, &header), 0);
    assert_int_equal(header.term, 2);
    header.term = 1;
    rlog_header_encode(&header, byte_at(pos_of(14)));
    read_from(&job, 14, 14, true);
    assert_int_equal(job.n_bad, 1);
    assert_false(job.next_bad);
    assert_true(job.bad[0].has_crc && job.bad[0].crc == job.next_crc);
    scrub_end(&job);
    close_log();
}

static void of_two_sound_entries_that_do_not_link_both_are_bad(void **state)
{
    struct rlog_header header;
    struct scrub_job job;

    (void)state;
    open_filled();
    assert_int_equal(rlog_header_decode(byte_at(pos_of(7)), RLOG_HEADER_BYTES, &header), 0);
    header.clock_ms++;
    rlog_header_encode(&header, byte_at(pos_of(7)));
    read_from(&job, 1, 6, false);
    assert_int_equal(job.n_bad, 0);
    scrub_end(&job);
    read_from(&job, 7, 7, true); /* only the one behind it tells */
    assert_int_equal(job.n_bad, 1);
    scrub_end(&job);
    read_from(&job, 1, sealed(), false);
    assert_int_equal(job.n_bad, 1);
    assert_int_equal(job.bad[0].first, 7);
    assert_int_equal(job.bad[0].last, 8);
    assert_true(job.bad[0].has_crc); /* entry 9 knows what 8 must be */
    scrub_end(&job);
    memset(&job, 0, sizeof(job));
    assert_int_equal(commitlog_scrub(f.log, &job, 8, 8, false), 0);
    job.chained = true;
    job.prev_crc = header.crc; /* as the piece before ended */
    scrub_read(&job);
    assert_true(job.before_bad);
    assert_int_equal(job.bad[0].first, 8);
    scrub_end(&job);
    close_log();
}

static void a_bad_entry_behind_the_last_one_is_told(void **state)
{
    struct scrub_job job;

    (void)state;
    open_filled();
    *byte_at(pos_of(6) + 30) ^= 1;
    *byte_at(pos_of(5) + 30) ^= 1;
    read_from(&job, 5, 5, true);
    assert_true(job.next_bad);
    assert_false(job.bad[0].has_crc);
    scrub_end(&job);
    read_from(&job, 6, 6, true);
    assert_false(job.next_bad);
    assert_true(job.bad[0].has_crc);
    scrub_end(&job);
    close_log();
}

static void what_lies_behind_the_last_entry_of_a_segment_is_looked_at(void **state)
{
    struct scrub_job job;
    uint64_t last;

    (void)state;
    open_filled();
    last = commitlog_sealed_before(f.log, sealed()); /* of the segment before */
    *byte_at(SEGMENT - 1) = 1;
    read_from(&job, last, last, false);
    assert_int_equal(job.n_bad, 0);
    assert_true(job.rest && job.bad_rest);
    scrub_end(&job);
    *byte_at(SEGMENT - 1) = 0;
    read_from(&job, last, last, false);
    assert_true(job.rest && !job.bad_rest);
    scrub_end(&job);
    close_log();
}

static void what_cannot_be_read_takes_only_its_page(void **state)
{
    struct scrub_job job;
    uint64_t last = 0;

    (void)state;
    open_filled();
    unreadable_from = 4200;
    unreadable_to = 4201;
    read_from(&job, 1, sealed(), false);
    assert_true(job.unreadable);
    assert_int_equal(job.n_bad, 1);
    assert_true(pos_of(job.bad[0].first + 1) > 4096);
    last = job.bad[0].last;
    assert_true(last == job.last || pos_of(last + 1) >= SEGMENT || job.last_good);
    assert_true(job.bad[0].first > 1); /* what lies in the first page is good */
    scrub_end(&job);
    close_log();
}

static void more_stretches_than_a_job_has_place_for_end_it(void **state)
{
    struct scrub_job job;
    uint64_t bad = 0, next = 1, jobs = 0;

    (void)state;
    open_log(LARGE_SEGMENT);
    for (uint64_t i = 1; i <= 200; i++) {
        assert_int_equal(log_fixture_append(&f, 1, 10), 0);
    }
    log_fixture_settle(&f);
    for (uint64_t i = 2; i <= 200; i += 2) {
        *byte_at(pos_of(i) + 40) ^= 1;
    }
    while (next <= 199) {
        read_from(&job, next, 199, false);
        assert_true(job.n_bad <= SCRUB_BAD_MAX);
        bad += job.n_bad;
        next = job.last + 1;
        jobs++;
        scrub_end(&job);
    }
    assert_int_equal(bad, 99);
    assert_true(jobs >= 3);
    close_log();
}

static void an_entry_larger_than_a_piece_is_read_in_pieces(void **state)
{
    static const uint32_t LENGTH = 3 * SCRUB_PIECE_BYTES - 12345;
    static const uint32_t at[] = {RLOG_HEADER_BYTES, SCRUB_PIECE_BYTES - 1, SCRUB_PIECE_BYTES,
                                  2 * SCRUB_PIECE_BYTES + 5, 3 * SCRUB_PIECE_BYTES - 12345 + RLOG_HEADER_BYTES - 1};
    struct scrub_job job;

    (void)state;
    open_log(LARGE_SEGMENT);
    assert_int_equal(log_fixture_append(&f, 1, 100), 0);
    assert_int_equal(log_fixture_append(&f, 1, LENGTH), 0);
    assert_int_equal(log_fixture_append(&f, 1, 100), 0);
    log_fixture_settle(&f);
    read_from(&job, 1, 2, true);
    assert_int_equal(job.last, 2); /* it begins in the first piece */
    assert_int_equal(job.n_bad, 0);
    assert_true(job.bytes_read >= LENGTH);
    scrub_end(&job);
    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        *byte_at(pos_of(2) + at[i]) ^= 2;
        read_from(&job, 1, 2, true);
        assert_int_equal(job.n_bad, 1);
        assert_int_equal(job.bad[0].first, 2);
        assert_true(job.bad[0].has_crc);
        scrub_end(&job);
        *byte_at(pos_of(2) + at[i]) ^= 2;
    }
    close_log();
}

static void entries_that_are_not_synced_or_not_held_are_not_read(void **state)
{
    struct scrub_job job = {0};

    (void)state;
    open_filled();
    assert_int_equal(commitlog_scrub(f.log, &job, ENTRIES, ENTRIES + 1, true), MQ_ENOTFOUND);
    assert_int_equal(commitlog_scrub(f.log, &job, 0, 1, true), MQ_ENOTFOUND);
    assert_int_equal(log_fixture_append(&f, term_at(ENTRIES), 50), 0); /* not kicked */
    assert_int_equal(commitlog_scrub(f.log, &job, ENTRIES + 1, ENTRIES + 1, true), MQ_ENOTFOUND);
    read_from(&job, ENTRIES, ENTRIES, true); /* the one behind it is in memory, and known */
    assert_int_equal(job.n_bad, 0);
    scrub_end(&job);
    log_fixture_settle(&f);
    assert_int_equal(commitlog_trim(f.log, SEGMENT), 0);
    assert_int_equal(commitlog_scrub(f.log, &job, 1, 1, true), MQ_ENOTFOUND);
    close_log();
}

/* ---- putting back ---- */

struct copy {
    struct net_ref ref;
    uint8_t bytes[SEGMENT];
    uint32_t n;
};

static void on_unused(struct net_ref *ref)
{
    (void)ref;
    fail_msg("the last reference is the test's");
}

/* Entries @first to @last, which lie in one segment. */
static void copy_of(struct copy *copy, uint64_t first, uint64_t last)
{
    struct commitlog_entry entry;

    copy->ref = (struct net_ref){1, on_unused};
    assert_int_equal(commitlog_get(f.log, last, &entry), 0);
    copy->n = (uint32_t)(pos_of(last) + entry.n - pos_of(first));
    memcpy(copy->bytes, byte_at(pos_of(first)), copy->n);
}

static uint32_t crc_of(uint64_t index)
{
    struct rlog_base before;

    assert_int_equal(commitlog_before(f.log, index + 1, &before), 0);
    return before.crc;
}

struct outcome {
    struct commitlog_rewrite rewrite;
    int status;
    unsigned calls;
};

static void on_rewritten(struct commitlog_rewrite *rewrite, int status)
{
    struct outcome *outcome = container_of(rewrite, struct outcome, rewrite);

    outcome->status = status;
    outcome->calls++;
}

static int rewrite(struct outcome *outcome, struct copy *copy, uint64_t first, uint32_t crc)
{
    int rc = commitlog_rewrite(f.log, &outcome->rewrite, first, crc, copy->bytes, copy->n, &copy->ref, on_rewritten);

    while (rc == 0 && outcome->calls == 0) {
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(copy->ref.count, 1);
    return rc != 0 ? rc : outcome->status;
}

static bool nothing_unsynced(void *data, size_t change, size_t sector)
{
    (void)data;
    (void)change;
    (void)sector;
    return false;
}

static void entries_are_put_back_and_durable(void **state)
{
    uint8_t whole[SEGMENT];
    struct copy copy;
    struct outcome outcome = {0};
    struct mem_disk *after;
    uint64_t size;
    uint32_t crc;

    (void)state;
    open_filled();
    memcpy(whole, byte_at(0), SEGMENT);
    copy_of(&copy, 4, 6);
    crc = crc_of(6);
    memset(byte_at(pos_of(4)), 0xee, copy.n);
    assert_int_equal(rewrite(&outcome, &copy, 4, crc), 0);
    assert_int_equal(outcome.calls, 1);
    after = mem_disk_crash(disk, mem_disk_now(disk), nothing_unsynced, NULL);
    assert_memory_equal(mem_disk_file(after, DIR "/log/00000000000000000000", &size), whole, SEGMENT);
    mem_disk_free(after);
    for (uint64_t i = 4; i <= 6; i++) {
        log_fixture_check(&f, i, term_at(i));
    }
    close_log();
}

static void what_does_not_belong_there_is_not_written(void **state)
{
    struct copy copy;
    struct outcome outcome = {0};
    uint8_t whole[SEGMENT];
    uint32_t crc;
    struct rlog_header header;

    (void)state;
    open_filled();
    memcpy(whole, byte_at(0), SEGMENT);
    crc = crc_of(6);
    copy_of(&copy, 4, 6);
    assert_int_equal(rewrite(&outcome, &copy, 4, crc + 1), MQ_ECORRUPT); /* not what the next one says */
    assert_int_equal(rewrite(&outcome, &copy, 5, crc), MQ_ECORRUPT);
    assert_int_equal(rewrite(&outcome, &copy, ENTRIES + 1, crc), MQ_ENOTFOUND);
    copy.n -= 8;
    assert_int_equal(rewrite(&outcome, &copy, 4, crc), MQ_ECORRUPT);
    copy_of(&copy, 4, 5);
    assert_int_equal(rewrite(&outcome, &copy, 4, crc), MQ_ECORRUPT);
    copy_of(&copy, 14, 14);
    assert_int_equal(rlog_header_decode(copy.bytes, RLOG_HEADER_BYTES, &header), 0);
    header.term--;
    rlog_header_encode(&header, copy.bytes);
    assert_int_equal(rewrite(&outcome, &copy, 14, header.crc), MQ_ECORRUPT); /* another leader's */
    header.term++;
    header.payload_bytes -= 8;
    rlog_header_encode(&header, copy.bytes);
    copy.n -= 8;
    assert_int_equal(rewrite(&outcome, &copy, 14, header.crc), MQ_ECORRUPT); /* too short for its place */
    assert_int_equal(outcome.calls, 0);
    copy_of(&copy, 4, 6);
    copy.bytes[RLOG_HEADER_BYTES + 1] ^= 1;
    assert_int_equal(rewrite(&outcome, &copy, 4, crc), MQ_ECORRUPT); /* its payload is damaged */
    assert_int_equal(outcome.calls, 1);
    assert_memory_equal(byte_at(0), whole, SEGMENT);
    close_log();
}

/* Whatever of the write is there after a power cut, nothing but the entry has changed. */
static void a_crash_while_an_entry_is_put_back_harms_no_other(void **state)
{
    uint8_t bad[SEGMENT], whole[SEGMENT];
    struct copy copy;
    struct outcome outcome = {0};
    size_t begun;
    uint64_t at;
    uint32_t crc;

    (void)state;
    open_filled();
    memcpy(whole, byte_at(0), SEGMENT);
    copy_of(&copy, 7, 7);
    crc = crc_of(7);
    at = pos_of(7);
    *byte_at(at + 50) ^= 4;
    memcpy(bad, byte_at(0), SEGMENT);
    begun = mem_disk_now(disk);
    assert_int_equal(rewrite(&outcome, &copy, 7, crc), 0);
    for (size_t until = begun; until <= mem_disk_now(disk); until++) {
        struct mem_disk *after = mem_disk_crash(disk, until, nothing_unsynced, NULL);
        uint64_t size;
        const uint8_t *file = mem_disk_file(after, DIR "/log/00000000000000000000", &size);

        assert_memory_equal(file, whole, at);
        assert_memory_equal(file + at + copy.n, whole + at + copy.n, SEGMENT - at - copy.n);
        mem_disk_free(after);
    }
    close_log();
}

static void the_rest_of_a_segment_is_zeroed(void **state)
{
    struct outcome outcome = {0};
    struct scrub_job job;
    uint64_t last;

    (void)state;
    open_filled();
    last = commitlog_sealed_before(f.log, sealed());
    *byte_at(SEGMENT - 1) = 1;
    assert_int_equal(commitlog_rewrite_rest(f.log, &outcome.rewrite, last - 1, on_rewritten), MQ_ENOTFOUND);
    assert_int_equal(commitlog_rewrite_rest(f.log, &outcome.rewrite, ENTRIES, on_rewritten), MQ_ENOTFOUND);
    assert_int_equal(commitlog_rewrite_rest(f.log, &outcome.rewrite, last, on_rewritten), 0);
    while (outcome.calls == 0) {
        uv_run(&f.loop.uv, UV_RUN_ONCE);
    }
    assert_int_equal(outcome.status, 0);
    read_from(&job, 1, sealed(), false);
    assert_false(job.bad_rest);
    assert_int_equal(job.n_bad, 0);
    scrub_end(&job);
    close_log();
}

static void put_back_on_a_failing_disk(void *data)
{
    struct copy copy;
    struct outcome outcome = {0};

    open_filled();
    copy_of(&copy, 4, 4);
    watched = copy.bytes;
    fails = *(const enum failing *)data;
    (void)rewrite(&outcome, &copy, 4, crc_of(4));
}

static void a_write_or_sync_that_fails_ends_the_process(void **state)
{
    static const enum failing calls[] = {FAIL_WRITE, FAIL_SYNC};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        enum failing call = calls[i];
        struct mq_buf lines = {0};

        assert_int_equal(log_run_child(put_back_on_a_failing_disk, &call, &lines), 1);
        assert_non_null(memmem(lines.base, lines.len, "; the node stops\n", 17));
        mq_buf_free(&lines);
    }
}

/* The disk says that it has written, and has not. */
static void what_the_disk_does_not_keep_is_told(void **state)
{
    struct copy copy;
    struct outcome outcome = {0};
    uint32_t crc;

    (void)state;
    open_filled();
    copy_of(&copy, 4, 4);
    crc = crc_of(4);
    *byte_at(pos_of(4) + 40) ^= 1;
    watched = copy.bytes;
    fails = FORGET_WRITE;
    assert_int_equal(rewrite(&outcome, &copy, 4, crc), MQ_ECORRUPT);
    assert_int_equal(outcome.calls, 1);
    close_log();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_log_is_found_sound),
        cmocka_unit_test(bad_bytes_are_found_where_they_are),
        cmocka_unit_test(neighbours_are_one_stretch_and_others_are_not),
        cmocka_unit_test(an_entry_of_another_term_is_bad),
        cmocka_unit_test(of_two_sound_entries_that_do_not_link_both_are_bad),
        cmocka_unit_test(a_bad_entry_behind_the_last_one_is_told),
        cmocka_unit_test(what_lies_behind_the_last_entry_of_a_segment_is_looked_at),
        cmocka_unit_test(what_cannot_be_read_takes_only_its_page),
        cmocka_unit_test(more_stretches_than_a_job_has_place_for_end_it),
        cmocka_unit_test(an_entry_larger_than_a_piece_is_read_in_pieces),
        cmocka_unit_test(entries_that_are_not_synced_or_not_held_are_not_read),
        cmocka_unit_test(entries_are_put_back_and_durable),
        cmocka_unit_test(what_does_not_belong_there_is_not_written),
        cmocka_unit_test(a_crash_while_an_entry_is_put_back_harms_no_other),
        cmocka_unit_test(the_rest_of_a_segment_is_zeroed),
        cmocka_unit_test(a_write_or_sync_that_fails_ends_the_process),
        cmocka_unit_test(what_the_disk_does_not_keep_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
