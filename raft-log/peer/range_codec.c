#include "raft-log/peer/range_codec.h"

#include "raft-log/core/pb_arena.h"
#include "raft-log/peer/peer.pb-c.h"
#include "remoting/base/err.h"

static void *unpack(const ProtobufCMessageDescriptor *type, const struct peer_frame *frame, struct pb_arena *arena)
{
    return protobuf_c_message_unpack(type, pb_arena_reset(arena), frame->header_bytes, frame->header);
}

int peer_fetch_decode(const struct peer_frame *frame, struct peer_fetch *out)
{
    struct pb_arena arena;
    const Rlog__PeerFetch *pb = NULL;

    if (frame->type == PEER_FETCH) {
        pb = unpack(&rlog__peer_fetch__descriptor, frame, &arena);
    }
    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    *out = (struct peer_fetch){pb->id, pb->first, pb->last, pb->from_last, pb->bytes_max};
    return 0;
}

int peer_fetch_encode(const struct peer_fetch *fetch, struct mq_buf *out)
{
    Rlog__PeerFetch pb = RLOG__PEER_FETCH__INIT;

    pb.id = fetch->id;
    pb.first = fetch->first;
    pb.last = fetch->last;
    pb.from_last = fetch->from_last;
    pb.bytes_max = fetch->bytes_max;
    return peer_frame_encode(PEER_FETCH, &pb.base, 0, out);
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
        .complete = pb->complete,
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
    pb.complete = range->complete;
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
