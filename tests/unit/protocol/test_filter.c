#include "wire.h"

#include "remoting/protocol/filter.h"

static void an_expression_gives_the_codes_of_its_tags(void **state)
{
    static const struct {
        const char *expression;
        bool all;
        int count;
    } cases[] = {
        {NULL, true, 0},
        {"", true, 0},
        {"*", true, 0},
        {"TagA", false, 1},
        {"TagA||TagB", false, 2},
        {" TagA ||\tTagB ", false, 2},
        {"TagA || TagA", false, 1},
        {"TagA||", false, 1},
        {"||TagA", false, 1},
        {"TagA|| ||TagB", false, 2},
        {"A|B", false, 1},
        {"A|||B", false, 2},
        {" ", false, 0},
        {"|| ", false, 0},
        {" * ", false, 1},
        {"|", false, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_filter filter;

        print_message("'%s'\n", cases[i].expression != NULL ? cases[i].expression : "(absent)");
        assert_int_equal(proto_filter_parse(mq_str_of(cases[i].expression), &filter), 0);
        assert_int_equal(filter.all, cases[i].all);
        assert_int_equal(filter.count, cases[i].count);
    }
}

static void separators_alone_are_no_expression(void **state)
{
    static const char *const cases[] = {"||", "||||", "||||||"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct proto_filter filter = {.count = 77};

        assert_int_equal(proto_filter_parse(mq_str_of(cases[i]), &filter), MQ_EINVAL);
        assert_int_equal(filter.count, 77);
    }
}

static void a_filter_passes_its_own_codes_only(void **state)
{
    struct proto_filter filter;

    (void)state;
    assert_int_equal(proto_filter_parse(MQ_STR("TagA || polygenelubricants"), &filter), 0);
    assert_true(proto_filter_match(&filter, 2598919));
    assert_true(proto_filter_match(&filter, INT32_MIN));
    assert_false(proto_filter_match(&filter, 2598920));
    assert_false(proto_filter_match(&filter, 0)); /* a message without tags */

    assert_int_equal(proto_filter_parse(MQ_STR("*"), &filter), 0);
    assert_true(proto_filter_match(&filter, 0));
    assert_true(proto_filter_match(&filter, 2598919));

    assert_int_equal(proto_filter_parse(MQ_STR(" "), &filter), 0);
    assert_false(proto_filter_match(&filter, 0));
}

static void too_many_tags_pass_everything(void **state)
{
    struct mq_buf expression = {0};
    struct proto_filter filter;

    (void)state;
    for (int i = 0; i < PROTO_FILTER_CODES_MAX; i++) {
        assert_int_equal(mq_buf_printf(&expression, "%stag%d", i == 0 ? "" : "||", i), 0);
    }
    assert_int_equal(proto_filter_parse(mq_buf_str(&expression), &filter), 0);
    assert_false(filter.all);
    assert_int_equal(filter.count, PROTO_FILTER_CODES_MAX);
    assert_int_equal(mq_buf_printf(&expression, "||one more"), 0);
    assert_int_equal(proto_filter_parse(mq_buf_str(&expression), &filter), 0);
    assert_true(filter.all);
    mq_buf_free(&expression);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_expression_gives_the_codes_of_its_tags),
        cmocka_unit_test(separators_alone_are_no_expression),
        cmocka_unit_test(a_filter_passes_its_own_codes_only),
        cmocka_unit_test(too_many_tags_pass_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
