/* Configurations of consumer groups as JSON: alone in 200 and 352, as a list in 225, as a table in 201; and what a
 * group may not read (353). Source: RocketMQ's SubscriptionGroupConfig, GroupRetryPolicy, SubscriptionGroupWrapper,
 * GroupForbidden.
 *
 * Encoders append and return 0 or MQ_ENOMEM. Decoders change their input in place and leave slices into it; free what
 * they filled, also after an error. */
#ifndef MQ_PROTOCOL_BODY_GROUP_H
#define MQ_PROTOCOL_BODY_GROUP_H

#include "remoting/base/buf.h"
#include "remoting/protocol/body_topic.h"
#include "remoting/protocol/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_GROUPS_MAX 100000    /* in one list or table */
#define PROTO_RETRY_DELAYS_MAX 64  /* of a customized policy */
#define PROTO_STATIC_SUBS_MAX 1024 /* of one group */

struct proto_retry_policy {
    bool exponential; /* which one counts; both may be there */
    bool has_exponential, has_customized;
    int64_t initial_ms, max_ms, multiplier;
    int64_t next_ms[PROTO_RETRY_DELAYS_MAX];
    uint32_t n_next;
};

struct proto_static_sub {
    struct mq_str topic, expression_type, expression;
    int64_t version;
};

PROTO_LIST(static_subs, struct proto_static_sub)

struct proto_group_config {
    struct mq_str name;
    bool consume_enable, consume_from_min, consume_broadcast, consume_orderly;
    int32_t retry_queues, retry_max_times;
    struct proto_retry_policy policy;
    int64_t broker_id, which_when_slow;
    bool notify_changed;
    int32_t sys_flag, consume_timeout_minutes;
    struct proto_static_subs subs; /* absent in most */
    struct mq_str attribute;       /* the key of the first one; absent: none. There are no legal ones */
};

PROTO_LIST(group_configs, struct proto_group_config)

/* What a group is before anybody said anything. */
struct proto_group_config proto_group_config_defaults(void);
void proto_group_config_free(struct proto_group_config *group);
/* The list, and what its elements own. */
void proto_group_list_free(struct proto_group_configs *groups);

int proto_group_config_encode(struct mq_buf *buf, const struct proto_group_config *group);
/* Members that are missing have their defaults. Returns 0, MQ_EBADMSG, MQ_ETOOBIG (one of the bounds above) or
 * MQ_ENOMEM.
 */
int proto_group_config_decode(char *json, size_t n, struct proto_group_config *out);
/* {"groupConfigList":[...]} */
int proto_group_list_decode(char *json, size_t n, struct proto_group_configs *out);

struct proto_forbidden {
    struct mq_str group, topic;
    bool readable;
};

PROTO_LIST(forbiddens, struct proto_forbidden)

/* 201: groups by name, with what each may not read: neighbours in @forbidden when of the same group. */
int proto_group_table_encode(struct mq_buf *buf, const struct proto_data_version *version,
                             const struct proto_group_configs *groups, const struct proto_forbiddens *forbidden);
struct proto_group_table {
    struct proto_data_version version;
    struct proto_group_configs groups;
};
int proto_group_table_decode(char *json, size_t n, struct proto_group_table *out);

/* 353 */
int proto_forbidden_encode(struct mq_buf *buf, const struct proto_forbidden *forbidden);

#endif
