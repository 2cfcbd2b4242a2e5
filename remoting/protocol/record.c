/* A record is 88 fixed bytes with IPv4 addresses (12 more for each IPv6 one) and three parts of free length:
 *
 *   size 4 | magic 4 | crc 4 | queue id 4 | flag 4 | queue offset 8 | position 8 | sysFlag 4 | born 8 | born host 8
 * or 20 | stored 8 | store host 8 or 20 | reconsume 4 | prepared 8 | body length 4, body | topic length 1 or 2, topic
 *   | properties length 2, properties */
#include "remoting/protocol/record.h"

#include "remoting/base/assert.h"
#include "remoting/base/buf.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/protocol/frame.h"

#define BORN_HOST_AT 48  /* behind the fields that never move */
#define FIXED_BYTES 72   /* without the two hosts, up to the body */
#define TOPIC_V1_MAX 127 /* Java reads the one-byte length as signed */
#define CRC_MASK 0x7FFFFFFFu

static size_t host_bytes(const struct proto_host *host)
{
    return host->ip_bytes == 16 ? 20 : 8;
}

static bool is_v2(const struct proto_record *rec)
{
    return rec->topic.len > TOPIC_V1_MAX;
}

size_t proto_record_bytes(const struct proto_record *rec)
{
    return FIXED_BYTES + host_bytes(&rec->born_host) + host_bytes(&rec->store_host) + rec->body.len +
           (is_v2(rec) ? 2 : 1) + rec->topic.len + 2 + rec->properties.len;
}

static uint8_t *put_host(uint8_t *at, const struct proto_host *host)
{
    size_t ip_bytes = host->ip_bytes == 16 ? 16 : 4;

    memcpy(at, host->ip, ip_bytes);
    mq_be32_store(at + ip_bytes, host->port);
    return at + ip_bytes + 4;
}

static uint8_t *put_bytes(uint8_t *at, struct mq_str s)
{
    if (s.len != 0) {
        memcpy(at, s.at, s.len);
    }
    return at + s.len;
}

static int32_t sys_flag_with_hosts(const struct proto_record *rec)
{
    int32_t flag = rec->sys_flag & ~(PROTO_SYS_BORNHOST_V6 | PROTO_SYS_STOREHOST_V6);

    flag |= rec->born_host.ip_bytes == 16 ? PROTO_SYS_BORNHOST_V6 : 0;
    return flag | (rec->store_host.ip_bytes == 16 ? PROTO_SYS_STOREHOST_V6 : 0);
}

size_t proto_record_encode(const struct proto_record *rec, uint8_t *at)
{
    size_t bytes = proto_record_bytes(rec);
    uint8_t *to;

    MQ_ASSERT(rec->topic.len <= INT16_MAX && rec->properties.len <= PROTO_PROPERTIES_MAX);
    mq_be32_store(at + PROTO_RECORD_SIZE_AT, (uint32_t)bytes);
    mq_be32_store(at + PROTO_RECORD_MAGIC_AT, is_v2(rec) ? PROTO_RECORD_MAGIC_V2 : PROTO_RECORD_MAGIC_V1);
    mq_be32_store(at + 8, mq_crc32(0, rec->body.at, rec->body.len) & CRC_MASK);
    mq_be32_store(at + PROTO_RECORD_QUEUE_ID_AT, (uint32_t)rec->queue_id);
    mq_be32_store(at + 16, (uint32_t)rec->flag);
    mq_be64_store(at + PROTO_RECORD_QOFF_AT, (uint64_t)rec->qoff);
    mq_be64_store(at + PROTO_RECORD_POS_AT, (uint64_t)rec->pos);
    mq_be32_store(at + PROTO_RECORD_SYS_FLAG_AT, (uint32_t)sys_flag_with_hosts(rec));
    mq_be64_store(at + 40, (uint64_t)rec->born_ms);
    to = put_host(at + BORN_HOST_AT, &rec->born_host);
    mq_be64_store(to, (uint64_t)rec->store_ms);
    to = put_host(to + 8, &rec->store_host);
    mq_be32_store(to, (uint32_t)rec->reconsume_times);
    mq_be64_store(to + 4, (uint64_t)rec->prepared_pos);
    mq_be32_store(to + 12, rec->body.len);
    to = put_bytes(to + 16, rec->body);
    if (is_v2(rec)) {
        *to++ = (uint8_t)(rec->topic.len >> 8);
    }
    *to++ = (uint8_t)rec->topic.len;
    to = put_bytes(to, rec->topic);
    mq_be16_store(to, (uint16_t)rec->properties.len);
    to = put_bytes(to + 2, rec->properties);
    MQ_ASSERT((size_t)(to - at) == bytes);
    return bytes;
}

/* Where the parts of an encoded record are. */
struct layout {
    uint32_t record_bytes;
    uint32_t store_ms_at;
    struct mq_str body, topic, properties;
};

/* A length that stands at @at in @width bytes, of a part that begins behind it and ends before @end. False when it
 * does not fit. */
static bool take_part(const uint8_t **at, const uint8_t *end, unsigned width, uint32_t max, struct mq_str *part)
{
    uint32_t len = 0;

    if ((size_t)(end - *at) < width) {
        return false;
    }
    for (unsigned i = 0; i < width; i++) {
        len = len << 8 | *(*at)++;
    }
    if (len > max || len > (size_t)(end - *at)) {
        return false;
    }
    *part = (struct mq_str){(const char *)*at, len};
    *at += len;
    return true;
}

/* Checks every length against the record's size, which they must fill exactly. */
static int find_layout(const uint8_t *bytes, size_t n, struct layout *out)
{
    const uint8_t *at = bytes, *end;
    uint32_t flag, magic;

    if (n < 4) {
        return MQ_EAGAIN;
    }
    out->record_bytes = mq_be32_load(bytes);
    if (out->record_bytes < PROTO_RECORD_MIN_BYTES || out->record_bytes > PROTO_FRAME_MAX) {
        return MQ_EBADMSG;
    }
    if (n < out->record_bytes) {
        return MQ_EAGAIN;
    }
    end = bytes + out->record_bytes;
    magic = mq_be32_load(bytes + PROTO_RECORD_MAGIC_AT);
    if (magic != PROTO_RECORD_MAGIC_V1 && magic != PROTO_RECORD_MAGIC_V2) {
        return MQ_EBADMSG;
    }
    flag = mq_be32_load(bytes + PROTO_RECORD_SYS_FLAG_AT);
    out->store_ms_at = BORN_HOST_AT + (flag & PROTO_SYS_BORNHOST_V6 ? 20 : 8);
    at += out->store_ms_at + 8 + (flag & PROTO_SYS_STOREHOST_V6 ? 20 : 8) + 12; /* at most 100 bytes */
    if (at > end || !take_part(&at, end, 4, INT32_MAX, &out->body) ||
        !take_part(&at, end, magic == PROTO_RECORD_MAGIC_V2 ? 2 : 1,
                   magic == PROTO_RECORD_MAGIC_V2 ? INT16_MAX : TOPIC_V1_MAX, &out->topic) ||
        !take_part(&at, end, 2, PROTO_PROPERTIES_MAX, &out->properties) || at != end) {
        return MQ_EBADMSG;
    }
    return 0;
}

/* False when the port is none. */
static bool take_host(const uint8_t *at, bool v6, struct proto_host *out)
{
    uint32_t port;

    memset(out, 0, sizeof(*out));
    out->ip_bytes = v6 ? 16 : 4;
    memcpy(out->ip, at, out->ip_bytes);
    port = mq_be32_load(at + out->ip_bytes);
    out->port = (uint16_t)port;
    return port <= UINT16_MAX;
}

bool proto_record_body_is_whole(const struct proto_record *rec)
{
    return (mq_crc32(0, rec->body.at, rec->body.len) & CRC_MASK) == rec->body_crc;
}

int proto_record_decode(const uint8_t *bytes, size_t n, struct proto_record *out)
{
    const uint8_t *at;
    struct layout layout;
    int rc;

    rc = find_layout(bytes, n, &layout);
    if (rc != 0) {
        return rc;
    }
    out->record_bytes = layout.record_bytes;
    out->body_crc = mq_be32_load(bytes + 8);
    out->queue_id = (int32_t)mq_be32_load(bytes + PROTO_RECORD_QUEUE_ID_AT);
    out->flag = (int32_t)mq_be32_load(bytes + 16);
    out->qoff = (int64_t)mq_be64_load(bytes + PROTO_RECORD_QOFF_AT);
    out->pos = (int64_t)mq_be64_load(bytes + PROTO_RECORD_POS_AT);
    out->sys_flag = (int32_t)mq_be32_load(bytes + PROTO_RECORD_SYS_FLAG_AT);
    out->born_ms = (int64_t)mq_be64_load(bytes + 40);
    at = bytes + layout.store_ms_at;
    out->store_ms = (int64_t)mq_be64_load(at);
    if (!take_host(bytes + BORN_HOST_AT, out->sys_flag & PROTO_SYS_BORNHOST_V6, &out->born_host) ||
        !take_host(at + 8, out->sys_flag & PROTO_SYS_STOREHOST_V6, &out->store_host)) {
        return MQ_EBADMSG;
    }
    at += 8 + host_bytes(&out->store_host);
    out->reconsume_times = (int32_t)mq_be32_load(at);
    out->prepared_pos = (int64_t)mq_be64_load(at + 4);
    out->body = layout.body;
    out->topic = layout.topic;
    out->properties = layout.properties;
    return 0;
}

int proto_record_texts(const uint8_t *bytes, size_t n, struct proto_record_texts *out)
{
    struct layout layout;

    if (find_layout(bytes, n, &layout) != 0 || layout.record_bytes != n) {
        return MQ_EBADMSG;
    }
    *out = (struct proto_record_texts){layout.topic, layout.properties};
    return 0;
}

struct mq_str proto_record_properties(const uint8_t *bytes, size_t n)
{
    struct layout layout;

    return find_layout(bytes, n, &layout) == 0 ? layout.properties : (struct mq_str){0};
}

struct mq_str proto_record_topic(const uint8_t *bytes, size_t n)
{
    struct layout layout;

    return find_layout(bytes, n, &layout) == 0 ? layout.topic : (struct mq_str){0};
}
