/* The connections to one address, made when they are wanted and made again after a loss, and the single requests that
 * wait for one. */
#ifndef CLIENT_BROKER_LINK_H
#define CLIENT_BROKER_LINK_H

#include "remoting/net/client.h"

#include <sys/queue.h>

#define LINK_RETRY_MS 20     /* least time between two attempts of one connection */
#define LINK_CONNECT_MS 1000 /* an attempt that takes longer has failed */
#define LINK_ADDR_MAX 263    /* characters: a DNS name, a colon and a port */
#define LINKS_MAX 4096       /* addresses of one client */

struct rmq_client;
struct broker_link;

struct link_lane {
    struct net_client net;
    struct broker_link *link;
    uint64_t retry_ms; /* no attempt before */
    bool connecting, was_up;
};

struct link_ask;
TAILQ_HEAD(link_ask_list, link_ask);

struct broker_link {
    struct broker_link *next;
    struct rmq_client *client;
    char addr[LINK_ADDR_MAX + 1];
    struct sockaddr_storage sockaddr;
    struct link_lane *lanes; /* owned */
    uint32_t n_lanes;
    uint32_t up;         /* lanes that are connected */
    uint32_t connecting; /* lanes that try */
    uint32_t turn;
    uint32_t open;             /* lanes whose end was not told yet */
    bool probing;              /* a send is under way that finds out whether this member leads */
    uint64_t probe_ms;         /* no further one before */
    struct link_ask_list asks; /* waiting for a connection */
};

/* Finds or makes the link of "host:port". Returns 0, MQ_EINVAL or a libuv error (not an address), MQ_ETOOBIG
 * (LINKS_MAX) or MQ_ENOMEM. */
int broker_link_get(struct rmq_client *client, const char *addr, struct broker_link **out);

/* Starts connecting what is not connected, as far as LINK_RETRY_MS lets it. */
void broker_link_want(struct broker_link *link);

/* A connected client: lane number @lane if that is up (1 is the first), else the next one in turn. NULL when none is.
 */
struct net_client *broker_link_net(struct broker_link *link, uint32_t lane);

/* Closes all connections; client_link_closed follows. */
void broker_link_close(struct broker_link *link);
void client_link_closed(struct rmq_client *client, struct broker_link *link);
void broker_link_free(struct broker_link *link);

#endif
