/* See command.h for the layout. */
#include "broker/state/command.h"

#include "remoting/base/err.h"
#include "remoting/protocol/record.h"

#define TYPE_AT 8
#define LEVEL_AT 10

uint32_t command_bytes(const ProtobufCMessage *message)
{
    return COMMAND_HEAD_BYTES + (uint32_t)protobuf_c_message_get_packed_size(message);
}

void command_encode(enum command_type type, const ProtobufCMessage *message, uint8_t *at)
{
    size_t body_bytes = protobuf_c_message_pack(message, at + COMMAND_HEAD_BYTES);

    mq_be32_store(at, COMMAND_HEAD_BYTES + (uint32_t)body_bytes);
    mq_be32_store(at + 4, COMMAND_MAGIC);
    mq_be16_store(at + TYPE_AT, (uint16_t)type);
    mq_be16_store(at + LEVEL_AT, 0);
}

int command_next(const uint8_t *payload, uint32_t payload_bytes, uint32_t *offset, struct command_block *out)
{
    const uint8_t *block = payload + *offset;
    uint32_t left = payload_bytes - *offset;
    uint32_t bytes, magic;

    if (left == 0) {
        return 0;
    }
    if (left < COMMAND_HEAD_BYTES) {
        return MQ_EBADMSG;
    }
    bytes = mq_be32_load(block);
    magic = mq_be32_load(block + 4);
    if (bytes > left) {
        return MQ_EBADMSG;
    }
    if (magic == COMMAND_MAGIC) {
        if (bytes < COMMAND_HEAD_BYTES) {
            return MQ_EBADMSG;
        }
        *out = (struct command_block){.at = *offset,
                                      .bytes = bytes,
                                      .type = mq_be16_load(block + TYPE_AT),
                                      .level = mq_be16_load(block + LEVEL_AT) + 1u,
                                      .body = block + COMMAND_HEAD_BYTES,
                                      .body_bytes = bytes - COMMAND_HEAD_BYTES};
    } else if (magic == PROTO_RECORD_MAGIC_V1 || magic == PROTO_RECORD_MAGIC_V2) {
        if (bytes < PROTO_RECORD_MIN_BYTES) {
            return MQ_EBADMSG;
        }
        *out = (struct command_block){
            .at = *offset, .bytes = bytes, .is_record = true, .body = block, .body_bytes = bytes};
    } else {
        return MQ_EBADMSG;
    }
    *offset += bytes;
    return 1;
}
