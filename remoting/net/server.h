/* A listening port that accepts channels. */
#ifndef MQ_NET_SERVER_H
#define MQ_NET_SERVER_H

#include "remoting/net/channel.h"

#define NET_SERVER_CHANNELS_MAX 20000

struct net_server_ops {
    /* A client connected; may set ch->session. May be NULL. */
    void (*opened)(struct net_channel *ch);
    void (*command)(struct net_channel *ch, struct proto_command *cmd);
    void (*closed)(struct net_channel *ch, int reason);
};

struct net_server {
    struct net_loop *loop;
    const struct net_server_ops *ops;
    struct net_conn_limits limits;
    void *data; /* owner's; channels have data == this server */
    uv_tcp_t tcp;
    uv_tcp_t refuse; /* takes connections that we cannot keep, to close them */
    struct mq_log_limit refuse_log;
    struct net_channel *channels; /* list of the open ones */
    uint32_t count;
    int port; /* the one bound, also when 0 was asked */
    bool listening, refusing, waiting, closing;
    void (*closed_cb)(struct net_server *server);
};

/* The limits every port starts from: pause 8 MiB, resume 2 MiB, close 64 MiB, idle 120 s. */
extern const struct net_conn_limits net_server_default_limits;

/* Binds @host:@port and listens (backlog 1024). Returns 0 or a negative code (UV_EADDRINUSE, ...); after an error
 * nothing is open. Channels get TCP_NODELAY and SO_LINGER 0. */
int net_server_open(struct net_server *server, struct net_loop *loop, const char *host, int port,
                    const struct net_server_ops *ops, const struct net_conn_limits *limits);

/* Stops listening and closes all channels; @closed_cb comes when everything is gone. */
void net_server_close(struct net_server *server, bool orderly, void (*closed_cb)(struct net_server *));

#endif
