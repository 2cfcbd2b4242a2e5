/* Reads a whole log and says where it ends, and what lies there if that is not the end it should have. Works on
 * mapped segments alone and changes nothing.
 *
 * Every entry is checked: header CRC, version, own position, index, chain to the entry before, term, payload CRC,
 * zero padding. Entry k is the first one that is not good. If only zeros are left and nothing says that k was there,
 * the log is whole. Otherwise the judgement asks two things (verdict.c):
 *
 *   Is k known to be committed? The caller may know, or the commit field of a good later header says so.
 *   Does k look absent? Of a write that was not synced a power failure leaves any of its sectors, and zeros for the
 *   others. A segment is synced before the next one is written, so nothing is absent before a later one's entry.
 *
 *   not known to be committed, looks absent   TORN       its sync never ended: nothing from k on was acknowledged
 * here known to be committed                     ROTTEN     the disk lost what it had not known, does not look absent
 * AMBIGUOUS  perhaps acknowledged
 *
 * What is behind an end is read only where the file has data, so allocated but unwritten space costs nothing. */
#ifndef RLOG_LOG_RECOVER_H
#define RLOG_LOG_RECOVER_H

#include "raft-log/log/base_file.h"
#include "raft-log/log/claim.h"
#include "raft-log/log/entry_index.h"
#include "raft-log/log/index_file.h"
#include "raft-log/log/segment.h"

#include <stdbool.h>

enum recover_verdict { RECOVER_WHOLE, RECOVER_TORN, RECOVER_ROTTEN, RECOVER_AMBIGUOUS };

/* What the member knows besides its log. */
struct recover_known {
    uint64_t term;      /* the member's: no entry here is younger; 0: not known */
    uint64_t committed; /* entries up to here were durable here and committed; 0: not known */
    /* Adds the entries of @segment behind @mark that need not be read again to @index, and moves @mark behind them.
     * Returns 0 or MQ_ENOMEM. NULL: all are read. */
    int (*skip)(void *data, const struct segment *segment, struct entry_index *index, struct index_mark *mark);
    void *data;
};

struct recovered {
    uint64_t last_index, last_term; /* the base's when empty */
    uint32_t last_crc;              /* header CRC of the last entry */
    int64_t last_store_ms;
    uint64_t proven_commit; /* highest commit field of all headers, at most last_index */
    uint64_t end_pos;       /* of the last good entry */
    uint64_t torn_end;      /* end of the last bytes behind it that are not zero; end_pos if there are none */
    enum recover_verdict verdict;
    /* Unless WHOLE: of entry last_index + 1. */
    uint64_t bad_pos;
    const char *bad_reason; /* what does not check; a literal */
    char bad_name[32];      /* of the segment */
    /* ROTTEN, AMBIGUOUS: the last entry that may have been acknowledged, rather too high than too low. */
    struct rlog_claim claim;
};

/* Walks @n segments that lie one behind the other from where @base ends on, or from the first one if that begins
 * later; fills @index. Returns 0; MQ_EVERSION (an entry of another format) with one line in @problem; or MQ_ENOMEM.
 */
int recover_log(struct segment *const *segments, size_t n, const struct rlog_base *base,
                const struct recover_known *known, struct entry_index *index, struct recovered *out,
                struct mq_buf *problem);

/* Judges the entries that begin at or above @from once more, as a walk that found @found left them in @index. Returns
 * whether all are as good as they were. */
bool recover_check_again(struct segment *const *segments, const struct rlog_base *base,
                         const struct entry_index *index, const struct recovered *found, uint64_t from);

#endif
