/* queues.checkpoint against any bytes: what is taken can be written, and is the same then. The first byte of the
 * input says whether the checksum is made to fit, so that the fuzzer gets past it. */
#include "tests/fuzz/fuzz.h"

#include "broker/store/checkpoint.h"
#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct checkpoint_stamp UNTOUCHED = {7, 7, 7};
    struct checkpoint_stamp stamps[CHECKPOINT_STAMPS] = {UNTOUCHED, UNTOUCHED}, again[CHECKPOINT_STAMPS];
    uint32_t file_units = 7, units_again;
    uint8_t out[CHECKPOINT_BYTES];
    size_t file_bytes = n != 0 ? n - 1 : 0;
    uint8_t *file = mq_malloc(file_bytes + 1);
    int rc;

    MQ_ASSERT(file != NULL);
    if (file_bytes != 0) {
        memcpy(file, bytes + 1, file_bytes);
    }
    if (file_bytes >= CHECKPOINT_BYTES && (bytes[0] & 1) != 0) {
        mq_be32_store(file + 4, mq_crc32c(0, file + 8, CHECKPOINT_BYTES - 8));
    }
    rc = checkpoint_decode(file, file_bytes, &file_units, stamps);
    MQ_ASSERT(rc == 0 || rc == MQ_ECORRUPT || rc == MQ_EVERSION);
    if (rc == 0) {
        checkpoint_encode(file_units, stamps, out);
        MQ_ASSERT(checkpoint_decode(out, sizeof(out), &units_again, again) == 0);
        MQ_ASSERT(units_again == file_units);
        for (uint32_t i = 0; i < CHECKPOINT_STAMPS; i++) {
            MQ_ASSERT(again[i].index == stamps[i].index && again[i].crc == stamps[i].crc &&
                      again[i].held_index == stamps[i].held_index);
        }
    } else {
        MQ_ASSERT(file_units == 7 && stamps[0].index == UNTOUCHED.index &&
                  stamps[1].held_index == UNTOUCHED.held_index);
    }
    mq_free(file);
    return 0;
}
