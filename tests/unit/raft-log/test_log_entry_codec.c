#include "tests/unit/raft-log/log_fixture.h"

#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#define GOLDEN "tests/unit/raft-log/golden/entry-v1.bin"

static struct rlog_header example(void)
{
    return (struct rlog_header){.type = RLOG_COMMAND,
                                .payload_bytes = 5,
                                .index = 0x0102030405060708,
                                .term = 0x1112131415161718,
                                .pos = 0x2122232425262728,
                                .commit = 0x3132333435363738,
                                .clock_ms = 1700000000123,
                                .store_ms = 1700000000456,
                                .payload_crc = 0x9A71BB4C,
                                .prev_crc = 0x41424344,
                                .records = 0x51525354,
                                .items = 0x61626364,
                                .bare_sectors = 1};
}

static void encoded_header_equals_the_golden_file(void **state)
{
    uint8_t bytes[RLOG_HEADER_BYTES + 8] = {0};
    struct rlog_header header = example();

    (void)state;
    memcpy(bytes + RLOG_HEADER_BYTES, "hello", 5);
    header.payload_crc = mq_crc32c(0, "hello", 5);
    rlog_header_encode(&header, bytes);
    assert_int_equal(rlog_entry_bytes(5), sizeof(bytes));
    assert_memory_equal(bytes, "RMQE", 4);
    assert_int_equal(header.crc, rlog_le32_load(bytes + 4));
    log_check_golden(GOLDEN, bytes, sizeof(bytes));
}

static void decoded_header_has_every_field(void **state)
{
    uint8_t bytes[RLOG_HEADER_BYTES], again[RLOG_HEADER_BYTES];
    struct rlog_header header = example(), back;

    (void)state;
    rlog_header_encode(&header, bytes);
    assert_int_equal(rlog_header_decode(bytes, sizeof(bytes), &back), 0);
    assert_int_equal(back.type, header.type);
    assert_int_equal(back.index, header.index);
    assert_int_equal(back.store_ms, header.store_ms);
    assert_int_equal(back.bare_sectors, header.bare_sectors);
    assert_int_equal(back.crc, header.crc);
    rlog_header_encode(&back, again);
    assert_memory_equal(again, bytes, sizeof(bytes));
}

/* Changes one byte and makes the header CRC fit again if @fix. */
static void header_with_another_byte_is_refused(void **state)
{
    static const struct {
        const char *why;
        uint32_t at;
        uint8_t value;
        bool fix;
        int want;
    } cases[] = {
        {"magic", 0, 'X', true, MQ_ECORRUPT},
        {"checksum", 4, 0xFF, false, MQ_ECORRUPT},
        {"content under the old checksum", 16, 0xFF, false, MQ_ECORRUPT},
        {"another version", 8, 2, true, MQ_EVERSION},
        {"type zero", 10, 0, true, MQ_ECORRUPT},
        {"type unknown", 10, 4, true, MQ_ECORRUPT},
        {"byte 11 is not zero", 11, 1, true, MQ_ECORRUPT},
        {"payload above the limit", 15, 2, true, MQ_ECORRUPT},
        {"more bare sectors than the payload can have", 80, 2, true, MQ_ECORRUPT},
        {"unused word 84", 91, 1, true, MQ_ECORRUPT},
        {"end mark", 95, 1, true, MQ_ECORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t bytes[RLOG_HEADER_BYTES];
        struct rlog_header header = example(), out = {.index = 77};

        print_message("%s\n", cases[i].why);
        rlog_header_encode(&header, bytes);
        bytes[cases[i].at] = cases[i].value;
        if (cases[i].fix) {
            rlog_le32_store(bytes + 4, mq_crc32c(0, bytes + 8, RLOG_HEADER_BYTES - 8));
        }
        assert_int_equal(rlog_header_decode(bytes, sizeof(bytes), &out), cases[i].want);
        assert_int_equal(out.index, 77);
    }
}

static void bare_sectors_are_those_with_next_to_nothing_in_them(void **state)
{
    static const struct {
        const char *why;
        uint64_t pos;
        uint32_t payload_bytes, bytes_max;
        uint32_t from, to; /* of the entry: this much is not zero, behind its header */
        uint32_t want;
    } cases[] = {
        {"a full entry", 0, 2000, 1, 96, 2096, 0},
        {"zeros only: the first sector has the header", 0, 2000, 1, 0, 0, 4},
        {"the last one counts up to the end of the entry", 0, 1024 - 96 + 8, 0, 96, 1024, 1},
        {"a single byte is next to nothing", 0, 2000, 1, 600, 601, 4},
        {"but not nothing", 0, 2000, 0, 600, 601, 3},
        {"two bytes are something", 0, 2000, 1, 600, 602, 3},
        {"sectors begin where the log has them", 504, 2000, 1, 520, 2096, 0},
        {"a header may end with a sector", 512 - 96, 512, 1, 0, 0, 1},
        {"or reach eight bytes into the next, which is not bare", 512 - 88, 512, 1, 0, 0, 1},
        {"no sector begins in it", 512, 400, 1, 0, 0, 0},
    };
    uint8_t entry[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t n = rlog_entry_bytes(cases[i].payload_bytes);

        print_message("%s\n", cases[i].why);
        memset(entry, 0, sizeof(entry));
        memset(entry + cases[i].from, 'x', cases[i].to - cases[i].from);
        assert_int_equal(rlog_entry_bare_sectors(entry, cases[i].pos, n, cases[i].bytes_max), cases[i].want);
    }
}

static void header_that_is_not_all_there_is_asked_for_again(void **state)
{
    uint8_t bytes[RLOG_HEADER_BYTES];
    struct rlog_header header = example();

    (void)state;
    rlog_header_encode(&header, bytes);
    for (size_t n = 0; n < RLOG_HEADER_BYTES; n++) {
        assert_int_equal(rlog_header_decode(bytes, n, &header), MQ_EAGAIN);
    }
}

static void every_flipped_bit_is_noticed(void **state)
{
    uint8_t bytes[RLOG_HEADER_BYTES];
    struct rlog_header header = example(), out;

    (void)state;
    rlog_header_encode(&header, bytes);
    for (unsigned bit = 0; bit < RLOG_HEADER_BYTES * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(rlog_header_decode(bytes, sizeof(bytes), &out), MQ_ECORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoded_header_equals_the_golden_file),
        cmocka_unit_test(decoded_header_has_every_field),
        cmocka_unit_test(header_with_another_byte_is_refused),
        cmocka_unit_test(bare_sectors_are_those_with_next_to_nothing_in_them),
        cmocka_unit_test(header_that_is_not_all_there_is_asked_for_again),
        cmocka_unit_test(every_flipped_bit_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
