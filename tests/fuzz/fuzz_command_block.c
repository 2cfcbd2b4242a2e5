/* The walk over an entry's payload, and the items in it, against any bytes: blocks follow each other without a gap
 * and stay inside, and an item that decodes can be written and met again. (Its bytes may differ then: protobuf-c
 * keeps fields that it does not know but not how their numbers were written. Apply refuses such items.) */
#include "tests/fuzz/fuzz.h"

#include "broker/state/command.h"
#include "broker/state/command.pb-c.h"
#include "remoting/base/assert.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

static const ProtobufCMessageDescriptor *const descriptors[] = {
    [COMMAND_TOPIC_PUT] = &raftmq__topic_put__descriptor,
    [COMMAND_GROUP_PUT] = &raftmq__group_put__descriptor,
    [COMMAND_OFFSET_COMMIT] = &raftmq__offset_commit__descriptor,
    [COMMAND_LOCK_GRANT] = &raftmq__lock_grant__descriptor,
    [COMMAND_LOCK_RELEASE] = &raftmq__lock_release__descriptor,
    [COMMAND_PENDING_PUT] = &raftmq__pending_put__descriptor,
    [COMMAND_PENDING_END] = &raftmq__pending_end__descriptor,
    [COMMAND_PENDING_MOVE] = &raftmq__pending_move__descriptor,
    [COMMAND_HALF_PUT] = &raftmq__half_put__descriptor,
    [COMMAND_HALF_END] = &raftmq__half_end__descriptor,
    [COMMAND_HALF_CHECKED] = &raftmq__half_checked__descriptor,
    [COMMAND_HALF_MOVE] = &raftmq__half_move__descriptor,
    [COMMAND_POP_TAKE] = &raftmq__pop_take__descriptor,
    [COMMAND_POP_ACK] = &raftmq__pop_ack__descriptor,
    [COMMAND_POP_CHANGE] = &raftmq__pop_change__descriptor,
    [COMMAND_POP_REVIVE] = &raftmq__pop_revive__descriptor,
};

static void check_item(const struct command_block *block)
{
    struct command_block again;
    ProtobufCMessage *message;
    uint32_t bytes, offset = 0;
    uint8_t *copy;

    if (block->type >= ARRAY_SIZE(descriptors) || descriptors[block->type] == NULL) {
        return;
    }
    message = protobuf_c_message_unpack(descriptors[block->type], NULL, block->body_bytes, block->body);
    if (message == NULL) {
        return;
    }
    bytes = command_bytes(message);
    copy = mq_malloc(bytes);
    MQ_ASSERT(copy != NULL);
    command_encode((enum command_type)block->type, message, copy);
    MQ_ASSERT(command_next(copy, bytes, &offset, &again) == 1);
    MQ_ASSERT(!again.is_record && again.type == block->type && again.bytes == bytes && offset == bytes);
    protobuf_c_message_free_unpacked(message, NULL);
    mq_free(copy);
}

static void check_record(const struct command_block *block)
{
    struct mq_str topic = proto_record_topic(block->body, block->body_bytes);
    struct mq_str properties = proto_record_properties(block->body, block->body_bytes);

    MQ_ASSERT(block->body_bytes == block->bytes && (topic.at != NULL) == (properties.at != NULL));
    if (properties.at != NULL) {
        MQ_ASSERT((const uint8_t *)properties.at + properties.len == block->body + block->bytes);
        (void)proto_tags_code(properties);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct command_block block;
    uint32_t offset = 0, end = 0;
    int rc;

    while ((rc = command_next(bytes, (uint32_t)n, &offset, &block)) == 1) {
        MQ_ASSERT(block.at == end && block.bytes >= COMMAND_HEAD_BYTES && offset == end + block.bytes && offset <= n);
        MQ_ASSERT(block.body + block.body_bytes == bytes + offset);
        end = offset;
        if (block.is_record) {
            check_record(&block);
        } else {
            check_item(&block);
        }
    }
    MQ_ASSERT(offset == end && (rc != 0 || offset == n));
    return 0;
}
