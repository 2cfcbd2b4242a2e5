/* What properties ask for, and what becomes of the record. */
#include "broker/flow/delayed.h"

#include "broker/state/pending_table.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW INT64_C(1700000000500)

static const int64_t levels_ms[] = {1000, 5000, 10000};
static const struct delayed_rules rules = {
    .level_ms = levels_ms, .levels = 3, .timers = true, .timer_max_ms = 259200000};

static void properties_ask_for_what_the_original_reads_in_them(void **state)
{
    static const struct {
        const char *why, *properties;
        int64_t due_ms, out_ms;
        uint32_t level;
    } cases[] = {
        {"nothing", "", 0, 0, 0},
        {"other properties", "KEYS\001k\002TAGS\001t\002DELAYED\0011\002TIMER\0015\002", 0, 0, 0},
        {"a level", "DELAY\0012\002", NOW + 5000, 0, 2},
        {"a level above the last", "DELAY\00199\002", NOW + 10000, 0, 3},
        {"no level", "DELAY\0010\002", 0, 0, 0},
        {"a level below", "DELAY\001-1\002", 0, 0, 0},
        {"the last of two", "DELAY\0011\002DELAY\0013\002", NOW + 10000, 0, 3},
        {"a level goes before a time", "TIMER_DELAY_SEC\00160\002DELAY\0011\002", NOW + 1000, 0, 1},
        {"seconds", "TIMER_DELAY_SEC\0017\002", NOW + 7000, 1700000007000, 0},
        {"seconds go before milliseconds", "TIMER_DELAY_MS\0011\002TIMER_DELAY_SEC\0017\002", NOW + 7000,
         1700000007000, 0},
        {"milliseconds", "TIMER_DELAY_MS\0011\002", NOW + 1, 1700000000000, 0},
        {"milliseconds go before a time", "TIMER_DELIVER_MS\0011700000009000\002TIMER_DELAY_MS\0011\002", NOW + 1,
         1700000000000, 0},
        {"a time", "TIMER_DELIVER_MS\0011700000001234\002", 1700000001234, 1700000001000, 0},
        {"a whole second is rounded to the one before", "TIMER_DELIVER_MS\0011700000002000\002", 1700000002000,
         1700000001000, 0},
        {"a time that has come", "TIMER_DELIVER_MS\0011700000000500\002", 0, 0, 0},
        {"a time in the past", "TIMER_DELIVER_MS\001-5\002", 0, 0, 0},
        {"a delay that is none", "TIMER_DELAY_SEC\0010\002", 0, 0, 0},
        {"a delay below zero", "TIMER_DELAY_MS\001-9223372036854775808\002", 0, 0, 0},
        {"as far as may be", "TIMER_DELAY_SEC\001259200\002", NOW + 259200000, 1700259200000, 0},
        {"with a plus", "TIMER_DELAY_MS\001+2\002", NOW + 2, 1700000000000, 0},
        {"it has waited before", "TIMER_DELAY_SEC\0017\002TIMER_OUT_MS\0011\002", 0, 0, 0},
        {"a level although it has waited before", "DELAY\0011\002TIMER_OUT_MS\0011\002", NOW + 1000, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct delayed_plan plan;
        const char *why;

        print_message("%s\n", cases[i].why);
        assert_int_equal(delayed_plan(&rules, mq_str_of(cases[i].properties), NOW, &plan, &why), 0);
        assert_int_equal(plan.due_ms, cases[i].due_ms);
        assert_int_equal(plan.timer_out_ms, cases[i].out_ms);
        assert_int_equal(plan.level, cases[i].level);
    }
}

static void what_cannot_be_is_refused_with_its_value_and_the_limit(void **state)
{
    static const struct {
        const char *properties, *remark;
    } cases[] = {
        {"DELAY\001x\002", "DELAY \"x\" is not a number"},
        {"DELAY\0012147483648\002", "2147483648"},
        {"TIMER_DELAY_SEC\0011.5\002", "TIMER_DELAY_SEC \"1.5\" is not a number"},
        {"TIMER_DELAY_MS\001 1\002", "TIMER_DELAY_MS \" 1\" is not a number"},
        {"TIMER_DELIVER_MS\00199999999999999999999\002", "is not a number"},
        {"TIMER_DELAY_SEC\001259201\002", "259201\" is further ahead than timerMaxDelaySec 259200"},
        {"TIMER_DELAY_SEC\0019223372036854775807\002", "timerMaxDelaySec 259200"},
        {"TIMER_DELAY_MS\0019223372036854775807\002", "timerMaxDelaySec 259200"},
        {"TIMER_DELIVER_MS\0019223372036854775807\002", "timerMaxDelaySec 259200"},
        {"TIMER_DELAY_MS\001"
         "0123456789012345678901234567890123456789012345678901234567890123456789"
         "\002",
         "\"0123456789012345678901234567890123456789\" is"},
    };
    struct delayed_rules off = rules;
    struct delayed_plan plan;
    const char *why = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(delayed_plan(&rules, mq_str_of(cases[i].properties), NOW, &plan, &why), MQ_EINVAL);
        print_message("%s\n", why);
        assert_non_null(strstr(why, cases[i].remark));
    }
    off.timers = false;
    assert_int_equal(delayed_plan(&off, MQ_STR("TIMER_DELAY_MS\0015\002"), NOW, &plan, &why), MQ_EUNSUPPORTED);
    assert_non_null(strstr(why, "timerWheelEnable"));
    assert_int_equal(delayed_plan(&off, MQ_STR("DELAY\0011\002"), NOW, &plan, &why), 0);
}

static void a_level_of_the_brokers_own_is_bounded_by_those_there_are(void **state)
{
    const struct delayed_rules none = {.timers = true};
    struct delayed_plan plan;

    (void)state;
    delayed_plan_level(&rules, 0, NOW, &plan);
    assert_int_equal(plan.due_ms, 0);
    delayed_plan_level(&rules, -3, NOW, &plan);
    assert_int_equal(plan.due_ms, 0);
    delayed_plan_level(&rules, 3, NOW, &plan);
    assert_int_equal(plan.due_ms, NOW + 10000);
    delayed_plan_level(&rules, INT32_MAX, NOW, &plan);
    assert_int_equal(plan.level, 3);
    delayed_plan_level(&none, 3, NOW, &plan);
    assert_int_equal(plan.due_ms, 0);
}

/* The store's properties as text. */
static const char *properties_of(const struct delayed_store *store)
{
    static char text[512];
    int n = 0;

    for (uint32_t i = 0; i < store->n_put; i++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, MQ_STR_FMT "=" MQ_STR_FMT ";",
                      MQ_STR_ARG(store->put[i].name), MQ_STR_ARG(store->put[i].value));
    }
    return text;
}

static void a_message_that_waits_lies_under_another_topic_and_names_its_own(void **state)
{
    struct delayed_plan plan;
    struct delayed_store store;
    const char *why;

    (void)state;
    delayed_plan_level(&rules, 2, NOW, &plan);
    delayed_store_make(&store, &rules, &plan, MQ_STR("Orders"), 3, MQ_STR("U1"));
    assert_true(mq_str_eq(store.topic, MQ_STR("SCHEDULE_TOPIC_XXXX")));
    assert_int_equal(store.queue_id, 1);
    assert_int_equal(store.queues, 18);
    assert_int_equal(store.due_ms, NOW + 5000);
    assert_string_equal(properties_of(&store), "REAL_TOPIC=Orders;REAL_QID=3;DELAY=2;");
    assert_int_equal(store.n_drop, 3);
    assert_int_equal(store.item.due_ms, NOW + 5000);
    assert_int_equal(store.item.kind, PENDING_LEVEL);
    assert_int_equal(store.item.key_hash, pending_key_hash(MQ_STR("Orders"), MQ_STR("U1")));

    assert_int_equal(delayed_plan(&rules, MQ_STR("TIMER_DELAY_SEC\0017\002"), NOW, &plan, &why), 0);
    delayed_store_make(&store, &rules, &plan, MQ_STR("Orders"), 0, MQ_STR("U1"));
    assert_true(mq_str_eq(store.topic, MQ_STR("rmq_sys_wheel_timer")));
    assert_int_equal(store.queue_id, 0);
    assert_string_equal(properties_of(&store), "REAL_TOPIC=Orders;REAL_QID=0;TIMER_OUT_MS=1700000007000;");
    assert_int_equal(store.n_drop, 0);
    assert_int_equal(store.item.kind, PENDING_TIMER);
    assert_true(delayed_is_asked(MQ_STR("TIMER_DELIVER_MS\0011\002")));
    assert_true(delayed_is_asked(MQ_STR("DELAY\001x\002")));
    assert_false(delayed_is_asked(MQ_STR("DELAY\0010\002TAGS\001t\002")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_ask_for_what_the_original_reads_in_them),
        cmocka_unit_test(what_cannot_be_is_refused_with_its_value_and_the_limit),
        cmocka_unit_test(a_level_of_the_brokers_own_is_bounded_by_those_there_are),
        cmocka_unit_test(a_message_that_waits_lies_under_another_topic_and_names_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
