/* Frames of the range lane: what members ask of each other's logs. The side that dialled asks, the other answers, in
 * the order of the questions. */
#ifndef RLOG_RANGE_CODEC_H
#define RLOG_RANGE_CODEC_H

#include "raft-log/peer/peer_codec.h"

#define PEER_RANGE_BYTES (1u << 20) /* raw bytes of an answer, unless its only entry is larger */

/* As the answer says it. */
enum peer_range_status {
    PEER_RANGE_OK,
    PEER_RANGE_NOT_HELD,   /* not in this log, or not known to be committed; no such snapshot */
    PEER_RANGE_NOT_MEMBER, /* the asking directory does not belong to the group */
    PEER_RANGE_DAMAGED,    /* the answering member's own copy is bad, or cannot be read */
    PEER_RANGE_BAD_ASK,    /* the question makes no sense */
    PEER_RANGE_STATUSES
};

/* A question, of either kind. */
struct peer_ask {
    enum peer_frame_type type; /* PEER_FETCH or PEER_SNAPSHOT_ASK */
    uint64_t id;               /* comes back in the answer */
    uint32_t bytes_max;
    union {
        struct {
            uint64_t first, last;
            bool from_last;        /* the answer ends with last; else it begins with first */
            uint64_t goes_on_from; /* not 0: id of the question before this one, from_last both. last is the entry in
                                      front of what that one's answer begins with */
        } entries;
        struct {
            uint64_t index; /* 0: of the newest snapshot */
            uint64_t offset;
        } snapshot;
    };
};

/* What is said of the entry before the first one of a range: all zero for entry 1. The chain field of the first one
 * has its header checksum. */
struct peer_before {
    uint64_t term;
    uint64_t end_pos;
    int64_t store_ms;
};

struct peer_range {
    uint64_t id;
    enum peer_range_status status;
    uint64_t first; /* of @n entries; 0 unless OK */
    uint32_t n;
    uint64_t commit;
    uint64_t held_first; /* the sender's log begins there */
    uint64_t held_pos;   /* and at this position */
    struct peer_before before;
};

/* A part of a snapshot's file. All zero unless OK. */
struct peer_part {
    uint64_t id;
    enum peer_range_status status;
    uint64_t index, term; /* of the last entry that the snapshot stands for */
    uint64_t file_bytes;
    uint64_t offset;
    uint32_t bytes; /* not zero; the raw bytes are these and zeros up to a multiple of 8 */
    uint32_t crc;   /* CRC-32C of them */
};

/* Each returns 0 or MQ_EBADMSG, with @out untouched. */
int peer_ask_decode(const struct peer_frame *frame, struct peer_ask *out);
int peer_range_decode(const struct peer_frame *frame, struct peer_range *out);
/* Also MQ_ECORRUPT: the bytes are not those that the header speaks of. */
int peer_part_decode(const struct peer_frame *frame, struct peer_part *out);

/* Whether the @n entries at @raw, which begin with index @first, fill its @bytes, follow each other (index, term,
 * position, chain) and are sound. Any thread. Returns 0, MQ_EBADMSG (not entries, or not these) or MQ_ECORRUPT. */
int peer_range_check(const uint8_t *raw, uint32_t bytes, uint64_t first, uint32_t n);

/* Raw bytes of a part of @bytes. */
static inline uint32_t peer_part_raw_bytes(uint32_t bytes)
{
    return (bytes + 7u) & ~7u;
}

/* Appends a whole frame, or for raw bytes its front. Returns 0 or MQ_ENOMEM. */
int peer_ask_encode(const struct peer_ask *ask, struct mq_buf *out);
int peer_range_encode(const struct peer_range *range, uint32_t raw_bytes, struct mq_buf *out);
int peer_part_encode(const struct peer_part *part, struct mq_buf *out);

#endif
