/* The calling end of a channel: requests out, answers matched by opaque, each with a deadline; requests from the peer
 * are handed up. One net_client is one connection to one address; who wants it again after a loss calls
 * net_client_connect again. */
#ifndef MQ_NET_CLIENT_H
#define MQ_NET_CLIENT_H

#include "remoting/net/calls.h"

#define NET_CLIENT_CALLS_MAX 65536

struct net_client;

struct net_client_ops {
    /* 0: calls may be made. Else the attempt failed and closed follows. */
    void (*connected)(struct net_client *client, int status);
    /* A request from the peer; answer through net_client_channel. May be NULL: unknown requests are dropped. */
    void (*request)(struct net_client *client, struct proto_command *cmd);
    /* The connection is gone; all calls have been answered with MQ_ECLOSED. connect may be called again here. */
    void (*closed)(struct net_client *client, int reason);
};

struct net_client {
    struct net_loop *loop;
    const struct net_client_ops *ops;
    void *data; /* owner's */
    struct net_conn_limits limits;
    struct net_channel *channel; /* NULL when not connected */
    bool connected;
    bool closing;
    struct net_calls calls;
    void (*closed_cb)(struct net_client *client);
    enum proto_encoding encoding; /* of requests */
};

/* Returns 0 or a negative code. @limits NULL: defaults without idle limit. */
int net_client_init(struct net_client *client, struct net_loop *loop, const struct net_client_ops *ops,
                    const struct net_conn_limits *limits);

/* Starts connecting. Returns 0 (connected comes, or closed) or a negative code (nothing follows): MQ_EBUSY while
 * there is a connection that closed did not tell the end of, MQ_ECLOSED after net_client_close. */
int net_client_connect(struct net_client *client, const struct sockaddr *addr);

/* Begins a request: the writer is set up on the connection's output with a fresh opaque. Then write fields, then
 * net_client_call or net_client_oneway, which end the header; nothing else may be written between. Returns 0,
 * MQ_ECLOSED (not connected), MQ_EBUSY (NET_CLIENT_CALLS_MAX calls open) or MQ_ENOMEM. */
int net_client_begin(struct net_client *client, struct proto_writer *w, int32_t code, bool oneway);

/* Sends what net_client_begin began, with a body that is copied. Returns 0 or a negative code (nothing was sent, no
 * callback follows). The callback never runs inside. */
int net_client_call(struct net_client *client, struct proto_writer *w, const void *body, size_t body_bytes,
                    struct net_call *call, uint32_t timeout_ms, net_call_cb cb);
int net_client_oneway(struct net_client *client, struct proto_writer *w, const void *body, size_t body_bytes);

/* Closes the connection if there is one (calls get MQ_ECLOSED); the client may connect again. */
void net_client_disconnect(struct net_client *client);

/* Ends the client for good; @closed_cb comes when its memory is free to go. */
void net_client_close(struct net_client *client, void (*closed_cb)(struct net_client *));

#endif
