/* Single requests to one address (rmq_ask): each is an allocation of its own that waits for a connection if need be.
 */
#ifndef CLIENT_ASK_H
#define CLIENT_ASK_H

#include "client/broker_link.h"

/* Sends what waits on @link, which has a connection now. */
void ask_flush(struct broker_link *link);

/* Answers what waits on @link with @status. */
void ask_fail_all(struct broker_link *link, int status);

/* Answers what waited on @link for longer than it may. Returns true when something still waits. */
bool ask_tick(struct broker_link *link);

#endif
