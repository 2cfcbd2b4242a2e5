#include "tests/unit/raft-log/log_fixture.h"

#include "raft-log/log/entry_index.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define MANY 10000u

static uint64_t term_at(uint64_t i)
{
    return 1 + i / 777;
}

static void fill(struct entry_index *index, uint64_t n)
{
    while (index->last_index < n) {
        uint64_t i = index->last_index + 1;

        assert_int_equal(entry_index_reserve(index), 0);
        entry_index_append(index, i * 104, term_at(i));
    }
}

static void every_entry_has_its_position_and_term(void **state)
{
    struct entry_index index;

    (void)state;
    entry_index_init(&index);
    fill(&index, MANY);
    for (uint64_t i = 1; i <= MANY; i++) {
        assert_int_equal(entry_index_pos(&index, i), i * 104);
        assert_int_equal(entry_index_term(&index, i), term_at(i));
    }
    assert_int_equal(index.n_runs, MANY / 777 + 1);
    entry_index_fini(&index);
}

static void truncated_index_goes_on_with_other_entries(void **state)
{
    static const uint64_t cuts[] = {MANY, 9000, 8193, 8192, 4097, 4096, 778, 777, 776, 2, 1};
    struct entry_index index;

    (void)state;
    entry_index_init(&index);
    for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++) {
        fill(&index, MANY);
        entry_index_truncate(&index, cuts[k]);
        assert_int_equal(index.last_index, cuts[k] - 1);
        if (cuts[k] > 1) {
            assert_int_equal(entry_index_term(&index, cuts[k] - 1), term_at(cuts[k] - 1));
        }
        assert_int_equal(entry_index_reserve(&index), 0);
        entry_index_append(&index, 7, 100);
        assert_int_equal(entry_index_pos(&index, cuts[k]), 7);
        assert_int_equal(entry_index_term(&index, cuts[k]), 100);
        entry_index_truncate(&index, cuts[k]);
    }
    entry_index_truncate(&index, 5); /* nothing there */
    assert_int_equal(index.last_index, 0);
    entry_index_fini(&index);
}

static void missing_memory_changes_nothing(void **state)
{
    struct entry_index index;

    (void)state;
    entry_index_init(&index);
    for (unsigned nth = 1; nth <= 3; nth++) {
        mq_heap_fail_at(nth);
        assert_int_equal(entry_index_reserve(&index), MQ_ENOMEM);
        mq_heap_fail_at(0);
        assert_int_equal(index.last_index, 0);
        entry_index_fini(&index);
    }
    fill(&index, 1);
    entry_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_has_its_position_and_term),
        cmocka_unit_test(truncated_index_goes_on_with_other_entries),
        cmocka_unit_test(missing_memory_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
