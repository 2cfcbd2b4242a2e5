/* Open transactions whose producer has not said how they end: the leader asks any live producer of the group, at
 * intervals, and gives up after so many times. What was asked is counted in the log before it is sent, so that a
 * transaction is asked for at most that often over all leaders. Loop thread. Source of the rules: RocketMQ's
 * TransactionalMessageServiceImpl, DefaultTransactionalMessageCheckListener.
 *
 *   turn -> those that are due, up to BATCH at a time -> HALF_CHECKED -> applied -> each record is fetched ->
 *                                                                       the callback sends CHECK_TRANSACTION_STATE
 *        -> asked for often enough -> its record is fetched -> [copy to TRANS_CHECK_MAX_TIME_TOPIC][HALF_END] */
#ifndef BROKER_FLOW_HALF_H
#define BROKER_FLOW_HALF_H

#include "broker/flow/flow_env.h"

#define HALF_TOPIC MQ_STR("RMQ_SYS_TRANS_HALF_TOPIC")
#define HALF_DISCARD_TOPIC MQ_STR("TRANS_CHECK_MAX_TIME_TOPIC")

struct half_rules {
    int64_t timeout_ms;  /* transactionTimeOut: a producer is left alone so long */
    int64_t interval_ms; /* transactionCheckInterval */
    uint32_t times_max;  /* transactionCheckMax */
};

struct half_flow {
    const struct flow_env *env; /* borrowed */
    struct half_rules rules;
    bool leading;
    uint32_t in_flight; /* jobs */
    uint64_t checks, discarded;
    uint64_t release_pos; /* rows below it are looked for; 0: none since this node leads */
    bool met;             /* there was one in this pass */
    /* Asks a producer of @half's group about @record (borrowed during the call), or does nothing when none is
     * connected. Set at assembly; NULL: nobody asks. */
    void (*ask)(void *data, const struct half *half, const struct reader_view *record);
    void *ask_data;
};

void half_flow_init(struct half_flow *flow, const struct flow_env *env, const struct half_rules *rules);
void half_flow_lead(struct half_flow *flow);
void half_flow_rest(struct half_flow *flow);
void half_flow_turn(struct half_flow *flow);
/* See retention.h. */
int half_flow_release_below(struct half_flow *flow, uint64_t pos);

/* When the producer of a transaction that begins at @now_ms is to be asked first. */
int64_t half_first_check(const struct half_rules *rules, uint32_t immunity_s, int64_t now_ms);

#endif
