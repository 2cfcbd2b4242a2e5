/* What a pop or a peek reads: the queues of a topic from where the group is, and the group's retry topic. Loop
 * thread.
 *
 * What was read by a pop belongs to it until its items are applied: the queue's @taken is where the next one begins.
 * A look is made anew, as often as its pop waits or its pages come from the disk. */
#ifndef BROKER_PROCESSOR_POP_LOOK_H
#define BROKER_PROCESSOR_POP_LOOK_H

#include "broker/flow/pop_revive.h"
#include "broker/processor/context.h"

#define POP_PARTS_MAX 60u /* queues of one answer */

/* What one queue gives. */
struct pop_part {
    struct pop_queue *queue; /* held */
    bool retry;
    uint64_t start, next, taken_before;
    uint32_t offsets[POP_MESSAGES_MAX];
    uint32_t n;
    size_t body_at, body_bytes; /* its records */
    /* In order: messages of a batch that was handed out before; and what the leader saw (command.proto). */
    bool again;
    uint64_t least; /* where what was never handed out begins */
    int64_t seen_offset, seen_pop_ms;
    uint32_t seen_steps;
};

struct pop_look {
    struct context *ctx;
    char *group, *topic; /* owned */
    char retry_topic[POP_RETRY_TOPIC_MAX + 1];
    uint32_t retry_bytes; /* 0: none */
    int32_t queue_id;     /* -1: any */
    uint32_t count_max;
    int64_t invisible_ms;
    bool from_last;   /* a group without an offset begins behind what is there */
    bool order;       /* of each queue what is next, and only while nobody holds anything of it; no retry topic */
    uint64_t attempt; /* order_table's: who asks; 0: nobody said */
    bool peeks;       /* nothing is taken: there are no parts, and records of the retry topic are as they lie there */
    struct message_filter *filter; /* counted */

    /* Of the running look. */
    struct pop_part *parts; /* owned */
    uint32_t n_parts, found;
    uint64_t rest;  /* messages that are left */
    uint32_t leads; /* pop_table's: the marks in the queues are of that leadership */
    int64_t pop_ms, until_ms;
    uint32_t revive_queue;
    struct mq_buf body;         /* the records, one behind the other */
    struct reader_request cold; /* with MQ_EAGAIN: what has to come from the disk first */
};

/* Zeroes; copies the names. Returns 0 or MQ_ENOMEM; fini either way. */
int pop_look_init(struct pop_look *look, struct context *ctx, struct mq_str group, struct mq_str topic);
/* No look is running. */
void pop_look_fini(struct pop_look *look);

/* Looks. Returns 0; MQ_EAGAIN: what is there goes only so far as memory does; MQ_ENOMEM. */
int pop_look_run(struct pop_look *look);
/* Ends the running look: its queues are free for others. @give_back: what was read is not this pop's after all. */
void pop_look_end(struct pop_look *look, bool give_back);
/* What @part has read is not given after all. It stays a part. */
void pop_look_drop(struct pop_look *look, struct pop_part *part);
/* Gives up memory that is of no use before the next look. None is running. */
void pop_look_shrink(struct pop_look *look);

/* startOffsetInfo and msgOffsetInfo. Returns 0 or MQ_ENOMEM. */
int pop_look_infos(const struct pop_look *look, struct mq_buf *starts, struct mq_buf *offsets);

/* Messages of @queue that the group has not been given yet. @queue: NULL: one never used. */
uint64_t pop_left_in(struct context *ctx, struct mq_str group, struct mq_str topic, const struct queue *queue);

#endif
