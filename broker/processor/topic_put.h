/* The one way in which a topic comes into the log. */
#ifndef BROKER_PROCESSOR_TOPIC_PUT_H
#define BROKER_PROCESSOR_TOPIC_PUT_H

#include "broker/processor/propose.h"

#define TOPIC_SINGLE_TAG "SINGLE_TAG"
#define TOPIC_MULTI_TAG "MULTI_TAG"

/* Proposes @config (borrowed) and makes it pending, so that sends may follow in the same entry; @to is answered when
 * the entry is applied or lost. Returns 0, or what sequencer_reserve said: then nothing was proposed or answered. */
int topic_put(struct context *ctx, Raftmq__TopicConfigItem *config, const struct reply_to *to);

/* TOPICS_MAX is reached, with what is proposed and not applied. */
bool topics_full(const struct context *ctx);

#endif
