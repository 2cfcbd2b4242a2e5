/* The segments that a directory holds. */
#ifndef RLOG_LOG_SEGMENT_DIR_H
#define RLOG_LOG_SEGMENT_DIR_H

#include "raft-log/log/handover.h"

/* Makes <dir>/log if missing, removes what an interrupted making left there and segments that lie wholly below
 * @start, and opens all others into @h: without a gap from the one that holds @start on, or from the next one if that
 * one is absent (then the entry before @start was the last one in it). Makes the first one in an empty directory when
 * @start is 0. Returns 0; or MQ_ECORRUPT (one is missing), MQ_EVERSION (another size), MQ_ENOMEM or -errno with one
 * line in
 * @problem; what was opened so far belongs to @h. */
int segment_dir_open(struct handover *h, uint64_t start, struct mq_buf *problem);

/* Removes all segments, durably. None may be open in @h. Returns 0, MQ_ENOMEM or -errno. */
int segment_dir_clear(const struct handover *h);

#endif
