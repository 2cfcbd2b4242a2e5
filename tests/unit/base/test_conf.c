#include "remoting/base/assert.h"
#include "remoting/base/conf.h"
#include "remoting/base/err.h"
#include "remoting/base/file.h"
#include "remoting/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct settings {
    char *brokerName;
    char *dLegerPeers;
    char *storePathRootDir;
    int64_t listenPort;
    bool enablePropertyFilter;
    int flushDiskType;
};

static const char *const FLUSH_NAMES[] = {"ASYNC_FLUSH", "SYNC_FLUSH", NULL};

static const struct mq_conf_key KEYS[] = {
    {"listenPort", MQ_CONF_I64, offsetof(struct settings, listenPort), 1, 65535, NULL, "10911"},
    {"brokerName", MQ_CONF_STR, offsetof(struct settings, brokerName), 0, 0, NULL, "broker-a"},
    {"dLegerPeers", MQ_CONF_STR, offsetof(struct settings, dLegerPeers), 0, 0, NULL, NULL},
    {"enablePropertyFilter", MQ_CONF_BOOL, offsetof(struct settings, enablePropertyFilter), 0, 0, NULL, NULL},
    {"flushDiskType", MQ_CONF_ENUM, offsetof(struct settings, flushDiskType), 0, 0, FLUSH_NAMES, "SYNC_FLUSH"},
    {"storePathRootDir", MQ_CONF_STR, offsetof(struct settings, storePathRootDir), 0, 0, NULL, "store"},
    {"brokerIP1", MQ_CONF_IGNORED, 0, 0, 0, NULL, NULL},
    {"brokerIP2", MQ_CONF_IGNORED, 0, 0, 0, NULL, NULL},
    {"transientStorePoolEnable", MQ_CONF_IGNORED, 0, 0, 0, NULL, NULL},
    {NULL, MQ_CONF_IGNORED, 0, 0, 0, NULL, NULL},
};

/* Defaults, a place for messages, and a file. */
struct fixture {
    struct settings settings;
    struct mq_buf problem, warnings;
    char path[64];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    int fd;

    if (f == NULL || mq_conf_defaults(KEYS, &f->settings) != 0) {
        return -1;
    }
    snprintf(f->path, sizeof(f->path), "/tmp/raftmq-conf-XXXXXX");
    fd = mkstemp(f->path);
    if (fd < 0) {
        return -1;
    }
    fclose(fdopen(fd, "w"));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    remove(f->path);
    mq_conf_free(KEYS, &f->settings);
    mq_buf_free(&f->problem);
    mq_buf_free(&f->warnings);
    free(f);
    return 0;
}

static int read_text(struct fixture *f, struct mq_str text)
{
    FILE *file = fopen(f->path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text.at, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
    f->problem.len = 0;
    f->warnings.len = 0;
    return mq_conf_read(f->path, KEYS, &f->settings, &f->problem, &f->warnings);
}

/* Compares with @want, in which '@' stands for the file's path. */
static void assert_message(const struct fixture *f, const struct mq_buf *got, const char *want)
{
    struct mq_buf full = {0};

    for (; *want != '\0'; want++) {
        assert_int_equal(*want == '@' ? mq_buf_put(&full, f->path, strlen(f->path)) : mq_buf_put(&full, want, 1), 0);
    }
    assert_int_equal(mq_buf_put_u8(&full, 0), 0);
    print_message("%.*s", (int)got->len, got->base != NULL ? (char *)got->base : "");
    assert_int_equal(got->len, full.len - 1);
    assert_memory_equal(got->base, full.base, got->len);
    mq_buf_free(&full);
}

static void defaults_fill_every_field(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(f->settings.brokerName, "broker-a");
    assert_null(f->settings.dLegerPeers);
    assert_int_equal(f->settings.listenPort, 10911);
    assert_false(f->settings.enablePropertyFilter);
    assert_int_equal(f->settings.flushDiskType, 1);
}

static void a_rocketmq_file_is_read(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_text(f, MQ_STR("\xEF\xBB\xBF# a comment\n"
                                         "! another = comment\r\n"
                                         "\n"
                                         "  \t \n"
                                         "brokerName = node=1 # not a comment\r\n"
                                         "dLegerPeers=n0-127.0.0.1:1 ;n1-127.0.0.1:2;n2-127.0.0.1:3\n"
                                         "  enablePropertyFilter=TRUE\n"
                                         "flushDiskType=async_flush\n"
                                         "listenPort=1\n"
                                         "listenPort=30911")),
                     0);
    assert_string_equal(f->settings.brokerName, "node=1 # not a comment");
    assert_string_equal(f->settings.dLegerPeers, "n0-127.0.0.1:1 ;n1-127.0.0.1:2;n2-127.0.0.1:3");
    assert_true(f->settings.enablePropertyFilter);
    assert_int_equal(f->settings.flushDiskType, 0);
    assert_int_equal(f->settings.listenPort, 30911);
    assert_int_equal(f->problem.len, 0);
    assert_int_equal(f->warnings.len, 0);
}

static void an_empty_file_and_an_empty_value_are_read(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_text(f, MQ_STR("")), 0);
    assert_string_equal(f->settings.brokerName, "broker-a");
    assert_int_equal(read_text(f, MQ_STR("brokerName=\n")), 0);
    assert_string_equal(f->settings.brokerName, "");
}

static void a_value_of_any_length_is_kept(void **state)
{
    struct fixture *f = *state;
    struct mq_buf text = {0};

    assert_int_equal(mq_buf_printf(&text, "brokerName=%05000d\nlistenPort=7\n", 1), 0);
    assert_int_equal(read_text(f, mq_buf_str(&text)), 0);
    assert_int_equal(strlen(f->settings.brokerName), 5000);
    assert_int_equal(f->settings.listenPort, 7);
    mq_buf_free(&text);
}

static void a_problem_names_file_line_key_and_reason(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"\n#\nbrokerNmae=x\n", "@:3: brokerNmae: unknown key, did you mean brokerName?\n"},
        {"listenport=1", "@:1: listenport: unknown key, did you mean listenPort?\n"},
        {"brokerIP=1", "@:1: brokerIP: unknown key, did you mean brokerIP1?\n"},
        {"zzzzzzzz=1", "@:1: zzzzzzzz: unknown key\n"},
        {"listenPort=0", "@:1: listenPort: \"0\" is outside 1..65535\n"},
        {"listenPort=65536", "@:1: listenPort: \"65536\" is outside 1..65535\n"},
        {"listenPort=1x", "@:1: listenPort: \"1x\" is not a whole number of 64 bits\n"},
        {"listenPort=", "@:1: listenPort: \"\" is not a whole number of 64 bits\n"},
        {"enablePropertyFilter=yes", "@:1: enablePropertyFilter: \"yes\" is neither true nor false\n"},
        {"flushDiskType=NONE", "@:1: flushDiskType: \"NONE\" is not one of ASYNC_FLUSH, SYNC_FLUSH\n"},
        {"brokerName=a\x01", "@:1: brokerName: \"...\" contains a control character\n"},
        {"brokerName", "@:1: brokerName: is not of the form key=value\n"},
        {"=x", "@:1: =x: is not of the form key=value\n"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(read_text(f, mq_str_of(cases[i].text)), MQ_EINVAL);
        assert_message(f, &f->problem, cases[i].want);
        assert_int_equal(f->settings.listenPort, 10911);
        assert_string_equal(f->settings.brokerName, "broker-a");
    }
}

static void reading_stops_at_the_first_problem(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_text(f, MQ_STR("listenPort=2\nx\ny\nlistenPort=3\n")), MQ_EINVAL);
    assert_message(f, &f->problem, "@:2: x: is not of the form key=value\n");
    assert_int_equal(f->settings.listenPort, 2);
}

static void each_key_without_meaning_is_one_warning(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(read_text(f, MQ_STR("transientStorePoolEnable=x\nlistenPort=5\ntransientStorePoolEnable=\n")),
                     0);
    assert_message(f, &f->warnings,
                   "@:1: transientStorePoolEnable: has no meaning here, ignored\n"
                   "@:3: transientStorePoolEnable: has no meaning here, ignored\n");
    assert_int_equal(f->settings.listenPort, 5);
}

static void a_file_that_cannot_be_read_gives_its_errno(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mq_conf_read("/nonexistent/x", KEYS, &f->settings, &f->problem, &f->warnings), -ENOENT);
    assert_int_equal(f->problem.len, 0);
}

static void a_key_from_the_command_line_has_no_line_number(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        mq_conf_set("-o", 0, MQ_STR("listenPort"), MQ_STR("9"), KEYS, &f->settings, &f->problem, &f->warnings), 0);
    assert_int_equal(f->settings.listenPort, 9);
    assert_int_equal(
        mq_conf_set("-o", 0, MQ_STR("listenPort"), MQ_STR("-9"), KEYS, &f->settings, &f->problem, &f->warnings),
        MQ_EINVAL);
    assert_message(f, &f->problem, "-o: listenPort: \"-9\" is outside 1..65535\n");
}

static void printing_is_sorted_and_reads_back(void **state)
{
    struct fixture *f = *state;
    struct mq_buf out = {0};

    f->settings.enablePropertyFilter = true;
    assert_int_equal(mq_conf_print(KEYS, &f->settings, &out), 0);
    assert_message(f, &out,
                   "brokerName=broker-a\ndLegerPeers=\nenablePropertyFilter=true\nflushDiskType=SYNC_FLUSH\n"
                   "listenPort=10911\nstorePathRootDir=store\n");
    f->settings.listenPort = 1;
    assert_int_equal(read_text(f, mq_buf_str(&out)), 0);
    assert_int_equal(f->settings.listenPort, 10911);
    mq_buf_free(&out);
}

static void every_failed_allocation_is_reported_and_nothing_leaks(void **state)
{
    static const char TEXT[] = "brokerName=b\ntransientStorePoolEnable=1\ndLegerPeers=x\nbrokerNmae=1\n";
    struct fixture *f = *state;
    int rc = MQ_ENOMEM;
    unsigned nth;

    assert_int_equal(read_text(f, MQ_STR(TEXT)), MQ_EINVAL);
    for (nth = 1; rc == MQ_ENOMEM; nth++) {
        struct mq_buf problem = {0}, warnings = {0};
        struct settings settings;

        mq_heap_fail_at(nth);
        rc = mq_conf_defaults(KEYS, &settings);
        if (rc == 0) {
            rc = mq_conf_read(f->path, KEYS, &settings, &problem, &warnings);
            mq_conf_free(KEYS, &settings);
        }
        mq_heap_fail_at(0);
        assert_true(rc == MQ_EINVAL || rc == MQ_ENOMEM);
        mq_buf_free(&problem);
        mq_buf_free(&warnings);
    }
    assert_true(nth > 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(defaults_fill_every_field),
        TEST(a_rocketmq_file_is_read),
        TEST(an_empty_file_and_an_empty_value_are_read),
        TEST(a_value_of_any_length_is_kept),
        TEST(a_problem_names_file_line_key_and_reason),
        TEST(reading_stops_at_the_first_problem),
        TEST(each_key_without_meaning_is_one_warning),
        TEST(a_file_that_cannot_be_read_gives_its_errno),
        TEST(a_key_from_the_command_line_has_no_line_number),
        TEST(printing_is_sorted_and_reads_back),
        TEST(every_failed_allocation_is_reported_and_nothing_leaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
