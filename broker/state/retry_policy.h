/* groupRetryPolicy of a consumer group: how long a message that was not consumed waits for its next attempt. The
 * original's broker keeps it for those who ask and goes by it nowhere itself: CONSUMER_SEND_MSG_BACK goes by delay
 * levels, POP by the invisible time of the request. Its proxy reads it, to tell clients and to choose invisible
 * times. Source: RocketMQ's GroupRetryPolicy, ExponentialRetryPolicy, CustomizedRetryPolicy,
 * GrpcClientSettingsManager. */
#ifndef BROKER_STATE_RETRY_POLICY_H
#define BROKER_STATE_RETRY_POLICY_H

#include "broker/state/command.pb-c.h"

#include <stdint.h>

/* The wait behind attempt number @attempt, counted from 0, in milliseconds; never below 0. @policy NULL, or without
 * the numbers of its type: the original's delay levels, the first attempt at the third of them. */
int64_t retry_policy_delay_ms(const Raftmq__RetryPolicy *policy, int32_t attempt);

#endif
