/* Configuration files in RocketMQ's form: one key=value a line, '#' and '!' begin comments.
 * A program describes its keys in a table; reading fills the struct and reports what is wrong with file, line, key
 * and, for a key nobody knows, the nearest valid one. */
#ifndef MQ_BASE_CONF_H
#define MQ_BASE_CONF_H

#include "remoting/base/buf.h"

#include <stddef.h>
#include <stdint.h>

enum mq_conf_type {
    MQ_CONF_STR,    /* char *: owned by the struct, freed by mq_conf_free */
    MQ_CONF_I64,    /* int64_t, checked against min and max */
    MQ_CONF_BOOL,   /* bool: true or false, any case */
    MQ_CONF_ENUM,   /* int: index into names */
    MQ_CONF_IGNORED /* a RocketMQ key without meaning here: one warning line */
};

struct mq_conf_key {
    const char *name;
    enum mq_conf_type type;
    size_t offset;            /* of the field in the program's struct */
    int64_t min, max;         /* MQ_CONF_I64 */
    const char *const *names; /* MQ_CONF_ENUM, NULL-terminated */
    const char *preset;       /* default in text form; NULL: NULL, 0 or false */
};

/* Fills @into from the defaults of @keys (ended by a NULL name). Returns 0 or MQ_ENOMEM. */
int mq_conf_defaults(const struct mq_conf_key *keys, void *into);

/* Reads @path over what @into holds. Returns 0; -errno if the file cannot be read; MQ_EINVAL with one message line
 * in @problem ("broker.conf:12: brokerNmae: unknown key, did you mean brokerName?"). @warnings gets one line per
 * ignored key. Both buffers are appended to; each line ends with a newline. */
int mq_conf_read(const char *path, const struct mq_conf_key *keys, void *into, struct mq_buf *problem,
                 struct mq_buf *warnings);

/* Sets one key from text, as from a command line (-o key=value). Same results as mq_conf_read. */
int mq_conf_set(const char *origin, int line, struct mq_str key, struct mq_str value, const struct mq_conf_key *keys,
                void *into, struct mq_buf *problem, struct mq_buf *warnings);

/* Appends "key=value\n" for every key that is not ignored, sorted by name. */
int mq_conf_print(const struct mq_conf_key *keys, const void *from, struct mq_buf *out);

void mq_conf_free(const struct mq_conf_key *keys, void *of);

#endif
