/* Old entries' bytes on their way to the disk: where they end up, and by which way. */
#include "tests/unit/raft-log/log_fixture.h"
#include "tests/unit/raft-log/mem_disk.h"

#include "raft-log/log/put_stage.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT (3u * PUT_STAGE_BYTES)
#define FIRST_POS ((uint64_t)7 * SEGMENT)
#define THERE 0xEE /* what the segment held before */

struct test {
    struct mem_disk *disk;
    struct segment *segment;
    struct put_stage stage;
    uint8_t *bytes; /* that are put */
    uint8_t *file;  /* borrowed: the segment's */
};

static struct test *new_test(void)
{
    struct test *t = calloc(1, sizeof(*t));
    char name[64];
    uint64_t size;

    t->disk = mem_disk_new(SEGMENT);
    assert_int_equal(segment_make(&t->disk->table, "/m", FIRST_POS, SEGMENT, &t->segment), 0);
    (void)snprintf(name, sizeof(name), "/m/%s", t->segment->name);
    t->file = mem_disk_file(t->disk, name, &size);
    assert_non_null(t->file);
    assert_int_equal(size, SEGMENT);
    memset(t->file, THERE, SEGMENT);
    t->bytes = malloc(SEGMENT);
    for (uint32_t i = 0; i < SEGMENT; i++) {
        t->bytes[i] = (uint8_t)(i * 2654435761u >> 24);
    }
    assert_int_equal(put_stage_open(&t->stage), 0);
    return t;
}

static void end_test(struct test *t)
{
    put_stage_fini(&t->stage);
    net_ref_release(&t->segment->ref);
    mem_disk_free(t->disk);
    free(t->bytes);
    free(t);
}

/* @n bytes at @at of the segment, @step of them at a time. */
static void put_bytes(struct test *t, uint32_t at, uint32_t n, uint32_t step)
{
    for (uint32_t done = 0; done < n;) {
        uint32_t want = n - done < step ? n - done : step;
        uint32_t took = put_stage_add(&t->stage, FIRST_POS + at + done, t->bytes + at + done, want);

        assert_true(took <= want);
        done += took;
        if (took < want) {
            put_stage_write(&t->stage, "/m", t->segment);
        }
    }
    if (t->stage.n != 0) {
        put_stage_write(&t->stage, "/m", t->segment);
    }
    put_stage_await(&t->stage);
}

static void must_hold(const struct test *t, uint32_t at, uint32_t n)
{
    assert_memory_equal(t->file + at, t->bytes + at, n);
    for (uint32_t i = at > 9000 ? at - 9000 : 0; i < at; i++) {
        assert_int_equal(t->file[i], THERE);
    }
    for (uint32_t i = at + n; i < SEGMENT && i < at + n + 9000; i++) {
        assert_int_equal(t->file[i], THERE);
    }
}

static void bytes_land_where_they_belong_and_touch_no_others(void **state)
{
    static const struct {
        const char *why;
        uint32_t at, n, step;
        unsigned direct_writes;
    } cases[] = {
        {"less than a page", 4096 * 5 + 100, 200, 8, 0},
        {"parts of two pages", 4096 * 5 + 4000, 200, 200, 0},
        {"one page", 4096 * 5, 4096, 1000, 1},
        {"a page and parts of its neighbours", 4096 * 5 - 8, 4096 + 16, 4112, 1},
        {"whole pages from the segment's beginning", 0, 4096 * 10, 96, 1},
        {"up to the segment's end", SEGMENT - 10000, 10000, 10000, 1},
        {"exactly what it holds", 0, PUT_STAGE_BYTES, 65536, 1},
        {"more than it holds", 104, PUT_STAGE_BYTES + 30000, 65544, 2},
        {"all of a segment in one piece", 0, SEGMENT, SEGMENT, 3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct test *t = new_test();

        print_message("%s\n", cases[i].why);
        put_bytes(t, cases[i].at, cases[i].n, cases[i].step);
        must_hold(t, cases[i].at, cases[i].n);
        assert_int_equal(t->disk->direct_writes, cases[i].direct_writes);
        assert_ptr_equal(t->stage.segment, t->segment);
        put_stage_sync(&t->stage);
        assert_null(t->stage.segment);
        end_test(t);
    }
}

static void pieces_that_meet_in_a_page_keep_each_other(void **state)
{
    struct test *t = new_test();
    uint32_t end = 300000, random = 1, at = end;

    (void)state;
    while (at > 100000) { /* each in front of the one before, as back-fill goes */
        uint32_t n;

        random = random * 1664525u + 1013904223u;
        n = 8 + random % 20000 / 8 * 8;
        at -= n;
        put_bytes(t, at, n, n);
        must_hold(t, at, end - at);
        if (random % 3 == 0) {
            put_stage_sync(&t->stage);
        }
    }
    assert_true(t->disk->direct_writes > 5);
    end_test(t);
}

static void a_file_system_that_needs_the_cache_gets_all_of_it_there(void **state)
{
    struct test *t = new_test();

    (void)state;
    t->disk->no_direct = true;
    put_bytes(t, 100, 50000, 50000);
    must_hold(t, 100, 50000);
    assert_false(t->stage.direct);
    put_bytes(t, 50100, 50000, 50000);
    must_hold(t, 100, 100000);
    assert_int_equal(t->disk->direct_writes, 0);
    end_test(t);
}

static void what_was_synced_survives_a_power_cut(void **state)
{
    struct test *t = new_test();
    size_t unsynced[8];

    (void)state;
    put_bytes(t, 104, 50000, 50000);
    assert_int_equal(mem_disk_unsynced(t->disk, mem_disk_now(t->disk), unsynced, 8), 3); /* pages and both ends */
    put_stage_sync(&t->stage);
    assert_int_equal(mem_disk_unsynced(t->disk, mem_disk_now(t->disk), unsynced, 8), 0);
    end_test(t);
}

static void what_is_void_is_forgotten_also_when_its_segment_is_gone(void **state)
{
    struct test *t = new_test();

    (void)state;
    put_bytes(t, 0, 8192, 8192);
    assert_true(t->stage.direct);
    assert_int_equal(put_stage_add(&t->stage, FIRST_POS, t->bytes, 100), 100);
    net_ref_release(&t->segment->ref);
    put_stage_forget(&t->stage);
    assert_null(t->stage.segment);
    assert_int_equal(t->stage.n, 0);
    assert_int_equal(segment_open(&t->disk->table, "/m", FIRST_POS, SEGMENT, &t->segment, &(struct mq_buf){0}), 0);
    end_test(t);
}

static void it_needs_memory(void **state)
{
    struct put_stage stage = {0};

    (void)state;
    mq_heap_fail_at(1);
    assert_int_equal(put_stage_open(&stage), MQ_ENOMEM);
    mq_heap_fail_at(0);
    put_stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_land_where_they_belong_and_touch_no_others),
        cmocka_unit_test(pieces_that_meet_in_a_page_keep_each_other),
        cmocka_unit_test(a_file_system_that_needs_the_cache_gets_all_of_it_there),
        cmocka_unit_test(what_was_synced_survives_a_power_cut),
        cmocka_unit_test(what_is_void_is_forgotten_also_when_its_segment_is_gone),
        cmocka_unit_test(it_needs_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
