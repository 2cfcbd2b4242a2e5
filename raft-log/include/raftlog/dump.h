/* The files of a log read without its node, for people: what lies in them, and whether it is sound. Changes nothing
 * and takes no lock, so the node may be stopped or running; what a running one is writing just now shows as a tail.
 */
#ifndef RAFTLOG_DUMP_H
#define RAFTLOG_DUMP_H

#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* One entry, or a stretch in which no entry can be read though there are some behind it. Valid during the call. */
struct rlog_dump_item {
    const char *file;    /* name of the segment */
    const char *problem; /* NULL: everything holds. Else which check failed */
    bool readable;       /* an entry with a good header; else only what is above, pos and bytes are set */
    uint64_t pos;        /* of the header in the commit log */
    uint64_t bytes;      /* with header and padding */
    uint64_t index, term, commit;
    int64_t clock_ms, store_ms;
    const char *type; /* "command", "barrier", "change" */
    uint32_t payload_bytes, records, items;
    uint32_t crc, prev_crc, payload_crc;
};

/* Returns false when it has seen enough. */
typedef bool (*rlog_dump_cb)(void *data, const struct rlog_dump_item *item);

struct rlog_dump_summary {
    uint64_t files, entries;
    uint64_t bad;                                /* items with a problem */
    uint64_t first_index, last_index, last_term; /* 0: there is no entry */
    uint64_t start_pos, end_pos;                 /* of the first entry; behind the last sound one */
    uint64_t tail_bytes; /* behind end_pos, up to the last byte that is not zero: never part of the log, or being
                            written now */
};

/* Walks one segment, or all of a directory: that of the segments, the member's above it, or the broker's store above
 * that. Every header is checked against its CRC, its own position and the entry before (index, chain, term), every
 * payload against its CRC. Blocking. Returns 0 (also when entries are bad: see @out) or a negative code with a line
 * in
 * @problem. @each: may be NULL. */
int rlog_dump(const char *path, rlog_dump_cb each, void *data, struct rlog_dump_summary *out, struct mq_buf *problem);

#endif
