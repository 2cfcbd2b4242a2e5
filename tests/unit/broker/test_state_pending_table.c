/* Messages that wait: in order, found again, small, and as they were behind a failed allocation. */
#include "broker/state/pending_table.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "broker/state/snapshot.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MODEL_MAX 3000u
#define MILLION 1000000u

static uint64_t random_state = 20261121;

static uint32_t next_random(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

static int put(struct pending_table *table, uint64_t pos, int64_t due_ms, uint64_t key)
{
    const struct pending_row row = {
        .pos = pos, .due_ms = due_ms, .key_hash = key, .bytes = 300, .kind = PENDING_TIMER};

    return pending_table_put(table, &row);
}

static const struct pending_row *first_of_table(const struct pending_table *table)
{
    int64_t at_ms;

    return pending_table_first(table, &at_ms);
}

static void the_earliest_comes_first_and_the_older_of_two_equals(void **state)
{
    static const struct {
        uint64_t pos;
        int64_t due_ms;
    } rows[] = {{40, 9}, {10, 7}, {30, 7}, {20, 7}, {50, 1}, {60, INT64_MAX}};
    static const uint64_t want[] = {50, 10, 20, 30, 40, 60};
    struct pending_table table;

    (void)state;
    pending_table_init(&table);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(put(&table, rows[i].pos, rows[i].due_ms, 1), 0);
    }
    assert_int_equal(put(&table, 40, 3, 1), MQ_EBADMSG);
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        assert_int_equal(first_of_table(&table)->pos, want[i]);
        assert_true(pending_table_end(&table, want[i]));
        assert_false(pending_table_end(&table, want[i]));
    }
    assert_null(first_of_table(&table));
    assert_int_equal(table.sum, 0);
    pending_table_fini(&table);
}

static void a_row_that_is_taken_is_not_first_and_still_there(void **state)
{
    struct pending_table table;

    (void)state;
    pending_table_init(&table);
    assert_int_equal(put(&table, 1, 5, 1), 0);
    assert_int_equal(put(&table, 2, 6, 1), 0);
    assert_true(pending_table_take(&table, 1));
    assert_false(pending_table_take(&table, 1));
    assert_false(pending_table_take(&table, 3));
    assert_int_equal(first_of_table(&table)->pos, 2);
    assert_int_equal(table.count, 2);
    assert_int_equal(pending_table_hash(&table), pending_table_recount(&table));
    assert_int_equal(pending_table_move(&table, 1, 9, 70, 5), 0); /* moves while it is taken */
    assert_int_equal(first_of_table(&table)->pos, 2);
    pending_table_give_back(&table, 1, PENDING_WHEN_DUE);
    pending_table_give_back(&table, 9, PENDING_WHEN_DUE);
    pending_table_give_back(&table, 9, PENDING_WHEN_DUE);
    assert_int_equal(first_of_table(&table)->pos, 9);
    assert_int_equal(first_of_table(&table)->bytes, 70);
    assert_int_equal(pending_table_move(&table, 9, 2, 70, 5), MQ_EBADMSG);
    assert_int_equal(pending_table_move(&table, 77, 78, 70, 5), 0);
    assert_true(pending_table_take(&table, 9));
    assert_true(pending_table_end(&table, 9));
    assert_int_equal(table.count, 1);
    pending_table_fini(&table);
}

static void a_row_that_is_given_back_for_later_lets_others_pass(void **state)
{
    struct pending_table table;
    int64_t at_ms;

    (void)state;
    pending_table_init(&table);
    assert_int_equal(put(&table, 1, 5, 1), 0);
    assert_int_equal(put(&table, 2, 6, 1), 0);
    assert_true(pending_table_take(&table, 1));
    pending_table_give_back(&table, 1, 9);
    assert_int_equal(pending_table_first(&table, &at_ms)->pos, 2);
    assert_true(pending_table_end(&table, 2));
    assert_int_equal(pending_table_first(&table, &at_ms)->due_ms, 5);
    assert_int_equal(at_ms, 9);
    assert_true(pending_table_take(&table, 1));
    pending_table_give_back(&table, 1, 2); /* never earlier than it is due */
    (void)pending_table_first(&table, &at_ms);
    assert_int_equal(at_ms, 5);
    pending_table_fini(&table);
}

struct model_row {
    uint64_t pos, key;
    int64_t due_ms;
    bool taken;
};

static const struct model_row *first_of(const struct model_row *rows, uint32_t n)
{
    const struct model_row *first = NULL;

    for (uint32_t i = 0; i < n; i++) {
        if (!rows[i].taken && (first == NULL || rows[i].due_ms < first->due_ms ||
                               (rows[i].due_ms == first->due_ms && rows[i].pos < first->pos))) {
            first = &rows[i];
        }
    }
    return first;
}

/* One random change of both. */
static void change(struct pending_table *table, struct model_row *rows, uint32_t *n, uint64_t *pos)
{
    uint32_t r = next_random() % 16;
    struct model_row *row = *n != 0 ? &rows[next_random() % *n] : NULL;

    *pos += 100 + next_random() % 50;
    if (row == NULL || (r < 6 && *n < MODEL_MAX)) {
        rows[*n] = (struct model_row){*pos, next_random() % 40, (int64_t)(next_random() % 500), false};
        assert_int_equal(put(table, *pos, rows[*n].due_ms, rows[*n].key), 0);
        ++*n;
    } else if (r < 10) {
        assert_true(pending_table_end(table, row->pos));
        *row = rows[--*n];
    } else if (r < 12) {
        assert_int_equal(pending_table_move(table, row->pos, *pos, 300, 5), 0);
        row->pos = *pos;
    } else if (r < 14) {
        assert_int_equal(pending_table_take(table, row->pos), !row->taken);
        row->taken = true;
    } else {
        pending_table_give_back(table, row->pos, PENDING_WHEN_DUE);
        row->taken = false;
    }
}

static void it_agrees_with_a_plain_list_whatever_happens(void **state)
{
    struct model_row *rows = mq_calloc(MODEL_MAX, sizeof(*rows));
    struct pending_table table;
    uint64_t pos = 0;
    uint32_t n = 0;

    (void)state;
    pending_table_init(&table);
    for (uint32_t i = 0; i < 20000; i++) {
        const struct model_row *want;

        change(&table, rows, &n, &pos);
        assert_int_equal(table.count, n);
        want = first_of(rows, n);
        assert_int_equal(first_of_table(&table) != NULL ? first_of_table(&table)->pos : 0,
                         want != NULL ? want->pos : 0);
        if (i % 64 == 0) {
            uint64_t found[MODEL_MAX];
            uint32_t with_key = 0;

            assert_int_equal(pending_table_hash(&table), pending_table_recount(&table));
            for (uint32_t k = 0; k < n; k++) {
                assert_int_equal(pending_table_find(&table, rows[k].pos)->due_ms, rows[k].due_ms);
                with_key += rows[k].key == i / 64 % 40;
            }
            assert_int_equal(pending_table_by_key(&table, i / 64 % 40, found, MODEL_MAX), with_key);
        }
    }
    pending_table_fini(&table);
    mq_free(rows);
}

static void a_million_rows_take_less_than_150_bytes_each(void **state)
{
    struct pending_table table;

    (void)state;
    pending_table_init(&table);
    for (uint64_t i = 1; i <= MILLION; i++) {
        assert_int_equal(put(&table, i * 400, (int64_t)(next_random()), i), 0);
    }
    print_message("%.1f bytes a row\n", (double)pending_table_memory(&table) / MILLION);
    assert_true(pending_table_memory(&table) <= (uint64_t)150 * MILLION);
    for (uint64_t i = 1; i <= MILLION; i++) {
        assert_true(pending_table_end(&table, i * 400));
    }
    assert_true(pending_table_memory(&table) < 1u << 20); /* and is given back */
    assert_int_equal(put(&table, 1, 1, 1), 0);
    assert_int_equal(first_of_table(&table)->pos, 1);
    pending_table_fini(&table);
}

static void a_failed_allocation_leaves_the_table_as_it_was(void **state)
{
    struct pending_table table;
    uint64_t pos = 0;

    (void)state;
    pending_table_init(&table);
    for (unsigned n = 1; n < 12; n++) {
        for (uint32_t i = 0; i < 700; i++) {
            uint32_t count = table.count;
            int rc;

            mq_heap_fail_at(n);
            pos++;
            rc = put(&table, pos, (int64_t)pos, 1);
            mq_heap_fail_at(0);
            assert_true(rc == 0 || rc == MQ_ENOMEM);
            assert_int_equal(table.count, count + (rc == 0));
            assert_int_equal(pending_table_find(&table, pos) != NULL, rc == 0);
        }
        assert_int_equal(pending_table_hash(&table), pending_table_recount(&table));
    }
    pending_table_fini(&table);
}

static void items_and_rows_have_the_bytes_they_always_had(void **state)
{
    static const uint8_t put_bytes[] = {0, 0,    0, 25, 0xDA, 0xA3, 0xC0, 0xDE, 0, 16, 0,    0, 0x08,
                                        5, 0x11, 8, 7,  6,    5,    4,    3,    2, 1,  0x18, 2};
    static const uint8_t end_bytes[] = {0, 0, 0, 15, 0xDA, 0xA3, 0xC0, 0xDE, 0, 17, 0, 0, 0x08, 0xAC, 0x02};
    static const uint8_t move_bytes[] = {0, 0, 0, 15, 0xDA, 0xA3, 0xC0, 0xDE, 0, 18, 0, 0, 0x08, 0xAC, 0x02};
    static const uint8_t row_bytes[] = {0x0A, 23, 0x08, 0xAC, 0x02, 0x10, 9, 0x18, 10, 0x21, 8, 7, 6,
                                        5,    4,  3,    2,    1,    0x28, 1, 0x35, 4,  3,    2, 1};
    Raftmq__PendingPut item = RAFTMQ__PENDING_PUT__INIT;
    Raftmq__PendingEnd end = RAFTMQ__PENDING_END__INIT;
    Raftmq__PendingMove move = RAFTMQ__PENDING_MOVE__INIT;
    Raftmq__PendingRow row = RAFTMQ__PENDING_ROW__INIT, *list[] = {&row};
    Raftmq__PendingRows rows = RAFTMQ__PENDING_ROWS__INIT;
    uint8_t at[64];

    (void)state;
    item.due_ms = 5;
    item.key_hash = 0x0102030405060708;
    item.kind = PENDING_TIMER;
    assert_int_equal(command_bytes(&item.base), sizeof(put_bytes));
    command_encode(COMMAND_PENDING_PUT, &item.base, at);
    assert_memory_equal(at, put_bytes, sizeof(put_bytes));
    end.pos = move.pos = 300;
    assert_int_equal(command_bytes(&end.base), sizeof(end_bytes));
    command_encode(COMMAND_PENDING_END, &end.base, at);
    assert_memory_equal(at, end_bytes, sizeof(end_bytes));
    command_encode(COMMAND_PENDING_MOVE, &move.base, at);
    assert_memory_equal(at, move_bytes, sizeof(move_bytes));
    row.pos = 300;
    row.bytes = 9;
    row.due_ms = 5;
    row.key_hash = item.key_hash;
    row.kind = PENDING_LEVEL;
    row.crc = 0x01020304;
    rows.rows = list;
    rows.n_rows = 1;
    assert_int_equal(raftmq__pending_rows__get_packed_size(&rows), sizeof(row_bytes));
    (void)raftmq__pending_rows__pack(&rows, at);
    assert_memory_equal(at, row_bytes, sizeof(row_bytes));
    /* Compared between members, so for ever the same. */
    assert_int_equal(pending_key_hash(MQ_STR("Orders"), MQ_STR("7F00")), 0x37955D8931143AB4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_comes_first_and_the_older_of_two_equals),
        cmocka_unit_test(a_row_that_is_taken_is_not_first_and_still_there),
        cmocka_unit_test(a_row_that_is_given_back_for_later_lets_others_pass),
        cmocka_unit_test(it_agrees_with_a_plain_list_whatever_happens),
        cmocka_unit_test(a_million_rows_take_less_than_150_bytes_each),
        cmocka_unit_test(a_failed_allocation_leaves_the_table_as_it_was),
        cmocka_unit_test(items_and_rows_have_the_bytes_they_always_had),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
