/* Where a log begins: the last entry that it does not hold, twice on disk.
 *
 * <dir>/base-0 and <dir>/base-1, little-endian:
 *    0  u32  magic "RMQB"
 *    4  u32  CRC-32C of bytes 8 to the end of the body
 *    8  u16  format version (1), 10 u16 zero
 *   12  u32  bytes of the body
 *   16  u64  sequence
 *   24       body, protobuf Base (base.proto); what is behind it has no meaning
 *
 * A store writes base-0, syncs it, writes base-1, syncs it: at every instant one of them is whole, and the good one
 * with the higher sequence counts. Neither is there, or the first store of all was interrupted: the log begins with
 * entry 1. */
#ifndef RLOG_LOG_BASE_FILE_H
#define RLOG_LOG_BASE_FILE_H

#include "raft-log/log/disk.h"
#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define RLOG_BASE_CHANGE_MAX 8192u /* bytes of a membership */
#define BASE_FILE_HEADER_BYTES 24u
#define BASE_FILE_BYTES_MAX (BASE_FILE_HEADER_BYTES + RLOG_BASE_CHANGE_MAX + 128u)

/* The last entry not held. All zero: there is none, the first entry held is entry 1 at position 0. */
struct rlog_base {
    uint64_t index, term;
    uint32_t crc;     /* of its header */
    uint64_t end_pos; /* where it ends */
    int64_t store_ms;
    /* The membership as encoded in entry change_index (core/member.h). That entry may lie behind the base: then the
     * log holds it. */
    uint64_t change_index;
    const uint8_t *change; /* borrowed */
    uint32_t change_bytes; /* 0: not known */
};

/* A base with memory for its membership. It must not be copied: base.change points into it. */
struct base_kept {
    struct rlog_base base;
    uint8_t change[RLOG_BASE_CHANGE_MAX];
};

/* @base->change_bytes must not be above RLOG_BASE_CHANGE_MAX. @base may be @to's own. */
void base_keep(struct base_kept *to, const struct rlog_base *base);

/* One thread at a time. */
struct base_file {
    const struct rlog_disk *disk; /* borrowed */
    char *dir;                    /* owned */
    uint64_t sequence;
};

/* Reads both copies, and makes a bad or older one equal to the good one. @reset: see base.proto. Returns 0; or
 * MQ_ECORRUPT (both bad), MQ_EVERSION, MQ_ENOMEM or -errno with one line in @problem. */
int base_file_open(struct base_file *file, const struct rlog_disk *disk, const char *dir, struct base_kept *out,
                   bool *reset, struct mq_buf *problem);
void base_file_close(struct base_file *file);

/* Makes @base durable in both copies. Returns 0, MQ_ETOOBIG (the membership), MQ_ENOMEM or -errno: after one of these
 * the old one, or the new one, is on disk. */
int base_file_store(struct base_file *file, const struct rlog_base *base, bool reset);

/* The format, for the two above and for tests. @out: BASE_FILE_BYTES_MAX bytes. Returns the length. */
uint32_t base_file_encode(const struct rlog_base *base, bool reset, uint64_t sequence, uint8_t *out);
/* Returns 0, MQ_ECORRUPT, MQ_EVERSION or MQ_ENOMEM; @out, @reset and @sequence are untouched on error. */
int base_file_decode(const uint8_t *at, size_t n, struct base_kept *out, bool *reset, uint64_t *sequence);

#endif
