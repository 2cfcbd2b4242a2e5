#include "broker/store/record_keys.h"

#include "remoting/base/assert.h"
#include "remoting/protocol/record.h"
#include "tests/unit/broker/fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void keys_follow_the_table_of_cases(void **state)
{
    static const struct {
        const char *why, *properties;
        const char *keys[5];
    } cases[] = {
        {"no properties", "", {NULL}},
        {"neither name", "TAGS\x01KEYS\x02WAIT\x01true\x02", {NULL}},
        {"one key", "KEYS\x01k\x02", {"k"}},
        {"without the last end", "KEYS\x01k", {"k"}},
        {"parts between single blanks", "KEYS\x01 a  b c \x02", {"a", "b", "c"}},
        {"only a blank parts them",
         "KEYS\x01"
         "a,b\tc\x02",
         {"a,b\tc"}},
        {"the unique id comes first", "KEYS\x01k\x02UNIQ_KEY\x01id x\x02", {"id x", "k"}},
        {"of two the last counts",
         "KEYS\x01"
         "a\x02KEYS\x01z\x02UNIQ_KEY\x01i\x02UNIQ_KEY\x01j\x02",
         {"j", "z"}},
        {"an empty value is none", "KEYS\x01\x02UNIQ_KEY\x01\x02", {NULL}},
        {"an empty one does not hide one before",
         "KEYS\x01"
         "a\x02KEYS\x01\x02",
         {"a"}},
        {"a name alone", "KEYS\x02UNIQ_KEY", {NULL}},
        {"longer and shorter names",
         "KEYSX\x01"
         "a\x02XKEYS\x01"
         "b\x02KEY\x01"
         "c\x02",
         {NULL}},
        {"only blanks", "KEYS\x01   \x02", {NULL}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct record_keys keys;
        struct mq_str key;
        size_t n = 0;

        print_message("%s\n", cases[i].why);
        record_keys_begin(&keys, mq_str_of(cases[i].properties));
        while (record_keys_next(&keys, &key)) {
            assert_non_null(cases[i].keys[n]);
            assert_true(mq_str_eq(key, mq_str_of(cases[i].keys[n])));
            n++;
        }
        assert_null(cases[i].keys[n]);
    }
    {
        struct record_keys keys;
        struct mq_str key;

        record_keys_begin(&keys, (struct mq_str){0}); /* absent */
        assert_false(record_keys_next(&keys, &key));
    }
}

/* They stand in files. */
static void hashes_stay_what_they_are(void **state)
{
    static const struct {
        const char *topic, *key;
        uint32_t want;
    } cases[] = {
        {"T", "k", 0x2387D5AC},
        {"T", "", 0x3D9D798E},
        {"Orders", "abc", 0xB56AA8F1},
        {"Orders", "abcd", 0xE39DEF2D},
        {"Orders", "12345678", 0x7598C382},
        {"Orders", "1234567890123456", 0xD1B8A245},
        {"Orders", "7F0000010B5B18B4AAC27D6C6AE00000", 0xCD83009B},
        {"Orders", "a key of more than two times sixteen bytes", 0xE87ED28E},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t got = record_key_hash(record_topic_hash(mq_str_of(cases[i].topic)), mq_str_of(cases[i].key));

        print_message("%s#%s 0x%08X\n", cases[i].topic, cases[i].key, got);
        assert_int_equal(got, cases[i].want);
    }
}

static void every_byte_of_topic_and_key_counts(void **state)
{
    char text[64];
    uint32_t first;

    (void)state;
    memset(text, 'x', sizeof(text));
    for (uint32_t len = 1; len < sizeof(text); len++) {
        first = record_key_hash(record_topic_hash(MQ_STR("T")), (struct mq_str){text, len});
        for (uint32_t at = 0; at < len; at++) {
            text[at] = 'y';
            assert_int_not_equal(record_key_hash(record_topic_hash(MQ_STR("T")), (struct mq_str){text, len}), first);
            text[at] = 'x';
        }
        assert_int_not_equal(record_key_hash(record_topic_hash(MQ_STR("T")), (struct mq_str){text, len - 1}), first);
        assert_int_not_equal(record_key_hash(record_topic_hash(MQ_STR("U")), (struct mq_str){text, len}), first);
    }
}

static uint32_t make_record(uint8_t *at, const char *topic, const char *properties, int32_t sys_flag)
{
    struct proto_record record = {.topic = mq_str_of(topic),
                                  .properties = mq_str_of(properties),
                                  .body = MQ_STR("KEYS\x01inside\x02"),
                                  .sys_flag = sys_flag,
                                  .born_host = {.ip_bytes = 4},
                                  .store_host = {.ip_bytes = 4}};

    return (uint32_t)proto_record_encode(&record, at);
}

static void a_record_has_its_own_keys_only(void **state)
{
    static const struct {
        const char *why, *topic, *key;
        int32_t sys_flag;
        bool want;
    } cases[] = {
        {"its key", "T", "k", 0, true},           {"its other key", "T", "l", 0, true},
        {"both", "T", "k l", 0, false},           {"of another topic", "U", "k", 0, false},
        {"of the body", "T", "inside", 0, false}, {"a half message", "T", "k", 0x4, true},
        {"a committed one", "T", "k", 0x8, true}, {"one that was rolled back", "T", "k", 0xC, false},
    };
    uint8_t record[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t bytes = make_record(record, "T", "KEYS\x01k l\x02", cases[i].sys_flag);

        print_message("%s\n", cases[i].why);
        assert_int_equal(record_has_key(record, bytes, mq_str_of(cases[i].topic), mq_str_of(cases[i].key)),
                         cases[i].want);
        assert_false(record_has_key(record, bytes - 1, mq_str_of(cases[i].topic), mq_str_of(cases[i].key)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_follow_the_table_of_cases),
        cmocka_unit_test(hashes_stay_what_they_are),
        cmocka_unit_test(every_byte_of_topic_and_key_counts),
        cmocka_unit_test(a_record_has_its_own_keys_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
