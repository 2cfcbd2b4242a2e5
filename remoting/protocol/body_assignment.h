/* Bodies of QUERY_ASSIGNMENT (400): a consumer asks which queues of a topic are its own, and how to ask for messages.
 * Source: RocketMQ's QueryAssignmentRequestBody, QueryAssignmentResponseBody, MessageQueueAssignment. */
#ifndef MQ_PROTOCOL_BODY_ASSIGNMENT_H
#define MQ_PROTOCOL_BODY_ASSIGNMENT_H

#include "remoting/base/buf.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stddef.h>

struct proto_assignment_query {
    struct mq_str topic, group, client_id;
    struct mq_str strategy; /* "AVG", "AVG_BY_CIRCLE", or another one */
    struct mq_str model;    /* "CLUSTERING", "BROADCASTING" */
};

/* Decodes the request, which is changed in place; the slices of @out point into it. Returns 0 or MQ_EBADMSG. */
int proto_assignment_query_decode(char *json, size_t n, struct proto_assignment_query *out);

/* Appends the answer: @queues, all to be asked in the same way. NULL: the member is left out, and the consumer keeps
 * what it has; an empty list takes everything from it. Returns 0 or MQ_ENOMEM. */
int proto_assignments_encode(struct mq_buf *buf, const struct proto_queue_refs *queues, bool pop);

#endif
