#include "raft-log/peer/peer_codec.h"

#include "raft-log/core/pb_arena.h"
#include "raft-log/peer/peer.pb-c.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <string.h>

static void store16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static void store32(uint8_t *at, uint32_t v)
{
    store16(at, (uint16_t)v);
    store16(at + 2, (uint16_t)(v >> 16));
}

static uint16_t load16(const uint8_t *at)
{
    return (uint16_t)(at[0] | (at[1] << 8));
}

static uint32_t load32(const uint8_t *at)
{
    return load16(at) | ((uint32_t)load16(at + 2) << 16);
}

static size_t padded(size_t n)
{
    return (n + 7u) & ~(size_t)7u;
}

/* ---- frames ---- */

static bool is_known(enum peer_frame_type type)
{
    return (type >= PEER_HELLO && type <= PEER_SPACE) || (type >= PEER_FETCH && type <= PEER_SNAPSHOT_DATA);
}

static bool may_have_raw(enum peer_frame_type type)
{
    return type == PEER_APPEND || type == PEER_RANGE_DATA || type == PEER_SNAPSHOT_DATA;
}

int peer_frame_decode(const uint8_t *at, size_t n, uint32_t raw_max, struct peer_frame *out)
{
    struct peer_frame frame;
    size_t front;

    if (n < PEER_HEAD_BYTES) {
        out->bytes = PEER_HEAD_BYTES;
        return MQ_EAGAIN;
    }
    if (load32(at) != PEER_MAGIC) {
        return MQ_EBADMSG;
    }
    if (load16(at + 4) != PEER_VERSION) {
        return MQ_EVERSION;
    }
    frame.type = at[6];
    frame.header_bytes = load32(at + 8);
    frame.raw_bytes = load32(at + 12);
    if (!is_known(frame.type) || at[7] != 0 || load32(at + 20) != 0 || (frame.raw_bytes & 7u) != 0 ||
        (frame.raw_bytes > 0 && !may_have_raw(frame.type))) {
        return MQ_EBADMSG;
    }
    if (frame.header_bytes > PEER_HEADER_MAX || frame.raw_bytes > raw_max) {
        return MQ_ETOOBIG;
    }
    front = padded(PEER_HEAD_BYTES + frame.header_bytes);
    frame.bytes = front + frame.raw_bytes;
    frame.header = at + PEER_HEAD_BYTES;
    frame.raw = at + front;
    if (n < front) {
        out->bytes = front;
        return MQ_EAGAIN;
    }
    /* Before anybody waits for raw bytes whose number may be wrong: they would swallow the frames behind. */
    if (mq_crc32c(mq_crc32c(0, at, 16), frame.header, frame.header_bytes) != load32(at + 16)) {
        return MQ_ECORRUPT;
    }
    if (n < frame.bytes) {
        out->bytes = frame.bytes;
        return MQ_EAGAIN;
    }
    *out = frame;
    return 0;
}

int peer_frame_encode(enum peer_frame_type type, const ProtobufCMessage *pb, uint32_t raw_bytes, struct mq_buf *out)
{
    size_t n = protobuf_c_message_get_packed_size(pb);
    size_t front = padded(PEER_HEAD_BYTES + n);
    uint8_t *at;
    int rc = n <= PEER_HEADER_MAX ? mq_buf_reserve(out, front) : MQ_ETOOBIG;

    if (rc != 0) {
        return rc;
    }
    at = out->base + out->len;
    store32(at, PEER_MAGIC);
    store16(at + 4, PEER_VERSION);
    at[6] = (uint8_t)type;
    at[7] = 0;
    store32(at + 8, (uint32_t)n);
    store32(at + 12, raw_bytes);
    (void)protobuf_c_message_pack(pb, at + PEER_HEAD_BYTES);
    store32(at + 16, mq_crc32c(mq_crc32c(0, at, 16), at + PEER_HEAD_BYTES, n));
    store32(at + 20, 0);
    memset(at + PEER_HEAD_BYTES + n, 0, front - PEER_HEAD_BYTES - n);
    out->len += front;
    return 0;
}

static void *unpack(const ProtobufCMessageDescriptor *type, const struct peer_frame *frame, struct pb_arena *arena)
{
    return protobuf_c_message_unpack(type, pb_arena_reset(arena), frame->header_bytes, frame->header);
}

/* ---- hello and founding ---- */

int peer_hello_decode(const struct peer_frame *frame, struct peer_hello *out)
{
    struct pb_arena arena;
    const Rlog__PeerHello *pb = NULL;

    if (frame->type == PEER_HELLO) {
        pb = unpack(&rlog__peer_hello__descriptor, frame, &arena);
    }
    if (pb == NULL || strlen(pb->group) > MEMBER_TEXT_MAX || strlen(pb->cluster) > MEMBER_TEXT_MAX || pb->lane < 1 ||
        pb->lane > PEER_LANES || pb->from == 0) {
        return MQ_EBADMSG;
    }
    memcpy(out->group, pb->group, strlen(pb->group) + 1);
    out->from = pb->from;
    out->to = pb->to;
    out->incarnation = pb->incarnation;
    out->segment_bytes = pb->segment_bytes;
    out->lane = (enum peer_lane)(pb->lane - 1);
    memcpy(out->cluster, pb->cluster, strlen(pb->cluster) + 1);
    out->boot = pb->boot;
    return 0;
}

int peer_hello_encode(const struct peer_hello *hello, struct mq_buf *out)
{
    Rlog__PeerHello pb = RLOG__PEER_HELLO__INIT;

    pb.group = (char *)hello->group; /* packing only reads it */
    pb.from = hello->from;
    pb.to = hello->to;
    pb.incarnation = hello->incarnation;
    pb.segment_bytes = hello->segment_bytes;
    pb.lane = (uint32_t)hello->lane + 1;
    pb.cluster = (char *)hello->cluster;
    pb.boot = hello->boot;
    return peer_frame_encode(PEER_HELLO, &pb.base, 0, out);
}

/* A membership that may be missing where @may_miss. */
static int decode_membership(const ProtobufCBinaryData *bytes, bool may_miss, struct membership *out)
{
    if (bytes->len == 0 && may_miss) {
        memset(out, 0, sizeof(*out));
        return 0;
    }
    return membership_decode(bytes->data, bytes->len, out);
}

int peer_founding_decode(const struct peer_frame *frame, struct peer_founding *out)
{
    struct pb_arena arena;
    const Rlog__PeerFounding *pb = NULL;
    struct peer_founding got;

    if (frame->type == PEER_FOUNDING) {
        pb = unpack(&rlog__peer_founding__descriptor, frame, &arena);
    }
    if (pb == NULL || decode_membership(&pb->membership, pb->founded, &got.membership) != 0 ||
        decode_membership(&pb->current, true, &got.current) != 0 || (pb->index == 0) != (got.current.n == 0)) {
        return MQ_EBADMSG;
    }
    got.founded = pb->founded;
    got.index = pb->index;
    *out = got;
    return 0;
}

static int encode_membership(const struct membership *membership, struct mq_buf *out)
{
    return membership->n > 0 ? membership_encode(membership, out) : 0;
}

int peer_founding_encode(const struct peer_founding *founding, struct mq_buf *out)
{
    Rlog__PeerFounding pb = RLOG__PEER_FOUNDING__INIT;
    struct mq_buf first = {0}, current = {0};
    int rc = encode_membership(&founding->membership, &first);

    if (rc == 0) {
        rc = encode_membership(&founding->current, &current);
    }
    if (rc == 0) {
        pb.founded = founding->founded;
        pb.membership.data = first.base;
        pb.membership.len = first.len;
        pb.current.data = current.base;
        pb.current.len = current.len;
        pb.index = founding->index;
        rc = peer_frame_encode(PEER_FOUNDING, &pb.base, 0, out);
    }
    mq_buf_free(&first);
    mq_buf_free(&current);
    return rc;
}

/* ---- claims ---- */

int peer_claim_decode(const struct peer_frame *frame, struct peer_claim *out)
{
    struct pb_arena arena;
    const Rlog__PeerClaim *pb = NULL;

    if (frame->type == PEER_CLAIM) {
        pb = unpack(&rlog__peer_claim__descriptor, frame, &arena);
    }
    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    *out = (struct peer_claim){
        .ask = pb->ask,
        .last_index = pb->last_index,
        .last_term = pb->last_term,
        .claim = {.term = pb->claim_term, .index = pb->claim_index, .committed = pb->committed},
        .leading_term = pb->leading_term,
    };
    return 0;
}

int peer_claim_encode(const struct peer_claim *claim, struct mq_buf *out)
{
    Rlog__PeerClaim pb = RLOG__PEER_CLAIM__INIT;

    pb.ask = claim->ask;
    pb.last_index = claim->last_index;
    pb.last_term = claim->last_term;
    pb.claim_index = claim->claim.index;
    pb.claim_term = claim->claim.term;
    pb.committed = claim->claim.committed;
    pb.leading_term = claim->leading_term;
    return peer_frame_encode(PEER_CLAIM, &pb.base, 0, out);
}

/* ---- room on disks ---- */

int peer_space_decode(const struct peer_frame *frame, struct peer_space *out)
{
    struct pb_arena arena;
    const Rlog__PeerSpace *pb = NULL;
    struct peer_space got = {0};

    if (frame->type == PEER_SPACE) {
        pb = unpack(&rlog__peer_space__descriptor, frame, &arena);
    }
    if (pb == NULL || pb->level > RLOG_SPACE_FULL || pb->path.len > PEER_PATH_MAX ||
        (pb->path.len != 0 && memchr(pb->path.data, 0, pb->path.len) != NULL)) {
        return MQ_EBADMSG;
    }
    got.space = (struct rlog_space){.level = (enum rlog_space_level)pb->level,
                                    .total = pb->total,
                                    .free = pb->free,
                                    .ahead = pb->ahead,
                                    .needed = pb->needed};
    if (pb->path.len != 0) {
        memcpy(got.path, pb->path.data, pb->path.len);
    }
    *out = got;
    return 0;
}

int peer_space_encode(const struct peer_space *space, struct mq_buf *out)
{
    Rlog__PeerSpace pb = RLOG__PEER_SPACE__INIT;

    pb.level = space->space.level;
    pb.total = space->space.total;
    pb.free = space->space.free;
    pb.ahead = space->space.ahead;
    pb.needed = space->space.needed;
    pb.path.data = (uint8_t *)space->path;
    pb.path.len = strlen(space->path);
    return peer_frame_encode(PEER_SPACE, &pb.base, 0, out);
}

/* ---- hashes of the state ---- */

int peer_state_hash_decode(const struct peer_frame *frame, struct state_hashes *out)
{
    struct pb_arena arena;
    const Rlog__PeerStateHash *pb = NULL;
    struct state_hashes got = {0};

    if (frame->type == PEER_STATE_HASH) {
        pb = unpack(&rlog__peer_state_hash__descriptor, frame, &arena);
    }
    if (pb == NULL || pb->index == 0 || pb->n_ids > RLOG_SECTIONS_MAX || pb->n_versions != pb->n_ids ||
        pb->n_hashes != pb->n_ids) {
        return MQ_EBADMSG;
    }
    got.index = pb->index;
    got.n = (uint32_t)pb->n_ids;
    for (uint32_t i = 0; i < got.n; i++) {
        if (pb->ids[i] > UINT16_MAX || pb->versions[i] > UINT16_MAX || pb->ids[i] <= (i != 0 ? pb->ids[i - 1] : 0)) {
            return MQ_EBADMSG;
        }
        got.sections[i].id = (uint16_t)pb->ids[i];
        got.sections[i].version = (uint16_t)pb->versions[i];
        got.sections[i].hash = pb->hashes[i];
    }
    *out = got;
    return 0;
}

int peer_state_hash_encode(const struct state_hashes *hashes, struct mq_buf *out)
{
    Rlog__PeerStateHash pb = RLOG__PEER_STATE_HASH__INIT;
    uint32_t ids[RLOG_SECTIONS_MAX], versions[RLOG_SECTIONS_MAX];
    uint64_t values[RLOG_SECTIONS_MAX];

    for (uint32_t i = 0; i < hashes->n; i++) {
        ids[i] = hashes->sections[i].id;
        versions[i] = hashes->sections[i].version;
        values[i] = hashes->sections[i].hash;
    }
    pb.index = hashes->index;
    pb.n_ids = pb.n_versions = pb.n_hashes = hashes->n;
    pb.ids = ids;
    pb.versions = versions;
    pb.hashes = values;
    return peer_frame_encode(PEER_STATE_HASH, &pb.base, 0, out);
}

/* ---- raft messages ---- */

static int decode_append(const struct peer_frame *frame, struct pb_arena *arena, struct core_message *out)
{
    const Rlog__PeerAppend *pb = unpack(&rlog__peer_append__descriptor, frame, arena);

    if (pb == NULL || pb->entries > PEER_FRAME_ENTRIES_MAX || (pb->entries == 0) != (frame->raw_bytes == 0)) {
        return MQ_EBADMSG;
    }
    out->type = CORE_APPEND;
    out->term = pb->term;
    out->append.prev_index = pb->prev_index;
    out->append.prev_term = pb->prev_term;
    out->append.commit = pb->commit;
    out->append.n = pb->entries;
    return 0;
}

static int decode_append_result(const struct peer_frame *frame, struct pb_arena *arena, struct core_message *out)
{
    const Rlog__PeerAppendResult *pb = unpack(&rlog__peer_append_result__descriptor, frame, arena);

    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    out->type = CORE_APPEND_RESULT;
    out->term = pb->term;
    out->append_result.rejected = pb->rejected;
    out->append_result.last_index = pb->last_index;
    out->append_result.passive = pb->passive;
    return 0;
}

static int decode_vote(const struct peer_frame *frame, struct pb_arena *arena, struct core_message *out)
{
    const Rlog__PeerVote *pb = unpack(&rlog__peer_vote__descriptor, frame, arena);

    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    out->type = CORE_VOTE;
    out->term = pb->term;
    out->vote.last_index = pb->last_index;
    out->vote.last_term = pb->last_term;
    out->vote.disrupt_leader = pb->disrupt_leader;
    out->vote.pre_vote = pb->pre_vote;
    return 0;
}

static int decode_vote_result(const struct peer_frame *frame, struct pb_arena *arena, struct core_message *out)
{
    const Rlog__PeerVoteResult *pb = unpack(&rlog__peer_vote_result__descriptor, frame, arena);

    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    out->type = CORE_VOTE_RESULT;
    out->term = pb->term;
    out->vote_result.granted = pb->granted;
    out->vote_result.pre_vote = pb->pre_vote;
    return 0;
}

static int decode_timeout_now(const struct peer_frame *frame, struct pb_arena *arena, struct core_message *out)
{
    const Rlog__PeerTimeoutNow *pb = unpack(&rlog__peer_timeout_now__descriptor, frame, arena);

    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    out->type = CORE_TIMEOUT_NOW;
    out->term = pb->term;
    out->timeout_now.last_index = pb->last_index;
    out->timeout_now.last_term = pb->last_term;
    return 0;
}

static int decode_install(const struct peer_frame *frame, struct pb_arena *arena, struct core_message *out)
{
    const Rlog__PeerInstall *pb = unpack(&rlog__peer_install__descriptor, frame, arena);

    if (pb == NULL) {
        return MQ_EBADMSG;
    }
    out->type = CORE_INSTALL;
    out->term = pb->term;
    out->install.base_index = pb->base_index;
    out->install.base_term = pb->base_term;
    return 0;
}

int peer_message_decode(const struct peer_frame *frame, uint32_t from, struct core_message *out)
{
    static int (*const decoders[])(const struct peer_frame *, struct pb_arena *, struct core_message *) = {
        [PEER_APPEND] = decode_append,
        [PEER_APPEND_RESULT] = decode_append_result,
        [PEER_VOTE] = decode_vote,
        [PEER_VOTE_RESULT] = decode_vote_result,
        [PEER_TIMEOUT_NOW] = decode_timeout_now,
        [PEER_INSTALL] = decode_install,
    };
    struct core_message message = {.peer = from};
    struct pb_arena arena;

    if (frame->type < PEER_APPEND || frame->type > PEER_INSTALL ||
        decoders[frame->type](frame, &arena, &message) != 0) {
        return MQ_EBADMSG;
    }
    *out = message;
    return 0;
}

int peer_entries_decode(const struct peer_frame *frame, uint32_t n, struct commitlog_entry *out)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *bytes = frame->raw + at;
        uint32_t left = frame->raw_bytes - at;

        if (rlog_header_decode(bytes, left, &out[i].header) != 0) {
            return MQ_EBADMSG;
        }
        out[i].bytes = bytes;
        out[i].n = rlog_entry_bytes(out[i].header.payload_bytes);
        if (out[i].n > left) {
            return MQ_EBADMSG;
        }
        at += out[i].n;
    }
    return at == frame->raw_bytes ? 0 : MQ_EBADMSG;
}

int peer_message_encode(const struct core_message *message, uint32_t raw_bytes, struct mq_buf *out)
{
    switch (message->type) {
    case CORE_APPEND: {
        Rlog__PeerAppend pb = RLOG__PEER_APPEND__INIT;

        pb.term = message->term;
        pb.prev_index = message->append.prev_index;
        pb.prev_term = message->append.prev_term;
        pb.commit = message->append.commit;
        pb.entries = message->append.n;
        return peer_frame_encode(PEER_APPEND, &pb.base, raw_bytes, out);
    }
    case CORE_APPEND_RESULT: {
        Rlog__PeerAppendResult pb = RLOG__PEER_APPEND_RESULT__INIT;

        pb.term = message->term;
        pb.rejected = message->append_result.rejected;
        pb.last_index = message->append_result.last_index;
        pb.passive = message->append_result.passive;
        return peer_frame_encode(PEER_APPEND_RESULT, &pb.base, 0, out);
    }
    case CORE_VOTE: {
        Rlog__PeerVote pb = RLOG__PEER_VOTE__INIT;

        pb.term = message->term;
        pb.last_index = message->vote.last_index;
        pb.last_term = message->vote.last_term;
        pb.disrupt_leader = message->vote.disrupt_leader;
        pb.pre_vote = message->vote.pre_vote;
        return peer_frame_encode(PEER_VOTE, &pb.base, 0, out);
    }
    case CORE_VOTE_RESULT: {
        Rlog__PeerVoteResult pb = RLOG__PEER_VOTE_RESULT__INIT;

        pb.term = message->term;
        pb.granted = message->vote_result.granted;
        pb.pre_vote = message->vote_result.pre_vote;
        return peer_frame_encode(PEER_VOTE_RESULT, &pb.base, 0, out);
    }
    case CORE_TIMEOUT_NOW: {
        Rlog__PeerTimeoutNow pb = RLOG__PEER_TIMEOUT_NOW__INIT;

        pb.term = message->term;
        pb.last_index = message->timeout_now.last_index;
        pb.last_term = message->timeout_now.last_term;
        return peer_frame_encode(PEER_TIMEOUT_NOW, &pb.base, 0, out);
    }
    case CORE_INSTALL: {
        Rlog__PeerInstall pb = RLOG__PEER_INSTALL__INIT;

        pb.term = message->term;
        pb.base_index = message->install.base_index;
        pb.base_term = message->install.base_term;
        return peer_frame_encode(PEER_INSTALL, &pb.base, 0, out);
    }
    }
    return MQ_EBADMSG;
}
