/* How the entry index reads back what it does not keep: from the index files and from the headers of the log. */
#ifndef RLOG_LOG_INDEX_SOURCE_H
#define RLOG_LOG_INDEX_SOURCE_H

#include "raft-log/log/handover.h"
#include "raft-log/log/index_blocks.h"

/* Fills @source; @h is borrowed by it. */
void index_source_init(struct index_source *source, struct handover *h);

/* An entry that was good is bad now: ends the process. The next start reads the whole segment, and judges what it
 * finds. */
_Noreturn void index_source_failed(const struct handover *h, const struct segment *segment);

#endif
