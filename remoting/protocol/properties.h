/* The properties string: name 01 value 02 name 01 value 02 ... Source: RocketMQ's
 * MessageDecoder.messageProperties2String. */
#ifndef MQ_PROTOCOL_PROPERTIES_H
#define MQ_PROTOCOL_PROPERTIES_H

#include "remoting/base/buf.h"
#include "remoting/base/text.h"

#include <stdbool.h>

#define PROTO_PROP_KEYS MQ_STR("KEYS")
#define PROTO_PROP_TAGS MQ_STR("TAGS")
#define PROTO_PROP_DELAY MQ_STR("DELAY")
#define PROTO_PROP_UNIQ_KEY MQ_STR("UNIQ_KEY")
#define PROTO_PROP_MSG_REGION MQ_STR("MSG_REGION")
#define PROTO_PROP_TRACE_ON MQ_STR("TRACE_ON")
#define PROTO_PROP_CLUSTER MQ_STR("CLUSTER")
#define PROTO_PROP_TRAN_MSG MQ_STR("TRAN_MSG")
#define PROTO_PROP_POP_CK MQ_STR("POP_CK")
#define PROTO_PROP_FIRST_POP_TIME MQ_STR("1ST_POP_TIME")
#define PROTO_PROP_REAL_TOPIC MQ_STR("REAL_TOPIC")
#define PROTO_PROP_REAL_QUEUE_ID MQ_STR("REAL_QID")
#define PROTO_PROP_PRODUCER_GROUP MQ_STR("PGROUP")
#define PROTO_PROP_TRANSACTION_ID MQ_STR("__transactionId__")
#define PROTO_PROP_CHECK_IMMUNITY MQ_STR("CHECK_IMMUNITY_TIME_IN_SECONDS")
#define PROTO_PROP_TIMER_DELAY_SEC MQ_STR("TIMER_DELAY_SEC")
#define PROTO_PROP_TIMER_DELAY_MS MQ_STR("TIMER_DELAY_MS")
#define PROTO_PROP_TIMER_DELIVER_MS MQ_STR("TIMER_DELIVER_MS")
#define PROTO_PROP_TIMER_OUT_MS MQ_STR("TIMER_OUT_MS")
#define PROTO_PROP_TIMER_ENQUEUE_MS MQ_STR("TIMER_ENQUEUE_MS")
#define PROTO_PROP_TIMER_DEQUEUE_MS MQ_STR("TIMER_DEQUEUE_MS")
#define PROTO_PROP_RETRY_TOPIC MQ_STR("RETRY_TOPIC")
#define PROTO_PROP_ORIGIN_MESSAGE_ID MQ_STR("ORIGIN_MESSAGE_ID")
#define PROTO_PROP_WAIT MQ_STR("WAIT")
#define PROTO_PROP_REPLY_TO_CLIENT MQ_STR("REPLY_TO_CLIENT")
#define PROTO_PROP_PUSH_REPLY_TIME MQ_STR("PUSH_REPLY_TIME")

/* Walks the properties Java would keep (name and value both non-empty), in order. @rest starts as the whole string
 * and is moved on; false at the end. */
bool proto_properties_next(struct mq_str *rest, struct mq_str *name, struct mq_str *value);

/* The last value of @name, or absent. */
struct mq_str proto_properties_get(struct mq_str properties, struct mq_str name);

/* Appends name 01 value 02, adding the 02 that the text before may lack (@start: where the property block starts in
 * @buf). Returns 0 or MQ_ENOMEM. */
int proto_properties_put(struct mq_buf *buf, size_t start, struct mq_str name, struct mq_str value);

/* Java's hash of TAGS sign-extended, 0 without tags: the tag code of a consume queue unit. */
int64_t proto_tags_code(struct mq_str properties);

#endif
