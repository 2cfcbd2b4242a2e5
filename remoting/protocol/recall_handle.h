/* The handle by which a message that waits for its time is called back: base64 (of URLs, padded) of
 *   v1 <topic> <broker name> <milliseconds> <unique key>
 * Opaque to clients, who get it with the answer to their send. Source: RocketMQ's RecallMessageHandle. */
#ifndef MQ_PROTOCOL_RECALL_HANDLE_H
#define MQ_PROTOCOL_RECALL_HANDLE_H

#include "remoting/base/text.h"

#include <stddef.h>
#include <stdint.h>

#define PROTO_RECALL_BYTES_MAX 768u /* before base64 */
#define PROTO_RECALL_HANDLE_MAX 1024u

struct proto_recall_handle {
    struct mq_str topic, broker_name, uniq_key;
    int64_t out_ms; /* TIMER_OUT_MS of the message plus one; -1: a handle with something else in its place */
};

/* Returns the length of the text in @out (no NUL); 0 when the names are too long for a handle or have spaces. */
size_t proto_recall_handle_encode(const struct proto_recall_handle *handle, char out[PROTO_RECALL_HANDLE_MAX]);

/* Slices of @handle point into @bytes. Returns 0 or MQ_EBADMSG. */
int proto_recall_handle_decode(struct mq_str text, char bytes[PROTO_RECALL_BYTES_MAX],
                               struct proto_recall_handle *handle);

#endif
