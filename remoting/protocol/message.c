#include "remoting/protocol/message.h"

#include "remoting/base/buf.h"
#include "remoting/base/cursor.h"
#include "remoting/base/err.h"

#include <time.h>
#include <unistd.h>

size_t proto_offset_msg_id(const struct proto_host *host, int64_t pos, char out[PROTO_MSG_ID_MAX])
{
    size_t ip_bytes = host->ip_bytes == 16 ? 16 : 4;
    uint8_t raw[PROTO_MSG_ID_MAX / 2];

    memcpy(raw, host->ip, ip_bytes);
    mq_be32_store(raw + ip_bytes, host->port);
    mq_be64_store(raw + ip_bytes + 4, (uint64_t)pos);
    mq_hex_upper(raw, ip_bytes + 12, out);
    return 2 * (ip_bytes + 12);
}

int proto_offset_msg_id_parse(struct mq_str id, struct proto_host *host, int64_t *pos)
{
    uint8_t raw[PROTO_MSG_ID_MAX / 2];
    size_t ip_bytes;
    uint32_t port;

    if ((id.len != 32 && id.len != PROTO_MSG_ID_MAX) || mq_hex_parse(id.at, id.len / 2, raw) != 0) {
        return MQ_EINVAL;
    }
    ip_bytes = id.len / 2 - 12;
    port = mq_be32_load(raw + ip_bytes);
    if (port > UINT16_MAX) {
        return MQ_EINVAL;
    }
    *host = (struct proto_host){.ip_bytes = (uint8_t)ip_bytes, .port = (uint16_t)port};
    memcpy(host->ip, raw, ip_bytes);
    *pos = (int64_t)mq_be64_load(raw + ip_bytes + 4);
    return 0;
}

/* Sets the bounds of the month, in local time as Java has it, that @wall_ms lies in. */
static void enter_month(struct proto_uniq_key *gen, int64_t wall_ms)
{
    time_t wall = (time_t)(wall_ms / 1000);
    struct tm tm;

    localtime_r(&wall, &tm);
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1, .tm_isdst = -1};
    gen->month_start_ms = (int64_t)mktime(&tm) * 1000;
    tm = (struct tm){.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1, .tm_isdst = -1};
    gen->next_month_ms = (int64_t)mktime(&tm) * 1000;
}

void proto_uniq_key_init(struct proto_uniq_key *gen, const uint8_t ip[4], int64_t wall_ms)
{
    struct {
        const void *self;
        int64_t wall_ms;
        int64_t pid;
    } seed = {gen, wall_ms, getpid()};
    uint64_t hash = mq_hash64(&seed, sizeof(seed));

    memcpy(gen->head, ip, 4);
    mq_be16_store(gen->head + 4, (uint16_t)seed.pid);
    /* In Java's place for the class loader: tells two generators of one process, and of one pid, apart. */
    mq_be32_store(gen->head + 6, (uint32_t)hash);
    gen->counter = 0;
    enter_month(gen, wall_ms);
}

void proto_uniq_key_next(struct proto_uniq_key *gen, int64_t wall_ms, char out[32])
{
    uint8_t raw[16];

    if (wall_ms >= gen->next_month_ms || wall_ms < gen->month_start_ms) {
        enter_month(gen, wall_ms);
    }
    memcpy(raw, gen->head, sizeof(gen->head));
    mq_be32_store(raw + 10, (uint32_t)(wall_ms - gen->month_start_ms));
    mq_be16_store(raw + 14, (uint16_t)gen->counter++);
    mq_hex_upper(raw, sizeof(raw), out);
}

#define BATCH_ITEM_FIXED 22 /* five ints and the length of the properties */

int proto_batch_next(struct mq_str *rest, struct proto_batch_item *out)
{
    struct mq_cursor c = mq_cursor_of(rest->at, rest->len);
    struct proto_batch_item item;

    if (rest->len == 0) {
        return 0;
    }
    /* Total size, magic and CRC are not looked at, as Java does not. */
    mq_cursor_take(&c, 12);
    item.flag = (int32_t)mq_cursor_be32(&c);
    item.body = mq_cursor_str(&c, mq_cursor_be32(&c));
    item.properties = mq_cursor_str(&c, mq_cursor_be16(&c));
    if (c.bad || item.properties.len > PROTO_PROPERTIES_MAX) {
        return MQ_EBADMSG;
    }
    *out = item;
    *rest = (struct mq_str){(const char *)c.at, (uint32_t)c.left};
    return 1;
}

int proto_batch_put(struct mq_buf *buf, const struct proto_batch_item *item)
{
    size_t bytes = (size_t)BATCH_ITEM_FIXED + item->body.len + item->properties.len;
    int rc = mq_buf_reserve(buf, bytes);
    uint8_t *at;

    if (rc != 0) {
        return rc;
    }
    at = buf->base + buf->len;
    mq_be32_store(at, (uint32_t)bytes);
    memset(at + 4, 0, 8);
    mq_be32_store(at + 12, (uint32_t)item->flag);
    mq_be32_store(at + 16, item->body.len);
    if (item->body.len != 0) {
        memcpy(at + 20, item->body.at, item->body.len);
    }
    at += 20 + item->body.len;
    mq_be16_store(at, (uint16_t)item->properties.len);
    if (item->properties.len != 0) {
        memcpy(at + 2, item->properties.at, item->properties.len);
    }
    buf->len += bytes;
    return 0;
}
