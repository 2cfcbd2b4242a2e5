/* The entry header, word by word as entry_codec.h lays it out. */
#include "raft-log/log/entry_codec.h"

#include "raft-log/include/raftlog/raftlog.h"
#include "raft-log/log/little.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <string.h>

#define CRC_FROM 8u
#define END_MARK 0x524D5145u /* "EQMR" */

void rlog_header_encode(struct rlog_header *header, uint8_t *at)
{
    memset(at, 0, RLOG_HEADER_BYTES);
    rlog_le32_store(at, RLOG_ENTRY_MAGIC);
    rlog_le16_store(at + 8, RLOG_ENTRY_VERSION);
    at[10] = header->type;
    rlog_le32_store(at + 12, header->payload_bytes);
    rlog_le64_store(at + 16, header->index);
    rlog_le64_store(at + 24, header->term);
    rlog_le64_store(at + 32, header->pos);
    rlog_le64_store(at + 40, header->commit);
    rlog_le64_store(at + 48, (uint64_t)header->clock_ms);
    rlog_le64_store(at + 56, (uint64_t)header->store_ms);
    rlog_le32_store(at + 64, header->payload_crc);
    rlog_le32_store(at + 68, header->prev_crc);
    rlog_le32_store(at + 72, header->records);
    rlog_le32_store(at + 76, header->items);
    rlog_le32_store(at + 80, header->bare_sectors);
    rlog_le32_store(at + 92, END_MARK);
    header->crc = mq_crc32c(0, at + CRC_FROM, RLOG_HEADER_BYTES - CRC_FROM);
    rlog_le32_store(at + 4, header->crc);
}

/* What version 1 fixes must be so, so that a decoded header encodes to the same bytes. */
static int fixed_is_right(const uint8_t *at)
{
    return at[11] == 0 && rlog_le64_load(at + 84) == 0 && rlog_le32_load(at + 92) == END_MARK;
}

int rlog_header_decode(const uint8_t *at, size_t n, struct rlog_header *out)
{
    uint32_t crc, payload_bytes;

    if (n < RLOG_HEADER_BYTES) {
        return MQ_EAGAIN;
    }
    if (rlog_le32_load(at) != RLOG_ENTRY_MAGIC) {
        return MQ_ECORRUPT;
    }
    crc = mq_crc32c(0, at + CRC_FROM, RLOG_HEADER_BYTES - CRC_FROM);
    if (crc != rlog_le32_load(at + 4)) {
        return MQ_ECORRUPT;
    }
    if (rlog_le16_load(at + 8) != RLOG_ENTRY_VERSION) {
        return MQ_EVERSION;
    }
    payload_bytes = rlog_le32_load(at + 12);
    if (at[10] < RLOG_COMMAND || at[10] > RLOG_CHANGE || !fixed_is_right(at) ||
        payload_bytes > RLOG_ENTRY_BYTES_MAX || rlog_le32_load(at + 80) > payload_bytes / RLOG_SECTOR_BYTES + 1) {
        return MQ_ECORRUPT;
    }
    *out = (struct rlog_header){
        .type = at[10],
        .payload_bytes = payload_bytes,
        .index = rlog_le64_load(at + 16),
        .term = rlog_le64_load(at + 24),
        .pos = rlog_le64_load(at + 32),
        .commit = rlog_le64_load(at + 40),
        .clock_ms = (int64_t)rlog_le64_load(at + 48),
        .store_ms = (int64_t)rlog_le64_load(at + 56),
        .payload_crc = rlog_le32_load(at + 64),
        .prev_crc = rlog_le32_load(at + 68),
        .records = rlog_le32_load(at + 72),
        .items = rlog_le32_load(at + 76),
        .bare_sectors = rlog_le32_load(at + 80),
        .crc = crc,
    };
    return 0;
}

bool rlog_entry_is_sound(const struct rlog_header *header, const uint8_t *at)
{
    static const uint8_t NO_PADDING[8];
    uint32_t used = RLOG_HEADER_BYTES + header->payload_bytes;

    return memcmp(at + used, NO_PADDING, rlog_entry_bytes(header->payload_bytes) - used) == 0 &&
           mq_crc32c(0, at + RLOG_HEADER_BYTES, header->payload_bytes) == header->payload_crc;
}

/* @n: a multiple of 8. Content shows itself in the first words as a rule. */
static bool is_bare(const uint8_t *at, uint32_t n, uint32_t bytes_max)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < n; i += 8) {
        uint64_t word = rlog_le64_load(at + i);

        for (; word != 0; word >>= 8) {
            found += (word & 0xFF) != 0;
            if (found > bytes_max) {
                return false;
            }
        }
    }
    return true;
}

uint32_t rlog_entry_bare_sectors(const uint8_t *at, uint64_t pos, uint32_t n, uint32_t bytes_max)
{
    uint64_t header_end = pos + RLOG_HEADER_BYTES;
    uint32_t from = (uint32_t)(((header_end + RLOG_SECTOR_BYTES - 1) & ~(uint64_t)(RLOG_SECTOR_BYTES - 1)) - pos);
    uint32_t bare = 0;

    for (; from < n; from += RLOG_SECTOR_BYTES) {
        uint32_t left = n - from;

        bare += is_bare(at + from, left < RLOG_SECTOR_BYTES ? left : RLOG_SECTOR_BYTES, bytes_max);
    }
    return bare;
}
