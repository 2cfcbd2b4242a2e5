/* The log's beginning. The leader decides where it is: by age, by size, by how full the disk is; always at the end of
 * a segment, so that whole files go. It proposes the place; all members apply it, raise the minimums of their queues,
 * and let the log drop what lies below. Loop thread. Source of the rules: RocketMQ's CleanCommitLogService.
 *
 *   tick (leader, every 10 s) -> choose -> whoever needs records below lets go of them, or appends them again and
 * asks for patience -> LOG_START is proposed -> applied (moved) -> the queues are swept in slices -> rlog_trim */
#ifndef BROKER_FLOW_RETENTION_H
#define BROKER_FLOW_RETENTION_H

#include "broker/state/fsm.h"
#include "broker/store/sequencer.h"

struct retention_rules {
    int64_t reserved_ms;   /* fileReservedTime: older segments go in the hours of @hours */
    uint64_t bytes_max;    /* of the log; 0: no bound */
    uint32_t hours;        /* deleteWhen: bit h for hour h, local time */
    int max_percent;       /* diskMaxUsedSpaceRatio: above it old segments go at any hour */
    int forced_percent;    /* diskSpaceCleanForciblyRatio: above it the oldest goes however young ... */
    bool forced;           /* ... if cleanFileForciblyEnable */
    uint32_t segments_max; /* deleteFileBatchMax: in one tick */
};

/* What the world looks like. */
struct retention_view {
    int64_t now_ms;   /* wall clock */
    unsigned hour;    /* of it, local */
    int used_percent; /* of the disk; -1: not known */
    uint64_t start_pos, end_pos;
    /* Where the segment that holds @pos ends, and the store time of the last entry in it. Returns 0 or MQ_ENOTFOUND:
     * it is the last one, or what lies there is not committed yet. */
    int (*segment)(void *data, uint64_t pos, uint64_t *end_pos, int64_t *store_ms);
    void *data;
};

enum retention_cause { RETENTION_NONE, RETENTION_AGE, RETENTION_SIZE, RETENTION_DISK, RETENTION_FORCED };

/* Where the log should begin: view->start_pos or the end of a later segment. @cause: why. */
uint64_t retention_choose(const struct retention_rules *rules, const struct retention_view *view,
                          enum retention_cause *cause);

struct retention {
    struct retention_rules rules;
    struct state *state;         /* borrowed, like all below */
    struct sequencer *sequencer; /* NULL until there is one */
    const char *dir;             /* on the disk that is looked at */
    /* Whatever is pending and needs a record below @pos is to be appended again, as an entry that also moves the
     * state to it. Returns 0 when nothing needs them any more; MQ_EAGAIN: under way, to be asked again. NULL: nothing
     * ever does. */
    int (*release_below)(void *data, uint64_t pos);
    void *release_data;

    uint64_t swept_pos;               /* queue minimums are up to it */
    struct topic_queues *sweep_topic; /* NULL: nothing to do */
    uint32_t sweep_queue;
    uint64_t sweep_pos;
    struct offset_walk losses; /* over offsets, behind the sweep */
    bool looking;              /* for groups that lose messages */
    uint32_t told;
    struct mq_log_limit stuck_log;
};

void retention_init(struct retention *retention, const struct retention_rules *rules, struct state *state,
                    const char *dir);
/* Leader: every 10 s. */
void retention_tick(struct retention *retention);
/* The log begins at @pos now: news of the state, and once after a start. */
void retention_moved(struct retention *retention, uint64_t pos);
/* A slice of what follows from it, half a millisecond at most. To be called in every turn of the loop. */
void retention_turn(struct retention *retention);

#endif
