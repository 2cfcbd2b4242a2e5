/* Topics and groups that the broker itself needs: made by an item when they are missing, usable by what follows it in
 * the same entry. Leader; loop thread. */
#ifndef BROKER_STATE_ENSURE_H
#define BROKER_STATE_ENSURE_H

#include "broker/state/fsm.h"
#include "broker/store/sequencer.h"

/* The topic @name, proposed with @queues and @perm when there is none. A topic that exists is left as it is. Returns
 * 0 with @out set; MQ_EINVAL for a name that is none; MQ_ENOMEM with TOPICS_MAX of them; or what sequencer_reserve
 * said.
 */
int ensure_topic(struct state *state, struct sequencer *seq, struct mq_str name, uint32_t queues, uint32_t perm,
                 struct topic **out);

/* The same, and its queue @queue_id. */
int ensure_queue(struct state *state, struct sequencer *seq, struct mq_str name, uint32_t queues, uint32_t perm,
                 int32_t queue_id, struct queue **out);

#endif
