/* What a connection has told about itself: hangs on net_channel.session from the first heartbeat until the channel
 * closes. Loop thread. */
#ifndef BROKER_SESSION_SESSION_H
#define BROKER_SESSION_SESSION_H

#include "remoting/net/channel.h"

struct member;
struct producer;

struct session {
    struct member *memberships; /* consumer_table's rows of this connection */
    struct producer *producers; /* producer_table's */
};

/* The session of @ch, made when missing. Returns NULL without memory. */
struct session *session_get(struct net_channel *ch);

static inline struct session *session_find(const struct net_channel *ch)
{
    return ch->session;
}

/* The channel closed and both tables have let go of it. */
void session_end(struct net_channel *ch);

#endif
