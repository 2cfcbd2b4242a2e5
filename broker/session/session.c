#include "broker/session/session.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/command.h"

#include <stdio.h>

struct session *session_get(struct net_channel *ch)
{
    struct session *session = ch->session;

    if (session == NULL) {
        session = mq_calloc(1, sizeof(*session));
        if (session == NULL) {
            return NULL;
        }
        session->language = PROTO_LANGUAGE_OTHER;
        ch->session = session;
    }
    return session;
}

int session_note(struct net_channel *ch, uint8_t language, int32_t version)
{
    struct session *session = session_get(ch);

    if (session == NULL) {
        return MQ_ENOMEM;
    }
    session->language = language;
    session->version = version;
    return 0;
}

int session_describe(const struct net_channel *ch, struct mq_str client_id, struct proto_connections *out)
{
    const struct session *session = session_find(ch);
    struct proto_connection *connection = proto_connections_add(out);

    if (connection == NULL) {
        return MQ_ENOMEM;
    }
    snprintf(connection->addr, sizeof(connection->addr), "%s",
             net_addr_text((const struct sockaddr *)&ch->conn.peer));
    connection->client_id = client_id;
    connection->language = session != NULL ? session->language : PROTO_LANGUAGE_OTHER;
    connection->version = session != NULL ? session->version : 0;
    return 0;
}

void session_end(struct net_channel *ch)
{
    struct session *session = ch->session;

    if (session != NULL) {
        MQ_ASSERT(session->memberships == NULL && session->producers == NULL);
        mq_free(session);
        ch->session = NULL;
    }
}
