#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/cursor.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void appended_pieces_stand_in_order(void **state)
{
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(mq_buf_put(&buf, "ab", 2), 0);
    assert_int_equal(mq_buf_put_str(&buf, MQ_STR("cd")), 0);
    assert_int_equal(mq_buf_put_str(&buf, (struct mq_str){0}), 0);
    assert_int_equal(mq_buf_put_i64_text(&buf, -17), 0);
    assert_int_equal(mq_buf_printf(&buf, "<%s:%d>", "x", 5), 0);
    assert_true(mq_str_eq(mq_buf_str(&buf), MQ_STR("abcd-17<x:5>")));
    mq_buf_free(&buf);
    assert_null(buf.base);
    assert_int_equal(buf.cap, 0);
    assert_int_equal(buf.len, 0);
}

static void integers_are_written_big_endian_and_read_back(void **state)
{
    static const uint8_t WANT[] = {0x7F, 3, 4, 5, 6, 0xF1, 0xF2};
    struct mq_buf buf = {0};
    struct mq_cursor c;

    (void)state;
    assert_int_equal(mq_buf_put_u8(&buf, 0x7F), 0);
    assert_int_equal(mq_buf_put_be32(&buf, 0x03040506), 0);
    assert_int_equal(mq_buf_put(&buf, "\xF1\xF2", 2), 0);
    assert_int_equal(buf.len, sizeof(WANT));
    assert_memory_equal(buf.base, WANT, sizeof(WANT));

    c = mq_cursor_of(buf.base, buf.len);
    assert_int_equal(mq_cursor_u8(&c), 0x7F);
    assert_int_equal(mq_cursor_be32(&c), 0x03040506);
    assert_int_equal(mq_cursor_be16(&c), 0xF1F2);
    assert_int_equal(c.left, 0);
    assert_false(c.bad);
    mq_buf_free(&buf);
}

static void a_read_past_the_end_spoils_the_cursor_for_good(void **state)
{
    static const uint8_t BYTES[] = {9, 8, 7};
    struct mq_cursor c = mq_cursor_of(BYTES, sizeof(BYTES));
    struct mq_str s;

    (void)state;
    assert_int_equal(mq_cursor_be32(&c), 0);
    assert_true(c.bad);
    assert_int_equal(mq_cursor_u8(&c), 0);
    s = mq_cursor_str(&c, 1);
    assert_null(s.at);
    assert_int_equal(s.len, 0);
    assert_int_equal(c.left, sizeof(BYTES));
}

static void a_slice_of_the_cursor_points_into_the_bytes(void **state)
{
    struct mq_cursor c = mq_cursor_of("hello", 5);

    (void)state;
    assert_true(mq_str_eq(mq_cursor_str(&c, 4), MQ_STR("hell")));
    assert_non_null(mq_cursor_str(&c, 0).at);
    assert_false(c.bad);
    assert_int_equal(c.left, 1);
}

static void text_longer_than_the_room_left_is_printed_whole(void **state)
{
    struct mq_buf buf = {0};

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(mq_buf_printf(&buf, "%04d", i), 0);
    }
    assert_int_equal(mq_buf_printf(&buf, "%0500d", 7), 0);
    assert_int_equal(buf.len, 4500);
    for (int i = 0; i < 1000; i++) {
        const uint8_t *at = buf.base + (size_t)i * 4;

        assert_int_equal((at[0] - '0') * 1000 + (at[1] - '0') * 100 + (at[2] - '0') * 10 + at[3] - '0', i);
    }
    assert_int_equal(buf.base[4499], '7');
    mq_buf_free(&buf);
}

static void text_that_fills_the_room_exactly_keeps_its_last_letter(void **state)
{
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(mq_buf_reserve(&buf, 1), 0);
    assert_int_equal(mq_buf_printf(&buf, "%*s", (int)buf.cap, "z"), 0);
    assert_int_equal(buf.base[buf.len - 1], 'z');
    mq_buf_free(&buf);
}

static void consuming_moves_the_rest_to_the_front(void **state)
{
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(mq_buf_put(&buf, "abcdef", 6), 0);
    mq_buf_consume(&buf, 0);
    assert_true(mq_str_eq(mq_buf_str(&buf), MQ_STR("abcdef")));
    mq_buf_consume(&buf, 4);
    assert_true(mq_str_eq(mq_buf_str(&buf), MQ_STR("ef")));
    mq_buf_consume(&buf, 2);
    assert_int_equal(buf.len, 0);
    mq_buf_free(&buf);
}

static void a_failed_append_leaves_the_buffer_as_it_was(void **state)
{
    struct mq_buf buf = {0};

    (void)state;
    while (buf.len < buf.cap || buf.cap == 0) {
        assert_int_equal(mq_buf_put_u8(&buf, 'x'), 0);
    }
    for (int i = 0; i < 4; i++) {
        struct mq_buf before = buf;
        int rc;

        mq_heap_fail_at(1);
        rc = i == 0   ? mq_buf_put(&buf, "y", 1)
             : i == 1 ? mq_buf_put_be32(&buf, 1)
             : i == 2 ? mq_buf_put_i64_text(&buf, 1)
                      : mq_buf_printf(&buf, "%d", 1);
        mq_heap_fail_at(0);
        assert_int_equal(rc, MQ_ENOMEM);
        assert_memory_equal(&buf, &before, sizeof(buf));
    }
    mq_buf_free(&buf);
}

static void a_size_that_overflows_is_refused(void **state)
{
    struct mq_buf buf = {0};

    (void)state;
    assert_int_equal(mq_buf_put_u8(&buf, 1), 0);
    assert_int_equal(mq_buf_reserve(&buf, SIZE_MAX), MQ_ENOMEM);
    assert_int_equal(mq_buf_reserve(&buf, SIZE_MAX / 2), MQ_ENOMEM);
    assert_int_equal(buf.len, 1);
    mq_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_pieces_stand_in_order),
        cmocka_unit_test(integers_are_written_big_endian_and_read_back),
        cmocka_unit_test(a_read_past_the_end_spoils_the_cursor_for_good),
        cmocka_unit_test(a_slice_of_the_cursor_points_into_the_bytes),
        cmocka_unit_test(text_longer_than_the_room_left_is_printed_whole),
        cmocka_unit_test(text_that_fills_the_room_exactly_keeps_its_last_letter),
        cmocka_unit_test(consuming_moves_the_rest_to_the_front),
        cmocka_unit_test(a_failed_append_leaves_the_buffer_as_it_was),
        cmocka_unit_test(a_size_that_overflows_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
