/* What a member may have acknowledged and no longer has. As long as its log is behind the claim it votes as if it
 * held that entry, and does not stand for election: so nobody is elected who lacks what this member acknowledged. */
#ifndef RLOG_LOG_CLAIM_H
#define RLOG_LOG_CLAIM_H

#include <stdbool.h>
#include <stdint.h>

struct rlog_claim {
    uint64_t term, index; /* of the last entry that may have been acknowledged; index 0: no claim */
    uint64_t committed;   /* entries up to here are known to be committed; 0: nothing is known */
};

/* Whether a log that ends with @index of @term is behind (@claim_term, @claim_index). */
static inline bool rlog_is_behind(uint64_t term, uint64_t index, uint64_t claim_term, uint64_t claim_index)
{
    return term < claim_term || (term == claim_term && index < claim_index);
}

#endif
