#include "remoting/net/chunk.h"

#include "remoting/base/heap.h"
#include "remoting/net/conn.h"

#define RUN_FIRST_BYTES 1024u /* saves a new run the first steps of growth */

static void free_run(struct net_chunk *chunk)
{
    mq_buf_free(&chunk->buf);
    mq_free(chunk);
}

void net_chunk_pool_fini(struct net_chunk_pool *pool)
{
    struct net_chunk *chunk;

    while ((chunk = pool->runs) != NULL) {
        pool->runs = chunk->next;
        free_run(chunk);
    }
    while ((chunk = pool->views) != NULL) {
        pool->views = chunk->next;
        mq_free(chunk);
    }
    mq_buf_free(&pool->scratch);
    *pool = (struct net_chunk_pool){0};
}

struct net_chunk *net_chunk_take_run(struct net_chunk_pool *pool)
{
    struct net_chunk *chunk = pool->runs;

    if (chunk != NULL) {
        pool->runs = chunk->next;
        pool->runs_bytes -= chunk->buf.cap;
        chunk->next = NULL;
        return chunk;
    }
    chunk = mq_calloc(1, sizeof(*chunk));
    if (chunk != NULL && mq_buf_reserve(&chunk->buf, RUN_FIRST_BYTES) != 0) {
        mq_free(chunk);
        return NULL;
    }
    return chunk;
}

struct net_chunk *net_chunk_take_view(struct net_chunk_pool *pool, const void *base, size_t n, struct net_ref *ref)
{
    struct net_chunk *chunk = pool->views;

    if (chunk != NULL) {
        pool->views = chunk->next;
        pool->views_count--;
        chunk->next = NULL;
    } else {
        chunk = mq_calloc(1, sizeof(*chunk));
        if (chunk == NULL) {
            return NULL;
        }
    }
    chunk->view = base;
    chunk->ready = n;
    chunk->ref = net_ref_acquire(ref);
    return chunk;
}

static void give_view(struct net_chunk_pool *pool, struct net_chunk *chunk)
{
    struct net_ref *ref = chunk->ref;

    if (pool->views_count < NET_CHUNK_SPARE_VIEWS) {
        *chunk = (struct net_chunk){.next = pool->views};
        pool->views = chunk;
        pool->views_count++;
    } else {
        mq_free(chunk);
    }
    net_ref_release(ref);
}

void net_chunk_give(struct net_chunk_pool *pool, struct net_chunk *chunk)
{
    if (chunk->view != NULL) {
        give_view(pool, chunk);
        return;
    }
    if (chunk->buf.cap > NET_CHUNK_KEEP || pool->runs_bytes + chunk->buf.cap > NET_CHUNK_SPARE_BYTES) {
        free_run(chunk);
        return;
    }
    chunk->buf.len = 0;
    chunk->ready = 0;
    chunk->sent = 0;
    chunk->sealed = false;
    chunk->next = pool->runs;
    pool->runs = chunk;
    pool->runs_bytes += chunk->buf.cap;
}

struct mq_buf *net_chunk_scratch(struct net_chunk_pool *pool)
{
    if (pool->scratch.cap > NET_CHUNK_KEEP) {
        mq_buf_free(&pool->scratch);
    }
    pool->scratch.len = 0;
    return &pool->scratch;
}
