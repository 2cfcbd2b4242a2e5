/* Reading big-endian fields from borrowed bytes with one check at the end: a read past the end sets @bad, returns
 * zero and never touches memory outside. */
#ifndef MQ_BASE_CURSOR_H
#define MQ_BASE_CURSOR_H

#include "remoting/base/buf.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct mq_cursor {
    const uint8_t *at; /* borrowed */
    size_t left;
    bool bad; /* a read went past the end; everything read since is zero */
};

static inline struct mq_cursor mq_cursor_of(const void *bytes, size_t n)
{
    return (struct mq_cursor){(const uint8_t *)bytes, n, false};
}

static inline const uint8_t *mq_cursor_take(struct mq_cursor *c, size_t n)
{
    const uint8_t *at = c->at;

    if (c->bad || n > c->left) {
        c->bad = true;
        return NULL;
    }
    c->at += n;
    c->left -= n;
    return at;
}

static inline uint8_t mq_cursor_u8(struct mq_cursor *c)
{
    const uint8_t *at = mq_cursor_take(c, 1);

    return at != NULL ? at[0] : 0;
}

static inline uint16_t mq_cursor_be16(struct mq_cursor *c)
{
    const uint8_t *at = mq_cursor_take(c, 2);

    return at != NULL ? mq_be16_load(at) : 0;
}

static inline uint32_t mq_cursor_be32(struct mq_cursor *c)
{
    const uint8_t *at = mq_cursor_take(c, 4);

    return at != NULL ? mq_be32_load(at) : 0;
}

static inline struct mq_str mq_cursor_str(struct mq_cursor *c, size_t n)
{
    const uint8_t *at = mq_cursor_take(c, n);

    return (struct mq_str){(const char *)at, at != NULL ? (uint32_t)n : 0};
}

#endif
