#include "raft-log/peer/range_codec.h"

#include "raft-log/core/pb_arena.h"
#include "raft-log/peer/peer.pb-c.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

static void *unpack(const ProtobufCMessageDescriptor *type, const struct peer_frame *frame, struct pb_arena *arena)
{
    return protobuf_c_message_unpack(type, pb_arena_reset(arena), frame->header_bytes, frame->header);
}

static int decode_fetch(const struct peer_frame *frame, struct pb_arena *arena, struct peer_ask *out)
{
    const Rlog__PeerFetch *pb = unpack(&rlog__peer_fetch__descriptor, frame, arena);

    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    *out = (struct peer_ask){.type = PEER_FETCH, .id = pb->id, .bytes_max = pb->bytes_max};
    out->entries.first = pb->first;
    out->entries.last = pb->last;
    out->entries.from_last = pb->from_last;
    out->entries.goes_on_from = pb->goes_on_from;
    return 0;
}

static int decode_snapshot_ask(const struct peer_frame *frame, struct pb_arena *arena, struct peer_ask *out)
{
    const Rlog__PeerSnapshotAsk *pb = unpack(&rlog__peer_snapshot_ask__descriptor, frame, arena);

    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    *out = (struct peer_ask){.type = PEER_SNAPSHOT_ASK, .id = pb->id, .bytes_max = pb->bytes_max};
    out->snapshot.index = pb->index;
    out->snapshot.offset = pb->offset;
    return 0;
}

int peer_ask_decode(const struct peer_frame *frame, struct peer_ask *out)
{
    struct pb_arena arena;

    switch (frame->type) {
    case PEER_FETCH:
        return decode_fetch(frame, &arena, out);
    case PEER_SNAPSHOT_ASK:
        return decode_snapshot_ask(frame, &arena, out);
    default:
        return MQ_EBADMSG;
    }
}

int peer_ask_encode(const struct peer_ask *ask, struct mq_buf *out)
{
    if (ask->type == PEER_FETCH) {
        Rlog__PeerFetch pb = RLOG__PEER_FETCH__INIT;

        pb.id = ask->id;
        pb.first = ask->entries.first;
        pb.last = ask->entries.last;
        pb.from_last = ask->entries.from_last;
        pb.goes_on_from = ask->entries.goes_on_from;
        pb.bytes_max = ask->bytes_max;
        return peer_frame_encode(PEER_FETCH, &pb.base, 0, out);
    } else {
        Rlog__PeerSnapshotAsk pb = RLOG__PEER_SNAPSHOT_ASK__INIT;

        pb.id = ask->id;
        pb.index = ask->snapshot.index;
        pb.offset = ask->snapshot.offset;
        pb.bytes_max = ask->bytes_max;
        return peer_frame_encode(PEER_SNAPSHOT_ASK, &pb.base, 0, out);
    }
}

int peer_range_decode(const struct peer_frame *frame, struct peer_range *out)
{
    struct pb_arena arena;
    const Rlog__PeerRangeData *pb = NULL;
    bool ok;

    if (frame->type == PEER_RANGE_DATA) {
        pb = unpack(&rlog__peer_range_data__descriptor, frame, &arena);
    }
    if (pb == NULL || pb->status >= PEER_RANGE_STATUSES) {
        return MQ_EBADMSG;
    }
    ok = pb->status == PEER_RANGE_OK;
    if ((pb->entries > 0) != ok || (frame->raw_bytes > 0) != ok || (pb->first > 0) != ok ||
        (ok && pb->entries > UINT64_MAX - pb->first)) {
        return MQ_EBADMSG;
    }
    *out = (struct peer_range){
        .id = pb->id,
        .status = (enum peer_range_status)pb->status,
        .first = pb->first,
        .n = pb->entries,
        .commit = pb->commit,
        .held_first = pb->held_first,
        .held_pos = pb->held_pos,
        .before = {pb->before_term, pb->before_end_pos, pb->before_store_ms},
    };
    return 0;
}

int peer_range_encode(const struct peer_range *range, uint32_t raw_bytes, struct mq_buf *out)
{
    Rlog__PeerRangeData pb = RLOG__PEER_RANGE_DATA__INIT;

    pb.id = range->id;
    pb.status = range->status;
    pb.first = range->first;
    pb.entries = range->n;
    pb.commit = range->commit;
    pb.held_first = range->held_first;
    pb.held_pos = range->held_pos;
    pb.before_term = range->before.term;
    pb.before_end_pos = range->before.end_pos;
    pb.before_store_ms = range->before.store_ms;
    return peer_frame_encode(PEER_RANGE_DATA, &pb.base, raw_bytes, out);
}

int peer_range_check(const uint8_t *raw, uint32_t bytes, uint64_t first, uint32_t n)
{
    struct rlog_header header, before = {0};
    uint32_t at = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t entry_bytes;

        if (rlog_header_decode(raw + at, bytes - at, &header) != 0 || header.index != first + i) {
            return MQ_EBADMSG;
        }
        entry_bytes = rlog_entry_bytes(header.payload_bytes);
        if (entry_bytes > bytes - at) {
            return MQ_EBADMSG;
        }
        if (!rlog_entry_is_sound(&header, raw + at) ||
            (i > 0 && (header.prev_crc != before.crc || header.term < before.term ||
                       header.pos != before.pos + rlog_entry_bytes(before.payload_bytes)))) {
            return MQ_ECORRUPT;
        }
        before = header;
        at += entry_bytes;
    }
    return at == bytes ? 0 : MQ_EBADMSG;
}

static bool part_is_sensible(const Rlog__PeerSnapshotData *pb, uint32_t raw_bytes)
{
    if (pb->status != PEER_RANGE_OK) {
        return pb->bytes == 0 && raw_bytes == 0;
    }
    return pb->bytes > 0 && pb->bytes <= PEER_RANGE_BYTES && peer_part_raw_bytes(pb->bytes) == raw_bytes &&
           pb->index > 0 && pb->offset < pb->file_bytes && pb->bytes <= pb->file_bytes - pb->offset;
}

int peer_part_decode(const struct peer_frame *frame, struct peer_part *out)
{
    struct pb_arena arena;
    const Rlog__PeerSnapshotData *pb = NULL;

    if (frame->type == PEER_SNAPSHOT_DATA) {
        pb = unpack(&rlog__peer_snapshot_data__descriptor, frame, &arena);
    }
    if (pb == NULL || pb->status >= PEER_RANGE_STATUSES || !part_is_sensible(pb, frame->raw_bytes)) {
        return MQ_EBADMSG;
    }
    if (mq_crc32c(0, frame->raw, pb->bytes) != pb->crc) {
        return MQ_ECORRUPT;
    }
    *out = (struct peer_part){
        .id = pb->id,
        .status = (enum peer_range_status)pb->status,
        .index = pb->index,
        .term = pb->term,
        .file_bytes = pb->file_bytes,
        .offset = pb->offset,
        .bytes = pb->bytes,
        .crc = pb->crc,
    };
    return 0;
}

int peer_part_encode(const struct peer_part *part, struct mq_buf *out)
{
    Rlog__PeerSnapshotData pb = RLOG__PEER_SNAPSHOT_DATA__INIT;

    pb.id = part->id;
    pb.status = part->status;
    pb.index = part->index;
    pb.term = part->term;
    pb.file_bytes = part->file_bytes;
    pb.offset = part->offset;
    pb.bytes = part->bytes;
    pb.crc = part->crc;
    return peer_frame_encode(PEER_SNAPSHOT_DATA, &pb.base, peer_part_raw_bytes(part->bytes), out);
}
