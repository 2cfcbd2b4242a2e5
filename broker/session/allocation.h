/* Which queues of a topic are whose, among the members of a consumer group. All who know the same queues and members
 * come to the same result, whoever of the group is asked about. Source: RocketMQ's AllocateMessageQueueAveragely,
 * AllocateMessageQueueAveragelyByCircle, QueryAssignmentProcessor. */
#ifndef BROKER_SESSION_ALLOCATION_H
#define BROKER_SESSION_ALLOCATION_H

#include "remoting/protocol/list.h"

#include <stdbool.h>

enum allocation_strategy {
    ALLOCATE_AVG,      /* to each a stretch of neighbours; the first members get one more where they do not divide */
    ALLOCATE_BY_CIRCLE /* to each in its turn */
};

/* By its name in requests. Returns false for another one. */
bool allocation_strategy_of(struct mq_str name, enum allocation_strategy *out);

/* Sorts both lists, and leaves each member in its list once: a client that has two connections is one consumer. */
void allocation_prepare(struct proto_queue_refs *queues, struct proto_str_list *members);

/* @queues and @members as prepared; borrowed, and so are the names in @out, which is appended to. Returns 0,
 * MQ_ENOTFOUND (@who is no member: nobody can say what it is to have) or MQ_ENOMEM. */
int allocation_pull(enum allocation_strategy strategy, const struct proto_queue_refs *queues,
                    const struct proto_str_list *members, struct mq_str who, struct proto_queue_refs *out);

/* The same for a group that pops: members share queues. @share: of how many members behind it each has the queues,
 * too. 0 and less, or as many as there are others: everybody asks every broker for any queue (id -1). With more
 * members than queues each has one. */
int allocation_pop(enum allocation_strategy strategy, const struct proto_queue_refs *queues,
                   const struct proto_str_list *members, struct mq_str who, int32_t share,
                   struct proto_queue_refs *out);

#endif
