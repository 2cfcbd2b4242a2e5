#include "broker/processor/pop_handle.h"

#include <string.h>

static bool next_field(struct mq_str *rest, struct mq_str *out)
{
    const char *space;

    if (rest->len == 0) {
        return false;
    }
    space = memchr(rest->at, ' ', rest->len);
    *out = (struct mq_str){rest->at, space != NULL ? (uint32_t)(space - rest->at) : rest->len};
    rest->at += out->len + (space != NULL);
    rest->len -= out->len + (space != NULL);
    return true;
}

bool pop_handle_parse(struct mq_str text, struct pop_handle *out)
{
    struct mq_str fields[POP_HANDLE_FIELDS_MIN];

    for (int i = 0; i < POP_HANDLE_FIELDS_MIN; i++) {
        if (!next_field(&text, &fields[i])) {
            return false;
        }
    }
    return mq_str_to_i64(fields[0], &out->start) == 0 && mq_str_to_i64(fields[1], &out->pop_ms) == 0 &&
           mq_str_to_i64(fields[2], &out->invisible_ms) == 0 && mq_str_to_i32(fields[3], &out->revive_queue) == 0;
}
