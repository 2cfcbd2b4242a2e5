#include "remoting/base/assert.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_code_of_the_table_has_its_own_text(void **state)
{
    (void)state;
    for (int a = MQ_ENOMEM; a >= MQ_EFULL; a--) {
        assert_string_not_equal(mq_strerror(a), "unknown error");
        for (int b = a - 1; b >= MQ_EFULL; b--) {
            assert_string_not_equal(mq_strerror(a), mq_strerror(b));
        }
    }
}

static void codes_of_the_system_and_of_libuv_have_texts(void **state)
{
    static const struct {
        int code;
        const char *want;
    } cases[] = {
        {0, "success"},         {-ENOENT, "No such file or directory"}, {-ECONNREFUSED, "Connection refused"},
        {-4095, "end of file"}, {-3008, "unknown node or service"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_string_equal(mq_strerror(cases[i].code), cases[i].want);
    }
}

static void a_code_of_nobody_is_unknown(void **state)
{
    static const int CODES[] = {1, -2999, -8000, MQ_ENOMEM + 1, MQ_EFULL - 1, -2147483647 - 1, 2147483647};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CODES); i++) {
        assert_string_equal(mq_strerror(CODES[i]), "unknown error");
    }
}

static void a_broken_assertion_names_its_place_and_aborts(void **state)
{
    char text[256] = {0};
    int ends[2], status;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        MQ_ASSERT(1 + 1 == 2);
        MQ_ASSERT(1 + 1 == 3);
        _exit(0);
    }
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "test_err.c:"));
    assert_non_null(strstr(text, "assertion failed: 1 + 1 == 3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_of_the_table_has_its_own_text),
        cmocka_unit_test(codes_of_the_system_and_of_libuv_have_texts),
        cmocka_unit_test(a_code_of_nobody_is_unknown),
        cmocka_unit_test(a_broken_assertion_names_its_place_and_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
