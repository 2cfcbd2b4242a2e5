/* Single records by their position, without ever waiting for the disk on the loop. Loop thread. */
#ifndef BROKER_STORE_FETCH_H
#define BROKER_STORE_FETCH_H

#include "broker/store/store.h"

#include <uv.h>

/* The record at @pos, as store_record_at, but only when it is in memory. @out->ref is acquired with 0. Returns 0;
 * MQ_EAGAIN: it would have to be read from the disk, see store_fetch_start; MQ_ENOTFOUND. */
int store_fetch(struct store *store, uint64_t pos, struct reader_view *out);

/* A record on its way from the disk. The caller's memory from a successful start until done. */
struct store_fetch {
    uint64_t pos;
    void *data; /* caller's */
    /* @status 0: @view is borrowed during the call; who keeps it longer acquires its ref. MQ_ENOTFOUND: no record
     * lies there, or no longer. */
    void (*done)(struct store_fetch *fetch, int status, const struct reader_view *view);

    /* Its own. */
    uv_work_t work;
    struct store *store;
    const uint8_t *at;
    uint32_t bytes, rounds;
    struct net_ref *ref;
    uint8_t touched;
};

/* pos and done are set. The pages are touched on the pool where needed. Returns 0, after which done comes once and
 * never inside; or MQ_ENOTFOUND, or a negative code of the loop. To be waited for before the log is closed
 * (store_drain does it). */
int store_fetch_start(struct store *store, struct store_fetch *fetch);

#endif
