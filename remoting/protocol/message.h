/* Message ids and the body of a batch. Source: RocketMQ's MessageDecoder.createMessageId,
 * MessageDecoder.encodeMessages. */
#ifndef MQ_PROTOCOL_MESSAGE_H
#define MQ_PROTOCOL_MESSAGE_H

#include "remoting/base/text.h"
#include "remoting/protocol/record.h"

#include <stdint.h>

#define PROTO_MSG_ID_MAX 56 /* hex digits with IPv6; 32 with IPv4 */

/* offsetMsgId: upper-case hex of host, port (i32) and position. Returns its length; no NUL. */
size_t proto_offset_msg_id(const struct proto_host *host, int64_t pos, char out[PROTO_MSG_ID_MAX]);

/* The reverse. Returns 0 or MQ_EINVAL. */
int proto_offset_msg_id_parse(struct mq_str id, struct proto_host *host, int64_t *pos);

/* Makes unique client message ids (UNIQ_KEY) of one process: IPv4, 32 upper-case hex digits. One owner thread. */
struct proto_uniq_key {
    uint8_t head[10]; /* ip, pid, loader hash */
    uint32_t counter;
    int64_t month_start_ms;
    int64_t next_month_ms;
};

void proto_uniq_key_init(struct proto_uniq_key *gen, const uint8_t ip[4], int64_t wall_ms);
void proto_uniq_key_next(struct proto_uniq_key *gen, int64_t wall_ms, char out[32]);

/* One message of a batch body. */
struct proto_batch_item {
    int32_t flag;
    struct mq_str body;
    struct mq_str properties;
};

/* Takes the next message from the front of @rest. Returns 1 with @out set, 0 at the end, MQ_EBADMSG. */
int proto_batch_next(struct mq_str *rest, struct proto_batch_item *out);

/* Appends one message to a batch body. Returns 0 or MQ_ENOMEM. */
struct mq_buf;
int proto_batch_put(struct mq_buf *buf, const struct proto_batch_item *item);

#endif
