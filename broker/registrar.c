/* Happy path: connect -> register (id 0 when this node is the writable leader, its member number otherwise; version
 * {term, ...})
 * -> again every period. Failures: no connection, or it broke: tried again after 200 ms to 1 s; an answer other than
 * 0, or none within 3 s: one warning line, tried again after 1 s. What changes while a registration is under way goes
 * out right behind it.
 *
 * Only the leader sends its topics: name servers take them from id 0. A follower's table is empty, which also keeps
 * clear of the rule of stock name servers that refuses a first registration with exactly one topic. Sources:
 * RocketMQ's RouteInfoManager.registerBroker, RouteInfoManager.unregisterBroker, DataVersion. */
#include "broker/registrar.h"

#include "broker/processor/told.h"
#include "broker/processor/topic_description.h"
#include "remoting/base/assert.h"
#include "remoting/base/crc.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/base/log.h"
#include "remoting/net/client.h"
#include "remoting/protocol/body_register.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/headers.h"

#include <stdio.h>

#define SERVERS_MAX 16
#define CALL_TIMEOUT_MS 3000
#define RECONNECT_FIRST_MS 200
#define RECONNECT_MAX_MS 1000
#define RETRY_MS 1000
#define SOON_MS 50 /* between registrations because of topics */
#define ADDR_BYTES_MAX 300

struct name_server {
    struct registrar *registrar;
    struct net_client client;
    struct sockaddr_storage addr;
    char text[ADDR_BYTES_MAX];
    uv_timer_t again; /* connects when there is no connection, registers when there is one */
    uint32_t back_off_ms;
    struct net_call call;
    bool calling;         /* call is under way */
    bool changed;         /* something did meanwhile: register once more */
    bool warned;          /* its last attempt failed and was told */
    uint64_t sent, knows; /* changes of topics (told.h): what is under way to it, and what it has taken */
};

struct registrar {
    struct context *ctx;
    char addr[ADDR_BYTES_MAX];    /* brokerIP1:listenPort */
    char ha_addr[ADDR_BYTES_MAX]; /* the port behind it, as Java registers */
    struct name_server servers[SERVERS_MAX];
    uint32_t n;
    uint32_t asked; /* counted, to take turns */
    uv_timer_t period, soon;
    uint64_t soon_ms; /* when soon ended last */
    uint32_t open_handles;
    bool closing;
    void (*closed)(void *data);
    void *closed_data;
};

static void register_with(struct name_server *server);
static void on_again(uv_timer_t *timer);

static int64_t broker_id_of(const struct context *ctx)
{
    return context_writable(ctx) ? 0 : ctx->config->self;
}

static void warn_once(struct name_server *server, const char *what, int code)
{
    if (!server->warned) {
        server->warned = true;
        mq_log_warn("registrar", "name server %s: %s (%d %s)", server->text, what, code,
                    code < 0 ? mq_strerror(code) : "response code");
    }
}

/* Name servers that cannot be reached, or refuse us, are not waited for. */
static void settle(struct registrar *registrar)
{
    uint64_t known = told_last(registrar->ctx->told);

    for (uint32_t i = 0; i < registrar->n; i++) {
        const struct name_server *server = &registrar->servers[i];

        if (server->client.connected && !server->warned && server->knows < known) {
            known = server->knows;
        }
    }
    told_known(registrar->ctx->told, known);
}

static void retry_later(struct name_server *server)
{
    uv_timer_start(&server->again, on_again, RETRY_MS, 0);
}

static void on_registered(struct net_call *call, int status, struct proto_command *answer)
{
    struct name_server *server = call->data;

    server->calling = false;
    if (server->registrar->closing) {
        return;
    }
    if (status != 0) {
        warn_once(server, "registration was not answered", status);
    } else if (answer->code != RESP_SUCCESS) {
        warn_once(server, "registration was refused", answer->code);
    } else {
        server->knows = server->sent;
        if (server->warned) {
            server->warned = false;
            mq_log_info("registrar", "name server %s: registered again", server->text);
        }
    }
    settle(server->registrar);
    if (server->changed) {
        register_with(server);
    } else if (status != 0 || answer->code != RESP_SUCCESS) {
        retry_later(server);
    }
}

/* The topics as name servers are to see them: each perm cut by brokerPermission. */
static int encode_body(struct context *ctx, struct mq_buf *body)
{
    struct topic_description description;
    struct proto_topic_table empty = {.version.state_version = (int64_t)ctx->role.term};
    int rc;

    if (!context_writable(ctx)) {
        return proto_register_encode(body, &empty);
    }
    rc = topic_table_describe(ctx, &description);
    for (uint32_t i = 0; rc == 0 && i < description.table.topics.count; i++) {
        description.table.topics.items[i].perm &= (int32_t)ctx->config->permission | TOPIC_PERM_INHERIT;
    }
    rc = rc == 0 ? proto_register_encode(body, &description.table) : rc;
    topic_description_free(&description);
    return rc;
}

static int send_registration(struct name_server *server, const struct mq_buf *body)
{
    struct registrar *registrar = server->registrar;
    const struct broker_config *config = registrar->ctx->config;
    struct proto_register_broker_header header = {
        .broker_name = mq_str_of(config->broker_name),
        .broker_addr = mq_str_of(registrar->addr),
        .cluster_name = mq_str_of(config->cluster),
        .ha_addr = mq_str_of(registrar->ha_addr),
        .broker_id = broker_id_of(registrar->ctx),
        /* Three missed registrations, as the original's 120 s allow with its own period. */
        .heartbeat_timeout_ms = config->register_ms * 3 + 30000,
        .acting_master = MQ_STR("false"),
        .whole_table = context_writable(registrar->ctx), /* topics that are missing are gone */
        .body_crc32 = (int32_t)(mq_crc32(0, body->base, body->len) & 0x7fffffffu),
    };
    struct proto_writer w;
    int rc = net_client_begin(&server->client, &w, REQ_REGISTER_BROKER, false);

    if (rc != 0) {
        return rc;
    }
    proto_register_broker_header_encode(&w, &header);
    server->call.data = server;
    return net_client_call(&server->client, &w, body->base, body->len, &server->call, CALL_TIMEOUT_MS, on_registered);
}

static void register_with(struct name_server *server)
{
    struct mq_buf body = {0};
    int rc;

    if (server->registrar->closing || !server->client.connected) {
        return;
    }
    server->changed = server->calling;
    if (server->calling) {
        return;
    }
    rc = encode_body(server->registrar->ctx, &body);
    rc = rc == 0 ? send_registration(server, &body) : rc;
    mq_buf_free(&body);
    if (rc != 0) {
        warn_once(server, "registration could not be sent", rc);
        settle(server->registrar);
        retry_later(server);
        return;
    }
    server->sent = told_last(server->registrar->ctx->told);
    server->calling = true;
}

void registrar_now(struct registrar *registrar)
{
    for (uint32_t i = 0; i < registrar->n; i++) {
        register_with(&registrar->servers[i]);
    }
}

static void on_period(uv_timer_t *timer)
{
    registrar_now(timer->data);
}

static void on_soon(uv_timer_t *timer)
{
    struct registrar *registrar = timer->data;

    registrar->soon_ms = registrar->ctx->loop->now_ms;
    registrar_now(registrar);
}

void registrar_soon(struct registrar *registrar)
{
    uint64_t since_ms = registrar->ctx->loop->now_ms - registrar->soon_ms;

    if (registrar->closing) {
        return;
    }
    told_changed(registrar->ctx->told);
    settle(registrar);
    if (!uv_is_active((uv_handle_t *)&registrar->soon)) {
        uv_timer_start(&registrar->soon, on_soon, since_ms < SOON_MS ? SOON_MS - since_ms : 0, 0);
    }
}

/* --- routes --- */

static int ask(struct name_server *server, struct mq_str topic, struct net_call *call, uint32_t timeout_ms,
               net_call_cb cb)
{
    const struct proto_topic_header header = {.topic = topic, .accept_standard_json = true};
    struct proto_writer w;
    int rc = net_client_begin(&server->client, &w, REQ_GET_ROUTEINFO_BY_TOPIC, false);

    if (rc != 0) {
        return rc;
    }
    proto_topic_header_encode(&w, &header);
    return net_client_call(&server->client, &w, NULL, 0, call, timeout_ms, cb);
}

int registrar_ask_route(struct registrar *registrar, struct mq_str topic, struct net_call *call, uint32_t timeout_ms,
                        net_call_cb cb)
{
    uint32_t first = registrar->asked++;

    for (uint32_t i = 0; i < registrar->n && !registrar->closing; i++) {
        struct name_server *server = &registrar->servers[(first + i) % registrar->n];

        if (server->client.connected) {
            return ask(server, topic, call, timeout_ms, cb);
        }
    }
    return registrar->n == 0 ? MQ_ENOTFOUND : MQ_ECLOSED;
}

/* --- connections --- */

static void on_again(uv_timer_t *timer)
{
    struct name_server *server = timer->data;
    int rc = 0;

    if (server->client.connected) {
        register_with(server);
    } else if (server->client.channel == NULL) { /* otherwise an attempt is under way */
        rc = net_client_connect(&server->client, (const struct sockaddr *)&server->addr);
    }
    if (rc != 0) {
        warn_once(server, "cannot connect", rc);
        retry_later(server);
    }
}

static void on_connected(struct net_client *client, int status)
{
    struct name_server *server = client->data;

    if (status != 0) {
        warn_once(server, "cannot connect", status);
        return; /* closed follows */
    }
    server->back_off_ms = RECONNECT_FIRST_MS;
    register_with(server);
}

static void on_closed(struct net_client *client, int reason)
{
    struct name_server *server = client->data;

    if (server->registrar->closing) {
        return;
    }
    if (reason != 0) {
        warn_once(server, "connection lost", reason);
    }
    settle(server->registrar);
    uv_timer_start(&server->again, on_again, server->back_off_ms, 0);
    server->back_off_ms = server->back_off_ms * 2 > RECONNECT_MAX_MS ? RECONNECT_MAX_MS : server->back_off_ms * 2;
}

static const struct net_client_ops client_ops = {.connected = on_connected, .closed = on_closed};

static int add_server(struct registrar *registrar, const char *text, size_t n, struct mq_buf *problem)
{
    struct name_server *server = &registrar->servers[registrar->n];
    struct net_loop *loop = registrar->ctx->loop;
    int rc;

    if (registrar->n == SERVERS_MAX || n >= sizeof(server->text)) {
        (void)mq_buf_printf(problem, "namesrvAddr: more than %d addresses, or one longer than %zu bytes\n",
                            SERVERS_MAX, sizeof(server->text) - 1);
        return MQ_EINVAL;
    }
    memcpy(server->text, text, n);
    server->text[n] = '\0';
    rc = net_addr_parse(server->text, &server->addr);
    if (rc != 0) {
        (void)mq_buf_printf(problem, "namesrvAddr: \"%s\": %s\n", server->text, mq_strerror(rc));
        return rc;
    }
    server->registrar = registrar;
    server->back_off_ms = RECONNECT_FIRST_MS;
    rc = net_client_init(&server->client, loop, &client_ops, NULL);
    if (rc != 0) {
        return rc;
    }
    server->client.data = server;
    uv_timer_init(&loop->uv, &server->again);
    server->again.data = server;
    registrar->n++;
    registrar->open_handles += 2;
    uv_timer_start(&server->again, on_again, 0, 0);
    return 0;
}

static void nothing(void *data)
{
    (void)data;
}

int registrar_new(struct context *ctx, int listen_port, struct registrar **out, struct mq_buf *problem)
{
    struct registrar *registrar = mq_calloc(1, sizeof(*registrar));
    const char *at = ctx->config->namesrv;
    int rc = 0;

    if (registrar == NULL) {
        return MQ_ENOMEM;
    }
    registrar->ctx = ctx;
    snprintf(registrar->addr, sizeof(registrar->addr), "%s:%d", ctx->config->ip, listen_port);
    snprintf(registrar->ha_addr, sizeof(registrar->ha_addr), "%s:%d", ctx->config->ip, listen_port + 1);
    uv_timer_init(&ctx->loop->uv, &registrar->period);
    uv_timer_init(&ctx->loop->uv, &registrar->soon);
    registrar->period.data = registrar;
    registrar->soon.data = registrar;
    registrar->open_handles = 2;
    while (rc == 0 && *at != '\0') {
        size_t n = strcspn(at, ";");

        rc = n > 0 ? add_server(registrar, at, n, problem) : 0;
        at += n + (at[n] == ';');
    }
    if (rc != 0) {
        registrar_free(registrar, nothing, NULL);
        return rc;
    }
    uv_timer_start(&registrar->period, on_period, (uint64_t)ctx->config->register_ms,
                   (uint64_t)ctx->config->register_ms);
    *out = registrar;
    return 0;
}

/* --- closing --- */

static void handle_closed(struct registrar *registrar)
{
    if (--registrar->open_handles == 0) {
        void (*closed)(void *) = registrar->closed;
        void *data = registrar->closed_data;

        mq_free(registrar);
        closed(data);
    }
}

static void on_client_gone(struct net_client *client)
{
    handle_closed(((struct name_server *)client->data)->registrar);
}

static void on_again_gone(uv_handle_t *handle)
{
    handle_closed(((struct name_server *)handle->data)->registrar);
}

static void on_timer_gone(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

static void unregister_from(struct name_server *server)
{
    struct registrar *registrar = server->registrar;
    const struct broker_config *config = registrar->ctx->config;
    struct proto_unregister_broker_header header = {
        .broker_name = mq_str_of(config->broker_name),
        .broker_addr = mq_str_of(registrar->addr),
        .cluster_name = mq_str_of(config->cluster),
        .broker_id = broker_id_of(registrar->ctx),
    };
    struct proto_writer w;

    if (server->client.connected && net_client_begin(&server->client, &w, REQ_UNREGISTER_BROKER, true) == 0) {
        proto_unregister_broker_header_encode(&w, &header);
        (void)net_client_oneway(&server->client, &w, NULL, 0);
    }
}

void registrar_free(struct registrar *registrar, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!registrar->closing);
    registrar->closing = true;
    registrar->closed = closed;
    registrar->closed_data = data;
    for (uint32_t i = 0; i < registrar->n; i++) {
        struct name_server *server = &registrar->servers[i];

        unregister_from(server);
        uv_close((uv_handle_t *)&server->again, on_again_gone);
        net_client_close(&server->client, on_client_gone);
    }
    uv_close((uv_handle_t *)&registrar->period, on_timer_gone);
    uv_close((uv_handle_t *)&registrar->soon, on_timer_gone);
}
