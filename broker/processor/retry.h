/* What sends to retry topics and CONSUMER_SEND_MSG_BACK share: a group's numbers, and where its dead letters go. */
#ifndef BROKER_PROCESSOR_RETRY_H
#define BROKER_PROCESSOR_RETRY_H

#include "broker/processor/context.h"
#include "remoting/protocol/headers.h"

struct retry_limits {
    uint32_t queues;   /* retryQueueNums; 0: the group wants no retries */
    int32_t max_times; /* retryMaxTimes, or what the request says instead */
};

#define RETRY_TIMES_NOT_SENT INT32_MIN

/* @group must be usable; one that is proposed and not yet applied has the defaults. @asked_times: maxReconsumeTimes
 * of the request, or RETRY_TIMES_NOT_SENT; only clients from 3.4.9 on (@version) mean it. */
struct retry_limits retry_limits_of(struct context *ctx, struct mq_str group, int32_t version, int32_t asked_times);

/* Queue 0 of %DLQ%<group>, which is made when missing. Returns 0 or a negative code (topic_make). */
int dead_letter_queue(struct context *ctx, struct mq_str group, struct queue **out);

/* Whether a send to %RETRY%<group> is a dead letter: it was consumed too often, or somebody of the group holds a
 * queue lock: orderly consumers come here only when they have given up. Returns 0 with @dead, or MQ_ENOTFOUND: the
 * group may not be used. */
int retry_send_check(struct context *ctx, const struct proto_send_header *header, int32_t version, bool *dead);

/* The group of a retry topic. */
struct mq_str retry_group_of(struct mq_str retry_topic);

#endif
