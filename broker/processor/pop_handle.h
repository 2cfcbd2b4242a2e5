/* The receipt handle of a popped message: "startOffset popTime invisibleTime reviveQid flag brokerName queueId
 * queueOffset"; more may follow. Source: RocketMQ's ExtraInfoUtil. */
#ifndef BROKER_PROCESSOR_POP_HANDLE_H
#define BROKER_PROCESSOR_POP_HANDLE_H

#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define POP_HANDLE_FIELDS_MIN 6
#define POP_REVIVE_ORDERED 999 /* reviveQid of messages that were popped in order */

struct pop_handle {
    int64_t start, pop_ms, invisible_ms;
    int32_t revive_queue;
};

/* False when it has less than POP_HANDLE_FIELDS_MIN fields, or no numbers where they belong. */
bool pop_handle_parse(struct mq_str text, struct pop_handle *out);

#endif
