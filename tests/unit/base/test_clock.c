#include "remoting/base/assert.h"
#include "remoting/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

static void the_monotonic_clock_does_not_go_back(void **state)
{
    uint64_t last_ns = mq_clock_mono_ns();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        uint64_t now_ns = mq_clock_mono_ns();

        assert_true(now_ns >= last_ns);
        last_ns = now_ns;
    }
    assert_true(mq_clock_mono_ms() >= last_ns / 1000000);
}

static void the_wall_clock_counts_milliseconds_since_1970(void **state)
{
    int64_t before_s = (int64_t)time(NULL);
    int64_t now_ms = mq_clock_wall_ms();

    (void)state;
    /* time() may lag the precise clock by a tick. */
    assert_true(now_ms >= before_s * 1000);
    assert_true(now_ms / 1000 <= (int64_t)time(NULL) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_does_not_go_back),
        cmocka_unit_test(the_wall_clock_counts_milliseconds_since_1970),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
