/* Messages that were popped and not acknowledged in time come again, in the retry topic of their group and topic.
 * Leader; loop thread. Source of names and properties: RocketMQ's PopReviveService, KeyBuilder.
 *
 *   turn -> the check point whose time is over is marked: no acknowledgement of it is taken any more -> what was
 *   proposed before is applied -> its unacknowledged records are fetched, one after the other ->
 *   [a copy of each to the retry topic][POP_REVIVE] in one entry; [...][POP_ACK] for as many as an entry has room for
 */
#ifndef BROKER_FLOW_POP_REVIVE_H
#define BROKER_FLOW_POP_REVIVE_H

#include "broker/flow/flow_env.h"

#define POP_RETRY_TOPIC_MAX 255u

struct pop_revive {
    const struct flow_env *env; /* borrowed */
    bool leading;
    uint32_t in_flight;
    struct revive_job *waiting, **waiting_end; /* for earlier proposals, oldest first */
    uint64_t revived;                          /* messages */
    uint64_t release_pos;                      /* those below it are looked for; 0: none since this node leads */
    bool met;                                  /* there was one in this pass */
};

void pop_revive_init(struct pop_revive *revive, const struct flow_env *env);
void pop_revive_lead(struct pop_revive *revive);
void pop_revive_rest(struct pop_revive *revive);
void pop_revive_turn(struct pop_revive *revive);
/* Those whose records lie below @pos come again now, whatever their time: records must be kept, and who holds a
 * message for days meets it a second time. See retention.h. */
int pop_revive_release_below(struct pop_revive *revive, uint64_t pos);

/* The retry topic of @group and @topic; of a retry topic, itself. Returns its length, or 0: too long a name. */
uint32_t pop_retry_topic(struct mq_str group, struct mq_str topic, char out[POP_RETRY_TOPIC_MAX + 1]);

#endif
