/* The thread that makes appended entries durable, in order. It takes all that is queued; entries that lie one behind
 * the other become one pwritev (at most IOV_MAX of them), a segment gets one fdatasync for all of them, and only then
 * are they given back. A failed or impossible write or sync ends the process. */
#ifndef RLOG_LOG_WRITER_H
#define RLOG_LOG_WRITER_H

#include "raft-log/log/handover.h"

/* Returns 0 or -errno. */
int writer_start(struct handover *h, pthread_t *out);

/* Starts a thread of the log with all signals blocked. @name: at most 15 characters. Returns 0 or -errno. */
int log_thread_start(pthread_t *out, const char *name, void *(*body)(void *), void *data);

#endif
