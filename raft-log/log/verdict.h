/* The judgement over the first entry of a log that is not good (recover.h tells its rules). */
#ifndef RLOG_LOG_VERDICT_H
#define RLOG_LOG_VERDICT_H

#include "raft-log/log/entry_codec.h"
#include "raft-log/log/recover.h"

/* The place where an entry should be and no good one is. */
struct bad_place {
    size_t k; /* segment */
    uint64_t pos;
    const char *reason;
    bool header_follows; /* the header there is good and is the next entry's; only what is behind it is not good */
    struct rlog_header header;
};

/* Looks at everything from @bad on and fills verdict, bad_*, torn_end and claim of @found, which says where the good
 * entries end. Returns 0, or MQ_EVERSION with the place of an entry of another format in @alien. */
int verdict_reach(struct segment *const *segments, size_t n, const struct recover_known *known,
                  const struct bad_place *bad, struct recovered *found, uint64_t *alien);

/* Whether [pos, end of the segment) holds nothing but zeros. Reads only where the file has data. */
bool verdict_rest_is_zero(const struct segment *segment, uint64_t pos);

/* Asks the kernel for the next piece of a stretch of data and moves its beginning behind that piece. Returns its
 * bytes. Reading is only ever done inside such stretches and pieces: a page of unwritten space that is read once
 * counts as data from then on. */
uint64_t verdict_read_ahead(const struct segment *segment, struct segment_data *data);

#endif
