#include "broker/flow/retention.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HOUR_MS 3600000ll
#define NOW (1000 * HOUR_MS)

/* Segments of 100 bytes; the last entry of each is @age_h[i] hours old. */
struct log {
    unsigned n;
    int64_t age_h[8];
};

static int segment(void *data, uint64_t pos, uint64_t *end_pos, int64_t *store_ms)
{
    const struct log *log = data;

    if (pos / 100 + 1 >= log->n) {
        return MQ_ENOTFOUND; /* the last one */
    }
    *end_pos = (pos / 100 + 1) * 100;
    *store_ms = NOW - log->age_h[pos / 100] * HOUR_MS;
    return 0;
}

static void the_log_begins_where_the_rules_say(void **state)
{
    static const struct retention_rules rules = {.reserved_ms = 72 * HOUR_MS,
                                                 .hours = 1u << 4,
                                                 .max_percent = 75,
                                                 .forced_percent = 85,
                                                 .forced = true,
                                                 .segments_max = 3};
    static const struct {
        const char *why;
        struct log log;
        unsigned hour;
        int used_percent;
        uint64_t start_pos, bytes_max;
        bool not_forced;
        uint64_t want;
        enum retention_cause cause;
    } cases[] = {
        {"nothing is old", {4, {70, 60, 50, 0}}, 4, 10, 0, 0, false, 0, RETENTION_NONE},
        {"two are old, at the hour", {4, {80, 73, 72, 0}}, 4, 10, 0, 0, false, 200, RETENTION_AGE},
        {"two are old, at another hour", {4, {80, 73, 72, 0}}, 5, 10, 0, 0, false, 0, RETENTION_NONE},
        {"another hour, but the disk fills", {4, {80, 73, 72, 0}}, 5, 76, 0, 0, false, 200, RETENTION_DISK},
        {"the disk is at its first bound", {4, {80, 73, 72, 0}}, 5, 75, 0, 0, false, 0, RETENTION_NONE},
        {"young, and the disk is above the second bound",
         {4, {1, 1, 1, 0}},
         5,
         86,
         0,
         0,
         false,
         100,
         RETENTION_FORCED},
        {"the same, not allowed", {4, {1, 1, 1, 0}}, 5, 86, 0, 0, true, 0, RETENTION_NONE},
        {"old ones first, then one that is young", {5, {80, 73, 1, 1, 0}}, 5, 90, 0, 0, false, 300, RETENTION_FORCED},
        {"the last segment stays", {1, {500}}, 4, 99, 0, 0, false, 0, RETENTION_NONE},
        {"not all at once", {7, {90, 90, 90, 90, 90, 90, 0}}, 4, 10, 0, 0, false, 300, RETENTION_AGE},
        {"from where it begins", {7, {90, 90, 90, 90, 90, 90, 0}}, 4, 10, 400, 0, false, 600, RETENTION_AGE},
        {"an unknown disk is not full", {4, {1, 1, 1, 0}}, 5, -1, 0, 0, false, 0, RETENTION_NONE},
        {"size", {5, {1, 1, 1, 1, 0}}, 5, 10, 0, 250, false, 200, RETENTION_SIZE},
        {"size that just fits", {5, {1, 1, 1, 1, 0}}, 5, 10, 0, 450, false, 0, RETENTION_NONE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct retention_rules r = rules;
        struct log log = cases[i].log;
        struct retention_view view = {.now_ms = NOW,
                                      .hour = cases[i].hour,
                                      .used_percent = cases[i].used_percent,
                                      .start_pos = cases[i].start_pos,
                                      .end_pos = cases[i].log.n * 100 - 50,
                                      .segment = segment,
                                      .data = &log};
        enum retention_cause cause;

        print_message("%s\n", cases[i].why);
        r.bytes_max = cases[i].bytes_max;
        r.forced = !cases[i].not_forced;
        assert_int_equal(retention_choose(&r, &view, &cause), cases[i].want);
        assert_int_equal(cause, cases[i].cause);
    }
}

struct told {
    unsigned rows;
    uint64_t messages;
};

static uint64_t first_of(void *data, const char *topic, int32_t queue_id)
{
    (void)data;
    return topic[0] == 't' ? 10u * (uint32_t)queue_id : 0;
}

static void each_loss(void *data, const struct offset_loss *loss)
{
    struct told *told = data;

    assert_string_equal(loss->topic, "t");
    told->rows++;
    told->messages += loss->messages;
}

static void groups_that_have_not_read_what_goes_are_found(void **state)
{
    struct offset_table table;
    struct offset_walk walk;
    struct told told = {0};

    (void)state;
    offset_table_init(&table);
    offset_walk_begin(&walk, &table);
    assert_false(offset_walk_step(&walk, first_of, each_loss, &told));
    assert_int_equal(offset_table_put(&table, MQ_STR("slow"), MQ_STR("t"), 1, 3), 0);
    assert_int_equal(offset_table_put(&table, MQ_STR("slow"), MQ_STR("t"), 2, 20), 0);
    assert_int_equal(offset_table_put(&table, MQ_STR("slow"), MQ_STR("other"), 1, 3), 0);
    assert_int_equal(offset_table_put(&table, MQ_STR("fast"), MQ_STR("t"), 1, 10), 0);
    assert_int_equal(offset_table_put(&table, MQ_STR("never"), MQ_STR("t"), 3, -1), 0);
    offset_walk_begin(&walk, &table);
    while (offset_walk_step(&walk, first_of, each_loss, &told)) {
    }
    assert_int_equal(told.rows, 2);
    assert_int_equal(told.messages, 7 + 30);
    offset_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_log_begins_where_the_rules_say),
        cmocka_unit_test(groups_that_have_not_read_what_goes_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
