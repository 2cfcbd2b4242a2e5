#include "namesrv/config.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define ARGS_MAX 8

struct parsed {
    struct namesrv_config config;
    struct namesrv_command_line line;
    struct mq_buf problem, warnings;
    int rc;
};

/* Parses a command line given as words; free with done. */
static struct parsed parse(const char *const *words)
{
    struct parsed p = {0};
    char *argv[ARGS_MAX + 2] = {(char *)"mqnamesrv"};
    int argc = 1;

    for (; words[argc - 1] != NULL; argc++) {
        argv[argc] = (char *)words[argc - 1];
    }
    assert_int_equal(namesrv_config_init(&p.config), 0);
    p.rc = namesrv_config_parse(argc, argv, &p.config, &p.line, &p.problem, &p.warnings);
    assert_int_equal(mq_buf_put_u8(&p.problem, 0), 0);
    assert_int_equal(mq_buf_put_u8(&p.warnings, 0), 0);
    return p;
}

static void done(struct parsed *p)
{
    namesrv_config_fini(&p->config);
    mq_buf_free(&p->problem);
    mq_buf_free(&p->warnings);
}

static void a_stock_file_is_read_and_options_win_over_it(void **state)
{
    static const char text[] =
        "# a comment\nlistenPort=9877\nkvConfigPath=/data/kv.json\r\norderMessageEnable = true\n"
        "serverWorkerThreads=8\n";
    char path[] = "/tmp/test_config.XXXXXX";
    const char *words[] = {"-o", "listenPort=9878", "-c", path, "-p", NULL};
    struct parsed p;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
    close(fd);
    p = parse(words);
    unlink(path);
    assert_int_equal(p.rc, 0);
    assert_true(p.line.print);
    assert_int_equal(p.config.listen_port, 9878);
    assert_string_equal(p.config.kv_config_path, "/data/kv.json");
    assert_true(p.config.order_message);
    assert_non_null(strstr((char *)p.warnings.base, "serverWorkerThreads: has no meaning here"));
    done(&p);
}

static void defaults_are_rocketmqs(void **state)
{
    const char *words[] = {NULL};
    char path[256];
    struct parsed p;

    (void)state;
    setenv("HOME", "/home/somebody", 1);
    p = parse(words);
    snprintf(path, sizeof(path), "%s", p.config.kv_config_path);
    assert_int_equal(p.rc, 0);
    assert_int_equal(p.config.listen_port, 9876);
    assert_string_equal(p.config.bind_address, "0.0.0.0");
    assert_string_equal(path, "/home/somebody/namesrv/kvConfig.json");
    assert_int_equal(p.config.broker_timeout_ms, 120000);
    assert_int_equal(p.config.master_grace_ms, 5000);
    assert_int_equal(p.config.scan_ms, 1000);
    assert_false(p.config.order_message);
    assert_true(p.config.return_order_conf);
    done(&p);
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *words[3], *says;
    } cases[] = {
        {{"-o", "listenprot=1"}, "did you mean listenPort?"},
        {{"-o", "listenPort=65536"}, "65536"},
        {{"-o", "listenPort"}, "is not of the form key=value"},
        {{"-o", "orderMessageEnable=yes"}, "neither true nor false"},
        {{"-c", "/nonexistent/namesrv.conf"}, "/nonexistent/namesrv.conf: "},
        {{"-c"}, "-c: needs a value"},
        {{"-x"}, "-x: unknown switch"},
        {{"--frob"}, "--frob: unknown switch"},
        {{"start"}, "start: unexpected argument"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct parsed p = parse(cases[i].words);

        print_message("  %s", (char *)p.problem.base);
        assert_true(p.rc < 0);
        assert_non_null(strstr((char *)p.problem.base, cases[i].says));
        done(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stock_file_is_read_and_options_win_over_it),
        cmocka_unit_test(defaults_are_rocketmqs),
        cmocka_unit_test(what_is_wrong_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
