/* The stored message record: the bytes that lie in the commit log and that a pull returns. Field table:
 * RocketMQ's MessageExtEncoder, MessageDecoder. Records are V1 (one-byte topic length) unless the topic has more than
 * 127 bytes. */
#ifndef MQ_PROTOCOL_RECORD_H
#define MQ_PROTOCOL_RECORD_H

#include "remoting/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_RECORD_MAGIC_V1 0xDAA320A7u
#define PROTO_RECORD_MAGIC_V2 0xDAA320ABu

/* Places that never move, whatever the address families are. */
#define PROTO_RECORD_SIZE_AT 0
#define PROTO_RECORD_MAGIC_AT 4
#define PROTO_RECORD_QUEUE_ID_AT 12
#define PROTO_RECORD_QOFF_AT 20
#define PROTO_RECORD_POS_AT 28
#define PROTO_RECORD_SYS_FLAG_AT 36

#define PROTO_RECORD_MIN_BYTES 91  /* IPv4, V1, nothing in it */
#define PROTO_PROPERTIES_MAX 32767 /* bytes */
#define PROTO_BODY_MAX (4u << 20)  /* maxMessageSize default */

enum proto_sys_flag {
    PROTO_SYS_COMPRESSED = 0x1,
    PROTO_SYS_MULTI_TAGS = 0x2,
    PROTO_SYS_TRANSACTION_MASK = 0xC,
    PROTO_SYS_BORNHOST_V6 = 0x10,
    PROTO_SYS_STOREHOST_V6 = 0x20,
    PROTO_SYS_NEED_UNWRAP = 0x40,
    PROTO_SYS_INNER_BATCH = 0x80
};

/* An address as a record holds it: raw IP bytes and a port. */
struct proto_host {
    uint8_t ip[16];
    uint8_t ip_bytes; /* 4 or 16 */
    uint16_t port;
};

struct proto_record {
    uint32_t record_bytes; /* TOTALSIZE */
    uint32_t body_crc;     /* masked with 7FFFFFFF */
    int32_t queue_id;
    int32_t flag;
    int64_t qoff;
    int64_t pos;
    int32_t sys_flag; /* the two address bits are derived from the hosts when encoding */
    int64_t born_ms;
    struct proto_host born_host;
    int64_t store_ms;
    struct proto_host store_host;
    int32_t reconsume_times;
    int64_t prepared_pos;
    struct mq_str body;       /* borrowed; not interpreted */
    struct mq_str topic;      /* borrowed */
    struct mq_str properties; /* borrowed */
};

/* Bytes that @rec takes when encoded; uses hosts, body, topic and properties only. */
size_t proto_record_bytes(const struct proto_record *rec);

/* Writes the record to @at (proto_record_bytes of room). record_bytes and body_crc of @rec are ignored: they are
 * computed. Returns the bytes written. */
size_t proto_record_encode(const struct proto_record *rec, uint8_t *at);

/* Decodes one record from the front of @bytes. Returns 0, MQ_EAGAIN (more bytes needed), or MQ_EBADMSG. The body
 * CRC is not checked. Slices point into @bytes. */
int proto_record_decode(const uint8_t *bytes, size_t n, struct proto_record *out);

/* Topic and properties of an encoded record without decoding the rest. Returns 0 or MQ_EBADMSG, also when @n bytes
 * are not the whole record. */
struct proto_record_texts {
    struct mq_str topic, properties; /* borrowed */
};
int proto_record_texts(const uint8_t *bytes, size_t n, struct proto_record_texts *out);

/* Whether the body is the one that the record's CRC was made of. */
bool proto_record_body_is_whole(const struct proto_record *rec);

/* The property block of an encoded record without decoding the rest; absent on ill-formed bytes. */
struct mq_str proto_record_properties(const uint8_t *bytes, size_t n);
struct mq_str proto_record_topic(const uint8_t *bytes, size_t n);

#endif
