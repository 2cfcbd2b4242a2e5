#include "remoting/base/assert.h"
#include "remoting/base/heap.h"
#include "remoting/base/stats.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024u * 1024)

static struct mq_histogram h;

static int setup(void **state)
{
    (void)state;
    mq_histogram_init(&h);
    return 0;
}

static void an_empty_histogram_answers_zero(void **state)
{
    (void)state;
    assert_int_equal(mq_histogram_at(&h, 0.5), 0);
    assert_int_equal(h.max, 0);
}

static void one_value_is_every_quantile(void **state)
{
    static const double QUANTILES[] = {-1, 0, 0.001, 0.5, 0.999, 1, 2};

    (void)state;
    mq_histogram_add(&h, 123456789);
    for (size_t i = 0; i < ARRAY_SIZE(QUANTILES); i++) {
        assert_int_equal(mq_histogram_at(&h, QUANTILES[i]), 123456789);
    }
}

/* Adds @value and something larger, so that the maximum does not help, and asks for the lower one. */
static uint64_t read_back(uint64_t value)
{
    mq_histogram_init(&h);
    mq_histogram_add(&h, value);
    mq_histogram_add(&h, value * 2 + 2);
    return mq_histogram_at(&h, 0.5);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 256; value++) {
        assert_int_equal(read_back(value), value);
    }
}

static void every_value_comes_back_to_one_percent(void **state)
{
    (void)state;
    for (uint64_t value = 256; value <= (uint64_t)1 << 40; value += value / 77 + 1) {
        uint64_t got = read_back(value);

        assert_true(got >= value);
        assert_true(got - value <= value / 100);
    }
    for (unsigned bit = 8; bit <= 40; bit++) {
        for (int offset = -1; offset <= 1; offset++) {
            uint64_t value = ((uint64_t)1 << bit) + (uint64_t)(int64_t)offset;
            uint64_t got = read_back(value);

            assert_true(got >= value && got - value <= value / 100);
        }
    }
}

static void values_beyond_the_range_are_counted_and_the_maximum_is_exact(void **state)
{
    (void)state;
    mq_histogram_add(&h, 1);
    mq_histogram_add(&h, UINT64_MAX - 5);
    mq_histogram_add(&h, (uint64_t)1 << 50);
    assert_int_equal(h.total, 3);
    assert_int_equal(mq_histogram_at(&h, 0.33), 1);
    assert_true(mq_histogram_at(&h, 0.99) == UINT64_MAX - 5);
    assert_true(h.max == UINT64_MAX - 5);
}

static void quantiles_are_the_ranks_of_the_values(void **state)
{
    static const struct {
        double quantile;
        uint64_t want;
    } cases[] = {{0, 1}, {0.01, 1}, {0.011, 2}, {0.5, 50}, {0.501, 51}, {0.99, 99}, {0.999, 100}, {1, 100}};

    (void)state;
    for (uint64_t value = 100; value >= 1; value--) {
        mq_histogram_add(&h, value);
    }
    assert_int_equal(h.sum, 5050);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(mq_histogram_at(&h, cases[i].quantile), cases[i].want);
    }
}

static void memory_of_this_process_grows_by_what_it_touches(void **state)
{
    uint64_t anon_before, anon_after, resident_before, resident_after;
    char *block;

    (void)state;
    assert_int_equal(mq_process_memory((int)getpid(), &anon_before, &resident_before), 0);
    assert_true(anon_before > 0 && anon_before <= resident_before);
    block = malloc(32 * MIB);
    assert_non_null(block);
    memset(block, 1, 32 * MIB);
    assert_int_equal(mq_process_memory((int)getpid(), &anon_after, &resident_after), 0);
    assert_true(anon_after >= anon_before + 24 * MIB);
    assert_true(resident_after >= resident_before + 24 * MIB);
    free(block);
}

static void memory_of_a_process_that_is_gone_is_an_error(void **state)
{
    uint64_t anon = 7, resident = 7;
    pid_t child = fork();

    (void)state;
    if (child == 0) {
        _exit(0);
    }
    assert_int_equal(waitid(P_PID, (id_t)child, NULL, WEXITED | WNOWAIT), 0);
    assert_int_equal(mq_process_memory((int)child, &anon, &resident), -ESRCH); /* a zombie */
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(mq_process_memory((int)child, &anon, &resident), -ENOENT);
    assert_int_equal(anon, 7);
    assert_int_equal(resident, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_histogram_answers_zero, setup),
        cmocka_unit_test_setup(one_value_is_every_quantile, setup),
        cmocka_unit_test_setup(small_values_are_exact, setup),
        cmocka_unit_test_setup(every_value_comes_back_to_one_percent, setup),
        cmocka_unit_test_setup(values_beyond_the_range_are_counted_and_the_maximum_is_exact, setup),
        cmocka_unit_test_setup(quantiles_are_the_ranks_of_the_values, setup),
        cmocka_unit_test(memory_of_this_process_grows_by_what_it_touches),
        cmocka_unit_test(memory_of_a_process_that_is_gone_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
