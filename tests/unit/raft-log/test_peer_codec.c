#include "raft-log/peer/peer_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct core_message APPEND = {
    .type = CORE_APPEND, .peer = 2, .term = 7, .append = {.prev_index = 300, .prev_term = 6, .commit = 299, .n = 0}};

static void a_frame_has_its_golden_bytes(void **state)
{
    static const uint8_t want[] = {'R', 'M', 'Q', 'P',  1,    0,  3, 0,  10,   0,    0, 0, 0, 0, 0, 0, /* head */
                                   0,   0,   0,   0,    0,    0,  0, 0,                                /* CRC, zero */
                                   8,   7,   16,  0xac, 0x02, 24, 6, 32, 0xab, 0x02,                   /* protobuf */
                                   0,   0,   0,   0,    0,    0};
    struct mq_buf got = {0};
    uint32_t crc;
    uint8_t crc_bytes[4];

    (void)state;
    assert_int_equal(peer_message_encode(&APPEND, 0, &got), 0);
    assert_int_equal(got.len, sizeof(want));
    crc = mq_crc32c(mq_crc32c(0, want, 16), want + 24, 10);
    memcpy(crc_bytes, &crc, 4);
    assert_memory_equal(got.base, want, 16);
    assert_memory_equal(got.base + 16, crc_bytes, 4);
    assert_memory_equal(got.base + 20, want + 20, sizeof(want) - 20);
    mq_buf_free(&got);
}

static void every_message_comes_back(void **state)
{
    static const struct core_message cases[] = {
        {.type = CORE_APPEND, .peer = 2, .term = 7, .append = {.prev_index = 1, .prev_term = 1, .commit = 1}},
        {.type = CORE_APPEND_RESULT, .peer = 2, .term = UINT64_MAX, .append_result = {12, 11, true}},
        {.type = CORE_VOTE, .peer = 2, .term = 1, .vote = {5, 4, true, false}},
        {.type = CORE_VOTE, .peer = 2, .term = 1, .vote = {5, 4, false, true}},
        {.type = CORE_VOTE_RESULT, .peer = 2, .term = 3, .vote_result = {true, false}},
        {.type = CORE_VOTE_RESULT, .peer = 2, .term = 3, .vote_result = {false, true}},
        {.type = CORE_TIMEOUT_NOW, .peer = 2, .term = 3, .timeout_now = {9, 2}},
        {.type = CORE_INSTALL, .peer = 2, .term = 3, .install = {9, 2}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct core_message got;
        struct peer_frame frame;
        struct mq_buf bytes = {0};

        memset(&got, 0, sizeof(got));
        assert_int_equal(peer_message_encode(&cases[i], 0, &bytes), 0);
        assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
        assert_int_equal(frame.bytes, bytes.len);
        assert_int_equal(frame.bytes % 8, 0);
        assert_int_equal(peer_message_decode(&frame, 2, &got), 0);
        assert_int_equal(got.type, cases[i].type);
        assert_int_equal(got.peer, 2);
        assert_int_equal(got.term, cases[i].term);
        assert_memory_equal(&got.append, &cases[i].append, sizeof(got.append));
        mq_buf_free(&bytes);
    }
}

static void hashes_of_the_state_come_back_and_must_be_in_order(void **state)
{
    struct state_hashes hashes = {.index = 4096, .n = 2, .sections = {{1, 1, 0xFFFFFFFFFFFFFFFF}, {3, 2, 0}}};
    struct state_hashes got = {.index = 7};
    struct mq_buf bytes = {0};
    struct peer_frame frame;

    (void)state;
    assert_int_equal(peer_state_hash_encode(&hashes, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_state_hash_decode(&frame, &got), 0);
    assert_int_equal(got.index, 4096);
    assert_int_equal(got.n, 2);
    assert_int_equal(got.sections[0].hash, 0xFFFFFFFFFFFFFFFF);
    assert_int_equal(got.sections[1].id, 3);
    assert_int_equal(got.sections[1].version, 2);
    got.index = 7;
    hashes.sections[1].id = 1; /* not ascending */
    bytes.len = 0;
    assert_int_equal(peer_state_hash_encode(&hashes, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_state_hash_decode(&frame, &got), MQ_EBADMSG);
    frame.type = PEER_CLAIM;
    assert_int_equal(peer_state_hash_decode(&frame, &got), MQ_EBADMSG);
    hashes.index = 0;
    bytes.len = 0;
    assert_int_equal(peer_state_hash_encode(&hashes, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_state_hash_decode(&frame, &got), MQ_EBADMSG);
    assert_int_equal(got.index, 7);
    mq_buf_free(&bytes);
}

static void room_on_a_disk_comes_back_and_bad_values_do_not(void **state)
{
    struct peer_space space = {{RLOG_SPACE_LOW, 1000, 10, 20, 500, NULL, 0}, "/data/n1/log"}, got = {.path = "x"};
    struct mq_buf bytes = {0};
    struct peer_frame frame;

    (void)state;
    assert_int_equal(peer_space_encode(&space, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_space_decode(&frame, &got), 0);
    assert_memory_equal(&got.space, &space.space, sizeof(got.space));
    assert_string_equal(got.path, "/data/n1/log");
    frame.type = PEER_CLAIM;
    assert_int_equal(peer_space_decode(&frame, &got), MQ_EBADMSG);
    space.space.level = (enum rlog_space_level)(RLOG_SPACE_FULL + 1);
    bytes.len = 0;
    assert_int_equal(peer_space_encode(&space, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_space_decode(&frame, &got), MQ_EBADMSG);
    space.space.level = RLOG_SPACE_FULL;
    memset(space.path, 'p', PEER_PATH_MAX); /* the longest */
    bytes.len = 0;
    assert_int_equal(peer_space_encode(&space, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_space_decode(&frame, &got), 0);
    assert_string_equal(got.path, space.path);
    mq_buf_free(&bytes);
}

static void a_claim_comes_back_and_is_no_message(void **state)
{
    struct peer_claim claim = {true, 77, 5, {6, 80, 70}, 9}, got = {0};
    struct core_message message;
    struct mq_buf bytes = {0};
    struct peer_frame frame;

    (void)state;
    assert_int_equal(peer_claim_encode(&claim, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_claim_decode(&frame, &got), 0);
    assert_true(got.ask);
    assert_int_equal(got.last_index, 77);
    assert_int_equal(got.last_term, 5);
    assert_int_equal(got.claim.term, 6);
    assert_int_equal(got.claim.index, 80);
    assert_int_equal(got.claim.committed, 70);
    assert_int_equal(got.leading_term, 9);
    assert_int_equal(peer_message_decode(&frame, 2, &message), MQ_EBADMSG);
    frame.type = PEER_VOTE;
    assert_int_equal(peer_claim_decode(&frame, &got), MQ_EBADMSG);
    frame.type = PEER_CLAIM;
    frame.header_bytes--; /* cut inside of a number */
    assert_int_equal(peer_claim_decode(&frame, &got), MQ_EBADMSG);
    mq_buf_free(&bytes);
}

static void hello_and_founding_come_back(void **state)
{
    struct peer_hello hello = {"broker-a", 1,         2,           0x1122334455667788u,
                               1u << 30,   PEER_BULK, "cluster-a", 0x8877665544332211u},
                      hello_got;
    struct peer_founding founding = {.founded = true}, founding_got;
    struct peer_frame frame;
    struct mq_buf bytes = {0};

    (void)state;
    assert_int_equal(peer_hello_encode(&hello, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    memset(&hello_got, 0, sizeof(hello_got));
    assert_int_equal(peer_hello_decode(&frame, &hello_got), 0);
    assert_memory_equal(&hello, &hello_got, sizeof(hello));
    assert_int_equal(peer_founding_decode(&frame, &founding_got), MQ_EBADMSG);
    mq_buf_free(&bytes);

    assert_int_equal(membership_init(&founding.membership, "broker-a"), 0);
    assert_int_equal(membership_add(&founding.membership, 3, "h:1", 77), 0);
    assert_int_equal(peer_founding_encode(&founding, &bytes), 0);
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    assert_int_equal(peer_founding_decode(&frame, &founding_got), 0);
    assert_true(founding_got.founded);
    assert_true(membership_equal(&founding.membership, &founding_got.membership));
    mq_buf_free(&bytes);
}

static void a_frame_says_how_many_bytes_it_needs(void **state)
{
    struct mq_buf bytes = {0};
    struct peer_frame frame;

    (void)state;
    assert_int_equal(peer_message_encode(&APPEND, 0, &bytes), 0);
    for (size_t n = 0; n < bytes.len; n++) {
        assert_int_equal(peer_frame_decode(bytes.base, n, 0, &frame), MQ_EAGAIN);
        assert_int_equal(frame.bytes, n < PEER_HEAD_BYTES ? PEER_HEAD_BYTES : bytes.len);
    }
    assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 0, &frame), 0);
    mq_buf_free(&bytes);
}

static void decode_refuses_what_is_no_frame(void **state)
{
    static const struct {
        const char *why;
        size_t at;
        uint8_t value;
        int want;
    } cases[] = {
        {"another magic", 0, 'X', MQ_EBADMSG},
        {"another version", 4, 2, MQ_EVERSION},
        {"no type", 6, 0, MQ_EBADMSG},
        {"an unknown type", 6, 15, MQ_EBADMSG},
        {"a type above all", 6, 255, MQ_EBADMSG},
        {"a byte that must be zero", 7, 1, MQ_EBADMSG},
        {"a header over the limit", 9, 0x20, MQ_ETOOBIG},
        {"entries that are not a multiple of 8", 12, 3, MQ_EBADMSG},
        {"entries over the limit", 15, 1, MQ_ETOOBIG},
        {"a word that must be zero", 20, 1, MQ_EBADMSG},
        {"a wrong checksum", 16, 0, MQ_ECORRUPT},
        {"a damaged header", 25, 99, MQ_ECORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mq_buf bytes = {0};
        struct peer_frame frame;

        print_message("%s\n", cases[i].why);
        assert_int_equal(peer_message_encode(&APPEND, 0, &bytes), 0);
        bytes.base[cases[i].at] = cases[i].at == 16 ? (uint8_t)(bytes.base[16] ^ 1) : cases[i].value;
        assert_int_equal(peer_frame_decode(bytes.base, bytes.len, 1024, &frame), cases[i].want);
        mq_buf_free(&bytes);
    }
}

/* Else a length that was damaged on its way would swallow the frames behind it. */
static void a_damaged_length_is_seen_before_the_entries_have_come(void **state)
{
    struct mq_buf bytes = {0};
    struct peer_frame frame;
    size_t front;

    (void)state;
    assert_int_equal(peer_message_encode(&APPEND, 512, &bytes), 0);
    front = bytes.len;
    assert_int_equal(peer_frame_decode(bytes.base, front, 1u << 20, &frame), MQ_EAGAIN);
    assert_int_equal(frame.bytes, front + 512);
    bytes.base[14] = 8; /* half a megabyte of entries */
    assert_int_equal(peer_frame_decode(bytes.base, front, 1u << 20, &frame), MQ_ECORRUPT);
    mq_buf_free(&bytes);
}

static void entries_must_fill_their_frame(void **state)
{
    struct rlog_header header = {.type = RLOG_COMMAND, .payload_bytes = 10, .index = 2, .term = 1};
    struct commitlog_entry entries[PEER_FRAME_ENTRIES_MAX];
    _Alignas(8) uint8_t raw[2 * 112] = {0};
    struct peer_frame frame = {.type = PEER_APPEND, .raw = raw};

    (void)state;
    rlog_header_encode(&header, raw);
    rlog_header_encode(&header, raw + 112);
    frame.raw_bytes = 224;
    assert_int_equal(peer_entries_decode(&frame, 2, entries), 0);
    assert_ptr_equal(entries[1].bytes, raw + 112);
    assert_int_equal(entries[1].n, 112);
    assert_int_equal(peer_entries_decode(&frame, 1, entries), MQ_EBADMSG); /* bytes left over */
    assert_int_equal(peer_entries_decode(&frame, 3, entries), MQ_EBADMSG); /* one too few */
    frame.raw_bytes = 216;
    assert_int_equal(peer_entries_decode(&frame, 2, entries), MQ_EBADMSG); /* cut short */
    frame.raw_bytes = 224;
    raw[112 + 20] ^= 1;
    assert_int_equal(peer_entries_decode(&frame, 2, entries), MQ_EBADMSG); /* a damaged header */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_has_its_golden_bytes),
        cmocka_unit_test(every_message_comes_back),
        cmocka_unit_test(hashes_of_the_state_come_back_and_must_be_in_order),
        cmocka_unit_test(room_on_a_disk_comes_back_and_bad_values_do_not),
        cmocka_unit_test(a_claim_comes_back_and_is_no_message),
        cmocka_unit_test(hello_and_founding_come_back),
        cmocka_unit_test(a_frame_says_how_many_bytes_it_needs),
        cmocka_unit_test(decode_refuses_what_is_no_frame),
        cmocka_unit_test(entries_must_fill_their_frame),
        cmocka_unit_test(a_damaged_length_is_seen_before_the_entries_have_come),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
