#include "remoting/base/assert.h"
#include "tests/sim/world/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECTOR 512u
#define SECTORS 64u
#define SEEDS 60u

static struct machine *machine;
static const struct rlog_disk *table;

static void begin_seed(uint64_t seed)
{
    world_open(seed);
    machine = machine_new("m", "10.0.0.1");
    table = disk_table(machine_disk(machine));
    assert_int_equal(table->make_dir(table, "/d/log"), 0);
}

static int begin(void **state)
{
    (void)state;
    begin_seed(11);
    return 0;
}

static int end(void **state)
{
    (void)state;
    world_close();
    return 0;
}

static int make(const char *path)
{
    int fd = table->open(table, path, O_RDWR | O_CREAT, 0644);

    assert_true(fd >= 0);
    return fd;
}

static int put(int fd, uint8_t byte, size_t n, uint64_t at)
{
    static uint8_t bytes[SECTORS * SECTOR];
    struct iovec vec = {bytes, n};

    memset(bytes, byte, n);
    return rlog_disk_write_all(table, fd, &vec, 1, at);
}

static uint8_t get(const char *path, uint64_t at)
{
    uint64_t bytes;
    const uint8_t *file = disk_file(machine_disk(machine), path, &bytes);

    return file != NULL && at < bytes ? file[at] : 0;
}

static void cut_power(void)
{
    machine_power_off(machine);
    machine_power_on(machine);
}

/* ---- power ---- */

static void what_was_synced_outlives_the_power(void **state)
{
    int fd = make("/d/f");

    (void)state;
    assert_int_equal(put(fd, 1, SECTORS * SECTOR, 0), 0);
    assert_int_equal(table->fdatasync(table, fd), 0);
    assert_int_equal(table->sync_dir(table, "/d"), 0);
    cut_power();
    for (uint64_t at = 0; at < SECTORS * SECTOR; at++) {
        assert_int_equal(get("/d/f", at), 1);
    }
}

static void what_was_not_synced_is_there_sector_by_sector_or_not(void **state)
{
    unsigned all = 0, none = 0, some = 0;

    (void)state;
    world_close();
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        unsigned kept = 0;
        int fd;

        begin_seed(seed);
        fd = make("/d/f");
        assert_int_equal(put(fd, 1, SECTORS * SECTOR, 0), 0);
        assert_int_equal(table->fdatasync(table, fd), 0);
        assert_int_equal(table->sync_dir(table, "/d"), 0);
        assert_int_equal(put(fd, 2, SECTORS * SECTOR, 0), 0);
        cut_power();
        for (unsigned s = 0; s < SECTORS; s++) {
            uint8_t first = get("/d/f", s * SECTOR);

            assert_in_range(first, 1, 2);
            for (unsigned i = 1; i < SECTOR; i++) {
                assert_int_equal(get("/d/f", s * SECTOR + i), first);
            }
            kept += first == 2;
        }
        all += kept == SECTORS;
        none += kept == 0;
        some += kept != 0 && kept != SECTORS;
        if (seed != SEEDS) {
            world_close();
        }
    }
    assert_true(all > 0 && none > 0 && some > 0);
}

static void names_that_were_not_synced_may_be_gone(void **state)
{
    unsigned old = 0, new = 0;

    (void)state;
    world_close();
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        int fd;

        begin_seed(seed);
        fd = make("/d/log/a.new");
        assert_int_equal(put(fd, 3, SECTOR, 0), 0);
        assert_int_equal(table->fdatasync(table, fd), 0);
        assert_int_equal(table->sync_dir(table, "/d/log"), 0);
        assert_int_equal(table->rename(table, "/d/log/a.new", "/d/log/a"), 0);
        assert_int_equal(get("/d/log/a", 0), 3);
        assert_int_equal(get("/d/log/a.new", 0), 0);
        cut_power();
        old += get("/d/log/a.new", 0) == 3;
        new += get("/d/log/a", 0) == 3;
        assert_int_equal(old + new, seed);
        if (seed != SEEDS) {
            world_close();
        }
    }
    assert_true(old > 0 && new > 0);
}

static void a_size_that_was_not_synced_may_be_gone_and_reads_as_zeros_if_not(void **state)
{
    unsigned shorter = 0, zeros = 0;

    (void)state;
    world_close();
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t bytes;
        int fd;

        begin_seed(seed);
        fd = make("/d/f");
        assert_int_equal(table->sync_dir(table, "/d"), 0);
        assert_int_equal(put(fd, 9, 4 * SECTOR, 0), 0);
        cut_power();
        assert_non_null(disk_file(machine_disk(machine), "/d/f", &bytes));
        shorter += bytes == 0;
        for (uint64_t at = 0; at < bytes; at++) {
            zeros += get("/d/f", at) == 0;
            assert_true(get("/d/f", at) == 0 || get("/d/f", at) == 9);
        }
        if (seed != SEEDS) {
            world_close();
        }
    }
    assert_true(shorter > 0 && zeros > 0);
}

static int writer(void *data)
{
    int fd = make("/d/f");

    (void)data;
    (void)put(fd, 1, SECTOR, 0);
    (void)table->fdatasync(table, fd);
    (void)table->sync_dir(table, "/d");
    (void)put(fd, 2, SECTOR, 0);
    (void)table->lock(table, fd);
    process_sleep(NS_PER_S);
    return 0;
}

static void a_killed_process_leaves_the_cache_and_drops_its_locks(void **state)
{
    struct process *process = process_start(machine, "p", writer, NULL);
    int fd;

    (void)state;
    assert_true(world_run_until(NS_PER_MS));
    fd = make("/d/f");
    process_kill(process);
    assert_int_equal(get("/d/f", 0), 2);
    assert_int_equal(table->lock(table, fd), 0);
}

/* ---- syncs ---- */

static int syncing_fd;
static bool sync_has_ended;

static int slow_syncer(void *data)
{
    (void)data;
    syncing_fd = make("/d/f");
    (void)table->sync_dir(table, "/d");
    (void)table->fallocate(table, syncing_fd, 16 * SECTOR);
    (void)put(syncing_fd, 1, SECTOR, 0);
    (void)table->fdatasync(table, syncing_fd);
    sync_has_ended = true;
    process_sleep(NS_PER_S);
    return 0;
}

static void a_sync_covers_what_was_written_before_it_began(void **state)
{
    uint64_t bytes;
    const uint8_t *file;

    (void)state;
    *disk_manner(machine_disk(machine)) = (struct disk_manner){.sync_min_ns = NS_PER_MS, .sync_max_ns = NS_PER_MS};
    sync_has_ended = false;
    process_start(machine, "p", slow_syncer, NULL);
    assert_true(world_run_until(1500 * NS_PER_US));
    assert_false(sync_has_ended);
    assert_int_equal(put(syncing_fd, 2, SECTOR, 8 * SECTOR), 0); /* while it runs */
    assert_true(world_run_until(5 * NS_PER_MS));
    assert_true(sync_has_ended);
    file = disk_platter(machine_disk(machine), "/d/f", &bytes);
    assert_non_null(file);
    assert_int_equal(file[0], 1);
    assert_int_equal(bytes, 16 * SECTOR);
    assert_int_equal(file[8 * SECTOR], 0);
}

static void a_hung_disk_ends_its_syncs_when_it_is_well_again(void **state)
{
    (void)state;
    disk_manner(machine_disk(machine))->hung = true;
    sync_has_ended = false;
    process_start(machine, "p", slow_syncer, NULL);
    assert_true(world_run_until(NS_PER_S));
    assert_false(sync_has_ended);
    disk_manner(machine_disk(machine))->hung = false;
    assert_true(world_run_until(NS_PER_S + 50 * NS_PER_MS));
    assert_true(sync_has_ended);
}

/* ---- faults ---- */

static void a_failed_sync_leaves_pages_that_look_clean(void **state)
{
    unsigned lost = 0;

    (void)state;
    world_close();
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        int fd;

        begin_seed(seed);
        fd = make("/d/f");
        assert_int_equal(put(fd, 1, 4 * SECTOR, 0), 0);
        assert_int_equal(table->fdatasync(table, fd), 0);
        assert_int_equal(put(fd, 2, 4 * SECTOR, 0), 0);
        disk_fail_in(machine_disk(machine), DISK_SYNC, 1, -EIO);
        assert_int_equal(table->fdatasync(table, fd), -EIO);
        assert_true(disk_has_failed(machine_disk(machine), DISK_SYNC));
        assert_int_equal(table->fdatasync(table, fd), 0); /* which means nothing */
        assert_int_equal(get("/d/f", 0), 2);
        assert_int_equal(table->forget(table, fd, 0, 4 * SECTOR), 0);
        lost += get("/d/f", 0) == 1;
        if (seed != SEEDS) {
            world_close();
        }
    }
    assert_true(lost > 0 && lost < SEEDS);
}

static void the_nth_write_fails_and_no_other(void **state)
{
    int fd = make("/d/f");

    (void)state;
    disk_fail_in(machine_disk(machine), DISK_WRITE, 3, -EIO);
    assert_int_equal(put(fd, 1, 10, 0), 0);
    assert_int_equal(put(fd, 1, 10, 10), 0);
    assert_int_equal(put(fd, 1, 10, 20), -EIO);
    assert_int_equal(put(fd, 1, 10, 30), 0);
    assert_int_equal(get("/d/f", 25), 0);
    assert_int_equal(get("/d/f", 35), 1);
}

static void a_full_disk_refuses_what_makes_files_longer(void **state)
{
    int fd = make("/d/f");

    (void)state;
    disk_set_capacity(machine_disk(machine), 10000);
    assert_int_equal(table->fallocate(table, fd, 8000), 0);
    assert_int_equal(put(fd, 1, 8000, 0), 0);
    assert_int_equal(put(fd, 1, 4000, 8000), -ENOSPC);
    assert_int_equal(table->fallocate(table, fd, 20000), -ENOSPC);
    assert_int_equal(disk_used(machine_disk(machine)), 8000);
    disk_set_capacity(machine_disk(machine), 0);
    assert_int_equal(put(fd, 1, 4000, 8000), 0);
}

static void a_misdirected_sector_shows_when_the_cache_is_gone(void **state)
{
    unsigned wrong = 0;
    int fd = make("/d/f");

    (void)state;
    assert_int_equal(put(fd, 1, SECTORS * SECTOR, 0), 0);
    assert_int_equal(table->fdatasync(table, fd), 0);
    assert_int_equal(table->sync_dir(table, "/d"), 0);
    disk_manner(machine_disk(machine))->misdirect_ppm = PPM;
    assert_int_equal(put(fd, 2, SECTOR, 5 * SECTOR), 0);
    assert_int_equal(table->fdatasync(table, fd), 0);
    assert_int_equal(get("/d/f", 5 * SECTOR), 2);
    disk_manner(machine_disk(machine))->misdirect_ppm = 0;
    cut_power();
    for (unsigned s = 0; s < SECTORS; s++) {
        wrong += s != 5 && get("/d/f", s * SECTOR) == 2;
    }
    assert_int_equal(get("/d/f", 5 * SECTOR) == 2 ? 1 : wrong, 1);
    assert_int_equal(disk_stats(machine_disk(machine))->misdirected, 1);
}

static void a_flipped_bit_is_seen_at_once_and_stays(void **state)
{
    int fd = make("/d/f");

    (void)state;
    assert_int_equal(put(fd, 1, SECTOR, 0), 0);
    assert_int_equal(table->fdatasync(table, fd), 0);
    assert_int_equal(table->sync_dir(table, "/d"), 0);
    assert_int_equal(disk_flip(machine_disk(machine), "/d/f", 7, 0x80), 0);
    assert_int_equal(disk_flip(machine_disk(machine), "/d/f", SECTOR, 1), -ERANGE);
    assert_int_equal(disk_flip(machine_disk(machine), "/d/g", 0, 1), -ENOENT);
    assert_int_equal(get("/d/f", 7), 0x81);
    cut_power();
    assert_int_equal(get("/d/f", 7), 0x81);
    assert_int_equal(get("/d/f", 6), 1);
}

static void data_is_found_between_holes(void **state)
{
    int fd = make("/d/f");
    uint64_t to = 0;

    (void)state;
    assert_int_equal(table->fallocate(table, fd, SECTORS * SECTOR), 0);
    assert_int_equal(table->next_data(table, fd, 0, &to), -ENXIO);
    assert_int_equal(put(fd, 1, SECTOR, 3 * SECTOR), 0);
    assert_int_equal(table->next_data(table, fd, 0, &to), 3 * SECTOR);
    assert_int_equal(to, 4 * SECTOR);
    assert_int_equal(table->next_data(table, fd, 3 * SECTOR + 5, &to), 3 * SECTOR + 5);
    assert_int_equal(table->next_data(table, fd, 4 * SECTOR, &to), -ENXIO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(what_was_synced_outlives_the_power),
        TEST(what_was_not_synced_is_there_sector_by_sector_or_not),
        TEST(names_that_were_not_synced_may_be_gone),
        TEST(a_size_that_was_not_synced_may_be_gone_and_reads_as_zeros_if_not),
        TEST(a_killed_process_leaves_the_cache_and_drops_its_locks),
        TEST(a_sync_covers_what_was_written_before_it_began),
        TEST(a_hung_disk_ends_its_syncs_when_it_is_well_again),
        TEST(a_failed_sync_leaves_pages_that_look_clean),
        TEST(the_nth_write_fails_and_no_other),
        TEST(a_full_disk_refuses_what_makes_files_longer),
        TEST(a_misdirected_sector_shows_when_the_cache_is_gone),
        TEST(a_flipped_bit_is_seen_at_once_and_stays),
        TEST(data_is_found_between_holes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
