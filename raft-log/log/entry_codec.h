/* An entry on disk and between peers. Little-endian words; the whole entry is padded with zeros to 8 bytes.
 *
 *    0  u32  magic "RMQE"
 *    4  u32  CRC-32C of bytes 8 to 95
 *    8  u16  format version (1)
 *   10  u8   type (RLOG_COMMAND, RLOG_BARRIER, RLOG_CHANGE)
 *   11  u8   zero
 *   12  u32  payload bytes, without padding
 *   16  u64  index
 *   24  u64  term
 *   32  u64  position of this header in the commit log
 *   40  u64  commit index of the leader when it built the entry
 *   48  i64  clock_ms, the leader's wall clock
 *   56  i64  store_ms
 *   64  u32  CRC-32C of the payload
 *   68  u32  header CRC of the entry before (0 for the first): the hash chain
 *   72  u32  records, 76 u32 items: the proposer's counts
 *   80  u64  zero, 88 u64 zero
 *   96       payload
 *
 * An entry never crosses a segment: what does not fit starts the next one, and the rest of the old one stays zero. */
#ifndef RLOG_LOG_ENTRY_CODEC_H
#define RLOG_LOG_ENTRY_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RLOG_HEADER_BYTES 96u
#define RLOG_ENTRY_MAGIC 0x45514D52u /* "RMQE" */
#define RLOG_ENTRY_VERSION 1

enum rlog_entry_type { RLOG_COMMAND = 1, RLOG_BARRIER = 2, RLOG_CHANGE = 3 };

struct rlog_header {
    uint8_t type;
    uint32_t payload_bytes;
    uint64_t index;
    uint64_t term;
    uint64_t pos;
    uint64_t commit;
    int64_t clock_ms;
    int64_t store_ms;
    uint32_t payload_crc;
    uint32_t prev_crc;
    uint32_t records;
    uint32_t items;
    uint32_t crc; /* of the header itself: set by decode, and by encode */
};

static inline uint32_t rlog_entry_bytes(uint32_t payload_bytes)
{
    return (RLOG_HEADER_BYTES + payload_bytes + 7u) & ~7u;
}

/* Writes RLOG_HEADER_BYTES to @at and sets header->crc. */
void rlog_header_encode(struct rlog_header *header, uint8_t *at);

/* Checks magic, version, CRC, type and that payload_bytes is not above RLOG_ENTRY_BYTES_MAX. The payload is not
 * looked at. Returns 0, MQ_EAGAIN (@n below RLOG_HEADER_BYTES), MQ_ECORRUPT, or MQ_EVERSION (a good header of another
 * version). */
int rlog_header_decode(const uint8_t *at, size_t n, struct rlog_header *out);

/* Whether payload and padding of the whole entry at @at are what its header says. */
bool rlog_entry_is_sound(const struct rlog_header *header, const uint8_t *at);

#endif
