#include "remoting/base/assert.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

static void the_nth_call_fails_once(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth <= 5; nth++) {
        mq_heap_fail_at(nth);
        for (unsigned call = 1; call <= 8; call++) {
            void *ptr = call % 2 ? mq_malloc(8) : mq_calloc(2, 4);

            assert_true((ptr == NULL) == (call == nth));
            mq_free(ptr);
        }
    }
}

static void a_failed_realloc_keeps_the_old_block(void **state)
{
    char *text = mq_strdup("kept");

    (void)state;
    mq_heap_fail_at(1);
    assert_null(mq_realloc(text, 1000));
    assert_string_equal(text, "kept");
    text = mq_realloc(text, 1000);
    assert_string_equal(text, "kept");
    mq_free(text);
}

static void nothing_fails_after_switching_it_off(void **state)
{
    void *ptr;

    (void)state;
    mq_heap_fail_at(1);
    mq_heap_fail_at(0);
    ptr = mq_malloc(1);
    assert_non_null(ptr);
    mq_free(ptr);
}

static void *allocate_in_thread(void *out)
{
    *(void **)out = mq_malloc(1);
    return NULL;
}

static void another_thread_is_not_disturbed(void **state)
{
    void *theirs = NULL;
    pthread_t thread;

    (void)state;
    mq_heap_fail_at(1);
    assert_int_equal(pthread_create(&thread, NULL, allocate_in_thread, &theirs), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(theirs);
    mq_free(theirs);
    assert_null(mq_malloc(1));
}

static void no_bytes_are_not_a_failure(void **state)
{
    void *a = mq_malloc(0);
    void *b = mq_calloc(0, 8);
    void *c = mq_realloc(NULL, 0);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    c = mq_realloc(c, 0);
    assert_non_null(c);
    mq_free(a);
    mq_free(b);
    mq_free(c);
}

static void zeroed_memory_is_zero(void **state)
{
    unsigned char *bytes = mq_calloc(16, 4);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(bytes[i], 0);
    }
    mq_free(bytes);
}

static void copies_end_with_a_nul(void **state)
{
    char *part = mq_strndup("hello", 3);
    char *empty = mq_strndup(NULL, 0);

    (void)state;
    assert_string_equal(part, "hel");
    assert_string_equal(empty, "");
    assert_null(mq_strndup("x", SIZE_MAX));
    mq_free(part);
    mq_free(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_call_fails_once),
        cmocka_unit_test(a_failed_realloc_keeps_the_old_block),
        cmocka_unit_test(nothing_fails_after_switching_it_off),
        cmocka_unit_test(another_thread_is_not_disturbed),
        cmocka_unit_test(no_bytes_are_not_a_failure),
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(copies_end_with_a_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
