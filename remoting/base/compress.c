/* Inflating on a peer's word: the peer chooses the bytes, the caller the bound on what they become. */
#include "remoting/base/compress.h"

#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <limits.h>
#include <zlib.h>

#define FIRST_GUESS_MIN 1024u

static void *on_zlib_alloc(void *opaque, unsigned count, unsigned bytes)
{
    (void)opaque;
    return mq_calloc(count, bytes);
}

static void on_zlib_free(void *opaque, void *ptr)
{
    (void)opaque;
    mq_free(ptr);
}

/* Offers zlib the room left below the bound, or one spare byte when there is none: a stream that ends exactly at
 * the bound may need one more call to check its sum, and then leaves the spare byte alone. */
static int offer_room(z_stream *z, struct mq_buf *out, size_t left, size_t guess, uint8_t *spare)
{
    size_t room;
    int rc;

    if (left == 0) {
        z->next_out = spare;
        z->avail_out = 1;
        return 0;
    }
    if (out->cap == out->len) {
        rc = mq_buf_reserve(out, guess < left ? guess : left);
        if (rc != 0) {
            return rc;
        }
    }
    room = out->cap - out->len;
    room = room < left ? room : left;
    z->next_out = out->base + out->len;
    z->avail_out = (uInt)(room < UINT_MAX ? room : UINT_MAX);
    return 0;
}

static int run(z_stream *z, size_t max_bytes, struct mq_buf *out)
{
    size_t first = out->len;
    size_t guess = (size_t)z->avail_in * 4 + FIRST_GUESS_MIN;
    uint8_t spare;
    int rc;

    for (;;) {
        size_t left = max_bytes - (out->len - first);
        uInt offered;

        rc = offer_room(z, out, left, guess, &spare);
        if (rc != 0) {
            return rc;
        }
        offered = z->avail_out;
        rc = inflate(z, Z_NO_FLUSH);
        if (left == 0 && z->avail_out == 0) {
            return MQ_ETOOBIG;
        }
        if (left != 0) {
            out->len += offered - z->avail_out;
        }
        if (rc == Z_STREAM_END) {
            return 0; /* Java's InflaterInputStream ignores what follows, too */
        }
        if (rc == Z_MEM_ERROR) {
            return MQ_ENOMEM;
        }
        if (rc != Z_OK) {
            return MQ_EBADMSG; /* Z_BUF_ERROR: the input ended early, for there was room */
        }
    }
}

int mq_inflate(const void *bytes, size_t n, size_t max_bytes, struct mq_buf *out)
{
    z_stream z = {.zalloc = on_zlib_alloc, .zfree = on_zlib_free};
    size_t first = out->len;
    int rc;

    if (n > UINT_MAX) {
        return MQ_ETOOBIG;
    }
    z.next_in = (Bytef *)bytes; /* zlib reads only, whether or not built with ZLIB_CONST */
    z.avail_in = (uInt)n;
    rc = inflateInit(&z);
    if (rc != Z_OK) {
        return MQ_ENOMEM;
    }
    rc = run(&z, max_bytes, out);
    inflateEnd(&z);
    if (rc != 0) {
        out->len = first;
    }
    return rc;
}
