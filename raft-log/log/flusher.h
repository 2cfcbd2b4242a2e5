/* The thread that syncs what the writer wrote, some milliseconds later, in a log that acknowledges before it syncs.
 */
#ifndef RLOG_LOG_FLUSHER_H
#define RLOG_LOG_FLUSHER_H

#include "raft-log/log/handover.h"

/* Runs until handover_stop_flusher. Returns 0 or -errno. */
int flusher_start(struct handover *h, pthread_t *out);

#endif
