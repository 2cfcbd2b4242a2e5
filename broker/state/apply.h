/* What applying an item may know beside the item itself. */
#ifndef BROKER_STATE_APPLY_H
#define BROKER_STATE_APPLY_H

#include "raft-log/include/raftlog/fsm.h"

#include "remoting/base/buf.h"
#include "remoting/protocol/record.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

struct state;
struct topic_queues;

/* A record that was applied just now. */
struct applied_record {
    uint64_t pos; /* in the commit log */
    const uint8_t *at;
    uint32_t bytes;
    struct topic_queues *queues; /* borrowed: of its topic */
};

static inline int32_t applied_queue_id(const struct applied_record *record)
{
    return (int32_t)mq_be32_load(record->at + PROTO_RECORD_QUEUE_ID_AT);
}

static inline uint64_t applied_qoff(const struct applied_record *record)
{
    return mq_be64_load(record->at + PROTO_RECORD_QOFF_AT);
}

struct apply_scope {
    const struct rlog_entry *entry;
    uint64_t pos; /* of the item, in the commit log */
    /* The last record in front of the item in the same entry; NULL: none. So an item speaks of a record whose
     * position nobody knew when the item was written. */
    const struct applied_record *record;
};

/* Changes the state as @message, an item that decoded, says. An item that finds nothing to change, because it was
 * carried out before or what it names is gone, is none the worse. Returns 0; MQ_EBADMSG for what no leader writes;
 * MQ_ENOMEM. */
typedef int (*apply_item_fn)(struct state *state, const ProtobufCMessage *message, const struct apply_scope *scope);

#endif
