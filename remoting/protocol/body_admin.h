/* Bodies for mqadmin and for name server queries: topic lists, topic statistics, key/value tables, configuration
 * text. Topic configurations are in body_topic.h. Source: RocketMQ's AdminBrokerProcessor, and
 * DefaultRequestProcessor of the name server.
 *
 * Encoders append and return 0 or MQ_ENOMEM. Decoders change their input in place, leave slices into it and return 0,
 * MQ_EBADMSG, MQ_ETOOBIG or MQ_ENOMEM; free what they filled, also after an error. */
#ifndef MQ_PROTOCOL_BODY_ADMIN_H
#define MQ_PROTOCOL_BODY_ADMIN_H

#include "remoting/base/buf.h"
#include "remoting/protocol/body_topic.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_STATS_QUEUES_MAX 65536 /* queues of one topic */
#define PROTO_KVS_MAX 65536          /* entries of one table */

/* 206, 224, and 304 with the address of some broker (absent: left out). Free @out with proto_str_list_free. */
int proto_topic_list_encode(struct mq_buf *buf, const struct proto_str_list *topics, struct mq_str broker_addr);
int proto_topic_list_decode(char *json, size_t n, struct proto_str_list *out, struct mq_str *broker_addr);

/* 202: one entry a queue, with an object as its key. */
struct proto_queue_stats {
    struct proto_queue_ref queue;
    int64_t min_offset;
    int64_t max_offset;
    int64_t last_update_ms; /* store time of the newest message, 0 without one */
};

PROTO_LIST(topic_stats, struct proto_queue_stats)

int proto_topic_stats_encode(struct mq_buf *buf, const struct proto_topic_stats *stats, double put_tps);
int proto_topic_stats_decode(char *json, size_t n, struct proto_topic_stats *out);

/* {"table":{key:value}} with strings only: 28, 219, and the order topics in the answer to 103. In the order given.
 * Free
 * @out with proto_kvs_free. */
int proto_kv_table_encode(struct mq_buf *buf, const struct proto_kvs *kvs);
int proto_kv_table_decode(char *json, size_t n, struct proto_kvs *out);

/* 26: lines of key=value for Java's Properties.load, in the order given. Bytes it would misread (control characters,
 * backslash, non-ASCII) are written as '?'. */
int proto_config_text_encode(struct mq_buf *buf, const struct proto_kvs *kvs);

/* Takes the next key=value line from the front of @rest, without blanks around; lines that are empty, comments or
 * have no '=' are passed over. false at the end. */
bool proto_config_text_next(struct mq_str *rest, struct mq_str *key, struct mq_str *value);

#endif
