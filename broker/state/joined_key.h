/* Names with NULs between, and a number: the key of a table that is looked up by several names. */
#ifndef BROKER_STATE_JOINED_KEY_H
#define BROKER_STATE_JOINED_KEY_H

#include "remoting/base/err.h"
#include "remoting/base/text.h"

#include <stdint.h>

#define JOINED_KEY_MAX 1024 /* three names of RocketMQ's largest 255 bytes, with room */

struct joined_key {
    uint32_t bytes;
    char at[JOINED_KEY_MAX];
};

/* Joins the names and then the @n_tail bytes at @tail. Returns 0 or MQ_ETOOBIG. */
static inline int joined_key_make(struct joined_key *key, const struct mq_str *names, unsigned n_names,
                                  const void *tail, uint32_t n_tail)
{
    uint64_t bytes = n_tail;
    char *to = key->at;

    for (unsigned i = 0; i < n_names; i++) {
        bytes += (uint64_t)names[i].len + 1;
    }
    if (bytes > JOINED_KEY_MAX) {
        return MQ_ETOOBIG;
    }
    for (unsigned i = 0; i < n_names; i++) {
        if (names[i].len != 0) {
            memcpy(to, names[i].at, names[i].len);
        }
        to += names[i].len;
        *to++ = '\0';
    }
    if (n_tail != 0) {
        memcpy(to, tail, n_tail);
    }
    key->bytes = (uint32_t)bytes;
    return 0;
}

#endif
