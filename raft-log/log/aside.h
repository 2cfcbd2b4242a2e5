/* What a start takes out of the log although it may be good is kept beside it, in <dir>/aside-<position, 20 digits>,
 * one file for each segment it lay in, until the log has everything again. Nothing reads these files; they are for
 * people. */
#ifndef RLOG_LOG_ASIDE_H
#define RLOG_LOG_ASIDE_H

#include "raft-log/log/handover.h"

/* Copies [from, to) of the segments, durably. Returns 0, MQ_ENOMEM or -errno. */
int aside_keep(struct handover *h, uint64_t from, uint64_t to);

/* Removes all that is kept. Returns 0, MQ_ENOMEM or -errno. */
int aside_remove(const struct rlog_disk *disk, const char *dir);

#endif
