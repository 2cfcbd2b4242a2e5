/* All applied topics in wire form, for GET_ALL_TOPIC_CONFIG and for the registration with name servers. */
#ifndef BROKER_PROCESSOR_TOPIC_DESCRIPTION_H
#define BROKER_PROCESSOR_TOPIC_DESCRIPTION_H

#include "broker/processor/context.h"
#include "remoting/protocol/body_topic.h"

struct topic_description {
    struct proto_topic_table table; /* names borrowed from the state, attributes from below */
    struct mq_buf *attributes;      /* owned array */
    uint32_t count;
};

/* The version is {term, time and number of the last change}. Returns 0 or MQ_ENOMEM; free either way. Valid until the
 * next entry is applied. */
int topic_table_describe(const struct context *ctx, struct topic_description *out);
void topic_description_free(struct topic_description *description);

#endif
