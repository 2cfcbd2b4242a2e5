#include "broker/state/retry_policy.h"

#include "remoting/base/assert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

#define MINUTE_MS 60000

struct numbers {
    bool exponential;
    bool growth; /* the numbers of EXPONENTIAL are there */
    int64_t initial_ms, max_ms, multiplier;
    bool steps; /* those of CUSTOMIZED are there */
    size_t n;
    int64_t next_ms[4];
};

static int64_t delay_ms(const struct numbers *numbers, int32_t attempt)
{
    Raftmq__RetryPolicy policy = RAFTMQ__RETRY_POLICY__INIT;
    Raftmq__ExponentialRetry growth = RAFTMQ__EXPONENTIAL_RETRY__INIT;
    Raftmq__CustomizedRetry steps = RAFTMQ__CUSTOMIZED_RETRY__INIT;

    policy.exponential = numbers->exponential;
    growth.initial_ms = numbers->initial_ms;
    growth.max_ms = numbers->max_ms;
    growth.multiplier = numbers->multiplier;
    policy.exponential_retry = numbers->growth ? &growth : NULL;
    steps.n_next_ms = numbers->n;
    steps.next_ms = (int64_t *)numbers->next_ms;
    policy.customized_retry = numbers->steps ? &steps : NULL;
    return retry_policy_delay_ms(&policy, attempt);
}

static void the_wait_follows_from_the_attempt(void **state)
{
#define DOUBLED .exponential = true, .growth = true, .initial_ms = 5000, .max_ms = 7200000, .multiplier = 2
#define STEPS .steps = true, .n = 4, .next_ms = { 100, 200, 300, 400 }
    static const struct {
        const char *why;
        struct numbers policy;
        int32_t attempt;
        int64_t want_ms;
    } cases[] = {
        {"the default begins at the third level", {0}, 0, 10000},
        {"and goes on level by level", {0}, 1, 30000},
        {"up to the last", {0}, 15, 120 * MINUTE_MS},
        {"and stays there", {0}, INT32_MAX, 120 * MINUTE_MS},
        {"an attempt below 0 is the first", {0}, INT32_MIN, 10000},
        {"own steps", {STEPS}, 0, 300},
        {"the last of them", {STEPS}, 1, 400},
        {"and on", {STEPS}, 2, 400},
        {"fewer steps than levels below the first retry", {.steps = true, .n = 1, .next_ms = {7}}, 0, 7},
        {"an empty list is none", {.steps = true}, 0, 10000},
        {"no wait is below 0", {.steps = true, .n = 3, .next_ms = {1, 2, -5}}, 0, 0},
        {"EXPONENTIAL without its numbers", {.exponential = true}, 0, 10000},
        {"EXPONENTIAL does not look at steps", {.exponential = true, STEPS}, 0, 10000},
        {"CUSTOMIZED does not grow", {.growth = true, .initial_ms = 5, .max_ms = 7, .multiplier = 2}, 0, 10000},
        {"the initial wait", {DOUBLED}, 0, 5000},
        {"grown", {DOUBLED}, 3, 40000},
        {"up to the maximum", {DOUBLED}, 11, 7200000},
        {"an attempt below 0 grows nothing", {DOUBLED}, INT32_MIN, 5000},
        {"more than 64 bits",
         {.exponential = true, .growth = true, .initial_ms = 5000, .max_ms = INT64_MAX, .multiplier = 1000},
         30,
         INT64_MAX},
        {"a multiplier of 0", {.exponential = true, .growth = true, .initial_ms = 5000, .max_ms = 7200000}, 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        assert_int_equal(delay_ms(&cases[i].policy, cases[i].attempt), cases[i].want_ms);
    }
    assert_int_equal(retry_policy_delay_ms(NULL, 0), 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_wait_follows_from_the_attempt)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
