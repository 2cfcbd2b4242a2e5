/* From a directory to a log whose every entry is known to be good and on the disk. */
#ifndef RLOG_LOG_STARTUP_H
#define RLOG_LOG_STARTUP_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"
#include "raft-log/log/recover.h"

#define STARTUP_VERIFY_BYTES (64u << 20)

/* The index files, as a start uses them. */
struct startup_index {
    const char *dir;
    uint64_t limit; /* blocks that end above it are not believed */
};

struct startup_options {
    const struct rlog_base *base; /* what the log begins behind; borrowed for the call */
    struct recover_known known;
    /* As in struct commitlog_options. */
    bool was_late;
    uint64_t verify_bytes;      /* so much of the end of the log is read whatever the index files say; 0:
                                   STARTUP_VERIFY_BYTES */
    struct startup_index index; /* filled by startup, like skip in @known */
    rlog_keep_claim_cb keep_claim;
    void *data;
};

/* Opens the segments into @h, finishes an interrupted truncation, walks all entries (or what the index files leave of
 * them, see index_file.h) into @index (empty before), makes
 * sure of the end, and sets the tail of @h. What is bad behind the end is zeroed: if it was never acknowledged, at
 * once, else when a claim on it is kept and a copy of it lies beside the log. In @found torn_end - end_pos is what
 * was cut. Before the threads run. Returns 0, or a negative code with one line in @problem (MQ_ENOMEM and -errno
 * perhaps without). */
int startup(struct handover *h, struct startup_options *options, struct entry_index *index, struct recovered *found,
            struct mq_buf *problem);

#endif
