/* Pieces of output that wait for the kernel: runs of bytes of ours, or views of memory that others own. The loop
 * keeps spare ones, so that a busy connection allocates nothing and an idle one holds nothing. Owned by the loop's
 * thread. */
#ifndef MQ_NET_CHUNK_H
#define MQ_NET_CHUNK_H

#include "remoting/base/buf.h"

struct net_ref;

/* A run of bytes is full from here on; the rest of the 64 KiB it may grow to without leaving the spares is for the
 * last frame. */
#define NET_CHUNK_FULL (48u << 10)
#define NET_CHUNK_KEEP (64u << 10)       /* a larger one is freed, not kept */
#define NET_CHUNK_SPARE_BYTES (4u << 20) /* together, for all connections of a loop */
#define NET_CHUNK_SPARE_VIEWS 4096u

struct net_chunk {
    struct net_chunk *next;
    struct mq_buf buf;   /* our bytes; unused in a view */
    const uint8_t *view; /* NULL: the bytes are in buf */
    struct net_ref *ref; /* counted; keeps view alive */
    size_t ready;        /* bytes that may go out; buf may hold more, of a frame under construction */
    size_t sent;         /* of ready, taken by the kernel */
    bool sealed;         /* libuv knows its address: buf must not grow any more */
};

struct net_chunk_pool {
    struct net_chunk *runs, *views; /* spare ones */
    size_t runs_bytes;              /* memory behind runs */
    size_t views_count;
    struct mq_buf scratch; /* what closing connections write to */
};

void net_chunk_pool_fini(struct net_chunk_pool *pool);

/* An empty run of bytes, or NULL. */
struct net_chunk *net_chunk_take_run(struct net_chunk_pool *pool);

/* A view of @n bytes at @base; acquires @ref. NULL when there is no memory, then @ref is untouched. */
struct net_chunk *net_chunk_take_view(struct net_chunk_pool *pool, const void *base, size_t n, struct net_ref *ref);

/* Takes @chunk back and releases its reference. */
void net_chunk_give(struct net_chunk_pool *pool, struct net_chunk *chunk);

/* The scratch buffer, empty; what it grew to is not kept. */
struct mq_buf *net_chunk_scratch(struct net_chunk_pool *pool);

#endif
