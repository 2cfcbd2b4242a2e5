/* A channel is a connection that carries commands, at either end. It cuts the byte stream into frames, decodes them
 * and hands each command up; output is written through frames appended to net_channel_out.
 *
 * A frame that breaks the protocol closes the channel: one counted, rate-limited log line names peer and cause.
 * Memory: a partial frame is kept in the channel's own buffer; everything else lives in the loop's read buffer. While
 * unwritten output is above pause_bytes nothing is read, and frames that were read already wait in the channel's
 * buffer, so a peer that does not read stops being served. */
#ifndef MQ_NET_CHANNEL_H
#define MQ_NET_CHANNEL_H

#include "remoting/net/conn.h"
#include "remoting/protocol/command.h"

struct net_channel;

struct net_channel_ops {
    /* One command; its slices are valid until the call returns. The channel may be closed inside. */
    void (*command)(struct net_channel *ch, struct proto_command *cmd);
    void (*connected)(struct net_channel *ch, int status); /* outgoing only */
    /* Nothing more comes; references that others hold stay valid memory until released. */
    void (*closed)(struct net_channel *ch, int reason);
};

struct net_channel {
    struct net_conn conn;
    const struct net_channel_ops *ops;
    void *data;                       /* owner's */
    void *session;                    /* second owner's: what the broker knows of this client; NULL at first */
    struct mq_buf part;               /* bytes of a frame that is not whole yet */
    struct net_channel *next, **prev; /* owner's list */
    struct net_call *calls;           /* calls.c's: requests to this peer that wait for their answers */
    uint32_t calls_open;
    uint32_t refs;
    bool in_part; /* the running read goes to part, not to the loop's buffer */
    bool dead;    /* closed was called */
    bool opened;  /* server.c's: the owner knows of it */
};

/* Makes an unconnected channel with one reference, which belongs to the caller. */
int net_channel_new(struct net_loop *loop, const struct net_channel_ops *ops, const struct net_conn_limits *limits,
                    struct net_channel **out);

/* Counted, on the loop's thread. The memory goes with the last one, never before closed. */
struct net_channel *net_channel_acquire(struct net_channel *ch);
void net_channel_release(struct net_channel *ch);

/* The buffer to append whole frames to, and the word that one was appended. A dead channel takes and drops them. */
static inline struct mq_buf *net_channel_out(struct net_channel *ch)
{
    return net_conn_out(&ch->conn);
}

static inline void net_channel_out_done(struct net_channel *ch)
{
    net_conn_out_done(&ch->conn);
}

void net_channel_close(struct net_channel *ch, int reason, bool orderly);

/* Counters of all channels of the calling thread's loop. accepted less closed is what servers have open. */
struct net_counters {
    uint64_t accepted, closed, frames_in, bytes_in, bytes_out;
    uint64_t bad_frames; /* channels closed because of what they sent */
    uint64_t idle_closed, slow_closed;
    uint64_t refused;       /* connections over NET_SERVER_CHANNELS_MAX or without memory for them */
    uint64_t stray_answers; /* answers to no open call: late, or never asked for */
};
extern _Thread_local struct net_counters net_counters;

#endif
