#include "broker/store/consume_queue.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"
#include "tests/unit/broker/fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct consume_unit unit_of(uint64_t n)
{
    return (struct consume_unit){n * 1000 + 96, (uint32_t)(n % 5000 + 91), (int64_t)n * -3};
}

static _Atomic uint32_t maps;

static void open_queue(char dir[64], char path[96], struct consume_queue *cq)
{
    fixture_dir_make(dir);
    snprintf(path, 96, "%s/Orders/3", dir);
    consume_queue_init(cq, mq_strdup(path), CONSUME_QUEUE_FILE_UNITS, &maps);
    assert_non_null(cq->dir);
}

static void close_queue(const char *dir, struct consume_queue *cq)
{
    consume_queue_fini(cq);
    assert_int_equal(maps, 0);
    fixture_dir_remove(dir);
}

static void append_up_to(struct consume_queue *cq, uint64_t max)
{
    while (cq->max < max) {
        struct consume_unit unit = unit_of(cq->max);

        assert_int_equal(consume_queue_append(cq, &unit), 0);
    }
}

static off_t file_bytes(const char *path, const char *name)
{
    struct stat st;
    char file[160];

    snprintf(file, sizeof(file), "%s/%s", path, name);
    return stat(file, &st) == 0 ? st.st_size : -1;
}

static void units_come_back_as_they_were_appended_over_three_files(void **state)
{
    struct consume_queue cq;
    struct consume_unit got;
    char dir[64], path[96];

    (void)state;
    open_queue(dir, path, &cq);
    append_up_to(&cq, 2 * CONSUME_QUEUE_FILE_UNITS + 5);
    for (uint64_t i = 0; i < cq.max; i += i % 7 + 1) {
        struct consume_unit want = unit_of(i);

        consume_queue_get(&cq, i, &got);
        assert_true(got.pos == want.pos && got.bytes == want.bytes && got.tags_code == want.tags_code);
    }
    assert_int_equal(cq.n_files, 3);
    assert_int_equal(file_bytes(path, "00000000000000000000"), 6000000);
    assert_int_equal(file_bytes(path, "00000000000006000000"), 6000000);
    assert_int_equal(file_bytes(path, "00000000000012000000"), 6000000);
    close_queue(dir, &cq);
}

static void files_have_the_size_that_they_are_set_to(void **state)
{
    static const struct {
        uint32_t file_units;
        uint64_t units;
        off_t first;
    } cases[] = {{1, 3, 20},          {7, 8, 140},         {7, 700, 140},
                 {3276, 3277, 65520}, {3277, 3277, 65540}, {5000, 9999, 100000}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct consume_queue cq;
        struct consume_unit got;
        char dir[64], path[96], name[32];
        uint32_t last = (uint32_t)((cases[i].units - 1) / cases[i].file_units);

        fixture_dir_make(dir);
        snprintf(path, sizeof(path), "%s/Orders/3", dir);
        consume_queue_init(&cq, mq_strdup(path), cases[i].file_units, &maps);
        append_up_to(&cq, cases[i].units);
        assert_int_equal(cq.n_files, last + 1);
        assert_int_equal(file_bytes(path, "00000000000000000000"), cases[i].first);
        snprintf(name, sizeof(name), "%020u", last * cases[i].file_units * CONSUME_QUEUE_UNIT_BYTES);
        assert_int_equal(file_bytes(path, name), cases[i].file_units * CONSUME_QUEUE_UNIT_BYTES);
        assert_int_equal(consume_queue_let_go(&cq), last + 1);
        for (uint64_t k = 0; k < cq.max; k++) {
            consume_queue_get(&cq, k, &got);
            assert_int_equal(got.pos, unit_of(k).pos);
        }
        close_queue(dir, &cq);
    }
}

static void check_units(struct consume_queue *cq, uint64_t min, uint64_t max)
{
    struct consume_unit got;

    assert_int_equal(cq->min, min);
    assert_int_equal(cq->max, max);
    for (uint64_t i = min; i < max; i++) {
        consume_queue_get(cq, i, &got);
        assert_int_equal(got.pos, unit_of(i).pos);
    }
}

/* Also where the end is that of a file. */
static void a_queue_that_begins_at_its_end_grows_to_both_sides(void **state)
{
    static const struct {
        uint64_t end, down_to, up_to;
    } cases[] = {{7, 6, 7}, {7, 0, 8}, {14, 13, 30}, {14, 0, 15}, {8, 7, 8}, {13, 6, 14}, {1, 0, 7}, {21, 20, 21}};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct consume_queue cq;
        char dir[64], path[96];

        fixture_dir_make(dir);
        snprintf(path, sizeof(path), "%s/Orders/3", dir);
        consume_queue_init(&cq, mq_strdup(path), 7, &maps);
        assert_int_equal(consume_queue_reset(&cq, cases[i].end), 0);
        while (cq.min > cases[i].down_to) {
            struct consume_unit unit = unit_of(cq.min - 1);

            assert_int_equal(consume_queue_prepend(&cq, &unit), 0);
        }
        check_units(&cq, cases[i].down_to, cases[i].end);
        append_up_to(&cq, cases[i].up_to);
        check_units(&cq, cases[i].down_to, cases[i].up_to);
        close_queue(dir, &cq);
    }
}

static void nothing_is_on_disk_before_the_first_unit(void **state)
{
    struct consume_queue cq;
    char dir[64], path[96];

    (void)state;
    open_queue(dir, path, &cq);
    assert_false(mq_file_exists(path));
    append_up_to(&cq, 1);
    assert_int_equal(file_bytes(path, "00000000000000000000"), 64 << 10);
    close_queue(dir, &cq);
}

static void the_first_file_grows_by_doubling_up_to_its_full_length(void **state)
{
    static const struct {
        uint64_t units;
        off_t bytes;
    } cases[] = {{3276, 65536},    {3277, 131072},    {6554, 262144},    {13108, 524288},   {26215, 1048576},
                 {52429, 2097152}, {104858, 4194304}, {209715, 4194304}, {209716, 6000000}, {300000, 6000000}};
    struct consume_queue cq;
    char dir[64], path[96];

    (void)state;
    open_queue(dir, path, &cq);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        append_up_to(&cq, cases[i].units);
        assert_int_equal(file_bytes(path, "00000000000000000000"), cases[i].bytes);
    }
    close_queue(dir, &cq);
}

static void a_unit_is_20_big_endian_bytes_and_the_rest_of_the_file_is_zero(void **state)
{
    static const uint8_t want[40] = {
        0, 0, 0, 0, 0, 0, 0, 96, 0,    0,    0,    200,  0,    0,    0,    0,    0,    0x27, 0xA8, 0x07, /* TagA */
        0, 0, 1, 2, 3, 4, 5, 6,  0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x80, 0x00, 0x00, 0x00 /* negative */
    };
    static const struct consume_unit units[] = {{96, 200, 2598919}, {0x010203040506, INT32_MAX, INT32_MIN}};
    struct consume_queue cq;
    struct mq_buf file = {0};
    char dir[64], path[96], name[128];

    (void)state;
    open_queue(dir, path, &cq);
    assert_int_equal(consume_queue_append(&cq, &units[0]), 0);
    assert_int_equal(consume_queue_append(&cq, &units[1]), 0);
    snprintf(name, sizeof(name), "%s/%020d", path, 0);
    assert_int_equal(mq_file_read(name, 1 << 20, &file), 0);
    assert_memory_equal(file.base, want, sizeof(want));
    for (size_t i = sizeof(want); i < file.len; i++) {
        assert_int_equal(file.base[i], 0);
    }
    mq_buf_free(&file);
    close_queue(dir, &cq);
}

static void a_step_that_finds_no_space_is_an_error_and_appends_nothing(void **state)
{
    struct rlimit old, small;
    struct consume_queue cq;
    struct consume_unit unit = unit_of(3276), got;
    char dir[64], path[96];

    (void)state;
    open_queue(dir, path, &cq);
    append_up_to(&cq, 3276);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){100000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(consume_queue_append(&cq, &unit), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(cq.max, 3276);
    assert_int_equal(consume_queue_append(&cq, &unit), 0);
    consume_queue_get(&cq, 3276, &got);
    assert_int_equal(got.pos, unit.pos);
    close_queue(dir, &cq);
}

static void what_was_reserved_needs_no_more_space(void **state)
{
    static const struct {
        uint64_t max, end;
    } cases[] = {{0, 1},           {0, 3276},        {0, 3277},        {0, 300001},
                 {3000, 40000},    {3000, 3001},     {290000, 300000}, {290000, 300001},
                 {300000, 300001}, {299999, 900001}, {400000, 400001}};
    struct rlimit old, none;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = (struct rlimit){0, old.rlim_max};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct consume_queue cq;
        struct consume_unit got;
        char dir[64], path[96];

        open_queue(dir, path, &cq);
        append_up_to(&cq, cases[i].max);
        assert_int_equal(consume_queue_reserve(&cq, cases[i].end), 0);
        assert_int_equal(cq.max, cases[i].max);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        append_up_to(&cq, cases[i].end);
        assert_int_equal(consume_queue_reserve(&cq, cq.max), 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        for (uint64_t k = 0; k < cq.max; k += 1 + cq.max / 1000) {
            consume_queue_get(&cq, k, &got);
            assert_int_equal(got.pos, unit_of(k).pos);
        }
        close_queue(dir, &cq);
    }
}

static void a_reserve_that_finds_no_space_can_be_tried_again(void **state)
{
    struct rlimit old, small;
    struct consume_queue cq;
    char dir[64], path[96];

    (void)state;
    open_queue(dir, path, &cq);
    append_up_to(&cq, 3276);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){200000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(consume_queue_reserve(&cq, 300001), -EFBIG);
    assert_int_equal(consume_queue_reserve(&cq, 5000), 0);
    append_up_to(&cq, 5000);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(consume_queue_reserve(&cq, 300001), 0);
    append_up_to(&cq, 300001);
    close_queue(dir, &cq);
}

static void every_failing_allocation_is_an_error_and_can_be_tried_again(void **state)
{
    struct consume_unit unit = unit_of(0);
    struct consume_queue cq;
    char dir[64], path[96];
    unsigned failures = 0;

    (void)state;
    open_queue(dir, path, &cq);
    for (unsigned n = 1; cq.max == 0; n++) {
        int rc;

        mq_heap_fail_at(n);
        rc = consume_queue_append(&cq, &unit);
        mq_heap_fail_at(0);
        assert_true(rc == 0 || rc == MQ_ENOMEM);
        failures += rc != 0;
    }
    assert_true(failures >= 2);
    close_queue(dir, &cq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_come_back_as_they_were_appended_over_three_files),
        cmocka_unit_test(files_have_the_size_that_they_are_set_to),
        cmocka_unit_test(a_queue_that_begins_at_its_end_grows_to_both_sides),
        cmocka_unit_test(nothing_is_on_disk_before_the_first_unit),
        cmocka_unit_test(the_first_file_grows_by_doubling_up_to_its_full_length),
        cmocka_unit_test(a_unit_is_20_big_endian_bytes_and_the_rest_of_the_file_is_zero),
        cmocka_unit_test(a_step_that_finds_no_space_is_an_error_and_appends_nothing),
        cmocka_unit_test(what_was_reserved_needs_no_more_space),
        cmocka_unit_test(a_reserve_that_finds_no_space_can_be_tried_again),
        cmocka_unit_test(every_failing_allocation_is_an_error_and_can_be_tried_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
