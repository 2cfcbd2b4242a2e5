#include "broker/store/store.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct reader_result result;

static int read_queue(struct fixture *f, int32_t id, uint64_t qoff, uint32_t count_max, uint32_t bytes_max,
                      struct message_filter *filter)
{
    struct reader_request request = {.queue = fixture_queue(f, id),
                                     .qoff = qoff,
                                     .count_max = count_max,
                                     .bytes_max = bytes_max,
                                     .filter = filter};

    memset(&result, 0xA5, sizeof(result));
    return store_read(&f->store, &request, &result);
}

static struct message_filter *by_tags(const char *expression)
{
    struct message_filter *filter = NULL;
    struct proto_filter tags;

    assert_int_equal(proto_filter_parse(mq_str_of(expression), &tags), 0);
    assert_int_equal(message_filter_of_tags(&tags, &filter), 0);
    return filter;
}

static struct message_filter *by_sql(const char *expression)
{
    struct message_filter *filter = NULL;
    struct mq_buf problem = {0};

    assert_int_equal(message_filter_of_sql(mq_str_of(expression), &filter, &problem), 0);
    return filter;
}

static void drop(void)
{
    for (uint32_t i = 0; i < result.n_views; i++) {
        net_ref_release(result.views[i].ref);
    }
}

/* @n messages in queue 0, @per_entry of them in one entry. */
static void put_many(struct fixture *f, uint32_t n, uint32_t per_entry, uint32_t body_bytes, const char *tags)
{
    struct fixture_message messages[64];

    MQ_ASSERT(per_entry <= ARRAY_SIZE(messages) && n % per_entry == 0);
    for (uint32_t i = 0; i < per_entry; i++) {
        messages[i] = (struct fixture_message){.body_bytes = body_bytes, .tags = tags};
    }
    for (uint32_t i = 0; i < n; i += per_entry) {
        fixture_put(f, messages, per_entry);
    }
}

/* The views hold exactly the records @first, @first + 1, ... of a queue. */
static void expect_records(uint64_t first, uint32_t n)
{
    uint64_t bytes = 0;
    uint32_t seen = 0;

    for (uint32_t i = 0; i < result.n_views; i++) {
        const struct reader_view *view = &result.views[i];

        for (uint32_t at = 0; at < view->bytes;) {
            struct proto_record record;

            assert_int_equal(proto_record_decode(view->at + at, view->bytes - at, &record), 0);
            assert_int_equal(record.qoff, first + seen++);
            at += record.record_bytes;
        }
        bytes += view->bytes;
    }
    assert_int_equal(seen, n);
    assert_int_equal(result.records, n);
    assert_int_equal(result.bytes, bytes);
}

static void an_offset_outside_the_queue_is_told_what_comes_next(void **state)
{
    static const struct {
        const char *why;
        int32_t queue_id;
        uint64_t qoff;
        enum reader_status want;
        uint64_t next, min, max;
    } cases[] = {
        {"never had a message", 7, 0, READER_EMPTY, 0, 0, 0},
        {"never had a message, asked far ahead", 7, 55, READER_EMPTY, 0, 0, 0},
        {"at the end", 0, 10, READER_AT_END, 10, 4, 10},
        {"beyond the end", 0, 11, READER_BEYOND_END, 10, 4, 10},
        {"far beyond the end", 0, UINT64_MAX, READER_BEYOND_END, 10, 4, 10},
        {"below the beginning", 0, 3, READER_TOO_SMALL, 4, 4, 10},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_many(&f, 10, 1, 10, NULL);
    fixture_queue(&f, 0)->cq.min = 4;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(read_queue(&f, cases[i].queue_id, cases[i].qoff, 32, 262144, NULL), 0);
        assert_int_equal(result.status, cases[i].want);
        assert_int_equal(result.next, cases[i].next);
        assert_int_equal(result.min, cases[i].min);
        assert_int_equal(result.max, cases[i].max);
        assert_int_equal(result.n_views, 0);
        assert_int_equal(result.records, 0);
    }
    fixture_close(&f);
}

static void a_queue_that_nobody_made_is_empty(void **state)
{
    struct fixture f;
    struct reader_request request = {.qoff = 3, .count_max = 1, .bytes_max = 1};

    (void)state;
    fixture_open(&f, 1 << 20);
    assert_int_equal(store_read(&f.store, &request, &result), 0);
    assert_int_equal(result.status, READER_EMPTY);
    assert_int_equal(result.next, 0);
    fixture_close(&f);
}

static void records_of_one_entry_share_a_view(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_many(&f, 12, 4, 100, NULL);
    assert_int_equal(read_queue(&f, 0, 2, 8, 262144, NULL), 0);
    assert_int_equal(result.status, READER_FOUND);
    assert_int_equal(result.next, 10);
    assert_int_equal(result.n_views, 3); /* 2 and 3, 4 to 7, 8 and 9 */
    expect_records(2, 8);
    assert_int_equal(f.log->cold_calls, 0); /* near the end nobody asks */
    drop();
    fixture_close(&f);
}

static void records_of_other_queues_in_between_are_left_out(void **state)
{
    const struct fixture_message messages[] = {{.queue_id = 0}, {.queue_id = 1}, {.queue_id = 0}, {.queue_id = 0}};
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    fixture_put(&f, messages, 4);
    assert_int_equal(read_queue(&f, 0, 0, 32, 262144, NULL), 0);
    assert_int_equal(result.n_views, 2);
    expect_records(0, 3);
    drop();
    fixture_close(&f);
}

static void count_and_bytes_end_a_read_but_never_before_the_first_record(void **state)
{
    struct fixture f;
    uint32_t record_bytes;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_many(&f, 10, 1, 1000, NULL);
    assert_int_equal(read_queue(&f, 0, 0, 0, 1, NULL), 0);
    expect_records(0, 1);
    record_bytes = (uint32_t)result.bytes;
    drop();
    assert_int_equal(read_queue(&f, 0, 5, 3, 1 << 20, NULL), 0);
    expect_records(5, 3);
    assert_int_equal(result.next, 8);
    drop();
    assert_int_equal(read_queue(&f, 0, 0, 32, 3 * record_bytes, NULL), 0);
    expect_records(0, 3);
    drop();
    assert_int_equal(read_queue(&f, 0, 0, 32, 3 * record_bytes - 1, NULL), 0);
    expect_records(0, 2);
    assert_int_equal(result.next, 2);
    drop();
    fixture_close(&f);
}

static void a_filter_passes_by_and_moves_on(void **state)
{
    const struct fixture_message messages[] = {{.tags = "A"},  {.tags = "B"}, {.tags = "A"},
                                               {.tags = NULL}, {.tags = "B"}, {.tags = "C"}};
    struct message_filter *filter = by_tags("B || C");
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    fixture_put(&f, messages, 6);
    assert_int_equal(read_queue(&f, 0, 0, 2, 262144, filter), 0);
    assert_int_equal(result.status, READER_FOUND);
    assert_int_equal(result.records, 2);
    assert_int_equal(result.next, 5);
    drop();
    message_filter_release(filter);
    filter = by_tags("D");
    assert_int_equal(read_queue(&f, 0, 1, 32, 262144, filter), 0);
    assert_int_equal(result.status, READER_NO_MATCH);
    assert_int_equal(result.next, 6);
    assert_int_equal(result.n_views, 0);
    message_filter_release(filter);
    fixture_close(&f);
}

static void an_expression_looks_at_the_properties_of_each_record(void **state)
{
    static const struct {
        const char *expression;
        uint32_t records;
        uint64_t next;
    } cases[] = {
        {"TAGS = 'B'", 2, 6},
        {"TAGS IN ('B', 'C')", 3, 6},
        {"TAGS IS NULL", 1, 6},
        {"FALSE", 0, 6},
    };
    const struct fixture_message messages[] = {{.tags = "A"},  {.tags = "B"}, {.tags = "A"},
                                               {.tags = NULL}, {.tags = "B"}, {.tags = "C"}};
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    fixture_put(&f, messages, 6);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct message_filter *filter = by_sql(cases[i].expression);

        assert_int_equal(read_queue(&f, 0, 0, 32, 262144, filter), 0);
        assert_int_equal(result.records, cases[i].records);
        assert_int_equal(result.next, cases[i].next);
        assert_int_equal(result.status, cases[i].records != 0 ? READER_FOUND : READER_NO_MATCH);
        drop();
        message_filter_release(filter);
    }
    fixture_close(&f);
}

static void a_request_examines_800_units_or_as_many_as_it_asks_for(void **state)
{
    struct message_filter *filter = by_tags("B");
    struct fixture f;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_many(&f, 1280, 64, 0, "A");
    assert_int_equal(read_queue(&f, 0, 100, 32, 262144, filter), 0);
    assert_int_equal(result.status, READER_NO_MATCH);
    assert_int_equal(result.next, 900);
    assert_int_equal(read_queue(&f, 0, 100, 1000, 262144, filter), 0);
    assert_int_equal(result.next, 1100);
    assert_int_equal(read_queue(&f, 0, 700, 32, 262144, filter), 0);
    assert_int_equal(result.next, 1280);
    message_filter_release(filter);
    fixture_close(&f);
}

static void a_result_holds_no_more_views_than_it_has_room_for(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 4 << 20);
    put_many(&f, 1500, 1, 0, NULL);
    assert_int_equal(read_queue(&f, 0, 0, 1500, 10 << 20, NULL), 0);
    assert_true(result.n_views <= READER_VIEWS_MAX);
    expect_records(0, result.records);
    assert_int_equal(result.next, result.records);
    drop();
    fixture_close(&f);
}

static void records_that_the_log_no_longer_holds_are_passed_over(void **state)
{
    struct fixture f;
    struct consume_unit unit;

    (void)state;
    fixture_open(&f, 1 << 20);
    put_many(&f, 10, 1, 100, NULL);
    consume_queue_get(&fixture_queue(&f, 0)->cq, 6, &unit);
    f.log->start_pos = unit.pos;
    assert_int_equal(read_queue(&f, 0, 4, 32, 262144, NULL), 0);
    assert_int_equal(result.status, READER_FOUND);
    expect_records(6, 4);
    drop();
    assert_int_equal(read_queue(&f, 0, 0, 5, 262144, NULL), 0);
    assert_int_equal(result.status, READER_NO_MATCH);
    assert_int_equal(result.next, 5);
    fixture_close(&f);
}

static void on_warm(void *data)
{
    (*(int *)data)++;
}

/* A log of which the beginning is far behind the end, by telling so: the bytes in between are not there. */
static void open_far(struct fixture *f)
{
    fixture_open(f, 4 << 20);
    put_many(f, 64, 2, 1000, NULL);
    f->store.end_pos = 1u << 30;
}

static void cold_pages_are_read_on_the_pool_before_the_records_go_out(void **state)
{
    struct fixture f;
    struct reader_request request;
    int warmed = 0;

    (void)state;
    open_far(&f);
    f.log->cold_to = f.log->end_pos;
    assert_int_equal(read_queue(&f, 0, 10, 32, 262144, NULL), MQ_EAGAIN);
    assert_int_equal(f.log->view_ref.count, 1); /* nothing is held */
    request =
        (struct reader_request){.queue = fixture_queue(&f, 0), .qoff = 10, .count_max = 32, .bytes_max = 262144};
    assert_int_equal(store_warm(&f.store, &request, on_warm, &warmed), 0);
    assert_int_equal(warmed, 0);
    assert_true(f.log->view_ref.count > 1);
    uv_run(&f.loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(warmed, 1);
    assert_int_equal(f.log->view_ref.count, 1);
    /* What was touched counts as warm, so that nobody can go round in circles. */
    assert_int_equal(read_queue(&f, 0, 10, 32, 262144, NULL), 0);
    expect_records(10, 32);
    drop();
    fixture_close(&f);
}

static void whether_pages_are_in_memory_is_asked_once_for_a_stretch(void **state)
{
    struct fixture f;
    uint32_t asked;

    (void)state;
    open_far(&f);
    assert_int_equal(read_queue(&f, 0, 0, 64, 1 << 20, NULL), 0);
    expect_records(0, 64);
    drop();
    asked = f.log->cold_calls;
    assert_in_range(asked, 1, 2); /* 64 records of 1 KiB */
    assert_int_equal(read_queue(&f, 0, 0, 64, 1 << 20, NULL), 0);
    drop();
    assert_int_equal(f.log->cold_calls, asked);
    fixture_close(&f);
}

static void a_cold_neighbour_does_not_make_a_record_cold(void **state)
{
    struct consume_unit unit;
    struct fixture f;

    (void)state;
    open_far(&f);
    consume_queue_get(&fixture_queue(&f, 0)->cq, 20, &unit);
    f.log->cold_from = unit.pos;
    f.log->cold_to = unit.pos + unit.bytes;
    assert_int_equal(read_queue(&f, 0, 0, 20, 1 << 20, NULL), 0);
    expect_records(0, 20);
    drop();
    assert_int_equal(read_queue(&f, 0, 0, 21, 1 << 20, NULL), MQ_EAGAIN);
    fixture_close(&f);
}

static void warming_what_is_not_there_still_calls_back(void **state)
{
    struct fixture f;
    struct reader_request request = {.qoff = 99, .count_max = 1, .bytes_max = 1};
    int warmed = 0;

    (void)state;
    open_far(&f);
    assert_int_equal(store_warm(&f.store, &request, on_warm, &warmed), 0);
    request.queue = fixture_queue(&f, 0);
    assert_int_equal(store_warm(&f.store, &request, on_warm, &warmed), 0);
    uv_run(&f.loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(warmed, 2);
    mq_heap_fail_at(1);
    assert_int_equal(store_warm(&f.store, &request, on_warm, &warmed), MQ_ENOMEM);
    uv_run(&f.loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(warmed, 2);
    fixture_close(&f);
}

static void on_drained(void *data)
{
    int *warmed = data;

    assert_int_equal(*warmed, 2); /* behind their own callbacks */
    *warmed = 77;
}

static void an_orderly_end_waits_for_what_is_being_warmed(void **state)
{
    struct fixture f;
    struct reader_request request = {.count_max = 4, .bytes_max = 100000};
    int warmed = 0;

    (void)state;
    open_far(&f);
    request.queue = fixture_queue(&f, 0);
    assert_true(store_drain(&f.store, on_drained, &warmed));
    assert_int_equal(store_warm(&f.store, &request, on_warm, &warmed), 0);
    assert_int_equal(store_warm(&f.store, &request, on_warm, &warmed), 0);
    assert_false(store_drain(&f.store, on_drained, &warmed));
    uv_run(&f.loop.uv, UV_RUN_DEFAULT);
    assert_int_equal(warmed, 77);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_offset_outside_the_queue_is_told_what_comes_next),
        cmocka_unit_test(a_queue_that_nobody_made_is_empty),
        cmocka_unit_test(records_of_one_entry_share_a_view),
        cmocka_unit_test(records_of_other_queues_in_between_are_left_out),
        cmocka_unit_test(count_and_bytes_end_a_read_but_never_before_the_first_record),
        cmocka_unit_test(a_filter_passes_by_and_moves_on),
        cmocka_unit_test(an_expression_looks_at_the_properties_of_each_record),
        cmocka_unit_test(a_request_examines_800_units_or_as_many_as_it_asks_for),
        cmocka_unit_test(a_result_holds_no_more_views_than_it_has_room_for),
        cmocka_unit_test(records_that_the_log_no_longer_holds_are_passed_over),
        cmocka_unit_test(cold_pages_are_read_on_the_pool_before_the_records_go_out),
        cmocka_unit_test(whether_pages_are_in_memory_is_asked_once_for_a_stretch),
        cmocka_unit_test(a_cold_neighbour_does_not_make_a_record_cold),
        cmocka_unit_test(warming_what_is_not_there_still_calls_back),
        cmocka_unit_test(an_orderly_end_waits_for_what_is_being_warmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
