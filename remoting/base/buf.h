/* A growable byte buffer and the big-endian writers the wire needs. */
#ifndef MQ_BASE_BUF_H
#define MQ_BASE_BUF_H

#include "remoting/base/text.h"

#include <stddef.h>
#include <stdint.h>

struct mq_buf {
    uint8_t *base; /* owned; NULL when cap is 0 */
    size_t len;    /* bytes in use */
    size_t cap;
};

void mq_buf_free(struct mq_buf *buf); /* leaves an empty buffer */

/* Makes room for @extra more bytes. Returns 0 or MQ_ENOMEM; the content is kept either way. */
int mq_buf_reserve(struct mq_buf *buf, size_t extra);

/* Append; return 0 or MQ_ENOMEM with the buffer as it was. */
int mq_buf_put(struct mq_buf *buf, const void *bytes, size_t n);
int mq_buf_put_str(struct mq_buf *buf, struct mq_str s);
int mq_buf_put_u8(struct mq_buf *buf, uint8_t value);
int mq_buf_put_be32(struct mq_buf *buf, uint32_t value);
int mq_buf_put_i64_text(struct mq_buf *buf, int64_t value);
int mq_buf_printf(struct mq_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first @n bytes and moves the rest to the front. */
void mq_buf_consume(struct mq_buf *buf, size_t n);

static inline struct mq_str mq_buf_str(const struct mq_buf *buf)
{
    return (struct mq_str){(const char *)buf->base, (uint32_t)buf->len};
}

static inline void mq_be16_store(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static inline void mq_be32_store(uint8_t *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof(v));
}

static inline void mq_be64_store(uint8_t *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof(v));
}

static inline uint16_t mq_be16_load(const uint8_t *at)
{
    return (uint16_t)((at[0] << 8) | at[1]);
}

static inline uint32_t mq_be32_load(const uint8_t *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t mq_be64_load(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return __builtin_bswap64(v);
}

#endif
