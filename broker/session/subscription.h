/* What a consumer group subscribes to: one set for all its members, in the order of topics. The latest heartbeat
 * replaces it: topics that are not named any more go; one that stays keeps what it has unless the version is newer,
 * so that a heartbeat which was overtaken changes nothing. Loop thread. Source: RocketMQ's ConsumerGroupInfo. */
#ifndef BROKER_SESSION_SUBSCRIPTION_H
#define BROKER_SESSION_SUBSCRIPTION_H

#include "broker/store/message_filter.h"
#include "remoting/protocol/body_client.h"

#include <stdbool.h>
#include <stdint.h>

struct consumer_subscription {
    char *topic; /* owned */
    enum proto_expression type;
    int64_t version;
    char *expression;              /* owned; as the client wrote it */
    struct message_filter *filter; /* counted; NULL: everything passes, if usable */
    bool usable;                   /* false: an unknown type, or an expression that does not compile */
};

/* Zero is an empty set. */
struct subscription_set {
    struct consumer_subscription *items; /* owned; ascending by topic */
    uint32_t count, n_sql;               /* all; of them by SQL92 */
};

/* How large a set may become. */
struct subscription_room {
    uint32_t count, n_sql;
};

/* Takes what a heartbeat says: the @n of @items; of one topic twice the newest counts. @changed is set when a topic
 * came or went. Returns 0, MQ_ENOMEM, or MQ_ETOOBIG (@room); then the set stays as it was. */
int subscription_set_take(struct subscription_set *set, const struct proto_subscription *items, uint32_t n,
                          const struct subscription_room *room, bool *changed);
/* NULL when there is none. Borrowed until the set changes. */
const struct consumer_subscription *subscription_set_find(const struct subscription_set *set, struct mq_str topic);
/* Appends all; slices are borrowed until the set changes. Returns 0 or MQ_ENOMEM. */
int subscription_set_list(const struct subscription_set *set, struct proto_subscriptions *out);
void subscription_set_free(struct subscription_set *set);

#endif
