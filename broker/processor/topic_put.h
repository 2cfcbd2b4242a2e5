/* The one way in which a topic comes into the log. */
#ifndef BROKER_PROCESSOR_TOPIC_PUT_H
#define BROKER_PROCESSOR_TOPIC_PUT_H

#include "broker/processor/propose.h"

#define TOPIC_SINGLE_TAG "SINGLE_TAG"
#define TOPIC_MULTI_TAG "MULTI_TAG"

/* Proposes @config (borrowed) and makes it pending, so that sends may follow in the same entry; @to is answered when
 * name servers know of the topic, or the entry is lost. Returns 0, or what sequencer_reserve said: then nothing was
 * proposed or answered. */
int topic_put(struct context *ctx, Raftmq__TopicConfigItem *config, const struct reply_to *to);

/* For items that name topics, put or deleted: answers when name servers know of it, and where the entry is lost, so
 * is the belief in what was made pending or noted as leaving from this call to the next one. */
struct sequencer_pending pending_for_topics(const struct reply_to *to, struct context *ctx);
/* A done callback (@data: the context) of items that name groups: the same. */
void names_done(struct sequencer_pending *p, const struct sequencer_outcome *outcome);

/* A topic of the broker's own: nobody changes or deletes it. */
bool topic_is_system(const struct context *ctx, struct mq_str topic);

/* TOPICS_MAX is reached, with what is proposed and not applied. */
bool topics_full(const struct context *ctx);

#endif
