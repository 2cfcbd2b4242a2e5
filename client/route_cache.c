/* Topics and where their queues are, as the name servers tell it.
 *
 * A topic that no name server knows, and that somebody would send to, borrows the route of TBW102, the template from
 * which brokers create topics at the first send; it is asked for again soon. */
#include "client/instance.h"
#include "remoting/base/err.h"
#include "remoting/base/heap.h"
#include "remoting/protocol/body_topic.h"
#include "remoting/protocol/codes.h"
#include "remoting/protocol/names.h"

#include <stdio.h>

#define ROUTE_TIMEOUT_MS 1000  /* then the next name server is asked */
#define BORROWED_ROUTE_MS 1000 /* how long a route of TBW102 is taken for the topic's */
#define BORROWED_QUEUES 4      /* as stock clients */

struct route_wait {
    struct route_wait *next;
    bool write;
    uint64_t deadline_ms;
    rmq_route_cb cb;
    void *data;
};

struct topic *topic_get(struct rmq_client *client, struct mq_str name)
{
    struct topic *topic = client->last_topic;

    if (topic != NULL && mq_str_eq(topic->key, name)) {
        return topic;
    }
    for (topic = client->topics; topic != NULL; topic = topic->next) {
        if (mq_str_eq(topic->key, name)) {
            client->last_topic = topic;
            return topic;
        }
    }
    topic = client->n_topics < CLIENT_TOPICS_MAX ? mq_calloc(1, sizeof(*topic)) : NULL;
    if (topic == NULL) {
        return NULL;
    }
    topic->name = mq_strndup(name.at, name.len);
    if (topic->name == NULL) {
        mq_free(topic);
        return NULL;
    }
    topic->client = client;
    topic->key = (struct mq_str){topic->name, name.len};
    TAILQ_INIT(&topic->sends);
    topic->next = client->topics;
    client->topics = topic;
    client->n_topics++;
    return topic;
}

void topic_free(struct topic *topic)
{
    mq_free(topic->write);
    mq_free(topic->read);
    mq_free(topic->name);
    mq_free(topic);
}

/* Calls one waiter back and frees it. */
static void tell(struct topic *topic, struct route_wait *wait, int status)
{
    uint32_t n = wait->write ? topic->n_write : topic->n_read;
    const struct topic_queue *from = wait->write ? topic->write : topic->read;
    struct rmq_queue *queues = status == 0 ? mq_calloc(n != 0 ? n : 1, sizeof(*queues)) : NULL;

    if (status == 0 && queues == NULL) {
        status = MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < n && status == 0; i++) {
        queues[i] = (struct rmq_queue){from[i].group->name, from[i].id};
    }
    wait->cb(wait->data, status, queues, status == 0 ? n : 0);
    mq_free(queues);
    mq_free(wait);
}

static void tell_all(struct topic *topic, int status)
{
    struct route_wait *wait = topic->waits;

    topic->waits = NULL; /* who is told may ask again */
    while (wait != NULL) {
        struct route_wait *next = wait->next;

        tell(topic, wait, status);
        wait = next;
    }
}

static int add_queues(struct rmq_client *client, struct topic *topic, const struct proto_queue_data *data, bool write,
                      struct topic_queue *list, uint32_t *n)
{
    int32_t count = write ? data->write_queues : data->read_queues;
    struct group *group = group_get(client, data->broker_name, topic);

    if (group == NULL) {
        return MQ_ENOMEM;
    }
    if (topic->borrowed && count > BORROWED_QUEUES) {
        count = BORROWED_QUEUES;
    }
    for (int32_t id = 0; id < count; id++) {
        list[(*n)++] = (struct topic_queue){group, id};
    }
    return 0;
}

#define TOPIC_QUEUES_MAX 65536 /* of one topic, all broker names together */

/* Replaces @list by the queues of the route that may be written or read. On error the old list stays. */
static int list_queues(struct topic *topic, const struct proto_route *route, bool write, struct topic_queue **list,
                       uint32_t *n_list)
{
    int32_t perm = write ? PROTO_PERM_WRITE : PROTO_PERM_READ;
    struct topic_queue *queues;
    uint64_t total = 0;
    uint32_t n = 0;
    int rc = 0;

    for (uint32_t i = 0; i < route->queues.count; i++) {
        int32_t count = write ? route->queues.items[i].write_queues : route->queues.items[i].read_queues;

        total += count > 0 ? (uint64_t)count : 0;
    }
    if (total > TOPIC_QUEUES_MAX) {
        return MQ_ETOOBIG;
    }
    queues = mq_calloc(total != 0 ? total : 1, sizeof(*queues));
    if (queues == NULL) {
        return MQ_ENOMEM;
    }
    for (uint32_t i = 0; i < route->queues.count && rc == 0; i++) {
        if ((route->queues.items[i].perm & perm) != 0) {
            rc = add_queues(topic->client, topic, &route->queues.items[i], write, queues, &n);
        }
    }
    if (rc != 0) {
        mq_free(queues);
        return rc;
    }
    mq_free(*list);
    *list = queues;
    *n_list = n;
    return 0;
}

static void start_waiting(struct topic *topic)
{
    struct send_list ready = TAILQ_HEAD_INITIALIZER(ready);
    struct send_own *own;

    TAILQ_CONCAT(&ready, &topic->sends, link);
    while ((own = TAILQ_FIRST(&ready)) != NULL) {
        int rc;

        TAILQ_REMOVE(&ready, own, link);
        rc = send_start(own);
        if (rc != 0) {
            send_fail(own, rc);
        }
    }
}

static int apply(struct topic *topic, struct proto_command *answer)
{
    struct proto_route route = {0};
    int rc = proto_route_decode((char *)(uintptr_t)answer->body, answer->body_bytes, &route);

    topic->borrowed = topic->asking_template;
    if (rc == 0) {
        rc = list_queues(topic, &route, true, &topic->write, &topic->n_write);
    }
    if (rc == 0) {
        rc = list_queues(topic, &route, false, &topic->read, &topic->n_read);
    }
    for (uint32_t i = 0; i < route.brokers.count && rc == 0; i++) {
        struct group *group = group_get(topic->client, route.brokers.items[i].name, topic);

        if (group == NULL) {
            rc = MQ_ENOMEM;
        } else {
            group_learn(group, &route.brokers.items[i]);
        }
    }
    proto_route_free(&route);
    return rc;
}

static void ask(struct topic *topic, bool template);

static void retry_soon(struct topic *topic)
{
    struct rmq_client *client = topic->client;

    topic->refresh_ms =
        client_now_ms(client) + client_jitter(client, CLIENT_SEARCH_ROUTE_MIN_MS, CLIENT_SEARCH_ROUTE_MAX_MS);
    client_pace(client, CLIENT_SEARCH_ROUTE_MIN_MS);
}

static void on_route(void *data, int status, struct proto_command *answer)
{
    struct topic *topic = data;
    int rc;

    topic->asking = false;
    if (topic->client->closing) {
        return;
    }
    retry_soon(topic);
    if (status != 0 || (answer->code != RESP_SUCCESS && answer->code != RESP_TOPIC_NOT_EXIST)) {
        return; /* the next name server; what waits has deadlines */
    }
    if (answer->code == RESP_TOPIC_NOT_EXIST) {
        if (topic->create && !topic->asking_template) {
            ask(topic, true);
        } else {
            tell_all(topic, MQ_ENOTFOUND);
        }
        return;
    }
    rc = apply(topic, answer);
    if (rc != 0) {
        tell_all(topic, rc);
        return;
    }
    topic->known = true;
    topic->refresh_ms = client_now_ms(topic->client) + (topic->borrowed ? BORROWED_ROUTE_MS : CLIENT_ROUTE_MS);
    start_waiting(topic);
    tell_all(topic, 0);
}

static void ask(struct topic *topic, bool template)
{
    struct rmq_client *client = topic->client;
    const struct rmq_field fields[] = {{"topic", template ? PROTO_TOPIC_TBW102.at : topic->name},
                                       {"acceptStandardJsonOnly", "true"}};
    const char *addr = client->namesrv[client->namesrv_turn % client->n_namesrv];
    int rc;

    client->namesrv_turn++;
    topic->asking_template = template;
    topic->asking = true;
    rc = rmq_ask(client, addr, REQ_GET_ROUTEINFO_BY_TOPIC, fields, 2, NULL, 0, ROUTE_TIMEOUT_MS, on_route, topic);
    if (rc != 0) {
        topic->asking = false;
        retry_soon(topic);
    }
}

void topic_refresh(struct topic *topic)
{
    topic->wanted = true;
    if (!topic->asking) {
        ask(topic, false);
    }
}

static void expire(struct topic *topic, uint64_t now_ms)
{
    struct route_wait **at = &topic->waits, *wait;
    struct send_own *own, *next;

    for (own = TAILQ_FIRST(&topic->sends); own != NULL; own = next) {
        next = TAILQ_NEXT(own, link);
        if (own->deadline_ms <= now_ms) {
            TAILQ_REMOVE(&topic->sends, own, link);
            send_fail(own, MQ_ENOTFOUND);
        }
    }
    while ((wait = *at) != NULL) {
        if (wait->deadline_ms <= now_ms) {
            *at = wait->next;
            tell(topic, wait, MQ_ETIMEDOUT);
            at = &topic->waits; /* the list may have changed */
        } else {
            at = &wait->next;
        }
    }
}

uint64_t topic_tick(struct topic *topic)
{
    uint64_t now_ms = client_now_ms(topic->client);

    expire(topic, now_ms);
    if (topic->wanted && now_ms >= topic->refresh_ms) {
        topic_refresh(topic);
    }
    if (!TAILQ_EMPTY(&topic->sends) || topic->waits != NULL) {
        return CLIENT_SEARCH_TICK_MS;
    }
    /* While the answer is awaited it is what comes next; it sets the timer anew. */
    return !topic->wanted || topic->refresh_ms <= now_ms ? CLIENT_ROUTE_MS : topic->refresh_ms - now_ms;
}

void topic_closed(struct topic *topic)
{
    struct send_own *own;

    tell_all(topic, MQ_ECLOSED);
    while ((own = TAILQ_FIRST(&topic->sends)) != NULL) {
        TAILQ_REMOVE(&topic->sends, own, link);
        send_fail(own, MQ_ECLOSED);
    }
}

int rmq_route(struct rmq_client *client, struct mq_str name, bool write, bool create, rmq_route_cb cb, void *data)
{
    struct topic *topic = client->closing ? NULL : topic_get(client, name);
    struct route_wait *wait = topic != NULL ? mq_calloc(1, sizeof(*wait)) : NULL;

    if (wait == NULL) {
        return client->closing ? MQ_ECLOSED : MQ_ENOMEM;
    }
    *wait = (struct route_wait){.next = topic->waits,
                                .write = write,
                                .deadline_ms = client_now_ms(client) + client->send_timeout_ms,
                                .cb = cb,
                                .data = data};
    topic->waits = wait;
    topic->create = topic->create || create;
    topic_refresh(topic);
    client_pace(client, CLIENT_SEARCH_TICK_MS);
    return 0;
}
