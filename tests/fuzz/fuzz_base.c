/* The file that says where a log begins, against any bytes: what is accepted encodes to what decodes to the same. */
#include "tests/fuzz/fuzz.h"

#include "raft-log/log/base_file.h"
#include "raft-log/log/little.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/heap.h"

#include <string.h>

static void decode(const uint8_t *at, size_t n)
{
    struct base_kept *base = mq_calloc(2, sizeof(*base));
    uint8_t *again = mq_malloc(BASE_FILE_BYTES_MAX);
    uint64_t sequence[2];
    bool reset[2];

    MQ_ASSERT(base != NULL && again != NULL);
    if (base_file_decode(at, n, &base[0], &reset[0], &sequence[0]) == 0) {
        uint32_t bytes = base_file_encode(&base[0].base, reset[0], sequence[0], again);

        MQ_ASSERT(base_file_decode(again, bytes, &base[1], &reset[1], &sequence[1]) == 0);
        MQ_ASSERT(base[1].base.index == base[0].base.index && base[1].base.end_pos == base[0].base.end_pos);
        MQ_ASSERT(base[1].base.change_bytes == base[0].base.change_bytes);
        MQ_ASSERT(memcmp(base[1].change, base[0].change, base[0].base.change_bytes) == 0);
        MQ_ASSERT(reset[1] == reset[0] && sequence[1] == sequence[0]);
    }
    mq_free(again);
    mq_free(base);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    uint8_t *fixed;

    decode(bytes, n);
    if (n >= BASE_FILE_HEADER_BYTES) {
        /* No input meets a checksum by chance: look behind it too. */
        fixed = mq_malloc(n);
        MQ_ASSERT(fixed != NULL);
        memcpy(fixed, bytes, n);
        memcpy(fixed, "RMQB", 4);
        rlog_le32_store(fixed + 12, (uint32_t)n - BASE_FILE_HEADER_BYTES);
        rlog_le32_store(fixed + 4, mq_crc32c(0, fixed + 8, n - 8));
        decode(fixed, n);
        mq_free(fixed);
    }
    return 0;
}
