/* The client as a whole: its options, its one timer, and its end.
 *
 * The end: rmq_client_close -> the timer's handle is closed -> what waits is refused, connections are closed, which
 * answers what was under way -> the last link tells -> everything is freed -> closed. */
#include "client/instance.h"

#include "client/ask.h"
#include "remoting/base/assert.h"
#include "remoting/base/clock.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"

#define DEFAULT_SEND_TIMEOUT_MS 3000
#define IDLE_TICK_MS 1000

static int add_namesrv(struct rmq_client *client, struct mq_str addr)
{
    char *copy;

    if (client->n_namesrv == RMQ_NAMESRVS_MAX || memchr(addr.at, ':', addr.len) == NULL) {
        return MQ_EINVAL;
    }
    copy = mq_strndup(addr.at, addr.len);
    if (copy == NULL) {
        return MQ_ENOMEM;
    }
    client->namesrv[client->n_namesrv++] = copy;
    return 0;
}

static int parse_namesrv(struct rmq_client *client, const char *list)
{
    const char *at = list;
    int rc = 0;

    while (at != NULL && *at != '\0' && rc == 0) {
        size_t n = strcspn(at, ";, ");

        if (n != 0) {
            rc = add_namesrv(client, (struct mq_str){at, (uint32_t)n});
        }
        at += n + (at[n] != '\0');
    }
    return rc == 0 && client->n_namesrv == 0 ? MQ_EINVAL : rc;
}

static void free_storage(struct rmq_client *client)
{
    for (uint32_t i = 0; i < client->n_namesrv; i++) {
        mq_free(client->namesrv[i]);
    }
    while (client->links != NULL) {
        struct broker_link *link = client->links;

        client->links = link->next;
        broker_link_free(link);
    }
    while (client->groups != NULL) {
        struct group *group = client->groups;

        client->groups = group->next;
        group_free(group);
    }
    while (client->topics != NULL) {
        struct topic *topic = client->topics;

        client->topics = topic->next;
        topic_free(topic);
    }
    mq_buf_free(&client->properties);
    mq_free(client->group_name);
    mq_free(client);
}

int rmq_client_new(struct net_loop *loop, const struct rmq_options *options, struct rmq_client **out)
{
    static const uint8_t loopback[4] = {127, 0, 0, 1};
    struct rmq_client *client = mq_calloc(1, sizeof(*client));
    int rc;

    if (client == NULL) {
        return MQ_ENOMEM;
    }
    client->loop = loop;
    client->group_name = mq_strdup(options->group != NULL ? options->group : "RAFTMQ_PRODUCER");
    rc = client->group_name == NULL ? MQ_ENOMEM : parse_namesrv(client, options->namesrv);
    if (rc == 0 && options->connections > RMQ_CONNECTIONS_MAX) {
        rc = MQ_EINVAL;
    }
    if (rc != 0) {
        free_storage(client);
        return rc;
    }
    client->send_timeout_ms = options->send_timeout_ms != 0 ? options->send_timeout_ms : DEFAULT_SEND_TIMEOUT_MS;
    client->connections = options->connections != 0 ? options->connections : 1;
    client->encoding = options->encoding;
    client->only_leader_routes = options->only_leader_routes;
    client->wall_ms = mq_clock_wall_ms();
    client->wall_at_ms = uv_now(&loop->uv);
    client->jitter = (uint32_t)mq_clock_mono_ns() | 1;
    proto_uniq_key_init(&client->uniq_key, loopback, client->wall_ms);
    uv_timer_init(&loop->uv, &client->pace);
    client->pace.data = client;
    *out = client;
    return 0;
}

uint32_t client_jitter(struct rmq_client *client, uint32_t min, uint32_t max)
{
    client->jitter ^= client->jitter << 13; /* xorshift */
    client->jitter ^= client->jitter >> 17;
    client->jitter ^= client->jitter << 5;
    return min + client->jitter % (max - min + 1);
}

static void on_pace(uv_timer_t *timer)
{
    struct rmq_client *client = timer->data;
    uint64_t in_ms = IDLE_TICK_MS;

    client->pace_at_ms = 0;
    for (struct topic *topic = client->topics; topic != NULL; topic = topic->next) {
        uint64_t due = topic_tick(topic);

        in_ms = due < in_ms ? due : in_ms;
    }
    for (struct group *group = client->groups; group != NULL; group = group->next) {
        uint64_t due = group_tick(group);

        in_ms = due < in_ms ? due : in_ms;
    }
    for (struct broker_link *link = client->links; link != NULL; link = link->next) {
        if (ask_tick(link) && in_ms > CLIENT_SEARCH_TICK_MS) {
            in_ms = CLIENT_SEARCH_TICK_MS;
        }
    }
    client_pace(client, in_ms);
}

void client_pace(struct rmq_client *client, uint64_t in_ms)
{
    uint64_t at_ms = client_now_ms(client) + in_ms;

    if (client->closing || (client->pace_at_ms != 0 && client->pace_at_ms <= at_ms)) {
        return;
    }
    client->pace_at_ms = at_ms;
    uv_timer_start(&client->pace, on_pace, in_ms, 0);
}

void client_link_up(struct rmq_client *client, struct broker_link *link)
{
    for (struct group *group = client->groups; group != NULL; group = group->next) {
        if (group->leader == link) {
            group_flush(group);
        } else {
            for (uint32_t i = 0; i < group->n_members && group->leader == NULL; i++) {
                if (group->members[i].link == link) {
                    client_pace(client, 0); /* asks it */
                }
            }
        }
    }
}

void client_link_down(struct rmq_client *client, struct broker_link *link)
{
    for (struct group *group = client->groups; group != NULL; group = group->next) {
        group_lost(group, link);
    }
}

/* Memory goes when every connection has told its end. */
static void finish(struct rmq_client *client)
{
    void (*closed)(void *) = client->closed;
    void *data = client->closed_data;

    if (client->links_open != 0 || !client->finishing) {
        return;
    }
    free_storage(client);
    if (closed != NULL) {
        closed(data);
    }
}

void client_link_closed(struct rmq_client *client, struct broker_link *link)
{
    (void)link;
    client->links_open--;
    finish(client);
}

static void on_pace_closed(uv_handle_t *handle)
{
    struct rmq_client *client = handle->data;

    for (struct topic *topic = client->topics; topic != NULL; topic = topic->next) {
        topic_closed(topic);
    }
    for (struct group *group = client->groups; group != NULL; group = group->next) {
        group_closed(group);
    }
    for (struct broker_link *link = client->links; link != NULL; link = link->next) {
        ask_fail_all(link, MQ_ECLOSED);
        broker_link_close(link);
    }
    client->finishing = true;
    finish(client);
}

void rmq_client_close(struct rmq_client *client, void (*closed)(void *data), void *data)
{
    MQ_ASSERT(!client->closing);
    client->closing = true;
    client->closed = closed;
    client->closed_data = data;
    uv_close((uv_handle_t *)&client->pace, on_pace_closed);
}
