#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/commit_mark.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/log.h"

#include <errno.h>

#define GOLDEN "tests/unit/raft-log/golden/commit-mark-v1.bin"
#define FILE_MAX 8192u
#define INCARNATION 0x0123456789ABCDEFu
#define NAME "/m/commit-mark"
#define SECOND 4096u /* where the second record lies */

static uint64_t on_committed(void *data)
{
    return *(uint64_t *)data;
}

static void on_closed(void *data)
{
    *(bool *)data = true;
}

static int try_open(struct commit_mark *mark, struct mem_disk *disk, uint64_t incarnation)
{
    struct mq_buf problem = {0};
    int rc = commit_mark_open(mark, &disk->table, "/m", incarnation, &problem);

    assert_true((rc == 0) == (problem.len == 0));
    mq_buf_free(&problem);
    return rc;
}

/* Opens, stores at the close that @index is committed, closes. */
static void store(struct mem_disk *disk, uint64_t index)
{
    struct commit_mark mark;
    bool closed = false;
    uv_loop_t loop;

    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(try_open(&mark, disk, INCARNATION), 0);
    commit_mark_start(&mark, &loop, on_committed, &index);
    commit_mark_close(&mark, on_closed, &closed);
    assert_false(closed);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static uint64_t stored(struct mem_disk *disk)
{
    struct commit_mark mark;

    assert_int_equal(try_open(&mark, disk, INCARNATION), 0);
    commit_mark_drop(&mark);
    return mark.index;
}

static uint8_t *file(struct mem_disk *disk)
{
    uint64_t size;
    uint8_t *bytes = mem_disk_file(disk, NAME, &size);

    assert_non_null(bytes);
    return bytes;
}

static void mark_is_there_at_the_next_open_and_never_falls(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);

    (void)state;
    assert_int_equal(stored(disk), 0);
    for (uint64_t index = 1; index < 8; index++) {
        store(disk, index * 100);
        assert_int_equal(stored(disk), index * 100);
    }
    store(disk, 50); /* the log was cut: what was committed stays so */
    assert_int_equal(stored(disk), 700);
    mem_disk_free(disk);
}

static void record_equals_the_golden_one(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);

    (void)state;
    store(disk, 0x1122334455667788);
    log_check_golden(GOLDEN, file(disk) + SECOND, 64);
    mem_disk_free(disk);
}

static void moving_mark_is_stored_while_the_loop_runs(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct commit_mark mark;
    uint64_t index = 9;
    bool closed = false;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(try_open(&mark, disk, INCARNATION), 0);
    commit_mark_start(&mark, &loop, on_committed, &index);
    mark.timer.timer_cb(&mark.timer); /* a second went by */
    assert_true(mark.busy);
    index = 10;
    mark.timer.timer_cb(&mark.timer); /* the pool has it: not now */
    assert_int_equal(mark.index, 9);
    commit_mark_close(&mark, on_closed, &closed); /* waits for the pool, then stores the newest */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(closed);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(stored(disk), 10);
    mem_disk_free(disk);
}

static void what_cannot_be_believed_says_nothing(void **state)
{
    static const struct {
        const char *why;
        uint64_t at;
        uint8_t flip;
        bool fix;
        int want;
        uint64_t index;
    } cases[] = {
        {"nothing is wrong", 0, 0, false, 0, 20},
        {"the newer record is damaged: the older one counts", 33, 1, false, 0, 10},
        {"another magic number", 0, 1, false, 0, 10},
        {"of another directory", 24, 1, true, 0, 10},
        {"the older one is damaged", SECOND + 33, 1, false, 0, 20},
        {"another format", 8, 3, true, MQ_EVERSION, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mem_disk *disk = mem_disk_new(FILE_MAX);
        struct commit_mark mark;
        uint8_t *record;

        print_message("%s\n", cases[i].why);
        store(disk, 10);
        store(disk, 20);
        record = file(disk) + cases[i].at / SECOND * SECOND;
        file(disk)[cases[i].at] ^= cases[i].flip;
        if (cases[i].fix) {
            rlog_le32_store(record + 4, mq_crc32c(0, record + 8, 56));
        }
        assert_int_equal(try_open(&mark, disk, INCARNATION), cases[i].want);
        if (cases[i].want == 0) {
            assert_int_equal(mark.index, cases[i].index);
            commit_mark_drop(&mark);
        }
        mem_disk_free(disk);
    }
}

static void failing_disk_stops_an_open_and_not_a_running_node(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    struct commit_mark mark;

    (void)state;
    for (unsigned nth = 1; nth <= 3; nth++) {
        mem_disk_fail_in(disk, nth, -EIO);
        assert_int_equal(try_open(&mark, disk, INCARNATION), -EIO);
    }
    store(disk, 10);
    mem_disk_fail_in(disk, 4 + 1, -EIO); /* behind open and two reads: the write, then the sync */
    store(disk, 20);
    assert_true(mem_disk_has_failed(disk));
    assert_true(stored(disk) == 10 || stored(disk) == 20);
    mem_disk_free(disk);
}

/* --- every crash -------------------------------------------------------------------------------------------- */

static bool chosen(void *data, size_t change, size_t sector)
{
    (void)sector;
    return (*(uint64_t *)data >> change % 64 & 1) != 0;
}

static void crash_at_any_instant_shows_a_mark_that_was_stored(void **state)
{
    struct mem_disk *disk = mem_disk_new(FILE_MAX);
    uint64_t random = log_seed();
    size_t after[5];

    (void)state;
    for (uint64_t k = 1; k <= 4; k++) {
        store(disk, k * 10);
        after[k] = mem_disk_now(disk);
    }
    for (size_t until = 0; until <= after[4]; until++) {
        for (unsigned n = 0; n < 16; n++) {
            uint64_t mask = (uint64_t)log_random(&random) << 31 | log_random(&random);
            struct mem_disk *crashed = mem_disk_crash(disk, until, chosen, &mask);
            uint64_t index = stored(crashed);

            assert_true(index % 10 == 0 && index <= 40);
            for (uint64_t k = 1; k <= 4; k++) {
                /* Only the making of the file may be lost: it is not synced, as nothing depends on it. */
                assert_true(until < after[k] || index >= k * 10 || index == 0);
                assert_true(index < k * 10 || until > (k > 1 ? after[k - 1] : 0));
            }
            mem_disk_free(crashed);
        }
    }
    mem_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mark_is_there_at_the_next_open_and_never_falls),
        cmocka_unit_test(record_equals_the_golden_one),
        cmocka_unit_test(moving_mark_is_stored_while_the_loop_runs),
        cmocka_unit_test(what_cannot_be_believed_says_nothing),
        cmocka_unit_test(failing_disk_stops_an_open_and_not_a_running_node),
        cmocka_unit_test(crash_at_any_instant_shows_a_mark_that_was_stored),
    };

    mq_log_set_level(MQ_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
