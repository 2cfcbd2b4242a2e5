/* A record's size stands in its head, which may be as cold as the rest: so there are up to two rounds on the pool,
 * one for the head and one for all of it. Pages that leave memory between a round and the look behind it are read on
 * the loop after ROUNDS_MAX: that is a machine without memory, and going on is all that is left. */
#include "broker/store/fetch.h"

#include "broker/store/inside.h"
#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/protocol/frame.h"
#include "remoting/protocol/record.h"

#define PAGE_BYTES 4096u
#define ROUNDS_MAX 4u

/* Bytes at @pos that have to be in memory before a look may be taken: the head, or when that is, the record.
 * Returns 0 with *@bytes 0 when all is there; MQ_ENOTFOUND. */
static int missing_bytes(struct store *store, uint64_t pos, uint32_t *bytes)
{
    uint64_t now_ms = mq_clock_mono_ms();
    const uint8_t *at;
    struct net_ref *ref;
    uint32_t size;

    *bytes = PROTO_RECORD_MIN_BYTES;
    if (rlog_view(store->log, pos, PROTO_RECORD_MIN_BYTES, &at, &ref) != 0) {
        return MQ_ENOTFOUND;
    }
    if (!store_is_warm(store, pos, PROTO_RECORD_MIN_BYTES, now_ms)) {
        net_ref_release(ref);
        return 0;
    }
    size = mq_be32_load(at + PROTO_RECORD_SIZE_AT);
    net_ref_release(ref);
    if (size < PROTO_RECORD_MIN_BYTES || size > PROTO_FRAME_MAX) {
        return MQ_ENOTFOUND;
    }
    *bytes = store_is_warm(store, pos, size, now_ms) ? 0 : size;
    return 0;
}

int store_fetch(struct store *store, uint64_t pos, struct reader_view *out)
{
    uint32_t bytes;
    int rc = missing_bytes(store, pos, &bytes);

    if (rc != 0) {
        return rc;
    }
    return bytes != 0 ? MQ_EAGAIN : store_record_at(store, pos, out);
}

static void fetch_work(uv_work_t *work)
{
    struct store_fetch *fetch = container_of(work, struct store_fetch, work);
    const volatile uint8_t *at = fetch->at;

    for (uint32_t done = 0; done < fetch->bytes; done += PAGE_BYTES) {
        fetch->touched ^= at[done];
    }
    if (fetch->bytes != 0) {
        fetch->touched ^= at[fetch->bytes - 1];
    }
}

static void fetch_done(uv_work_t *work, int status);

/* Another round on the pool for the @bytes that are missing; none with 0, only the call back. */
static int begin_round(struct store_fetch *fetch, uint32_t bytes)
{
    int rc = 0;

    fetch->ref = NULL;
    fetch->bytes = bytes;
    if (bytes != 0) {
        rc = rlog_view(fetch->store->log, fetch->pos, bytes, &fetch->at, &fetch->ref);
    }
    if (rc == 0) {
        rc = uv_queue_work(&fetch->store->loop->uv, &fetch->work, fetch_work, fetch_done);
        if (rc != 0 && fetch->ref != NULL) {
            net_ref_release(fetch->ref);
        }
    }
    fetch->store->warming += rc == 0;
    return rc;
}

static void finish(struct store_fetch *fetch)
{
    struct reader_view view;
    int rc = store_record_at(fetch->store, fetch->pos, &view);

    fetch->done(fetch, rc, rc == 0 ? &view : NULL); /* the fetch may be gone */
    if (rc == 0) {
        net_ref_release(view.ref);
    }
}

static void fetch_done(uv_work_t *work, int status)
{
    struct store_fetch *fetch = container_of(work, struct store_fetch, work);
    struct store *store = fetch->store;
    uint32_t bytes = 0;
    int rc;

    (void)status;
    if (fetch->ref != NULL) {
        store_remember_warm(store, fetch->pos, fetch->bytes, mq_clock_mono_ms());
        net_ref_release(fetch->ref);
    }
    rc = missing_bytes(store, fetch->pos, &bytes);
    if (rc == 0 && bytes != 0 && ++fetch->rounds < ROUNDS_MAX) {
        rc = begin_round(fetch, bytes);
        if (rc == 0) {
            store_job_done(store);
            return;
        }
    }
    if (rc != 0) {
        fetch->done(fetch, rc, NULL);
    } else {
        finish(fetch);
    }
    store_job_done(store);
}

int store_fetch_start(struct store *store, struct store_fetch *fetch)
{
    uint32_t bytes;
    int rc = missing_bytes(store, fetch->pos, &bytes);

    MQ_ASSERT(store->loop != NULL);
    fetch->store = store;
    fetch->rounds = 0;
    fetch->touched = 0;
    return rc != 0 ? rc : begin_round(fetch, bytes);
}
