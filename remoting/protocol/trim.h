/* Java's String.trim(). Private to the module. */
#ifndef MQ_PROTOCOL_TRIM_H
#define MQ_PROTOCOL_TRIM_H

#include "remoting/base/text.h"

/* @s without blanks and control characters at either end. */
static inline struct mq_str proto_trim(struct mq_str s)
{
    while (s.len != 0 && (uint8_t)s.at[0] <= ' ') {
        s.at++;
        s.len--;
    }
    while (s.len != 0 && (uint8_t)s.at[s.len - 1] <= ' ') {
        s.len--;
    }
    return s;
}

#endif
