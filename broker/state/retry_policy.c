#include "broker/state/retry_policy.h"

#include "remoting/base/assert.h"

#include <stdbool.h>
#include <stddef.h>

#define SECOND_MS INT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)

#define EXPONENT_MAX 32 /* of the growth: later attempts wait as long */
#define FIRST_STEP 2    /* the steps are delay levels, and the first retry is at level 3 */

static const int64_t STEPS[] = {1 * SECOND_MS,  5 * SECOND_MS, 10 * SECOND_MS, 30 * SECOND_MS, 1 * MINUTE_MS,
                                2 * MINUTE_MS,  3 * MINUTE_MS, 4 * MINUTE_MS,  5 * MINUTE_MS,  6 * MINUTE_MS,
                                7 * MINUTE_MS,  8 * MINUTE_MS, 9 * MINUTE_MS,  10 * MINUTE_MS, 20 * MINUTE_MS,
                                30 * MINUTE_MS, 1 * HOUR_MS,   2 * HOUR_MS};

/* The initial wait times the multiplier to the power of @attempt, up to the maximum. */
static int64_t grown_ms(const Raftmq__ExponentialRetry *retry, int32_t attempt)
{
    int32_t exponent = attempt < EXPONENT_MAX ? attempt : EXPONENT_MAX;
    int64_t delay_ms = retry->initial_ms;

    for (int32_t i = 0; i < exponent && delay_ms > 0; i++) {
        if (__builtin_mul_overflow(delay_ms, retry->multiplier, &delay_ms)) {
            return retry->max_ms;
        }
    }
    return delay_ms < retry->max_ms ? delay_ms : retry->max_ms;
}

static int64_t step_ms(const int64_t *steps, size_t n, int32_t attempt)
{
    size_t step = (size_t)attempt + FIRST_STEP;

    return steps[step < n ? step : n - 1];
}

int64_t retry_policy_delay_ms(const Raftmq__RetryPolicy *policy, int32_t attempt)
{
    bool exponential = policy != NULL && policy->exponential;
    int64_t delay_ms;

    attempt = attempt > 0 ? attempt : 0;
    if (exponential && policy->exponential_retry != NULL) {
        delay_ms = grown_ms(policy->exponential_retry, attempt);
    } else if (policy != NULL && !exponential && policy->customized_retry != NULL &&
               policy->customized_retry->n_next_ms != 0) {
        delay_ms = step_ms(policy->customized_retry->next_ms, policy->customized_retry->n_next_ms, attempt);
    } else {
        delay_ms = step_ms(STEPS, ARRAY_SIZE(STEPS), attempt);
    }
    return delay_ms > 0 ? delay_ms : 0;
}
