/* Growth by doubling: appending n bytes one by one costs O(n). */
#include "remoting/base/buf.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <stdarg.h>
#include <stdio.h>

#define CAP_MIN 64

void mq_buf_free(struct mq_buf *buf)
{
    mq_free(buf->base);
    *buf = (struct mq_buf){0};
}

static int grow(struct mq_buf *buf, size_t extra)
{
    size_t cap = buf->cap < CAP_MIN ? CAP_MIN : buf->cap;
    size_t need = buf->len + extra;
    uint8_t *base;

    if (need < extra || need > SIZE_MAX / 2) {
        return MQ_ENOMEM;
    }
    while (cap < need) {
        cap *= 2;
    }
    base = mq_realloc(buf->base, cap);
    if (base == NULL) {
        return MQ_ENOMEM;
    }
    buf->base = base;
    buf->cap = cap;
    return 0;
}

int mq_buf_reserve(struct mq_buf *buf, size_t extra)
{
    return extra <= buf->cap - buf->len ? 0 : grow(buf, extra);
}

int mq_buf_put(struct mq_buf *buf, const void *bytes, size_t n)
{
    int rc = mq_buf_reserve(buf, n);

    if (rc == 0 && n != 0) {
        memcpy(buf->base + buf->len, bytes, n);
        buf->len += n;
    }
    return rc;
}

int mq_buf_put_str(struct mq_buf *buf, struct mq_str s)
{
    return mq_buf_put(buf, s.at, s.len);
}

int mq_buf_put_u8(struct mq_buf *buf, uint8_t value)
{
    return mq_buf_put(buf, &value, sizeof(value));
}

int mq_buf_put_be32(struct mq_buf *buf, uint32_t value)
{
    uint8_t bytes[sizeof(value)];

    mq_be32_store(bytes, value);
    return mq_buf_put(buf, bytes, sizeof(bytes));
}

int mq_buf_put_i64_text(struct mq_buf *buf, int64_t value)
{
    int rc = mq_buf_reserve(buf, MQ_I64_TEXT_MAX);

    if (rc == 0) {
        buf->len += mq_i64_to_text(value, (char *)buf->base + buf->len);
    }
    return rc;
}

int mq_buf_printf(struct mq_buf *buf, const char *fmt, ...)
{
    size_t room = buf->cap - buf->len;
    va_list args;
    int n, rc;

    va_start(args, fmt);
    n = vsnprintf(room != 0 ? (char *)buf->base + buf->len : NULL, room, fmt, args);
    va_end(args);
    if (n < 0) {
        return MQ_ENOMEM; /* the text would be longer than INT_MAX */
    }
    if ((size_t)n >= room) {
        rc = mq_buf_reserve(buf, (size_t)n + 1); /* vsnprintf adds a NUL, which is not counted in len */
        if (rc != 0) {
            return rc;
        }
        va_start(args, fmt);
        vsnprintf((char *)buf->base + buf->len, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    buf->len += (size_t)n;
    return 0;
}

void mq_buf_consume(struct mq_buf *buf, size_t n)
{
    MQ_ASSERT(n <= buf->len);
    buf->len -= n;
    if (n != 0 && buf->len != 0) {
        memmove(buf->base, buf->base + n, buf->len);
    }
}
