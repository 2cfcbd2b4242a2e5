#include "raft-log/log/blob.h"

#include "raft-log/log/entry_codec.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define PADDING_MAX 7u
#define EXTRA_BYTES (RLOG_HEADER_BYTES + PADDING_MAX)
#define PAYLOAD_MAX (RLOG_ENTRY_BYTES_MAX - RLOG_HEADER_BYTES)

struct blob_kept {
    struct blob_kept *next;
};

/* What rlog_blob does not show. */
struct pool_blob {
    struct rlog_blob blob;
    struct blob_pool *pool; /* borrowed */
    size_t bytes;           /* at blob.base */
};

void blob_pool_init(struct blob_pool *pool)
{
    *pool = (struct blob_pool){0};
}

void blob_pool_fini(struct blob_pool *pool)
{
    MQ_ASSERT(pool->taken == 0);
    for (unsigned i = 0; i < BLOB_SIZES; i++) {
        while (pool->kept[i] != NULL) {
            struct blob_kept *kept = pool->kept[i];

            pool->kept[i] = kept->next;
            mq_free(kept);
        }
    }
}

static unsigned size_class(size_t bytes)
{
    unsigned class = 0;

    while ((size_t)BLOB_BYTES_MIN << class < bytes) {
        class ++;
    }
    return class;
}

static uint8_t *memory_take(struct blob_pool *pool, size_t least, size_t *bytes)
{
    unsigned class = size_class(least);

    *bytes = (size_t)BLOB_BYTES_MIN << class;
    if (class < BLOB_SIZES && pool->kept[class] != NULL) {
        struct blob_kept *kept = pool->kept[class];

        pool->kept[class] = kept->next;
        pool->kept_bytes -= *bytes;
        return (uint8_t *)kept;
    }
    return mq_malloc(*bytes);
}

static void memory_give(struct blob_pool *pool, uint8_t *base, size_t bytes)
{
    struct blob_kept *kept = (struct blob_kept *)(void *)base;
    unsigned class = size_class(bytes);

    if (bytes > BLOB_KEPT_SIZE_MAX || pool->kept_bytes + bytes > BLOB_KEPT_BYTES_MAX) {
        mq_free(base);
        return;
    }
    kept->next = pool->kept[class];
    pool->kept[class] = kept;
    pool->kept_bytes += bytes;
}

static void on_unused(struct net_ref *ref)
{
    struct pool_blob *self = container_of(ref, struct pool_blob, blob.ref);

    self->pool->taken--;
    memory_give(self->pool, self->blob.base, self->bytes);
    mq_free(self);
}

int blob_pool_take(struct blob_pool *pool, struct rlog *log, uint32_t payload_cap, struct rlog_blob **out)
{
    struct pool_blob *self;

    if (payload_cap > PAYLOAD_MAX) {
        return MQ_ENOMEM;
    }
    self = mq_malloc(sizeof(*self));
    if (self == NULL) {
        return MQ_ENOMEM;
    }
    *self = (struct pool_blob){.blob = {.ref = {1, on_unused}, .log = log}, .pool = pool};
    self->blob.base = memory_take(pool, (size_t)payload_cap + EXTRA_BYTES, &self->bytes);
    if (self->blob.base == NULL) {
        mq_free(self);
        return MQ_ENOMEM;
    }
    self->blob.cap = (uint32_t)(self->bytes - EXTRA_BYTES);
    pool->taken++;
    *out = &self->blob;
    return 0;
}

int rlog_blob_reserve(struct rlog_blob *blob, uint32_t extra)
{
    struct pool_blob *self = container_of(blob, struct pool_blob, blob);
    uint8_t *base;
    size_t bytes;

    if (extra > PAYLOAD_MAX - blob->payload_bytes) {
        return MQ_ETOOBIG;
    }
    if (extra <= blob->cap - blob->payload_bytes) {
        return 0;
    }
    base = memory_take(self->pool, (size_t)blob->payload_bytes + extra + EXTRA_BYTES, &bytes);
    if (base == NULL) {
        return MQ_ENOMEM;
    }
    memcpy(base + RLOG_HEADER_BYTES, rlog_blob_payload(blob), blob->payload_bytes);
    memory_give(self->pool, blob->base, self->bytes);
    self->bytes = bytes;
    blob->base = base;
    blob->cap = (uint32_t)(bytes - EXTRA_BYTES);
    return 0;
}

uint8_t *rlog_blob_payload(struct rlog_blob *blob)
{
    return blob->base + RLOG_HEADER_BYTES;
}
