#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

/* What a power failure leaves of a group of entries that was not synced: each sector that begins at or behind @from
 * or holds it is there or absent. */
static void every_loss_of_sectors_is_cut(uint32_t first_payload, uint32_t last_payload, unsigned unsynced)
{
    struct log_fixture f;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    uint8_t whole[SEGMENT];
    uint64_t from, end;
    unsigned sectors;

    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(log_fixture_append(&f, 1, first_payload), 0);
    from = commitlog_end_pos(f.log);
    for (unsigned i = 0; i < unsynced; i++) {
        assert_int_equal(log_fixture_append(&f, 1, last_payload), 0);
    }
    end = commitlog_end_pos(f.log);
    log_fixture_settle(&f);
    log_fixture_close(&f);
    memcpy(whole, file(disk, FIRST), SEGMENT);
    sectors = (unsigned)((end - 1) / 512 - from / 512 + 1);
    for (unsigned present = 0; present + 1 < 1u << sectors; present++) {
        uint8_t *bytes = file(disk, FIRST);

        memcpy(bytes, whole, SEGMENT);
        for (unsigned i = 0; i < sectors; i++) {
            uint64_t at = (from / 512 + i) * 512;

            if ((present >> i & 1) == 0) {
                at = at < from ? from : at;
                memset(bytes + at, 0, 512 - at % 512);
            }
        }
        log_fixture_open(&f);
        assert_int_equal(f.claim.index, 0);
        assert_true(commitlog_last_index(f.log) < 1 + unsynced);
        log_fixture_check(&f, 1, 1);
        for (uint64_t at = commitlog_end_pos(f.log); at < SEGMENT; at++) {
            assert_int_equal(bytes[at], 0);
        }
        log_fixture_close(&f);
    }
    done_with(&f, disk);
}

static void entry_with_absent_sectors_is_cut(void **state)
{
    (void)state;
    every_loss_of_sectors_is_cut(PAYLOAD, 2000, 1);    /* its first sector begins before it */
    every_loss_of_sectors_is_cut(320, 60, 1);          /* its header reaches into the second one */
    every_loss_of_sectors_is_cut(408, 60, 1);          /* with its last eight bytes only */
    every_loss_of_sectors_is_cut(416, 3000, 1);        /* it begins with a sector */
    every_loss_of_sectors_is_cut(PAYLOAD, PAYLOAD, 9); /* with what was written along with it */
    every_loss_of_sectors_is_cut(PAYLOAD, 700, 3);
}

static void sectors_of_zeros_in_a_message_are_not_absent(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct rlog_header header = {.type = RLOG_COMMAND, .index = 1, .term = 3};
    struct rlog_blob *blob;

    (void)state;
    log_fixture_init(&f, &disk->table, "/m", SEGMENT);
    log_fixture_open(&f);
    assert_int_equal(blob_pool_take(&f.pool, NULL, 3000, &blob), 0);
    memset(rlog_blob_payload(blob), 0, 3000);
    memset(rlog_blob_payload(blob) + 600, 'x', 1000);
    rlog_blob_payload(blob)[2995] = 'x';
    blob->payload_bytes = 3000;
    assert_int_equal(commitlog_append(f.log, &header, blob), 0);
    assert_int_equal(header.bare_sectors, 3);
    log_fixture_settle(&f);
    log_fixture_close(&f);
    file(disk, FIRST)[2995 + RLOG_HEADER_BYTES] = 0; /* one byte is lost: not a sector */
    log_fixture_open(&f);
    assert_int_equal(f.claim.index, 1);
    assert_int_equal(f.claim.term, 3);
    done_with(&f, disk);
}

static void torn_first_entry_of_a_new_segment_is_cut(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    (void)state;
    memset(file(disk, SECOND) + 1536, 0, 512);
    log_fixture_open(&f);
    assert_int_equal(f.claim.index, 0);
    assert_int_equal(commitlog_last_index(f.log), ENTRIES - 1);
    assert_int_equal(stats_of(&f).cut_bytes, 2 * SEGMENT - (ENTRIES - 1) * rlog_entry_bytes(PAYLOAD));
    log_fixture_close(&f);
    must_go_on_from(&f, ENTRIES - 1); /* in the rest of the first one */
    done_with(&f, disk);
}

/* --- what may have been acknowledged ------------------------------------------------------------------------ */

/* What was cut must lie beside the log. */
static void must_be_aside(struct mem_disk *disk, uint64_t pos, const uint8_t *before)
{
    char name[64];
    uint64_t size;
    uint8_t *bytes;

    (void)snprintf(name, sizeof(name), "/m/aside-%020llu", (unsigned long long)pos);
    bytes = mem_disk_file(disk, name, &size);
    assert_non_null(bytes);
    assert_memory_equal(bytes, before + pos, size);
    for (uint64_t at = pos + size; at < SEGMENT; at++) {
        assert_int_equal(before[at], 0);
    }
}

static void last_entry_with_a_flipped_bit_is_claimed(void **state)
{
    uint32_t n = rlog_entry_bytes(PAYLOAD);

    (void)state;
    for (uint32_t at = 0; at < n; at++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t before[SEGMENT];

        file(disk, FIRST)[(ENTRIES - 1) * n + at] ^= 0x10;
        memcpy(before, file(disk, FIRST), SEGMENT);
        f.term = 7;
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), ENTRIES - 1);
        /* Unreadable, it may have been of any term, and two. */
        assert_int_equal(f.claim.term, at < RLOG_HEADER_BYTES ? 7 : 1);
        assert_int_equal(f.claim.index, at < RLOG_HEADER_BYTES ? ENTRIES + 2 : ENTRIES);
        assert_int_equal(f.claim.committed, 0);
        log_fixture_close(&f);
        must_be_aside(disk, (ENTRIES - 1) * n, before);
        must_go_on_from(&f, ENTRIES - 1);
        done_with(&f, disk);
    }
}

static void header_inside_a_damaged_payload_is_no_entry(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, 500);
    uint64_t pos = (ENTRIES - 1) * rlog_entry_bytes(PAYLOAD);
    struct rlog_header inner = {.type = RLOG_COMMAND, .index = 6, .term = 9, .pos = pos + 200};

    (void)state;
    rlog_header_encode(&inner, file(disk, FIRST) + inner.pos);
    log_fixture_open(&f);
    assert_int_equal(f.claim.index, ENTRIES);
    assert_int_equal(f.claim.term, 1);
    done_with(&f, disk);
}

static void header_that_no_log_could_have_is_not_believed(void **state)
{
    static const struct {
        const char *why;
        struct rlog_header header;
    } cases[] = {
        {"more entries than there is room for", {.index = 30, .term = 9}},
        {"commits itself", {.index = 6, .term = 9, .commit = 6}},
        {"an entry that is there", {.index = 4, .term = 9}},
        {"a term below that of the entries before", {.index = 6, .term = 0}},
        {"longer than its segment", {.index = 6, .term = 9, .payload_bytes = SEGMENT}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, 500);
        uint8_t *last = file(disk, FIRST) + (ENTRIES - 1) * rlog_entry_bytes(PAYLOAD);
        struct rlog_header inner = cases[i].header;

        print_message("%s\n", cases[i].why);
        inner.type = RLOG_COMMAND;
        inner.pos = (uint64_t)(last - file(disk, FIRST)) + 200;
        rlog_header_encode(&inner, last + 200);
        last[20] ^= 1; /* so that its payload is searched */
        log_fixture_open(&f);
        assert_int_equal(f.claim.index, ENTRIES - 1 + 7); /* 600 bytes of anything */
        assert_int_equal(f.claim.term, 1);
        done_with(&f, disk);
    }
}

static void bad_entry_with_good_ones_behind_it_is_claimed_with_them(void **state)
{
    static const struct {
        const char *why;
        uint64_t index;
        uint32_t at; /* byte of the entry */
        const char *said;
    } cases[] = {
        {"header", 2, 20, "log/00000000000000000000: entry 2 at position 200 is bad (header) and may have been"},
        {"magic", 4, 0, "entry 4 at position 600 is bad (header)"},
        {"payload", 3, 150, "entry 3 at position 400 is bad (payload checksum)"},
        {"padding", 3, 198, "entry 3 at position 400 is bad (padding)"},
        {"first", 1, 30, "entry 1 at position 0 is bad (header)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t before[SEGMENT];

        print_message("%s\n", cases[i].why);
        file(disk, FIRST)[(cases[i].index - 1) * 200 + cases[i].at] ^= 1;
        memcpy(before, file(disk, FIRST), SEGMENT);
        f.refuse_claims = true;
        assert_int_equal(log_fixture_try_open(&f), MQ_ECORRUPT);
        must_say(&f, cases[i].said);
        must_say(&f, "may have been acknowledged; claims are refused here");
        assert_memory_equal(file(disk, FIRST), before, SEGMENT);
        f.refuse_claims = false;
        f.term = 7;
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), cases[i].index - 1);
        assert_int_equal(f.claim.term, 1);
        assert_int_equal(f.claim.index, ENTRIES);
        log_fixture_close(&f);
        must_be_aside(disk, (cases[i].index - 1) * 200, before);
        must_go_on_from(&f, cases[i].index - 1);
        done_with(&f, disk);
    }
}

/* The writer syncs a segment before it writes to the next one. */
static void zeros_before_an_entry_of_a_later_segment_are_not_absent(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    (void)state;
    memset(file(disk, FIRST) + 400, 0, SEGMENT - 400);
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), 2);
    assert_int_equal(f.claim.index, ENTRIES);
    done_with(&f, disk);
}

/* The end of the first segment is zeros, but not because the entry there is absent: it is in the next one. */
static void damaged_header_at_the_beginning_of_a_segment_is_claimed(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    (void)state;
    file(disk, SECOND)[20] ^= 1;
    f.refuse_claims = true;
    assert_int_equal(log_fixture_try_open(&f), MQ_ECORRUPT);
    must_say(&f, "log/00000000000000004096: entry 5 at position 4096 is bad (header)");
    f.refuse_claims = false;
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), ENTRIES - 1);
    assert_true(f.claim.index >= ENTRIES);
    log_fixture_close(&f);
    must_go_on_from(&f, ENTRIES - 1);
    done_with(&f, disk);
}

/* Changes fields of the last entry and makes its checksums fit again. */
static void good_entry_that_does_not_follow_is_claimed_or_refused(void **state)
{
    static const struct {
        const char *why;
        uint32_t at;
        uint8_t flip;
        int want;
        const char *said;
    } cases[] = {
        {"another entry before it", 68, 1, MQ_ECORRUPT, "entry 5 at position 800 is bad (chain)"},
        {"another index", 16, 7, MQ_ECORRUPT, "entry 5 at position 800 is bad (index)"},
        {"a lower term", 24, 1, MQ_ECORRUPT, "is bad (term)"},
        {"longer than its segment", 13, 0x40, MQ_ECORRUPT, "is bad (length)"},
        {"another format", 8, 3, MQ_EVERSION,
         "the entry at position 800, behind entry 4, has format version 2, this program knows 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t *at = file(disk, FIRST) + 800;

        print_message("%s\n", cases[i].why);
        at[cases[i].at] ^= cases[i].flip;
        rlog_le32_store(at + 4, mq_crc32c(0, at + 8, RLOG_HEADER_BYTES - 8));
        f.refuse_claims = true;
        assert_int_equal(log_fixture_try_open(&f), cases[i].want);
        must_say(&f, cases[i].said);
        done_with(&f, disk);
    }
}

static void entry_of_another_format_behind_a_bad_one_is_refused(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);
    uint8_t *at = file(disk, FIRST) + 800;

    (void)state;
    memset(file(disk, FIRST) + 400, 0, 112); /* looks absent */
    at[8] = 2;
    rlog_le32_store(at + 4, mq_crc32c(0, at + 8, RLOG_HEADER_BYTES - 8));
    assert_int_equal(log_fixture_try_open(&f), MQ_EVERSION);
    must_say(&f, "the entry at position 800, behind entry 2, has format version 2");
    done_with(&f, disk);
}

static void entry_in_the_next_segment_that_would_have_fitted_is_claimed(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);
    uint8_t *at = file(disk, SECOND);
    struct rlog_header header;

    (void)state;
    assert_int_equal(rlog_header_decode(at, SEGMENT, &header), 0);
    header.payload_bytes = 8;
    header.bare_sectors = 0;
    header.payload_crc = mq_crc32c(0, at + RLOG_HEADER_BYTES, 8);
    rlog_header_encode(&header, at);
    memset(at + RLOG_HEADER_BYTES + 8, 0, SEGMENT - RLOG_HEADER_BYTES - 8);
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), ENTRIES - 1);
    assert_int_equal(f.claim.index, ENTRIES);
    done_with(&f, disk);
}

/* --- evidence ----------------------------------------------------------------------------------------------- */

static void absent_entry_that_was_committed_is_rotten(void **state)
{
    static const struct {
        const char *why;
        uint64_t known, in_header; /* committed, as the member knows, as the last entry says */
        uint64_t claimed;
    } cases[] = {
        {"nobody says so", 0, 0, 0},
        {"what is said is about entries before it", 2, 2, 0},
        {"the member knows", 3, 0, 5},
        {"a later header says so", 0, 3, 5},
        {"the member knows of more than is left", 8, 0, 8},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_fixture f;
        struct mem_disk *disk = with_entries(&f, PAYLOAD);
        uint8_t *last = file(disk, FIRST) + 800;
        struct rlog_header header;

        print_message("%s\n", cases[i].why);
        assert_int_equal(rlog_header_decode(last, 200, &header), 0);
        header.commit = cases[i].in_header;
        rlog_header_encode(&header, last);
        memset(file(disk, FIRST) + 400, 0, 112); /* entry 3, up to the end of its sector */
        f.committed = cases[i].known;
        f.term = 4;
        log_fixture_open(&f);
        assert_int_equal(commitlog_last_index(f.log), 2);
        assert_int_equal(f.claim.index, cases[i].claimed);
        if (cases[i].claimed != 0) {
            assert_int_equal(f.claim.committed, cases[i].known + cases[i].in_header);
            assert_int_equal(f.claim.term, cases[i].claimed > ENTRIES ? 4 : 1);
        }
        done_with(&f, disk);
    }
}

/* A payload that nobody can tell from the log may hold what looks like an entry. */
static void header_of_a_term_that_the_member_never_saw_is_not_believed(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);
    uint8_t *last = file(disk, FIRST) + 800;
    struct rlog_header header;

    (void)state;
    assert_int_equal(rlog_header_decode(last, 200, &header), 0);
    header.commit = 4;
    header.term = 5;
    rlog_header_encode(&header, last);
    memset(file(disk, FIRST) + 400, 0, 112);
    f.term = 4;
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), 2);
    assert_int_equal(f.claim.index, 0);
    done_with(&f, disk);
}

static void committed_entries_of_which_nothing_is_left_are_rotten(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);

    (void)state;
    memset(file(disk, FIRST) + 600, 0, SEGMENT - 600);
    f.committed = 4;
    f.term = 3;
    f.refuse_claims = true;
    assert_int_equal(log_fixture_try_open(&f), MQ_ECORRUPT);
    must_say(&f, "entry 4 at position 600 is bad (missing) and was committed; claims are refused here");
    f.refuse_claims = false;
    log_fixture_open(&f);
    assert_int_equal(f.claim.index, 4);
    assert_int_equal(f.claim.term, 3);
    assert_int_equal(stats_of(&f).cut_bytes, 0);
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

/* Where entries are acknowledged before they are synced, those that a failed sync took are claimed. */
static void end_that_was_acknowledged_before_its_sync_failed_is_claimed(void **state)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);
    int fd;

    (void)state;
    f.was_late = true;
    log_fixture_open(&f); /* nothing is missing */
    assert_int_equal(f.claim.index, 0);
    log_fixture_close(&f);
    fd = write_unsynced(disk, 1000, rlog_le32_load(file(disk, FIRST) + 804));
    mem_disk_fail_in(disk, 1, -EIO);
    assert_int_equal(disk->table.fdatasync(&disk->table, fd), -EIO);
    log_fixture_open(&f);
    assert_int_equal(commitlog_last_index(f.log), ENTRIES);
    assert_int_equal(f.claim.index, ENTRIES + 1);
    assert_int_equal(f.claim.term, 1);
    done_with(&f, disk);
}

/* --- rot behind our back ------------------------------------------------------------------------------------ */

static void read_what_has_rotted(void *data)
{
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, PAYLOAD);
    struct commitlog_entry entry;

    (void)data;
    log_fixture_open(&f);
    file(disk, FIRST)[420] ^= 1;
    (void)commitlog_get(f.log, 3, &entry);
}

static void entry_that_rots_while_the_log_is_open_ends_the_process(void **state)
{
    struct mq_buf lines = {0};

    (void)state;
    assert_int_equal(log_run_child(read_what_has_rotted, NULL, &lines), 1);
    assert_non_null(memmem(lines.base, lines.len, "reading an entry failed for log/00000000000000000000", 51));
    mq_buf_free(&lines);
}

/* --- failing calls ------------------------------------------------------------------------------------------ */

enum damage { NONE, TORN, ROTTEN, DAMAGES };

struct open_case {
    unsigned nth;
    int damage;
};

static void open_with_failure(void *data)
{
    const struct open_case *c = data;
    struct log_fixture f;
    struct mem_disk *disk = with_entries(&f, SEGMENT - RLOG_HEADER_BYTES);

    if (c->damage == TORN) {
        memset(file(disk, SECOND) + 1536, 0, 512);
    } else if (c->damage == ROTTEN) {
        file(disk, SECOND)[2000] ^= 1;
    }
    mem_disk_fail_in(disk, c->nth, -EIO);
    if (log_fixture_try_open(&f) != 0) {
        log_fixture_open(&f); /* the next start finds everything */
        if (commitlog_last_index(f.log) != ENTRIES - (c->damage != NONE ? 1 : 0)) {
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
    for (int damage = 0; damage < DAMAGES; damage++) {
        unsigned refused = 0;
        int rc = 0;

        for (unsigned nth = 1; rc != 4; nth++) {
            struct open_case c = {nth, damage};
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
        cmocka_unit_test(entry_with_absent_sectors_is_cut),
        cmocka_unit_test(sectors_of_zeros_in_a_message_are_not_absent),
        cmocka_unit_test(torn_first_entry_of_a_new_segment_is_cut),
        cmocka_unit_test(last_entry_with_a_flipped_bit_is_claimed),
        cmocka_unit_test(header_inside_a_damaged_payload_is_no_entry),
        cmocka_unit_test(header_that_no_log_could_have_is_not_believed),
        cmocka_unit_test(bad_entry_with_good_ones_behind_it_is_claimed_with_them),
        cmocka_unit_test(zeros_before_an_entry_of_a_later_segment_are_not_absent),
        cmocka_unit_test(damaged_header_at_the_beginning_of_a_segment_is_claimed),
        cmocka_unit_test(good_entry_that_does_not_follow_is_claimed_or_refused),
        cmocka_unit_test(entry_of_another_format_behind_a_bad_one_is_refused),
        cmocka_unit_test(entry_in_the_next_segment_that_would_have_fitted_is_claimed),
        cmocka_unit_test(absent_entry_that_was_committed_is_rotten),
        cmocka_unit_test(header_of_a_term_that_the_member_never_saw_is_not_believed),
        cmocka_unit_test(committed_entries_of_which_nothing_is_left_are_rotten),
        cmocka_unit_test(spare_segments_are_kept_and_rubbish_in_them_is_cut),
        cmocka_unit_test(interrupted_making_leaves_nothing),
        cmocka_unit_test(segments_that_do_not_fit_together_are_refused),
        cmocka_unit_test(entry_that_a_killed_process_did_not_sync_is_durable_after_open),
        cmocka_unit_test(end_whose_sync_failed_is_not_believed),
        cmocka_unit_test(end_that_was_acknowledged_before_its_sync_failed_is_claimed),
        cmocka_unit_test(entry_that_rots_while_the_log_is_open_ends_the_process),
        cmocka_unit_test(every_failing_call_of_an_open_is_reported_and_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
