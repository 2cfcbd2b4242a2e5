/* The thread that works ahead of the tail, so that the writer's sync finds clean extents: it makes the next segment
 * (allocated, not zeroed) when half of the last one is used, and writes zeros in steps, each synced by itself, up to
 * zero_high bytes ahead of the tail whenever less than zero_low are left. Overwriting written blocks needs no change
 * to the file's extents, so the sync of an append has no metadata to commit. Between these it carries out the loop's
 * jobs and removes segments that the log gave up.
 *
 * A segment that cannot be made (disk full) is one warning: the writer tries again when it needs it. A failed write
 * or sync of zeros ends the process: the file also holds entries, and a sync error is reported only once. */
#ifndef RLOG_LOG_SPARE_H
#define RLOG_LOG_SPARE_H

#include "raft-log/log/handover.h"

/* Returns 0 or -errno. */
int spare_start(struct handover *h, pthread_t *out);

#endif
