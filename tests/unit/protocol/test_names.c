#include "wire.h"

#include "remoting/protocol/names.h"

static struct mq_str repeat(char *out, const char *prefix, uint32_t n)
{
    size_t used = strlen(prefix);

    memcpy(out, prefix, used);
    memset(out + used, 'x', n - used);
    return (struct mq_str){out, n};
}

static void topics_and_groups_have_the_characters_of_java(void **state)
{
    static const struct {
        const char *name;
        enum proto_name_problem want;
    } cases[] = {
        {"orders", PROTO_NAME_OK},        {"%RETRY%CG", PROTO_NAME_OK},
        {"a|b-c_D9%", PROTO_NAME_OK},     {"", PROTO_NAME_BLANK},
        {"   ", PROTO_NAME_BLANK},        {"\t\n", PROTO_NAME_BLANK},
        {"../x", PROTO_NAME_CHARACTER},   {"a b", PROTO_NAME_CHARACTER},
        {"a.b", PROTO_NAME_CHARACTER},    {"a\x01", PROTO_NAME_CHARACTER},
        {"a+b", PROTO_NAME_CHARACTER},    {"\xC3\xA4", PROTO_NAME_CHARACTER},
        {"a/b", PROTO_NAME_CHARACTER},    {"%RETRY%a+b", PROTO_NAME_CHARACTER},
        {"a:b", PROTO_NAME_CHARACTER},    {"TOOLS_CONSUMER", PROTO_NAME_OK},
        {"a@b", PROTO_NAME_CHARACTER},    {"a[b", PROTO_NAME_CHARACTER},
        {"a`b{c}", PROTO_NAME_CHARACTER},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("'%s'\n", cases[i].name);
        assert_int_equal(proto_topic_check(mq_str_of(cases[i].name)), cases[i].want);
        assert_int_equal(proto_group_check(mq_str_of(cases[i].name)), cases[i].want);
    }
    assert_int_equal(proto_topic_check((struct mq_str){0}), PROTO_NAME_BLANK);
    assert_int_equal(proto_topic_check((struct mq_str){"a\0b", 3}), PROTO_NAME_CHARACTER);
}

static void lengths_end_where_java_ends_them(void **state)
{
    char text[300];

    (void)state;
    assert_int_equal(proto_topic_check(repeat(text, "", 127)), PROTO_NAME_OK);
    assert_int_equal(proto_topic_check(repeat(text, "", 128)), PROTO_NAME_LONG);
    assert_int_equal(proto_topic_check(repeat(text, "%RETRY%", 255)), PROTO_NAME_OK);
    assert_int_equal(proto_topic_check(repeat(text, "%RETRY%", 256)), PROTO_NAME_LONG);
    assert_int_equal(proto_topic_check(repeat(text, "%DLQ%", 255)), PROTO_NAME_OK);
    assert_int_equal(proto_topic_check(repeat(text, "%DLQ%", 256)), PROTO_NAME_LONG);
    assert_int_equal(proto_group_check(repeat(text, "", 120)), PROTO_NAME_OK);
    assert_int_equal(proto_group_check(repeat(text, "", 121)), PROTO_NAME_LONG);
}

static void problems_have_texts_with_their_limit(void **state)
{
    (void)state;
    assert_non_null(strstr(proto_name_problem_text(PROTO_NAME_LONG, false), "127"));
    assert_non_null(strstr(proto_name_problem_text(PROTO_NAME_LONG, true), "120"));
    assert_string_equal(proto_name_problem_text(PROTO_NAME_BLANK, true), "blank");
    assert_non_null(strstr(proto_name_problem_text(PROTO_NAME_CHARACTER, false), "[%|a-zA-Z0-9_-]"));
}

static void system_topics_are_known(void **state)
{
    static const struct {
        const char *topic;
        bool system, forbidden;
    } cases[] = {
        {"TBW102", true, false},
        {"BenchmarkTest", true, false},
        {"RMQ_SYS_TRACE_TOPIC", true, false},
        {"SCHEDULE_TOPIC_XXXX", true, true},
        {"RMQ_SYS_TRANS_HALF_TOPIC", true, true},
        {"RMQ_SYS_TRANS_OP_HALF_TOPIC", true, true},
        {"TRANS_CHECK_MAX_TIME_TOPIC", true, true},
        {"SELF_TEST_TOPIC", true, true},
        {"OFFSET_MOVED_EVENT", true, true},
        {"CHECKPOINT_TOPIC", true, false},
        {"rmq_sys_wheel_timer", true, false},
        {"rmq_sys_", true, false},
        {"rmq_sys", false, false},
        {"orders", false, false},
        {"%RETRY%CG", false, false},
        {"SELF_TEST_TOPIC2", false, false},
        {"", false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("'%s'\n", cases[i].topic);
        assert_int_equal(proto_topic_is_system(mq_str_of(cases[i].topic)), cases[i].system);
        assert_int_equal(proto_topic_send_forbidden(mq_str_of(cases[i].topic)), cases[i].forbidden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_and_groups_have_the_characters_of_java),
        cmocka_unit_test(lengths_end_where_java_ends_them),
        cmocka_unit_test(problems_have_texts_with_their_limit),
        cmocka_unit_test(system_topics_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
