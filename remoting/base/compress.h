/* zlib streams (RFC 1950) with a bound on what comes out. */
#ifndef MQ_BASE_COMPRESS_H
#define MQ_BASE_COMPRESS_H

#include "remoting/base/buf.h"

/* Appends at most @max_bytes of inflated data. Returns 0, MQ_EBADMSG, MQ_ETOOBIG or MQ_ENOMEM. */
int mq_inflate(const void *bytes, size_t n, size_t max_bytes, struct mq_buf *out);

#endif
