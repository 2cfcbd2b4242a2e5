/* Frames from a peer against any bytes: decoding ends and stays within them, and what was decoded encodes to a frame
 * that says the same. The checksum is repaired first, so that the fuzzer gets past it; the input as it is goes in as
 * well. */
#include "tests/fuzz/fuzz.h"

#include "raft-log/peer/range_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/heap.h"

#include <string.h>

#define RAW_MAX 65536u

static void check_message(const struct peer_frame *frame)
{
    static struct commitlog_entry entries[PEER_FRAME_ENTRIES_MAX];
    struct core_message message, again;
    struct peer_frame frame_again;
    struct mq_buf bytes = {0};

    if (peer_message_decode(frame, 3, &message) != 0) {
        return;
    }
    MQ_ASSERT(message.peer == 3);
    if (message.type == CORE_APPEND && peer_entries_decode(frame, message.append.n, entries) == 0) {
        for (uint32_t i = 0; i < message.append.n; i++) {
            MQ_ASSERT(entries[i].bytes >= frame->raw &&
                      entries[i].bytes + entries[i].n <= frame->raw + frame->raw_bytes);
        }
    }
    MQ_ASSERT(peer_message_encode(&message, 0, &bytes) == 0);
    if (message.type == CORE_APPEND && message.append.n > 0) {
        mq_buf_free(&bytes); /* the entries are missing: not a frame */
        return;
    }
    MQ_ASSERT(peer_frame_decode(bytes.base, bytes.len, 0, &frame_again) == 0);
    MQ_ASSERT(peer_message_decode(&frame_again, 3, &again) == 0);
    MQ_ASSERT(again.type == message.type && again.term == message.term);
    mq_buf_free(&bytes);
}

static void check_founding(const struct peer_frame *frame)
{
    struct peer_founding founding, again;
    struct peer_frame frame_again;
    struct mq_buf bytes = {0};

    if (peer_founding_decode(frame, &founding) != 0) {
        return;
    }
    MQ_ASSERT(founding.membership.n >= 1 && founding.membership.n <= RLOG_MEMBERS_MAX);
    MQ_ASSERT(peer_founding_encode(&founding, &bytes) == 0);
    MQ_ASSERT(peer_frame_decode(bytes.base, bytes.len, 0, &frame_again) == 0);
    MQ_ASSERT(peer_founding_decode(&frame_again, &again) == 0);
    MQ_ASSERT(membership_equal(&founding.membership, &again.membership) && founding.founded == again.founded);
    mq_buf_free(&bytes);
}

static void check_ask(const struct peer_frame *frame)
{
    struct peer_ask ask, again;
    struct peer_frame frame_again;
    struct mq_buf bytes = {0};

    if (peer_ask_decode(frame, &ask) != 0) {
        return;
    }
    MQ_ASSERT(peer_ask_encode(&ask, &bytes) == 0);
    MQ_ASSERT(peer_frame_decode(bytes.base, bytes.len, 0, &frame_again) == 0);
    MQ_ASSERT(peer_ask_decode(&frame_again, &again) == 0);
    MQ_ASSERT(again.type == ask.type && again.id == ask.id && again.bytes_max == ask.bytes_max);
    MQ_ASSERT(ask.type == PEER_FETCH
                  ? again.entries.first == ask.entries.first && again.entries.last == ask.entries.last &&
                        again.entries.from_last == ask.entries.from_last
                  : again.snapshot.index == ask.snapshot.index && again.snapshot.offset == ask.snapshot.offset);
    mq_buf_free(&bytes);
}

static void check_answer(const struct peer_frame *frame)
{
    struct peer_range range;
    struct peer_part part;

    if (peer_range_decode(frame, &range) == 0) {
        MQ_ASSERT((range.status == PEER_RANGE_OK) == (range.n > 0));
        if (range.n > 0) {
            (void)peer_range_check(frame->raw, frame->raw_bytes, range.first, range.n);
        }
    }
    if (peer_part_decode(frame, &part) == 0) {
        MQ_ASSERT(part.bytes <= frame->raw_bytes && part.bytes <= PEER_RANGE_BYTES);
        MQ_ASSERT(part.status != PEER_RANGE_OK || part.offset + part.bytes <= part.file_bytes);
    }
}

static void check_claim(const struct peer_frame *frame)
{
    struct peer_claim claim, again;
    struct peer_frame frame_again;
    struct mq_buf bytes = {0};

    if (peer_claim_decode(frame, &claim) != 0) {
        return;
    }
    MQ_ASSERT(peer_claim_encode(&claim, &bytes) == 0);
    MQ_ASSERT(peer_frame_decode(bytes.base, bytes.len, 0, &frame_again) == 0);
    MQ_ASSERT(peer_claim_decode(&frame_again, &again) == 0);
    MQ_ASSERT(again.ask == claim.ask && again.last_index == claim.last_index && again.last_term == claim.last_term);
    MQ_ASSERT(memcmp(&again.claim, &claim.claim, sizeof(claim.claim)) == 0);
    MQ_ASSERT(again.leading_term == claim.leading_term);
    mq_buf_free(&bytes);
}

static void check_space(const struct peer_frame *frame)
{
    struct peer_space space, again;
    struct peer_frame frame_again;
    struct mq_buf bytes = {0};

    if (peer_space_decode(frame, &space) != 0) {
        return;
    }
    MQ_ASSERT(peer_space_encode(&space, &bytes) == 0);
    MQ_ASSERT(peer_frame_decode(bytes.base, bytes.len, 0, &frame_again) == 0);
    MQ_ASSERT(peer_space_decode(&frame_again, &again) == 0);
    MQ_ASSERT(strcmp(space.path, again.path) == 0 && space.space.level == again.space.level);
    mq_buf_free(&bytes);
}

static void check_state_hash(const struct peer_frame *frame)
{
    struct state_hashes hashes, again;
    struct peer_frame frame_again;
    struct mq_buf bytes = {0};

    if (peer_state_hash_decode(frame, &hashes) != 0) {
        return;
    }
    MQ_ASSERT(hashes.index != 0 && hashes.n <= RLOG_SECTIONS_MAX);
    MQ_ASSERT(peer_state_hash_encode(&hashes, &bytes) == 0);
    MQ_ASSERT(peer_frame_decode(bytes.base, bytes.len, 0, &frame_again) == 0);
    MQ_ASSERT(peer_state_hash_decode(&frame_again, &again) == 0);
    MQ_ASSERT(memcmp(&again, &hashes, sizeof(hashes)) == 0);
    mq_buf_free(&bytes);
}

static void check_frame(const uint8_t *bytes, size_t n)
{
    struct peer_frame frame = {.bytes = 0};
    struct peer_hello hello;
    int rc = peer_frame_decode(bytes, n, RAW_MAX, &frame);

    if (rc != 0) {
        return;
    }
    MQ_ASSERT(frame.bytes <= n && frame.bytes % 8 == 0);
    MQ_ASSERT(frame.header + frame.header_bytes <= bytes + n && frame.raw + frame.raw_bytes <= bytes + n);
    if (peer_hello_decode(&frame, &hello) == 0) {
        MQ_ASSERT(frame.type == PEER_HELLO && hello.lane < PEER_LANES);
    }
    check_founding(&frame);
    check_claim(&frame);
    check_state_hash(&frame);
    check_space(&frame);
    check_message(&frame);
    check_ask(&frame);
    check_answer(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = mq_malloc(n);
    uint32_t header_bytes, crc;

    MQ_ASSERT(copy != NULL);
    if (n != 0) {
        memcpy(copy, bytes, n);
    }
    check_frame(copy, n);
    if (n >= PEER_HEAD_BYTES) {
        memcpy(&header_bytes, copy + 8, sizeof(header_bytes));
        if (header_bytes <= n - PEER_HEAD_BYTES) {
            crc = mq_crc32c(mq_crc32c(0, copy, 16), copy + PEER_HEAD_BYTES, header_bytes);
            memcpy(copy + 16, &crc, sizeof(crc));
            check_frame(copy, n);
        }
    }
    mq_free(copy);
    return 0;
}
