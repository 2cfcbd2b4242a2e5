#include "wire.h"

#include "remoting/base/err.h"
#include "remoting/protocol/filter_sql.h"
#include "remoting/protocol/properties.h"

#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_BYTES 4096

/* Undoes the recorder's \\, \t and \n in place. */
static void unescape(char *text)
{
    char *to = text;

    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            text++;
            *to++ = *text == 't' ? '\t' : *text == 'n' ? '\n' : *text;
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
}

/* "a=1;b=x;" as the properties of a record. */
static void put_properties(char *list, struct mq_buf *out)
{
    char *name, *value, *rest = list;

    while ((name = strsep(&rest, ";")) != NULL && *name != '\0') {
        value = strchr(name, '=');
        assert_non_null(value);
        *value++ = '\0';
        unescape(value);
        assert_int_equal(proto_properties_put(out, 0, mq_str_of(name), mq_str_of(value)), 0);
    }
}

/* What stock RocketMQ makes of it, in its words. */
static const char *ask(const char *text, struct mq_str properties)
{
    struct mq_buf problem = {0};
    struct proto_sql *sql;
    const char *result = "INVALID";
    int rc = proto_sql_compile(mq_str_of(text), &sql, &problem);

    assert_true(rc == 0 || rc == MQ_EINVAL);
    assert_int_equal(rc == 0, problem.len == 0);
    if (rc == 0) {
        result = proto_sql_match(sql, properties) ? "TRUE" : "no match";
        proto_sql_free(sql);
    }
    mq_buf_free(&problem);
    return result;
}

static void expressions_pass_and_fail_as_in_java(void **state)
{
    FILE *file = fopen("tests/golden/filter-5.4.0/cases.txt", "r");
    char line[LINE_MAX_BYTES];
    unsigned lines = 0, passed = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *rest = line;
        const char *wanted = strsep(&rest, "\t");
        char *text = strsep(&rest, "\t");
        struct mq_buf properties = {0};
        const char *got;

        rest[strcspn(rest, "\n")] = '\0';
        put_properties(rest, &properties);
        unescape(text);
        got = ask(text, mq_buf_str(&properties));
        if (strcmp(wanted, "TRUE") != 0 && strcmp(wanted, "INVALID") != 0) {
            wanted = "no match"; /* false, unknown, thrown: a consumer cannot tell */
        }
        if (strcmp(got, wanted) != 0) {
            fail_msg("line %u: %s: %s, in Java %s", lines + 1, text, got, wanted);
        }
        mq_buf_free(&properties);
        lines++;
        passed += strcmp(got, "TRUE") == 0;
    }
    fclose(file);
    assert_true(lines > 5000 && passed > 500);
}

static void an_error_names_its_position(void **state)
{
    static const struct {
        const char *text;
        const char *problem;
    } cases[] = {
        {"", "at position 1: expected a property, a value or \"(\", found the end"},
        {"a > 5 AND", "at position 10: expected a property, a value or \"(\", found the end"},
        {"a LIKE 'x' # b", NULL}, /* complete before LIKE: the rest is not looked at */
        {"a # b", "at position 3: expected an operator or the end, found \"#\""},
        {"a NOT 5", "at position 7: expected BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH, found \"5\""},
        {"a IN ('x', 5)", "at position 12: expected a text in single quotes, found \"5\""},
        {"(a = 5", "at position 7: expected \")\", found the end"},
        {"a IS 5", "at position 6: expected NULL or NOT NULL, found \"5\""},
        {"a BETWEEN 1 OR 2", "at position 13: expected AND and the upper bound, found \"OR\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mq_buf problem = {0};
        struct proto_sql *sql = NULL;
        int rc = proto_sql_compile(mq_str_of(cases[i].text), &sql, &problem);

        assert_int_equal(rc, cases[i].problem == NULL ? 0 : MQ_EINVAL);
        if (rc != 0) {
            assert_int_equal(mq_buf_put_u8(&problem, 0), 0);
            assert_string_equal((char *)problem.base, cases[i].problem);
        }
        proto_sql_free(sql);
        mq_buf_free(&problem);
    }
}

/* @times times @part, with @before and @after around all. */
static int compile_repeated(const char *before, const char *part, unsigned times, const char *after)
{
    struct mq_buf text = {0}, problem = {0};
    struct proto_sql *sql = NULL;
    int rc;

    assert_int_equal(mq_buf_put_str(&text, mq_str_of(before)), 0);
    for (unsigned i = 0; i < times; i++) {
        assert_int_equal(mq_buf_printf(&text, part, i), 0);
    }
    assert_int_equal(mq_buf_put_str(&text, mq_str_of(after)), 0);
    rc = proto_sql_compile(mq_buf_str(&text), &sql, &problem);
    assert_int_equal(rc == 0, problem.len == 0);
    proto_sql_free(sql);
    mq_buf_free(&text);
    mq_buf_free(&problem);
    return rc;
}

static void an_expression_may_cost_only_so_much(void **state)
{
    (void)state;
    assert_int_equal(compile_repeated("a = 5", " OR a = 5", 254, ""), 0);
    assert_int_equal(compile_repeated("a = 5", " OR a = 5", 256, ""), MQ_ETOOBIG);
    assert_int_equal(compile_repeated("", "NOT ", 63, "a"), 0);
    assert_int_equal(compile_repeated("", "NOT ", 64, "a"), MQ_ETOOBIG);
    assert_int_equal(compile_repeated("", "(", 63, "a"), MQ_EINVAL); /* deep enough, but not closed */
    assert_int_equal(compile_repeated("", "(", 100000, ""), MQ_ETOOBIG);
    assert_int_equal(compile_repeated("a", " OR a%u", 63, ""), 0);
    assert_int_equal(compile_repeated("a", " OR a%u", 64, ""), MQ_ETOOBIG);
    assert_int_equal(compile_repeated("a = '", "x", PROTO_SQL_TEXT_MAX - 6, "'"), 0);
    assert_int_equal(compile_repeated("a = '", "x", PROTO_SQL_TEXT_MAX - 5, "'"), MQ_ETOOBIG);
}

static void of_a_property_written_twice_the_last_counts(void **state)
{
    (void)state;
    assert_string_equal(ask("a = '2'", MQ_STR("a\1"
                                              "1\2"
                                              "a\1"
                                              "2\2")),
                        "TRUE");
    assert_string_equal(ask("a IS NULL", MQ_STR("")), "TRUE");
    assert_string_equal(ask("a IS NULL", (struct mq_str){0}), "TRUE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_pass_and_fail_as_in_java),
        cmocka_unit_test(an_error_names_its_position),
        cmocka_unit_test(an_expression_may_cost_only_so_much),
        cmocka_unit_test(of_a_property_written_twice_the_last_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
