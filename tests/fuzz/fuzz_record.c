/* Records of any bytes: a record that decodes fills its size exactly and encodes to the same bytes again. */
#include "tests/fuzz/exact.h"
#include "tests/fuzz/fuzz.h"

#include "remoting/base/buf.h"
#include "remoting/base/err.h"
#include "remoting/protocol/properties.h"
#include "remoting/protocol/record.h"

/* But for the CRC, which decoding does not check, and a V2 record with a topic that fits V1. */
static void check_rewritten(const struct proto_record *rec, const uint8_t *bytes)
{
    uint8_t *again;

    if (mq_be32_load(bytes + PROTO_RECORD_MAGIC_AT) == PROTO_RECORD_MAGIC_V2 && rec->topic.len <= 127) {
        return;
    }
    MQ_ASSERT(proto_record_bytes(rec) == rec->record_bytes);
    again = mq_malloc(rec->record_bytes);
    MQ_ASSERT(again != NULL && proto_record_encode(rec, again) == rec->record_bytes);
    memcpy(again + 8, bytes + 8, 4);
    MQ_ASSERT(memcmp(again, bytes, rec->record_bytes) == 0);
    mq_free(again);
}

static void check_properties(struct mq_str properties)
{
    struct mq_str rest = properties, name, value;

    while (proto_properties_next(&rest, &name, &value)) {
        MQ_ASSERT(name.len != 0 && value.len != 0);
        MQ_ASSERT(exact_inside(name, properties.at, properties.len));
        MQ_ASSERT(exact_inside(value, properties.at, properties.len));
    }
    (void)proto_tags_code(properties);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = exact_copy(bytes, n);
    const uint8_t *at = (const uint8_t *)copy;
    struct proto_record rec;
    size_t left = n;
    int rc;

    while ((rc = proto_record_decode(at, left, &rec)) == 0) {
        MQ_ASSERT(rec.record_bytes >= PROTO_RECORD_MIN_BYTES && rec.record_bytes <= left);
        MQ_ASSERT(exact_inside(rec.body, at, rec.record_bytes));
        MQ_ASSERT(exact_inside(rec.topic, at, rec.record_bytes));
        MQ_ASSERT(mq_str_eq(proto_record_properties(at, left), rec.properties));
        MQ_ASSERT(mq_str_eq(proto_record_topic(at, left), rec.topic));
        check_properties(rec.properties);
        check_rewritten(&rec, at);
        at += rec.record_bytes;
        left -= rec.record_bytes;
    }
    MQ_ASSERT(rc == MQ_EAGAIN || rc == MQ_EBADMSG);
    mq_free(copy);
    return 0;
}
