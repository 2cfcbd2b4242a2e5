#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/file.h"
#include "remoting/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char path[64];
static struct mq_buf lines; /* the file as a C string, after read_lines */

static int setup(void **state)
{
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "/tmp/raftmq-log-XXXXXX");
    fd = mkstemp(path);
    if (fd < 0) {
        return -1;
    }
    close(fd);
    mq_log_set_level(MQ_LOG_INFO);
    return mq_log_open(path);
}

static int teardown(void **state)
{
    (void)state;
    mq_buf_free(&lines);
    return remove(path);
}

static const char *read_lines(void)
{
    lines.len = 0;
    assert_int_equal(mq_file_read(path, 1u << 24, &lines), 0);
    assert_int_equal(mq_buf_put_u8(&lines, 0), 0);
    return (const char *)lines.base;
}

static void a_line_has_time_level_area_and_text(void **state)
{
    int64_t before_ms = mq_clock_wall_ms();
    struct tm utc = {0};
    const char *line, *rest;
    int64_t logged_ms;

    (void)state;
    mq_log_info("role", "leader term=%d", 3);
    line = read_lines();
    rest = strptime(line, "%Y-%m-%dT%H:%M:%S", &utc);
    assert_non_null(rest);
    logged_ms = (int64_t)timegm(&utc) * 1000 + atoi(rest + 1);
    assert_in_range(logged_ms, before_ms, mq_clock_wall_ms());
    assert_int_equal(rest[0], '.');
    assert_string_equal(rest + 4, "Z INFO  role   leader term=3\n");
}

static void lines_below_the_level_are_dropped(void **state)
{
    const char *text;

    (void)state;
    mq_log_debug("a", "no %d", 1);
    mq_log_set_level(MQ_LOG_WARN);
    mq_log_info("a", "no %d", 2);
    mq_log_warn("a", "yes %d", 1);
    mq_log_error("a", "yes %d", 2);
    mq_log_set_level(MQ_LOG_DEBUG);
    mq_log_debug("a", "yes %d", 3);
    text = read_lines();
    assert_null(strstr(text, "no "));
    assert_non_null(strstr(text, "WARN  a      yes 1\n"));
    assert_non_null(strstr(text, "ERROR a      yes 2\n"));
    assert_non_null(strstr(text, "DEBUG a      yes 3\n"));
}

static void a_text_with_line_ends_stays_one_line(void **state)
{
    const char *text;

    (void)state;
    mq_log_info("conn", "%s", "a\nb\r\x1b[1m\x7f\xC3\xA4");
    text = read_lines();
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(strstr(text, "a?b??[1m?\xC3\xA4\n"));
}

static void a_text_that_is_too_long_is_cut_visibly(void **state)
{
    const char *text;

    (void)state;
    mq_log_info("conn", "%05000d", 1);
    mq_log_info("conn", "next");
    text = read_lines();
    assert_non_null(strstr(text, "000...\n"));
    assert_true(strchr(text, '\n') - text < 2048);
    assert_non_null(strstr(text, "next\n"));
}

static void every_length_around_the_limit_ends_with_one_line_end(void **state)
{
    const char *text;
    int found = 0;

    (void)state;
    for (int n = 1990; n < 2060; n++) {
        mq_log_info("conn", "%0*d", n, 1);
    }
    text = read_lines();
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
        found++;
    }
    assert_int_equal(found, 70);
}

static void a_log_that_cannot_be_opened_stays_where_it_was(void **state)
{
    (void)state;
    assert_int_equal(mq_log_open("/nonexistent/x"), -ENOENT);
    mq_log_info("a", "still here");
    assert_non_null(strstr(read_lines(), "still here\n"));
}

static void opening_again_appends(void **state)
{
    const char *text;

    (void)state;
    mq_log_info("a", "first");
    assert_int_equal(mq_log_open(path), 0);
    mq_log_info("a", "second");
    text = read_lines();
    assert_non_null(strstr(text, "first\n"));
    assert_non_null(strstr(text, "second\n"));
}

static void errno_survives_a_line(void **state)
{
    (void)state;
    errno = EXDEV;
    mq_log_info("a", "x");
    assert_int_equal(errno, EXDEV);
}

#define THREADS 4
#define LINES_EACH 500

static void *write_many(void *id)
{
    for (int i = 0; i < LINES_EACH; i++) {
        mq_log_info("thread", "%d:%d %0100d", *(int *)id, i, 7);
        if (i % 100 == 0) {
            mq_log_open(path);
        }
    }
    return NULL;
}

static void lines_of_many_threads_do_not_mix(void **state)
{
    pthread_t threads[THREADS];
    int ids[THREADS];
    int next[THREADS] = {0};
    const char *at;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &ids[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    at = read_lines();
    for (int i = 0; i < THREADS * LINES_EACH; i++) {
        const char *end = strchr(at, '\n');
        int thread = -1, line = -1;

        assert_non_null(end);
        assert_int_equal(sscanf(at, "%*s INFO thread %d:%d ", &thread, &line), 2);
        assert_in_range(thread, 0, THREADS - 1);
        assert_int_equal(line, next[thread]++);
        assert_int_equal(end[-1], '7');
        at = end + 1;
    }
    assert_int_equal(*at, '\0');
}

static void a_limit_lets_one_line_through_and_counts_the_rest(void **state)
{
    struct mq_log_limit limit = {0};
    const char *all;

    (void)state;
    mq_log_limited(&limit, MQ_LOG_WARN, "conn", "refused n=%d", 1);
    assert_in_range(limit.next_ms, mq_clock_mono_ms() + 1, mq_clock_mono_ms() + 1000);
    limit.next_ms = UINT64_MAX; /* the second does not end while we look */
    for (int i = 2; i < 5; i++) {
        mq_log_limited(&limit, MQ_LOG_WARN, "conn", "refused n=%d", i);
    }
    limit.next_ms = 0; /* now it does */
    mq_log_limited(&limit, MQ_LOG_WARN, "conn", "refused n=%d", 5);
    limit.next_ms = 0;
    mq_log_limited(&limit, MQ_LOG_WARN, "conn", "refused n=%d", 6);
    all = read_lines();
    assert_non_null(strstr(all, " refused n=1\n"));
    assert_null(strstr(all, "n=2"));
    assert_null(strstr(all, "n=4"));
    assert_non_null(strstr(all, " refused n=5 skipped=3\n"));
    assert_non_null(strstr(all, " refused n=6\n"));
}

/* What was held back is told even where the text has to be cut. */
static void a_limited_text_that_is_too_long_keeps_its_count(void **state)
{
    struct mq_log_limit limit = {.skipped = UINT64_MAX};
    static char text[4096];
    const char *line;

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    mq_log_limited(&limit, MQ_LOG_WARN, "conn", "%s", text);
    line = read_lines();
    assert_non_null(strstr(line, "xxx... skipped=18446744073709551615\n"));
    assert_true(strlen(line) <= 2048);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_area_and_text),
        TEST(lines_below_the_level_are_dropped),
        TEST(a_text_with_line_ends_stays_one_line),
        TEST(a_text_that_is_too_long_is_cut_visibly),
        TEST(every_length_around_the_limit_ends_with_one_line_end),
        TEST(a_log_that_cannot_be_opened_stays_where_it_was),
        TEST(opening_again_appends),
        TEST(errno_survives_a_line),
        TEST(lines_of_many_threads_do_not_mix),
        TEST(a_limit_lets_one_line_through_and_counts_the_rest),
        TEST(a_limited_text_that_is_too_long_keeps_its_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
