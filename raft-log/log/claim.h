/* What a member may have acknowledged and no longer has. As long as its log is behind the claim it votes as if it
 * held that entry, and does not stand for election: so nobody is elected who lacks what this member acknowledged. */
#ifndef RLOG_LOG_CLAIM_H
#define RLOG_LOG_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct mq_buf;

struct rlog_claim {
    uint64_t term, index; /* of the last entry that may have been acknowledged; index 0: no claim */
    uint64_t committed;   /* entries up to here are known to be committed; 0: nothing is known */
};

/* Who makes a claim durable before anything is cut. @change: payload of the newest membership that the log is sure
 * of, borrowed for the call; @n 0: none is known. Returns 0, or a negative code with a reason in @why: then nothing
 * is cut, and the log does not open. */
typedef int (*rlog_keep_claim_cb)(void *data, const struct rlog_claim *claim, const uint8_t *change, uint32_t n,
                                  struct mq_buf *why);

/* Whether a log that ends with @index of @term is behind (@claim_term, @claim_index). */
static inline bool rlog_is_behind(uint64_t term, uint64_t index, uint64_t claim_term, uint64_t claim_index)
{
    return term < claim_term || (term == claim_term && index < claim_index);
}

#endif
