#include "broker/store/store.h"
#include "broker/store/time_search.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Of records that are in memory. */
static uint64_t offset_by_time(struct fixture *f, struct queue *queue, int64_t time_ms, bool upper)
{
    struct time_search search = {.store = &f->store, .queue = queue, .time_ms = time_ms, .upper = upper};

    assert_int_equal(time_search_start(&search), 0);
    return search.found;
}

static void put_at(struct fixture *f, int64_t store_ms, bool born_v6)
{
    fixture_put(f, &(struct fixture_message){.store_ms = store_ms, .body_bytes = 9, .born_v6 = born_v6}, 1);
}

static void search_by_time_follows_the_table_of_cases(void **state)
{
    static const struct {
        const char *why;
        int64_t time_ms;
        uint64_t lower, upper;
    } cases[] = {
        {"all are later", 5, 0, 0},
        {"equal to the first", 10, 0, 0},
        {"between two", 15, 1, 0},
        {"equal to several", 20, 1, 3},
        {"between two, later", 25, 4, 3},
        {"equal to the last", 30, 4, 4},
        {"all are earlier", 31, 5, 4},
        {"the end of time", INT64_MAX, 5, 4},
        {"the beginning of time", INT64_MIN, 0, 0},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_at(&f, 10, false);
    put_at(&f, 20, true); /* its store time lies 12 bytes further behind */
    put_at(&f, 20, false);
    put_at(&f, 20, false);
    put_at(&f, 30, false);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(offset_by_time(&f, fixture_queue(&f, 0), cases[i].time_ms, false), cases[i].lower);
        assert_int_equal(offset_by_time(&f, fixture_queue(&f, 0), cases[i].time_ms, true), cases[i].upper);
    }
    assert_int_equal(offset_by_time(&f, fixture_queue(&f, 1), 20, false), 0);
    assert_int_equal(offset_by_time(&f, fixture_queue(&f, 1), 20, true), 0);
    assert_int_equal(offset_by_time(&f, NULL, 20, false), 0);
    fixture_close(&f);
}

static void the_store_time_of_a_message_or_minus_one(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_at(&f, 1700000000123, true);
    assert_int_equal(store_time_of(&f.store, fixture_queue(&f, 0), 0), 1700000000123);
    assert_int_equal(store_time_of(&f.store, fixture_queue(&f, 0), 1), -1);
    assert_int_equal(store_time_of(&f.store, NULL, 0), -1);
    f.log->start_pos = f.log->end_pos;
    assert_int_equal(store_time_of(&f.store, fixture_queue(&f, 0), 0), -1);
    fixture_close(&f);
}

static void a_record_is_found_at_its_own_position_only(void **state)
{
    struct fixture f;
    struct reader_view view;
    uint64_t pos;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_at(&f, 1, false);
    pos = fixture_put(&f, &(struct fixture_message){.queue_id = 3, .body_bytes = 300}, 1);
    put_at(&f, 2, false);
    assert_int_equal(store_record_at(&f.store, pos, &view), 0);
    assert_int_equal(view.bytes, mq_be32_load(view.at));
    net_ref_release(view.ref);
    for (uint64_t at = 0; at < f.log->end_pos + 200; at++) {
        int rc = store_record_at(&f.store, at, &view);

        assert_true(rc == 0 || rc == MQ_ENOTFOUND);
        if (rc == 0) {
            assert_int_equal(mq_be64_load(view.at + PROTO_RECORD_POS_AT), at);
            net_ref_release(view.ref);
        }
    }
    assert_int_equal(store_record_at(&f.store, UINT64_MAX, &view), MQ_ENOTFOUND);
    fixture_close(&f);
}

static void a_record_forged_inside_a_body_is_not_taken_for_one(void **state)
{
    struct fixture_message outer = {.body_bytes = 400}, inner = {.body_bytes = 3};
    uint8_t payload[1024];
    struct fixture f;
    struct reader_view view;
    uint64_t pos;
    uint32_t bytes;

    (void)state;
    fixture_open(&f, 1 << 20);
    pos = rlog_place(f.log, 0);
    bytes = fixture_record(&outer, payload);
    fixture_set_pos(payload, pos);
    fixture_record(&inner, payload + 88 + 8); /* behind the fixed fields, in the body: sender's own bytes */
    fixture_set_pos(payload + 88 + 8, pos + 88 + 8);
    fake_log_append(f.log, payload, bytes, 1, 0, 1);
    assert_int_equal(store_record_at(&f.store, pos + 88 + 8, &view), MQ_ENOTFOUND);
    assert_int_equal(store_record_at(&f.store, pos, &view), 0);
    net_ref_release(view.ref);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_by_time_follows_the_table_of_cases),
        cmocka_unit_test(the_store_time_of_a_message_or_minus_one),
        cmocka_unit_test(a_record_is_found_at_its_own_position_only),
        cmocka_unit_test(a_record_forged_inside_a_body_is_not_taken_for_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
