/* Blocks of an entry's payload, one behind the other: message records exactly as RocketMQ stores them, and control
 * items. Both begin alike, so one walk reads them all:
 *
 *   record   i32 TOTALSIZE, i32 magic DAA320A7 or DAA320AB, ...         (protocol/record.h)
 *   item     i32 total size, i32 magic DAA3C0DE, i16 type, i16 feature level - 1, protobuf of state/command.proto
 *
 * Big-endian heads. Sizes count the head. The feature level is the lowest whose members can apply the item. */
#ifndef BROKER_STATE_COMMAND_H
#define BROKER_STATE_COMMAND_H

#include "remoting/base/buf.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

#define COMMAND_MAGIC 0xDAA3C0DEu
#define COMMAND_HEAD_BYTES 12u

#define FEATURE_LEVEL 1u /* of this program: items and sections of snapshots up to it are known here */

enum command_type {
    COMMAND_TOPIC_PUT = 1,
    COMMAND_GROUP_PUT = 2,
    COMMAND_OFFSET_COMMIT = 3,
    COMMAND_LOCK_GRANT = 4,
    COMMAND_LOCK_RELEASE = 5,
    COMMAND_LOG_START = 6,
    COMMAND_TOPIC_DELETE = 7,
    COMMAND_GROUP_DELETE = 8,
    COMMAND_OFFSETS_RESET = 9,
    COMMAND_OFFSETS_CLONE = 10,
    COMMAND_REQUEST_MODE_PUT = 11,
    COMMAND_GROUP_FORBIDDEN = 12,
    COMMAND_RESET_TAKEN = 13,
    COMMAND_PENDING_PUT = 16,
    COMMAND_PENDING_END = 17,
    COMMAND_PENDING_MOVE = 18,
    COMMAND_HALF_PUT = 24,
    COMMAND_HALF_END = 25,
    COMMAND_HALF_CHECKED = 26,
    COMMAND_HALF_MOVE = 27,
    COMMAND_POP_TAKE = 32,
    COMMAND_POP_ACK = 33,
    COMMAND_POP_CHANGE = 34,
    COMMAND_POP_REVIVE = 35,
    COMMAND_ORDER_TAKE = 36,
    COMMAND_ORDER_ACK = 37,
    COMMAND_ORDER_CHANGE = 38
};

/* Bytes of the item and its writing; @at has command_bytes(message) of room. */
uint32_t command_bytes(const ProtobufCMessage *message);
void command_encode(enum command_type type, const ProtobufCMessage *message, uint8_t *at);

struct command_block {
    uint32_t at;    /* offset in the payload */
    uint32_t bytes; /* with its head */
    bool is_record;
    uint16_t type;       /* enum command_type, of an item */
    uint32_t level;      /* feature level that an item needs */
    const uint8_t *body; /* borrowed: whole record, or the protobuf of an item */
    uint32_t body_bytes;
};

/* Walks the payload: starts with @offset 0. Returns 1 with @out set and @offset moved on, 0 at the end, MQ_EBADMSG.
 */
int command_next(const uint8_t *payload, uint32_t payload_bytes, uint32_t *offset, struct command_block *out);

#endif
