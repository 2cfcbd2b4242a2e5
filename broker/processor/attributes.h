/* Attributes of topics and the text that changes them: "+key=value,-key". Source: RocketMQ's TopicAttributes,
 * AttributeUtil. */
#ifndef BROKER_PROCESSOR_ATTRIBUTES_H
#define BROKER_PROCESSOR_ATTRIBUTES_H

#include "broker/state/command.pb-c.h"
#include "broker/state/topic_table.h"

#include <stddef.h>

#define ATTRIBUTES_MAX 16 /* more than there are keys */

/* All attributes of a topic after a change, sorted by key, ready for an item. */
struct attributes {
    Raftmq__Attribute *list[ATTRIBUTES_MAX];
    Raftmq__Attribute items[ATTRIBUTES_MAX];
    size_t count;
};

/* Applies @change to the attributes of @topic (NULL: it is new). Absent or empty: as they are. Returns 0;
 * MQ_EINVAL, or MQ_EUNSUPPORTED (message.type MIXED), with @problem (NUL-terminated); or MQ_ENOMEM. After 0 free with
 * attributes_free. */
int attributes_change(const struct topic *topic, struct mq_str change, struct attributes *out, char *problem,
                      size_t problem_bytes);
void attributes_free(struct attributes *attributes);

#endif
