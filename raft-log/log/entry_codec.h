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
 *   80  u32  bare sectors: of the 512-byte sectors of the commit log that begin behind this header and before the end
 *            of the entry, so many have at most one byte up to that end that is not zero
 *   84  u64  zero
 *   92  u32  end mark "EQMR"
 *   96       payload
 *
 * An entry never crosses a segment: what does not fit starts the next one, and the rest of the old one stays zero.
 *
 * What a power failure kept from the disk is missing by whole sectors, which read as zeros. The last three words tell
 * such a sector from one that was written with zeros in it: a header that reaches into a second sector leaves its end
 * mark there, and behind the header more empty sectors than bare ones mean that some are missing. A sector with one
 * byte counts as bare too, so that one byte which the disk lost cannot make a sector look missing. */
#ifndef RLOG_LOG_ENTRY_CODEC_H
#define RLOG_LOG_ENTRY_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RLOG_HEADER_BYTES 96u
#define RLOG_ENTRY_MAGIC 0x45514D52u /* "RMQE" */
#define RLOG_ENTRY_VERSION 1
#define RLOG_SECTOR_BYTES 512u

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
    uint32_t bare_sectors;
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

/* How many sectors that begin behind the header of the entry of @n bytes at @at, whose position is @pos, have no more
 * than @bytes_max bytes up to its end that are not zero. */
uint32_t rlog_entry_bare_sectors(const uint8_t *at, uint64_t pos, uint32_t n, uint32_t bytes_max);

#endif
