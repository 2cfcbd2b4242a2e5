/* Assembly: the port, the tables, and the timer that looks at liveness. */
#include "namesrv/dispatch.h"

#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#include <inttypes.h>

/* A client that does not read its answers costs at most this. The largest answer is one frame (16 MiB). */
#define PAUSE_BYTES (1u << 20)
#define RESUME_BYTES (256u << 10)
#define CLOSE_BYTES (32u << 20)

static struct namesrv *namesrv_of(struct net_channel *ch)
{
    return container_of((struct net_server *)ch->data, struct namesrv, server);
}

static void on_opened(struct net_channel *ch)
{
    struct namesrv *srv = namesrv_of(ch);

    ch->session = (void *)(uintptr_t)++srv->last_conn; /* a number, see namesrv_conn */
}

static void on_command(struct net_channel *ch, struct proto_command *cmd)
{
    dispatch_command(namesrv_of(ch), ch, cmd);
}

static void on_closed(struct net_channel *ch, int reason)
{
    struct namesrv *srv = namesrv_of(ch);

    (void)reason;
    route_table_disconnected(srv->routes, namesrv_conn(ch), mq_clock_mono_ms());
}

static const struct net_server_ops server_ops = {.opened = on_opened, .command = on_command, .closed = on_closed};

/* A broker that went silent is dropped with its connection, so that it notices and registers again. */
static void on_silent(void *data, uint64_t conn)
{
    struct namesrv *srv = data;

    for (struct net_channel *ch = srv->server.channels; ch != NULL; ch = ch->next) {
        if (namesrv_conn(ch) == conn) {
            net_channel_close(ch, MQ_ETIMEDOUT, false);
            return;
        }
    }
}

static void on_scan(uv_timer_t *timer)
{
    struct namesrv *srv = container_of(timer, struct namesrv, scan);

    route_table_expire(srv->routes, mq_clock_mono_ms(), on_silent, srv);
}

static int open_tables(struct namesrv *srv, struct mq_buf *problem)
{
    const struct route_rules rules = {
        .timeout_ms = (uint64_t)srv->config->broker_timeout_ms,
        .grace_ms = (uint64_t)srv->config->master_grace_ms,
        .whole_tables = srv->config->whole_tables,
    };
    const char *path = srv->config->kv_config_path;
    int rc = kv_table_open(path != NULL && path[0] != '\0' ? path : NULL, &srv->kv, problem);

    if (rc != 0) {
        return rc;
    }
    rc = route_table_new(&rules, &srv->routes);
    if (rc != 0) {
        kv_table_free(srv->kv);
    }
    return rc;
}

static int open_port(struct namesrv *srv, struct mq_buf *problem)
{
    const struct net_conn_limits limits = {
        .pause_bytes = PAUSE_BYTES,
        .resume_bytes = RESUME_BYTES,
        .close_bytes = CLOSE_BYTES,
        .idle_ms = (uint32_t)srv->config->idle_seconds * 1000,
    };
    int rc = net_server_open(&srv->server, srv->loop, srv->config->bind_address, (int)srv->config->listen_port,
                             &server_ops, &limits);

    if (rc != 0) {
        int put_rc = mq_buf_printf(problem, "cannot listen on %s:%" PRId64 ": %s\n", srv->config->bind_address,
                                   srv->config->listen_port, mq_strerror(rc));

        return put_rc != 0 ? put_rc : rc;
    }
    return 0;
}

int namesrv_open(struct net_loop *loop, const struct namesrv_config *config, struct namesrv **out,
                 struct mq_buf *problem)
{
    struct namesrv *srv = mq_calloc(1, sizeof(*srv));
    int rc;

    if (srv == NULL) {
        return MQ_ENOMEM;
    }
    srv->loop = loop;
    srv->config = config;
    srv->started_ms = mq_clock_mono_ms();
    rc = open_tables(srv, problem);
    if (rc != 0) {
        goto err_after_alloc;
    }
    rc = open_port(srv, problem);
    if (rc != 0) {
        goto err_after_tables;
    }
    /* Neither fails: libuv only fills the handle, and links it into its heap. */
    uv_timer_init(&loop->uv, &srv->scan);
    uv_timer_start(&srv->scan, on_scan, (uint64_t)config->scan_ms, (uint64_t)config->scan_ms);
    *out = srv;
    return 0;

err_after_tables:
    route_table_free(srv->routes);
    kv_table_free(srv->kv);
err_after_alloc:
    mq_free(srv);
    return rc;
}

int namesrv_port(const struct namesrv *server)
{
    return server->server.port;
}

static void part_closed(struct namesrv *srv)
{
    void (*closed)(void *data) = srv->closed;
    void *data = srv->closed_data;

    if (--srv->open_parts != 0) {
        return;
    }
    route_table_free(srv->routes);
    kv_table_free(srv->kv);
    mq_buf_free(&srv->unsent);
    mq_free(srv);
    closed(data);
}

static void on_scan_closed(uv_handle_t *handle)
{
    part_closed(container_of((uv_timer_t *)handle, struct namesrv, scan));
}

static void on_server_closed(struct net_server *server)
{
    part_closed(container_of(server, struct namesrv, server));
}

void namesrv_close(struct namesrv *server, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(server->closed == NULL);
    server->closed = closed;
    server->closed_data = data;
    server->open_parts = 2;
    uv_close((uv_handle_t *)&server->scan, on_scan_closed);
    net_server_close(&server->server, true, on_server_closed);
}
