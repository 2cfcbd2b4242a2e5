/* What a connection has told about itself: hangs on net_channel.session from the first heartbeat until the channel
 * closes. Loop thread. */
#ifndef BROKER_SESSION_SESSION_H
#define BROKER_SESSION_SESSION_H

#include "remoting/net/channel.h"
#include "remoting/protocol/body_client.h"

struct member;
struct producer;

struct session {
    struct member *memberships; /* consumer_table's rows of this connection */
    struct producer *producers; /* producer_table's */
    uint8_t language;           /* of its requests; PROTO_LANGUAGE_OTHER at first */
    int32_t version;
};

/* The session of @ch, made when missing. Returns NULL without memory. */
struct session *session_get(struct net_channel *ch);

static inline struct session *session_find(const struct net_channel *ch)
{
    return ch->session;
}

/* What the client writes its requests in. Returns 0 or MQ_ENOMEM. */
int session_note(struct net_channel *ch, uint8_t language, int32_t version);

/* Adds the connection under the name of @client_id (borrowed). Returns 0 or MQ_ENOMEM. */
int session_describe(const struct net_channel *ch, struct mq_str client_id, struct proto_connections *out);

/* The channel closed and both tables have let go of it. */
void session_end(struct net_channel *ch);

#endif
