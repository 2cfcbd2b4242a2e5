/* The way through raw bytes of the log. */
#include "raft-log/include/raftlog/raftlog.h"
#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "remoting/base/err.h"

/* What does not fit a segment begins the next one, and zeros fill the rest. That they are not a header which the disk
 * lost shows at the next entry, which names the one before. */
static bool is_rest(const struct rlog_walk *walk)
{
    return walk->ends_segment && (walk->left < RLOG_HEADER_BYTES || rlog_le32_load(walk->at) == 0);
}

static void move_on(struct rlog_walk *walk, uint64_t bytes)
{
    walk->at += bytes;
    walk->pos += bytes;
    walk->left -= bytes;
}

int rlog_walk_next(struct rlog_walk *walk, struct rlog_entry *out)
{
    struct rlog_header header;

    if (walk->left == 0 || is_rest(walk)) {
        move_on(walk, walk->left);
        return 0;
    }
    if (rlog_header_decode(walk->at, walk->left, &header) != 0 || header.pos != walk->pos ||
        rlog_entry_bytes(header.payload_bytes) > walk->left || (walk->chained && header.prev_crc != walk->crc) ||
        (walk->payloads && !rlog_entry_is_sound(&header, walk->at))) {
        return MQ_ECORRUPT;
    }
    *out = (struct rlog_entry){
        .index = header.index,
        .term = header.term,
        .pos = header.pos + RLOG_HEADER_BYTES,
        .clock_ms = header.clock_ms,
        .store_ms = header.store_ms,
    };
    if (header.type == RLOG_COMMAND) {
        out->payload = walk->at + RLOG_HEADER_BYTES;
        out->payload_bytes = header.payload_bytes;
        out->records = header.records;
        out->items = header.items;
    }
    walk->crc = header.crc;
    walk->prev_crc = header.prev_crc;
    walk->chained = true;
    move_on(walk, rlog_entry_bytes(header.payload_bytes));
    return 1;
}
