#include "wire.h"

#include "remoting/protocol/properties.h"

/* All pairs as "name=value;". */
static void list_of(const char *text, struct mq_buf *out)
{
    struct mq_str rest = mq_str_of(text), name, value;

    while (proto_properties_next(&rest, &name, &value)) {
        assert_int_equal(mq_buf_put_str(out, name), 0);
        assert_int_equal(mq_buf_put_u8(out, '='), 0);
        assert_int_equal(mq_buf_put_str(out, value), 0);
        assert_int_equal(mq_buf_put_u8(out, ';'), 0);
    }
}

static void properties_are_kept_as_java_keeps_them(void **state)
{
    static const struct {
        const char *why, *text, *want;
    } cases[] = {
        {"nothing", "", ""},
        {"as 5.2 and Go write them",
         "A\x01"
         "1\x02"
         "B\x01"
         "2\x02",
         "A=1;B=2;"},
        {"as 4.9.8 writes them, without the last end",
         "A\x01"
         "1\x02"
         "B\x01"
         "2",
         "A=1;B=2;"},
        {"a value with a separator in it",
         "A\x01"
         "1\x01"
         "2\x02",
         "A=1\x01"
         "2;"},
        {"no value",
         "A\x01\x02"
         "B\x01"
         "2\x02",
         "B=2;"},
        {"no name",
         "\x01"
         "1\x02"
         "B\x01"
         "2\x02",
         "B=2;"},
        {"no separator",
         "A\x02"
         "B\x01"
         "2\x02",
         "B=2;"},
        {"ends only", "\x02\x02\x02", ""},
        {"duplicates",
         "A\x01"
         "1\x02"
         "A\x01"
         "2\x02",
         "A=1;A=2;"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf got = {0};

        print_message("%s\n", cases[i].why);
        list_of(cases[i].text, &got);
        assert_int_equal(mq_buf_put_u8(&got, 0), 0);
        assert_string_equal((char *)got.base, cases[i].want);
        mq_buf_free(&got);
    }
}

static void the_last_value_of_a_name_counts(void **state)
{
    struct mq_str text = MQ_STR("A\x01"
                                "1\x02"
                                "AB\x01"
                                "3\x02"
                                "A\x01"
                                "2\x02"
                                "A\x01\x02");

    (void)state;
    wire_assert_str(proto_properties_get(text, MQ_STR("A")), "2");
    wire_assert_str(proto_properties_get(text, MQ_STR("AB")), "3");
    wire_assert_str(proto_properties_get(text, MQ_STR("B")), NULL);
    wire_assert_str(proto_properties_get((struct mq_str){0}, MQ_STR("A")), NULL);
}

static void putting_adds_the_end_that_is_missing(void **state)
{
    static const struct {
        const char *before, *want;
    } cases[] = {
        {"", "N\x01v\x02"},
        {"A\x01"
         "1",
         "A\x01"
         "1\x02N\x01v\x02"},
        {"A\x01"
         "1\x02",
         "A\x01"
         "1\x02N\x01v\x02"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf buf = {0};

        assert_int_equal(mq_buf_put_str(&buf, MQ_STR("record:")), 0);
        assert_int_equal(mq_buf_put_str(&buf, mq_str_of(cases[i].before)), 0);
        assert_int_equal(proto_properties_put(&buf, 7, MQ_STR("N"), MQ_STR("v")), 0);
        assert_int_equal(mq_buf_put_u8(&buf, 0), 0);
        assert_string_equal((char *)buf.base + 7, cases[i].want);
        mq_buf_free(&buf);
    }
}

static void the_tag_code_is_the_java_hash_of_the_tags(void **state)
{
    (void)state;
    assert_int_equal(proto_tags_code(MQ_STR("TAGS\x01TagA\x02")), 2598919);
    assert_int_equal(proto_tags_code(MQ_STR("KEYS\x01k\x02TAGS\x01paid")), 3433164);
    assert_int_equal(proto_tags_code(MQ_STR("TAGS\x01polygenelubricants\x02")), INT32_MIN);
    assert_int_equal(proto_tags_code(MQ_STR("KEYS\x01k\x02")), 0);
    assert_int_equal(proto_tags_code((struct mq_str){0}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_are_kept_as_java_keeps_them),
        cmocka_unit_test(the_last_value_of_a_name_counts),
        cmocka_unit_test(putting_adds_the_end_that_is_missing),
        cmocka_unit_test(the_tag_code_is_the_java_hash_of_the_tags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
