/* From a directory to a log whose every entry is known to be good and on the disk. */
#ifndef RLOG_LOG_STARTUP_H
#define RLOG_LOG_STARTUP_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"
#include "raft-log/log/recover.h"

/* Opens the segments into @h, finishes an interrupted truncation, walks all entries into @index (empty before), makes
 * sure of the end, zeroes a torn tail, and sets the tail of @h. In @found torn_end - end_pos is what was cut. Before
 * the threads run. Returns 0, or a negative code with one line in @problem (MQ_ENOMEM and -errno perhaps without). */
int startup(struct handover *h, struct entry_index *index, struct recovered *found, struct mq_buf *problem);

#endif
