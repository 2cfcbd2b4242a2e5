/* A broker in a loop, for its own program and for tools and tests that hold one in their process. */
#ifndef BROKER_INCLUDE_BROKER_H
#define BROKER_INCLUDE_BROKER_H

#include "remoting/base/buf.h"
#include "remoting/net/loop.h"

#include <stdbool.h>

struct broker;

/* Opens a broker: reads @conf_path (NULL: none) and @overrides ("key=value", NULL-terminated; may be NULL), recovers,
 * listens, takes part in its group and registers. Blocking while it recovers. Returns 0, or a negative code with one
 * line in
 * @problem; @warnings gets a line for each key without meaning. Both are appended to. */
int broker_open(struct net_loop *loop, const char *conf_path, const char *const *overrides, struct broker **out,
                struct mq_buf *problem, struct mq_buf *warnings);

/* One line that says who and where it is: "broker=... id=n0 listen=127.0.0.1:10911 ...". Borrowed. */
const char *broker_ready_text(const struct broker *broker);
int broker_port(const struct broker *broker); /* the one bound, also when 0 was configured */

/* Whether it leads its group and takes sends. */
bool broker_is_writable(const struct broker *broker);

/* Closes in order: unregisters, answers what is under way, closes connections and the log; @closed comes when all is
 * gone. */
void broker_close(struct broker *broker, void (*closed)(void *data), void *data);

#endif
