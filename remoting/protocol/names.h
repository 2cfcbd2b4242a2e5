/* Names of topics and groups, checked in one place. Source: RocketMQ's TopicValidator. */
#ifndef MQ_PROTOCOL_NAMES_H
#define MQ_PROTOCOL_NAMES_H

#include "remoting/base/text.h"

#include <stdbool.h>

#define PROTO_TOPIC_MAX 127
#define PROTO_RETRY_TOPIC_MAX 255
#define PROTO_GROUP_MAX 120

#define PROTO_TOPIC_TBW102 MQ_STR("TBW102")
#define PROTO_TOPIC_SCHEDULE MQ_STR("SCHEDULE_TOPIC_XXXX") /* messages of delay levels, until they are due */
#define PROTO_TOPIC_TIMER MQ_STR("rmq_sys_wheel_timer")    /* messages with a time of their own, likewise */
#define PROTO_RETRY_PREFIX MQ_STR("%RETRY%")
#define PROTO_DLQ_PREFIX MQ_STR("%DLQ%")

enum proto_name_problem {
    PROTO_NAME_OK,
    PROTO_NAME_BLANK,
    PROTO_NAME_LONG,
    PROTO_NAME_CHARACTER /* outside [%|a-zA-Z0-9_-] */
};

enum proto_name_problem proto_topic_check(struct mq_str topic);
enum proto_name_problem proto_group_check(struct mq_str group);

/* The topic of @group behind @prefix, one of the two above, written into @out. Absent when no topic may be so long.
 */
struct mq_str proto_group_topic(struct mq_str prefix, struct mq_str group, char out[PROTO_RETRY_TOPIC_MAX]);

/* "longer than 127 characters" and the like, for remarks. */
const char *proto_name_problem_text(enum proto_name_problem problem, bool is_group);

/* One of the system topics that do not depend on cluster or broker name, or rmq_sys_*. */
bool proto_topic_is_system(struct mq_str topic);

/* A system topic to which clients may not send (16). */
bool proto_topic_send_forbidden(struct mq_str topic);

#endif
