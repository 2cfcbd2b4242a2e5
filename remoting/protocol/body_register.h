/* The body of REGISTER_BROKER (103): JSON, or the deflated form of old brokers. Source: RocketMQ's
 * RouteInfoManager.registerBroker. */
#ifndef MQ_PROTOCOL_BODY_REGISTER_H
#define MQ_PROTOCOL_BODY_REGISTER_H

#include "remoting/base/buf.h"
#include "remoting/protocol/body_topic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_REGISTER_INFLATED_MAX (16u << 20) /* bytes that a deflated body may become */

struct proto_register {
    struct proto_topic_table table;
    struct mq_buf inflated; /* owned; what the slices point into when the body was deflated */
};

/* Decodes a body of @n bytes, which is changed in place and must outlive @out; no body at all is an empty table of
 * version zero. Takes what brokers from 3.x on send: the whole body, or only the topic table. Filter servers and
 * queue mappings are skipped. Returns 0, MQ_EBADMSG, MQ_ETOOBIG (more topics than PROTO_TOPICS_MAX, or more inflated
 * bytes than PROTO_REGISTER_INFLATED_MAX) or MQ_ENOMEM. Free @out with proto_register_free, also after an error. */
int proto_register_decode(char *body, size_t n, bool compressed, struct proto_register *out);
void proto_register_free(struct proto_register *reg);

/* Appends the JSON body of our own registrar. Returns 0 or MQ_ENOMEM. */
int proto_register_encode(struct mq_buf *buf, const struct proto_topic_table *table);

#endif
