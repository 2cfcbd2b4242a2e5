/* Recovery against any content of two segments: it ends, stays within them, and what it accepts is a chain of good
 * entries.
 *
 * The first byte of the input says whether checksums are made to fit (so that the fuzzer gets past them): then every
 * place that begins with the magic number gets a header CRC, its own position, the chain and a payload CRC, in order.
 */
#include "tests/fuzz/fuzz.h"

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "raft-log/log/recover.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

#define SEGMENT_BYTES 4096u
#define SEGMENTS 2u

static const struct rlog_base NOTHING;

static int64_t all_data(const struct rlog_disk *disk, int fd, uint64_t at, uint64_t *end)
{
    (void)disk;
    (void)fd;
    *end = UINT64_MAX;
    return (int64_t)at;
}

static int no_advice(const struct rlog_disk *disk, const uint8_t *at, size_t bytes, int advice)
{
    (void)disk;
    (void)at;
    (void)bytes;
    (void)advice;
    return 0;
}

static void fit_checksums(uint8_t *segment, uint64_t first_pos, uint32_t *prev_crc)
{
    for (uint32_t at = 0; at + RLOG_HEADER_BYTES <= SEGMENT_BYTES; at += 8) {
        uint32_t n = rlog_le32_load(segment + at + 12);

        if (rlog_le32_load(segment + at) != RLOG_ENTRY_MAGIC) {
            continue;
        }
        rlog_le64_store(segment + at + 32, first_pos + at);
        rlog_le32_store(segment + at + 68, *prev_crc);
        rlog_le32_store(segment + at + 92, 0x524D5145u); /* the end mark */
        if (n <= SEGMENT_BYTES - at - RLOG_HEADER_BYTES) {
            rlog_le32_store(segment + at + 64, mq_crc32c(0, segment + at + RLOG_HEADER_BYTES, n));
        }
        *prev_crc = mq_crc32c(0, segment + at + 8, RLOG_HEADER_BYTES - 8);
        rlog_le32_store(segment + at + 4, *prev_crc);
    }
}

static void check(struct segment *const *segments, const struct entry_index *index, const struct recovered *found)
{
    uint64_t end = 0;

    MQ_ASSERT(index->last_index == found->last_index && found->proven_commit <= found->last_index);
    for (uint64_t i = 1; i <= index->last_index; i++) {
        uint64_t pos = entry_index_pos(index, i);
        struct rlog_header header;

        MQ_ASSERT(pos >= end);
        MQ_ASSERT(rlog_header_decode(segment_at(segments[pos / SEGMENT_BYTES], pos), RLOG_HEADER_BYTES, &header) ==
                  0);
        MQ_ASSERT(header.index == i && header.pos == pos);
        end = pos + rlog_entry_bytes(header.payload_bytes);
    }
    MQ_ASSERT(end == found->end_pos && found->torn_end >= end && found->torn_end <= SEGMENTS * SEGMENT_BYTES);
    MQ_ASSERT((found->verdict == RECOVER_WHOLE) <= (found->torn_end == end));
    if (found->verdict == RECOVER_ROTTEN || found->verdict == RECOVER_AMBIGUOUS) {
        MQ_ASSERT(rlog_is_behind(found->last_term, found->last_index, found->claim.term, found->claim.index));
    } else {
        MQ_ASSERT(found->claim.index == 0);
    }
    MQ_ASSERT(recover_check_again(segments, &NOTHING, index, found, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const struct rlog_disk disk = {.next_data = all_data, .advise = no_advice};
    struct segment segments[SEGMENTS];
    struct segment *pointers[SEGMENTS];
    uint8_t *maps[SEGMENTS];
    struct entry_index index;
    struct recovered found;
    struct mq_buf problem = {0};
    uint32_t prev_crc = 0;
    const struct recover_known known = {n > 1 ? bytes[0] >> 4 : 0, n > 1 ? bytes[0] >> 1 & 7 : 0};
    int rc;

    for (unsigned k = 0; k < SEGMENTS; k++) {
        size_t from = 1 + k * SEGMENT_BYTES;

        maps[k] = mq_calloc(1, SEGMENT_BYTES); /* a block of its own: a read past its end is seen */
        MQ_ASSERT(maps[k] != NULL);
        if (n > from) {
            memcpy(maps[k], bytes + from, n - from < SEGMENT_BYTES ? n - from : SEGMENT_BYTES);
        }
        if (n != 0 && (bytes[0] & 1) != 0) {
            fit_checksums(maps[k], k * SEGMENT_BYTES, &prev_crc);
        }
        segments[k] = (struct segment){.disk = &disk,
                                       .map = maps[k],
                                       .first_pos = k * SEGMENT_BYTES,
                                       .bytes = SEGMENT_BYTES,
                                       .name = "log/fuzz"};
        pointers[k] = &segments[k];
    }
    entry_index_init(&index, NULL);
    rc = recover_log(pointers, SEGMENTS, &NOTHING, &known, &index, &found, &problem);
    MQ_ASSERT(rc == 0 || rc == MQ_EVERSION);
    MQ_ASSERT((rc == 0) == (problem.len == 0));
    if (rc == 0) {
        check(pointers, &index, &found);
    }
    entry_index_fini(&index);
    mq_buf_free(&problem);
    for (unsigned k = 0; k < SEGMENTS; k++) {
        mq_free(maps[k]);
    }
    return 0;
}
