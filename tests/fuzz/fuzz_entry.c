/* The entry header against any bytes: what is accepted encodes to the same bytes, and what is cut short is asked for
 * again. */
#include "tests/fuzz/fuzz.h"

#include "raft-log/include/raftlog/raftlog.h"
#include "raft-log/log/entry_codec.h"
#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"

#include <string.h>

static void decode(const uint8_t *at, size_t n)
{
    struct rlog_header header;
    uint8_t again[RLOG_HEADER_BYTES];
    int rc = rlog_header_decode(at, n, &header);

    MQ_ASSERT((rc == MQ_EAGAIN) == (n < RLOG_HEADER_BYTES));
    if (rc == 0) {
        MQ_ASSERT(header.payload_bytes <= RLOG_ENTRY_BYTES_MAX);
        rlog_header_encode(&header, again);
        MQ_ASSERT(memcmp(again, at, RLOG_HEADER_BYTES) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uint8_t fixed[RLOG_HEADER_BYTES];

    decode(bytes, n);
    if (n >= RLOG_HEADER_BYTES) {
        /* No input meets a checksum by chance: look behind it too. */
        memcpy(fixed, bytes, sizeof(fixed));
        rlog_le32_store(fixed, RLOG_ENTRY_MAGIC);
        rlog_le32_store(fixed + 4, mq_crc32c(0, fixed + 8, RLOG_HEADER_BYTES - 8));
        decode(fixed, sizeof(fixed));
    }
    return 0;
}
