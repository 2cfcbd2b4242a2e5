/* Texts of the error table, and the end of the road for a broken assertion. */
#include "remoting/base/err.h"

#include "remoting/base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct text {
    int code;
    const char *text;
};

static const struct text TEXTS[] = {
    {MQ_ENOMEM, "out of memory"},
    {MQ_EAGAIN, "not enough bytes or room yet"},
    {MQ_EBADMSG, "ill-formed bytes"},
    {MQ_ETOOBIG, "larger than the limit"},
    {MQ_EINVAL, "invalid argument or setting"},
    {MQ_ENOTLEADER, "not the leader"},
    {MQ_EUNSURE, "proposed, but the outcome is not known"},
    {MQ_EBUSY, "too much work in flight"},
    {MQ_ECLOSED, "closed"},
    {MQ_ETIMEDOUT, "no answer in time"},
    {MQ_ENOTFOUND, "not found"},
    {MQ_EEXIST, "exists already"},
    {MQ_ECORRUPT, "corrupt data on disk"},
    {MQ_EVERSION, "format version, group or identity is not ours"},
    {MQ_EFULL, "the disk has no room to spare"},
    {MQ_EUNSUPPORTED, "not supported"},
    /* What libuv adds to the system's codes (uv/errno.h); this library does not link libuv. */
    {-4095, "end of file"},
    {-4094, "unknown error"},
    {-4080, "invalid Unicode character"},
    {-3000, "address family not supported"},
    {-3001, "temporary failure of name resolution"},
    {-3002, "bad flags for name resolution"},
    {-3003, "name resolution was cancelled"},
    {-3004, "permanent failure of name resolution"},
    {-3005, "family of addresses not supported"},
    {-3006, "out of memory in name resolution"},
    {-3007, "no address for this name"},
    {-3008, "unknown node or service"},
    {-3009, "buffer overflow in name resolution"},
    {-3010, "service not available for socket type"},
    {-3011, "socket type not supported"},
    {-3013, "invalid hints for name resolution"},
    {-3014, "resolved protocol is unknown"},
};

const char *mq_strerror(int code)
{
    const char *text = NULL;

    if (code == 0) {
        return "success";
    }
    for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
        if (TEXTS[i].code == code) {
            return TEXTS[i].text;
        }
    }
    if (code < 0 && code > -3000) {
        text = strerrordesc_np(-code);
    }
    return text != NULL ? text : "unknown error";
}

void mq_assert_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    fflush(stderr);
    abort();
}
