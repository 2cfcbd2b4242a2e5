/* Entries that the disk has lost are put back where they were, with the bytes that another member has.
 *
 *   rewrite_start -> spare: writes, syncs, reads them again from the disk -> loop -> callback
 *
 * Only for entries that are synced here and committed, whose bytes never change; so readers see what was wrong become
 * right, and nothing else. A failed write or sync ends the process. MQ_ECORRUPT: the disk has other bytes after it
 * than were written, or the entries are not the ones that belong there. */
#ifndef RLOG_LOG_REWRITE_H
#define RLOG_LOG_REWRITE_H

#include "raft-log/log/entry_index.h"
#include "raft-log/log/handover.h"

struct commitlog_rewrite;
typedef void (*commitlog_rewrite_cb)(struct commitlog_rewrite *rewrite, int status);

/* The caller's, until its callback. */
struct commitlog_rewrite {
    void *data; /* caller's, never read here */

    /* Private. */
    commitlog_rewrite_cb cb;
    struct spare_job job;
    struct segment *segment; /* counted */
    uint64_t from;           /* in the segment */
    uint64_t n;
    const uint8_t *bytes; /* kept alive by ref; NULL: zeros */
    struct net_ref *ref;
    int status;
};

/* Loop. As commitlog_rewrite and commitlog_rewrite_rest. */
int rewrite_start(struct commitlog_rewrite *rewrite, struct handover *h, const struct entry_index *index,
                  uint64_t first, uint32_t crc, const uint8_t *bytes, uint32_t n, struct net_ref *ref,
                  commitlog_rewrite_cb cb);
int rewrite_rest(struct commitlog_rewrite *rewrite, struct handover *h, uint64_t pos, commitlog_rewrite_cb cb);

#endif
