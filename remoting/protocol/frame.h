/* The frame of the remoting protocol:
 *
 *   0        4        8                8+H              4+L
 *   +--------+--------+----------------+----------------+
 *   |   L    |  S|H   |  header (H)    |   body (B)     |
 *   +--------+--------+----------------+----------------+
 *
 * L counts what follows it; the top byte of S|H is the encoding of the header. Source: RocketMQ's RemotingCommand,
 * NettyDecoder. */
#ifndef MQ_PROTOCOL_FRAME_H
#define MQ_PROTOCOL_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define PROTO_FRAME_MAX (16u << 20)   /* whole frame, 4 + L, as Java's default */
#define PROTO_HEADER_MAX (256u << 10) /* H; ours, far above what a client sends */

/* Tells from the first bytes of a frame how long it is. @length: 4 + L, set only on success.
 * Returns 0, MQ_EAGAIN (fewer than 4 bytes), or MQ_EBADMSG (L below 4, or the frame above PROTO_FRAME_MAX). */
int proto_frame_length(const uint8_t *bytes, size_t n, uint32_t *length);

#endif
