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

static void check_fetch(const struct peer_frame *frame)
{
    struct peer_fetch fetch, again;
    struct peer_frame frame_again;
    struct mq_buf bytes = {0};

    if (peer_fetch_decode(frame, &fetch) != 0) {
        return;
    }
    MQ_ASSERT(peer_fetch_encode(&fetch, &bytes) == 0);
    MQ_ASSERT(peer_frame_decode(bytes.base, bytes.len, 0, &frame_again) == 0);
    MQ_ASSERT(peer_fetch_decode(&frame_again, &again) == 0);
    MQ_ASSERT(again.id == fetch.id && again.first == fetch.first && again.last == fetch.last &&
              again.from_last == fetch.from_last && again.bytes_max == fetch.bytes_max);
    mq_buf_free(&bytes);
}

static void check_range(const struct peer_frame *frame)
{
    struct peer_range range;

    if (peer_range_decode(frame, &range) != 0) {
        return;
    }
    MQ_ASSERT((range.status == PEER_RANGE_OK) == (range.n > 0));
    if (range.n > 0) {
        (void)peer_range_check(frame->raw, frame->raw_bytes, range.first, range.n);
    }
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
    check_message(&frame);
    check_fetch(&frame);
    check_range(&frame);
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
