#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A reader over a copy of some text in a block of exactly its size, so that a read behind the end is seen. */
struct reading {
    struct mq_json json;
    char *bytes; /* owned */
};

static void reading_init(struct reading *r, struct mq_str text)
{
    r->bytes = malloc(text.len != 0 ? text.len : 1);
    assert_non_null(r->bytes);
    memcpy(r->bytes, text.at, text.len);
    mq_json_init(&r->json, r->bytes, text.len);
}

static void reading_fini(struct reading *r)
{
    free(r->bytes);
}

/* One letter a token, then its text in '<>' if it has one; ends with '.' (END) or '!' (ERROR). */
static void tokens_of(struct mq_str text, struct mq_buf *out)
{
    static const char LETTERS[] = "!.{}[]ksntfz";
    struct reading r;
    enum mq_json_kind kind;

    reading_init(&r, text);
    out->len = 0;
    do {
        kind = mq_json_next(&r.json);
        assert_int_equal(kind, r.json.kind);
        assert_int_equal(mq_buf_put_u8(out, (uint8_t)LETTERS[kind]), 0);
        if (kind == MQ_JSON_KEY || kind == MQ_JSON_STRING || kind == MQ_JSON_NUMBER) {
            assert_non_null(r.json.text.at);
            assert_int_equal(mq_buf_printf(out, "<" MQ_STR_FMT ">", MQ_STR_ARG(r.json.text)), 0);
        }
    } while (kind != MQ_JSON_END && kind != MQ_JSON_ERROR);
    assert_int_equal(mq_json_next(&r.json), kind); /* both are sticky */
    reading_fini(&r);
}

static void assert_tokens(const char *text, const char *want)
{
    struct mq_buf got = {0};

    tokens_of(mq_str_of(text), &got);
    if (!mq_str_eq(mq_buf_str(&got), mq_str_of(want))) {
        fail_msg("%s gave %.*s, not %s", text, (int)got.len, (char *)got.base, want);
    }
    mq_buf_free(&got);
}

static void well_formed_texts_give_their_tokens(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{}", "{}."},
        {"[]", "[]."},
        {" \t\r\n{ \n} \t\r\n", "{}."},
        {"1", "n<1>."},
        {"\"\"", "s<>."},
        {"true", "t."},
        {"{\"a\":1}", "{k<a>n<1>}."},
        {"{ \"a\" : 1 , \"b\" : [ true , false , null ] }", "{k<a>n<1>k<b>[tfz]}."},
        {"[[],{},[{}]]", "[[]{}[{}]]."},
        {"[0,-0,10,-1.5,1e5,1E+5,1.25e-10]", "[n<0>n<-0>n<10>n<-1.5>n<1e5>n<1E+5>n<1.25e-10>]."},
        {"{\"\":\"\"}", "{k<>s<>}."},
        {"{\"a\":1,\"a\":2}", "{k<a>n<1>k<a>n<2>}."},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_tokens(cases[i].text, cases[i].want);
    }
}

static void the_keys_of_fastjson_are_read(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{0:\"a\",-12:\"b\",7 :1}", "{k<0>s<a>k<-12>s<b>k<7>n<1>}."},
        {"{{\"queueId\":0,\"topic\":\"t\"}:1}", "{k<{\"queueId\":0,\"topic\":\"t\"}>n<1>}."},
        {"{\"offsetTable\":{{\"b\":\"x\"}:{\"min\":0},{\"b\":\"y\"} : 2}}",
         "{k<offsetTable>{k<{\"b\":\"x\"}>{k<min>n<0>}k<{\"b\":\"y\"}>n<2>}}."},
        /* Raw text: braces and escapes in its strings do not end it and stay as they are. */
        {"{{\"t\":\"}{\\\"}\\u0041\\\\\"}:1}", "{k<{\"t\":\"}{\\\"}\\u0041\\\\\"}>n<1>}."},
        {"{{\"a\":{\"b\":{}}}:1}", "{k<{\"a\":{\"b\":{}}}>n<1>}."},
        {"{{}:1}", "{k<{}>n<1>}."},
        {"{{\"a\":1}}", "{!"},
        {"{{\"a\":1:1}", "{!"},
        {"{{\"a:1}:1}", "{!"},
        {"{{\"a\\", "{!"},
        {"{{\"a\\\"", "{!"},
        {"{-:1}", "{!"},
        {"{01:1}", "{!"},
        {"{1.5:1}", "{!"},
        {"{[1]:1}", "{!"},
        {"{true:1}", "{!"},
        {"{a:1}", "{!"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_tokens(cases[i].text, cases[i].want);
    }
}

static void ill_formed_texts_end_in_an_error(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "!"},
        {"   ", "!"},
        {"{", "{!"},
        {"[", "[!"},
        {"}", "!"},
        {"]", "!"},
        {"[}", "[!"},
        {"{]", "{!"},
        {"{\"a\"}", "{!"},
        {"{\"a\":}", "{k<a>!"},
        {"{\"a\":1", "{k<a>n<1>!"},
        {"{\"a\":1]", "{k<a>n<1>!"},
        {"[1}", "[n<1>!"},
        {"[1,]", "[n<1>!"},
        {"{\"a\":1,}", "{k<a>n<1>!"},
        {"[,1]", "[!"},
        {"[1 2]", "[n<1>!"},
        {"[1,,2]", "[n<1>!"},
        {"{\"a\" 1}", "{!"},
        {"{,}", "{!"},
        {"\"", "!"},
        {"\"a", "!"},
        {"\"\\", "!"},
        {"\"\\\"", "!"},
        {"\"\\x\"", "!"},
        {"\"\\u12\"", "!"},
        {"\"\\u12G4\"", "!"},
        {"\"\\u123", "!"},
        {"'a'", "!"},
        {"tru", "!"},
        {"trux", "!"},
        {"nul", "!"},
        {"fals", "!"},
        {"\"\"\"", "s<>!"},
        {"truee", "t!"},
        {"NaN", "!"},
        {"-", "!"},
        {"+1", "!"},
        {"01", "n<0>!"},
        {"1.", "!"},
        {".5", "!"},
        {"1e", "!"},
        {"1e+", "!"},
        {"1.e5", "!"},
        {"-a", "!"},
        {"1x", "n<1>!"},
        {"{}x", "{}!"},
        {"{} {}", "{}!"},
        {"1,", "n<1>!"},
        {"/*c*/1", "!"},
        {"[1", "[n<1>!"},
        {"[1,", "[n<1>!"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_tokens(cases[i].text, cases[i].want);
    }
}

static void escapes_are_decoded_in_place(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"UNIQ_KEY\\u0001C0A8\\u0002WAIT\\u0001true\"", "UNIQ_KEY\001C0A8\002WAIT\001true"},
        {"\"a\\u00e4\\u00C4\\u20AC\"", "a\xC3\xA4\xC3\x84\xE2\x82\xAC"},
        {"\"\\ud83d\\uDE00\"", "\xF0\x9F\x98\x80"},
        {"\"\\uD800\\uDC00\\uDBFF\\uDFFF\"", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
        {"\"\\uD83D\"", "\xEF\xBF\xBD"},
        {"\"\\uD83Dx\"", "\xEF\xBF\xBDx"},
        {"\"\\uDE00\\uD83D\"", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\"\\uD83D\\uD83D\\uDE00\"", "\xEF\xBF\xBD\xF0\x9F\x98\x80"},
        {"\"\\uDE00\\uDE00\"", "\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\"\\uD83D\\n\"", "\xEF\xBF\xBD\n"},
        {"\"\\uFFFF\\uFFFD\\u07FF\\u0800\"", "\xEF\xBF\xBF\xEF\xBF\xBD\xDF\xBF\xE0\xA0\x80"},
        /* Raw bytes pass: control bytes, UTF-8, and what is no UTF-8. */
        {"\"a\nb\tc\x01\"", "a\nb\tc\x01"},
        {"\"\xE8\xAE\xA2\xE5\x8D\x95\xFF\x80\"", "\xE8\xAE\xA2\xE5\x8D\x95\xFF\x80"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reading r;

        reading_init(&r, mq_str_of(cases[i].text));
        assert_int_equal(mq_json_next(&r.json), MQ_JSON_STRING);
        assert_int_equal(r.json.text.len, strlen(cases[i].want));
        assert_memory_equal(r.json.text.at, cases[i].want, r.json.text.len);
        assert_int_equal(mq_json_next(&r.json), MQ_JSON_END);
        reading_fini(&r);
    }
}

static void an_escaped_nul_is_a_byte_like_others(void **state)
{
    struct reading r;

    (void)state;
    reading_init(&r, MQ_STR("\"a\\u0000b\""));
    assert_int_equal(mq_json_next(&r.json), MQ_JSON_STRING);
    assert_int_equal(r.json.text.len, 3);
    assert_memory_equal(r.json.text.at, "a\0b", 3);
    reading_fini(&r);
}

/* The quote and the escape are found whatever their distance from the start, and whatever follows. */
static void strings_of_every_length_are_found(void **state)
{
    (void)state;
    for (size_t n = 0; n < 70; n++) {
        for (size_t escape = 0; escape <= n; escape++) {
            struct mq_buf text = {0};
            struct reading r;

            assert_int_equal(mq_buf_put(&text, "[\"", 2), 0);
            for (size_t i = 0; i < n; i++) {
                assert_int_equal(i == escape ? mq_buf_put(&text, "\\n", 2) : mq_buf_put(&text, "x", 1), 0);
            }
            assert_int_equal(mq_buf_put(&text, "\",\"\"]", 5), 0);
            reading_init(&r, mq_buf_str(&text));
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_ARRAY_BEGIN);
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_STRING);
            assert_int_equal(r.json.text.len, n);
            for (size_t i = 0; i < n; i++) {
                assert_int_equal(r.json.text.at[i], i == escape ? '\n' : 'x');
            }
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_STRING);
            assert_int_equal(r.json.text.len, 0);
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_ARRAY_END);
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_END);
            reading_fini(&r);
            mq_buf_free(&text);
        }
    }
}

static const char HEADER[] = "{\"code\":310,\"extFields\":{\"a\":\"PG_ORDERS\",\"g\":\"1700000000123\",\"i\":"
                             "\"UNIQ_KEY\\u0001C0A8010100002A9F4B2F8D3E5C7A0001\\u0002WAIT\\u0001true\","
                             "\"\\ud83d\\ude00\":[1.5e-3,{0:null}],{\"queueId\":0}:false},\"flag\":0}";

static void a_text_cut_anywhere_is_an_error(void **state)
{
    struct mq_buf tokens = {0};

    (void)state;
    tokens_of(MQ_STR(HEADER), &tokens);
    assert_int_equal(tokens.base[tokens.len - 1], '.');
    for (uint32_t n = 0; n < sizeof(HEADER) - 1; n++) {
        tokens_of((struct mq_str){HEADER, n}, &tokens);
        assert_int_equal(tokens.base[tokens.len - 1], '!');
    }
    mq_buf_free(&tokens);
}

static void depth_is_bounded(void **state)
{
    static const char *const OPEN[] = {"[", "{\"a\":", "{{"};
    struct mq_buf tokens = {0}, text = {0};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        text.len = 0;
        for (int depth = 0; depth < MQ_JSON_DEPTH_MAX; depth++) {
            assert_int_equal(mq_buf_put_str(&text, mq_str_of(OPEN[i])), 0);
        }
        assert_int_equal(mq_buf_put_u8(&text, '1'), 0);
        for (int depth = 0; depth < MQ_JSON_DEPTH_MAX; depth++) {
            assert_int_equal(mq_buf_put_u8(&text, i == 0 ? ']' : '}'), 0);
        }
        tokens_of(mq_buf_str(&text), &tokens);
        assert_int_equal(tokens.base[tokens.len - 1], '.');
    }
    for (size_t i = 0; i < ARRAY_SIZE(OPEN); i++) {
        text.len = 0;
        for (int depth = 0; depth <= 100000; depth++) {
            assert_int_equal(mq_buf_put_str(&text, mq_str_of(OPEN[i])), 0);
        }
        tokens_of(mq_buf_str(&text), &tokens);
        assert_int_equal(tokens.base[tokens.len - 1], '!');
        assert_true(tokens.len < 5 * MQ_JSON_DEPTH_MAX + 2);
    }
    mq_buf_free(&text);
    mq_buf_free(&tokens);
}

static void depth_within_an_object_key_is_bounded(void **state)
{
    struct mq_buf tokens = {0};

    (void)state;
    for (int depth = MQ_JSON_DEPTH_MAX; depth <= MQ_JSON_DEPTH_MAX + 1; depth++) {
        struct mq_buf text = {0};

        assert_int_equal(mq_buf_put_u8(&text, '{'), 0);
        for (int i = 0; i < 2 * depth; i++) {
            assert_int_equal(mq_buf_put_u8(&text, i < depth ? '{' : '}'), 0);
        }
        assert_int_equal(mq_buf_put(&text, ":1}", 3), 0);
        tokens_of(mq_buf_str(&text), &tokens);
        assert_int_equal(tokens.base[tokens.len - 1], depth <= MQ_JSON_DEPTH_MAX ? '.' : '!');
        mq_buf_free(&text);
    }
    mq_buf_free(&tokens);
}

static void an_object_key_is_read_by_a_reader_of_its_own(void **state)
{
    struct reading outer;
    struct mq_json inner;
    struct mq_str value;

    (void)state;
    reading_init(&outer, MQ_STR("{{\"topic\":\"a\\u0041\",\"queueId\":3}:{\"x\":1}}"));
    assert_int_equal(mq_json_next(&outer.json), MQ_JSON_OBJECT_BEGIN);
    assert_int_equal(mq_json_next(&outer.json), MQ_JSON_KEY);
    mq_json_init(&inner, outer.bytes + (outer.json.text.at - outer.bytes), outer.json.text.len);
    assert_int_equal(mq_json_next(&inner), MQ_JSON_OBJECT_BEGIN);
    assert_int_equal(mq_json_next(&inner), MQ_JSON_KEY);
    assert_int_equal(mq_json_scalar(&inner, &value), 0);
    assert_true(mq_str_eq(value, MQ_STR("aA")));
    assert_int_equal(mq_json_next(&inner), MQ_JSON_KEY);
    assert_int_equal(mq_json_scalar(&inner, &value), 0);
    assert_true(mq_str_eq(value, MQ_STR("3")));
    assert_int_equal(mq_json_next(&inner), MQ_JSON_OBJECT_END);
    assert_int_equal(mq_json_next(&inner), MQ_JSON_END);
    assert_int_equal(mq_json_skip(&outer.json), 0);
    assert_int_equal(mq_json_next(&outer.json), MQ_JSON_OBJECT_END);
    reading_fini(&outer);
}

static void a_scalar_is_text_whatever_its_kind(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{\"k\":\"s\",\"z\":0}", "s"}, {"{\"k\":-5,\"z\":0}", "-5"},       {"{\"k\":true,\"z\":0}", "true"},
        {"{\"k\":\"\",\"z\":0}", ""},   {"{\"k\":false,\"z\":0}", "false"}, {"{\"k\":null,\"z\":0}", NULL},
        {"{\"k\":{},\"z\":0}", NULL},   {"{\"k\":[1,[2]],\"z\":0}", NULL},  {"{\"k\":{\"k\":[]},\"z\":0}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_str got = MQ_STR("old");
        struct reading r;

        reading_init(&r, mq_str_of(cases[i].text));
        assert_int_equal(mq_json_next(&r.json), MQ_JSON_OBJECT_BEGIN);
        assert_int_equal(mq_json_next(&r.json), MQ_JSON_KEY);
        assert_int_equal(mq_json_scalar(&r.json, &got), 0);
        assert_true((got.at == NULL) == (cases[i].want == NULL));
        assert_true(mq_str_eq(got, mq_str_of(cases[i].want)));
        assert_int_equal(mq_json_next(&r.json), MQ_JSON_KEY);
        assert_true(mq_str_eq(r.json.text, MQ_STR("z")));
        reading_fini(&r);
    }
}

static void a_missing_scalar_is_bad_and_leaves_the_result_alone(void **state)
{
    static const char *const CASES[] = {"", "}", "{\"a\":[1", "{", "nul", "\"a"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct mq_str got = MQ_STR("old");
        struct reading r;

        reading_init(&r, mq_str_of(CASES[i]));
        assert_int_equal(mq_json_scalar(&r.json, &got), MQ_EBADMSG);
        assert_true(mq_str_eq(got, MQ_STR("old")));
        assert_int_equal(mq_json_next(&r.json), MQ_JSON_ERROR);
        reading_fini(&r);
    }
}

static void skipping_passes_one_whole_value(void **state)
{
    static const char *const VALUES[] = {"1", "\"]}\"", "null", "{}", "[]", "[[1],{\"a\":{}},\"[\"]", "{\"a\":[{}]}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(VALUES); i++) {
        for (int begin_first = 0; begin_first < 2; begin_first++) {
            struct mq_buf text = {0};
            struct reading r;

            assert_int_equal(mq_buf_printf(&text, "{\"k\":%s,\"z\":0}", VALUES[i]), 0);
            reading_init(&r, mq_buf_str(&text));
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_OBJECT_BEGIN);
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_KEY);
            if (begin_first && (VALUES[i][0] == '{' || VALUES[i][0] == '[')) {
                mq_json_next(&r.json);
            }
            assert_int_equal(mq_json_skip(&r.json), 0);
            assert_int_equal(mq_json_next(&r.json), MQ_JSON_KEY);
            assert_true(mq_str_eq(r.json.text, MQ_STR("z")));
            reading_fini(&r);
            mq_buf_free(&text);
        }
    }
}

static void skipping_what_is_broken_is_bad(void **state)
{
    static const char *const CASES[] = {"", "[", "[1,", "{\"a\":[}", "[[]", "]"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct reading r;

        reading_init(&r, mq_str_of(CASES[i]));
        assert_int_equal(mq_json_skip(&r.json), MQ_EBADMSG);
        reading_fini(&r);
    }
}

static void a_written_string_is_escaped(void **state)
{
    static const struct {
        struct mq_str text;
        const char *want;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {{"", 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"\"q\\", 3}, "\"\\\"q\\\\\""},
        {{"\b\t\n\f\r", 5}, "\"\\b\\t\\n\\f\\r\""},
        {{"\0a\x01\x1F\x0B\x7F", 6}, "\"\\u0000a\\u0001\\u001F\\u000B\x7F\""},
        {{"\xE8\xAE\xA2\xFF/", 5}, "\"\xE8\xAE\xA2\xFF/\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf out = {0};

        assert_int_equal(mq_json_put_string(&out, cases[i].text), 0);
        assert_true(mq_str_eq(mq_buf_str(&out), mq_str_of(cases[i].want)));
        mq_buf_free(&out);
    }
}

static void every_byte_survives_writing_and_reading(void **state)
{
    struct mq_buf out = {0};
    char all[256];
    struct reading r;

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (char)i;
    }
    assert_int_equal(mq_json_put_string(&out, (struct mq_str){all, sizeof(all)}), 0);
    reading_init(&r, mq_buf_str(&out));
    assert_int_equal(mq_json_next(&r.json), MQ_JSON_STRING);
    assert_int_equal(r.json.text.len, sizeof(all));
    assert_memory_equal(r.json.text.at, all, sizeof(all));
    reading_fini(&r);
    mq_buf_free(&out);
}

static void a_failed_write_leaves_the_buffer_as_it_was(void **state)
{
    static const char LONG_CONTROLS[300];
    int rc = MQ_ENOMEM;
    unsigned nth;

    (void)state;
    for (nth = 1; rc != 0; nth++) {
        struct mq_buf out = {0};

        assert_int_equal(mq_buf_put(&out, "x", 1), 0);
        mq_heap_fail_at(nth);
        rc = mq_json_put_string(&out, (struct mq_str){LONG_CONTROLS, sizeof(LONG_CONTROLS)});
        mq_heap_fail_at(0);
        assert_int_equal(rc, rc == 0 ? 0 : MQ_ENOMEM);
        assert_int_equal(out.len, rc == 0 ? 1 + 2 + 6 * sizeof(LONG_CONTROLS) : 1);
        mq_buf_free(&out);
    }
    assert_true(nth > 3);
}

static void doubles_are_written_for_java(void **state)
{
    static const struct {
        double value;
        const char *want;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {-42, "-42.0"},
        {0.1, "0.1"},
        {1.5, "1.5"},
        {1e300, "1e+300"},
        {1e-7, "1e-07"},
        {1.0 / 3, "0.3333333333333333"},
        {123456789.125, "123456789.125"},
        {NAN, "0.0"},
        {INFINITY, "0.0"},
        {-INFINITY, "0.0"},
        {5e-324, "4.94065645841247e-324"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf out = {0};
        struct mq_buf tokens = {0};

        assert_int_equal(mq_json_put_double(&out, cases[i].value), 0);
        if (!mq_str_eq(mq_buf_str(&out), mq_str_of(cases[i].want))) {
            fail_msg("%.*s, not %s", (int)out.len, (char *)out.base, cases[i].want);
        }
        tokens_of(mq_buf_str(&out), &tokens);
        assert_int_equal(tokens.base[tokens.len - 1], '.');
        mq_buf_free(&tokens);
        mq_buf_free(&out);
    }
}

static void doubles_read_back_as_the_same_value(void **state)
{
    uint64_t x = 88172645463325252u;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct mq_buf out = {0};
        double value;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(&value, &x, sizeof(value));
        if (!isfinite(value)) {
            continue;
        }
        assert_int_equal(mq_json_put_double(&out, value), 0);
        assert_int_equal(mq_buf_put_u8(&out, 0), 0);
        assert_true(strtod((const char *)out.base, NULL) == value);
        mq_buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_texts_give_their_tokens),
        cmocka_unit_test(the_keys_of_fastjson_are_read),
        cmocka_unit_test(ill_formed_texts_end_in_an_error),
        cmocka_unit_test(escapes_are_decoded_in_place),
        cmocka_unit_test(an_escaped_nul_is_a_byte_like_others),
        cmocka_unit_test(strings_of_every_length_are_found),
        cmocka_unit_test(a_text_cut_anywhere_is_an_error),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(depth_within_an_object_key_is_bounded),
        cmocka_unit_test(an_object_key_is_read_by_a_reader_of_its_own),
        cmocka_unit_test(a_scalar_is_text_whatever_its_kind),
        cmocka_unit_test(a_missing_scalar_is_bad_and_leaves_the_result_alone),
        cmocka_unit_test(skipping_passes_one_whole_value),
        cmocka_unit_test(skipping_what_is_broken_is_bad),
        cmocka_unit_test(a_written_string_is_escaped),
        cmocka_unit_test(every_byte_survives_writing_and_reading),
        cmocka_unit_test(a_failed_write_leaves_the_buffer_as_it_was),
        cmocka_unit_test(doubles_are_written_for_java),
        cmocka_unit_test(doubles_read_back_as_the_same_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
