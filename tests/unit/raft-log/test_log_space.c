#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/space.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"

#include <errno.h>
#include <sched.h>

#define MIB (1u << 20)

static void level_follows_from_what_is_free_and_what_is_allocated(void **state)
{
    static const struct {
        const char *why;
        uint64_t segment, free, ahead; /* MiB; free 0: not known */
        bool stuck;
        enum rlog_space_level before, want;
        uint64_t needed;
    } cases[] = {
        {"plenty", 1024, 5000, 900, false, RLOG_SPACE_ENOUGH, RLOG_SPACE_ENOUGH, 1088},
        {"free and allocated count together", 1024, 600, 600, false, RLOG_SPACE_ENOUGH, RLOG_SPACE_ENOUGH, 1088},
        {"a segment and the reserve, less one", 1024, 600, 487, false, RLOG_SPACE_ENOUGH, RLOG_SPACE_LOW, 1088},
        {"what was low needs a little more", 1024, 600, 490, false, RLOG_SPACE_LOW, RLOG_SPACE_LOW, 1104},
        {"and has it", 1024, 600, 504, false, RLOG_SPACE_LOW, RLOG_SPACE_ENOUGH, 1104},
        {"a full file system, however much is allocated", 1024, 31, 2000, false, RLOG_SPACE_ENOUGH, RLOG_SPACE_LOW,
         1088},
        {"nearly nothing is allocated, and no segment fits", 1024, 500, 15, false, RLOG_SPACE_LOW, RLOG_SPACE_FULL,
         1104},
        {"nearly nothing is allocated, but a segment fits", 1024, 1030, 15, false, RLOG_SPACE_LOW, RLOG_SPACE_LOW,
         1104},
        {"small segments need the reserve", 16, 79, 0, false, RLOG_SPACE_ENOUGH, RLOG_SPACE_LOW, 80},
        {"small segments", 16, 80, 0, false, RLOG_SPACE_ENOUGH, RLOG_SPACE_ENOUGH, 80},
        {"not known: as long as segments can be made", 1024, 0, 0, false, RLOG_SPACE_ENOUGH, RLOG_SPACE_ENOUGH, 1088},
        {"not known, and they cannot", 1024, 0, 511, true, RLOG_SPACE_ENOUGH, RLOG_SPACE_LOW, 512},
        {"not known, they cannot, but much is allocated", 1024, 0, 512, true, RLOG_SPACE_ENOUGH, RLOG_SPACE_ENOUGH,
         512},
        {"they cannot, small segments", 16, 0, 11, true, RLOG_SPACE_ENOUGH, RLOG_SPACE_LOW, 12},
        {"they cannot, half of what is left at last is allocated", 1024, 0, 32, true, RLOG_SPACE_LOW, RLOG_SPACE_LOW,
         512},
        {"and less", 1024, 0, 31, true, RLOG_SPACE_LOW, RLOG_SPACE_SCARCE, 512},
        {"and a quarter", 1024, 0, 16, true, RLOG_SPACE_SCARCE, RLOG_SPACE_SCARCE, 512},
        {"a full file system has no room for consume queues", 1024, 23, 2000, false, RLOG_SPACE_LOW,
         RLOG_SPACE_SCARCE, 1104},
        {"a segment cannot be made, whatever is said to be free", 1024, 9000, 3, true, RLOG_SPACE_LOW,
         RLOG_SPACE_FULL, 512},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct space space;
        struct rlog_space got;

        print_message("%s\n", cases[i].why);
        space_init(&space);
        atomic_store(&space.free, cases[i].free != 0 ? cases[i].free * MIB : SPACE_UNKNOWN);
        atomic_store(&space.stuck, cases[i].stuck);
        space_judge(&space, cases[i].segment * MIB, cases[i].ahead * MIB, cases[i].before, &got);
        assert_int_equal(got.level, cases[i].want);
        assert_int_equal(got.needed, cases[i].needed * MIB);
        assert_int_equal(got.ahead, cases[i].ahead * MIB);
    }
}

#define SEGMENT 65536u
#define RESERVE 16384u

/* Runs the loop until the level is @want. */
static void wait_for(struct log_fixture *f, enum rlog_space_level want)
{
    uint64_t until = mq_clock_mono_ms() + 20000;

    while (commitlog_space_level(f->log) != want) {
        assert_true(mq_clock_mono_ms() < until);
        uv_run(&f->loop.uv, UV_RUN_NOWAIT);
        sched_yield();
    }
}

static void open_small(struct log_fixture *f, struct mem_disk *disk)
{
    log_fixture_init(f, &disk->table, "/m", SEGMENT);
    f->reserve_bytes = RESERVE;
    f->space_period_ms = 1;
    log_fixture_open(f);
}

static void grow(struct log_fixture *f, uint32_t payload_bytes)
{
    assert_int_equal(log_fixture_append(f, 1, payload_bytes), 0);
    log_fixture_settle(f);
}

static void log_that_cannot_grow_says_so_while_it_still_has_room(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    struct rlog_space space;
    uint64_t end;

    (void)state;
    open_small(&f, disk);
    assert_int_equal(commitlog_space_level(f.log), RLOG_SPACE_ENOUGH);
    for (int round = 0; round < 2; round++) {
        mem_disk_set_space(disk, 0, -ENOSPC);
        do {
            grow(&f, 1000);
            commitlog_space(f.log, &space);
        } while (space.ahead > RESERVE);
        wait_for(&f, RLOG_SPACE_LOW);
        commitlog_space(f.log, &space);
        assert_true(space.ahead > RESERVE - 2000); /* not after it is too late */
        assert_string_equal(space.path, "/m");
        end = commitlog_end_pos(f.log) + space.ahead;
        assert_true(commitlog_can_hold(f.log, end));
        assert_false(commitlog_can_hold(f.log, end + 8));
        while (commitlog_space_level(f.log) != RLOG_SPACE_FULL) {
            grow(&f, 100); /* small ones */
        }
        commitlog_space(f.log, &space);
        assert_true(space.ahead > 2000); /* for the barrier of a new leader, and what was on its way */
        mem_disk_set_space(disk, 0, 0);
        wait_for(&f, RLOG_SPACE_ENOUGH);
        assert_true(commitlog_can_hold(f.log, end + 8));
        while (commitlog_end_pos(f.log) <= end) {
            grow(&f, 1000);
        }
    }
    log_fixture_close(&f);
    log_fixture_open(&f);
    for (uint64_t i = 1; i <= commitlog_last_index(f.log); i++) {
        log_fixture_check(&f, i, 1);
    }
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

static void file_system_that_fills_up_is_noticed_and_so_is_its_space_when_it_returns(void **state)
{
    struct mem_disk *disk = mem_disk_new(SEGMENT);
    struct log_fixture f;
    struct rlog_space space;

    (void)state;
    mem_disk_set_space(disk, 10 * SEGMENT, 0);
    open_small(&f, disk);
    grow(&f, 1000);
    for (int round = 0; round < 3; round++) {
        mem_disk_set_space(disk, RESERVE / 2 - 1, 0);
        wait_for(&f, RLOG_SPACE_LOW);
        assert_true(commitlog_can_hold(f.log, commitlog_end_pos(f.log) + 1000));
        commitlog_space(f.log, &space);
        assert_int_equal(space.free, RESERVE / 2 - 1);
        assert_true(space.total > space.free);
        mem_disk_set_space(disk, RESERVE / 4 - 1, 0); /* what applying needs is kept for what was taken */
        while (commitlog_can_hold(f.log, commitlog_end_pos(f.log) + 1000)) {
            uv_run(&f.loop.uv, UV_RUN_NOWAIT);
            sched_yield();
        }
        mem_disk_set_space(disk, 2 * SEGMENT, 0);
        wait_for(&f, RLOG_SPACE_ENOUGH);
    }
    log_fixture_fini(&f);
    mem_disk_free(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_follows_from_what_is_free_and_what_is_allocated),
        cmocka_unit_test(log_that_cannot_grow_says_so_while_it_still_has_room),
        cmocka_unit_test(file_system_that_fills_up_is_noticed_and_so_is_its_space_when_it_returns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
