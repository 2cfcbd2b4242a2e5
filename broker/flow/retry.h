/* A message that was not consumed comes again, or becomes a dead letter: a copy of its record, and what makes it
 * wait, in one entry; so it is never lost half-way and never there without being waited for.
 *
 * Not idempotent, as in the original: asked twice, there are two copies. Who asks cannot know the fate of an entry
 * whose leader was lost, and asks again. */
#ifndef BROKER_FLOW_RETRY_H
#define BROKER_FLOW_RETRY_H

#include "broker/flow/delayed.h"
#include "broker/flow/flow_env.h"
#include "remoting/protocol/record.h"

struct retry_order {
    struct mq_str group;                 /* a legal name */
    int32_t delay_level;                 /* below 0: a dead letter now; 0: grows with the failures; above: that one */
    int32_t max_times;                   /* failures from which on the message is a dead letter */
    uint32_t queues;                     /* of the retry topic, should it be missing; above 0 */
    uint32_t turn;                       /* chooses one of its queues */
    const struct proto_host *store_host; /* of the copy */
    int64_t now_ms;                      /* wall clock */
};

/* Whether the record is a dead letter by now, and not to be tried again. */
bool retry_is_dead(const struct retry_order *order, const struct proto_record *rec);

/* Gathers the copy of the stored record @record into the next entry: for %RETRY%<group>, waiting for its level, or
 * for %DLQ%<group>. Topics that are missing are made before it. All is borrowed during the call; @p: copied, told
 * when the entry is applied or lost (its place is the copy's), NULL: nobody waits. Returns 0; or MQ_EBADMSG (no
 * record), MQ_ECORRUPT (damaged on this disk), MQ_ETOOBIG (its properties with those added pass
 * PROTO_PROPERTIES_MAX), or what ensure_queue and bundle_add say, and the copy was not made. */
int retry_add(const struct flow_env *env, const struct delayed_rules *rules, const struct retry_order *order,
              const uint8_t *record, uint32_t bytes, const struct sequencer_pending *p);

#endif
