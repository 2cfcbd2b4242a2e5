/* A call: begin picks an opaque whose place in the table is free -> call enters it in the table and in the list of
 * deadlines -> the answer, the deadline or the end of the connection takes it out of both and calls back. */
#include "remoting/net/client.h"

#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define TABLE_FIRST 64u

static const struct net_conn_limits default_limits = {
    .pause_bytes = 8u << 20,
    .resume_bytes = 2u << 20,
    .close_bytes = 64u << 20,
};

static struct net_call **slot_of(const struct net_client *client, int32_t opaque)
{
    return &client->by_opaque[(uint32_t)opaque & (client->table_size - 1)];
}

/* The table is at most half full, and two calls whose opaques differ in the old size differ in the new one. */
static int reserve_slot(struct net_client *client)
{
    uint32_t size = client->table_size != 0 ? client->table_size * 2 : TABLE_FIRST;
    struct net_call **old = client->by_opaque;
    uint32_t old_size = client->table_size;
    struct net_call **table;

    if (client->calls_open >= NET_CLIENT_CALLS_MAX) {
        return MQ_EBUSY;
    }
    if (client->calls_open < old_size / 2) {
        return 0;
    }
    table = mq_calloc(size, sizeof(struct net_call *));
    if (table == NULL) {
        return MQ_ENOMEM;
    }
    client->by_opaque = table;
    client->table_size = size;
    for (uint32_t i = 0; i < old_size; i++) {
        if (old[i] != NULL) {
            *slot_of(client, old[i]->opaque) = old[i];
        }
    }
    mq_free(old);
    return 0;
}

static void step_opaque(struct net_client *client)
{
    client->next_opaque = client->next_opaque == INT32_MAX ? 0 : client->next_opaque + 1;
}

/* Nearly always the place is behind the last call. */
static void link_by_time(struct net_client *client, struct net_call *call)
{
    struct net_call **at = client->by_time_end;
    struct net_call *before;

    while (at != &client->by_time) {
        before = container_of(at, struct net_call, next);
        if (before->deadline_ms <= call->deadline_ms) {
            break;
        }
        at = before->prev;
    }
    call->prev = at;
    call->next = *at;
    *at = call;
    if (call->next != NULL) {
        call->next->prev = &call->next;
    } else {
        client->by_time_end = &call->next;
    }
}

static void unlink_call(struct net_client *client, struct net_call *call)
{
    *slot_of(client, call->opaque) = NULL;
    *call->prev = call->next;
    if (call->next != NULL) {
        call->next->prev = call->prev;
    } else {
        client->by_time_end = call->prev;
    }
    client->calls_open--;
}

static void on_timer(uv_timer_t *timer);

/* The timer may ring too early, when its call was answered, but never too late. */
static void arm_timer(struct net_client *client)
{
    uint64_t now_ms = uv_now(&client->loop->uv);
    uint64_t at_ms;

    if (client->by_time == NULL || client->closing) {
        return;
    }
    at_ms = client->by_time->deadline_ms;
    if (client->timer_at_ms == 0 || client->timer_at_ms > at_ms) {
        client->timer_at_ms = at_ms;
        uv_timer_start(&client->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct net_client *client = container_of(timer, struct net_client, timer);
    uint64_t now_ms = uv_now(&client->loop->uv);
    struct net_call *call;

    client->timer_at_ms = 0;
    while ((call = client->by_time) != NULL && call->deadline_ms <= now_ms) {
        unlink_call(client, call);
        call->cb(call, MQ_ETIMEDOUT, NULL);
    }
    arm_timer(client);
}

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    struct net_client *client = ch->data;
    struct net_call *call = NULL;

    if ((cmd->flag & PROTO_FLAG_RESPONSE) == 0) {
        if (client->ops->request != NULL) {
            client->ops->request(client, cmd);
        }
        return;
    }
    if (client->table_size != 0) {
        call = *slot_of(client, cmd->opaque);
    }
    if (call == NULL || call->opaque != cmd->opaque) {
        net_counters.stray_answers++;
        return;
    }
    unlink_call(client, call);
    call->cb(call, 0, cmd);
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

static void finish(struct net_client *client)
{
    if (client->closing && !client->timer_open && client->channel == NULL) {
        mq_free(client->by_opaque);
        client->by_opaque = NULL;
        client->table_size = 0;
        client->closed_cb(client);
    }
}

static void on_channel_closed(struct net_channel *ch, int reason)
{
    struct net_client *client = ch->data;
    struct net_call *call;

    net_channel_release(ch);
    if (client == NULL) {
        return; /* net_client_connect failed at once and told so */
    }
    client->connected = false;
    while ((call = client->by_time) != NULL) {
        unlink_call(client, call);
        call->cb(call, MQ_ECLOSED, NULL);
    }
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
    client->by_time_end = &client->by_time;
    uv_timer_init(&loop->uv, &client->timer);
    client->timer_open = true;
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
    struct proto_head head = {.code = code, .encoding = client->encoding};
    struct mq_buf *out;
    int rc;

    if (!is_open(client)) {
        return MQ_ECLOSED;
    }
    if (!oneway) {
        rc = reserve_slot(client);
        if (rc != 0) {
            return rc;
        }
        while (*slot_of(client, client->next_opaque) != NULL) {
            step_opaque(client);
        }
    }
    out = net_channel_out(client->channel);
    if (!is_open(client)) {
        return MQ_ENOMEM;
    }
    head.opaque = client->next_opaque;
    head.flag = oneway ? PROTO_FLAG_ONEWAY : 0;
    proto_begin(w, out, &head);
    return 0;
}

/* Ends the header and appends the body; on error the output is as it was at begin. */
static int end_frame(struct net_client *client, struct proto_writer *w, const void *body, size_t body_bytes)
{
    int rc;

    if (!is_open(client)) {
        return MQ_ECLOSED;
    }
    rc = proto_end(w, body_bytes);
    if (rc != 0) {
        return rc;
    }
    rc = mq_buf_put(w->out, body, body_bytes);
    if (rc != 0) {
        w->out->len = w->frame_at;
    }
    return rc;
}

int net_client_call(struct net_client *client, struct proto_writer *w, const void *body, size_t body_bytes,
                    struct net_call *call, uint32_t timeout_ms, net_call_cb cb)
{
    int rc = end_frame(client, w, body, body_bytes);

    if (rc != 0) {
        return rc;
    }
    call->cb = cb;
    call->client = client;
    call->opaque = client->next_opaque;
    call->deadline_ms = uv_now(&client->loop->uv) + (timeout_ms != 0 ? timeout_ms : 1);
    MQ_ASSERT(*slot_of(client, call->opaque) == NULL);
    *slot_of(client, call->opaque) = call;
    link_by_time(client, call);
    client->calls_open++;
    step_opaque(client);
    arm_timer(client);
    net_channel_out_done(client->channel);
    return 0;
}

int net_client_oneway(struct net_client *client, struct proto_writer *w, const void *body, size_t body_bytes)
{
    int rc = end_frame(client, w, body, body_bytes);

    if (rc != 0) {
        return rc;
    }
    step_opaque(client);
    net_channel_out_done(client->channel);
    return 0;
}

void net_client_disconnect(struct net_client *client)
{
    if (client->channel != NULL) {
        net_channel_close(client->channel, 0, true);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct net_client *client = container_of(handle, struct net_client, timer);

    client->timer_open = false;
    finish(client);
}

void net_client_close(struct net_client *client, void (*closed_cb)(struct net_client *))
{
    MQ_ASSERT(!client->closing);
    client->closing = true;
    client->closed_cb = closed_cb;
    net_client_disconnect(client);
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}
