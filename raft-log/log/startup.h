/* From a directory to a log whose every entry is known to be good and on the disk. */
#ifndef RLOG_LOG_STARTUP_H
#define RLOG_LOG_STARTUP_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"
#include "raft-log/log/recover.h"

struct startup_options {
    const struct rlog_base *base; /* what the log begins behind; borrowed for the call */
    struct recover_known known;
    /* As in struct commitlog_options. */
    int (*keep_claim)(void *data, const struct rlog_claim *claim, struct mq_buf *why);
    void *data;
};

/* Opens the segments into @h, finishes an interrupted truncation, walks all entries into @index (empty before), makes
 * sure of the end, and sets the tail of @h. What is bad behind the end is zeroed: if it was never acknowledged, at
 * once, else when a claim on it is kept and a copy of it lies beside the log. In @found torn_end - end_pos is what
 * was cut. Before the threads run. Returns 0, or a negative code with one line in @problem (MQ_ENOMEM and -errno
 * perhaps without). */
int startup(struct handover *h, const struct startup_options *options, struct entry_index *index,
            struct recovered *found, struct mq_buf *problem);

#endif
