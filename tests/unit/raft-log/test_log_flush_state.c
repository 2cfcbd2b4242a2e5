/* What a directory remembers of its last use, and a log that is flushed late. */
#include "raft-log/log/flush_state.h"

#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIR "/member"
#define INCARNATION 0x1122334455667788u
#define SEGMENT (64u << 10)

static char boot[64];

static int boot_id(const struct rlog_disk *d, char *out, size_t max)
{
    (void)d;
    assert_true((size_t)snprintf(out, max, "%s", boot) < max);
    return boot[0] != '\0' ? 0 : -ENOENT;
}

static struct mem_disk *new_disk(void)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);

    disk->table.boot_id = boot_id;
    return disk;
}

/* Opens with the boot @id and begins. Returns what was lost. */
static bool use(struct mem_disk *disk, const char *id, bool late, struct flush_state *state)
{
    struct mq_buf problem = {0};

    snprintf(boot, sizeof(boot), "%s", id);
    assert_int_equal(flush_state_open(state, &disk->table, DIR, INCARNATION, late, &problem), 0);
    assert_int_equal(flush_state_begin(state, &problem), 0);
    assert_int_equal(problem.len, 0);
    return state->lost;
}

static void an_end_is_lost_only_where_all_speaks_for_it(void **state)
{
    static const struct {
        const char *why;
        bool late, in_order;
        const char *first, *second;
        bool lost;
    } cases[] = {
        {"the same boot: a process died", true, false, "a", "a", false},
        {"another boot", true, false, "a", "b", true},
        {"another boot after an orderly end", true, true, "a", "b", false},
        {"another boot, but everything was synced", false, false, "a", "b", false},
        {"the system does not say which boot it was", true, false, "", "b", true},
        {"nor which one it is", true, false, "", "", true},
        {"nor that, but it ended in order", true, true, "", "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mem_disk *disk = new_disk();
        struct flush_state s;

        print_message("%s\n", cases[i].why);
        assert_false(use(disk, cases[i].first, cases[i].late, &s));
        if (cases[i].in_order) {
            flush_state_end(&s);
        }
        assert_int_equal(use(disk, cases[i].second, true, &s), cases[i].lost);
        mem_disk_free(disk);
    }
}

static void a_directory_that_was_never_flushed_late_has_no_file(void **state)
{
    struct mem_disk *disk = new_disk();
    struct flush_state s;
    uint64_t size;

    (void)state;
    assert_false(use(disk, "a", false, &s));
    flush_state_end(&s);
    assert_null(mem_disk_file(disk, DIR "/flush", &size));
    assert_false(use(disk, "a", true, &s));
    assert_false(use(disk, "a", false, &s)); /* synced from now on, and the file says so */
    assert_false(use(disk, "b", false, &s));
    mem_disk_free(disk);
}

static void golden_bytes(void **state)
{
    struct mem_disk *disk = new_disk();
    struct flush_state s;
    uint64_t size;

    (void)state;
    assert_false(use(disk, "0b7d2a38-8d5e-4a3c-9d0f-3f9a1c2b4d5e", true, &s));
    flush_state_end(&s);
    log_check_golden("tests/unit/raft-log/golden/flush-v1.bin", mem_disk_file(disk, DIR "/flush", &size), 64);
    assert_int_equal(size, 64);
    mem_disk_free(disk);
}

static void damage_counts_as_a_lost_end(void **state)
{
    (void)state;
    mq_log_set_level(MQ_LOG_ERROR);
    for (size_t at = 0; at < 64; at++) {
        struct mem_disk *disk = new_disk();
        struct mq_buf problem = {0};
        struct flush_state s;
        uint64_t size;
        uint8_t *file;

        assert_false(use(disk, "a", true, &s));
        file = mem_disk_file(disk, DIR "/flush", &size);
        file[at] ^= 0x10;
        assert_int_equal(flush_state_open(&s, &disk->table, DIR, INCARNATION, true, &problem), 0);
        assert_true(s.lost);
        mem_disk_free(disk);
    }
}

static void a_newer_version_is_refused(void **state)
{
    struct mem_disk *disk = new_disk();
    struct mq_buf problem = {0};
    struct flush_state s;
    uint64_t size;
    uint8_t *file;

    (void)state;
    assert_false(use(disk, "a", true, &s));
    file = mem_disk_file(disk, DIR "/flush", &size);
    file[8] = 2;
    rlog_le32_store(file + 4, mq_crc32c(0, file + 8, 56));
    assert_int_equal(flush_state_open(&s, &disk->table, DIR, INCARNATION, true, &problem), MQ_EVERSION);
    assert_true(problem.len > 0);
    mq_buf_free(&problem);
    mem_disk_free(disk);
}

static bool nothing(void *data, size_t change, size_t sector)
{
    (void)data;
    (void)change;
    (void)sector;
    return false;
}

/* Whatever is written late: a machine that stops anywhere leaves a log that opens, and a close leaves all of it. */
static void a_log_that_is_flushed_late_opens_after_any_loss(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    size_t now;

    (void)state;
    log_fixture_init(&f, &disk->table, DIR, SEGMENT);
    f.flush_ms = 5;
    log_fixture_open(&f);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(log_fixture_append(&f, 1, 5000), 0);
        if (i % 3 == 0) {
            log_fixture_settle(&f);
        }
        assert_true(commitlog_synced_index(f.log) <= commitlog_durable_index(f.log));
    }
    log_fixture_settle(&f);
    commitlog_truncate(f.log, 31);
    assert_int_equal(commitlog_synced_index(f.log), 30); /* a truncation syncs */
    f.durable_index = 30;
    assert_int_equal(log_fixture_append(&f, 2, 100), 0);
    log_fixture_settle(&f);
    log_fixture_close(&f);
    now = mem_disk_now(disk);
    for (size_t until = 1; until <= now; until++) {
        struct mem_disk *left = mem_disk_crash(disk, until, nothing, NULL);
        struct log_fixture again;

        log_fixture_init(&again, &left->table, DIR, SEGMENT);
        log_fixture_open(&again);
        for (uint64_t i = 1; i <= commitlog_last_index(again.log); i++) {
            log_fixture_check(&again, i, commitlog_term_of(again.log, i));
        }
        assert_true(until < now || commitlog_last_index(again.log) == 31);
        log_fixture_fini(&again);
        mem_disk_free(left);
    }
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_is_lost_only_where_all_speaks_for_it),
        cmocka_unit_test(a_directory_that_was_never_flushed_late_has_no_file),
        cmocka_unit_test(golden_bytes),
        cmocka_unit_test(damage_counts_as_a_lost_end),
        cmocka_unit_test(a_newer_version_is_refused),
        cmocka_unit_test(a_log_that_is_flushed_late_opens_after_any_loss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
