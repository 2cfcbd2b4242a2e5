#include "raft-log/peer/range_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define ENTRY_BYTES 112u /* of 10 bytes of payload */
#define ENTRIES 3u

/* The frame in @got is @want, but for its checksum, which is computed. */
static void assert_golden(const struct mq_buf *got, const uint8_t *want, size_t n, uint32_t header_bytes)
{
    uint32_t crc = mq_crc32c(mq_crc32c(0, want, 16), want + PEER_HEAD_BYTES, header_bytes);

    assert_int_equal(got->len, n);
    assert_memory_equal(got->base, want, 16);
    assert_memory_equal(got->base + 16, &crc, sizeof(crc));
    assert_memory_equal(got->base + 20, want + 20, n - 20);
}

static void the_frames_have_their_golden_bytes(void **state)
{
    static const uint8_t fetch[] = {'R', 'M', 'Q', 'P', 1,  0, 16, 0, 12, 0,    0,    0, 0, 0, 0, 0, /* head */
                                    0,   0,   0,   0,   0,  0, 0,  0,                                /* CRC, zero */
                                    8,   5,   16,  7,   24, 9, 32, 1, 40, 0x80, 0x80, 4,             /* protobuf */
                                    0,   0,   0,   0};
    static const uint8_t goes_on[] = {'R', 'M', 'Q', 'P', 1,  0,    16,   0, 10, 0, 0, 0, 0, 0, 0, 0,  /* head */
                                      0,   0,   0,   0,   0,  0,    0,    0,                           /* CRC, zero */
                                      8,   6,   32,  1,   40, 0x80, 0x80, 4, 48, 5, 0, 0, 0, 0, 0, 0}; /* protobuf */
    static const uint8_t range[] = {'R', 'M', 'Q', 'P',  1,  0,  17, 0, 19, 0, 0,  0,  224, 0, 0, 0,   /* head */
                                    0,   0,   0,   0,    0,  0,  0,  0,                                /* CRC, zero */
                                    8,   5,   24,  8,    32, 2,  40, 9, 48, 4, 56, 96,                 /* protobuf */
                                    64,  1,   72,  0xc0, 1,  80, 3,  0, 0,  0, 0,  0};
    static const uint8_t refusal[] = {'R', 'M', 'Q', 'P', 1, 0, 17, 0, 4, 0, 0, 0, 0, 0, 0, 0, /* head */
                                      0,   0,   0,   0,   0, 0, 0,  0,                         /* CRC, zero */
                                      8,   5,   16,  3,   0, 0, 0,  0};                        /* protobuf */
    static const uint8_t snapshot_ask[] = {'R', 'M', 'Q', 'P', 1,  0,    18,   0, 11, 0,   0, 0, 0, 0, 0, 0,
                                           0,   0,   0,   0,   0,  0,    0,    0, /* CRC, zero */
                                           8,   5,   16,  7,   24, 0x80, 0x80, 1, 32, 128, 1, 0, 0, 0, 0, 0};
    static const uint8_t part[] = {'R', 'M', 'Q', 'P', 1,  0, 19, 0, 17, 0, 0,  0, 8,    0, 0, 0, /* head */
                                   0,   0,   0,   0,   0,  0, 0,  0,                              /* CRC, zero */
                                   8,   5,   24,  7,   32, 2, 40, 9, 48, 4, 56, 5, 0x45, 1, 2, 3, /* protobuf */
                                   4,   0,   0,   0,   0,  0, 0,  0};
    struct peer_range range_said = {5, PEER_RANGE_OK, 8, 2, 9, 4, 96, {1, 192, 3}};
    struct peer_ask fetch_ask = {PEER_FETCH, 5, 65536, .entries = {7, 9, true}};
    struct peer_ask goes_on_ask = {PEER_FETCH, 6, 65536, .entries = {0, 0, true, 5}};
    struct peer_ask part_ask = {PEER_SNAPSHOT_ASK, 5, 128, .snapshot = {7, 16384}};
    struct mq_buf got = {0};

    (void)state;
    assert_int_equal(peer_ask_encode(&fetch_ask, &got), 0);
    assert_golden(&got, fetch, sizeof(fetch), 12);
    mq_buf_free(&got);
    assert_int_equal(peer_ask_encode(&goes_on_ask, &got), 0);
    assert_golden(&got, goes_on, sizeof(goes_on), 10);
    mq_buf_free(&got);
    assert_int_equal(peer_range_encode(&range_said, 224, &got), 0);
    assert_golden(&got, range, sizeof(range), 19);
    mq_buf_free(&got);
    assert_int_equal(peer_range_encode(&(struct peer_range){.id = 5, .status = PEER_RANGE_DAMAGED}, 0, &got), 0);
    assert_golden(&got, refusal, sizeof(refusal), 4);
    mq_buf_free(&got);
    assert_int_equal(peer_ask_encode(&part_ask, &got), 0);
    assert_golden(&got, snapshot_ask, sizeof(snapshot_ask), 11);
    mq_buf_free(&got);
    assert_int_equal(peer_part_encode(&(struct peer_part){5, PEER_RANGE_OK, 7, 2, 9, 4, 5, 0x04030201}, &got), 0);
    assert_golden(&got, part, sizeof(part), 17);
    mq_buf_free(&got);
}

static void what_was_encoded_comes_back(void **state)
{
    struct peer_ask asks[] = {{PEER_FETCH, UINT64_MAX, 77, .entries = {1, UINT64_MAX, false}},
                              {PEER_SNAPSHOT_ASK, 2, 78, .snapshot = {0, UINT64_MAX}}};
    struct peer_ask ask_got;
    struct peer_range range = {3, PEER_RANGE_OK, 10, ENTRIES, 99, 4, 4096, {7, 8, -9}}, range_got;
    struct mq_buf bytes = {0};
    struct peer_frame frame;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
        assert_int_equal(peer_ask_encode(&asks[i], &bytes), 0);
        assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
        assert_int_equal(peer_ask_decode(&frame, &ask_got), 0);
        assert_int_equal(ask_got.type, asks[i].type);
        assert_int_equal(ask_got.id, asks[i].id);
        assert_int_equal(ask_got.bytes_max, asks[i].bytes_max);
        assert_int_equal(ask_got.entries.first, asks[i].entries.first); /* and index */
        assert_int_equal(ask_got.entries.last, asks[i].entries.last);   /* and offset */
        assert_int_equal(peer_range_decode(&frame, &range_got), MQ_EBADMSG);
        mq_buf_free(&bytes);
    }

    assert_int_equal(peer_range_encode(&range, 8, &bytes), 0);
    assert_int_equal(mq_buf_put(&bytes, "12345678", 8), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 7, &frame), MQ_ETOOBIG);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 8, &frame), 0);
    assert_int_equal(peer_range_decode(&frame, &range_got), 0);
    assert_int_equal(range_got.first, 10);
    assert_int_equal(range_got.n, ENTRIES);
    assert_int_equal(range_got.commit, 99);
    assert_int_equal(range_got.held_first, 4);
    assert_int_equal(range_got.held_pos, 4096);
    assert_int_equal(range_got.before.term, 7);
    assert_int_equal(range_got.before.end_pos, 8);
    assert_int_equal(range_got.before.store_ms, -9);
    assert_int_equal(peer_ask_decode(&frame, &ask_got), MQ_EBADMSG); /* another frame */
    mq_buf_free(&bytes);
}

static void an_answer_that_contradicts_itself_is_refused(void **state)
{
    static const struct {
        const char *why;
        struct peer_range range;
        uint32_t raw_bytes;
    } cases[] = {
        {"a status that nobody knows", {1, PEER_RANGE_STATUSES, 0, 0, 0, 0, 0, {0}}, 0},
        {"entries without bytes", {1, PEER_RANGE_OK, 5, 1, 9, 1, 0, {0}}, 0},
        {"bytes without entries", {1, PEER_RANGE_OK, 5, 0, 9, 1, 0, {0}}, 8},
        {"entries without an index", {1, PEER_RANGE_OK, 0, 1, 9, 1, 0, {0}}, 8},
        {"a success with nothing", {1, PEER_RANGE_OK, 0, 0, 9, 1, 0, {0}}, 0},
        {"a refusal with entries", {1, PEER_RANGE_NOT_HELD, 5, 1, 9, 1, 0, {0}}, 8},
        {"a refusal with bytes", {1, PEER_RANGE_NOT_HELD, 0, 0, 9, 1, 0, {0}}, 8},
        {"indexes without an end", {1, PEER_RANGE_OK, UINT64_MAX, 1, 9, 1, 0, {0}}, 8},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf bytes = {0};
        struct peer_range got;
        struct peer_frame frame;

        print_message("%s\n", cases[i].why);
        assert_int_equal(peer_range_encode(&cases[i].range, cases[i].raw_bytes, &bytes), 0);
        assert_int_equal(mq_buf_put(&bytes, "12345678", cases[i].raw_bytes), 0);
        assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 8, &frame), 0);
        assert_int_equal(peer_range_decode(&frame, &got), MQ_EBADMSG);
        mq_buf_free(&bytes);
    }
}

/* A frame with a part of 5 bytes of a file of 9. */
static void make_part(const struct peer_part *part, struct mq_buf *bytes)
{
    struct peer_part copy = *part;

    copy.crc = mq_crc32c(0, "12345", 5);
    assert_int_equal(peer_part_encode(&copy, bytes), 0);
    if (copy.bytes > 0) {
        assert_int_equal(mq_buf_put(bytes, "12345\0\0\0", 8), 0);
    }
}

static void a_part_that_contradicts_itself_is_refused(void **state)
{
    static const struct {
        const char *why;
        struct peer_part part;
        int want;
    } cases[] = {
        {"a good one", {1, PEER_RANGE_OK, 7, 2, 9, 4, 5, 0}, 0},
        {"a status that nobody knows", {1, PEER_RANGE_STATUSES, 0, 0, 0, 0, 0, 0}, MQ_EBADMSG},
        {"no bytes", {1, PEER_RANGE_OK, 7, 2, 9, 4, 0, 0}, MQ_EBADMSG},
        {"no index", {1, PEER_RANGE_OK, 0, 2, 9, 4, 5, 0}, MQ_EBADMSG},
        {"beyond the file", {1, PEER_RANGE_OK, 7, 2, 9, 5, 5, 0}, MQ_EBADMSG},
        {"far beyond the file", {1, PEER_RANGE_OK, 7, 2, 9, UINT64_MAX, 5, 0}, MQ_EBADMSG},
        {"a refusal with bytes", {1, PEER_RANGE_NOT_HELD, 7, 2, 9, 4, 5, 0}, MQ_EBADMSG},
        {"other bytes than the checksum's", {1, PEER_RANGE_OK, 7, 2, 9, 4, 4, 0}, MQ_ECORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf bytes = {0};
        struct peer_part got;
        struct peer_frame frame;

        print_message("%s\n", cases[i].why);
        make_part(&cases[i].part, &bytes);
        assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 8, &frame), 0);
        assert_int_equal(peer_part_decode(&frame, &got), cases[i].want);
        if (cases[i].want == 0) {
            bytes.base[bytes.len - 8] ^= 1; /* on its way */
            assert_int_equal(peer_part_decode(&frame, &got), MQ_ECORRUPT);
        }
        mq_buf_free(&bytes);
    }
}

/* Entries 7, 8 and 9 as they follow each other in a log. */
static void make_entries(uint8_t *raw)
{
    uint32_t prev_crc = 12345;

    memset(raw, 0, (size_t)ENTRIES * ENTRY_BYTES);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct rlog_header header = {
            .type = RLOG_COMMAND, .payload_bytes = 10, .index = 7 + i, .term = 2, .pos = 4096 + i * ENTRY_BYTES};
        uint8_t *at = raw + (size_t)i * ENTRY_BYTES;

        memset(at + RLOG_HEADER_BYTES, (int)i + 1, 10);
        header.payload_crc = mq_crc32c(0, at + RLOG_HEADER_BYTES, 10);
        header.prev_crc = prev_crc;
        rlog_header_encode(&header, at);
        prev_crc = header.crc;
    }
}

/* Encodes entry @i anew after a change of its header. */
static void change_header(uint8_t *raw, uint32_t i, void (*change)(struct rlog_header *header))
{
    struct rlog_header header;

    assert_int_equal(rlog_header_decode(raw + (size_t)i * ENTRY_BYTES, ENTRY_BYTES, &header), 0);
    change(&header);
    rlog_header_encode(&header, raw + (size_t)i * ENTRY_BYTES);
}

static void lower_term(struct rlog_header *header)
{
    header->term = 1;
}

static void move(struct rlog_header *header)
{
    header->pos += 8;
}

static void change_chain(struct rlog_header *header)
{
    header->prev_crc ^= 1;
}

static void skip_index(struct rlog_header *header)
{
    header->index++;
}

static void grow(struct rlog_header *header)
{
    header->payload_bytes = 100;
}

static void entries_are_checked_before_anyone_sees_them(void **state)
{
    static const struct {
        const char *why;
        uint32_t entry;
        void (*change)(struct rlog_header *header);
        int want;
    } cases[] = {
        {"a term that falls", 2, lower_term, MQ_ECORRUPT},
        {"an entry that lies elsewhere", 1, move, MQ_ECORRUPT},
        {"another entry before it", 1, change_chain, MQ_ECORRUPT},
        {"an index left out", 1, skip_index, MQ_EBADMSG},
        {"a last entry that is longer than the bytes", 2, grow, MQ_EBADMSG},
    };
    _Alignas(8) uint8_t raw[ENTRIES * ENTRY_BYTES];

    (void)state;
    make_entries(raw);
    assert_int_equal(peer_range_check(raw, sizeof(raw), 7, ENTRIES), 0);
    assert_int_equal(peer_range_check(raw, sizeof(raw), 8, ENTRIES), MQ_EBADMSG);     /* not these */
    assert_int_equal(peer_range_check(raw, sizeof(raw), 7, ENTRIES - 1), MQ_EBADMSG); /* bytes left over */
    assert_int_equal(peer_range_check(raw, sizeof(raw), 7, ENTRIES + 1), MQ_EBADMSG); /* one too few */
    assert_int_equal(peer_range_check(raw, sizeof(raw) - 8, 7, ENTRIES), MQ_EBADMSG); /* cut short */
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        print_message("%s\n", cases[i].why);
        make_entries(raw);
        change_header(raw, cases[i].entry, cases[i].change);
        assert_int_equal(peer_range_check(raw, sizeof(raw), 7, ENTRIES), cases[i].want);
    }
    for (size_t i = 0; i < sizeof(raw); i++) { /* any byte that changes on its way */
        make_entries(raw);
        raw[i] ^= 0x10;
        assert_int_not_equal(peer_range_check(raw, sizeof(raw), 7, ENTRIES), 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_frames_have_their_golden_bytes),
        cmocka_unit_test(what_was_encoded_comes_back),
        cmocka_unit_test(an_answer_that_contradicts_itself_is_refused),
        cmocka_unit_test(a_part_that_contradicts_itself_is_refused),
        cmocka_unit_test(entries_are_checked_before_anyone_sees_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
