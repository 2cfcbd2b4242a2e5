/* Memory for entries, reused. A blob's memory has room for the header, the payload and the padding; its size is a
 * power of two between BLOB_BYTES_MIN and 2 * RLOG_ENTRY_BYTES_MAX. Up to BLOB_KEPT_BYTES_MAX of unused memory of
 * sizes up to BLOB_KEPT_SIZE_MAX are kept, so that a gathering proposer neither allocates nor faults pages in. Loop's
 * thread. */
#ifndef RLOG_LOG_BLOB_H
#define RLOG_LOG_BLOB_H

#include "raft-log/include/raftlog/raftlog.h"

#define BLOB_BYTES_MIN 4096u
#define BLOB_SIZES 11u /* 4 KiB to 4 MiB are kept, larger ones are not */
#define BLOB_KEPT_SIZE_MAX (BLOB_BYTES_MIN << (BLOB_SIZES - 1))
#define BLOB_KEPT_BYTES_MAX (8u << 20)

struct blob_kept; /* an unused piece of memory: the link lies in itself */

/* Embedded in the owner, who outlives all blobs. */
struct blob_pool {
    struct blob_kept *kept[BLOB_SIZES];
    size_t kept_bytes;
    uint32_t taken; /* blobs that live */
};

void blob_pool_init(struct blob_pool *pool);
/* All blobs are gone. */
void blob_pool_fini(struct blob_pool *pool);

/* An empty blob with at least @payload_cap bytes of room and one reference, the caller's; it returns to the pool with
 * its last one. Returns 0 or MQ_ENOMEM (also for more than an entry can hold). */
int blob_pool_take(struct blob_pool *pool, struct rlog *log, uint32_t payload_cap, struct rlog_blob **out);

#endif
