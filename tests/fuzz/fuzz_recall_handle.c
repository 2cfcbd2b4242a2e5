/* A recall handle of any bytes: refused, or in parts that lie inside and that make a handle again. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/assert.h"
#include "remoting/protocol/recall_handle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = exact_copy(data, size);
    char *bytes = mq_malloc(PROTO_RECALL_BYTES_MAX);
    char again[PROTO_RECALL_HANDLE_MAX];
    struct proto_recall_handle handle;

    MQ_ASSERT(bytes != NULL);
    if (proto_recall_handle_decode((struct mq_str){text, (uint32_t)size}, bytes, &handle) == 0) {
        MQ_ASSERT(exact_inside(handle.topic, bytes, PROTO_RECALL_BYTES_MAX));
        MQ_ASSERT(exact_inside(handle.broker_name, bytes, PROTO_RECALL_BYTES_MAX));
        MQ_ASSERT(exact_inside(handle.uniq_key, bytes, PROTO_RECALL_BYTES_MAX));
        (void)proto_recall_handle_encode(&handle, again);
    }
    mq_free(text);
    mq_free(bytes);
    return 0;
}
