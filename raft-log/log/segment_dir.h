/* The segments that a directory holds. */
#ifndef RLOG_LOG_SEGMENT_DIR_H
#define RLOG_LOG_SEGMENT_DIR_H

#include "raft-log/log/handover.h"

/* Makes <dir>/log if missing, removes what an interrupted making left there, and opens all segments into @h, from
 * position 0 on without a gap; makes the first one in an empty directory. Returns 0; or MQ_ECORRUPT (one is missing
 * in the middle), MQ_EVERSION (another size), MQ_ENOMEM or -errno with one line in @problem; what was opened so far
 * belongs to @h. */
int segment_dir_open(struct handover *h, struct mq_buf *problem);

#endif
