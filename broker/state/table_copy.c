#include "broker/state/table_copy.h"

#include "remoting/base/err.h"

#define FIELD_1_BYTES 0x0A /* protobuf: number 1, length-delimited */
#define VARINT_MAX 10u

void table_copy_begin(struct table_copy *copy, uint16_t section, struct rlog_sink *sink, const ProtobufCMessage *head,
                      void *first)
{
    size_t n = protobuf_c_message_get_packed_size(head);

    copy->sink = sink;
    copy->section = section;
    copy->generation++;
    copy->next = first;
    copy->bytes = 0;
    copy->scratch.len = 0;
    if (mq_buf_reserve(&copy->scratch, n + 1) != 0) {
        rlog_sink_fail(sink, MQ_ENOMEM);
        return;
    }
    (void)protobuf_c_message_pack(head, copy->scratch.base);
    (void)rlog_sink_put(sink, section, copy->scratch.base, n);
}

void table_copy_end(struct table_copy *copy)
{
    copy->sink = NULL;
    copy->next = NULL;
    mq_buf_free(&copy->scratch);
}

void table_copy_put(struct table_copy *copy, const ProtobufCMessage *row)
{
    size_t n = protobuf_c_message_get_packed_size(row), left = n;
    uint8_t *at;

    copy->scratch.len = 0;
    if (mq_buf_reserve(&copy->scratch, n + 1 + VARINT_MAX) != 0) {
        rlog_sink_fail(copy->sink, MQ_ENOMEM);
        return;
    }
    at = copy->scratch.base;
    *at++ = FIELD_1_BYTES;
    for (; left >= 0x80; left >>= 7) {
        *at++ = (uint8_t)(left | 0x80);
    }
    *at++ = (uint8_t)left;
    at += protobuf_c_message_pack(row, at);
    copy->bytes += (uint64_t)(at - copy->scratch.base);
    (void)rlog_sink_put(copy->sink, copy->section, copy->scratch.base, (size_t)(at - copy->scratch.base));
}
