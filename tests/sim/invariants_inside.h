/* What the files of the checks share; see invariants.h. */
#ifndef SIM_INVARIANTS_INSIDE_H
#define SIM_INVARIANTS_INSIDE_H

#include "tests/sim/invariants.h"

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- invariants_disk.c: what lies on disks ---- */

/* @n bytes of the log at @pos as they lie on the platter, or in the page cache; NULL: not all there. */
const uint8_t *disk_bytes(const struct node *node, bool cached, uint64_t pos, uint64_t n);
/* Whether a majority of the voters has entry @index so that it may say so. */
bool majority_holds(const struct membership *members, uint64_t index, uint64_t pos, uint32_t crc);
/* Everything up to @index, as the member has it, lies on its own platter. */
bool own_platter_holds(struct node *node, uint64_t index);

struct term_and_vote {
    uint64_t term;
    uint32_t vote;
};

/* What the weaker of the two copies on the platter says; where one was made bad, the stronger. */
struct term_and_vote platter_vote(const struct node *node);
/* How many snapshots of entries at or above @from are on the platter. */
uint32_t snapshots_on_platter(const struct node *node, uint64_t from);

/* ---- invariants_log.c: a member's log, compared with what was seen of it ---- */

/* @claim: of a member that starts: what it may have acknowledged and no longer has. NULL: it runs. */
void look_at_log(struct node *node, const struct commitlog *log, const struct rlog_claim *claim);

/* ---- invariants_state.c ---- */

void invariants_state_reset(void);

#endif
