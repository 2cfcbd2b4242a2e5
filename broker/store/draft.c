/* Blocks of a payload begin alike: i32 size, i32 magic (state/command.h). What is walked here was written by this
 * process, so whatever does not fit is a mistake of ours and asserted. */
#include "broker/store/draft.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/defect.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/record.h"

#define IDLE_MAX 8
#define IDLE_PENDINGS_MAX 8192 /* larger arrays are not kept */
#define FIRST_PENDINGS 64
#define FIRST_BYTES (64u << 10)

static void draft_free(struct draft *draft)
{
    mq_free(draft->pendings);
    mq_free(draft);
}

void draft_pool_fini(struct draft_pool *pool)
{
    while (pool->idle != NULL) {
        struct draft *draft = pool->idle;

        pool->idle = draft->next;
        draft_free(draft);
    }
    pool->n_idle = 0;
}

static struct draft *take_idle(struct draft_pool *pool)
{
    struct draft *draft = pool->idle;

    if (draft == NULL) {
        return mq_calloc(1, sizeof(*draft));
    }
    pool->idle = draft->next;
    pool->n_idle--;
    return draft;
}

int draft_new(struct draft_pool *pool, struct rlog *log, uint32_t bytes, struct draft **out)
{
    struct draft *draft = take_idle(pool);
    int rc;

    if (draft == NULL) {
        return MQ_ENOMEM;
    }
    draft->blob = NULL;
    rc = rlog_blob_new(log, bytes > FIRST_BYTES ? bytes : FIRST_BYTES, &draft->blob);
    if (rc != 0) {
        draft_recycle(pool, draft);
        return rc;
    }
    draft->next = NULL;
    draft->wall_ms = mq_clock_wall_ms();
    draft->store_ms = rlog_store_ms(log, draft->wall_ms);
    draft->records = 0;
    draft->items = 0;
    draft->from_reserve = 0;
    draft->n_pendings = 0;
    draft->restarts = NULL;
    draft->last_restart = &draft->restarts;
    *out = draft;
    return 0;
}

static void free_restarts(struct draft *draft)
{
    while (draft->restarts != NULL) {
        struct draft_restart *restart = draft->restarts;

        draft->restarts = restart->next;
        mq_free(restart);
    }
}

void draft_recycle(struct draft_pool *pool, struct draft *draft)
{
    free_restarts(draft);
    if (draft->blob != NULL) {
        net_ref_release(&draft->blob->ref);
        draft->blob = NULL;
    }
    if (pool->n_idle == IDLE_MAX || draft->cap_pendings > IDLE_PENDINGS_MAX) {
        draft_free(draft);
        return;
    }
    draft->next = pool->idle;
    pool->idle = draft;
    pool->n_idle++;
}

static int reserve_pending(struct draft *draft)
{
    uint32_t cap = draft->cap_pendings != 0 ? draft->cap_pendings * 2 : FIRST_PENDINGS;
    struct sequencer_pending *pendings;

    if (draft->n_pendings != draft->cap_pendings) {
        return 0;
    }
    pendings = mq_realloc(draft->pendings, cap * sizeof(*pendings));
    if (pendings == NULL) {
        return MQ_ENOMEM;
    }
    draft->pendings = pendings;
    draft->cap_pendings = cap;
    return 0;
}

int draft_reserve(struct draft *draft, uint32_t bytes)
{
    struct rlog_blob *blob = draft->blob;
    int rc = reserve_pending(draft);

    if (rc != 0 || blob->cap - blob->payload_bytes >= bytes) {
        return rc;
    }
    /* Doubling, so that a payload is moved a few times only while it grows. */
    return rlog_blob_reserve(blob, bytes > blob->cap ? bytes : blob->cap);
}

static bool is_record(const uint8_t *block)
{
    uint32_t magic = mq_be32_load(block + PROTO_RECORD_MAGIC_AT);

    return magic == PROTO_RECORD_MAGIC_V1 || magic == PROTO_RECORD_MAGIC_V2;
}

void draft_number(uint8_t *at, uint32_t bytes, uint32_t records, uint64_t qoff)
{
    uint8_t *end = at + bytes;

    for (uint32_t i = 0; i < records; i++) {
        uint32_t record_bytes = mq_be32_load(at + PROTO_RECORD_SIZE_AT);

        MQ_ASSERT(record_bytes >= PROTO_RECORD_MIN_BYTES && record_bytes <= (size_t)(end - at));
        mq_be64_store(at + PROTO_RECORD_QOFF_AT, qoff + i);
        at += record_bytes;
    }
    MQ_ASSERT(at == end);
}

void draft_stamp(struct draft *draft, struct rlog *log)
{
    uint8_t *payload = rlog_blob_payload(draft->blob);
    uint32_t bytes = draft->blob->payload_bytes;
    uint32_t block_bytes;

    draft->pos = rlog_place(log, bytes) + (RAFTMQ_DEFECT(POS_FROM_CLOCK) ? mq_clock_mono_ms() % 1000 / 999 * 8 : 0);
    draft->store_ms = rlog_store_ms(log, draft->wall_ms);
    for (uint32_t at = 0; at < bytes; at += block_bytes) {
        uint8_t *block = payload + at;

        block_bytes = mq_be32_load(block);
        MQ_ASSERT(block_bytes >= 8 && block_bytes <= bytes - at);
        if (is_record(block)) {
            uint32_t flag = mq_be32_load(block + PROTO_RECORD_SYS_FLAG_AT);

            mq_be64_store(block + PROTO_RECORD_POS_AT, draft->pos + at);
            mq_be64_store(block + ((flag & PROTO_SYS_BORNHOST_V6) != 0 ? 68 : 56), (uint64_t)draft->store_ms);
        }
    }
}

/* The queue of a record that was numbered before, so it is there. */
static struct queue *queue_of(const uint8_t *record, uint32_t bytes, struct queue_table *queues)
{
    struct mq_str name = proto_record_topic(record, bytes);
    struct topic_queues *topic;
    struct queue *queue;

    HASH_FIND(hh, queues->by_topic, name.at, name.len, topic);
    MQ_ASSERT(topic != NULL);
    queue = topic_queues_find(topic, (int32_t)mq_be32_load(record + PROTO_RECORD_QUEUE_ID_AT));
    MQ_ASSERT(queue != NULL);
    return queue;
}

/* The queues' next offsets as they are go into @restart, and are 0 then. */
static void begin_at_zero(struct draft_restart *restart)
{
    struct topic_queues *topic = restart->topic;

    for (uint32_t i = 0; i < restart->n; i++) {
        if (topic->queues[i] != NULL) {
            restart->before[i] = topic->queues[i]->next;
            topic->queues[i]->next = 0;
        }
    }
    topic->deletions++;
}

int draft_restart(struct draft *draft, struct topic_queues *topic)
{
    struct draft_restart *restart = mq_calloc(1, sizeof(*restart) + topic->n * sizeof(restart->before[0]));

    if (restart == NULL) {
        return MQ_ENOMEM;
    }
    restart->at = draft->blob->payload_bytes;
    restart->topic = topic;
    restart->n = topic->n;
    begin_at_zero(restart);
    *draft->last_restart = restart;
    draft->last_restart = &restart->next;
    return 0;
}

/* The first that is known of a queue in a round counts. */
static void set_back(struct queue *queue, uint64_t next, const struct queue_table *queues)
{
    if (queue->undone != queues->undo_round) {
        queue->undone = queues->undo_round;
        queue->next = next;
    }
}

static void set_back_before(const struct draft_restart *restart, const struct queue_table *queues)
{
    struct topic_queues *topic = restart->topic;

    for (uint32_t i = 0; i < restart->n; i++) {
        if (topic->queues[i] != NULL) {
            set_back(topic->queues[i], restart->before[i], queues);
        }
    }
    topic->deletions--;
}

void draft_take_back(struct draft *draft, struct queue_table *queues)
{
    const uint8_t *payload = rlog_blob_payload(draft->blob);
    uint32_t bytes = draft->blob->payload_bytes;
    const struct draft_restart *restart = draft->restarts;

    for (uint32_t at = 0; at < bytes; at += mq_be32_load(payload + at)) {
        if (is_record(payload + at)) {
            set_back(queue_of(payload + at, bytes - at, queues), mq_be64_load(payload + at + PROTO_RECORD_QOFF_AT),
                     queues);
        } else if (restart != NULL && restart->at == at) {
            set_back_before(restart, queues);
            restart = restart->next;
        }
    }
}

void draft_renumber(struct draft *draft, struct queue_table *queues)
{
    uint8_t *payload = rlog_blob_payload(draft->blob);
    uint32_t bytes = draft->blob->payload_bytes;
    struct sequencer_pending *p = draft->pendings, *end = p + draft->n_pendings;
    struct draft_restart *restart = draft->restarts;

    for (uint32_t at = 0; at < bytes; at += mq_be32_load(payload + at)) {
        if (restart != NULL && restart->at == at) {
            begin_at_zero(restart);
            restart = restart->next;
        }
        while (p != end && p->at < at) {
            p++;
        }
        if (is_record(payload + at)) {
            struct queue *queue = queue_of(payload + at, bytes - at, queues);

            if (p != end && p->at == at) {
                p->qoff = queue->next;
            }
            mq_be64_store(payload + at + PROTO_RECORD_QOFF_AT, queue->next++);
        }
    }
}

void draft_answer(struct draft *draft, int status)
{
    struct sequencer_outcome outcome = {.status = status, .store_ms = draft->store_ms};

    if (status == 0) {
        outcome.payload = rlog_blob_payload(draft->blob);
        outcome.payload_pos = draft->pos;
    }
    for (uint32_t i = 0; i < draft->n_pendings; i++) {
        struct sequencer_pending *p = &draft->pendings[i];

        p->done(p, &outcome);
        if (p->ch != NULL) {
            net_channel_release(p->ch);
        }
    }
    draft->n_pendings = 0;
}
