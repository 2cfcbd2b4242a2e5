#include "remoting/net/channel.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/frame.h"

#include <inttypes.h>

/* The rest of a frame above this is read right behind its first part; below it the first part is copied in front of
 * the next read, which then brings the frames behind it too. */
#define PART_DIRECT (64u << 10)
#define PART_ROOM_MIN (16u << 10) /* less room than this is not worth a read */
#define PART_KEEP (4u << 10)      /* what an idle channel may hold */

_Thread_local struct net_counters net_counters;

static struct net_channel *channel_of(struct net_conn *conn)
{
    return container_of(conn, struct net_channel, conn);
}

/* Room for more of a frame of @length bytes whose beginning is in part. The buffer follows what has really arrived.
 */
static void room_in_part(struct net_channel *ch, uint32_t length, uint8_t **base, size_t *bytes)
{
    struct mq_buf *part = &ch->part;
    size_t missing = length - part->len;
    size_t extra = part->len > PART_DIRECT ? part->len : PART_DIRECT;

    extra = extra < missing ? extra : missing;
    if (part->cap - part->len < missing && part->cap - part->len < PART_ROOM_MIN) {
        mq_buf_reserve(part, extra); /* without memory the room there is has to do */
    }
    *base = part->base + part->len;
    *bytes = part->cap - part->len < missing ? part->cap - part->len : missing;
    ch->in_part = true;
}

static void on_room(struct net_conn *conn, uint8_t **base, size_t *bytes)
{
    struct net_channel *ch = channel_of(conn);
    struct mq_buf *part = &ch->part;
    uint8_t *shared = conn->loop->read_buffer;
    uint32_t length;

    if (part->len != 0) {
        if (proto_frame_length(part->base, part->len, &length) == 0 && length > PART_DIRECT) {
            room_in_part(ch, length, base, bytes);
            return;
        }
        memcpy(shared, part->base, part->len);
    }
    ch->in_part = false;
    *base = shared + part->len;
    *bytes = NET_READ_BYTES - part->len;
}

/* Whatever broke the protocol, the connection ends for MQ_EBADMSG. */
static int refuse_frame(struct net_channel *ch, int rc, const uint8_t *bytes, size_t n)
{
    net_counters.bad_frames++;
    mq_log_limited(&ch->conn.loop->bad_log, MQ_LOG_WARN, "conn",
                   "closed, bad frame peer=%s cause=\"%s\" length_word=%08" PRIx32 " held=%zu",
                   net_addr_text((struct sockaddr *)&ch->conn.peer), mq_strerror(rc), mq_be32_load(bytes), n);
    return MQ_EBADMSG;
}

/* Hands up every whole frame in @n bytes at @bytes and tells how many bytes they took. Stops early when the channel
 * is closed or paused inside. */
static int decode_frames(struct net_channel *ch, uint8_t *bytes, size_t n, size_t *used)
{
    struct proto_command cmd;
    uint32_t length;
    int rc;

    *used = 0;
    while (!ch->conn.paused && !ch->conn.closing) {
        rc = proto_frame_length(bytes + *used, n - *used, &length);
        if (rc == MQ_EAGAIN || (rc == 0 && length > n - *used)) {
            break;
        }
        if (rc == 0) {
            rc = proto_command_decode(bytes + *used, length, &cmd);
        }
        if (rc != 0) {
            return refuse_frame(ch, rc, bytes + *used, n - *used);
        }
        *used += length;
        net_counters.frames_in++;
        ch->ops->command(ch, &cmd);
    }
    return 0;
}

/* Decodes what part holds and keeps the rest there. */
static int decode_part(struct net_channel *ch)
{
    size_t used;
    int rc = decode_frames(ch, ch->part.base, ch->part.len, &used);

    if (rc != 0 || used == 0) {
        return rc;
    }
    mq_buf_consume(&ch->part, used);
    if (ch->part.len == 0 && ch->part.cap > PART_KEEP) {
        mq_buf_free(&ch->part);
    }
    return 0;
}

static int on_read(struct net_conn *conn, size_t n)
{
    struct net_channel *ch = channel_of(conn);
    struct mq_buf *part = &ch->part;
    uint8_t *shared = conn->loop->read_buffer;
    size_t have = part->len + n;
    size_t used;
    int rc;

    net_counters.bytes_in += n;
    if (ch->in_part) {
        part->len = have;
        return decode_part(ch);
    }
    rc = decode_frames(ch, shared, have, &used);
    if (rc != 0 || conn->closing) {
        return rc;
    }
    if (used == 0) {
        return mq_buf_put(part, shared + part->len, n);
    }
    part->len = 0;
    if (part->cap > PART_KEEP && have - used <= PART_KEEP) {
        mq_buf_free(part);
    }
    return have == used ? 0 : mq_buf_put(part, shared + used, have - used);
}

static void on_drained(struct net_conn *conn)
{
    struct net_channel *ch = channel_of(conn);
    int rc = ch->part.len != 0 ? decode_part(ch) : 0;

    if (rc != 0) {
        net_conn_close(conn, rc, true);
    }
}

static void on_connected(struct net_conn *conn, int status)
{
    struct net_channel *ch = channel_of(conn);

    if (ch->ops->connected != NULL) {
        ch->ops->connected(ch, status);
    }
}

static void on_wrote(struct net_conn *conn, size_t n)
{
    (void)conn;
    net_counters.bytes_out += n;
}

/* Nothing refers to the channel from outside, and no handle of it is open. */
static void free_unused(struct net_channel *ch)
{
    if (ch->refs == 0 && ch->conn.open_handles == 0) {
        mq_buf_free(&ch->part);
        mq_free(ch);
    }
}

static void on_closed(struct net_conn *conn, int reason)
{
    struct net_channel *ch = channel_of(conn);

    ch->dead = true;
    mq_buf_free(&ch->part);
    if (reason == MQ_ETIMEDOUT) {
        net_counters.idle_closed++;
    } else if (reason == MQ_ETOOBIG) {
        net_counters.slow_closed++;
    }
    ch->refs++; /* the owner may release its own inside */
    ch->ops->closed(ch, reason);
    net_channel_release(ch);
}

static const struct net_conn_ops conn_ops = {
    .connected = on_connected,
    .room = on_room,
    .read = on_read,
    .drained = on_drained,
    .closed = on_closed,
    .wrote = on_wrote,
};

int net_channel_new(struct net_loop *loop, const struct net_channel_ops *ops, const struct net_conn_limits *limits,
                    struct net_channel **out)
{
    struct net_channel *ch = mq_calloc(1, sizeof(*ch));
    int rc;

    if (ch == NULL) {
        return MQ_ENOMEM;
    }
    rc = net_conn_init(&ch->conn, loop, &conn_ops, limits);
    if (rc != 0) {
        mq_free(ch);
        return rc;
    }
    ch->ops = ops;
    ch->refs = 1;
    *out = ch;
    return 0;
}

struct net_channel *net_channel_acquire(struct net_channel *ch)
{
    ch->refs++;
    return ch;
}

void net_channel_release(struct net_channel *ch)
{
    MQ_ASSERT(ch->refs > 0);
    ch->refs--;
    free_unused(ch);
}

void net_channel_close(struct net_channel *ch, int reason, bool orderly)
{
    net_conn_close(&ch->conn, reason, orderly);
}
