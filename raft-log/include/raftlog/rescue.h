/* The way out when a majority of a group's disks is gone for ever: makes a group of one from a survivor's directory,
 * whose node is stopped. What the others had acknowledged and this directory does not hold is lost, which is why
 * nothing else does it. Blocking; has a loop of its own. */
#ifndef RAFTLOG_RESCUE_H
#define RAFTLOG_RESCUE_H

#include "remoting/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct rlog_rescue;

struct rlog_survivor {
    const char *group;
    uint32_t self;
    const char *role; /* of this directory in its group: "voter", "learner", "joining", "none" */
    uint32_t voters;  /* of the newest membership that it holds, itself included */
    uint64_t term;    /* the highest it has heard of */
    uint64_t last_index, last_term, end_pos;
    uint64_t committed;     /* entries up to here are known to have been committed */
    uint64_t claimed_index; /* it may have acknowledged entries up to here and lost them; 0: it has not */
    int64_t last_store_ms;  /* when its last entry was made */
};

/* Opens the directory as a start of its node would (a torn tail is cut), with its lock. Returns 0, and @out is to be
 * closed; or a negative code with one line in @problem. */
int rlog_rescue_open(const char *dir, struct rlog_rescue **out, struct mq_buf *problem);

/* What is there. Valid until the close. */
const struct rlog_survivor *rlog_rescue_look(const struct rlog_rescue *rescue);

/* Writes a membership that consists of this directory alone, behind everything it holds, all of which counts as
 * committed from now on. Durable when it returns. Returns 0 or a negative code with nothing done but a higher term.
 */
int rlog_rescue_run(struct rlog_rescue *rescue);

void rlog_rescue_close(struct rlog_rescue *rescue);

#endif
