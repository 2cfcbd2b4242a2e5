/* Offsets of groups as tools ask for them: how far a group has come (208), where it was reset to (222, and 220 pushed
 * to clients); and how its consumers ask for messages (401). Source: RocketMQ's ConsumeStats, OffsetWrapper,
 * ResetOffsetBody, GetConsumerStatusBody, SetMessageRequestModeRequestBody.
 *
 * Encoders append and return 0 or MQ_ENOMEM. Decoders change their input in place, leave slices into it and return 0,
 * MQ_EBADMSG, MQ_ETOOBIG or MQ_ENOMEM; free what they filled, also after an error. */
#ifndef MQ_PROTOCOL_BODY_OFFSET_H
#define MQ_PROTOCOL_BODY_OFFSET_H

#include "remoting/base/buf.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_OFFSET_ROWS_MAX 1000000 /* of one body */

struct proto_consume_stat {
    struct proto_queue_ref queue;
    int64_t broker_offset;   /* the queue's end */
    int64_t consumer_offset; /* committed; 0: never */
    int64_t pull_offset;     /* not below consumer_offset */
    int64_t last_ms;         /* store time of the message in front of consumer_offset; 0: there is none */
};

PROTO_LIST(consume_stats, struct proto_consume_stat)

int proto_consume_stats_encode(struct mq_buf *buf, const struct proto_consume_stats *stats, double consume_tps);
int proto_consume_stats_decode(char *json, size_t n, struct proto_consume_stats *out);

struct proto_queue_offset {
    struct proto_queue_ref queue;
    int64_t offset;
};

PROTO_LIST(queue_offsets, struct proto_queue_offset)

/* 222's answer, and the body of 220: compact, with objects as keys, which is the one form that all clients read. */
int proto_queue_offsets_encode(struct mq_buf *buf, const struct proto_queue_offsets *offsets);
int proto_queue_offsets_decode(char *json, size_t n, struct proto_queue_offsets *out);

/* 221's answer: where one consumer stands. */
int proto_positions_decode(char *json, size_t n, struct proto_queue_offsets *out);

/* 223's answer, client by client: begin, then add for each, then end. */
int proto_positions_begin(struct mq_buf *buf);
int proto_positions_add(struct mq_buf *buf, bool first, struct mq_str client_id,
                        const struct proto_queue_offsets *offsets);
int proto_positions_end(struct mq_buf *buf);

struct proto_request_mode {
    struct mq_str topic, group;
    struct mq_str mode; /* PULL or POP; absent: not said */
    int32_t pop_share_queues;
};

int proto_request_mode_decode(char *json, size_t n, struct proto_request_mode *out);

#endif
