/* The body of the answer to QUERY_CONSUME_QUEUE (321). Source: RocketMQ's QueryConsumeQueueResponseBody. */
#ifndef MQ_PROTOCOL_BODY_QUEUE_H
#define MQ_PROTOCOL_BODY_QUEUE_H

#include "remoting/protocol/body_client.h"

struct proto_queue_unit {
    int64_t pos;
    int32_t bytes;
    int64_t tags_code;
};

struct proto_queue_page {
    int64_t min, max;                     /* of the queue */
    const struct proto_queue_unit *units; /* borrowed */
    uint32_t n;
    const struct proto_subscription *subscription; /* borrowed; NULL: left out */
    struct mq_str filter_data;                     /* absent: left out */
};

/* Appends; returns 0 or MQ_ENOMEM. */
int proto_queue_page_encode(struct mq_buf *buf, const struct proto_queue_page *page);

#endif
