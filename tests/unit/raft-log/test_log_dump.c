/* What people are shown of a log's files, sound and damaged. */
#include "raft-log/include/raftlog/dump.h"
#include "remoting/base/err.h"
#include "tests/unit/raft-log/log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT (64u << 10)
#define PAYLOAD 1000u
#define ENTRY 1096u  /* with header, a multiple of 8 */
#define ENTRIES 100u /* in two segments: 59 and 41 */
#define IN_FIRST 59u
#define SECOND "log/00000000000000065536"

struct seen {
    uint64_t entries, last_index, bad_index, bad_pos, bad_bytes;
    char problem[64];
    uint64_t stop_after; /* 0: never */
};

static bool on_item(void *data, const struct rlog_dump_item *item)
{
    struct seen *seen = data;

    seen->entries += item->readable;
    seen->last_index = item->readable ? item->index : seen->last_index;
    if (item->problem != NULL) {
        seen->bad_index = item->index;
        seen->bad_pos = item->pos;
        seen->bad_bytes = item->bytes;
        snprintf(seen->problem, sizeof(seen->problem), "%s", item->problem);
    }
    return seen->stop_after == 0 || seen->entries < seen->stop_after;
}

/* A directory with ENTRIES entries in two segments. */
static char *make_log(void)
{
    char *dir = log_temp_dir();
    struct log_fixture f;

    log_fixture_init(&f, &rlog_disk_real, dir, SEGMENT);
    log_fixture_open(&f);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        assert_int_equal(log_fixture_append(&f, 1 + i / 30, PAYLOAD), 0);
    }
    log_fixture_settle(&f);
    log_fixture_fini(&f);
    return dir;
}

static void path_in(char *to, const char *dir, const char *name)
{
    assert_true(snprintf(to, 600, "%s/%s", dir, name) < 600);
}

static void write_at(const char *dir, const char *name, uint64_t at, const void *bytes, size_t n)
{
    char path[600];
    int fd;

    path_in(path, dir, name);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, (off_t)at), (ssize_t)n);
    close(fd);
}

static int dump(const char *path, struct seen *seen, struct rlog_dump_summary *sum)
{
    struct mq_buf problem = {0};
    int rc = rlog_dump(path, on_item, seen, sum, &problem);

    assert_int_equal(rc != 0, problem.len > 0);
    mq_buf_free(&problem);
    return rc;
}

static void a_sound_log_is_told_whole_from_any_directory_above_it(void **state)
{
    static const char *const above[] = {"", "/log"};
    char *dir = make_log();

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rlog_dump_summary sum;
        struct seen seen = {0};
        char path[600];

        assert_true(snprintf(path, sizeof(path), "%s%s", dir, above[i]) > 0);
        assert_int_equal(dump(path, &seen, &sum), 0);
        assert_int_equal(sum.bad, 0);
        assert_int_equal(sum.entries, ENTRIES);
        assert_int_equal(seen.entries, ENTRIES);
        assert_int_equal(sum.first_index, 1);
        assert_int_equal(sum.last_index, ENTRIES);
        assert_int_equal(sum.last_term, 4);
        assert_int_equal(sum.start_pos, 0);
        assert_int_equal(sum.end_pos, SEGMENT + (ENTRIES - IN_FIRST) * ENTRY);
        assert_int_equal(sum.tail_bytes, 0);
    }
    log_temp_dir_remove(dir);
}

static void one_segment_alone_can_be_told_also_under_another_name(void **state)
{
    char *dir = make_log();
    char from[600], to[600];
    struct rlog_dump_summary sum;
    struct seen seen = {0};

    (void)state;
    path_in(from, dir, SECOND);
    path_in(to, dir, "copy");
    assert_int_equal(dump(from, &seen, &sum), 0);
    assert_int_equal(sum.first_index, IN_FIRST + 1);
    assert_int_equal(sum.start_pos, SEGMENT);
    assert_int_equal(rename(from, to), 0);
    seen = (struct seen){0};
    assert_int_equal(dump(to, &seen, &sum), 0);
    assert_int_equal(sum.entries, ENTRIES - IN_FIRST);
    assert_int_equal(sum.bad, 0);
    log_temp_dir_remove(dir);
}

static void telling_ends_when_enough_was_seen(void **state)
{
    char *dir = make_log();
    struct rlog_dump_summary sum;
    struct seen seen = {.stop_after = 3};

    (void)state;
    assert_int_equal(dump(dir, &seen, &sum), 0);
    assert_int_equal(seen.entries, 3);
    assert_int_equal(seen.last_index, 3);
    log_temp_dir_remove(dir);
}

static void damage_is_told_with_its_place(void **state)
{
    static const struct {
        const char *why, *file;
        uint64_t at;
        uint64_t zeros; /* how many bytes are overwritten with zeros; 0: one byte is flipped */
        uint64_t bad, bad_index, bad_pos, tail;
        const char *problem;
    } cases[] = {
        {"a byte of a payload", "log/00000000000000000000", 5 * ENTRY + 200, 0, 1, 6, 5 * ENTRY, 0,
         "payload checksum or padding"},
        {"a byte of a header", "log/00000000000000000000", 5 * ENTRY + 20, 0, 1, 0, 5 * ENTRY, 0,
         "no entry can be read here"},
        {"two whole entries are zeros", "log/00000000000000000000", 5 * ENTRY, 2 * ENTRY, 1, 0, 5 * ENTRY, 0,
         "no entry can be read here"},
        {"the first header of the second segment", SECOND, 8, 0, 1, 0, SEGMENT, 0, "no entry can be read here"},
        {"the payload of the last entry: perhaps it is being written", SECOND, (ENTRIES - IN_FIRST - 1) * ENTRY + 500,
         0, 0, 0, 0, ENTRY, ""},
        {"bytes behind the last entry", SECOND, (ENTRIES - IN_FIRST) * ENTRY + 800, 0, 0, 0, 0, 808, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static const uint8_t zeros[2 * ENTRY];
        char *dir = make_log();
        struct rlog_dump_summary sum;
        struct seen seen = {0};

        print_message("%s\n", cases[i].why);
        write_at(dir, cases[i].file, cases[i].at, cases[i].zeros > 0 ? zeros : (const uint8_t *)"\xA5",
                 cases[i].zeros > 0 ? cases[i].zeros : 1);
        assert_int_equal(dump(dir, &seen, &sum), 0);
        assert_int_equal(sum.bad, cases[i].bad);
        assert_int_equal(seen.bad_index, cases[i].bad_index);
        assert_int_equal(seen.bad_pos, cases[i].bad_pos);
        assert_string_equal(seen.problem, cases[i].problem);
        assert_int_equal(sum.tail_bytes, cases[i].tail);
        log_temp_dir_remove(dir);
    }
}

/* Both entries are sound by themselves. */
static void an_entry_that_does_not_follow_is_told(void **state)
{
    char *dir = make_log();
    uint8_t entry[ENTRY];
    char path[600];
    struct rlog_header h;
    struct rlog_dump_summary sum;
    struct seen seen = {0};
    int fd;

    (void)state;
    path_in(path, dir, "log/00000000000000000000");
    fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, entry, ENTRY, 7 * ENTRY), ENTRY);
    assert_int_equal(rlog_header_decode(entry, ENTRY, &h), 0);
    h.prev_crc ^= 1;
    rlog_header_encode(&h, entry);
    assert_int_equal(pwrite(fd, entry, ENTRY, 7 * ENTRY), ENTRY);
    close(fd);
    assert_int_equal(dump(dir, &seen, &sum), 0);
    assert_int_equal(sum.bad, 2); /* it, and the one behind it, whose chain leads elsewhere */
    assert_string_equal(seen.problem, "chain to the entry before");
    log_temp_dir_remove(dir);
}

static void a_missing_segment_is_told(void **state)
{
    char *dir = make_log();
    char path[600], moved[600];
    struct rlog_dump_summary sum;
    struct seen seen = {0};

    (void)state;
    path_in(path, dir, SECOND);
    path_in(moved, dir, "log/00000000000000131072");
    assert_int_equal(rename(path, moved), 0);
    /* Its entries say other positions than its name, so none can be read there. */
    assert_int_equal(dump(dir, &seen, &sum), 0);
    assert_int_equal(sum.entries, IN_FIRST);
    assert_true(sum.tail_bytes > 0);
    log_temp_dir_remove(dir);
}

static void what_is_no_log_is_refused(void **state)
{
    char *dir = log_temp_dir();
    struct rlog_dump_summary sum;
    struct seen seen = {0};
    char path[600];
    int fd;

    (void)state;
    assert_true(mkdir(dir, 0755) == 0 || errno == EEXIST);
    assert_int_equal(dump(dir, &seen, &sum), MQ_ENOTFOUND);
    path_in(path, dir, "nothing");
    assert_int_equal(dump(path, &seen, &sum), -ENOENT);
    fd = open(path, O_RDWR | O_CREAT, 0644);
    close(fd);
    assert_int_equal(dump(path, &seen, &sum), MQ_EINVAL);
    log_temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_log_is_told_whole_from_any_directory_above_it),
        cmocka_unit_test(one_segment_alone_can_be_told_also_under_another_name),
        cmocka_unit_test(telling_ends_when_enough_was_seen),
        cmocka_unit_test(damage_is_told_with_its_place),
        cmocka_unit_test(an_entry_that_does_not_follow_is_told),
        cmocka_unit_test(a_missing_segment_is_told),
        cmocka_unit_test(what_is_no_log_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
