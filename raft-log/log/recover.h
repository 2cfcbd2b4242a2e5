/* Reads a whole log and says where it ends. Works on mapped segments alone and changes nothing.
 *
 * Every entry is checked: header CRC, version, own position, index, chain to the entry before, term, payload CRC,
 * zero padding. The first place where no good entry lies is the end of the log, if what is behind it allows that:
 *
 *   all zeros                                   the log ends here
 *   zeros up to the end of the segment, and     an entry that did not fit: the walk goes on there
 *     the next one begins with the next entry
 *   anything else, without a good header        a torn tail, which was never acknowledged: to be zeroed
 *     of a later entry behind it
 *   a good header of a later entry behind it    rot, or a torn group of entries: refused, never cut. "Good" is:
 * aligned to 8 bytes, CRC holds, says its own position, index above the last a good header here that does not follow
 * refused
 *
 * What is behind an end is read only where the file has data, so allocated but unwritten space costs nothing. */
#ifndef RLOG_LOG_RECOVER_H
#define RLOG_LOG_RECOVER_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/segment.h"

#include <stdbool.h>

struct recovered {
    uint64_t last_index, last_term; /* 0 when empty */
    uint32_t last_crc;              /* header CRC of the last entry */
    int64_t last_store_ms;
    uint64_t proven_commit; /* highest commit field of all headers, at most last_index */
    uint64_t end_pos;       /* of the last good entry */
    uint64_t torn_end;      /* end of the last bytes behind it that are not zero; end_pos if there are none */
};

/* Walks @n segments that lie one behind the other from position 0 on; fills @index, which is empty. Returns 0;
 * MQ_ECORRUPT or MQ_EVERSION with one line in @problem; or MQ_ENOMEM. */
int recover_log(struct segment *const *segments, size_t n, struct entry_index *index, struct recovered *out,
                struct mq_buf *problem);

/* Judges the entries that begin at or above @from once more, as a walk that found @found left them in @index. Returns
 * whether all are as good as they were. */
bool recover_check_again(struct segment *const *segments, const struct entry_index *index,
                         const struct recovered *found, uint64_t from);

#endif
