/* Finding single messages: by number, by position. By store time: time_search.h. */
#include "broker/store/store.h"

#include "remoting/base/err.h"
#include "remoting/protocol/frame.h"
#include "remoting/protocol/record.h"

/* It lies behind the born host, whose length the system flag tells. */
int64_t store_time(const uint8_t *record)
{
    uint32_t flag = mq_be32_load(record + PROTO_RECORD_SYS_FLAG_AT);

    return (int64_t)mq_be64_load(record + ((flag & PROTO_SYS_BORNHOST_V6) != 0 ? 68 : 56));
}

int64_t store_time_of(struct store *store, struct queue *queue, uint64_t qoff)
{
    struct consume_unit unit;
    const uint8_t *at;
    struct net_ref *ref;
    int64_t time_ms;

    if (queue == NULL || qoff < queue->cq.min || qoff >= queue->cq.max) {
        return -1;
    }
    queue_table_bound_maps(&store->queues);
    consume_queue_get(&queue->cq, qoff, &unit);
    if (rlog_view(store->log, unit.pos, unit.bytes, &at, &ref) != 0) {
        return -1;
    }
    time_ms = store_time(at);
    net_ref_release(ref);
    return time_ms;
}

/* Whether the queue's unit for @record points at @pos. */
static bool is_indexed_at(struct store *store, const struct proto_record *record, uint64_t pos)
{
    struct topic_queues *topic;
    struct queue *queue;
    struct consume_unit unit;

    HASH_FIND(hh, store->queues.by_topic, record->topic.at, record->topic.len, topic);
    queue = topic != NULL ? topic_queues_find(topic, record->queue_id) : NULL;
    if (queue == NULL || (uint64_t)record->qoff < queue->cq.min || (uint64_t)record->qoff >= queue->cq.max) {
        return false;
    }
    queue_table_bound_maps(&store->queues);
    consume_queue_get(&queue->cq, (uint64_t)record->qoff, &unit);
    return unit.pos == pos && unit.bytes == record->record_bytes;
}

int store_record_at(struct store *store, uint64_t pos, struct reader_view *out)
{
    struct proto_record record;
    struct reader_view view;
    uint32_t bytes;

    if (rlog_view(store->log, pos, PROTO_RECORD_MIN_BYTES, &view.at, &view.ref) != 0) {
        return MQ_ENOTFOUND;
    }
    bytes = mq_be32_load(view.at + PROTO_RECORD_SIZE_AT);
    net_ref_release(view.ref);
    if (bytes < PROTO_RECORD_MIN_BYTES || bytes > PROTO_FRAME_MAX ||
        rlog_view(store->log, pos, bytes, &view.at, &view.ref) != 0) {
        return MQ_ENOTFOUND;
    }
    if (proto_record_decode(view.at, bytes, &record) != 0 || (uint64_t)record.pos != pos ||
        !is_indexed_at(store, &record, pos)) {
        net_ref_release(view.ref);
        return MQ_ENOTFOUND;
    }
    view.bytes = bytes;
    *out = view;
    return 0;
}
