#include "tests/unit/raft-log/log_fixture.h"

#include "raft-log/log/entry_index.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define MANY 10000u
#define ENTRY_BYTES 104u
#define SEGMENT_ENTRIES 5000u

static uint64_t term_at(uint64_t i)
{
    return 1 + i / 777;
}

/* ---- a log whose entries all have the same length ---- */

static bool files_are_bad;
static unsigned n_files_read, n_entries_read;

static int32_t load(void *data, const struct index_block *block, uint32_t *offsets, struct index_run *runs)
{
    int32_t n = 0;

    (void)data;
    n_files_read++;
    memset(offsets, 0xff, block->n * sizeof(offsets[0]));
    for (uint32_t k = 0; k < block->n && !files_are_bad; k++) {
        uint64_t term = term_at(block->first_index + k);

        offsets[k] = k * (ENTRY_BYTES / 8);
        if (runs != NULL && (n == 0 || runs[n - 1].term != term)) {
            runs[n++] = (struct index_run){k, term};
        }
    }
    return files_are_bad ? -1 : n;
}

static void entry(void *data, uint64_t pos, uint64_t *term, uint32_t *bytes)
{
    (void)data;
    n_entries_read++;
    assert_int_equal(pos % ENTRY_BYTES, 0);
    *term = term_at(pos / ENTRY_BYTES);
    *bytes = ENTRY_BYTES;
}

static const struct index_source SOURCE = {
    .segment_bytes = SEGMENT_ENTRIES * ENTRY_BYTES, .load = load, .entry = entry};

static void fill(struct entry_index *index, uint64_t n)
{
    while (index->last_index < n) {
        uint64_t i = index->last_index + 1;

        assert_int_equal(entry_index_reserve(index), 0);
        entry_index_append(index, i * ENTRY_BYTES, term_at(i));
    }
}

static void every_entry_has_its_position_and_term(void **state)
{
    struct entry_index index;

    (void)state;
    entry_index_init(&index, &SOURCE);
    fill(&index, MANY);
    for (uint64_t i = 1; i <= MANY; i++) {
        assert_int_equal(entry_index_pos(&index, i), i * ENTRY_BYTES);
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
    entry_index_init(&index, &SOURCE);
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
    entry_index_init(&index, &SOURCE);
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

        assert_int_equal(entry_index_pos(index, i), i * ENTRY_BYTES);
        assert_int_equal(entry_index_term(index, i), term_at(i));
        assert_int_equal(entry_index_from_pos(index, i * ENTRY_BYTES - 1), i);
        assert_int_equal(entry_index_change_before(index, i), change >= first && change <= i ? change : 0);
    }
    assert_int_equal(entry_index_from_pos(index, UINT64_MAX), last + 1);
}

/* Makes a block of entries that are known one by one, as the writer of index files does: within a segment. */
static void seal_some(struct entry_index *index, uint64_t n, uint32_t file_at)
{
    uint64_t first = index->own_index, last = first + n - 1;
    uint64_t segment_end = (first / SEGMENT_ENTRIES + 1) * SEGMENT_ENTRIES;

    last = last < index->last_index ? last : index->last_index;
    last = last < segment_end ? last : segment_end - 1;
    if (last >= first && index->first_index <= index->last_index) {
        assert_int_equal(entry_index_reserve_block(index), 0);
        entry_index_seal(index, first, last, file_at, 8);
        assert_int_equal(index->own_index, last + 1);
    }
}

static void one_step(struct entry_index *index, uint64_t n, uint64_t *first, uint64_t *last)
{
    switch (n % 6) {
    case 0:
        n %= 3000;
        for (uint64_t i = 0; i < n && *last < MODEL_MAX; i++) {
            assert_int_equal(entry_index_reserve(index), 0);
            ++*last;
            entry_index_append(index, *last * ENTRY_BYTES, term_at(*last));
            if (is_change(*last)) {
                entry_index_note_change(index);
            }
        }
        return;
    case 1:
        n = 1 + n % 3000;
        n = n < *first ? n : *first - 1;
        if (n != 0) {
            assert_int_equal(entry_index_promise(index, n, n * ENTRY_BYTES), 0);
            assert_int_equal(entry_index_reserve(index), 0); /* an append in between */
            for (; n != 0; n--) {
                --*first;
                entry_index_prepend(index, *first * ENTRY_BYTES, term_at(*first), is_change(*first));
            }
            entry_index_promise_end(index);
        }
        return;
    case 2:
        *first += n % (*last - *first + 2);
        entry_index_trim(index, *first);
        return;
    case 3:
        n = *first + n % (*last - *first + 2);
        entry_index_truncate(index, n);
        *last = n - 1;
        return;
    case 4:
        files_are_bad = n % 8 < 4;
        seal_some(index, 1 + n % 2000, n % 5 == 0 ? INDEX_BLOCK_NO_FILE : (uint32_t)(n % 3 * 8));
        return;
    default:
        n = entry_index_unfiled(index, *first); /* a block that gets its file later, or goes on behind what it had */
        if (n < index->own_index) {
            const struct index_block *block = entry_index_block(index, n);
            uint64_t end = block->first_index + block->n - 1;

            assert_int_equal(block->file_at, INDEX_BLOCK_NO_FILE);
            assert_int_equal(entry_index_reserve_block(index), 0);
            entry_index_seal(index, block->first_index, end, 0, 8);
            assert_int_equal(entry_index_block(index, n)->file_at, 0);
        }
    }
}

static void index_grows_and_shrinks_at_both_ends(void **state)
{
    uint64_t random = 20240131, first = 20001, last = 20000;
    struct entry_index index;

    (void)state;
    entry_index_init(&index, &SOURCE);
    entry_index_begin(&index, last);
    for (unsigned step = 0; step < 3000; step++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        one_step(&index, random >> 33, &first, &last);
        must_agree(&index, first, last);
    }
    assert_true(n_files_read > 100 && n_entries_read > 100); /* both ways were gone */
    files_are_bad = false;
    entry_index_fini(&index);
}

/* ---- blocks ---- */

static void sealed_entries_cost_no_memory(void **state)
{
    const uint64_t many = 2000000;
    struct entry_index index;

    (void)state;
    entry_index_init(&index, &SOURCE);
    while (index.last_index < many) {
        fill(&index, index.last_index + SEGMENT_ENTRIES - (index.last_index + 1) % SEGMENT_ENTRIES);
        seal_some(&index, SEGMENT_ENTRIES, 0);
        assert_true(index.n_chunks <= 1);
        assert_true(index.n_runs == 0);
    }
    assert_int_equal(index.blocks.n, index.last_index / SEGMENT_ENTRIES + 1);
    for (uint64_t i = 1; i <= index.last_index; i += 9973) {
        assert_int_equal(entry_index_pos(&index, i), i * ENTRY_BYTES);
        assert_int_equal(entry_index_term(&index, i), term_at(i));
        assert_int_equal(entry_index_term_end(&index, i), i / 777 * 777 + 776);
    }
    entry_index_fini(&index);
}

static void terms_end_where_the_next_one_begins(void **state)
{
    struct entry_index index;

    (void)state;
    entry_index_init(&index, &SOURCE);
    fill(&index, MANY);
    for (unsigned n = 1; index.own_index < MANY; n += 300) {
        for (uint64_t i = 1, next; i <= MANY; i = next) {
            next = entry_index_term_end(&index, i) + 1;
            assert_int_equal(next, i / 777 * 777 + 777 < MANY ? i / 777 * 777 + 777 : MANY + 1);
        }
        seal_some(&index, n, 0);
    }
    entry_index_fini(&index);
}

static void blocks_are_read_without_memory(void **state)
{
    struct entry_index index;

    (void)state;
    entry_index_init(&index, &SOURCE);
    fill(&index, 4000);
    seal_some(&index, 4000, 0);
    for (unsigned i = 1; i <= 4000; i += 999) {
        mq_heap_fail_at(1);
        assert_int_equal(entry_index_pos(&index, i), i * ENTRY_BYTES);
        mq_heap_fail_at(0);
    }
    mq_heap_fail_at(1);
    index.blocks.cap = index.blocks.n;
    assert_int_equal(entry_index_reserve_block(&index), MQ_ENOMEM);
    mq_heap_fail_at(0);
    entry_index_fini(&index);
}

static void a_block_loses_its_place_to_one_before_it(void **state)
{
    struct entry_index index;

    (void)state;
    entry_index_init(&index, &SOURCE);
    entry_index_begin(&index, 100);
    fill(&index, 200);
    seal_some(&index, 50, 0); /* 101 to 150, of 8 bytes in the file */
    seal_some(&index, 50, 8);
    assert_int_equal(entry_index_unfiled(&index, 101), 201);
    assert_int_equal(entry_index_promise(&index, 50, 50 * ENTRY_BYTES), 0);
    for (uint64_t i = 100; i > 50; i--) {
        entry_index_prepend(&index, i * ENTRY_BYTES, term_at(i), false);
    }
    entry_index_promise_end(&index);
    assert_int_equal(entry_index_unfiled(&index, 51), 51);
    assert_int_equal(entry_index_unfiled(&index, 101), 201);
    assert_int_equal(entry_index_reserve_block(&index), 0);
    entry_index_seal(&index, 51, 100, 0, 8);
    assert_int_equal(entry_index_unfiled(&index, 51), 101); /* where they were is something else now */
    entry_index_fini(&index);
}

static void a_block_begins_where_it_did_while_it_gets_its_file(void **state)
{
    struct entry_index index;

    (void)state;
    entry_index_init(&index, &SOURCE);
    entry_index_begin(&index, 100);
    fill(&index, 200);
    seal_some(&index, 50, INDEX_BLOCK_NO_FILE); /* 101 to 150: what a start found without a file */
    assert_int_equal(entry_index_unfiled(&index, 101), 101);
    assert_int_equal(entry_index_promise(&index, 50, 50 * ENTRY_BYTES), 0);
    for (uint64_t i = 100; i > 50; i--) {
        entry_index_prepend(&index, i * ENTRY_BYTES, term_at(i), false);
    }
    entry_index_promise_end(&index);
    assert_int_equal(entry_index_block(&index, 101)->first_index, 101);
    assert_int_equal(entry_index_block(&index, 100)->first_index, 51);
    assert_int_equal(entry_index_reserve_block(&index), 0);
    entry_index_seal(&index, 101, 150, 0, 8);
    assert_int_equal(entry_index_unfiled(&index, 101), 151);
    entry_index_fini(&index);
}

/* What was put before the log is in memory only as long as nothing else is: the headers are cold. */
static void what_is_prepended_is_read_nowhere_until_it_is_in_a_file(void **state)
{
    struct entry_index index;
    uint64_t first = 3 * SEGMENT_ENTRIES;

    (void)state;
    entry_index_init(&index, &SOURCE);
    entry_index_begin(&index, first - 1);
    fill(&index, first + 10);
    n_entries_read = n_files_read = 0;
    while (first > SEGMENT_ENTRIES / 2) {
        assert_int_equal(entry_index_promise(&index, 100, 100 * ENTRY_BYTES), 0);
        for (unsigned k = 0; k < 100; k++) {
            first--;
            entry_index_prepend(&index, first * ENTRY_BYTES, term_at(first), false);
        }
        entry_index_promise_end(&index);
        if (first % SEGMENT_ENTRIES == 0) { /* a segment is whole */
            assert_true(index.blocks.places.n <= 2 * SEGMENT_ENTRIES);
            assert_int_equal(entry_index_reserve_block(&index), 0);
            for (uint64_t i = first; i < first + SEGMENT_ENTRIES; i++) {
                assert_int_equal(entry_index_pos(&index, i), i * ENTRY_BYTES);
            }
            assert_int_equal(n_entries_read, 0);
            entry_index_seal(&index, first, first + SEGMENT_ENTRIES - 1, 0, 8);
            assert_int_equal(index.blocks.places.n, 0);
            n_entries_read = n_files_read = 0; /* terms that change were looked up */
        }
    }
    assert_int_equal(index.blocks.places.n, SEGMENT_ENTRIES - first);
    for (uint64_t i = first; i < SEGMENT_ENTRIES; i += 7) {
        assert_int_equal(entry_index_pos(&index, i), i * ENTRY_BYTES);
    }
    assert_int_equal(n_files_read, 0);
    entry_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_has_its_position_and_term),
        cmocka_unit_test(truncated_index_goes_on_with_other_entries),
        cmocka_unit_test(missing_memory_changes_nothing),
        cmocka_unit_test(index_grows_and_shrinks_at_both_ends),
        cmocka_unit_test(sealed_entries_cost_no_memory),
        cmocka_unit_test(terms_end_where_the_next_one_begins),
        cmocka_unit_test(blocks_are_read_without_memory),
        cmocka_unit_test(a_block_loses_its_place_to_one_before_it),
        cmocka_unit_test(a_block_begins_where_it_did_while_it_gets_its_file),
        cmocka_unit_test(what_is_prepended_is_read_nowhere_until_it_is_in_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
