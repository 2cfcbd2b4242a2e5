/* Bodies between clients and brokers: heartbeat (34), member list (38), queue locks (41, 42), connections (203, 204).
 * Source: RocketMQ's HeartbeatData, ConsumerManageProcessor, RebalanceLockManager.
 *
 * Decoders change their input in place; slices point into it. They return 0, MQ_EBADMSG, MQ_ETOOBIG (a maximum named
 * here) or MQ_ENOMEM; what they fill is freed by its free function, also after an error. Encoders append and return 0
 * or MQ_ENOMEM. */
#ifndef MQ_PROTOCOL_BODY_CLIENT_H
#define MQ_PROTOCOL_BODY_CLIENT_H

#include "remoting/base/buf.h"
#include "remoting/protocol/filter.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_HEARTBEAT_GROUPS_MAX 1024 /* producers, and consumers, of one client */
#define PROTO_HEARTBEAT_SUBS_MAX 16384  /* subscriptions of one client, all groups together */
#define PROTO_CONSUMER_IDS_MAX 65536    /* members of one group */
#define PROTO_LOCK_QUEUES_MAX 4096      /* queues of one lock request */

/* The values are the ordinals that C++ clients send. */
enum proto_consume_type { PROTO_CONSUME_ACTIVELY = 0, PROTO_CONSUME_PASSIVELY = 1, PROTO_CONSUME_POP = 2 };
enum proto_message_model { PROTO_BROADCASTING = 0, PROTO_CLUSTERING = 1 };
enum proto_from_where {
    PROTO_FROM_LAST_OFFSET = 0,
    PROTO_FROM_LAST_OR_MIN_ON_BOOT = 1,
    PROTO_FROM_MIN_OFFSET = 2,
    PROTO_FROM_MAX_OFFSET = 3,
    PROTO_FROM_FIRST_OFFSET = 4,
    PROTO_FROM_TIMESTAMP = 5
};
enum proto_expression { PROTO_EXPRESSION_TAG, PROTO_EXPRESSION_SQL92, PROTO_EXPRESSION_UNKNOWN };

/* absent, "" and TAG: tags. */
enum proto_expression proto_expression_of(struct mq_str type);

struct proto_subscription {
    struct mq_str topic;
    struct mq_str expression; /* subString */
    enum proto_expression type;
    int64_t version; /* subVersion */
    /* Made from tagsSet, else codeSet, else the expression (Go's own codes are wrong for non-ASCII tags); passes
     * nothing unless type is TAG. Not encoded: tags and codes are written from the expression. */
    struct proto_filter filter;
};

PROTO_LIST(subscriptions, struct proto_subscription)

struct proto_consumer {
    struct mq_str group;
    enum proto_consume_type consume_type; /* missing or unknown: PASSIVELY */
    enum proto_message_model model;       /* missing or unknown: CLUSTERING */
    enum proto_from_where from_where;     /* missing or unknown: LAST_OFFSET */
    bool unit_mode;
    uint32_t sub_first; /* its subscriptions in subs of the heartbeat: sub_first to sub_first + sub_count - 1 */
    uint32_t sub_count;
};

PROTO_LIST(consumers, struct proto_consumer)

struct proto_heartbeat {
    struct mq_str client_id;
    int32_t fingerprint; /* 0: V1 */
    bool without_sub;
    struct proto_str_list producers; /* group names */
    struct proto_consumers consumers;
    struct proto_subscriptions subs;
};

int proto_heartbeat_decode(char *json, size_t n, struct proto_heartbeat *out);
int proto_heartbeat_encode(struct mq_buf *buf, const struct proto_heartbeat *heartbeat);
void proto_heartbeat_free(struct proto_heartbeat *heartbeat);
/* The body of CHECK_CLIENT_CONFIG (46): @out has its subscription, or none. To be freed as a heartbeat. */
int proto_client_check_decode(char *json, size_t n, struct proto_heartbeat *out);

/* The body of the answer to 38: client ids. Free with proto_str_list_free. */
int proto_consumer_ids_encode(struct mq_buf *buf, const struct proto_str_list *ids);
int proto_consumer_ids_decode(char *json, size_t n, struct proto_str_list *out);

#define PROTO_ADDR_TEXT_MAX 64 /* "address:port" and a NUL */

struct proto_connection {
    char addr[PROTO_ADDR_TEXT_MAX];
    struct mq_str client_id;
    uint8_t language; /* of proto_command */
    int32_t version;
};

PROTO_LIST(connections, struct proto_connection)

/* The body of the answer to 204. */
int proto_connections_encode(struct mq_buf *buf, const struct proto_connections *connections);

/* The body of the answer to 203. Subscriptions of an unknown type are left out: their name is not kept. */
int proto_consumer_connections_encode(struct mq_buf *buf, const struct proto_connections *connections,
                                      const struct proto_consumer *consumer, const struct proto_subscriptions *subs);

/* The body of 41 and 42. */
struct proto_lock_batch {
    struct mq_str group;
    struct mq_str client_id;
    bool only_this_broker;
    struct proto_queue_refs queues;
};

int proto_lock_batch_decode(char *json, size_t n, struct proto_lock_batch *out);
int proto_lock_batch_encode(struct mq_buf *buf, const struct proto_lock_batch *batch);
void proto_lock_batch_free(struct proto_lock_batch *batch);

/* The body of the answer to 41: the queues that are locked for the asker now. Free with proto_queue_refs_free. */
int proto_locked_encode(struct mq_buf *buf, const struct proto_queue_refs *queues);
int proto_locked_decode(char *json, size_t n, struct proto_queue_refs *out);

#endif
