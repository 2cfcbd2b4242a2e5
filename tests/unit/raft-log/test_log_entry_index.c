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

/* --- both ends ---------------------------------------------------------------------------------------------- */

#define MODEL_MAX 40000u

static bool is_change(uint64_t i)
{
    return i % 1000 == 3;
}

static void must_agree(const struct entry_index *index, uint64_t first, uint64_t last)
{
    assert_int_equal(index->first_index, first);
    assert_int_equal(index->last_index, last);
    for (uint64_t i = first; i <= last; i += 1 + (last - first) / 300) {
        uint64_t change = i - (i + 997) % 1000;

        assert_int_equal(entry_index_pos(index, i), i * 104);
        assert_int_equal(entry_index_term(index, i), term_at(i));
        assert_int_equal(entry_index_from_pos(index, i * 104 - 1), i);
        assert_int_equal(entry_index_change_before(index, i), change >= first && change <= i ? change : 0);
    }
    assert_int_equal(entry_index_from_pos(index, UINT64_MAX), last + 1);
}

static void index_grows_and_shrinks_at_both_ends(void **state)
{
    uint64_t random = 20240131, first = 20001, last = 20000;
    struct entry_index index;

    (void)state;
    entry_index_init(&index);
    entry_index_begin(&index, last);
    for (unsigned step = 0; step < 400; step++) {
        uint64_t n = (random = random * 6364136223846793005u + 1442695040888963407u) >> 33;

        switch (n % 4) {
        case 0:
            n %= 3000;
            for (uint64_t i = 0; i < n && last < MODEL_MAX; i++) {
                assert_int_equal(entry_index_reserve(&index), 0);
                last++;
                entry_index_append(&index, last * 104, term_at(last));
                if (is_change(last)) {
                    entry_index_note_change(&index);
                }
            }
            break;
        case 1:
            n = 1 + n % 3000;
            n = n < first ? n : first - 1;
            if (n != 0) {
                assert_int_equal(entry_index_promise(&index, n, term_at(first) - term_at(first - n) + 1), 0);
                assert_int_equal(entry_index_reserve(&index), 0); /* an append in between */
                for (; n != 0; n--) {
                    first--;
                    entry_index_prepend(&index, first * 104, term_at(first), is_change(first));
                }
                entry_index_promise_end(&index);
            }
            break;
        case 2:
            first += n % (last - first + 2);
            entry_index_trim(&index, first);
            break;
        default:
            n = first + n % (last - first + 2);
            entry_index_truncate(&index, n);
            last = n - 1;
        }
        must_agree(&index, first, last);
    }
    entry_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_has_its_position_and_term),
        cmocka_unit_test(truncated_index_goes_on_with_other_entries),
        cmocka_unit_test(missing_memory_changes_nothing),
        cmocka_unit_test(index_grows_and_shrinks_at_both_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
