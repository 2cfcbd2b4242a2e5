#include "broker/session/session.h"

#include "remoting/base/assert.h"
#include "remoting/base/heap.h"

struct session *session_get(struct net_channel *ch)
{
    if (ch->session == NULL) {
        ch->session = mq_calloc(1, sizeof(struct session));
    }
    return ch->session;
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
