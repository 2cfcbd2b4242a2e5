#include "remoting/net/client.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

static const struct net_conn_limits default_limits = {
    .pause_bytes = 8u << 20,
    .resume_bytes = 2u << 20,
    .close_bytes = 64u << 20,
};

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct net_client *client = ch->data;

    if ((cmd->flag & PROTO_FLAG_RESPONSE) != 0) {
        net_calls_take(&client->calls, ch, cmd);
    } else if (client->ops->request != NULL) {
        client->ops->request(client, cmd);
    }
}

static void on_connected(struct net_channel *ch, int status)
{
    struct net_client *client = ch->data;

    if (status == 0) {
        client->connected = true;
        status = net_conn_start(&ch->conn);
        if (status != 0) {
            client->connected = false;
            net_channel_close(ch, status, false);
        }
    }
    if (client->ops->connected != NULL) {
        client->ops->connected(client, status);
    }
}

/* The channel has to be gone first: its end ends the calls. */
static void on_calls_closed(struct net_calls *calls)
{
    struct net_client *client = container_of(calls, struct net_client, calls);

    client->closed_cb(client);
}

static void finish(struct net_client *client)
{
    if (client->closing && client->channel == NULL && !client->calls.closing) {
        net_calls_close(&client->calls, on_calls_closed);
    }
}

static void on_channel_closed(struct net_channel *ch, int reason)
{
    struct net_client *client = ch->data;

    net_channel_release(ch);
    if (client == NULL) {
        return; /* net_client_connect failed at once and told so */
    }
    client->connected = false;
    net_calls_channel_closed(&client->calls, ch);
    client->channel = NULL;
    if (client->ops->closed != NULL) {
        client->ops->closed(client, reason);
    }
    finish(client);
}

static const struct net_channel_ops channel_ops = {
    .command = on_command,
    .connected = on_connected,
    .closed = on_channel_closed,
};

int net_client_init(struct net_client *client, struct net_loop *loop, const struct net_client_ops *ops,
                    const struct net_conn_limits *limits)
{
    void *data = client->data;

    *client = (struct net_client){.loop = loop, .ops = ops, .data = data};
    client->limits = limits != NULL ? *limits : default_limits;
    net_calls_init(&client->calls, loop, NET_CLIENT_CALLS_MAX, NET_CLIENT_CALLS_MAX);
    return 0;
}

int net_client_connect(struct net_client *client, const struct sockaddr *addr)
{
    struct net_channel *ch;
    int rc;

    if (client->closing) {
        return MQ_ECLOSED;
    }
    if (client->channel != NULL) {
        return MQ_EBUSY;
    }
    rc = net_channel_new(client->loop, &channel_ops, &client->limits, &ch);
    if (rc != 0) {
        return rc;
    }
    rc = net_conn_connect(&ch->conn, addr, false);
    if (rc != 0) {
        return rc; /* on_channel_closed frees it */
    }
    ch->data = client;
    client->channel = ch;
    return 0;
}

static bool is_open(const struct net_client *client)
{
    return client->connected && !client->channel->conn.closing;
}

int net_client_begin(struct net_client *client, struct proto_writer *w, int32_t code, bool oneway)
{
    if (!is_open(client)) {
        return MQ_ECLOSED;
    }
    return net_calls_begin(&client->calls, client->channel, w, code, client->encoding, oneway);
}

int net_client_call(struct net_client *client, struct proto_writer *w, const void *body, size_t body_bytes,
                    struct net_call *call, uint32_t timeout_ms, net_call_cb cb)
{
    if (!is_open(client)) {
        return MQ_ECLOSED;
    }
    return net_calls_send(&client->calls, client->channel, w, body, body_bytes, call, timeout_ms, cb);
}

int net_client_oneway(struct net_client *client, struct proto_writer *w, const void *body, size_t body_bytes)
{
    if (!is_open(client)) {
        return MQ_ECLOSED;
    }
    return net_calls_oneway(&client->calls, client->channel, w, body, body_bytes);
}

void net_client_disconnect(struct net_client *client)
{
    if (client->channel != NULL) {
        net_channel_close(client->channel, 0, true);
    }
}

void net_client_close(struct net_client *client, void (*closed_cb)(struct net_client *))
{
    MQ_ASSERT(!client->closing);
    client->closing = true;
    client->closed_cb = closed_cb;
    if (client->channel != NULL) {
        net_client_disconnect(client);
    } else {
        finish(client);
    }
}
