/* A link: wanted -> connecting -> up, or down (told once all its lanes failed) -> wanted again by whoever still needs
 * it. */
#include "client/broker_link.h"

#include "client/ask.h"
#include "client/instance.h"
#include "remoting/base/assert.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

static const struct net_conn_limits lane_limits = {
    .pause_bytes = 32u << 20, /* sends are bounded by the callers' windows; what comes in is read in any case */
    .resume_bytes = 8u << 20,
    .close_bytes = 256u << 20,
    .connect_ms = LINK_CONNECT_MS,
};

static struct link_lane *lane_of(struct net_client *net)
{
    return container_of(net, struct link_lane, net);
}

static void on_connected(struct net_client *net, int status)
{
    struct link_lane *lane = lane_of(net);
    struct broker_link *link = lane->link;

    lane->connecting = false;
    link->connecting--;
    if (status != 0) {
        return; /* on_lost follows */
    }
    lane->was_up = true;
    link->up++;
    ask_flush(link);
    client_link_up(link->client, link);
}

static void on_lost(struct net_client *net, int reason)
{
    struct link_lane *lane = lane_of(net);
    struct broker_link *link = lane->link;

    (void)reason;
    if (lane->connecting) { /* closed before the outcome was known */
        lane->connecting = false;
        link->connecting--;
    } else if (lane->was_up) {
        link->up--;
    }
    lane->was_up = false;
    lane->retry_ms = client_now_ms(link->client) + LINK_RETRY_MS;
    if (link->up == 0 && link->connecting == 0) {
        ask_fail_all(link, MQ_ECLOSED);
        client_link_down(link->client, link);
    }
}

static const struct net_client_ops lane_ops = {.connected = on_connected, .closed = on_lost};

static int open_lanes(struct broker_link *link, uint32_t n)
{
    link->lanes = mq_calloc(n, sizeof(*link->lanes));
    if (link->lanes == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct link_lane *lane = &link->lanes[i];

        net_client_init(&lane->net, link->client->loop, &lane_ops, &lane_limits);
        lane->net.encoding = link->client->encoding;
        lane->link = link;
    }
    link->n_lanes = n;
    link->open = n;
    return 0;
}

static int link_new(struct rmq_client *client, const char *addr, struct broker_link **out)
{
    struct broker_link *link = mq_calloc(1, sizeof(*link));
    size_t n = strlen(addr);
    int rc = n > LINK_ADDR_MAX ? MQ_EINVAL : 0;

    if (link == NULL) {
        return MQ_ENOMEM;
    }
    if (rc == 0) {
        memcpy(link->addr, addr, n + 1);
        rc = net_addr_parse(addr, &link->sockaddr);
    }
    link->client = client;
    TAILQ_INIT(&link->asks);
    if (rc == 0) {
        rc = open_lanes(link, client->connections);
    }
    if (rc != 0) {
        mq_free(link);
        return rc;
    }
    link->next = client->links;
    client->links = link;
    client->links_open++;
    *out = link;
    return 0;
}

int broker_link_get(struct rmq_client *client, const char *addr, struct broker_link **out)
{
    for (struct broker_link *link = client->links; link != NULL; link = link->next) {
        if (strcmp(link->addr, addr) == 0) {
            *out = link;
            return 0;
        }
    }
    return client->links_open >= LINKS_MAX ? MQ_ETOOBIG : link_new(client, addr, out);
}

void broker_link_want(struct broker_link *link)
{
    uint64_t now_ms = client_now_ms(link->client);

    if (link->up == link->n_lanes || link->client->closing) {
        return;
    }
    for (uint32_t i = 0; i < link->n_lanes; i++) {
        struct link_lane *lane = &link->lanes[i];

        if (lane->was_up || lane->connecting || lane->net.channel != NULL || now_ms < lane->retry_ms) {
            continue;
        }
        if (net_client_connect(&lane->net, (struct sockaddr *)&link->sockaddr) == 0) {
            lane->connecting = true;
            link->connecting++;
        } else {
            lane->retry_ms = now_ms + LINK_RETRY_MS;
        }
    }
}

static bool is_up(const struct link_lane *lane)
{
    return lane->net.connected && !lane->net.channel->conn.closing;
}

struct net_client *broker_link_net(struct broker_link *link, uint32_t lane)
{
    if (link->up < link->n_lanes) {
        broker_link_want(link);
    }
    if (lane != 0 && is_up(&link->lanes[(lane - 1) % link->n_lanes])) {
        return &link->lanes[(lane - 1) % link->n_lanes].net;
    }
    for (uint32_t i = 0; i < link->n_lanes; i++) {
        struct link_lane *at = &link->lanes[link->turn];

        link->turn = link->turn + 1 < link->n_lanes ? link->turn + 1 : 0;
        if (is_up(at)) {
            return &at->net;
        }
    }
    return NULL;
}

static void on_lane_closed(struct net_client *net)
{
    struct broker_link *link = lane_of(net)->link;

    if (--link->open == 0) {
        client_link_closed(link->client, link);
    }
}

void broker_link_close(struct broker_link *link)
{
    for (uint32_t i = 0; i < link->n_lanes; i++) {
        net_client_close(&link->lanes[i].net, on_lane_closed);
    }
}

void broker_link_free(struct broker_link *link)
{
    MQ_ASSERT(TAILQ_EMPTY(&link->asks));
    mq_free(link->lanes);
    mq_free(link);
}
