/* Frames between members. Little-endian words:
 *
 *    0  u32  magic "RMQP"
 *    4  u16  version of the protocol (1)
 *    6  u8   type
 *    7  u8   zero
 *    8  u32  bytes of the protobuf header
 *   12  u32  bytes of raw entries behind it
 *   16  u32  CRC-32C of bytes 0 to 15 and of the protobuf header
 *   20  u32  zero
 *   24       protobuf header (peer.proto), then zeros up to a multiple of 8
 *            raw entries as they lie in the log (entry_codec.h), which carry their own checksums
 *
 * A frame's length is a multiple of 8, so entries stay aligned in the receiver's buffer. Only APPEND and RANGE_DATA
 * have raw bytes. The frames of the range lane are in range_codec.h. */
#ifndef RLOG_PEER_CODEC_H
#define RLOG_PEER_CODEC_H

#include "raft-log/core/core.h"
#include "raft-log/core/member.h"
#include "raft-log/log/commitlog.h"
#include "raft-log/state_hash.h"
#include "remoting/base/buf.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#define PEER_MAGIC 0x50514D52u /* "RMQP" */
#define PEER_VERSION 1u
#define PEER_HEAD_BYTES 24u
#define PEER_HEADER_MAX 8192u                             /* bytes of a protobuf header */
#define PEER_RAW_MAX (RLOG_ENTRY_BYTES_MAX + (64u << 10)) /* bytes of raw entries */
#define PEER_FRAME_ENTRIES_MAX 512u                       /* entries of one frame */
#define PEER_PATH_MAX 200u                                /* of a path that is told, which may be cut */
#define PEER_FRAME_RAW_BYTES (4u << 20)                   /* a sender starts a new frame above it */

enum peer_frame_type {
    PEER_HELLO = 1,
    PEER_FOUNDING,
    PEER_APPEND,
    PEER_APPEND_RESULT,
    PEER_VOTE,
    PEER_VOTE_RESULT,
    PEER_TIMEOUT_NOW,
    PEER_INSTALL,
    PEER_CLAIM,
    PEER_STATE_HASH,
    PEER_SPACE,
    PEER_FETCH = 16, /* the range lane */
    PEER_RANGE_DATA,
    PEER_SNAPSHOT_ASK,
    PEER_SNAPSHOT_DATA
};

/* CONTROL: what must never wait. BULK: entries on their way to a majority. RANGE: what members ask of each other's
 * logs, in no hurry. */
enum peer_lane { PEER_CONTROL, PEER_BULK, PEER_RANGE, PEER_LANES };

struct peer_hello {
    char group[MEMBER_TEXT_MAX + 1];
    uint32_t from, to;
    uint64_t incarnation;
    uint64_t segment_bytes;
    enum peer_lane lane;
    char cluster[MEMBER_TEXT_MAX + 1];
    uint64_t boot; /* of the process; 0: not said */
};

struct peer_founding {
    bool founded;
    struct membership membership; /* of entry 1; n 0: the sender is founded and does not hold entry 1 any more */
    struct membership current;    /* founded: as the sender has applied it; n 0: nothing yet */
    uint64_t index;               /* of the entry that made it so */
};

/* What a member holds, for those that may have acknowledged more than they have (repair.h). */
struct peer_claim {
    bool ask;                       /* the receiver is to say the same of itself */
    uint64_t last_index, last_term; /* of the durable log */
    struct rlog_claim claim;        /* index 0: none */
    uint64_t leading_term;          /* the sender leads in it; 0: it does not lead */
};

/* How much room a member's disk has. */
struct peer_space {
    struct rlog_space space; /* without its path, ... */
    char path[PEER_PATH_MAX + 1];
};

/* A frame where it lies. */
struct peer_frame {
    enum peer_frame_type type;
    const uint8_t *header;
    uint32_t header_bytes;
    const uint8_t *raw;
    uint32_t raw_bytes;
    size_t bytes; /* of the whole frame */
};

/* Looks at the @n bytes at @at. @raw_max: raw bytes this connection may send. Returns 0; MQ_EAGAIN with out->bytes
 * set to what is needed (PEER_HEAD_BYTES, all before the raw bytes, or the whole frame); MQ_EVERSION (another version
 * of the protocol); MQ_EBADMSG; MQ_ETOOBIG; MQ_ECORRUPT (the checksum does not hold). */
int peer_frame_decode(const uint8_t *at, size_t n, uint32_t raw_max, struct peer_frame *out);

/* Each returns 0 or MQ_EBADMSG, with @out untouched. */
int peer_hello_decode(const struct peer_frame *frame, struct peer_hello *out);
int peer_founding_decode(const struct peer_frame *frame, struct peer_founding *out);
int peer_claim_decode(const struct peer_frame *frame, struct peer_claim *out);
int peer_space_decode(const struct peer_frame *frame, struct peer_space *out);
int peer_state_hash_decode(const struct peer_frame *frame, struct state_hashes *out);
/* @from: the sender. message->append.n is set, and its entries are NULL. */
int peer_message_decode(const struct peer_frame *frame, uint32_t from, struct core_message *out);
/* The entries behind an append: @n of them, which must fill the raw bytes. @out: room for PEER_FRAME_ENTRIES_MAX. */
int peer_entries_decode(const struct peer_frame *frame, uint32_t n, struct commitlog_entry *out);

/* Appends the front of a frame: head, @pb, padding. Returns 0, MQ_ENOMEM or MQ_ETOOBIG. */
int peer_frame_encode(enum peer_frame_type type, const ProtobufCMessage *pb, uint32_t raw_bytes, struct mq_buf *out);

/* Each appends a whole frame and returns 0 or MQ_ENOMEM. */
int peer_hello_encode(const struct peer_hello *hello, struct mq_buf *out);
int peer_founding_encode(const struct peer_founding *founding, struct mq_buf *out);
int peer_claim_encode(const struct peer_claim *claim, struct mq_buf *out);
int peer_space_encode(const struct peer_space *space, struct mq_buf *out);
int peer_state_hash_encode(const struct state_hashes *hashes, struct mq_buf *out);
/* Of an append this is the frame's front; @raw_bytes of entries are to follow. */
int peer_message_encode(const struct core_message *message, uint32_t raw_bytes, struct mq_buf *out);

#endif
