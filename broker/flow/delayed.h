/* What makes a message wait: a delay level, or a time that its sender names. Decided when it comes in, by the
 * leader's clock and configuration; from then on the record and the state say all.
 *
 * A message that waits is stored under another topic (RocketMQ's), with its own one in its properties, together with
 * an item PENDING_PUT. flow/pending delivers it. Its record says when it is due in the place of a prepared message's
 * position. Source of the rules: RocketMQ's HookUtils, ScheduleMessageService, TimerMessageStore. */
#ifndef BROKER_FLOW_DELAYED_H
#define BROKER_FLOW_DELAYED_H

#include "broker/state/command.pb-c.h"
#include "broker/store/record_copy.h"
#include "remoting/base/text.h"

#include <stdbool.h>
#include <stdint.h>

#define DELAY_LEVELS_MAX 64u

struct delayed_rules {
    const int64_t *level_ms; /* borrowed: of levels 1, 2, ... */
    uint32_t levels;         /* DELAY_LEVELS_MAX at most; 0: a message with a level is delivered at once */
    bool timers;             /* false: a message with a time of its own is refused */
    int64_t timer_max_ms;    /* it may be so far ahead */
};

struct delayed_plan {
    int64_t due_ms;       /* wall clock; 0: at once */
    uint32_t level;       /* 1 ... when it waits for a level; 0: for a time of its own */
    int64_t timer_out_ms; /* TIMER_OUT_MS: of a time of its own, the whole second before it, as RocketMQ counts */
    char why[160];        /* a refusal's */
};

/* What @properties ask for at @now_ms (wall clock). Returns 0; MQ_EINVAL for a number that is none or too far ahead;
 * MQ_EUNSUPPORTED when timers are off. Refused: *why, in the plan, names property, value and limit. */
int delayed_plan(const struct delayed_rules *rules, struct mq_str properties, int64_t now_ms,
                 struct delayed_plan *plan, const char **why);
/* Whether they ask for a delay or a time at all, also for one that is past. */
bool delayed_is_asked(struct mq_str properties);
/* The same for a delay level that the broker gives: @level <= 0 means none, one above the last is taken for it. */
void delayed_plan_level(const struct delayed_rules *rules, int32_t level, int64_t now_ms, struct delayed_plan *plan);

/* What is different about the record of a message that waits. Stays where it was made: it points into itself. */
struct delayed_store {
    struct mq_str topic; /* where it is stored ... */
    int32_t queue_id;
    uint32_t queues; /* ... and how many the topic is to have, should it be missing */
    int64_t due_ms;  /* the record's prepared_pos */
    struct record_property put[3];
    uint32_t n_put;
    struct mq_str drop[3];
    uint32_t n_drop;
    Raftmq__PendingPut item; /* goes behind the record, into the same entry */
    char numbers[2][MQ_I64_TEXT_MAX];
};

/* How many queues the topic of levels is made with. */
uint32_t delayed_level_queues(const struct delayed_rules *rules);

#define DELAYED_TOPIC_PERM 6u /* read and write */

/* Of a @plan that has a due time, for a message to @queue_id of @topic with the unique key @uniq_key (all borrowed as
 * long as @out is used). */
void delayed_store_make(struct delayed_store *out, const struct delayed_rules *rules, const struct delayed_plan *plan,
                        struct mq_str topic, int32_t queue_id, struct mq_str uniq_key);

/* Properties that delivery will add: so much room is to be left for them below PROTO_PROPERTIES_MAX. */
#define DELAYED_DELIVERY_BYTES 80u

#endif
