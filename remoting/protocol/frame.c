#include "remoting/protocol/frame.h"

#include "remoting/base/buf.h"
#include "remoting/base/err.h"

int proto_frame_length(const uint8_t *bytes, size_t n, uint32_t *length)
{
    uint32_t rest;

    if (n < 4) {
        return MQ_EAGAIN;
    }
    rest = mq_be32_load(bytes);
    if (rest < 4 || rest > PROTO_FRAME_MAX - 4) {
        return MQ_EBADMSG;
    }
    *length = 4 + rest;
    return 0;
}
