#include "raft-log/include/raftlog/raftlog.h"

#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define POS 8192u

struct made {
    uint8_t bytes[2048];
    uint64_t n;
    uint32_t crc;
};

/* Appends an entry with @text as its payload. */
static void put(struct made *made, uint8_t type, const char *text)
{
    struct rlog_header header = {.type = type,
                                 .payload_bytes = (uint32_t)strlen(text),
                                 .index = 7 + made->n,
                                 .term = 3,
                                 .pos = POS + made->n,
                                 .store_ms = 99,
                                 .payload_crc = mq_crc32c(0, text, strlen(text)),
                                 .prev_crc = made->crc,
                                 .records = 2,
                                 .items = 1};

    rlog_header_encode(&header, made->bytes + made->n);
    memcpy(made->bytes + made->n + RLOG_HEADER_BYTES, text, strlen(text));
    made->n += rlog_entry_bytes(header.payload_bytes);
    made->crc = header.crc;
}

static struct made three(void)
{
    struct made made = {.crc = 0x5EED};

    put(&made, RLOG_COMMAND, "first");
    put(&made, RLOG_BARRIER, "");
    put(&made, RLOG_COMMAND, "the third one");
    return made;
}

static struct rlog_walk over(const struct made *made)
{
    return (struct rlog_walk){.pos = POS, .at = made->bytes, .left = made->n};
}

static void entries_come_in_order_and_only_commands_have_payloads(void **state)
{
    struct made made = three();
    struct rlog_walk walk = over(&made);
    struct rlog_entry entry;

    (void)state;
    assert_int_equal(rlog_walk_next(&walk, &entry), 1);
    assert_int_equal(entry.pos, POS + RLOG_HEADER_BYTES);
    assert_int_equal(entry.payload_bytes, 5);
    assert_memory_equal(entry.payload, "first", 5);
    assert_int_equal(entry.records, 2);
    assert_int_equal(entry.store_ms, 99);
    assert_int_equal(walk.prev_crc, 0x5EED);
    assert_int_equal(rlog_walk_next(&walk, &entry), 1);
    assert_null(entry.payload);
    assert_int_equal(entry.records, 0);
    assert_int_equal(rlog_walk_next(&walk, &entry), 1);
    assert_memory_equal(entry.payload, "the third one", 13);
    assert_int_equal(walk.crc, made.crc);
    assert_int_equal(rlog_walk_next(&walk, &entry), 0);
    assert_int_equal(walk.pos, POS + made.n);
    assert_int_equal(rlog_walk_next(&walk, &entry), 0);
}

static void zeros_at_the_end_of_a_segment_are_its_rest(void **state)
{
    static const uint32_t rests[] = {8, 88, 96, 400};
    struct rlog_entry entry;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
        struct made made = three();
        struct rlog_walk walk;

        made.n += rests[i];
        walk = over(&made);
        walk.ends_segment = true;
        for (int n = 0; n < 3; n++) {
            assert_int_equal(rlog_walk_next(&walk, &entry), 1);
        }
        assert_int_equal(rlog_walk_next(&walk, &entry), 0);
        assert_int_equal(walk.pos, POS + made.n);
        walk = over(&made);
        for (int n = 0; n < 3; n++) {
            assert_int_equal(rlog_walk_next(&walk, &entry), 1);
        }
        assert_int_equal(rlog_walk_next(&walk, &entry), MQ_ECORRUPT); /* elsewhere they are not */
    }
}

static void what_does_not_belong_stops_the_walk_where_it_is(void **state)
{
    static const struct {
        const char *why;
        uint32_t at; /* byte that is changed; 0 for none */
        bool payloads, cut, chain, place;
        int want;
    } cases[] = {
        {"nothing", 0, true, false, false, false, 1},
        {"a bit of the header", 30, false, false, false, false, MQ_ECORRUPT},
        {"a bit of the payload, looked at", RLOG_HEADER_BYTES + 1, true, false, false, false, MQ_ECORRUPT},
        {"a bit of the payload, not looked at", RLOG_HEADER_BYTES + 1, false, false, false, false, 1},
        {"it follows another entry", 0, false, false, true, false, MQ_ECORRUPT},
        {"it lies elsewhere", 0, false, false, false, true, MQ_ECORRUPT},
        {"its end is missing", 0, false, true, false, false, MQ_ECORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct made made = three();
        struct rlog_walk walk = over(&made), before;
        struct rlog_entry entry = {.index = 77};

        print_message("%s\n", cases[i].why);
        made.bytes[cases[i].at] ^= cases[i].at != 0 ? 4 : 0;
        walk.payloads = cases[i].payloads;
        walk.left = cases[i].cut ? RLOG_HEADER_BYTES + 4 : walk.left;
        walk.chained = true;
        walk.crc = cases[i].chain ? 0x5EEE : 0x5EED;
        walk.pos += cases[i].place ? 8 : 0;
        before = walk;
        assert_int_equal(rlog_walk_next(&walk, &entry), cases[i].want);
        if (cases[i].want != 1) {
            assert_memory_equal(&walk, &before, sizeof(walk));
            assert_int_equal(entry.index, 77);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_in_order_and_only_commands_have_payloads),
        cmocka_unit_test(zeros_at_the_end_of_a_segment_are_its_rest),
        cmocka_unit_test(what_does_not_belong_stops_the_walk_where_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
